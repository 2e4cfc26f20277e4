#!/usr/bin/env python3
"""A link with a delay between this network namespace and another one, as a line of some length has it.

    benches/delay-line.py NAMESPACE HERE THERE MICROSECONDS

HERE and THERE are the addresses of the two ends, such as 10.0.0.1 and 10.0.0.2. Each packet arrives so many microseconds
after it was sent, either way. Prints `up` when packets can be sent, and runs until it is ended. Needs root. (netem would do
it in the kernel, which often is built without.)
"""

import collections
import fcntl
import os
import select
import struct
import subprocess
import sys
import time

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000


def end(name):
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
    return device


def main():
    namespace, here, there, micros = sys.argv[1:]
    delay = int(micros) / 1e6
    # At most 15 letters; another run has another process.
    names = [f"rl{os.getpid()}{side}" for side in "ab"]
    ends = [end(name) for name in names]
    subprocess.run(["ip", "link", "set", names[1], "netns", namespace], check=True)
    for name, own, peer, inside in (
        (names[0], here, there, []),
        (names[1], there, here, ["ip", "netns", "exec", namespace]),
    ):
        subprocess.run([*inside, "ip", "address", "add", own, "peer", peer, "dev", name], check=True)
        subprocess.run([*inside, "ip", "link", "set", name, "up"], check=True)
    print("up", flush=True)

    # Packets on their way: when each arrives, and where. The delay is always the same, so they stay in order.
    line = collections.deque()
    while True:
        now = time.monotonic()
        while line and line[0][0] <= now:
            _, device, packet = line.popleft()
            os.write(device, packet)
        wait = max(line[0][0] - time.monotonic(), 0) if line else None
        ready, _, _ = select.select(ends, [], [], wait)
        for device in ready:
            other = ends[1 - ends.index(device)]
            try:
                while True:
                    packet = os.read(device, 65535)
                    line.append((time.monotonic() + delay, other, packet))
            except BlockingIOError:
                pass


main()
