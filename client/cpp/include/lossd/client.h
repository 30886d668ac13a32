// The client of lossd.
//
//   absl::StatusOr<lossd::Client> client = lossd::Client::Connect({.endpoint = "127.0.0.1:50051"});
//   absl::StatusOr<lossd::v1::Loss> loss = lossd::ParseLoss("huber { delta: 2 }");
//   auto response = client->ComputeLoss({*loss}, {{"predictions", *p}, {"targets", *t}});
//   response->results(0).value();
//
// Results are the messages of the contract (lossd/v1/*.proto), where every field is documented.
// Errors are absl::Status; DetailOf(status) of lib/base/status.h gives reason and field.
//
// Thread-safety: thread-safe. Equality and copies: a Client is a handle; copies share the
// connection. Performance: make one and keep it; a connection costs a handshake.
#ifndef LOSSD_CLIENT_H_
#define LOSSD_CLIENT_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/status.h"
#include "lossd/batch_source.h"
#include "lossd/connection.h"
#include "lossd/evaluation.h"
#include "lossd/loss_text.h"
#include "lossd/options.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

struct ComputeOptions {
  v1::Reduction reduction = v1::REDUCTION_MEAN;
  v1::NonFinitePolicy non_finite = v1::NON_FINITE_POLICY_PROPAGATE;
  std::vector<std::string> gradients_of;  // inputs to give the gradient for
  v1::EvaluationLabels labels;            // who the evaluation gauges belong to; empty: no gauges
};

class Client {
 public:
  // A server. Connects when first used. INVALID_ARGUMENT for credentials that cannot be read.
  static absl::StatusOr<Client> Connect(ClientOptions options);
  // No server: the engine in this process, the same bits. FAILED_PRECONDITION on a processor
  // without FMA.
  static absl::StatusOr<Client> InProcess(InProcessOptions options = {});
  // Any connection, e.g. MockConnection.
  explicit Client(std::shared_ptr<Connection> connection) : connection_(std::move(connection)) {}

  // One batch, many losses. The whole request is one message: a server takes 16 MiB unless it was
  // told more, so larger data go by Evaluate.
  absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(const std::vector<v1::Loss>& losses,
                                                      const Inputs& inputs,
                                                      const ComputeOptions& options = {});

  // An evaluation of any size: add constants, then Run.
  Evaluation Evaluate(v1::EvaluationSpec spec, EvaluationOptions options = {});

  // The result of several evaluations of disjoint samples, with the merged state.
  absl::StatusOr<v1::EvaluationResult> MergeEvaluations(
      const std::vector<v1::EvaluationState>& states, const v1::EvaluationLabels& labels = {});

  // The catalogue, or the losses of that name.
  absl::StatusOr<v1::ListLossesResponse> ListLosses(const std::vector<std::string>& names = {});
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo();
  // Of a service; "" is the server as a whole.
  absl::StatusOr<HealthStatus> Health(const std::string& service = "");

  const std::shared_ptr<Connection>& connection() const { return connection_; }

 private:
  std::shared_ptr<Connection> connection_;
};

}  // namespace lossd

#endif  // LOSSD_CLIENT_H_
