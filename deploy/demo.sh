#!/usr/bin/env bash
# From a fresh Debian 12 machine to losses of real predictions: installs what the build needs, builds lossd and
# lossctl, starts lossd on free ports, evaluates the three example sets of tests/data, shows what a dashboard
# would be drawn from, and stops lossd.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/release/bin
data=$root/tests/data
scratch=$(mktemp -d)
server=

finish() {
  local status=$?
  if [[ $status -ne 0 ]]; then
    echo "demo.sh: failed (exit code $status)" >&2
    if [[ -s $scratch/lossd.log ]]; then
      echo "The log of lossd:" >&2
      cat "$scratch/lossd.log" >&2
    fi
  fi
  [[ -z $server ]] || { kill -KILL "$server" && wait "$server"; } 2> /dev/null || true
  rm -rf "$scratch"
}
trap finish EXIT

fail() {
  echo "demo.sh: $1" >&2
  exit 1
}

heading() {
  printf '\n== %s\n' "$1"
}

build() {
  cd "$root"
  # Without the tests, whose packages this machine may not have. A build directory that has them keeps them.
  [[ -f build/release/build.ninja ]] || cmake --preset release -DLOSSD_BUILD_TESTS=OFF
  cmake --build --preset release --target lossd_server_bin lossctl
}

# The value of a string, or of the first of a list of strings, in the JSON that lossd writes to its ports file.
port_of() {
  sed -E "s/.*\"$1\":\[?\"([^\"]*)\".*/\1/" "$scratch/ports.json"
}

start_server() {
  "$bin/lossd" --listen 127.0.0.1:0 --metrics-listen 127.0.0.1:0 --ports-file "$scratch/ports.json" \
    2> "$scratch/lossd.log" &
  server=$!
  for _ in {1..200}; do
    [[ -f $scratch/ports.json ]] && return
    kill -0 "$server" 2> /dev/null || fail "lossd ended while starting"
    sleep 0.1
  done
  fail "lossd did not start within 20 seconds"
}

# evaluate MODEL DATASET TITLE FLAG...: one evaluation, one table.
evaluate() {
  heading "$3"
  "$bin/lossctl" evaluate --server "$address" --model "$1" --dataset "$2" "${@:4}"
}

# What http://METRICS/metrics answers: by bash alone, as a fresh machine has no HTTP client.
scrape() {
  local host=${metrics%:*} port=${metrics##*:} page
  exec 3<> "/dev/tcp/$host/$port"
  printf 'GET /metrics HTTP/1.0\r\nHost: %s\r\n\r\n' "$metrics" >&3
  page=$(cat <&3)
  exec 3>&-
  [[ $page == HTTP/1.*" 200 "* ]] || fail "/metrics answered ${page%%$'\r'*}"
  grep -E '^lossd_evaluation_(loss|standard_error|items|finished_timestamp_seconds)\{' <<< "$page"
}

stop_server() {
  local status=0
  kill -TERM "$server"
  wait "$server" || status=$?
  server=
  [[ $status -eq 0 ]] || fail "lossd ended with exit code $status"
}

"$root/deploy/install-deps.sh" build
build
start_server
address=$(port_of listen)
metrics=$(port_of metrics_listen)
echo "lossd serves on $address, its metrics on http://$metrics/metrics"

evaluate mlp digits 'digits: which digit is written here? 899 samples, 10 classes' \
  --loss cross_entropy --loss zero_one \
  --input "logits=$data/digits/logits.npy" --input "labels=$data/digits/labels.npy"
evaluate logistic_regression breast_cancer 'breast_cancer: benign or malignant? 285 samples' \
  --loss binary_cross_entropy --loss focal --loss zero_one \
  --input "logits=$data/breast_cancer/logits.npy" --input "targets=$data/breast_cancer/labels.npy"
evaluate ridge diabetes 'diabetes: progression after one year, 221 samples' \
  --loss mse --loss mae --loss huber \
  --input "predictions=$data/diabetes/predictions.npy" --input "targets=$data/diabetes/targets.npy"

heading "http://$metrics/metrics: what a dashboard shows of these evaluations"
scrape
stop_server
printf '\nlossd ended in order.\n'
