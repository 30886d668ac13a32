#include "server/rpc/call_record.h"

#include <utility>

#include "absl/strings/string_view.h"
#include "lib/base/status.h"
#include "server/rpc/status_map.h"

namespace lossd {
namespace {

std::string_view ToStd(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace

CallRecord::CallRecord(Method method, const grpc::CallbackServerContext* context,
                       const ServiceParts& parts)
    : method_(method), context_(context), parts_(parts), start_(std::chrono::steady_clock::now()) {
  parts_.metrics->CallStarted(method_);
}

bool CallRecord::deadline_passed() const {
  return context_->deadline() <= std::chrono::system_clock::now();
}

grpc::Status CallRecord::End(absl::Status status) {
  if (absl::IsCancelled(status) && deadline_passed()) {
    status = absl::DeadlineExceededError("the deadline of the call has passed");
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  parts_.metrics->CallHandled(method_, static_cast<int>(status.code()), seconds);
  if (status.ok()) {
    if (parts_.logger->enabled(LogLevel::kDebug)) {
      parts_.logger->Log(
          LogLevel::kDebug, "call",
          {{"method", MethodName(method_)}, {"code", "OK"}, {"run", run_}, {"seconds", seconds}});
    }
    return grpc::Status::OK;
  }
  const std::string reason = DetailOf(status).reason;
  if (absl::IsUnavailable(status) || absl::IsResourceExhausted(status))
    parts_.metrics->Rejected(reason);
  LogFailure(status, seconds);
  return ToGrpcStatus(status);
}

void CallRecord::LogFailure(const absl::Status& status, double seconds) const {
  const ErrorDetail detail = DetailOf(status);
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string peer = context_->peer();
  parts_.logger->Log(LogLevel::kWarning, "call failed",
                     {{"method", MethodName(method_)},
                      {"code", code},
                      {"reason", detail.reason},
                      {"field", detail.field},
                      {"message", ToStd(status.message())},
                      {"peer", peer},
                      {"run", run_},
                      {"seconds", seconds}});
}

}  // namespace lossd
