#include "lib/wire/status_proto.h"

#include "lib/base/status.h"
#include "lossd/internal/v1/error_details.pb.h"

namespace lossd {
namespace {

namespace pb = internal::v1;

constexpr char kDomain[] = "lossd";
constexpr char kErrorInfo[] = "type.googleapis.com/google.rpc.ErrorInfo";
constexpr char kBadRequest[] = "type.googleapis.com/google.rpc.BadRequest";
constexpr char kRetryInfo[] = "type.googleapis.com/google.rpc.RetryInfo";

void AddDetail(const char* type_url, const google::protobuf::Message& message, pb::Status* status) {
  google::protobuf::Any* any = status->add_details();
  any->set_type_url(type_url);
  message.SerializeToString(any->mutable_value());
}

}  // namespace

std::string StatusDetailsBytes(const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  if (detail.reason.empty()) return "";
  pb::Status proto;
  proto.set_code(static_cast<int>(status.code()));
  proto.set_message(std::string(status.message()));
  pb::ErrorInfo info;
  info.set_reason(detail.reason);
  info.set_domain(kDomain);
  AddDetail(kErrorInfo, info, &proto);
  if (status.code() == absl::StatusCode::kInvalidArgument || !detail.field.empty()) {
    pb::BadRequest bad_request;
    auto* violation = bad_request.add_field_violations();
    violation->set_field(detail.field);
    violation->set_description(std::string(status.message()));
    AddDetail(kBadRequest, bad_request, &proto);
  }
  if (detail.retry_delay > absl::ZeroDuration()) {
    pb::RetryInfo retry;
    const int64_t nanoseconds = absl::ToInt64Nanoseconds(detail.retry_delay);
    retry.mutable_retry_delay()->set_seconds(nanoseconds / 1000000000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(nanoseconds % 1000000000));
    AddDetail(kRetryInfo, retry, &proto);
  }
  return proto.SerializeAsString();
}

absl::Status StatusFromDetails(absl::StatusCode code, const std::string& message,
                               const std::string& details) {
  ErrorDetail detail;
  pb::Status proto;
  if (proto.ParseFromString(details)) {
    for (const google::protobuf::Any& any : proto.details()) {
      pb::ErrorInfo info;
      pb::BadRequest bad_request;
      pb::RetryInfo retry;
      if (any.type_url() == kErrorInfo && info.ParseFromString(any.value())) {
        detail.reason = info.reason();
      } else if (any.type_url() == kBadRequest && bad_request.ParseFromString(any.value()) &&
                 bad_request.field_violations_size() > 0) {
        detail.field = bad_request.field_violations(0).field();
      } else if (any.type_url() == kRetryInfo && retry.ParseFromString(any.value())) {
        detail.retry_delay = absl::Seconds(retry.retry_delay().seconds()) +
                             absl::Nanoseconds(retry.retry_delay().nanos());
      }
    }
  }
  if (detail.reason.empty() && detail.retry_delay <= absl::ZeroDuration()) {
    return absl::Status(code, message);
  }
  return MakeStatus(code, detail, message);
}

}  // namespace lossd
