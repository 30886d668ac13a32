#!/usr/bin/env bash
# Runs the fuzzers of a build (preset fuzz) from their seeds, each for so many seconds; 0 runs the seeds once each.
#
#   tests/fuzz/run.sh [BUILD_DIR] [SECONDS] [FUZZER...]
#
# New inputs are kept in BUILD_DIR/corpus, and an input that fails in BUILD_DIR: run the fuzzer with its file as the
# argument to see it again, and when it is mended add the file to the corpus here.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
build=${1:-$here/../../build/fuzz}
seconds=${2:-20}
shift $(($# < 2 ? $# : 2))
if [[ $# -eq 0 ]]; then
  for folder in "$here"/corpus/*/; do set -- "$@" "$(basename "$folder")"; done
fi

for name; do
  found=$build/corpus/$name
  mkdir -p "$found"
  options=(-timeout=20 -rss_limit_mb=2048 -malloc_limit_mb=256 -max_len=65536 -artifact_prefix="$build/"
    -verbosity=0 -print_funcs=0)
  if [[ $seconds -eq 0 ]]; then options+=(-runs=0); else options+=(-max_total_time="$seconds"); fi
  printf '== %s\n' "$name"
  "$build/bin/$name" "${options[@]}" -print_final_stats=1 "$found" "$here/corpus/$name"
done
