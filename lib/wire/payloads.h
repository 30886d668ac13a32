// Requests parsed where they lie: a message without the bytes of its large tensors, and these
// bytes, in the pieces in which a transport delivered them.
//
// Protobuf alone would copy each `bytes` field, first into growing strings. Here only what is left
// of a request without them, some hundred bytes, is copied and parsed.
//
// Thread-safety: pure functions. Payloads view the pieces' memory and own none of it.
#ifndef LOSSD_LIB_WIRE_PAYLOADS_H_
#define LOSSD_LIB_WIRE_PAYLOADS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "lib/tensor/tensor_view.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// A message as it came: its bytes, in order.
using Pieces = std::vector<std::span<const std::byte>>;

// What Tensor.data would hold, by the tensor's name among the inputs of a request or a batch; of a
// constant's piece "". A tensor that has a payload has an empty `data` in the message.
using Payloads = std::map<std::string, PiecewiseBytes, std::less<>>;

// For messages that hold their data themselves.
const Payloads& NoPayloads();

// Data of at least so many bytes stays where it is; less is cheaper to copy.
inline constexpr size_t kMinPayloadBytes = 1024;
// A whole message below this is parsed as protobuf does it.
inline constexpr size_t kMinSplitBytes = 16384;

// Parses a message that is empty. True where protobuf takes the bytes too; message and payloads are
// then what it would have made of them.
bool ParseInPlace(const Pieces& bytes, v1::ComputeLossRequest* request, Payloads* payloads);
bool ParseInPlace(const Pieces& bytes, v1::EvaluateRequest* step, Payloads* payloads);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_PAYLOADS_H_
