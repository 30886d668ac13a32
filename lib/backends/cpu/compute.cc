#include "lib/backends/cpu/compute.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/evaluation/report.h"

namespace lossd {
namespace {

// Elements of predictions in a chunk: large enough to hide its start, at most a fraction of a
// millisecond long, and several a thread, so that the threads end together. Bits do not depend on
// it.
constexpr int64_t kMinChunkElements = 32768;
constexpr int64_t kMaxChunkElements = 524288;
constexpr int64_t kChunksPerThread = 4;

const SumKernels& Kernels() {
  static const SumKernels kernels = GetSumKernels();
  return kernels;
}

enum class Output { kSums, kSumsAndValues, kValues };

absl::Status NonFiniteError(const BoundLoss& loss, const FormCall& call, int64_t item) {
  return InvalidArgument("NON_FINITE_ITEM", "",
                         std::string(loss.row->name) + ": the item at " +
                             loss.item_shape.PlaceOf(call.ItemIndex(item)) +
                             " is not finite, and non_finite is REJECT");
}

template <class T>
absl::Status RunUnits(const BoundLoss& loss, const FormCall& call, int64_t begin, int64_t end,
                      const CollectOptions& options, Output output, std::byte* values,
                      LossSums* sums) {
  Form<T> form(call);
  for (int64_t first = begin; first < end; first += form.max_units()) {
    const int64_t n = std::min(form.max_units(), end - first);
    if (output == Output::kSums && !options.statistics && form.AddInOnePass(first, n, sums))
      continue;
    ItemBlock<T> block;
    if (absl::Status s = form.Run(first, n, &block); !s.ok()) return s;
    if (output != Output::kValues) {
      const int64_t rejected = Collect(Kernels(), block, options, sums);
      if (rejected >= 0)
        return NonFiniteError(loss, call, first * call.items_per_unit() + rejected);
    }
    if (output != Output::kSums) form.StoreItems(values);
  }
  return absl::OkStatus();
}

absl::Status RunRange(const BoundLoss& loss, const FormCall& call, int64_t begin, int64_t end,
                      const CollectOptions& options, Output output, std::byte* values,
                      LossSums* sums) {
  if (loss.compute_type == DataType::kFloat32) {
    return RunUnits<float>(loss, call, begin, end, options, output, values, sums);
  }
  return RunUnits<double>(loss, call, begin, end, options, output, values, sums);
}

ExactParts SumOf(const float* items, size_t n) { return Kernels().sum_f32(items, n, Upcoming()); }
ExactParts SumOf(const double* items, size_t n) { return Kernels().sum_f64(items, n, Upcoming()); }

template <class T>
absl::StatusOr<double> ComputeMeanOf(const BoundLoss& loss) {
  const FormCall& call = loss.call;
  if (!loss.pooled && call.units > 0) {
    Form<T> form(call);
    if (call.units <= form.max_units()) {
      ItemBlock<T> block;
      if (absl::Status s = form.Run(0, call.units, &block); !s.ok()) return s;
      if (block.plain()) {
        const ExactParts parts = SumOf(block.items[0], block.n);
        if (parts.exact) return QuotientByCount(parts, static_cast<int64_t>(block.n));
      }
    }
  }
  LossSums sums;
  absl::Status s =
      RunRange(loss, call, 0, call.units, CollectOptions(), Output::kSums, nullptr, &sums);
  if (!s.ok()) return s;
  return ReportMean(*loss.row, loss.pooled, sums);
}

// The chunks of all tasks, one after the other. A pooled loss whose items are wanted takes a second
// pass, when its sums have given the parameters of its items.
class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
      const CancellationToken* token, ComputeDone done)
      : pool_(pool),
        tasks_(std::move(tasks)),
        options_(options),
        token_(token),
        done_(std::move(done)),
        outcomes_(tasks_.size()) {}

  void Start() {
    std::vector<Output> outputs(tasks_.size());
    for (size_t t = 0; t < tasks_.size(); ++t) {
      const bool values_now = tasks_[t].values != nullptr && !tasks_[t].loss.pooled;
      outputs[t] = values_now ? Output::kSumsAndValues : Output::kSums;
      AddChunks(t, tasks_[t].loss.call, outputs[t]);
    }
    RunPass([self = shared_from_this()] { self->StartItemPass(); });
  }

 private:
  struct Chunk {
    size_t task;
    const FormCall* call;
    Output output;
    int64_t begin, end;
  };

  void AddChunks(size_t task, const FormCall& call, Output output) {
    const int64_t classes = std::max<int64_t>(call.classes, 1);
    const int64_t share = call.units * classes / (pool_->threads() * kChunksPerThread);
    const int64_t step =
        std::max<int64_t>(1, std::clamp(share, kMinChunkElements, kMaxChunkElements) / classes);
    for (int64_t begin = 0; begin < call.units; begin += step) {
      chunks_.push_back({task, &call, output, begin, std::min(call.units, begin + step)});
    }
    elements_ += call.units * call.classes;
  }

  void RunPass(std::function<void()> then) {
    if (elements_ <= kInlineElements) {
      for (size_t i = 0; i < chunks_.size(); ++i) RunChunk(i);
      then();
      return;
    }
    pool_->Submit(
        static_cast<int64_t>(chunks_.size()),
        [self = shared_from_this()](int64_t i) { self->RunChunk(static_cast<size_t>(i)); },
        std::move(then));
  }

  void StartItemPass() {
    chunks_.clear();
    elements_ = 0;
    item_calls_.reserve(tasks_.size());
    for (size_t t = 0; t < tasks_.size() && error_.ok(); ++t) {
      if (tasks_[t].values == nullptr || !tasks_[t].loss.pooled) continue;
      item_calls_.push_back(tasks_[t].loss.ItemCall(outcomes_[t].sums));
      AddChunks(t, item_calls_.back(), Output::kValues);
    }
    if (chunks_.empty()) {
      Finish();
      return;
    }
    RunPass([self = shared_from_this()] { self->Finish(); });
  }

  void RunChunk(size_t index) {
    const Chunk& chunk = chunks_[index];
    if (Skips(index)) return;
    const auto start = std::chrono::steady_clock::now();
    LossSums sums;
    const ComputeTask& task = tasks_[chunk.task];
    absl::Status status = token_ != nullptr && token_->cancelled()
                              ? absl::CancelledError("the call was cancelled")
                              : RunRange(task.loss, *chunk.call, chunk.begin, chunk.end, options_,
                                         chunk.output, task.values, &sums);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::lock_guard lock(mutex_);
    if (!status.ok() && index < error_chunk_) {
      error_ = std::move(status);
      error_chunk_ = index;
    }
    outcomes_[chunk.task].seconds += elapsed.count();
    if (chunk.output != Output::kValues) outcomes_[chunk.task].sums.Merge(sums);
  }

  // After an error only earlier chunks matter: one of them may hold the first bad item.
  bool Skips(size_t index) {
    std::lock_guard lock(mutex_);
    return index > error_chunk_;
  }

  void Finish() {
    if (!error_.ok()) {
      done_(std::move(error_), {});
    } else {
      done_(absl::OkStatus(), std::move(outcomes_));
    }
  }

  ThreadPool* const pool_;
  const std::vector<ComputeTask> tasks_;
  const CollectOptions options_;
  const CancellationToken* const token_;
  const ComputeDone done_;
  std::vector<Chunk> chunks_;
  std::vector<FormCall> item_calls_;
  int64_t elements_ = 0;

  std::mutex mutex_;
  std::vector<ComputeOutcome> outcomes_;
  absl::Status error_;
  size_t error_chunk_ = SIZE_MAX;
};

}  // namespace

void Compute(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
             const CancellationToken* token, ComputeDone done) {
  std::make_shared<Job>(pool, std::move(tasks), options, token, std::move(done))->Start();
}

absl::StatusOr<double> ComputeMean(const BoundLoss& loss) {
  return loss.compute_type == DataType::kFloat32 ? ComputeMeanOf<float>(loss)
                                                 : ComputeMeanOf<double>(loss);
}

}  // namespace lossd
