# Sourced, after process.bash and packages.bash. A Redis for this script alone.
#
#   redis_start PORT   starts a redis-server that saves nothing on that loopback port, or on a free one if PORT is
#                      `any`, and exports REDIS_URL; it ends with the script
# shellcheck shell=bash

# shellcheck disable=SC2154 # $scratch comes from process.bash
redis_process=

redis_start() {
  local port
  need redis-server
  make_scratch
  at_exit redis_stop
  while true; do
    port=$1
    [ "$port" != any ] || port=$(free_port)
    redis_launch "$port"
    if redis_is_ready; then
      export REDIS_URL="redis://127.0.0.1:$port"
      return
    fi
    redis_stop
    if [ "$1" != any ] || ! grep -q 'Address already in use' "$scratch/redis.log"; then
      echo 'error: redis-server does not start:' >&2
      tail -n 5 "$scratch/redis.log" >&2
      exit 1
    fi
  done
}

redis_stop() {
  [ -z "$redis_process" ] || end_group "$redis_process"
  redis_process=
}

redis_launch() {
  : >"$scratch/redis.log"
  # A process group of its own: Ctrl-C is for the script, which stops the server last.
  set -m
  mortal KILL redis-server --bind 127.0.0.1 --port "$1" --save '' --appendonly no --dir "$scratch" \
    </dev/null >>"$scratch/redis.log" 2>&1 &
  redis_process=$!
  set +m
}

# Its own log says when it is ready; an answer on the port could be somebody else's.
redis_is_ready() {
  local deadline=$((SECONDS + 20))
  until grep -q 'Ready to accept connections' "$scratch/redis.log"; do
    kill -0 "$redis_process" 2>/dev/null || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.05
  done
}

# Below the range of outgoing connections. Somebody may still be faster; then another one is tried.
free_port() {
  local port
  while true; do
    port=$((11000 + RANDOM % 20000))
    is_open "$port" || break
  done
  echo "$port"
}

is_open() {
  (: <"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}
