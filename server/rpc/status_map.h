// absl::Status -> grpc::Status: the one place where an error becomes what a client sees.
// Thread-safe.
#ifndef LOSSD_SERVER_RPC_STATUS_MAP_H_
#define LOSSD_SERVER_RPC_STATUS_MAP_H_

#include <grpcpp/support/status.h>

#include <string>

#include "absl/status/status.h"
#include "lib/wire/status_proto.h"

namespace lossd {

// The codes are the same numbers; the details travel as a serialized google.rpc.Status.
inline grpc::Status ToGrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
          StatusDetailsBytes(status)};
}

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_STATUS_MAP_H_
