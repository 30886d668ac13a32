#!/usr/bin/env bash
# Every benchmark of lossd, its limits and its peers, in one run: writes docs/benchmarks.md and its plot.
#
#   tests/bench/run.sh            two rounds
#   tests/bench/run.sh --quick    one short round, without torch.compile
#
# PyTorch comes from PyPI into build/bench/venv. Where it cannot be installed the table says so, and holds lossd
# against the machine alone. Leave the machine alone meanwhile. Raw numbers stay in build/bench/results.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

readonly venv=build/bench/venv
readonly results=build/bench/results
readonly bin=build/release/bin
# lossd and PyTorch take turns group by group, so that the machine's drift does not tell them apart.
readonly groups=(element classes pairs 'boxes|masks' 'classifier|head' 'gradients|several|sequences|small' sums)

rounds=2
seconds=0.5
peer_options=()
service_options=(--full)
case "${1:-}" in
  '') ;;
  --quick)
    rounds=1
    seconds=0.2
    peer_options=(--no-compile)
    service_options=()
    ;;
  *)
    echo "usage: tests/bench/run.sh [--quick]" >&2
    exit 2
    ;;
esac

# The newest PyTorch of PyPI; false where there is none to be had.
peers_installed() {
  [[ -x $venv/bin/python ]] || python3 -m venv "$venv"
  "$venv/bin/python" -m pip install --quiet --upgrade torch torchvision numpy matplotlib setuptools grpcio "protobuf<5" ||
    "$venv/bin/python" -c 'import torch, torchvision, numpy, matplotlib, grpc'
}

kernels() {
  "$bin/lossd_bench" --benchmark_filter="^($1)/" --seconds="$seconds" --benchmark_out_format=json \
    --benchmark_out="$results/lossd-$2.json"
}

peers() {
  "$venv/bin/python" tests/bench/peers/torch_peer.py --filter "^($1)/" --seconds "$seconds" "${peer_options[@]}" \
    > "$results/torch-$2.json"
  if [[ $1 == *classifier* ]]; then
    "$venv/bin/python" tests/bench/peers/products.py --seconds "$seconds" > "$results/products-$2.json"
  fi
}

deploy/install-deps.sh build test
cmake --preset release
cmake --build --preset release --target lossd_bench lossd
rm -rf "$results"
mkdir -p "$results"
with_peers=true
peers_installed || with_peers=false
$with_peers || echo "run.sh: no PyTorch from PyPI (no network?): without peers, bare products and plot" >&2
export TORCHINDUCTOR_CACHE_DIR=$PWD/build/bench/inductor

for ((round = 1; round <= rounds; ++round)); do
  for i in "${!groups[@]}"; do
    kernels "${groups[i]}" "$i-$round"
    if $with_peers && [[ ${groups[i]} != sums ]]; then peers "${groups[i]}" "$i-$round"; fi
  done
done

if [[ -d tests/bench/service ]]; then
  cmake --build --preset release --target service_bench
  $with_peers && service_options+=(--python "$venv/bin/python")
  "$bin/service_bench" "${service_options[@]}" > "$results/service.json"
fi

python3 tests/bench/report.py "$results"
if $with_peers; then "$venv/bin/python" tests/bench/plot.py "$results"; fi
