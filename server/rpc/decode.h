// What the server reads in a request by itself, before or beside the engine: how much memory it
// stands for. The one place that knows how requests are held. Pure functions.
#ifndef LOSSD_SERVER_RPC_DECODE_H_
#define LOSSD_SERVER_RPC_DECODE_H_

#include <cstdint>

#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// Bytes that came over the wire.
int64_t ReceivedBytes(const google::protobuf::MessageLite& request);

// Bytes held while the call runs: the message, its hand-written elements at 8 bytes each, and what
// the answer may take (items and gradients are as large as the inputs).
int64_t HeldBytes(const v1::ComputeLossRequest& request);
int64_t HeldBytes(const v1::EvaluateRequest& request);
int64_t HeldBytes(const v1::MergeEvaluationsRequest& request);

// Bytes of the constants that a spec announces, which the engine has accepted.
int64_t AnnouncedConstantBytes(const v1::EvaluationSpec& spec);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_DECODE_H_
