#include "lib/backends/cpu/compute.h"

#include <algorithm>
#include <compare>
#include <cstring>
#include <limits>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "lib/backends/cpu/chunk.h"
#include "lib/backends/cpu/chunk_size.h"
#include "lib/backends/cpu/classifier_gradients.h"
#include "lib/evaluation/report.h"
#include "lib/forms/classifier_form.h"

namespace lossd {
namespace {

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

bool WantsGradients(const ComputeTask& task) {
  return std::ranges::any_of(task.gradients, [](const std::byte* g) { return g != nullptr; });
}

// Those of the units, beside that of the table.
bool WantsUnitGradients(const ComputeTask& task) {
  const auto* const begin = task.gradients.begin();
  const auto* const end =
      task.loss.call.whole.empty() ? begin + kTableGradient : task.gradients.end();
  return std::any_of(begin, end, [](const std::byte* g) { return g != nullptr; });
}

// The denominator of the gradients where it is known before any item is: of a mean, every item
// counts, with a weight of 1.
std::optional<double> KnownDenominator(const ComputeTask& task, NonFinitePolicy non_finite) {
  const FormCall& call = task.loss.call;
  if (!task.gradients_of_mean) return 1;
  const bool weighted =
      call.sample_weight.view || (call.class_weight_in_denominator && call.class_weight.view);
  if (weighted || call.ignore_index.has_value() || non_finite == NonFinitePolicy::kSkip)
    return std::nullopt;
  return static_cast<double>(call.units * call.items_per_unit());
}

template <class T>
size_t ClassSumsSize(const FormCall& call) {
  return ClassifierForm<T>(call).ClassSumsSize();
}

// Makes room for what the gradients of classifier losses need of the first pass, and for the sums
// of the classes where rows do not go round the threads.
std::vector<ComputeTask> WithClassifierMemory(std::vector<ComputeTask> tasks, int64_t threads) {
  for (ComputeTask& task : tasks) {
    FormCall& call = task.loss.call;
    if (!IsClassifier(call)) continue;
    if (WantsGradients(task))
      call.softmaxes = std::make_shared<std::vector<RowSoftmax>>(call.units);
    if (!GoesByClasses(call, threads)) continue;
    const size_t size = task.loss.compute_type == DataType::kFloat32 ? ClassSumsSize<float>(call)
                                                                     : ClassSumsSize<double>(call);
    if (size > 0) call.class_sums = std::make_shared<std::vector<std::byte>>(size);
  }
  return tasks;
}

// Where something failed, in the order in which errors count: of the first task, then of its first
// units, whatever ran first.
struct Place {
  size_t stage = std::numeric_limits<size_t>::max();
  int64_t begin = 0;
  auto operator<=>(const Place&) const = default;
};

// The chunks of all tasks, one after the other. Losses that read the same tensors go over them
// together. What depends on the sums takes a second pass: gradients whose denominator they give,
// those of a table, and the items of a pooled loss, whose parameters are made of its sums.
class Job : public std::enable_shared_from_this<Job> {
 public:
  Job(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
      const CancellationToken* token, ComputeDone done)
      : pool_(pool),
        tasks_(WithClassifierMemory(std::move(tasks), pool->threads())),
        options_(options),
        token_(token),
        done_(std::move(done)),
        outcomes_(tasks_.size()) {}

  void Start() {
    for (size_t t = 0; t < tasks_.size(); ++t) {
      const FormCall& call = tasks_[t].loss.call;
      if (call.class_sums == nullptr) continue;
      ChunkPart part = {&tasks_[t].loss, &call};
      part.work = Work::kClassSums;
      AddPart(t, part, t);
      const int64_t chunks = ClassChunks(call);
      AddChunks(parts_.size() - 1, chunks, RangeSize(chunks, pool_->threads()));
      elements_ += ElementsOf(call);
    }
    if (chunks_.empty()) return StartFirstPass();
    RunPass([self = shared_from_this()] { self->StartFirstPass(); });
  }

 private:
  // Whose a part is, and where it stands in the order in which errors count.
  struct Owner {
    size_t task;
    size_t stage;
  };
  struct ClassifierGradients {
    size_t task;
    const FormCall* call;
    const GradientCall* gradients;
  };
  // Parts [first, first + count) of a range.
  struct Chunk {
    size_t first, count;
    int64_t begin, end;
  };

  void StartFirstPass() {
    ClearPass();
    // What was wrong is found again, in the order of tasks and items.
    error_ = absl::OkStatus();
    error_place_ = Place();
    std::vector<bool> added(tasks_.size());
    for (size_t t = 0; t < tasks_.size(); ++t) {
      if (added[t]) continue;
      const size_t first = parts_.size();
      for (size_t other = t; other < tasks_.size(); ++other) {
        if (added[other]) continue;
        if (other != t && !MayRunTogether(tasks_[t].loss, tasks_[other].loss)) continue;
        added[other] = true;
        AddFirstPart(other);
      }
      AddUnits(first, tasks_[t].loss.call);
    }
    RunPass([self = shared_from_this()] { self->StartSecondPass(); });
  }

  // The gradients of a task whose denominator is known come from the first pass: one reading less.
  std::optional<double> DenominatorOfFirstPass(const ComputeTask& task) const {
    const FormCall& call = task.loss.call;
    if (!WantsUnitGradients(task) || task.loss.pooled || IsClassifier(call)) return std::nullopt;
    return KnownDenominator(task, options_.non_finite);
  }

  void AddFirstPart(size_t t) {
    const ComputeTask& task = tasks_[t];
    ChunkPart part = {&task.loss, &task.loss.call};
    part.sums = true;
    if (!task.loss.pooled) part.values = task.values;
    if (const std::optional<double> denominator = DenominatorOfFirstPass(task))
      part.gradients = AddGradientCall(task, *denominator);
    AddPart(t, part, t);
  }

  void AddPart(size_t task, const ChunkPart& part, size_t stage) {
    parts_.push_back(part);
    owners_.push_back({task, stage});
  }

  // Chunks of all units of the parts from `first` on, which run together.
  void AddUnits(size_t first, const FormCall& call) {
    const size_t count = parts_.size() - first;
    AddChunks(first, call.units, UnitsPerChunk(call, pool_->threads()));
    elements_ += static_cast<int64_t>(count) * ElementsOf(call);
  }

  void AddChunks(size_t first, int64_t size, int64_t step) {
    for (int64_t begin = 0; begin < size; begin += step)
      chunks_.push_back({first, parts_.size() - first, begin, std::min(size, begin + step)});
  }

  void RunPass(std::function<void()> then) {
    inline_ = elements_ <= kInlineElements;
    if (inline_) {
      for (const Chunk& chunk : chunks_) Run(chunk);
      then();
      return;
    }
    pool_->Submit(
        static_cast<int64_t>(chunks_.size()),
        [self = shared_from_this()](int64_t i) {
          self->Run(self->chunks_[static_cast<size_t>(i)]);
        },
        std::move(then));
  }

  void ClearPass() {
    parts_.clear();
    owners_.clear();
    chunks_.clear();
    elements_ = 0;
  }

  void StartSecondPass() {
    ClearPass();
    for (size_t t = 0; t < tasks_.size() && error_.ok(); ++t) AddSecondParts(t);
    if (chunks_.empty()) return RunClassifierGradients(0);
    RunPass([self = shared_from_this()] { self->RunClassifierGradients(0); });
  }

  void AddSecondParts(size_t t) {
    const ComputeTask& task = tasks_[t];
    const bool values = task.values != nullptr && task.loss.pooled;
    const bool gradients = WantsGradients(task);
    if (!values && !gradients && task.table_update == nullptr) return;
    const LossSums& sums = outcomes_[t].sums;
    const FormCall& call = calls_.emplace_back(task.loss.ItemCall(sums));
    ChunkPart part = {&task.loss, &call};
    if (values && task.loss.pools_positions()) {
      StoreReport(task, sums);
    } else if (values) {
      part.values = task.values;
      AddPart(t, part, parts_.size());
      AddUnits(parts_.size() - 1, call);
      part.values = nullptr;
    }
    if (gradients) AddGradientParts(t, part, sums);
    if (task.table_update != nullptr) AddUpdatePart(t, part);
  }

  const GradientCall* AddGradientCall(const ComputeTask& task, double denominator) {
    GradientCall& gradients = gradients_.emplace_back();
    gradients.denominator = denominator;
    gradients.mean = task.gradients_of_mean;
    gradients.non_finite = options_.non_finite;
    gradients.outputs = task.gradients;
    return &gradients;
  }

  void AddGradientParts(size_t t, ChunkPart part, const LossSums& sums) {
    const ComputeTask& task = tasks_[t];
    // Without items there is no scale but 0.
    const bool divides = task.gradients_of_mean && sums.items > 0;
    AddGradientCall(task, divides ? sums.weight.Round() : 1);
    gradients_.back().sums = &sums;
    part.gradients = &gradients_.back();
    const FormCall& call = *part.call;
    if (IsClassifier(call)) {
      classifiers_.push_back({t, &call, part.gradients});
      return;
    }
    if (WantsUnitGradients(task) && !DenominatorOfFirstPass(task).has_value()) {
      AddPart(t, part, parts_.size());
      AddUnits(parts_.size() - 1, call);
    }
    if (!call.whole.empty() || task.gradients[kTableGradient] == nullptr) return;
    part.work = Work::kTableGradients;
    AddPart(t, part, parts_.size());
    AddChunks(parts_.size() - 1, call.classes, call.classes);
    elements_ += ElementsOf(call);
  }

  // They spread their own work, phase by phase, so they run one after the other.
  void RunClassifierGradients(size_t i) {
    if (i == classifiers_.size() || !error_.ok()) return Finish();
    const ClassifierGradients& all = classifiers_[i];
    ThreadPool* const pool = ElementsOf(*all.call) > kInlineElements ? pool_ : nullptr;
    ComputeClassifierGradients(pool, tasks_[all.task].loss.compute_type, *all.call, *all.gradients,
                               token_,
                               [self = shared_from_this(), i](absl::Status status, double seconds) {
                                 self->error_ = std::move(status);
                                 self->outcomes_[self->classifiers_[i].task].seconds += seconds;
                                 self->RunClassifierGradients(i + 1);
                               });
  }

  // One chunk: the rows are added in order.
  void AddUpdatePart(size_t t, ChunkPart part) {
    GradientCall& update = gradients_.emplace_back();
    update.non_finite = options_.non_finite;
    update.table_update = tasks_[t].table_update;
    part.gradients = &update;
    part.work = Work::kTableUpdate;
    AddPart(t, part, parts_.size());
    AddChunks(parts_.size() - 1, part.call->classes, part.call->classes);
    elements_ += part.call->units * part.call->width;
  }

  // Nothing is locked where the calling thread does all of the work.
  std::unique_lock<std::mutex> Lock() {
    return inline_ ? std::unique_lock<std::mutex>() : std::unique_lock(mutex_);
  }

  void Run(const Chunk& chunk) {
    const size_t count = PartsToRun(chunk);
    if (count == 0) return;
    std::vector<ChunkResult> results(count);
    std::vector<LossSums> sums(inline_ ? 0 : count);
    for (size_t i = 0; i < count; ++i)
      results[i].sums = inline_ ? &outcomes_[owners_[chunk.first + i].task].sums : &sums[i];
    RunChunk(std::span(parts_).subspan(chunk.first, count), chunk.begin, chunk.end, options_,
             token_, results);
    const auto lock = Lock();
    for (size_t i = 0; i < count; ++i) {
      const ChunkPart& part = parts_[chunk.first + i];
      const Owner& owner = owners_[chunk.first + i];
      const Place place = {owner.stage, chunk.begin};
      if (!results[i].status.ok() && place < error_place_) {
        error_ = std::move(results[i].status);
        error_place_ = place;
      }
      ComputeOutcome& outcome = outcomes_[owner.task];
      outcome.seconds += results[i].seconds;
      if (!part.sums) continue;
      if (!inline_) outcome.sums.Merge(sums[i]);
      outcome.components = results[i].components;  // a whole-batch loss has one chunk
    }
  }

  // After an error only what comes before it matters: it may hold the first bad item. Parts that
  // run together stand in the order of their stages.
  size_t PartsToRun(const Chunk& chunk) {
    const auto lock = Lock();
    size_t count = chunk.count;
    while (count > 0 && error_place_ < Place{owners_[chunk.first + count - 1].stage, chunk.begin})
      --count;
    return count;
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
  // Of a pass.
  std::vector<ChunkPart> parts_;
  std::vector<Owner> owners_;  // of the parts
  std::vector<Chunk> chunks_;
  int64_t elements_ = 0;
  bool inline_ = false;
  // Lists allocate nothing until something is in them.
  std::list<FormCall> calls_;  // of the second pass
  std::list<GradientCall> gradients_;
  std::vector<ClassifierGradients> classifiers_;  // those that are wanted

  std::mutex mutex_;
  std::vector<ComputeOutcome> outcomes_;
  absl::Status error_;
  Place error_place_;
};

}  // namespace

void Compute(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
             const CancellationToken* token, ComputeDone done) {
  std::make_shared<Job>(pool, std::move(tasks), options, token, std::move(done))->Start();
}

}  // namespace lossd
