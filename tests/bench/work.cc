#include "tests/bench/work.h"

#include <malloc.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <latch>
#include <memory>
#include <thread>

#include "lib/backends/cpu/compute.h"
#include "lib/evaluation/report.h"
#include "lib/losses/catalogue.h"

namespace lossd::bench {
namespace {

double seconds_per_row = 1;

double SecondsOf(const std::function<void()>& function, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) function();
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return elapsed.count() / repeats;
}

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "lossd_bench: %s\n", what.c_str());
  std::exit(1);
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

// Bound losses, and where their gradients go.
class Tasks {
 public:
  Tasks(const Work& work, const Dataset& data) {
    size_t most = 0;
    for (const Loss& loss : work.losses) {
      const absl::StatusOr<BoundLoss> bound = Bind(Spec(loss), data.tensors());
      if (!bound.ok()) Fail(work.name + ": " + std::string(bound.status().message()));
      ComputeTask& task = tasks_.emplace_back(ComputeTask{*bound});
      for (const GradientSlot& slot : GradientSlots(*bound)) {
        if (std::ranges::find(work.gradients, slot.tensor) == work.gradients.end()) continue;
        const size_t bytes =
            static_cast<size_t>(slot.shape.elements()) * ByteSize(bound->compute_type);
        memory_.push_back(std::make_unique<std::byte[]>(bytes + 64));
        std::byte* const start = memory_.back().get();
        std::byte* const output = start + (64 - reinterpret_cast<uintptr_t>(start) % 64) % 64;
        task.gradients[static_cast<size_t>(slot.slot)] = output;
        written_ += bytes;
        if (bytes <= most) continue;
        most = bytes;
        largest_output_ = output;
      }
    }
  }

  const std::vector<ComputeTask>& all() const { return tasks_; }
  size_t written() const { return written_; }
  // As long as the tensor that it is the gradient of. Null: there is none.
  std::byte* largest_output() const { return largest_output_; }

 private:
  std::vector<ComputeTask> tasks_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
  size_t written_ = 0;
  std::byte* largest_output_ = nullptr;
};

void ComputeAll(const std::vector<ComputeTask>& tasks, ThreadPool* pool) {
  std::latch latch(1);
  Compute(pool, tasks, CollectOptions(), nullptr,
          [&](absl::Status status, std::vector<ComputeOutcome> outcomes) {
            if (!status.ok()) Fail(std::string(status.message()));
            for (size_t i = 0; i < tasks.size(); ++i) {
              const BoundLoss& loss = tasks[i].loss;
              benchmark::DoNotOptimize(ReportMean(*loss.row, loss.pooled, outcomes[i].sums));
            }
            latch.count_down();
          });
  latch.wait();
}

// Streams over memory of the work itself: its two largest tensors, or the halves of the largest.
Streams StreamsOf(const Dataset& data, const Tasks& tasks) {
  const size_t bytes = data.largest().byte_size();
  const std::byte* const start = data.DataOf(data.largest());
  Streams streams = HalvesOf(start, bytes, tasks.largest_output());
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
  const Tasks tasks(work, data);
  const Streams streams = StreamsOf(data, tasks);
  ThreadPool pool(threads);
  // Compute keeps small work on the calling thread.
  ThreadPool* const passing = data.largest().elements() <= kInlineElements ? nullptr : &pool;
  std::vector<std::function<void()>> functions = {[&] { ComputeAll(tasks.all(), &pool); }};
  // Of several losses also each alone.
  if (tasks.all().size() > 1) {
    for (const ComputeTask& task : tasks.all())
      functions.push_back([&task, &pool] { ComputeAll({task}, &pool); });
  }
  const double extra = ExtraMemory(functions[0]);  // also the first, warming pass
  const std::vector<double> seconds = MeasureAgainstMemory(
      &state, functions, {streams, passing, data.bytes() + tasks.written()}, work.samples);
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

LossSpec Spec(const Loss& loss) {
  LossSpec spec;
  spec.row = Catalogue::Get().Find(loss.name);
  if (spec.row == nullptr) Fail(std::string("no loss ") + loss.name);
  for (int i = 0; i < spec.row->parameters.size; ++i)
    spec.parameters[static_cast<size_t>(i)] = spec.row->parameters[i].default_value;
  for (const auto& [name, value] : loss.parameters)
    spec.parameters[static_cast<size_t>(FindParameter(*spec.row, name))] = value;
  spec.path = "losses[0]";
  return spec;
}

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
  for (const auto& function : functions) {
    int count = 1;
    while (SecondsOf(function, count) * count < kShortest) count *= 2;
    repeats.push_back(count);
  }
  std::vector<std::vector<double>> seconds(functions.size());
  const auto start = std::chrono::steady_clock::now();
  std::chrono::duration<double> elapsed{0};
  for (int sample = 0; sample < samples || elapsed.count() < seconds_per_row; ++sample) {
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
