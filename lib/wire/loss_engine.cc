#include "lib/wire/loss_engine.h"

#include <deque>
#include <memory>
#include <set>
#include <string>
#include <utility>

#include "lib/backends/cpu/compute.h"
#include "lib/base/cpu_target.h"
#include "lib/base/status.h"
#include "lib/evaluation/state.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/decode.h"
#include "lib/wire/encode.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/observe.h"
#include "lib/wire/unknown_fields.h"
#include "lib/wire/version.h"

namespace lossd {
namespace {

// A gradient asked for.
struct Gradient {
  size_t loss;
  GradientSlot of;
  std::string bytes;
};

// The update of a table, asked for by a loss's parameter.
struct TableUpdate {
  size_t loss;
  std::string bytes;
};

// What the answer needs of a bound loss.
struct LossFacts {
  bool pooled;
  DataType compute_type;
  Shape item_shape;
  Shape table_shape;
};

// Everything that a ComputeLoss needs from its start to its end.
struct ComputeCall {
  DecodedTensors tensors;
  std::vector<LossSpec> specs;
  std::vector<std::string> values;  // of NONE, by loss
  std::vector<BoundLoss> losses;    // until the tasks take them
  std::vector<LossFacts> facts;     // of each
  std::deque<Gradient> gradients;
  std::deque<TableUpdate> updates;
};

// The gradients of every loss that has one with respect to a tensor of gradients_of.
absl::Status PlanGradients(const v1::ComputeLossRequest& request, ComputeCall* call) {
  if (request.gradients_of().empty()) return absl::OkStatus();
  if (request.reduction() == v1::REDUCTION_NONE) {
    return InvalidArgument("GRADIENT_OF_NONE", "reduction",
                           "gradients are those of the reduced value; expected MEAN or SUM");
  }
  std::set<std::string_view> names;
  for (int i = 0; i < request.gradients_of_size(); ++i) {
    const std::string& name = request.gradients_of(i);
    const std::string path = "gradients_of[" + std::to_string(i) + "]";
    if (!names.insert(name).second)
      return InvalidArgument("DUPLICATE_NAME", path, name + " is asked for twice");
    bool found = false;
    for (size_t loss = 0; loss < call->losses.size(); ++loss) {
      int uses = 0;
      for (GradientSlot& slot : GradientSlots(call->losses[loss])) {
        if (slot.tensor != name) continue;
        ++uses;
        call->gradients.push_back({loss, std::move(slot), {}});
      }
      if (uses > 1) {
        return InvalidArgument("AMBIGUOUS_INPUT", path,
                               std::string(call->losses[loss].row->name) + " takes " + name +
                                   " for two inputs; upload it under two names");
      }
      found |= uses > 0;
    }
    if (found) continue;
    return InvalidArgument("NO_GRADIENT", path,
                           "no loss of the request has a gradient with respect to " + name +
                               "; ListLosses says which have");
  }
  return absl::OkStatus();
}

absl::Status Prepare(const v1::ComputeLossRequest& request, const Payloads& payloads,
                     ComputeCall* call) {
  if (absl::Status s = RefuseUnknown(request, ""); !s.ok()) return s;
  if (absl::Status s = CheckLabels(request.labels()); !s.ok()) return s;
  auto specs = DecodeLosses(request.losses());
  if (!specs.ok()) return specs.status();
  call->specs = *std::move(specs);
  if (absl::Status s = DecodeInputs(request.inputs(), payloads, &call->tensors); !s.ok()) return s;
  if (absl::Status s = CheckAllUsed(call->specs, call->tensors.views); !s.ok()) return s;
  for (const LossSpec& spec : call->specs) {
    absl::StatusOr<BoundLoss> bound = Bind(spec, call->tensors.views);
    if (!bound.ok()) return bound.status();
    call->facts.push_back(
        {bound->pooled, bound->compute_type, bound->item_shape, bound->call.table.view.shape()});
    call->losses.push_back(*std::move(bound));
  }
  std::vector<const BoundLoss*> losses;
  for (const BoundLoss& loss : call->losses) {
    if (loss.wants_update) call->updates.push_back({losses.size(), {}});
    losses.push_back(&loss);
  }
  if (absl::Status s = CheckOptionalUsed(losses, call->tensors.views); !s.ok()) return s;
  if (absl::Status s = CheckPools(losses); !s.ok()) return s;
  return PlanGradients(request, call);
}

int64_t GradientBytes(const ComputeCall& call, const Gradient& gradient) {
  return gradient.of.shape.elements() *
         static_cast<int64_t>(ByteSize(call.facts[gradient.loss].compute_type));
}

int64_t UpdateBytes(const LossFacts& loss) {
  return loss.table_shape.elements() * static_cast<int64_t>(ByteSize(loss.compute_type));
}

absl::Status TooLarge(const char* field, const char* what, const EngineLimits& limits) {
  return ResourceExhausted("RESPONSE_TOO_LARGE", field,
                           std::string(what) + " would be over the limit of " +
                               std::to_string(limits.max_response_bytes) +
                               " bytes (--max-message-bytes); ask for fewer losses or rows a call");
}

// The memory of values and gradients is bounded before any is taken.
absl::Status CheckResponseSize(const ComputeCall& call, bool want_values,
                               const EngineLimits& limits) {
  int64_t left = limits.max_response_bytes;
  for (const LossFacts& loss : call.facts) {
    // An item of 4 or 8 bytes stands for at least a byte of the request: no product overflows.
    if (want_values)
      left -= loss.item_shape.elements() * static_cast<int64_t>(ByteSize(loss.compute_type));
    if (left < 0) return TooLarge("reduction", "the values of NONE", limits);
  }
  for (const Gradient& gradient : call.gradients) {
    left -= GradientBytes(call, gradient);
    if (left < 0) return TooLarge("gradients_of", "the gradients", limits);
  }
  for (const TableUpdate& update : call.updates) {
    left -= UpdateBytes(call.facts[update.loss]);
    if (left < 0) return TooLarge("losses", "the updates of tables", limits);
  }
  return absl::OkStatus();
}

std::vector<ComputeTask> MakeTasks(const v1::ComputeLossRequest& request, ComputeCall* call) {
  const bool want_values = request.reduction() == v1::REDUCTION_NONE;
  std::vector<ComputeTask> tasks;
  tasks.reserve(call->losses.size());
  call->values.resize(call->losses.size());
  for (size_t i = 0; i < call->losses.size(); ++i) {
    BoundLoss& loss = call->losses[i];
    std::byte* values = nullptr;
    if (want_values) {
      call->values[i].resize(static_cast<size_t>(loss.item_shape.elements()) *
                             ByteSize(loss.compute_type));
      values = reinterpret_cast<std::byte*>(call->values[i].data());
    }
    tasks.push_back({std::move(loss), values, {}, request.reduction() != v1::REDUCTION_SUM});
  }
  for (Gradient& gradient : call->gradients) {
    gradient.bytes.resize(static_cast<size_t>(GradientBytes(*call, gradient)));
    tasks[gradient.loss].gradients[static_cast<size_t>(gradient.of.slot)] =
        reinterpret_cast<std::byte*>(gradient.bytes.data());
  }
  for (TableUpdate& update : call->updates) {
    update.bytes.resize(static_cast<size_t>(UpdateBytes(call->facts[update.loss])));
    tasks[update.loss].table_update = reinterpret_cast<std::byte*>(update.bytes.data());
  }
  return tasks;
}

void Respond(const v1::ComputeLossRequest& request, ComputeCall* call,
             std::vector<ComputeOutcome> outcomes, v1::ComputeLossResponse* response) {
  const bool mean = request.reduction() != v1::REDUCTION_SUM;
  EvaluationState state;
  for (size_t i = 0; i < outcomes.size(); ++i) {
    const LossSpec& spec = call->specs[i];
    LossState loss = {spec.row,    call->facts[i].pooled,       spec.label,
                      spec.weight, call->facts[i].compute_type, std::move(outcomes[i].sums)};
    v1::LossResult* result = response->add_results();
    EncodeResult(loss, mean, result);
    for (int part = 0; part < spec.row->components.size && loss.sums.items > 0; ++part) {
      (*result->mutable_components())[spec.row->components[part]] =
          outcomes[i].components[static_cast<size_t>(part)];
    }
    if (request.reduction() == v1::REDUCTION_NONE) {
      v1::Tensor* values = result->mutable_values();
      values->set_dtype(static_cast<v1::DataType>(call->facts[i].compute_type));
      EncodeShape(call->facts[i].item_shape, values);
      values->set_data(std::move(call->values[i]));
    }
    state.losses.push_back(std::move(loss));
  }
  for (Gradient& gradient : call->gradients) {
    v1::LossResult* result = response->mutable_results(static_cast<int>(gradient.loss));
    v1::Tensor& tensor = (*result->mutable_gradients())[gradient.of.tensor];
    tensor.set_dtype(static_cast<v1::DataType>(call->facts[gradient.loss].compute_type));
    EncodeShape(gradient.of.shape, &tensor);
    tensor.set_data(std::move(gradient.bytes));
  }
  for (TableUpdate& update : call->updates) {
    const LossFacts& loss = call->facts[update.loss];
    v1::LossResult* result = response->mutable_results(static_cast<int>(update.loss));
    v1::Tensor& tensor = (*result->mutable_outputs())[call->specs[update.loss].row->update_output];
    tensor.set_dtype(static_cast<v1::DataType>(loss.compute_type));
    EncodeShape(loss.table_shape, &tensor);
    tensor.set_data(std::move(update.bytes));
  }
  double total = 0;
  if (request.reduction() != v1::REDUCTION_NONE && Total(state, mean, &total))
    response->set_total(total);
  response->set_arithmetic_revision(kArithmeticRevision);
}

}  // namespace

absl::StatusOr<std::unique_ptr<LossEngine>> LossEngine::Create(EngineOptions options) {
  if (absl::Status s = InitCpuTarget(); !s.ok()) return s;
  return std::unique_ptr<LossEngine>(new LossEngine(std::move(options)));
}

LossEngine::LossEngine(EngineOptions options)
    : options_(std::move(options)), pool_(options_.threads) {}

LossEngine::~LossEngine() = default;

void LossEngine::ComputeLoss(const v1::ComputeLossRequest& request, const Payloads& payloads,
                             v1::ComputeLossResponse* response, const CancellationToken* token,
                             Done done) {
  auto call = std::make_shared<ComputeCall>();
  if (absl::Status s = Prepare(request, payloads, call.get()); !s.ok()) {
    done(std::move(s));
    return;
  }
  CollectOptions collect;
  collect.non_finite = DecodeNonFinite(request.non_finite());
  const bool want_values = request.reduction() == v1::REDUCTION_NONE;
  if (absl::Status s = CheckResponseSize(*call, want_values, options_.limits); !s.ok()) {
    done(std::move(s));
    return;
  }
  Compute(&pool_, MakeTasks(request, call.get()), collect, token,
          [this, &request, response, call, done = std::move(done)](
              absl::Status status, std::vector<ComputeOutcome> outcomes) {
            if (status.ok()) {
              ObserveOutcomes(options_.on_computed, call->specs, outcomes);
              Respond(request, call.get(), std::move(outcomes), response);
            }
            done(std::move(status));
          });
}

std::unique_ptr<EvaluationSession> LossEngine::Evaluate() {
  return std::make_unique<EvaluationSession>(this);
}

absl::Status LossEngine::MergeEvaluations(const v1::MergeEvaluationsRequest& request,
                                          v1::MergeEvaluationsResponse* response) const {
  if (absl::Status s = RefuseUnknown(request, ""); !s.ok()) return s;
  if (absl::Status s = CheckLabels(request.labels()); !s.ok()) return s;
  if (request.states().empty())
    return InvalidArgument("NO_STATE", "states", "expected at least one state");
  if (request.states_size() > kMaxMergedStates) {
    return InvalidArgument("TOO_MANY_STATES", "states",
                           "expected at most " + std::to_string(kMaxMergedStates) +
                               " states, got " + std::to_string(request.states_size()));
  }
  EvaluationState merged;
  for (int i = 0; i < request.states_size(); ++i) {
    const std::string path = "states[" + std::to_string(i) + "]";
    absl::StatusOr<EvaluationState> state = EvaluationState::Parse(request.states(i).value());
    if (!state.ok()) return WithFieldPrefix(state.status(), path + ".value");
    if (i == 0) {
      merged = *std::move(state);
    } else if (absl::Status s = merged.Merge(*state); !s.ok()) {
      return WithFieldPrefix(s, path);
    }
  }
  EncodeEvaluation(merged, response->mutable_result());
  const auto bytes = static_cast<int64_t>(response->result().state().value().size());
  return CheckStateSize(bytes, options_.limits);
}

absl::Status LossEngine::ListLosses(const v1::ListLossesRequest& request,
                                    v1::ListLossesResponse* response) const {
  const Catalogue& catalogue = Catalogue::Get();
  if (request.names().empty()) {
    for (const LossRow& row : catalogue.rows()) DescribeLoss(row, response->add_losses());
    return absl::OkStatus();
  }
  for (int i = 0; i < request.names_size(); ++i) {
    const LossRow* row = catalogue.Find(request.names(i));
    if (row == nullptr) {
      return MakeStatus(absl::StatusCode::kNotFound,
                        {"UNKNOWN_LOSS", "names[" + std::to_string(i) + "]", absl::ZeroDuration()},
                        "there is no loss " + request.names(i));
    }
    DescribeLoss(*row, response->add_losses());
  }
  return absl::OkStatus();
}

absl::Status LossEngine::GetServerInfo(const v1::GetServerInfoRequest&,
                                       v1::GetServerInfoResponse* response) const {
  response->set_version(std::string(kVersion));
  response->set_arithmetic_revision(kArithmeticRevision);
  response->set_simd_target(std::string(ActiveCpuTarget()));
  for (uint32_t format = 1; format <= kStateFormat; ++format) {
    response->add_state_formats(static_cast<int32_t>(format));
  }
  for (const v1::Limit& limit : options_.reported_limits) *response->add_limits() = limit;
  return absl::OkStatus();
}

}  // namespace lossd
