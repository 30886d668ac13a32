// lossd.v1.LossService over gRPC's callback API: each method makes its reactor. The methods that
// take tensors get the bytes of their requests, and parse them where they lie; gRPC parses the
// others. Thread-safe. The parts must outlive the server that the service is registered with.
#ifndef LOSSD_SERVER_RPC_LOSS_SERVICE_H_
#define LOSSD_SERVER_RPC_LOSS_SERVICE_H_

#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/rpc/service_parts.h"

namespace lossd {

using LossServiceMethods = v1::LossService::WithRawCallbackMethod_ComputeLoss<
    v1::LossService::WithRawCallbackMethod_Evaluate<
        v1::LossService::WithCallbackMethod_MergeEvaluations<
            v1::LossService::WithCallbackMethod_ListLosses<
                v1::LossService::WithCallbackMethod_GetServerInfo<v1::LossService::Service>>>>>;

class LossServiceImpl final : public LossServiceMethods {
 public:
  explicit LossServiceImpl(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ComputeLoss(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Evaluate(
      grpc::CallbackServerContext* context) override;
  grpc::ServerUnaryReactor* MergeEvaluations(grpc::CallbackServerContext* context,
                                             const v1::MergeEvaluationsRequest* request,
                                             v1::MergeEvaluationsResponse* response) override;
  grpc::ServerUnaryReactor* ListLosses(grpc::CallbackServerContext* context,
                                       const v1::ListLossesRequest* request,
                                       v1::ListLossesResponse* response) override;
  grpc::ServerUnaryReactor* GetServerInfo(grpc::CallbackServerContext* context,
                                          const v1::GetServerInfoRequest* request,
                                          v1::GetServerInfoResponse* response) override;

 private:
  const ServiceParts parts_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_LOSS_SERVICE_H_
