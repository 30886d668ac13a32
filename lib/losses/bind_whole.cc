#include "lib/losses/bind_whole.h"

#include <algorithm>
#include <string>

#include "lib/base/status.h"

namespace lossd {
namespace {

const Parameter* FindGroups(const LossRow& row) {
  for (const Parameter& parameter : row.parameters) {
    if (parameter.type == ParameterType::kPairGroups) return &parameter;
  }
  return nullptr;
}

// Input k and list k.
absl::Status CheckGroup(const LossSpec& spec, size_t k, Operand* operand) {
  const std::string loss = spec.row->name;
  const std::string role = spec.row->signatures[0].inputs[static_cast<int>(k)].name;
  const std::string lists = std::to_string(spec.groups.size()) + " " + FindGroups(*spec.row)->name;
  if (k >= spec.groups.size()) {
    // Perhaps uploaded for another loss.
    *operand = Operand();
    if (!spec.inputs.contains(role)) return absl::OkStatus();
    return InvalidArgument("UNKNOWN_INPUT", spec.path + ".inputs[\"" + role + "\"]",
                           loss + ": with " + lists + " there is no input " + role);
  }
  if (!operand->view) {
    return InvalidArgument("MISSING_INPUT", "inputs[\"" + role + "\"]",
                           loss + ": " + role +
                               " was not uploaded; expected one a scale, and the "
                               "loss has " +
                               lists);
  }
  const Shape& shape = operand->view.shape();
  const int64_t anchors = static_cast<int64_t>(spec.groups[k].size());
  if (shape[1] == anchors) return absl::OkStatus();
  return InvalidArgument("SHAPE_MISMATCH", "inputs[\"" + operand->name + "\"].shape",
                         loss + ": expected A = " + std::to_string(anchors) + ", the anchors of " +
                             FindGroups(*spec.row)->name + "[" + std::to_string(k) + "], got " +
                             shape.ToString());
}

absl::Status CheckGroups(const LossSpec& spec, FormCall* call) {
  const Parameter* parameter = FindGroups(*spec.row);
  if (parameter == nullptr) return absl::OkStatus();
  if (spec.groups.empty()) {
    return InvalidArgument(
        "MISSING_PARAMETER", spec.path + "." + spec.row->name + "." + parameter->name,
        std::string(spec.row->name) + ": expected " + parameter->name + ", " + parameter->help);
  }
  for (size_t k = 0; k < kMaxPairGroups; ++k) {
    if (absl::Status s = CheckGroup(spec, k, &call->whole[k]); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckHead(const LossSpec& spec, std::string_view tensor, const Shape& shape,
                       const std::optional<Shape>& first) {
  const bool is_head =
      shape.rank() == 5 && shape[4] >= 5 && std::min({shape[1], shape[2], shape[3]}) >= 1;
  if (is_head && (!first.has_value() || (shape[0] == (*first)[0] && shape[4] == (*first)[4]))) {
    return absl::OkStatus();
  }
  std::string expected = "[N,A,H,W,5+K] with A, H and W of at least 1";
  if (is_head) {
    expected = "N = " + std::to_string((*first)[0]) + " and 5+K = " + std::to_string((*first)[4]) +
               ", as the first one";
  }
  return InvalidArgument("SHAPE_MISMATCH", "inputs[\"" + std::string(tensor) + "\"].shape",
                         std::string(spec.row->name) + ": " + std::string(tensor) + ": expected " +
                             expected + ", got " + shape.ToString());
}

absl::Status BindWhole(const LossSpec& spec, const Shape& main, BoundLoss* bound) {
  FormCall& call = bound->call;
  if (absl::Status s = CheckGroups(spec, &call); !s.ok()) return s;
  call.groups = spec.groups;
  // One item; none of an empty batch.
  call.units = std::min<int64_t>(main[0], 1);
  call.units_per_sample = 1;
  bound->item_shape = Shape{call.units};
  // What the backend judges the size of the work by.
  call.width = 0;
  for (const Operand& operand : call.whole) {
    if (operand.view) call.width += operand.view.elements();
  }
  return absl::OkStatus();
}

}  // namespace lossd
