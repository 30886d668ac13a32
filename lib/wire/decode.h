// From lossd.v1 messages to the library's types, with every check that does not need the values.
//
// Thread-safety: pure functions. Views point into the messages and payloads, or into the
// DecodedTensors that hold what had to be converted; all outlive their use.
#ifndef LOSSD_LIB_WIRE_DECODE_H_
#define LOSSD_LIB_WIRE_DECODE_H_

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/map.h"
#include "lib/accumulate/collector.h"
#include "lib/evaluation/state.h"
#include "lib/losses/bind.h"
#include "lib/wire/payloads.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// Counts of a request, beside kMaxLosses: each bounds memory and work.
inline constexpr int kMaxInputsOfRequest = 256;
inline constexpr int kMaxConstants = 64;
inline constexpr int kMaxNameBytes =
    128;  // of a tensor: errors name what they refuse, and travel in 8 KB of trailers
inline constexpr int kMaxLabelBytes = 128;
inline constexpr int kMaxMergedStates = 4096;

// Tensors of a message by name.
struct DecodedTensors {
  NamedTensors views;
  // What requests written by hand were converted to.
  std::deque<std::vector<std::byte>> converted;
};

// One tensor and, unless null, its payload; a conversion is added to `converted`. Paths are
// relative: ".shape".
absl::StatusOr<TensorView> DecodeTensor(const v1::Tensor& tensor, const PiecewiseBytes* payload,
                                        std::deque<std::vector<std::byte>>* converted);

// NAME_TOO_LONG for a tensor's name over the limit. The path leaves it out.
absl::Status CheckName(const std::string& name, const std::string& path);

// inputs["name"]...
absl::Status DecodeInputs(const google::protobuf::Map<std::string, v1::Tensor>& inputs,
                          const Payloads& payloads, DecodedTensors* decoded);

// The payload of a name, or null.
const PiecewiseBytes* FindPayload(const Payloads& payloads, const std::string& name);

// The losses of a request or spec: NO_LOSS, TOO_MANY_LOSSES, INVALID_PARAMETER, ...
absl::StatusOr<std::vector<LossSpec>> DecodeLosses(
    const google::protobuf::RepeatedPtrField<v1::Loss>& losses);

absl::StatusOr<DataType> DecodeDataType(v1::DataType dtype);
NonFinitePolicy DecodeNonFinite(v1::NonFinitePolicy policy);
absl::Status CheckLabels(const v1::EvaluationLabels& labels);

// UNKNOWN_INPUT for a tensor that no loss reads: a misspelt optional input must not be ignored
// quietly.
absl::Status CheckAllUsed(const std::vector<LossSpec>& losses, const NamedTensors& inputs);

// UNKNOWN_INPUT for an optional input that the losses know, but not with the inputs that they were
// bound to: pos_weight beside probs, say.
absl::Status CheckOptionalUsed(const std::vector<const BoundLoss*>& losses,
                               const NamedTensors& inputs);

// RESOURCE_EXHAUSTED (TOO_MANY_CLASSES) where the sums by class of all losses together are more
// than are kept.
absl::Status CheckPools(const std::vector<const BoundLoss*>& losses);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_DECODE_H_
