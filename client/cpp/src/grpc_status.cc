#include "grpc_status.h"

#include "lib/wire/status_proto.h"

namespace lossd {

absl::Status FromGrpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // gRPC and Abseil number the codes alike.
  return StatusFromDetails(static_cast<absl::StatusCode>(status.error_code()),
                           status.error_message(), status.error_details());
}

void SetDeadline(grpc::ClientContext* context, absl::Time deadline) {
  if (deadline < absl::InfiniteFuture()) context->set_deadline(absl::ToChronoTime(deadline));
}

}  // namespace lossd
