//! What the kernel knows of a process: time that all processes of the machine share, processor time, memory.

use std::{fs, time::Duration};

use nix::{
    sys::resource::{UsageWho, getrusage},
    time::{ClockId, clock_gettime},
};

use crate::stats::float;

/// Nanoseconds of the monotonic clock. Unlike an `Instant` it can be written down and compared with that of another
/// process.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has this clock");
    let nanos = Duration::from(time).as_nanos();
    u64::try_from(nanos).expect("584 years of nanoseconds fit")
}

/// Seconds of processor time that this process has used, in user mode and in the kernel.
pub(crate) fn cpu_time() -> f64 {
    let usage = getrusage(UsageWho::RUSAGE_SELF).expect("a process may ask about itself");
    let times = [usage.user_time(), usage.system_time()];
    let micros = times.map(|time| time.tv_sec() * 1_000_000 + time.tv_usec());
    float(micros.iter().sum::<i64>().cast_unsigned()) / 1e6
}

/// Memory of this process that is in RAM, in bytes.
pub(crate) fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let kib: u64 = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse().ok())
        .expect("/proc says how much memory is resident");
    kib * 1024
}
