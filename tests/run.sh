#!/usr/bin/env bash
# Every test of lossd: installs what they need, builds the release preset, runs them, prints what passed and failed.
#
#   tests/run.sh              unit, end-to-end, fault and fuzz tests, the contract's lint, the demo, the instruction guard
#   tests/run.sh --sanitize   unit and service tests under ASan+UBSan and under TSan
#   tests/run.sh --arm        the golden bits on aarch64: lib/ cross-built, run under qemu-user
#
# Ends with a line "N passed, N failed"; the exit code is 0 if nothing failed. Logs are kept in build/test-logs.
#
# A new test needs no entry here: GoogleTest binaries come from CTest (lossd_test in CMake), Python tests are
# every tests/*/test_*.py, fuzzers are every folder of tests/fuzz/corpus.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly python=/usr/bin/python3 # Debian's, which has Debian's modules
readonly logs=build/test-logs
readonly fuzz_seconds=20
readonly buf=buf-bin==1.75.0

passed=0
failed=0
summary=()

# count NAME PASSED FAILED: notes a result.
count() {
  passed=$((passed + $2))
  failed=$((failed + $3))
  summary+=("$(printf '%-24s %5d passed %5d failed' "$1" "$2" "$3")")
}

# logged NAME COMMAND...: runs it, with its output shown and kept.
logged() {
  printf '\n== %s\n' "$1"
  "${@:2}" 2>&1 | tee "$logs/${1// /-}.log"
}

# check NAME COMMAND...: one test, which passes if the command does.
check() {
  if logged "$@"; then count "$1" 1 0; else count "$1" 0 1; fi
}

# build PRESET TARGET...
build() {
  cmake --preset "$1" && cmake --build --preset "$1" --target "${@:2}"
}

# unit_tests PRESET: the preset's CTest entries, counted by their cases.
unit_tests() {
  local results=$PWD/$logs/ctest-$1.xml cases
  logged "build $1" build "$1" all || {
    count "build $1" 0 1
    return
  }
  logged "unit tests $1" ctest --test-dir "build/$1" -j2 --output-on-failure --timeout 600 \
    --test-output-size-passed 1000000 --test-output-size-failed 1000000 --output-junit "$results" || true
  cases=$("$python" -m tests.support.count_ctest "$results")
  # shellcheck disable=SC2086
  count "unit tests $1" $cases
}

# python_tests FOLDER: a skipped test counts as failed, as it shows nothing.
python_tests() {
  local log=$logs/$1.log cases
  logged "$1" env LOSSD_BIN="$PWD/build/release/bin/lossd" "$python" -m unittest discover -s "tests/$1" -t . || true
  cases=$("$python" -m tests.support.count_unittest "$log")
  # shellcheck disable=SC2086
  count "$1" $cases
}

# The contract against buf's STANDARD rules.
buf_lint() {
  [[ -x build/venv/bin/buf ]] || {
    "$python" -m venv build/venv
    build/venv/bin/python -m pip install --quiet "$buf"
  }
  build/venv/bin/buf lint proto
}

# The sources against .clang-format.
source_format() {
  find lib server client tests -name '*.cc' -o -name '*.h' | xargs clang-format --dry-run -Werror
}

everything() {
  local folder fuzzer
  unit_tests release
  check 'buf lint' buf_lint
  check 'source format' source_format
  for folder in tests/*/; do
    folder=$(basename "$folder")
    if compgen -G "tests/$folder/test_*.py" > /dev/null; then python_tests "$folder"; fi
  done
  check demo deploy/demo.sh
  check 'instruction guard' tests/bench/guard/guard.py
  # clang's build also shows that the bits are not those of one compiler.
  check 'build fuzz' build fuzz fuzzers golden_bits
  check 'golden bits clang' build/fuzz/bin/golden_bits tests/golden/bits.txt
  for fuzzer in tests/fuzz/corpus/*/; do
    fuzzer=$(basename "$fuzzer")
    check "fuzz $fuzzer" tests/fuzz/run.sh build/fuzz $fuzz_seconds "$fuzzer"
  done
}

sanitized() {
  unit_tests asan
  unit_tests tsan
}

# NEON's bits. qemu-user finds the arm64 packages' loader and libraries where they would be on such a machine.
arm() {
  check 'build arm64' build arm64 golden_bits
  check 'golden bits aarch64' env LOSSD_TARGET=neon qemu-aarch64-static build/arm64/bin/golden_bits tests/golden/bits.txt
}

groups=(build test)
case "${1:-}" in
  '') suite=everything ;;
  --sanitize) suite=sanitized ;;
  --arm)
    suite=arm
    groups=(build arm)
    ;;
  *)
    echo "usage: tests/run.sh [--sanitize | --arm]" >&2
    exit 2
    ;;
esac
deploy/install-deps.sh "${groups[@]}"
mkdir -p "$logs"
"$suite"

printf '\n'
printf '%s\n' "${summary[@]}"
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
