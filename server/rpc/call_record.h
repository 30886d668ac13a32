// The account of one call: counted when it starts; counted, timed and, if it failed, logged when it
// ends.
//
// Thread-safety: none; a reactor ends its call once, from one thread. The context must live until
// End.
#ifndef LOSSD_SERVER_RPC_CALL_RECORD_H_
#define LOSSD_SERVER_RPC_CALL_RECORD_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/status.h>

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "server/rpc/service_parts.h"

namespace lossd {

class CallRecord {
 public:
  CallRecord(Method method, const grpc::CallbackServerContext* context, const ServiceParts& parts);

  // The run that the call's labels name; it goes to the log only.
  void set_run(std::string run) { run_ = std::move(run); }

  // The status that the call ends with: a cancelled call whose deadline has passed is
  // DEADLINE_EXCEEDED.
  grpc::Status End(absl::Status status);

 private:
  // The deadline of the call has passed.
  bool deadline_passed() const;
  void LogFailure(const absl::Status& status, double seconds) const;

  const Method method_;
  const grpc::CallbackServerContext* const context_;
  const ServiceParts& parts_;
  const std::chrono::steady_clock::time_point start_;
  std::string run_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_CALL_RECORD_H_
