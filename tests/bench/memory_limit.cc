#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/memory_limit.cc"
#include "tests/bench/memory_limit.h"

#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::bench::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

constexpr size_t kAhead = 24576 / 4;  // words: 24 KB cover what L2 and memory take to answer

void Fetch(const uint32_t* words) { __builtin_prefetch(words + kAhead, 0, 2); }

// Whole numbers: no bit pattern of the data makes an addition slower than another.
uint32_t SumOfStreams(const uint32_t* a, const uint32_t* b, size_t n, bool prefetch) {
  const hn::ScalableTag<uint32_t> d;
  const size_t lanes = hn::Lanes(d);
  auto sums_a = hn::Zero(d);
  auto sums_b = hn::Zero(d);
  for (size_t i = 0; i < n; i += kWordsALine) {
    if (prefetch) {
      Fetch(a + i);
      Fetch(b + i);
    }
    for (size_t j = i; j < i + kWordsALine; j += lanes) {
      sums_a = hn::Add(sums_a, hn::LoadU(d, a + j));
      sums_b = hn::Add(sums_b, hn::LoadU(d, b + j));
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(sums_a, sums_b)));
}

// As Streams says; `second` may be null.
void WriteStreams(const uint32_t* a, const uint32_t* b, size_t n, bool prefetch, uint32_t* first,
                  uint32_t* second) {
  const hn::ScalableTag<uint32_t> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; i += kWordsALine) {
    if (prefetch) {
      Fetch(a + i);
      Fetch(b + i);
    }
    for (size_t j = i; j < i + kWordsALine; j += lanes) {
      const auto x = hn::LoadU(d, a + j);
      const auto y = hn::LoadU(d, b + j);
      hn::Stream(second == nullptr ? hn::Add(x, y) : x, d, first + j);
      if (second != nullptr) hn::Stream(y, d, second + j);
    }
  }
  hwy::FlushStream();
}

}  // namespace lossd::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <latch>

#include "benchmark/benchmark.h"

namespace lossd::bench {
namespace {

HWY_EXPORT(SumOfStreams);
HWY_EXPORT(WriteStreams);

// As many chunks a thread as keep threads busy that the machine does not treat alike.
constexpr size_t kChunksPerThread = 8;

void PassOverPart(const Streams& s, bool prefetch, size_t begin, size_t n) {
  const uint32_t* const a = s.read[0] + begin;
  const uint32_t* const b = s.read[1] + begin;
  if (s.written[0] == nullptr) {
    benchmark::DoNotOptimize(HWY_DYNAMIC_DISPATCH(SumOfStreams)(a, b, n, prefetch));
    return;
  }
  uint32_t* const second = s.written[1] == nullptr ? nullptr : s.written[1] + begin;
  HWY_DYNAMIC_DISPATCH(WriteStreams)(a, b, n, prefetch, s.written[0] + begin, second);
}

}  // namespace

Streams HalvesOf(const std::byte* data, size_t bytes, std::byte* output) {
  const size_t words = bytes / 2 / sizeof(uint32_t) / kWordsALine * kWordsALine;
  const auto* const read = reinterpret_cast<const uint32_t*>(data);
  Streams streams = {.read = {read, read + words}, .words = words};
  if (output == nullptr) return streams;
  auto* const written = reinterpret_cast<uint32_t*>(output);
  streams.written[0] = written;
  streams.written[1] = written + words;
  return streams;
}

void PassOver(const Streams& streams, bool prefetch, ThreadPool* pool) {
  if (pool == nullptr) return PassOverPart(streams, prefetch, 0, streams.words);
  const size_t chunks = kChunksPerThread * static_cast<size_t>(pool->threads());
  const size_t lines = streams.words / kWordsALine;
  std::latch latch(1);
  pool->Submit(
      static_cast<int64_t>(chunks),
      [&](int64_t chunk) {
        const size_t c = static_cast<size_t>(chunk);
        const size_t begin = lines * c / chunks * kWordsALine;
        PassOverPart(streams, prefetch, begin, lines * (c + 1) / chunks * kWordsALine - begin);
      },
      [&] { latch.count_down(); });
  latch.wait();
}

}  // namespace lossd::bench

#endif  // HWY_ONCE
