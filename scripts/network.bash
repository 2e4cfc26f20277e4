# Sourced, after redis.bash. A Redis behind a link with a delay, where root allows it.
#
#   network_start   starts one in a network namespace of its own, 0.5 ms away, and exports NETWORK_URL; it ends with the
#                   script. Where that is not possible it says so, and the script goes on without.
# shellcheck shell=bash

# shellcheck disable=SC2154 # $scratch comes from process.bash
namespace=
line_process=
far_redis=

network_start() {
  local here=10.231.7.1 there=10.231.7.2
  if [ "$(id -u)" -ne 0 ] || [ ! -e /dev/net/tun ]; then
    echo 'no measurement over a network: it needs root and /dev/net/tun' >&2
    return
  fi
  need ip iproute2
  need python3
  if ! ip netns add "redis-lock-$$"; then
    echo 'no measurement over a network: it needs the right to make network namespaces' >&2
    return
  fi
  namespace=redis-lock-$$
  at_exit network_stop
  ip netns exec "$namespace" ip link set lo up
  set -m
  mortal KILL benches/delay-line.py "$namespace" "$here" "$there" 500 </dev/null >"$scratch/line" &
  line_process=$!
  set +m
  wait_for up "$scratch/line" "$line_process" || return 0
  set -m
  mortal KILL ip netns exec "$namespace" redis-server --bind "$there" --port 6379 --protected-mode no \
    --save '' --appendonly no --dir "$scratch" </dev/null >"$scratch/far-redis.log" 2>&1 &
  far_redis=$!
  set +m
  wait_for 'Ready to accept connections' "$scratch/far-redis.log" "$far_redis" || return 0
  export NETWORK_URL="redis://$there:6379"
}

network_stop() {
  [ -z "$far_redis" ] || end_group "$far_redis"
  [ -z "$line_process" ] || end_group "$line_process"
  ip netns delete "$namespace"
}

# wait_for TEXT FILE PROCESS: until a program has written it; fails if the program has ended
wait_for() {
  until grep -q "$1" "$2"; do
    if ! kill -0 "$3" 2>/dev/null; then
      echo 'no measurement over a network: a link with a delay cannot be made' >&2
      cat "$2" >&2
      return 1
    fi
    sleep 0.05
  done
}
