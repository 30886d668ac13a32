#include "lib/backends/cpu/compute.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/status.h"
#include "lib/evaluation/report.h"
#include "lib/forms/forms.h"

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

const GradientCall kNoGradients;

// A chunk's work.
enum class Output { kSums, kSumsAndValues, kValues, kGradients, kTableGradients, kTableUpdate };

absl::Status NonFiniteError(const BoundLoss& loss, const FormCall& call, int64_t item) {
  return InvalidArgument("NON_FINITE_ITEM", "",
                         std::string(loss.row->name) + ": the item at " +
                             loss.counted_shape().PlaceOf(call.ItemIndex(item)) +
                             " is not finite, and non_finite is REJECT");
}

// What of a call a thread computes, and where it goes.
struct Range {
  const BoundLoss& loss;
  const FormCall& call;
  int64_t begin, end;  // units; of the table's gradient or update its rows
  Output output;
  std::byte* values;
  const GradientCall& gradients;
  const CancellationToken* token = nullptr;
  std::array<double, kMaxComponents>* components = nullptr;  // of a whole-batch loss
};

template <class T, class FormOfT>
absl::Status RunUnits(const Range& range, const CollectOptions& options, FormOfT& form,
                      LossSums* sums) {
  const BoundLoss& loss = range.loss;
  const FormCall& call = range.call;
  const int64_t begin = range.begin, end = range.end;
  const Output output = range.output;
  const GradientCall& gradients = range.gradients;
  if constexpr (requires { form.CancelBy(range.token); }) form.CancelBy(range.token);
  if constexpr (requires { form.RunTableGradients(begin, end, gradients); }) {
    if (output == Output::kTableGradients) return form.RunTableGradients(begin, end, gradients);
  }
  if constexpr (requires { form.RunTableUpdate(begin, end, gradients); }) {
    if (output == Output::kTableUpdate) return form.RunTableUpdate(begin, end, gradients);
  }
  for (int64_t first = begin, n = 0; first < end; first += n) {
    if (range.token != nullptr && range.token->cancelled())
      return absl::CancelledError("the call was cancelled");
    n = std::min(form.max_units(), end - first);
    if (output == Output::kGradients) {
      if (absl::Status s = form.RunGradients(first, n, gradients); !s.ok()) return s;
      continue;
    }
    if constexpr (requires { form.AddInOnePass(first, n, sums); }) {
      const bool sums_only = output == Output::kSums && !options.statistics;
      const int64_t added = sums_only ? form.AddInOnePass(first, end - first, sums) : 0;
      if (added > 0) {
        n = added;
        continue;
      }
    }
    ItemBlock<T> block;
    if (absl::Status s = form.Run(first, n, &block); !s.ok()) return s;
    if constexpr (requires { form.components(); }) {
      if (range.components != nullptr) *range.components = form.components();
    }
    if (output != Output::kValues) {
      const int64_t rejected = Collect(Kernels(), block, options, sums);
      if (rejected >= 0)
        return NonFiniteError(loss, call, first * call.items_per_unit() + rejected);
    }
    if (output != Output::kSums) form.StoreItems(range.values);
  }
  return absl::OkStatus();
}

absl::Status RunRange(const Range& range, const CollectOptions& options, LossSums* sums) {
  if (range.loss.compute_type == DataType::kFloat32) {
    return WithForm<float>(range.call,
                           [&](auto& form) { return RunUnits<float>(range, options, form, sums); });
  }
  return WithForm<double>(range.call,
                          [&](auto& form) { return RunUnits<double>(range, options, form, sums); });
}

ExactParts SumOf(const float* items, size_t n) { return Kernels().sum_f32(items, n, Upcoming()); }
ExactParts SumOf(const double* items, size_t n) { return Kernels().sum_f64(items, n, Upcoming()); }

// The mean where one block holds all items and its sum is exact in two doubles; else nothing.
template <class T>
absl::StatusOr<std::optional<double>> MeanOfOneBlock(const BoundLoss& loss) {
  using Mean = std::optional<double>;
  const FormCall& call = loss.call;
  if (loss.pooled || call.units == 0) return Mean();
  return WithForm<T>(call, [&](auto& form) -> absl::StatusOr<Mean> {
    if (call.units > form.max_units()) return Mean();
    ItemBlock<T> block;
    if (absl::Status s = form.Run(0, call.units, &block); !s.ok()) return s;
    if (!block.plain()) return Mean();
    const ExactParts parts = SumOf(block.items[0], block.n);
    if (!parts.exact) return Mean();
    return Mean(QuotientByCount(parts, static_cast<int64_t>(block.n)));
  });
}

template <class T>
absl::StatusOr<double> ComputeMeanOf(const BoundLoss& loss) {
  absl::StatusOr<std::optional<double>> mean = MeanOfOneBlock<T>(loss);
  if (!mean.ok()) return mean.status();
  if (mean->has_value()) return **mean;
  LossSums sums;
  const GradientCall gradients;
  const Range all = {loss, loss.call, 0, loss.call.units, Output::kSums, nullptr, gradients};
  if (absl::Status s = RunRange(all, CollectOptions(), &sums); !s.ok()) return s;
  return ReportMean(*loss.row, loss.pooled, sums);
}

// The one item of a loss whose report it is.
void StoreReport(const ComputeTask& task, const LossSums& sums) {
  const double value = ReportMean(*task.loss.row, task.loss.pooled, sums);
  if (task.loss.compute_type == DataType::kFloat64) {
    std::memcpy(task.values, &value, sizeof(value));
  } else {
    const auto rounded = static_cast<float>(value);
    std::memcpy(task.values, &rounded, sizeof(rounded));
  }
}

// Units in a chunk of a classifier loss: each chunk reads the whole classifier, so there is one a
// thread, of whole panels of rows, up to what stays in the cache with a block of classes.
constexpr int64_t kMinClassifierUnits = 64;
constexpr int64_t kMaxClassifierUnits = 512;
// Classes in a chunk of a classifier's gradient: a few blocks, since each packs all embeddings.
constexpr int64_t kClassesPerGradientChunk = 8 * static_cast<int64_t>(kClassifierChunk);

bool IsClassifier(const FormCall& call) { return call.kernels.classifier.f32 != nullptr; }

bool WantsGradients(const ComputeTask& task) {
  return std::ranges::any_of(task.gradients, [](const std::byte* g) { return g != nullptr; });
}

int64_t UnitsPerChunk(const FormCall& call, int64_t threads) {
  if (IsClassifier(call)) {
    const int64_t share = (call.units + threads - 1) / threads;
    const int64_t panels = (share + kMinClassifierUnits - 1) / kMinClassifierUnits;
    return std::clamp(panels * kMinClassifierUnits, kMinClassifierUnits, kMaxClassifierUnits);
  }
  const int64_t width = std::max<int64_t>(call.width, 1);
  const int64_t share = call.units * width / (threads * kChunksPerThread);
  return std::max<int64_t>(1, std::clamp(share, kMinChunkElements, kMaxChunkElements) / width);
}

// What the work of a call grows with; exact up to kInlineElements.
int64_t ElementsOf(const FormCall& call) {
  const int64_t elements = call.units * std::max<int64_t>(call.width, 1);
  // Beyond the limit only that it is beyond counts, so that no product overflows.
  const auto times = [](int64_t a, int64_t b) { return a * std::min(b, kInlineElements + 1); };
  if (IsClassifier(call)) return times(elements, call.classes);
  // Pairs: of rows, or of boxes and anchors.
  if (!call.whole.empty()) return times(elements, elements);
  // Pairs of a class and a label of its row.
  if (call.kernels.rows.f32 != nullptr && call.label_rows.view) return times(elements, call.width);
  if (const TensorView& labels = call.sequence.labels.view) {
    const int64_t states = times(call.units * call.sequence.frames, labels.shape()[1]);
    return elements + states;
  }
  return elements;
}

// Makes room for what the gradients of classifier losses need of the first pass.
std::vector<ComputeTask> WithSoftmaxes(std::vector<ComputeTask> tasks) {
  for (ComputeTask& task : tasks) {
    FormCall& call = task.loss.call;
    if (IsClassifier(call) && WantsGradients(task))
      call.softmaxes = std::make_shared<std::vector<RowSoftmax>>(call.units);
  }
  return tasks;
}

// The chunks of all tasks, one after the other. What depends on the sums takes a second pass:
// gradients, and the items of a pooled loss, whose parameters are made of its sums.
class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
      const CancellationToken* token, ComputeDone done)
      : pool_(pool),
        tasks_(WithSoftmaxes(std::move(tasks))),
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
    RunPass([self = shared_from_this()] { self->StartSecondPass(); });
  }

 private:
  struct Chunk {
    size_t task;
    const FormCall* call;
    Output output;
    int64_t begin, end;
    const GradientCall* gradients;
  };

  void AddChunks(size_t task, const FormCall& call, Output output,
                 const GradientCall* gradients = &kNoGradients) {
    const int64_t step = UnitsPerChunk(call, pool_->threads());
    for (int64_t begin = 0; begin < call.units; begin += step) {
      chunks_.push_back(
          {task, &call, output, begin, std::min(call.units, begin + step), gradients});
    }
    elements_ += ElementsOf(call);
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

  void StartSecondPass() {
    chunks_.clear();
    elements_ = 0;
    for (size_t t = 0; t < tasks_.size() && error_.ok(); ++t) {
      const ComputeTask& task = tasks_[t];
      const bool values = task.values != nullptr && task.loss.pooled;
      const bool any_gradients = WantsGradients(task);
      if (!values && !any_gradients && task.table_update == nullptr) continue;
      const LossSums& sums = outcomes_[t].sums;
      const FormCall& call = calls_.emplace_back(task.loss.ItemCall(sums));
      if (values && task.loss.pools_positions()) {
        StoreReport(task, sums);
      } else if (values) {
        AddChunks(t, call, Output::kValues);
      }
      if (any_gradients) AddGradientChunks(t, call, sums);
      if (task.table_update != nullptr) AddUpdateChunk(t, call);
    }
    if (chunks_.empty()) {
      Finish();
      return;
    }
    RunPass([self = shared_from_this()] { self->Finish(); });
  }

  void AddGradientChunks(size_t t, const FormCall& call, const LossSums& sums) {
    const ComputeTask& task = tasks_[t];
    GradientCall& gradients = gradients_.emplace_back();
    // Without items there is no scale but 0.
    if (task.gradients_of_mean && sums.items > 0) gradients.denominator = sums.weight.Round();
    gradients.mean = task.gradients_of_mean;
    gradients.non_finite = options_.non_finite;
    gradients.sums = &sums;
    gradients.outputs = task.gradients;
    const bool whole = !call.whole.empty();
    const auto* const table = task.gradients.begin() + kTableGradient;
    const bool units = std::any_of(task.gradients.begin(), whole ? task.gradients.end() : table,
                                   [](const std::byte* g) { return g != nullptr; });
    if (units) AddChunks(t, call, Output::kGradients, &gradients);
    if (whole || *table == nullptr) return;
    const int64_t step = IsClassifier(call) ? kClassesPerGradientChunk : call.classes;
    for (int64_t begin = 0; begin < call.classes; begin += step) {
      const int64_t end = std::min(call.classes, begin + step);
      chunks_.push_back({t, &call, Output::kTableGradients, begin, end, &gradients});
    }
    elements_ += ElementsOf(call);
  }

  // One chunk: the rows are added in order.
  void AddUpdateChunk(size_t t, const FormCall& call) {
    GradientCall& update = gradients_.emplace_back();
    update.non_finite = options_.non_finite;
    update.table_update = tasks_[t].table_update;
    chunks_.push_back({t, &call, Output::kTableUpdate, 0, call.classes, &update});
    elements_ += call.units * call.width;
  }

  void RunChunk(size_t index) {
    const Chunk& chunk = chunks_[index];
    if (Skips(index)) return;
    const auto start = std::chrono::steady_clock::now();
    LossSums sums;
    std::array<double, kMaxComponents> components{};
    const ComputeTask& task = tasks_[chunk.task];
    absl::Status status =
        token_ != nullptr && token_->cancelled()
            ? absl::CancelledError("the call was cancelled")
            : RunRange({task.loss, *chunk.call, chunk.begin, chunk.end, chunk.output, task.values,
                        *chunk.gradients, token_, &components},
                       options_, &sums);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::lock_guard lock(mutex_);
    if (!status.ok() && index < error_chunk_) {
      error_ = std::move(status);
      error_chunk_ = index;
    }
    outcomes_[chunk.task].seconds += elapsed.count();
    if (chunk.output == Output::kSums || chunk.output == Output::kSumsAndValues) {
      outcomes_[chunk.task].sums.Merge(sums);
      outcomes_[chunk.task].components = components;  // a whole-batch loss has one chunk
    }
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
  std::deque<FormCall> calls_;  // of the second pass
  std::deque<GradientCall> gradients_;
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
