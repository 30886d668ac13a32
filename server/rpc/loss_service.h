// lossd.v1.LossService over gRPC's callback API: each method makes its reactor. Thread-safe. The
// parts must outlive the server that the service is registered with.
#ifndef LOSSD_SERVER_RPC_LOSS_SERVICE_H_
#define LOSSD_SERVER_RPC_LOSS_SERVICE_H_

#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/rpc/service_parts.h"

namespace lossd {

class LossServiceImpl final : public v1::LossService::CallbackService {
 public:
  explicit LossServiceImpl(const ServiceParts& parts) : parts_(parts) {}

  grpc::ServerUnaryReactor* ComputeLoss(grpc::CallbackServerContext* context,
                                        const v1::ComputeLossRequest* request,
                                        v1::ComputeLossResponse* response) override;
  grpc::ServerBidiReactor<v1::EvaluateRequest, v1::EvaluateResponse>* Evaluate(
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
