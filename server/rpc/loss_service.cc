#include "server/rpc/loss_service.h"

#include "server/rpc/decode.h"
#include "server/rpc/evaluate_reactor.h"
#include "server/rpc/unary_reactors.h"

namespace lossd {

grpc::ServerUnaryReactor* LossServiceImpl::ComputeLoss(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request,
                                                       grpc::ByteBuffer* response) {
  return new ComputeLossReactor(context, request, response, parts_);
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* LossServiceImpl::Evaluate(
    grpc::CallbackServerContext* context) {
  return EvaluateReactor::Start(context, parts_);
}

grpc::ServerUnaryReactor* LossServiceImpl::MergeEvaluations(
    grpc::CallbackServerContext* context, const v1::MergeEvaluationsRequest* request,
    v1::MergeEvaluationsResponse* response) {
  return new MergeEvaluationsReactor(context, request, response, parts_);
}

grpc::ServerUnaryReactor* LossServiceImpl::ListLosses(grpc::CallbackServerContext* context,
                                                      const v1::ListLossesRequest* request,
                                                      v1::ListLossesResponse* response) {
  return new LookupReactor(Method::kListLosses, context, ReceivedBytes(*request), parts_,
                           [&] { return parts_.engine->ListLosses(*request, response); });
}

grpc::ServerUnaryReactor* LossServiceImpl::GetServerInfo(grpc::CallbackServerContext* context,
                                                         const v1::GetServerInfoRequest* request,
                                                         v1::GetServerInfoResponse* response) {
  return new LookupReactor(Method::kGetServerInfo, context, ReceivedBytes(*request), parts_,
                           [&] { return parts_.engine->GetServerInfo(*request, response); });
}

}  // namespace lossd
