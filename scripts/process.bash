# Sourced. Runs programs so that nothing of them is left, however the script ends.
#
#   supervised COMMAND...   runs it; an interrupt ends it, with all its children, at once
#   make_scratch            makes a temporary folder, $scratch, that is removed at the end
#   at_exit COMMAND         also done at the end, before the folder goes
# shellcheck shell=bash

scratch=
job=
last_wishes=()

at_exit() {
  last_wishes+=("$1")
}

make_scratch() {
  [ -n "$scratch" ] || scratch=$(mktemp -d "${TMPDIR:-/tmp}/redis-lock-XXXXXX")
}

# In the foreground bash would look at a signal only after the command's end. And `set -m` gives the command a process
# group of its own, so that it can be ended together with its children. Should the script itself be killed, the kernel
# sends its command the signal.
supervised() {
  local status=0
  set -m
  mortal TERM "$@" </dev/null &
  job=$!
  set +m
  wait "$job" || status=$?
  job=
  return "$status"
}

# Runs a command that gets the signal $1 when this script dies, where the machine can do that.
mortal() {
  if command -v setpriv >/dev/null; then
    exec setpriv --pdeathsig "$1" "${@:2}"
  fi
  exec "${@:2}"
}

clean_up() {
  trap '' INT TERM HUP
  local wish
  [ -z "$job" ] || end_group "$job"
  for wish in "${last_wishes[@]}"; do
    "$wish"
  done
  [ -z "$scratch" ] || rm -rf "$scratch"
}

# Ends a command and its children: politely, and what is left when it has gone, or after five seconds, not.
# (Not until its whole group is gone: where nobody collects the dead, a group of them lasts for ever.)
end_group() {
  local deadline=$((SECONDS + 5))
  kill -TERM -- "-$1" 2>/dev/null || return 0
  while kill -0 "$1" 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do
    sleep 0.05
  done
  kill -KILL -- "-$1" 2>/dev/null || true
}

trap clean_up EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
