// Kernels against the memory they read.
//
//   lossd_bench [--benchmark_filter=REGEX] ...
//
// Columns: GBps, bytes of input read a second; limit, what the same number of threads reads from a
// working set of the same size by a plain sum, measured in this run right before each repetition;
// ratio, the one over the other. Quote the median rows. Sums are exact in every row. The rows of
// small batches give nanoseconds a call.
#include <benchmark/benchmark.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <latch>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lib/backends/cpu/compute.h"
#include "lib/base/cpu_target.h"
#include "lib/evaluation/report.h"
#include "lib/losses/catalogue.h"
#include "tests/bench/read_limit.h"

namespace lossd::bench {
namespace {

// Two arrays of 64 million floats, shared by all rows: far beyond every cache. They are apart by no
// power of two, as tensors of a request are: at 2^28 bytes processors that predict a cache way from
// the address miss at every load.
constexpr size_t kElements = size_t{64} << 20;
constexpr size_t kApart = 4096 + 64;

struct Memory {
  std::vector<float> values = std::vector<float>(2 * kElements + kApart);
  std::vector<int64_t> labels = std::vector<int64_t>(size_t{1} << 20);

  Memory() {
    std::mt19937_64 random(1);
    std::normal_distribution<float> normal;
    // A million draws or so, repeated: drawing all of them takes longer than the benchmark. The
    // period is no power of two, so that the two arrays differ.
    constexpr size_t kPeriod = 1000003;
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = i < kPeriod ? normal(random) : values[i - kPeriod];
  }
  const float* predictions() const { return values.data(); }
  const float* targets() const { return values.data() + kElements + kApart; }
};

Memory& SharedMemory() {
  static Memory* const memory = new Memory();
  return *memory;
}

TensorView View(DataType dtype, const Shape& shape, const void* data) {
  const size_t bytes = static_cast<size_t>(shape.elements()) * ByteSize(dtype);
  return *TensorView::Create(dtype, shape, {static_cast<const std::byte*>(data), bytes});
}

LossSpec Spec(const char* name) {
  LossSpec spec;
  spec.row = Catalogue::Get().Find(name);
  for (int i = 0; i < spec.row->parameters.size; ++i)
    spec.parameters[i] = spec.row->parameters[i].default_value;
  spec.path = "losses[0]";
  return spec;
}

void Run(benchmark::State& state, const LossSpec& spec, const NamedTensors& inputs, int threads,
         size_t bytes) {
  const absl::StatusOr<BoundLoss> loss = Bind(spec, inputs);
  if (!loss.ok()) {
    state.SkipWithError(std::string(loss.status().message()).c_str());
    return;
  }
  const double limit = ReadLimit(SharedMemory().predictions(), SharedMemory().targets(),
                                 bytes / 2 / sizeof(float), threads);
  ThreadPool pool(threads);
  const auto start = std::chrono::steady_clock::now();
  for (auto _ : state) {
    std::latch latch(1);
    Compute(&pool, {{*loss, nullptr}}, CollectOptions(), nullptr,
            [&](absl::Status status, std::vector<ComputeOutcome> outcomes) {
              if (!status.ok()) std::abort();
              benchmark::DoNotOptimize(ReportMean(*loss->row, loss->pooled, outcomes[0].sums));
              latch.count_down();
            });
    latch.wait();
  }
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  const double rate =
      static_cast<double>(bytes) * static_cast<double>(state.iterations()) / elapsed.count() / 1e9;
  state.counters["GBps"] = rate;
  state.counters["limit"] = limit;
  state.counters["ratio"] = rate / limit;
}

void Elementwise(benchmark::State& state, const char* loss, const char* prediction, int threads) {
  const Memory& memory = SharedMemory();
  const Shape shape{static_cast<int64_t>(kElements)};
  const NamedTensors inputs = {{prediction, View(DataType::kFloat32, shape, memory.predictions())},
                               {"targets", View(DataType::kFloat32, shape, memory.targets())}};
  Run(state, Spec(loss), inputs, threads, 2 * kElements * sizeof(float));
}

// Binary losses want targets of 0 to 1.
void Binary(benchmark::State& state, const char* loss, int threads) {
  static std::vector<float>* const targets = [] {
    auto* const t = new std::vector<float>(kElements);
    for (size_t i = 0; i < kElements; ++i) (*t)[i] = static_cast<float>((i * 2654435761u >> 7) & 1);
    return t;
  }();
  const Shape shape{static_cast<int64_t>(kElements)};
  const NamedTensors inputs = {
      {"logits", View(DataType::kFloat32, shape, SharedMemory().predictions())},
      {"targets", View(DataType::kFloat32, shape, targets->data())}};
  Run(state, Spec(loss), inputs, threads, 2 * kElements * sizeof(float));
}

void CrossEntropy(benchmark::State& state, int64_t rows, int64_t classes, int threads) {
  const NamedTensors inputs = {
      {"logits", View(DataType::kFloat32, Shape{rows, classes}, SharedMemory().predictions())},
      {"labels", View(DataType::kInt64, Shape{rows}, SharedMemory().labels.data())}};
  Run(state, Spec("cross_entropy"), inputs, threads,
      static_cast<size_t>(rows * classes) * sizeof(float));
}

// One small batch by the library: binding the tensors, computing, the mean.
void SmallMse(benchmark::State& state) {
  const LossSpec spec = Spec("mse");
  const float* values = SharedMemory().predictions();
  const Shape shape{16};
  const NamedTensors inputs = {{"predictions", View(DataType::kFloat32, shape, values)},
                               {"targets", View(DataType::kFloat32, shape, values + 16)}};
  const BoundLoss loss = *Bind(spec, inputs);
  for (auto _ : state) {
    const absl::StatusOr<double> mean = ComputeMean(loss);
    benchmark::DoNotOptimize(*mean);
  }
}

void Register() {
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  std::vector<int> threads = {1};
  if (cores > 1) threads.push_back(cores);
  const auto add = [&](const std::string& name,
                       const std::function<void(benchmark::State&, int)>& run) {
    for (const int t : threads) {
      benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(t)).c_str(),
                                   [run, t](benchmark::State& state) { run(state, t); })
          ->UseRealTime()
          ->Unit(benchmark::kMillisecond)
          ->MinWarmUpTime(0.2)
          ->Repetitions(5)
          ->ReportAggregatesOnly();
    }
  };
  for (const char* loss :
       {"mse", "mae", "smooth_l1", "huber", "quantile", "log_cosh", "poisson_nll"}) {
    add(std::string(loss) + " f32 64M",
        [loss](benchmark::State& state, int t) { Elementwise(state, loss, "predictions", t); });
  }
  for (const char* loss : {"binary_cross_entropy", "focal"}) {
    add(std::string(loss) + " f32 64M",
        [loss](benchmark::State& state, int t) { Binary(state, loss, t); });
  }
  const std::pair<int64_t, int64_t> sizes[] = {
      {4096, 32000}, {65536, 1000}, {1024, 128256}, {1 << 20, 10}};
  for (const auto& [rows, classes] : sizes) {
    add("cross_entropy f32 [" + std::to_string(rows) + "," + std::to_string(classes) + "]",
        [rows = rows, classes = classes](benchmark::State& state, int t) {
          CrossEntropy(state, rows, classes, t);
        });
  }
  benchmark::RegisterBenchmark("mse f32 16, one call", SmallMse)
      ->Repetitions(5)
      ->ReportAggregatesOnly();
}

}  // namespace
}  // namespace lossd::bench

int main(int argc, char** argv) {
  if (absl::Status status = lossd::InitCpuTarget(); !status.ok()) {
    std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
    return 1;
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::AddCustomContext("target", std::string(lossd::ActiveCpuTarget()));
  lossd::bench::Register();
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
