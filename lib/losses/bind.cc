#include "lib/losses/bind.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/status.h"
#include "lib/forms/box_format.h"
#include "lib/forms/shared_table.h"
#include "lib/losses/bind_whole.h"
#include "lib/losses/shape_checker.h"

namespace lossd {
namespace {

// The name of the tensor that a role takes; empty if there is none.
std::string_view TensorOf(const LossSpec& spec, const NamedTensors& inputs, std::string_view role) {
  const auto bound = spec.inputs.find(std::string(role));
  if (bound != spec.inputs.end()) return bound->second;
  const auto own = inputs.find(role);
  return own != inputs.end() ? std::string_view(own->first) : std::string_view();
}

bool HasInput(const Signature& signature, std::string_view role) {
  return std::ranges::any_of(signature.inputs,
                             [role](const Input& input) { return input.name == role; });
}

absl::Status CheckBindings(const LossSpec& spec, const NamedTensors& inputs) {
  for (const auto& [role, tensor] : spec.inputs) {
    const std::string path = spec.path + "." + InputPath(role);
    const bool known = role == kSampleWeight ||
                       std::ranges::any_of(spec.row->signatures, [&role = role](const auto& s) {
                         return HasInput(s, role);
                       });
    if (!known) {
      return InvalidArgument("UNKNOWN_INPUT", path,
                             std::string(spec.row->name) + " has no input " + role);
    }
    if (!inputs.contains(tensor)) {
      return InvalidArgument(
          "MISSING_INPUT", path,
          std::string(spec.row->name) + ": no tensor " + tensor + " was uploaded");
    }
  }
  return absl::OkStatus();
}

std::vector<std::string> MissingInputs(const Signature& signature, const LossSpec& spec,
                                       const NamedTensors& inputs) {
  std::vector<std::string> missing;
  for (const Input& input : signature.inputs) {
    if (!input.optional && TensorOf(spec, inputs, input.name).empty())
      missing.push_back(input.name);
  }
  return missing;
}

// "logits [N,C,...], labels [N,...]; or ..."
std::string DescribeSignatures(const LossRow& row) {
  std::string text;
  for (const Signature& signature : row.signatures) {
    if (!text.empty()) text += "; or ";
    bool first = true;
    for (const Input& input : signature.inputs) {
      if (input.optional) continue;
      text += (first ? "" : ", ") + std::string(input.name) + " " + DescribeShape(signature, input);
      first = false;
    }
  }
  return text;
}

absl::Status AmbiguousError(const LossSpec& spec, const Signature& a, const Signature& b) {
  const auto only_in = [](const Signature& x, const Signature& y) {
    for (const Input& input : x.inputs) {
      if (!input.optional && !HasInput(y, input.name)) return std::string(input.name);
    }
    return std::string();
  };
  return InvalidArgument("AMBIGUOUS_INPUT", spec.path + ".inputs",
                         std::string(spec.row->name) + ": " + only_in(a, b) + " and " +
                             only_in(b, a) + " are both present; bind one in inputs, e.g. {\"" +
                             only_in(a, b) + "\": \"" + only_in(a, b) + "\"}");
}

absl::StatusOr<const Signature*> ChooseSignature(const LossSpec& spec, const NamedTensors& inputs) {
  const Signature* chosen = nullptr;
  std::vector<std::string> fewest_missing;
  for (const Signature& signature : spec.row->signatures) {
    const bool takes_bindings = std::ranges::all_of(spec.inputs, [&](const auto& binding) {
      return binding.first == kSampleWeight || HasInput(signature, binding.first);
    });
    if (!takes_bindings) continue;
    std::vector<std::string> missing = MissingInputs(signature, spec, inputs);
    if (!missing.empty()) {
      if (fewest_missing.empty() || missing.size() < fewest_missing.size())
        fewest_missing = missing;
      continue;
    }
    if (chosen != nullptr) return AmbiguousError(spec, *chosen, signature);
    chosen = &signature;
  }
  if (chosen != nullptr) return chosen;
  if (fewest_missing.empty()) {
    return InvalidArgument("AMBIGUOUS_INPUT", spec.path + ".inputs",
                           std::string(spec.row->name) +
                               ": the bound inputs do not go together; expected " +
                               DescribeSignatures(*spec.row));
  }
  return InvalidArgument("MISSING_INPUT", InputPath(fewest_missing.front()),
                         std::string(spec.row->name) + ": " + fewest_missing.front() +
                             " was not uploaded; expected " + DescribeSignatures(*spec.row));
}

absl::Status CheckType(const LossSpec& spec, std::string_view tensor, TypeRule rule,
                       DataType type) {
  if (Accepts(rule, type)) return absl::OkStatus();
  return InvalidArgument("DTYPE_MISMATCH", InputPath(tensor) + ".dtype",
                         absl::StrCat(spec.row->name, ": ", std::string(tensor), ": expected ",
                                      DescribeTypes(rule), ", got ", std::string(Name(type))));
}

absl::Status CheckUnusedParameters(const LossSpec& spec, const Signature& signature) {
  for (int i = 0; i < spec.row->parameters.size; ++i) {
    if ((signature.unused_parameters >> i & 1) == 0) continue;
    const Parameter& parameter = spec.row->parameters[i];
    const bool is_default = spec.parameters[i] == parameter.default_value ||
                            (spec.parameters[i] != spec.parameters[i] &&
                             parameter.default_value != parameter.default_value);
    if (is_default) continue;
    return InvalidArgument(
        "UNUSED_PARAMETER", spec.path + "." + spec.row->name + "." + parameter.name,
        std::string(spec.row->name) + ": " + parameter.name + " means nothing with " +
            signature.inputs[0].name + " and " + signature.inputs[1].name + "; leave it out");
  }
  return absl::OkStatus();
}

double ParameterOr(const LossSpec& spec, const char* name, double otherwise) {
  const int index = FindParameter(*spec.row, name);
  return index < 0 ? otherwise : spec.parameters[index];
}

// Whether a tensor of this type makes the compute type f64.
bool WantsFloat64(TypeRule rule, DataType type) {
  return type == DataType::kFloat64 ||
         (rule == TypeRule::kAny && (type == DataType::kInt32 || type == DataType::kInt64));
}

// Where an input stands in the call.
Operand* PlaceOf(ShapeRule shape, int slot, FormCall* call) {
  switch (shape) {
    case ShapeRule::kElements:
    case ShapeRule::kClasses:
    case ShapeRule::kRows:
    case ShapeRule::kEmbeddings:
    case ShapeRule::kBoxes:
    case ShapeRule::kFrames:
    case ShapeRule::kLastDimension:
      return &call->operands[static_cast<size_t>(slot)];
    case ShapeRule::kPositions:
      return &call->labels;
    case ShapeRule::kLabelRows:
      return &call->label_rows;
    case ShapeRule::kRowValues:
      return &call->row_targets;
    case ShapeRule::kClassVector:
    case ShapeRule::kTableVector:
      return &call->class_weight;
    case ShapeRule::kTable:
      return &call->table;
    case ShapeRule::kSequences:
      return &call->sequence.labels;
    case ShapeRule::kInputLengths:
      return &call->sequence.input_lengths;
    case ShapeRule::kLabelLengths:
      return &call->sequence.label_lengths;
    case ShapeRule::kHead:
    case ShapeRule::kHeadBoxes:
      break;  // of whole-batch losses
  }
  return nullptr;
}

// What the values must be: of a box it depends on its format.
ValueRule RuleOf(const Input& input, const LossSpec& spec) {
  if (input.values != ValueRule::kBox) return input.values;
  constexpr auto kCorners = static_cast<double>(BoxFormat::kXyxy);
  return ParameterOr(spec, "format", kCorners) == kCorners ? ValueRule::kBoxCorners
                                                           : ValueRule::kBoxSizes;
}

absl::Status PlaceOperands(const LossSpec& spec, const NamedTensors& inputs, ShapeChecker* shapes,
                           BoundLoss* bound) {
  for (int i = 0; i < bound->signature->inputs.size; ++i) {
    const Input& input = bound->signature->inputs[i];
    Operand operand;
    operand.input = i;
    operand.values = RuleOf(input, spec);
    if (bound->signature->target_values != nullptr && std::string_view(input.name) == "targets")
      operand.values = bound->signature->target_values(spec.parameters.data());
    const std::string_view tensor = TensorOf(spec, inputs, input.name);
    if (!tensor.empty()) {
      operand.name = std::string(tensor);
      operand.view = inputs.find(tensor)->second;
      const TensorView& view = operand.view;
      if (absl::Status s = CheckType(spec, tensor, input.type, view.dtype()); !s.ok()) return s;
      if (absl::Status s = shapes->Check(input, tensor, view.shape()); !s.ok()) return s;
      if (WantsFloat64(input.type, view.dtype())) bound->compute_type = DataType::kFloat64;
    }
    operand.repeats = input.shape == ShapeRule::kLastDimension;
    if (bound->signature->kernels.whole.f32 != nullptr) {
      bound->call.whole.push_back(std::move(operand));
      continue;
    }
    *PlaceOf(input.shape, SlotOf(*bound->signature, i), &bound->call) = std::move(operand);
  }
  return absl::OkStatus();
}

// The sizes of a call over the frames [N,T,C].
absl::Status BindSequences(const LossSpec& spec, const Shape& frames, BoundLoss* bound) {
  FormCall& call = bound->call;
  call.width = frames[1] * frames[2];
  call.classes = frames[2];
  call.sequence.frames = frames[1];
  call.units = frames[0];
  call.units_per_sample = 1;
  bound->item_shape = Shape{frames[0]};
  if (spec.parameters[kSequenceBlank] < static_cast<double>(call.classes)) return absl::OkStatus();
  return InvalidArgument(
      "INVALID_PARAMETER",
      spec.path + "." + spec.row->name + "." + spec.row->parameters[kSequenceBlank].name,
      std::string(spec.row->name) +
          ": the blank must be a class, below C = " + std::to_string(call.classes) + ", got " +
          std::to_string(static_cast<int64_t>(spec.parameters[kSequenceBlank])));
}

// A mask of one class has targets, one of more has labels. Its unit is a sample; pooled, a
// position.
absl::Status BindMask(const LossSpec& spec, const Shape& main, BoundLoss* bound) {
  FormCall& call = bound->call;
  call.label_rows = std::exchange(call.labels, Operand());
  call.classes = call.label_rows.view ? main[1] : 1;
  call.units = main[0];
  call.units_per_sample = 1;
  call.width = main[0] > 0 ? main.elements() / main[0] : call.classes;
  bound->item_shape = Shape{main[0]};
  const std::string& tensor = call.operands[0].name;
  if (call.classes > kMaxMaskClasses) {
    return ResourceExhausted("TOO_MANY_CLASSES", InputPath(tensor) + ".shape",
                             std::string(spec.row->name) + ": at most " +
                                 std::to_string(kMaxMaskClasses) + " classes, got " +
                                 std::to_string(call.classes));
  }
  if (main[0] > 0 && main.elements() == 0)
    return ShapeError(spec, tensor, "a position a sample at least", main);
  if (!call.kernels.masks.pooled) return absl::OkStatus();

  bound->position_shape = call.label_rows.view ? main.Without(1) : main;
  call.units = bound->position_shape.elements();
  call.units_per_sample = main[0] > 0 ? call.units / main[0] : 1;
  call.width = call.classes;
  bound->item_shape = Shape();
  return absl::OkStatus();
}

absl::Status BindSampleWeight(const LossSpec& spec, const NamedTensors& inputs, int64_t samples,
                              BoundLoss* bound) {
  const std::string_view tensor = TensorOf(spec, inputs, kSampleWeight);
  if (tensor.empty()) return absl::OkStatus();
  const TensorView& view = inputs.find(tensor)->second;
  if (absl::Status s = CheckType(spec, tensor, TypeRule::kTarget, view.dtype()); !s.ok()) return s;
  const Shape& shape = bound->counted_shape();
  const bool item_shaped = view.shape() == shape;
  if (!item_shaped && bound->signature->item == ItemKind::kBatch) {
    return ShapeError(spec, tensor,
                      bound->item_shape.ToString() +
                          ", the weight of the batch, for a sample has none here; bind another "
                          "tensor in inputs as sample_weight",
                      view.shape());
  }
  if (!item_shaped && !(view.shape() == Shape{samples})) {
    return ShapeError(spec, tensor, Shape{samples}.ToString() + " or " + shape.ToString(),
                      view.shape());
  }
  bound->call.sample_weight = {std::string(tensor), view, ValueRule::kFiniteNonNegative, false};
  bound->call.weight_per_sample = !item_shaped;
  return absl::OkStatus();
}

}  // namespace

FormCall BoundLoss::ItemCall(const LossSums& sums) const {
  FormCall items = call;
  if (pooled && !pools_positions()) {
    items.kernels = signature->kernels;
    if (signature->pooling.resolve != nullptr)
      signature->pooling.resolve(sums, items.parameters.data());
  }
  return items;
}

absl::StatusOr<BoundLoss> Bind(const LossSpec& spec, const NamedTensors& inputs) {
  if (absl::Status s = CheckBindings(spec, inputs); !s.ok()) return s;
  absl::StatusOr<const Signature*> signature = ChooseSignature(spec, inputs);
  if (!signature.ok()) return signature.status();
  if (absl::Status s = CheckUnusedParameters(spec, **signature); !s.ok()) return s;

  BoundLoss bound;
  bound.row = spec.row;
  bound.signature = *signature;
  FormCall& call = bound.call;
  call.loss = spec.row->name;
  call.parameters = spec.parameters;
  ShapeChecker shapes(spec);
  if (absl::Status s = PlaceOperands(spec, inputs, &shapes, &bound); !s.ok()) return s;

  const Shape& main = shapes.main();
  bound.samples = main[0];
  const Kernels& kernels = bound.signature->kernels;
  const bool rowwise = kernels.rows.f32 != nullptr || kernels.classifier.f32 != nullptr;
  call.pointwise = ParameterOr(spec, "pointwise", 0) != 0;
  if (const int index = FindParameter(*spec.row, "ignore_index");
      index >= 0 && !std::isnan(spec.parameters[index])) {
    call.ignore_index = static_cast<int64_t>(spec.parameters[index]);
  }
  call.class_weight_in_denominator = bound.signature->class_weight_in_denominator;
  bound.pooled = bound.signature->pooling.wanted != nullptr &&
                 bound.signature->pooling.wanted(spec.parameters.data());
  call.kernels = bound.pooled     ? bound.signature->pooling.kernels
                 : call.pointwise ? bound.signature->pointwise_kernels
                                  : bound.signature->kernels;
  call.counts_kinds = spec.row->counts.size > 0;
  call.width = rowwise ? main[1] : 1;
  call.classes = shapes.table_rows() > 0 ? shapes.table_rows() : call.width;
  bound.wants_update = spec.row->update_parameter != nullptr &&
                       ParameterOr(spec, spec.row->update_parameter, 0) != 0;
  if (call.table.view) call.shared_table = std::make_shared<SharedTable>();
  if (kernels.classifier.f32 != nullptr) call.label_check = std::make_shared<LabelCheck>();
  bound.item_shape = rowwise && !call.pointwise ? main.Without(1) : main;
  call.units = rowwise ? main.Without(1).elements() : main.elements();
  call.units_per_sample = main[0] > 0 ? call.units / main[0] : 1;
  if (bound.signature->kernels.sequences.f32.advance != nullptr) {
    if (absl::Status s = BindSequences(spec, main, &bound); !s.ok()) return s;
  }
  if (bound.signature->kernels.whole.f32 != nullptr) {
    if (absl::Status s = BindWhole(spec, main, &bound); !s.ok()) return s;
  }
  if (bound.signature->kernels.masks.loss != nullptr) {
    if (absl::Status s = BindMask(spec, main, &bound); !s.ok()) return s;
  }
  if (absl::Status s = BindSampleWeight(spec, inputs, main[0], &bound); !s.ok()) return s;
  return bound;
}

std::vector<GradientSlot> GradientSlots(const BoundLoss& loss) {
  std::vector<GradientSlot> slots;
  for (int i = 0; i < loss.signature->inputs.size; ++i) {
    if (!HasGradient(*loss.signature, i)) continue;
    const int slot = SlotOf(*loss.signature, i);
    const size_t index = static_cast<size_t>(slot);
    const Operand& operand = !loss.call.whole.empty() ? loss.call.whole[index]
                             : slot == kTableGradient ? loss.call.table
                                                      : loss.call.operands[index];
    if (operand.view) slots.push_back({operand.name, slot, operand.view.shape()});
  }
  return slots;
}

bool IsConstantInput(const LossRow& row, std::string_view input) {
  for (const Signature& signature : row.signatures) {
    for (const Input& candidate : signature.inputs) {
      if (candidate.name != input) continue;
      return candidate.shape == ShapeRule::kClassVector ||
             candidate.shape == ShapeRule::kLastDimension || candidate.shape == ShapeRule::kTable ||
             candidate.shape == ShapeRule::kTableVector;
    }
  }
  return false;
}

}  // namespace lossd
