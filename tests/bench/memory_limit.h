// What the machine's memory allows: the yardstick of every benchmark row, measured beside it.
//
// Thread-safety: functions for one caller at a time. They read and write the caller's memory.
#ifndef LOSSD_TESTS_BENCH_MEMORY_LIMIT_H_
#define LOSSD_TESTS_BENCH_MEMORY_LIMIT_H_

#include <cstddef>
#include <cstdint>

#include "lib/base/thread_pool.h"

namespace lossd::bench {

inline constexpr size_t kWordsALine = 16;  // of the cache

// Two streams of words that are read, as a loss of predictions and targets does, and up to two that
// are written.
struct Streams {
  const uint32_t* read[2];
  // At multiples of 64 bytes. Null: nothing is written. One: the sum of what both have at a place.
  // Two: what each has.
  uint32_t* written[2] = {nullptr, nullptr};
  size_t words = 0;  // of each stream; whole lines

  size_t bytes() const {
    const size_t streams = 2u + (written[0] != nullptr) + (written[1] != nullptr);
    return streams * words * sizeof(uint32_t);
  }
};

// The halves of one tensor, written to the halves of `output` if that is not null.
Streams HalvesOf(const std::byte* data, size_t bytes, std::byte* output);

// Passes once over the streams by plain vector code: adds up what it reads, or writes it past the
// caches. Without a pool on the calling thread. Whether the processor's own prefetching is faster
// than software's depends on the processor: the limit is the faster of the two.
void PassOver(const Streams& streams, bool prefetch, ThreadPool* pool);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_MEMORY_LIMIT_H_
