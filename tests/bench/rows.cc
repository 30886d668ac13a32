#include "tests/bench/rows.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

namespace lossd::bench {
namespace {

double seconds_per_row = 1;

double SecondsOf(const std::function<void()>& function, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) function();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / repeats;
}

// The tensors of the last row that asked for others than the row before.
const Dataset& DataOf(const Work& work) {
  static std::string* const key = new std::string;
  static std::unique_ptr<Dataset>* const data = new std::unique_ptr<Dataset>;
  if (*data == nullptr || *key != work.data) {
    data->reset();  // before the next is made: both would not fit
    *data = std::make_unique<Dataset>();
    work.make(data->get());
    *key = work.data;
  }
  return **data;
}

// Streams over memory of the work itself: its two largest tensors, or the halves of the largest.
Streams StreamsOf(const Dataset& data, const BoundWork& work) {
  const size_t bytes = data.largest().byte_size();
  const std::byte* const start = data.DataOf(data.largest());
  Streams streams = HalvesOf(start, bytes, work.largest_output());
  for (const auto& [name, tensor] : data.tensors()) {
    if (tensor.byte_size() != bytes || data.DataOf(tensor) == start) continue;
    streams.read[1] = reinterpret_cast<const uint32_t*>(data.DataOf(tensor));
    streams.written[1] = nullptr;
    streams.words = bytes / sizeof(uint32_t) / kWordsALine * kWordsALine;
  }
  return streams;
}

// Megabytes of resident memory, now and at most since ResetPeak.
struct Resident {
  double now = 0;
  double peak = 0;
};

Resident ReadResident() {
  Resident resident;
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    double* const field = word == "VmRSS:" ? &resident.now : &resident.peak;
    if (word == "VmRSS:" || word == "VmHWM:") status >> *field;
  }
  return {resident.now / 1e3, resident.peak / 1e3};
}

// What the function takes beyond what is there before it, in MB.
double ExtraMemory(const std::function<void()>& function) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << '5' << std::flush;  // peak = now
  const double before = ReadResident().now;
  function();
  return std::max(0.0, ReadResident().peak - before);
}

void Run(benchmark::State& state, const Work& work, int threads) {
  const Dataset& data = DataOf(work);
  const BoundWork bound(work, data);
  const Streams streams = StreamsOf(data, bound);
  ThreadPool pool(threads);
  // Compute keeps small work on the calling thread.
  ThreadPool* const passing = data.largest().elements() <= kInlineElements ? nullptr : &pool;
  std::vector<std::function<void()>> functions = {
      [&] { benchmark::DoNotOptimize(bound.Compute(&pool)); }};
  // Of several losses also each alone.
  for (size_t i = 0; bound.losses() > 1 && i < bound.losses(); ++i)
    functions.push_back([&, i] { benchmark::DoNotOptimize(bound.ComputeOne(i, &pool)); });
  const double extra = ExtraMemory(functions[0]);  // also the first, warming pass
  const std::vector<double> seconds = MeasureAgainstMemory(
      &state, functions, {streams, passing, data.bytes() + bound.written()}, work.samples);
  state.counters["ns_element"] = seconds[0] * 1e9 / static_cast<double>(data.largest().elements());
  state.counters["input_MB"] = static_cast<double>(data.bytes()) / 1e6;
  state.counters["extra_MB"] = extra;
  if (work.operations > 0) state.counters["GFLOPs"] = work.operations / seconds[0] / 1e9;
  if (seconds.size() > 1) {
    const double dearest = *std::max_element(seconds.begin() + 1, seconds.end());
    state.counters["of_dearest"] = seconds[0] / dearest;
  }
}

void Register(const Work& work, int threads) {
  benchmark::RegisterBenchmark((work.name + "/threads:" + std::to_string(threads)).c_str(),
                               [work, threads](benchmark::State& s) { Run(s, work, threads); })
      ->UseManualTime()
      ->Iterations(1)
      ->Unit(benchmark::kMillisecond);
}

}  // namespace

void Register(const Work& work) {
  Register(work, 1);
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (cores > 1) Register(work, cores);
}

void RegisterOnOneThread(const Work& work) { Register(work, 1); }

void SetSecondsPerRow(double seconds) { seconds_per_row = seconds; }

std::vector<double> Medians(const std::vector<std::function<void()>>& functions, int samples) {
  constexpr double kShortest = 1e-3;  // a sample: far above the clock's steps
  std::vector<int> repeats;
  std::vector<std::vector<double>> seconds;
  const auto start = std::chrono::steady_clock::now();
  for (const auto& function : functions) {
    int count = 1;
    double each = SecondsOf(function, count);
    while (each * count < kShortest) each = SecondsOf(function, count *= 2);
    repeats.push_back(count);
    seconds.push_back({each});
  }
  std::chrono::duration<double> elapsed{0};
  for (int sample = 1; sample < samples || elapsed.count() < seconds_per_row; ++sample) {
    for (size_t i = 0; i < functions.size(); ++i)
      seconds[i].push_back(SecondsOf(functions[i], repeats[i]));
    elapsed = std::chrono::steady_clock::now() - start;
  }
  std::vector<double> medians;
  for (std::vector<double>& of_one : seconds) {
    std::ranges::nth_element(of_one, of_one.begin() + static_cast<ptrdiff_t>(of_one.size() / 2));
    medians.push_back(of_one[of_one.size() / 2]);
  }
  return medians;
}

std::vector<double> MeasureAgainstMemory(benchmark::State* state,
                                         std::vector<std::function<void()>> functions,
                                         const Memory& memory, int samples) {
  const size_t count = functions.size();
  for (const bool prefetch : {false, true})
    functions.push_back([&, prefetch] { PassOver(memory.streams, prefetch, memory.pool); });
  std::vector<double> seconds = Medians(functions, samples);
  const double fastest_pass = std::min(seconds[count], seconds[count + 1]);
  seconds.resize(count);
  for (auto _ : *state) state->SetIterationTime(seconds[0]);
  const double rate = static_cast<double>(memory.bytes) / seconds[0] / 1e9;
  const double limit = static_cast<double>(memory.streams.bytes()) / fastest_pass / 1e9;
  state->counters["GBps"] = rate;
  state->counters["limit"] = limit;
  state->counters["ratio"] = rate / limit;
  return seconds;
}

}  // namespace lossd::bench
