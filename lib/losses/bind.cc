#include "lib/losses/bind.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/base/status.h"

namespace lossd {
namespace {

std::string InputPath(std::string_view tensor) { return "inputs[\"" + std::string(tensor) + "\"]"; }

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
      text += (first ? "" : ", ") + std::string(input.name) + " " + Describe(input.shape);
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
                         std::string(spec.row->name) + ": expected " + DescribeTypes(rule) +
                             ", got " + std::string(Name(type)));
}

absl::Status ShapeError(const LossSpec& spec, std::string_view tensor, const std::string& expected,
                        const Shape& shape) {
  return InvalidArgument(
      "SHAPE_MISMATCH", InputPath(tensor) + ".shape",
      std::string(spec.row->name) + ": expected " + expected + ", got " + shape.ToString());
}

// The shapes that the inputs of a signature agree on.
class ShapeChecker {
 public:
  explicit ShapeChecker(const LossSpec& spec) : spec_(spec) {}

  absl::Status Check(const Input& input, std::string_view tensor, const Shape& shape) {
    switch (input.shape) {
      case ShapeRule::kElements:
        return Agree(input, tensor, shape, 1, Shape::kMaxRank);
      case ShapeRule::kClasses:
        return Agree(input, tensor, shape, 2, Shape::kMaxRank);
      case ShapeRule::kRows:
        return Agree(input, tensor, shape, 2, 2);
      case ShapeRule::kPositions:
        return Expect(tensor, main_->Without(1), shape);
      case ShapeRule::kClassVector:
        return Expect(tensor, Shape{(*main_)[1]}, shape);
      case ShapeRule::kLastDimension:
        return Expect(tensor, Shape{(*main_)[main_->rank() - 1]}, shape);
    }
    return absl::OkStatus();
  }

  // That of the first input, which always is one of elements, classes or rows.
  const Shape& main() const { return *main_; }

 private:
  absl::Status Agree(const Input& input, std::string_view tensor, const Shape& shape,
                     int minimum_rank, int maximum_rank) {
    if (main_.has_value()) return Expect(tensor, *main_, shape);
    if (shape.rank() < minimum_rank || shape.rank() > maximum_rank) {
      return ShapeError(spec_, tensor, Describe(input.shape), shape);
    }
    if (input.shape != ShapeRule::kElements && shape[1] < 1) {
      return ShapeError(spec_, tensor, std::string(Describe(input.shape)) + " with C of at least 1",
                        shape);
    }
    main_ = shape;
    return absl::OkStatus();
  }

  absl::Status Expect(std::string_view tensor, const Shape& expected, const Shape& shape) const {
    if (shape == expected) return absl::OkStatus();
    return ShapeError(spec_, tensor, expected.ToString(), shape);
  }

  const LossSpec& spec_;
  std::optional<Shape> main_;
};

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

absl::Status PlaceOperands(const LossSpec& spec, const NamedTensors& inputs, ShapeChecker* shapes,
                           BoundLoss* bound) {
  int next = 0;
  for (const Input& input : bound->signature->inputs) {
    Operand operand;
    operand.values = input.values;
    const std::string_view tensor = TensorOf(spec, inputs, input.name);
    if (!tensor.empty()) {
      operand.name = std::string(tensor);
      operand.view = inputs.find(tensor)->second;
      const TensorView& view = operand.view;
      if (absl::Status s = CheckType(spec, tensor, input.type, view.dtype()); !s.ok()) return s;
      if (absl::Status s = shapes->Check(input, tensor, view.shape()); !s.ok()) return s;
      if (WantsFloat64(input.type, view.dtype())) bound->compute_type = DataType::kFloat64;
    }
    switch (input.shape) {
      case ShapeRule::kElements:
      case ShapeRule::kClasses:
      case ShapeRule::kRows:
        bound->call.operands[next++] = std::move(operand);
        break;
      case ShapeRule::kLastDimension:
        operand.repeats = true;
        bound->call.operands[next++] = std::move(operand);
        break;
      case ShapeRule::kPositions:
        bound->call.labels = std::move(operand);
        break;
      case ShapeRule::kClassVector:
        bound->call.class_weight = std::move(operand);
        break;
    }
  }
  return absl::OkStatus();
}

absl::Status BindSampleWeight(const LossSpec& spec, const NamedTensors& inputs, int64_t samples,
                              BoundLoss* bound) {
  const std::string_view tensor = TensorOf(spec, inputs, kSampleWeight);
  if (tensor.empty()) return absl::OkStatus();
  const TensorView& view = inputs.find(tensor)->second;
  if (absl::Status s = CheckType(spec, tensor, TypeRule::kTarget, view.dtype()); !s.ok()) return s;
  const bool item_shaped = view.shape() == bound->item_shape;
  if (!item_shaped && !(view.shape() == Shape{samples})) {
    return ShapeError(spec, tensor,
                      Shape{samples}.ToString() + " or " + bound->item_shape.ToString(),
                      view.shape());
  }
  bound->call.sample_weight = {std::string(tensor), view, ValueRule::kFiniteNonNegative, false};
  bound->call.weight_per_sample = !item_shaped;
  return absl::OkStatus();
}

}  // namespace

FormCall BoundLoss::ItemCall(const LossSums& sums) const {
  FormCall items = call;
  if (pooled) {
    items.kernels = signature->kernels;
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
  const bool rowwise = bound.signature->kernels.rows.f32 != nullptr;
  call.pointwise = ParameterOr(spec, "pointwise", 0) != 0;
  if (const int index = FindParameter(*spec.row, "ignore_index"); index >= 0) {
    call.ignore_index = static_cast<int64_t>(spec.parameters[index]);
  }
  call.class_weight_in_denominator = bound.signature->class_weight_in_denominator;
  bound.pooled = bound.signature->pooling.wanted != nullptr &&
                 bound.signature->pooling.wanted(spec.parameters.data());
  call.kernels = bound.pooled     ? bound.signature->pooling.kernels
                 : call.pointwise ? bound.signature->pointwise_kernels
                                  : bound.signature->kernels;
  call.classes = rowwise ? main[1] : 1;
  bound.item_shape = rowwise && !call.pointwise ? main.Without(1) : main;
  call.units = rowwise ? main.Without(1).elements() : main.elements();
  call.units_per_sample = main[0] > 0 ? call.units / main[0] : 1;
  if (absl::Status s = BindSampleWeight(spec, inputs, main[0], &bound); !s.ok()) return s;
  return bound;
}

bool IsConstantInput(const LossRow& row, std::string_view input) {
  for (const Signature& signature : row.signatures) {
    for (const Input& candidate : signature.inputs) {
      if (candidate.name != input) continue;
      return candidate.shape == ShapeRule::kClassVector ||
             candidate.shape == ShapeRule::kLastDimension;
    }
  }
  return false;
}

}  // namespace lossd
