// Errors of the library: absl::Status with a reason and the path of the field that is wrong.
//
// A caller reads the detail back with DetailOf, wherever the status has travelled; the server packs
// it into google.rpc.ErrorInfo, BadRequest and RetryInfo. Everything here is thread-safe.
#ifndef LOSSD_LIB_BASE_STATUS_H_
#define LOSSD_LIB_BASE_STATUS_H_

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace lossd {

struct ErrorDetail {
  std::string reason;          // UPPER_SNAKE, e.g. SHAPE_MISMATCH; empty: the status has no detail
  std::string field;           // path in the request, e.g. inputs["labels"].shape; may be empty
  absl::Duration retry_delay;  // how long to wait before a retry; zero: a retry does not help
};

// The caller's mistake.
absl::Status InvalidArgument(std::string_view reason, std::string_view field,
                             std::string_view message);
// A permanent limit; the message names it and its flag.
absl::Status ResourceExhausted(std::string_view reason, std::string_view field,
                               std::string_view message);
// Right in itself, wrong now: a sequence gap, another arithmetic revision.
absl::Status FailedPrecondition(std::string_view reason, std::string_view field,
                                std::string_view message);
// A contract's field that this version does not serve.
absl::Status Unimplemented(std::string_view reason, std::string_view field,
                           std::string_view message);
// Pressure that passes.
absl::Status Unavailable(std::string_view reason, std::string_view message,
                         absl::Duration retry_delay);
// Any code.
absl::Status MakeStatus(absl::StatusCode code, const ErrorDetail& detail, std::string_view message);

// The detail that a status carries; an empty reason if none.
ErrorDetail DetailOf(const absl::Status& status);

// The same status with `prefix` before the field's path: `.shape` becomes `inputs["labels"].shape`.
absl::Status WithFieldPrefix(const absl::Status& status, std::string_view prefix);

}  // namespace lossd

#endif  // LOSSD_LIB_BASE_STATUS_H_
