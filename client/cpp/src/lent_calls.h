// The calls that take tensors, over gRPC: their messages are raw bytes, so that the tensors are
// sent from the caller's memory (lent_message.h).
//
// Thread-safety: that of Connection and EvaluateStream. Ownership: ComputeLoss does not return
// before gRPC has let go of the memory of its inputs; see EvaluateStream for that of a step.
#ifndef LOSSD_CLIENT_CPP_SRC_LENT_CALLS_H_
#define LOSSD_CLIENT_CPP_SRC_LENT_CALLS_H_

#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "lossd/connection.h"

namespace lossd {

// One attempt at LossService.ComputeLoss.
absl::Status ComputeLoss(const std::shared_ptr<grpc::Channel>& channel, absl::Time deadline,
                         const v1::ComputeLossRequest& request, const Inputs& inputs,
                         v1::ComputeLossResponse* response);

// LossService.Evaluate. The channel must not retry by itself (GRPC_ARG_ENABLE_RETRIES): it would
// keep messages, and Write wait for them.
std::unique_ptr<EvaluateStream> StartEvaluate(const std::shared_ptr<grpc::Channel>& channel,
                                              absl::Time deadline);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_LENT_CALLS_H_
