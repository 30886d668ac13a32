// What the server reads in a request by itself, before or beside the engine: where its bytes lie,
// and how much memory it stands for. The one place that knows how messages are held. Pure
// functions.
#ifndef LOSSD_SERVER_RPC_DECODE_H_
#define LOSSD_SERVER_RPC_DECODE_H_

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>

#include "lib/wire/payloads.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// Bytes that came over the wire.
int64_t ReceivedBytes(const google::protobuf::MessageLite& request);

int64_t ReceivedBytes(const grpc::ByteBuffer& bytes);

// Where the bytes lie. They stay there as long as the buffer does.
Pieces PiecesOf(const grpc::ByteBuffer& bytes);

// A response as it leaves.
grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& response);

// Bytes held while the call runs: those received, its hand-written elements at 8 bytes each, and
// what the answer may take (items and gradients are as large as the inputs).
int64_t HeldBytes(int64_t received_bytes, const v1::ComputeLossRequest& request);
int64_t HeldBytes(int64_t received_bytes, const v1::EvaluateRequest& request);

// Bytes of the constants that a spec announces, which the engine has accepted.
int64_t AnnouncedConstantBytes(const v1::EvaluationSpec& spec);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_DECODE_H_
