#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/read_limit.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::bench::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Two streams, as a loss of predictions and targets reads them.
float SumOfTwoStreams(const float* a, const float* b, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kLine = 16;  // floats
  auto sums_a = hn::Zero(d);
  auto sums_b = hn::Zero(d);
  for (size_t i = 0; i + kLine <= n; i += kLine) {
    hwy::Prefetch(a + i + 512);
    hwy::Prefetch(b + i + 512);
    for (size_t j = 0; j < kLine; j += lanes) {
      sums_a = hn::Add(sums_a, hn::LoadU(d, a + i + j));
      sums_b = hn::Add(sums_b, hn::LoadU(d, b + i + j));
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sums_a, sums_b)));
}

}  // namespace lossd::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include "benchmark/benchmark.h"
#include "tests/bench/read_limit.h"

namespace lossd::bench {

HWY_EXPORT(SumOfTwoStreams);

double ReadLimit(const float* a, const float* b, size_t n, int threads, int runs) {
  const size_t share = n / static_cast<size_t>(threads);
  std::vector<double> rates;
  for (int run = 0; run <= runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    std::vector<std::thread> workers;
    for (int t = 0; t < threads; ++t) {
      workers.emplace_back([=] {
        const size_t begin = static_cast<size_t>(t) * share;
        benchmark::DoNotOptimize(
            HWY_DYNAMIC_DISPATCH(SumOfTwoStreams)(a + begin, b + begin, share));
      });
    }
    for (std::thread& worker : workers) worker.join();
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    if (run > 0)
      rates.push_back(static_cast<double>(2 * n * sizeof(float)) / elapsed.count() /
                      1e9);  // the first warms up
  }
  std::ranges::sort(rates);
  return rates[rates.size() / 2];
}

}  // namespace lossd::bench

#endif  // HWY_ONCE
