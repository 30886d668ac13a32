// A Connection over a gRPC channel. Thread-safe.
#ifndef LOSSD_CLIENT_CPP_SRC_GRPC_CONNECTION_H_
#define LOSSD_CLIENT_CPP_SRC_GRPC_CONNECTION_H_

#include <memory>

#include "grpcpp/channel.h"
#include "lossd/connection.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {

// `channel` carries the health check and what takes tensors, `stub` everything else: tests put in
// the generated mock.
std::shared_ptr<Connection> MakeGrpcConnection(
    ClientOptions options, std::shared_ptr<grpc::Channel> channel,
    std::unique_ptr<v1::LossService::StubInterface> stub);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_GRPC_CONNECTION_H_
