// How this client sets gRPC's deadlines and reads its statuses. Thread-safe.
#ifndef LOSSD_CLIENT_CPP_SRC_GRPC_STATUS_H_
#define LOSSD_CLIENT_CPP_SRC_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"

namespace lossd {

// The status of a call, its details read.
absl::Status FromGrpc(const grpc::Status& status);

void SetDeadline(grpc::ClientContext* context, absl::Time deadline);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_GRPC_STATUS_H_
