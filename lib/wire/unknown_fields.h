// The refusal of what this version does not know: an old server must not quietly compute another
// loss. Thread-safe.
#ifndef LOSSD_LIB_WIRE_UNKNOWN_FIELDS_H_
#define LOSSD_LIB_WIRE_UNKNOWN_FIELDS_H_

#include <string>

#include "absl/status/status.h"
#include "google/protobuf/message.h"

namespace lossd {

// INVALID_ARGUMENT (UNKNOWN_FIELD) with path and number for the first unknown field, and for the
// first unknown number of an enum, at any depth of `message`; `path` is the message's own ("" for a
// request). Tensors are passed over: they ignore what they do not know.
absl::Status RefuseUnknown(const google::protobuf::Message& message, const std::string& path);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_UNKNOWN_FIELDS_H_
