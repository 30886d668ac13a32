// The rows of lossd_bench and how they are measured. One file a group registers its rows.
//
// A row alternates between its work and plain passes over the memory that the work has to read and
// write, and reports the medians: the speed of a shared machine drifts, and so hits both alike.
//
// Thread-safety: for one caller.
#ifndef LOSSD_TESTS_BENCH_ROWS_H_
#define LOSSD_TESTS_BENCH_ROWS_H_

#include <benchmark/benchmark.h>

#include <functional>
#include <vector>

#include "tests/bench/memory_limit.h"
#include "tests/bench/work.h"

namespace lossd::bench {

// Registers the work once with one thread and once with all of the machine.
void Register(const Work& work);
// On one thread: works of the caches.
void RegisterOnOneThread(const Work& work);

// Seconds that a row is measured for. Set before rows run.
void SetSecondsPerRow(double seconds);

// Runs the functions in turn, for the seconds of a row and at least `samples` times, short ones
// repeated; returns the median seconds of each.
std::vector<double> Medians(const std::vector<std::function<void()>>& functions, int samples = 5);

// The memory that a row is held against, and the bytes that its work reads and writes.
struct Memory {
  Streams streams;
  ThreadPool* pool = nullptr;  // as for PassOver
  size_t bytes = 0;
};

// Medians of the functions, alternating with passes over the memory; sets the time of the row and
// the columns GBps, limit and ratio by the first one.
std::vector<double> MeasureAgainstMemory(benchmark::State* state,
                                         std::vector<std::function<void()>> functions,
                                         const Memory& memory, int samples = 5);

void RegisterElementRows();
void RegisterClassRows();
void RegisterPairRows();
void RegisterBoxRows();
void RegisterClassifierRows();
void RegisterGradientRows();
void RegisterSeveralRows();
void RegisterSmallRows();
void RegisterSumRows();
void RegisterCacheRows();

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_ROWS_H_
