#include "server/rpc/unary_reactors.h"

#include <utility>

#include "server/rpc/decode.h"
#include "server/rpc/evaluation_readings.h"

namespace lossd {
namespace {

absl::Status AdmitCall(const ServiceParts& parts, int64_t bytes, Admission::Lease* lease) {
  absl::StatusOr<Admission::Lease> admitted = parts.admission->AdmitCall(bytes);
  if (!admitted.ok()) return admitted.status();
  *lease = *std::move(admitted);
  return absl::OkStatus();
}

}  // namespace

ComputeLossReactor::ComputeLossReactor(const grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request, grpc::ByteBuffer* response,
                                       const ServiceParts& parts)
    : request_bytes_(request),
      response_bytes_(response),
      arena_(first_block_, sizeof(first_block_)),
      request_(google::protobuf::Arena::CreateMessage<v1::ComputeLossRequest>(&arena_)),
      response_(google::protobuf::Arena::CreateMessage<v1::ComputeLossResponse>(&arena_)),
      parts_(parts),
      record_(Method::kComputeLoss, context, parts) {
  absl::Status taken = TakeRequest();
  if (!taken.ok()) {
    End(std::move(taken));
    return;
  }
  parts_.engine->ComputeLoss(*request_, payloads_, response_, &token_,
                             [this](absl::Status status) { End(std::move(status)); });
}

absl::Status ComputeLossReactor::TakeRequest() {
  const int64_t received = ReceivedBytes(*request_bytes_);
  parts_.metrics->Received(received);
  const absl::Status admitted = AdmitCall(parts_, received, &lease_);
  if (!admitted.ok()) return admitted;
  if (!ParseInPlace(PiecesOf(*request_bytes_), request_, &payloads_)) {
    // What gRPC answers where it parses itself.
    return absl::UnimplementedError("the bytes of the request are no ComputeLossRequest");
  }
  record_.set_run(request_->labels().run());
  return parts_.admission->Grow(HeldBytes(received, *request_), &lease_);
}

void ComputeLossReactor::End(absl::Status status) {
  if (status.ok()) {
    WriteGauges(request_->labels(), *response_, &parts_.metrics->evaluations());
    *response_bytes_ = Serialize(*response_);
  }
  // The lease goes with the reactor: until then gRPC holds the messages. Nothing may follow Finish.
  Finish(record_.End(std::move(status)));
}

MergeEvaluationsReactor::MergeEvaluationsReactor(const grpc::CallbackServerContext* context,
                                                 const v1::MergeEvaluationsRequest* request,
                                                 v1::MergeEvaluationsResponse* response,
                                                 const ServiceParts& parts)
    : request_(request),
      response_(response),
      parts_(parts),
      record_(Method::kMergeEvaluations, context, parts) {
  parts_.metrics->Received(ReceivedBytes(*request_));
  record_.set_run(request_->labels().run());
  const absl::Status admitted = AdmitCall(parts_, ReceivedBytes(*request_), &lease_);
  if (!admitted.ok()) {
    End(admitted);
    return;
  }
  parts_.engine->pool().Submit(
      1, [this](int64_t) { Merge(); }, [] {});
}

void MergeEvaluationsReactor::Merge() {
  End(parts_.engine->MergeEvaluations(*request_, response_));
}

void MergeEvaluationsReactor::End(const absl::Status& status) {
  if (status.ok())
    WriteGauges(request_->labels(), response_->result(), &parts_.metrics->evaluations());
  Finish(record_.End(status));
}

LookupReactor::LookupReactor(Method method, const grpc::CallbackServerContext* context,
                             int64_t received_bytes, const ServiceParts& parts,
                             const std::function<absl::Status()>& answer)
    : record_(method, context, parts) {
  parts.metrics->Received(received_bytes);
  absl::Status status = AdmitCall(parts, 0, &lease_);
  if (status.ok()) status = answer();
  Finish(record_.End(std::move(status)));
}

}  // namespace lossd
