# Sourced, after process.bash. Makes sure that a program is there.
#
#   need PROGRAM [DEBIAN-PACKAGE]   installs the package if the program is missing, or says what to install and ends
# shellcheck shell=bash

policy=/usr/sbin/policy-rc.d
policy_is_ours=

need() {
  local program=$1 package=${2:-$1}
  if command -v "$program" >/dev/null; then
    return
  fi
  if [ "$(id -u)" -ne 0 ] || ! command -v apt-get >/dev/null; then
    missing "$program" "$package"
  fi
  echo "installing $package, for $program" >&2
  install "$package" || missing "$program" "$package"
  command -v "$program" >/dev/null || missing "$program" "$package"
}

# need_package DEBIAN-PACKAGE: one without a program, such as a library's headers.
need_package() {
  echo "installing $1" >&2
  { [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && install "$1"; } || missing "$1" "$1"
}

install() {
  local status=0
  forbid_services
  { apt-get update -qq >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends "$1" >&2; } ||
    status=1
  allow_services
  return "$status"
}

missing() {
  echo "error: there is no $1. Install it, on Debian with: apt-get install $2" >&2
  exit 1
}

# Debian's redis-server would start a service on port 6379; nobody asked for that. Where this file exists already, it
# is somebody's own decision about services, and stays.
forbid_services() {
  if [ ! -e "$policy" ]; then
    policy_is_ours=yes
    at_exit allow_services
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
}

allow_services() {
  if [ -n "$policy_is_ours" ]; then
    rm -f "$policy"
    policy_is_ours=
  fi
}
