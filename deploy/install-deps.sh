#!/usr/bin/env bash
# Installs what lossd needs from Debian 12's packages, and skips what is there.
#
#   deploy/install-deps.sh [build|runtime|test|arm]...    (default: build)
#
#   build    compiles lossd and lossctl
#   runtime  runs them, on a machine that did not build them
#   test     what tests/run.sh needs beside build
#   arm      what tests/run.sh --arm needs beside build: a cross-compiler, arm64 libraries (dpkg learns of
#            that architecture), an emulator
#
# Runs apt-get as root, or by sudo. Where nothing is missing it changes nothing and needs neither.
set -euo pipefail

declare -A packages
packages[build]='
  build-essential cmake ninja-build
  protobuf-compiler protobuf-compiler-grpc libprotobuf-dev libgrpc++-dev libabsl-dev
  libssl-dev libboost-dev libhwy-dev libspdlog-dev prometheus-cpp-dev libcli11-dev
'
# The libraries that the binaries name; tests/e2e/test_image.py holds this list to them.
packages[runtime]='
  libgrpc++1.51 libgrpc29 libprotobuf32 libabsl20220623 libssl3 libhwy1 libspdlog1.10
  libprometheus-cpp-pull1.0 libprometheus-cpp-core1.0 libstdc++6
'
packages[test]='
  libgtest-dev libgmock-dev libbenchmark-dev libgmp-dev libmpfr-dev
  clang clang-format libclang-rt-14-dev
  python3 python3-venv python3-numpy python3-grpcio python3-protobuf python3-mpmath
  python3-torch python3-torchvision
  prometheus openssl ca-certificates valgrind
'

packages[arm]='
  g++-aarch64-linux-gnu qemu-user-static
  libprotobuf-dev:arm64 libabsl-dev:arm64 libssl-dev:arm64 libhwy-dev:arm64
'

usage() {
  echo "usage: deploy/install-deps.sh [build|runtime|test|arm]..." >&2
  exit 2
}

# A name without an architecture means this machine's, whatever others are installed beside it.
installed() {
  local architecture="(all|$native)"
  if [[ $1 == *:* ]]; then architecture=${1#*:}; fi
  dpkg-query --show --showformat='${Architecture} ${db:Status-Status}\n' "$1" 2> /dev/null |
    grep -Eqx "$architecture installed"
}

as_root() {
  if [[ $EUID -eq 0 ]]; then
    "$@"
  elif command -v sudo > /dev/null; then
    sudo "$@"
  else
    echo "install-deps.sh: needs root or sudo to run: $*" >&2
    exit 1
  fi
}

command -v apt-get > /dev/null || {
  echo "install-deps.sh: no apt-get here; elsewhere install the counterparts of:${packages[build]}" >&2
  exit 1
}

native=$(dpkg --print-architecture)
readonly native
[[ $# -gt 0 ]] || set -- build
missing=()
for group in "$@"; do
  [[ -n ${packages[$group]:-} ]] || usage
  for package in ${packages[$group]}; do
    installed "$package" || missing+=("$package")
  done
done

if [[ ${#missing[@]} -eq 0 ]]; then
  echo "Debian packages ($*): all installed"
  exit 0
fi
echo "Debian packages ($*): installing ${missing[*]}"
if [[ ${missing[*]} == *:arm64* ]]; then as_root dpkg --add-architecture arm64; fi
# One unreachable source among several is no reason to stop: what is missing shows when it is installed.
as_root apt-get update -qq || echo "install-deps.sh: apt-get update failed; trying the lists that are here" >&2
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
