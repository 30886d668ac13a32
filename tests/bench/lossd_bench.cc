// Kernels against what the machine allows.
//
//   lossd_bench [--seconds=S] [--benchmark_filter=REGEX] [--benchmark_format=json] ...
//
// Rows are named group/what/threads:N. Time is the median of at least S seconds (default 1) of
// alternating between the work and a plain pass over its memory with as many threads. Columns:
//   GBps        bytes of input, and of gradients written, a second
//   limit       the same of the plain pass
//   ratio       GBps / limit
//   ns_element  nanoseconds per element of the largest tensor
//   input_MB    bytes of the input
//   extra_MB    resident memory that the work took beside its input and output, at most
//   GFLOPs      of a classifier's matrix product, a second
//   of_dearest  time of several losses over that of the dearest of them alone
// docs/benchmarks-guide.md says how to read them.
#include <benchmark/benchmark.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "lib/base/cpu_target.h"
#include "tests/bench/rows.h"

namespace {

// Takes --seconds=S out of the arguments: the others are the benchmark library's.
std::vector<char*> TakeSeconds(int argc, char** argv) {
  constexpr std::string_view kSeconds = "--seconds=";
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const std::string_view argument = argv[i];
    if (argument.starts_with(kSeconds)) {
      lossd::bench::SetSecondsPerRow(std::strtod(argv[i] + kSeconds.size(), nullptr));
    } else {
      rest.push_back(argv[i]);
    }
  }
  return rest;
}

}  // namespace

int main(int argc, char** argv) {
  if (absl::Status status = lossd::InitCpuTarget(); !status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  std::vector<char*> arguments = TakeSeconds(argc, argv);
  int count = static_cast<int>(arguments.size());
  benchmark::Initialize(&count, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(count, arguments.data())) return 1;
  benchmark::AddCustomContext("target", std::string(lossd::ActiveCpuTarget()));
  benchmark::AddCustomContext("compiler", __VERSION__);
  lossd::bench::RegisterElementRows();
  lossd::bench::RegisterClassRows();
  lossd::bench::RegisterPairRows();
  lossd::bench::RegisterBoxRows();
  lossd::bench::RegisterClassifierRows();
  lossd::bench::RegisterGradientRows();
  lossd::bench::RegisterSeveralRows();
  lossd::bench::RegisterSmallRows();
  lossd::bench::RegisterSumRows();
  lossd::bench::RegisterCacheRows();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
