#include "grpc_connection.h"

#include <fstream>
#include <iterator>
#include <string>
#include <utility>

#include "grpc_status.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "health_check.h"
#include "lent_calls.h"
#include "lib/base/status.h"
#include "retry.h"

namespace lossd {
namespace {

class GrpcConnection : public Connection {
 public:
  GrpcConnection(ClientOptions options, std::shared_ptr<grpc::Channel> channel,
                 std::unique_ptr<v1::LossService::StubInterface> stub)
      : options_(std::move(options)), channel_(std::move(channel)), stub_(std::move(stub)) {}

  const ClientOptions& options() const override { return options_; }

  absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(const v1::ComputeLossRequest& request,
                                                      const Inputs& inputs) override {
    v1::ComputeLossResponse response;
    absl::Status status = CallWithRetry(options_, [&](absl::Time deadline) {
      return lossd::ComputeLoss(channel_, deadline, request, inputs, &response);
    });
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::MergeEvaluationsResponse> MergeEvaluations(
      const v1::MergeEvaluationsRequest& request) override {
    return Call<v1::MergeEvaluationsResponse>(&v1::LossService::StubInterface::MergeEvaluations,
                                              request);
  }
  absl::StatusOr<v1::ListLossesResponse> ListLosses(const v1::ListLossesRequest& request) override {
    return Call<v1::ListLossesResponse>(&v1::LossService::StubInterface::ListLosses, request);
  }
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const v1::GetServerInfoRequest& request) override {
    return Call<v1::GetServerInfoResponse>(&v1::LossService::StubInterface::GetServerInfo, request);
  }

  absl::StatusOr<HealthStatus> CheckHealth(const std::string& service) override {
    return lossd::CheckHealth(channel_, service, absl::Now() + options_.deadline);
  }

  std::unique_ptr<EvaluateStream> Evaluate(absl::Time deadline) override {
    return StartEvaluate(channel_, deadline);
  }

 private:
  template <class Response, class Request>
  absl::StatusOr<Response> Call(grpc::Status (v1::LossService::StubInterface::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    Response response;
    absl::Status status = CallWithRetry(options_, [&](absl::Time deadline) {
      grpc::ClientContext context;  // one an attempt: gRPC's contexts serve one call
      SetDeadline(&context, deadline);
      response.Clear();
      return FromGrpc((stub_.get()->*method)(&context, request, &response));
    });
    if (!status.ok()) return status;
    return response;
  }

  ClientOptions options_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::LossService::StubInterface> stub_;
};

absl::Status ReadPem(const std::string& path, std::string* text) {
  if (path.empty()) return absl::OkStatus();
  std::ifstream file(path, std::ios::binary);
  text->assign(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  if (file && !text->empty()) return absl::OkStatus();
  return InvalidArgument("CREDENTIALS", "credentials", "cannot read " + path);
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const Credentials& credentials) {
  if (!credentials.tls) {
    if (!credentials.ca_file.empty() || !credentials.certificate_file.empty() ||
        !credentials.key_file.empty()) {
      return InvalidArgument("CREDENTIALS", "credentials",
                             "certificates are given, but tls is off");
    }
    return grpc::InsecureChannelCredentials();
  }
  if (credentials.certificate_file.empty() != credentials.key_file.empty()) {
    return InvalidArgument("CREDENTIALS", "credentials",
                           "a client certificate and its key go together: give both or none");
  }
  grpc::SslCredentialsOptions ssl;
  if (absl::Status status = ReadPem(credentials.ca_file, &ssl.pem_root_certs); !status.ok())
    return status;
  if (absl::Status status = ReadPem(credentials.certificate_file, &ssl.pem_cert_chain);
      !status.ok()) {
    return status;
  }
  if (absl::Status status = ReadPem(credentials.key_file, &ssl.pem_private_key); !status.ok())
    return status;
  return grpc::SslCredentials(ssl);
}

}  // namespace

std::shared_ptr<Connection> MakeGrpcConnection(
    ClientOptions options, std::shared_ptr<grpc::Channel> channel,
    std::unique_ptr<v1::LossService::StubInterface> stub) {
  return std::make_shared<GrpcConnection>(std::move(options), std::move(channel), std::move(stub));
}

absl::StatusOr<std::shared_ptr<Connection>> MakeGrpcConnection(ClientOptions options) {
  absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> credentials =
      MakeCredentials(options.credentials);
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  // Gradients are as large as the inputs.
  arguments.SetMaxReceiveMessageSize(-1);
  // The retry policy waits, not the channel: its own backoff of a second and more would fail the
  // attempts that follow one another faster.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // How long one attempt to connect may take, whatever its name says: a second was too short for a
  // handshake with a server whose machine is overloaded.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10000);
  // gRPC's own retries would hold a message until the server answers; the policy's take its place.
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  // Where the server's machine is gone, lent memory comes back after this, and calls end.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 20'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20'000);
  if (!options.credentials.server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.credentials.server_name);
  }
  std::shared_ptr<grpc::Channel> channel =
      grpc::CreateCustomChannel(options.endpoint, *credentials, arguments);
  std::unique_ptr<v1::LossService::StubInterface> stub = v1::LossService::NewStub(channel);
  return MakeGrpcConnection(std::move(options), std::move(channel), std::move(stub));
}

}  // namespace lossd
