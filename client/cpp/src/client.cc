#include "lossd/client.h"

namespace lossd {

absl::StatusOr<Client> Client::Connect(ClientOptions options) {
  absl::StatusOr<std::shared_ptr<Connection>> connection = MakeGrpcConnection(std::move(options));
  if (!connection.ok()) return connection.status();
  return Client(*std::move(connection));
}

absl::StatusOr<Client> Client::InProcess(InProcessOptions options) {
  absl::StatusOr<std::shared_ptr<Connection>> connection = MakeInProcessConnection(options);
  if (!connection.ok()) return connection.status();
  return Client(*std::move(connection));
}

absl::StatusOr<v1::ComputeLossResponse> Client::ComputeLoss(const std::vector<v1::Loss>& losses,
                                                            const Inputs& inputs,
                                                            const ComputeOptions& options) {
  v1::ComputeLossRequest request;
  for (const v1::Loss& loss : losses) *request.add_losses() = loss;
  request.set_reduction(options.reduction);
  request.set_non_finite(options.non_finite);
  for (const std::string& name : options.gradients_of) request.add_gradients_of(name);
  if (options.labels.ByteSizeLong() > 0) *request.mutable_labels() = options.labels;
  return connection_->ComputeLoss(request, inputs);
}

Evaluation Client::Evaluate(v1::EvaluationSpec spec, EvaluationOptions options) {
  return Evaluation(connection_, std::move(spec), std::move(options));
}

absl::StatusOr<v1::EvaluationResult> Client::MergeEvaluations(
    const std::vector<v1::EvaluationState>& states, const v1::EvaluationLabels& labels) {
  v1::MergeEvaluationsRequest request;
  for (const v1::EvaluationState& state : states) *request.add_states() = state;
  if (labels.ByteSizeLong() > 0) *request.mutable_labels() = labels;
  absl::StatusOr<v1::MergeEvaluationsResponse> response = connection_->MergeEvaluations(request);
  if (!response.ok()) return response.status();
  return std::move(*response->mutable_result());
}

absl::StatusOr<v1::ListLossesResponse> Client::ListLosses(const std::vector<std::string>& names) {
  v1::ListLossesRequest request;
  for (const std::string& name : names) request.add_names(name);
  return connection_->ListLosses(request);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo() {
  return connection_->GetServerInfo(v1::GetServerInfoRequest());
}

absl::StatusOr<HealthStatus> Client::Health(const std::string& service) {
  return connection_->CheckHealth(service);
}

}  // namespace lossd
