// absl::Status <-> google.rpc.Status bytes: ErrorInfo, BadRequest and RetryInfo, by private copies
// of their messages with the public type URLs. Thread-safe.
#ifndef LOSSD_LIB_WIRE_STATUS_PROTO_H_
#define LOSSD_LIB_WIRE_STATUS_PROTO_H_

#include <string>

#include "absl/status/status.h"

namespace lossd {

// Serialized google.rpc.Status for `grpc-status-details-bin`; empty if the status has no detail.
std::string StatusDetailsBytes(const absl::Status& status);

// The status that `code`, `message` and the details of a failed call stand for; malformed details
// are dropped.
absl::Status StatusFromDetails(absl::StatusCode code, const std::string& message,
                               const std::string& details);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_STATUS_PROTO_H_
