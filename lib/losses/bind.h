// Binding: one loss as asked for, and the tensors uploaded, become a call that a backend can run.
// All checks of names, shapes and types are here; values are checked as they are read.
//
// Thread-safety: pure functions. A BoundLoss views the tensors' memory and owns none.
#ifndef LOSSD_LIB_LOSSES_BIND_H_
#define LOSSD_LIB_LOSSES_BIND_H_

#include <array>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/forms/form.h"
#include "lib/losses/descriptor.h"
#include "lib/tensor/tensor_view.h"

namespace lossd {

using NamedTensors = std::map<std::string, TensorView, std::less<>>;

// The tensor of weights that every loss takes.
inline constexpr char kSampleWeight[] = "sample_weight";

// A loss of a request.
struct LossSpec {
  const LossRow* row = nullptr;
  std::array<double, kMaxParameters> parameters{};  // in the row's order, defaults filled in
  PairGroups groups;                                // of the parameter that is a list of lists
  double weight = 1;                                // in the total
  std::string label;
  std::map<std::string, std::string> inputs;  // role -> name of the tensor
  std::string path;                           // in the request, e.g. losses[0]
};

struct BoundLoss {
  const LossRow* row = nullptr;
  const Signature* signature = nullptr;
  FormCall call;
  DataType compute_type = DataType::kFloat32;  // FLOAT32 or FLOAT64
  Shape item_shape;
  int64_t samples = 0;  // size of the leading dimension
  bool pooled = false;  // the kernels give the parts of the row's report
  // Of masks whose sums are pooled over all samples: what their sums and their weights are of. The
  // report is their one item.
  Shape position_shape;

  // The table's update is wanted beside the items.
  bool wants_update = false;

  bool pools_positions() const { return call.kernels.masks.pooled; }
  // Sums that it keeps by class (LossSums::pools).
  size_t pools() const {
    const auto sums = static_cast<size_t>(call.kernels.masks.sums);
    return pools_positions() ? static_cast<size_t>(call.classes) * sums : 0;
  }
  // What is counted as items, and may have a weight each.
  const Shape& counted_shape() const { return pools_positions() ? position_shape : item_shape; }

  // The same call with the kernels and resolved parameters that give items.
  FormCall ItemCall(const LossSums& sums) const;
};

// INVALID_ARGUMENT: UNKNOWN_INPUT, MISSING_INPUT, AMBIGUOUS_INPUT, SHAPE_MISMATCH, DTYPE_MISMATCH,
// UNUSED_PARAMETER. Paths are those of the request.
absl::StatusOr<BoundLoss> Bind(const LossSpec& spec, const NamedTensors& inputs);

// A tensor that the loss has a gradient with respect to, and the place of that gradient in
// GradientCall::outputs.
struct GradientSlot {
  std::string tensor;
  int slot = 0;
  Shape shape;
};
std::vector<GradientSlot> GradientSlots(const BoundLoss& loss);

// Whether the value of an input is one for all samples, so that it may be a constant of a stream.
bool IsConstantInput(const LossRow& row, std::string_view input);

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_BIND_H_
