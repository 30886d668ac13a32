#include "lib/wire/evaluation_session.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "lib/backends/cpu/compute.h"
#include "lib/base/status.h"
#include "lib/evaluation/state.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/decode.h"
#include "lib/wire/encode.h"
#include "lib/wire/loss_engine.h"
#include "lib/wire/observe.h"
#include "lib/wire/stream_constants.h"
#include "lib/wire/unknown_fields.h"

namespace lossd {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kDefaultCadenceBytes = int64_t{64} << 20;
constexpr double kDefaultCadenceSeconds = 1;
// Counting on from here never overflows.
constexpr int64_t kMaxFirstSequence = int64_t{1} << 62;

// The status with its path as one within the batch. One without a reason, such as CANCELLED, has no
// path.
absl::Status InBatch(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  if (detail.reason.empty()) return status;
  return WithFieldPrefix(status, detail.field.empty() ? "batch" : "batch.");
}

// What the contract holds for later and this version does not compute.
absl::Status RefuseUnserved(const v1::EvaluationSpec& spec) {
  const std::pair<const char*, bool> fields[] = {
      {"spec.slice_columns", !spec.slice_columns().empty()},
      {"spec.worst_samples", spec.worst_samples() != 0},
      {"spec.quantiles", !spec.quantiles().empty()}};
  for (const auto& [path, set] : fields) {
    if (set)
      return Unimplemented("NOT_SERVED", path, std::string("this version does not serve ") + path);
  }
  return absl::OkStatus();
}

// Losses whose value is not made of items that add up.
absl::Status RefuseWholeBatch(const std::vector<LossSpec>& specs) {
  for (const LossSpec& loss : specs) {
    if (loss.row->streams) continue;
    return InvalidArgument(
        "WHOLE_BATCH", loss.path,
        std::string(loss.row->name) +
            " is computed of all samples of a batch at once and is no sum over samples, so the "
            "batches of a stream have no common value; call ComputeLoss with the whole batch");
  }
  return absl::OkStatus();
}

// Updates of tables, which a stream's result has no place for.
absl::Status RefuseUpdates(const std::vector<LossSpec>& specs) {
  for (const LossSpec& loss : specs) {
    const char* const name = loss.row->update_parameter;
    if (name == nullptr) continue;
    const int parameter = FindParameter(*loss.row, name);
    if (loss.parameters[static_cast<size_t>(parameter)] == 0) continue;
    return InvalidArgument("UNARY_ONLY", loss.path + "." + loss.row->name + "." + name,
                           std::string(loss.row->name) + ": " + loss.row->update_output +
                               " is an output of ComputeLoss; leave " + name + " out of a stream");
  }
  return absl::OkStatus();
}

}  // namespace

struct EvaluationSession::Impl {
  explicit Impl(LossEngine* owner) : engine(owner) {}

  absl::Status TakeSpec(const v1::EvaluationSpec& spec);
  absl::Status Resume(const v1::EvaluationSpec& spec);
  absl::Status TakeCadence(const v1::CheckpointCadence& cadence);
  absl::Status TakeConstant(const v1::Constant& constant, const Payloads& payloads);
  absl::Status TakeFinish();
  // OK with *skip set, or the sequence is the next one.
  absl::Status CheckSequence(const v1::Batch& batch, bool* skip);
  absl::Status BindBatch(const v1::Batch& batch, const Payloads& payloads, DecodedTensors* tensors,
                         std::vector<ComputeTask>* tasks) const;
  void TakeBatch(const v1::Batch& batch, const Payloads& payloads, const CancellationToken* token,
                 Done done);
  void Count(const std::vector<ComputeTask>& tasks, std::vector<ComputeOutcome> outcomes,
             size_t bytes);

  LossEngine* const engine;
  bool has_spec = false;
  bool has_batch = false;
  bool failed = false;
  bool finished = false;
  bool resumed = false;
  v1::EvaluationLabels labels;
  std::vector<LossSpec> specs;
  StreamConstants constants;
  CollectOptions collect;
  EvaluationState state;

  std::optional<bool> sequences_set;
  int64_t next_sequence = 0;
  int64_t skipped_batches = 0;

  int64_t cadence_bytes = kDefaultCadenceBytes;
  double cadence_seconds = kDefaultCadenceSeconds;
  int64_t unreported_bytes = 0;
  bool unreported = false;
  Clock::time_point reported_at = Clock::now();
};

absl::Status EvaluationSession::Impl::TakeCadence(const v1::CheckpointCadence& cadence) {
  if (cadence.has_bytes()) cadence_bytes = cadence.bytes();
  if (cadence.has_seconds()) cadence_seconds = cadence.seconds();
  if (cadence_bytes < 1) {
    return InvalidArgument("INVALID_PARAMETER", "spec.checkpoint_cadence.bytes",
                           "expected at least 1, got " + std::to_string(cadence_bytes));
  }
  if (!(cadence_seconds >= 0) || std::isinf(cadence_seconds)) {
    return InvalidArgument("INVALID_PARAMETER", "spec.checkpoint_cadence.seconds",
                           "expected finite, at least 0, got " + std::to_string(cadence_seconds));
  }
  return absl::OkStatus();
}

absl::Status EvaluationSession::Impl::Resume(const v1::EvaluationSpec& spec) {
  if (spec.next_sequence() < 0 || spec.next_sequence() > kMaxFirstSequence) {
    return InvalidArgument("INVALID_PARAMETER", "spec.next_sequence",
                           "expected 0 to 2^62, got " + std::to_string(spec.next_sequence()));
  }
  next_sequence = spec.next_sequence();
  if (spec.resume_from().value().empty()) return absl::OkStatus();
  const absl::StatusOr<EvaluationState> from = EvaluationState::Parse(spec.resume_from().value());
  if (!from.ok()) return WithFieldPrefix(from.status(), "spec.resume_from.value");
  if (absl::Status s = state.Merge(*from); !s.ok())
    return WithFieldPrefix(s, "spec.resume_from.value");
  // Names and weights are the new spec's.
  for (size_t i = 0; i < specs.size(); ++i) {
    state.losses[i].label = specs[i].label;
    state.losses[i].weight = specs[i].weight;
  }
  resumed = true;
  return absl::OkStatus();
}

absl::Status EvaluationSession::Impl::TakeSpec(const v1::EvaluationSpec& spec) {
  if (has_spec)
    return InvalidArgument("SECOND_SPEC", "spec",
                           "expected one spec, the first step of the stream");
  if (absl::Status s = RefuseUnknown(spec, "spec"); !s.ok()) return s;
  if (absl::Status s = RefuseUnserved(spec); !s.ok()) return s;
  if (absl::Status s = CheckLabels(spec.labels()); !s.ok()) return WithFieldPrefix(s, "spec.");
  auto decoded = DecodeLosses(spec.losses());
  if (!decoded.ok()) return WithFieldPrefix(decoded.status(), "spec.");
  specs = *std::move(decoded);
  for (LossSpec& loss : specs) loss.path = "spec." + loss.path;
  if (absl::Status s = RefuseWholeBatch(specs); !s.ok()) return s;
  if (absl::Status s = RefuseUpdates(specs); !s.ok()) return s;
  absl::Status s = constants.Announce(spec, specs, engine->options().limits.max_constant_bytes);
  if (!s.ok()) return s;
  if (s = TakeCadence(spec.checkpoint_cadence()); !s.ok()) return s;
  labels = spec.labels();
  collect.non_finite = DecodeNonFinite(spec.non_finite());
  collect.statistics = true;
  state.fingerprint = Fingerprint(specs, constants.Identities(), collect.non_finite);
  for (const LossSpec& loss : specs) {
    const Pooling& pooling = loss.row->signatures[0].pooling;
    const bool pooled = pooling.wanted != nullptr && pooling.wanted(loss.parameters.data());
    state.losses.push_back({loss.row, pooled, loss.label, loss.weight, std::nullopt, LossSums()});
  }
  if (s = Resume(spec); !s.ok()) return s;
  has_spec = true;
  return absl::OkStatus();
}

absl::Status EvaluationSession::Impl::TakeConstant(const v1::Constant& constant,
                                                   const Payloads& payloads) {
  if (!has_spec)
    return InvalidArgument("NO_SPEC", "constant", "expected the spec as the first step");
  if (has_batch) {
    return InvalidArgument("CONSTANT_AFTER_BATCH", "constant",
                           "expected all constants before the first batch");
  }
  return constants.Take(constant, payloads);
}

absl::Status EvaluationSession::Impl::TakeFinish() {
  if (!has_spec) return InvalidArgument("NO_SPEC", "finish", "expected the spec as the first step");
  if (absl::Status s = constants.CheckComplete(); !s.ok()) return s;
  finished = true;
  return absl::OkStatus();
}

absl::Status EvaluationSession::Impl::CheckSequence(const v1::Batch& batch, bool* skip) {
  *skip = false;
  const bool set = batch.has_sequence();
  if (sequences_set.has_value() && *sequences_set != set) {
    return InvalidArgument("MIXED_SEQUENCES", "batch.sequence",
                           set ? "expected no sequence, as in the batches before"
                               : "expected a sequence, as in the batches before");
  }
  sequences_set = set;
  if (!set) return absl::OkStatus();
  if (batch.sequence() < 0) {
    return InvalidArgument("INVALID_PARAMETER", "batch.sequence",
                           "expected at least 0, got " + std::to_string(batch.sequence()));
  }
  if (batch.sequence() > next_sequence) {
    return FailedPrecondition("SEQUENCE_GAP", "batch.sequence",
                              "expected " + std::to_string(next_sequence) + ", got " +
                                  std::to_string(batch.sequence()) + ": batches are missing");
  }
  *skip = batch.sequence() < next_sequence;
  return absl::OkStatus();
}

absl::Status EvaluationSession::Impl::BindBatch(const v1::Batch& batch, const Payloads& payloads,
                                                DecodedTensors* tensors,
                                                std::vector<ComputeTask>* tasks) const {
  if (absl::Status s = DecodeInputs(batch.inputs(), payloads, tensors); !s.ok()) return InBatch(s);
  if (absl::Status s = constants.AddTo(&tensors->views); !s.ok()) return s;
  if (absl::Status s = CheckAllUsed(specs, tensors->views); !s.ok()) return InBatch(s);
  for (size_t i = 0; i < specs.size(); ++i) {
    absl::StatusOr<BoundLoss> bound = Bind(specs[i], tensors->views);
    if (!bound.ok()) {
      const bool in_spec = DetailOf(bound.status()).field.starts_with("spec.");
      return in_spec ? bound.status() : InBatch(bound.status());
    }
    const std::optional<DataType>& fixed = state.losses[i].compute_type;
    if (fixed.has_value() && *fixed != bound->compute_type) {
      return InvalidArgument("DTYPE_CHANGE", "batch.inputs",
                             std::string(specs[i].row->name) + ": the evaluation is computed in " +
                                 std::string(Name(*fixed)) + ", this batch would be in " +
                                 std::string(Name(bound->compute_type)));
    }
    const size_t pools = state.losses[i].sums.pools.size();
    if (pools != 0 && bound->pools() != pools) {
      return InvalidArgument(
          "SHAPE_MISMATCH", "batch.inputs",
          std::string(specs[i].row->name) + ": expected as many classes as in the batches before");
    }
    if (!batch.sample_ids().empty() && batch.sample_ids_size() != bound->samples) {
      return InvalidArgument("SHAPE_MISMATCH", "batch.sample_ids",
                             "expected " + std::to_string(bound->samples) + " ids, got " +
                                 std::to_string(batch.sample_ids_size()));
    }
    tasks->push_back({*std::move(bound), nullptr});
  }
  std::vector<const BoundLoss*> losses;
  for (const ComputeTask& task : *tasks) losses.push_back(&task.loss);
  absl::Status s = CheckOptionalUsed(losses, tensors->views);
  if (s.ok()) s = CheckPools(losses);
  return s.ok() ? s : InBatch(s);
}

void EvaluationSession::Impl::Count(const std::vector<ComputeTask>& tasks,
                                    std::vector<ComputeOutcome> outcomes, size_t bytes) {
  ObserveOutcomes(engine->options().on_computed, specs, outcomes);
  for (size_t i = 0; i < outcomes.size(); ++i) {
    state.losses[i].compute_type = tasks[i].loss.compute_type;
    state.losses[i].sums.Merge(outcomes[i].sums);
  }
  ++next_sequence;
  unreported = true;
  unreported_bytes += static_cast<int64_t>(bytes);
}

void EvaluationSession::Impl::TakeBatch(const v1::Batch& batch, const Payloads& payloads,
                                        const CancellationToken* token, Done done) {
  if (!has_spec) {
    done(InvalidArgument("NO_SPEC", "batch", "expected the spec as the first step"));
    return;
  }
  if (absl::Status s = constants.CheckComplete(); !s.ok()) {
    done(std::move(s));
    return;
  }
  has_batch = true;
  bool skip = false;
  if (absl::Status s = CheckSequence(batch, &skip); !s.ok() || skip) {
    skipped_batches += skip ? 1 : 0;
    done(std::move(s));
    return;
  }
  auto tensors = std::make_shared<DecodedTensors>();
  auto tasks = std::make_shared<std::vector<ComputeTask>>();
  if (absl::Status s = BindBatch(batch, payloads, tensors.get(), tasks.get()); !s.ok()) {
    done(std::move(s));
    return;
  }
  size_t bytes = batch.ByteSizeLong();
  for (const auto& [name, payload] : payloads) bytes += payload.size();
  Compute(&engine->pool(), *tasks, collect, token,
          [this, bytes, tensors, tasks, done = std::move(done)](
              absl::Status status, std::vector<ComputeOutcome> outcomes) {
            if (status.ok()) {
              Count(*tasks, std::move(outcomes), bytes);
            } else {
              status = InBatch(status);
            }
            done(std::move(status));
          });
}

EvaluationSession::EvaluationSession(LossEngine* engine) : impl_(std::make_unique<Impl>(engine)) {}

EvaluationSession::~EvaluationSession() = default;

void EvaluationSession::Step(const v1::EvaluateRequest& step, const Payloads& payloads,
                             const CancellationToken* token, Done done) {
  Impl* const impl = impl_.get();
  Done ended = [impl, done = std::move(done)](absl::Status status) {
    impl->failed |= !status.ok();
    done(std::move(status));
  };
  if (impl->failed || impl->finished) {
    ended(InvalidArgument(
        "STREAM_ENDED", "step",
        impl->failed ? "the stream has failed before" : "expected nothing after finish"));
    return;
  }
  switch (step.step_case()) {
    case v1::EvaluateRequest::kSpec:
      ended(impl->TakeSpec(step.spec()));
      return;
    case v1::EvaluateRequest::kConstant:
      ended(impl->TakeConstant(step.constant(), payloads));
      return;
    case v1::EvaluateRequest::kBatch:
      impl->TakeBatch(step.batch(), payloads, token, std::move(ended));
      return;
    case v1::EvaluateRequest::kFinish:
      ended(impl->TakeFinish());
      return;
    case v1::EvaluateRequest::STEP_NOT_SET:
      ended(InvalidArgument("NO_STEP", "step", "expected spec, constant, batch or finish"));
      return;
  }
}

bool EvaluationSession::progress_due() const {
  if (!impl_->unreported) return false;
  const std::chrono::duration<double> elapsed = Clock::now() - impl_->reported_at;
  return impl_->unreported_bytes >= impl_->cadence_bytes ||
         elapsed.count() >= impl_->cadence_seconds;
}

bool EvaluationSession::has_unreported_batches() const { return impl_->unreported; }

absl::Status EvaluationSession::MakeProgress(v1::EvaluateResponse* response) {
  v1::Progress* progress = response->mutable_progress();
  for (const LossState& loss : impl_->state.losses)
    EncodeResult(loss, /*mean=*/true, progress->add_results());
  if (!impl_->state.losses.empty()) progress->set_items(impl_->state.losses[0].sums.items);
  progress->set_skipped_batches(impl_->skipped_batches);
  progress->set_next_sequence(impl_->next_sequence);
  std::string bytes = impl_->state.Serialize();
  absl::Status s =
      CheckStateSize(static_cast<int64_t>(bytes.size()), impl_->engine->options().limits);
  if (!s.ok()) return s;
  progress->mutable_checkpoint()->set_value(std::move(bytes));
  impl_->unreported = false;
  impl_->unreported_bytes = 0;
  impl_->reported_at = Clock::now();
  return absl::OkStatus();
}

bool EvaluationSession::finished() const { return impl_->finished; }

absl::Status EvaluationSession::MakeResult(v1::EvaluateResponse* response) const {
  v1::EvaluationResult* result = response->mutable_result();
  EncodeEvaluation(impl_->state, result);
  result->set_skipped_batches(impl_->skipped_batches);
  return CheckStateSize(static_cast<int64_t>(result->state().value().size()),
                        impl_->engine->options().limits);
}

const v1::EvaluationLabels& EvaluationSession::labels() const { return impl_->labels; }

bool EvaluationSession::resumed() const { return impl_->resumed; }

}  // namespace lossd
