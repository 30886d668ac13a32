// Binding of whole-batch losses: what stands between their inputs and their parameters.
//
// Thread-safety: pure functions. Ownership: see bind.h.
#ifndef LOSSD_LIB_LOSSES_BIND_WHOLE_H_
#define LOSSD_LIB_LOSSES_BIND_WHOLE_H_

#include <optional>
#include <string_view>

#include "absl/status/status.h"
#include "lib/losses/bind.h"

namespace lossd {

// SHAPE_MISMATCH unless the shape of a tensor is that of a detection head, [N,A,H,W,5+K], with the
// N and K of the first one, if there is one.
absl::Status CheckHead(const LossSpec& spec, std::string_view tensor, const Shape& shape,
                       const std::optional<Shape>& first);

// Completes `bound`, whose inputs were placed and have the shapes that each of them may have;
// `main` is that of the first one.
//
// With a list of lists (ParameterType::kPairGroups), list k belongs to input k: MISSING_PARAMETER
// where there is none, MISSING_INPUT for a list without an input, UNKNOWN_INPUT for a bound input
// without a list (one that is not bound is left alone), SHAPE_MISMATCH where input k has not as
// many anchors as list k.
absl::Status BindWhole(const LossSpec& spec, const Shape& main, BoundLoss* bound);

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_BIND_WHOLE_H_
