// The machine's read limit: what every benchmark row is held against, measured in the same run.
#ifndef LOSSD_TESTS_BENCH_READ_LIMIT_H_
#define LOSSD_TESTS_BENCH_READ_LIMIT_H_

#include <cstddef>

namespace lossd::bench {

// Bytes a second, in units of 1e9, at which `threads` threads read two arrays of n floats by a
// plain vector sum with software prefetch: the median of `runs` after a warm-up.
double ReadLimit(const float* a, const float* b, size_t n, int threads, int runs = 9);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_READ_LIMIT_H_
