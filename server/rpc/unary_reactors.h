// The reactors of the unary methods. Each starts its work when it is made and deletes itself when
// gRPC is done with the call. Nothing here blocks: what takes long runs on the engine's threads.
#ifndef LOSSD_SERVER_RPC_UNARY_REACTORS_H_
#define LOSSD_SERVER_RPC_UNARY_REACTORS_H_

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <functional>

#include "google/protobuf/arena.h"
#include "lib/base/cancellation.h"
#include "lib/wire/payloads.h"
#include "server/rpc/call_record.h"
#include "server/rpc/service_parts.h"

namespace lossd {

class ComputeLossReactor final : public grpc::ServerUnaryReactor {
 public:
  ComputeLossReactor(const grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                     grpc::ByteBuffer* response, const ServiceParts& parts);

  void OnCancel() override { token_.Cancel(); }
  void OnDone() override { delete this; }

 private:
  // Admits the bytes before it parses them, and what they stand for afterwards.
  absl::Status TakeRequest();
  void End(absl::Status status);

  const grpc::ByteBuffer* const request_bytes_;
  grpc::ByteBuffer* const response_bytes_;
  // What a small call's messages need comes with the reactor.
  alignas(8) char first_block_[4096];
  google::protobuf::Arena arena_;
  v1::ComputeLossRequest* const request_;
  v1::ComputeLossResponse* const response_;
  Payloads payloads_;
  const ServiceParts& parts_;
  CallRecord record_;
  CancellationToken token_;
  Admission::Lease lease_;
};

class MergeEvaluationsReactor final : public grpc::ServerUnaryReactor {
 public:
  MergeEvaluationsReactor(const grpc::CallbackServerContext* context,
                          const v1::MergeEvaluationsRequest* request,
                          v1::MergeEvaluationsResponse* response, const ServiceParts& parts);

  void OnDone() override { delete this; }

 private:
  void Merge();
  void End(const absl::Status& status);

  const v1::MergeEvaluationsRequest* const request_;
  v1::MergeEvaluationsResponse* const response_;
  const ServiceParts& parts_;
  CallRecord record_;
  Admission::Lease lease_;
};

// Answers at once with what `answer` says: the methods that only look something up.
class LookupReactor final : public grpc::ServerUnaryReactor {
 public:
  LookupReactor(Method method, const grpc::CallbackServerContext* context, int64_t received_bytes,
                const ServiceParts& parts, const std::function<absl::Status()>& answer);

  void OnDone() override { delete this; }

 private:
  CallRecord record_;
  Admission::Lease lease_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_UNARY_REACTORS_H_
