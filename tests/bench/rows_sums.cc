// The exact sums themselves.
#include "lib/accumulate/block_sum.h"
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

template <class T>
constexpr DataType kType = sizeof(T) == 4 ? DataType::kFloat32 : DataType::kFloat64;

// Adds n values, against a pass over the same memory.
template <class T>
void MeasureSum(benchmark::State& state, int64_t n,
                const std::function<void(const T*, size_t, ExactSum*)>& add) {
  Dataset data;
  data.AddNormal("values", kType<T>, {n});
  const std::byte* const bytes = data.DataOf(data.largest());
  const auto* const values = reinterpret_cast<const T*>(bytes);
  const auto sum = [&] {
    ExactSum sum;
    add(values, static_cast<size_t>(n), &sum);
    benchmark::DoNotOptimize(sum.Round());
  };
  const Memory memory = {HalvesOf(bytes, data.bytes(), nullptr), nullptr, data.bytes()};
  const double seconds = MeasureAgainstMemory(&state, {sum}, memory)[0];
  state.counters["ns_element"] = seconds * 1e9 / static_cast<double>(n);
}

template <class T>
void AddRow(const std::string& name, int64_t n,
            std::function<void(const T*, size_t, ExactSum*)> add) {
  benchmark::RegisterBenchmark(("sums/" + name + "/threads:1").c_str(),
                               [n, add](benchmark::State& state) { MeasureSum<T>(state, n, add); })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

template <class T>
void AddOneByOne(const T* x, size_t n, ExactSum* sum) {
  for (size_t i = 0; i < n; ++i) sum->Add(static_cast<double>(x[i]));
}

template <class T>
void AddInBlocks(const T* x, size_t n, ExactSum* sum) {
  AddBlock(GetSumKernels(), x, n, sum);
}

}  // namespace

void RegisterSumRows() {
  constexpr int64_t kMany = int64_t{64} << 20;
  AddRow<double>("ExactSum::Add f64 64K", 65536, AddOneByOne<double>);
  AddRow<float>("AddBlock f32 64K", 65536, AddInBlocks<float>);
  AddRow<float>("AddBlock f32 64M", kMany, AddInBlocks<float>);
  AddRow<double>("AddBlock f64 64M", kMany, AddInBlocks<double>);
}

}  // namespace lossd::bench
