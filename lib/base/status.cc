#include "lib/base/status.h"

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"

namespace lossd {
namespace {

constexpr char kReason[] = "lossd/reason";
constexpr char kField[] = "lossd/field";
constexpr char kRetryNanoseconds[] = "lossd/retry_nanoseconds";

absl::string_view ToAbsl(std::string_view text) { return {text.data(), text.size()}; }

std::string Payload(const absl::Status& status, const char* key) {
  const auto payload = status.GetPayload(key);
  return payload.has_value() ? std::string(*payload) : std::string();
}

}  // namespace

absl::Status MakeStatus(absl::StatusCode code, const ErrorDetail& detail,
                        std::string_view message) {
  absl::Status status(code, ToAbsl(message));
  status.SetPayload(kReason, absl::Cord(detail.reason));
  if (!detail.field.empty()) status.SetPayload(kField, absl::Cord(detail.field));
  if (detail.retry_delay > absl::ZeroDuration()) {
    status.SetPayload(kRetryNanoseconds,
                      absl::Cord(std::to_string(absl::ToInt64Nanoseconds(detail.retry_delay))));
  }
  return status;
}

absl::Status InvalidArgument(std::string_view reason, std::string_view field,
                             std::string_view message) {
  return MakeStatus(absl::StatusCode::kInvalidArgument,
                    {std::string(reason), std::string(field), absl::ZeroDuration()}, message);
}

absl::Status ResourceExhausted(std::string_view reason, std::string_view field,
                               std::string_view message) {
  return MakeStatus(absl::StatusCode::kResourceExhausted,
                    {std::string(reason), std::string(field), absl::ZeroDuration()}, message);
}

absl::Status FailedPrecondition(std::string_view reason, std::string_view field,
                                std::string_view message) {
  return MakeStatus(absl::StatusCode::kFailedPrecondition,
                    {std::string(reason), std::string(field), absl::ZeroDuration()}, message);
}

absl::Status Unimplemented(std::string_view reason, std::string_view field,
                           std::string_view message) {
  return MakeStatus(absl::StatusCode::kUnimplemented,
                    {std::string(reason), std::string(field), absl::ZeroDuration()}, message);
}

absl::Status Unavailable(std::string_view reason, std::string_view message,
                         absl::Duration retry_delay) {
  return MakeStatus(absl::StatusCode::kUnavailable, {std::string(reason), "", retry_delay},
                    message);
}

ErrorDetail DetailOf(const absl::Status& status) {
  ErrorDetail detail;
  detail.reason = Payload(status, kReason);
  detail.field = Payload(status, kField);
  int64_t nanoseconds = 0;
  if (absl::SimpleAtoi(Payload(status, kRetryNanoseconds), &nanoseconds)) {
    detail.retry_delay = absl::Nanoseconds(nanoseconds);
  }
  return detail;
}

absl::Status WithFieldPrefix(const absl::Status& status, std::string_view prefix) {
  if (status.ok()) return status;
  absl::Status prefixed = status;
  prefixed.SetPayload(kField, absl::Cord(std::string(prefix) + Payload(status, kField)));
  return prefixed;
}

}  // namespace lossd
