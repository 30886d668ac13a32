#!/bin/sh
# Installs a build, then configures, builds and runs the SDK's sample against what was installed, outside the tree.
#
#   tests/e2e/install_test.sh BUILD_DIR [ADDRESS of a server to run it against, too]
set -eu

build=${1:?usage: install_test.sh BUILD_DIR [ADDRESS]}
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --install "$build" --prefix "$work/installed" > "$work/install.log"
cp -r "$source/client/cpp/samples" "$work/samples"
cmake -S "$work/samples" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/installed" -DCMAKE_BUILD_TYPE=Release \
  > "$work/configure.log"
cmake --build "$work/build"
"$work/build/evaluate" ${2:+"$2"}
"$work/installed/bin/lossctl" --version
"$work/installed/bin/lossctl" list --local > "$work/losses.txt"
grep -q '^mse ' "$work/losses.txt"
