#include "server/lifecycle/test_server.h"

#include <arpa/inet.h>
#include <grpcpp/generic/generic_stub.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/wire/status_proto.h"

namespace lossd {
namespace {

v1::Tensor Elements(const std::vector<double>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT64);
  tensor.add_shape(static_cast<int64_t>(values.size()));
  tensor.mutable_float_values()->Add(values.begin(), values.end());
  return tensor;
}

}  // namespace

ServerOptions TestOptions() {
  ServerOptions options;
  options.listen = {"127.0.0.1:0"};
  options.metrics_listen.clear();
  options.threads = 2;
  return options;
}

TestServer::TestServer(const ServerOptions& options) {
  logger_.TakeGrpcLog();
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, &logger_);
  status_ = server.status();
  if (!status_.ok()) return;
  server_ = *std::move(server);
  stub_ = v1::LossService::NewStub(NewChannel());
}

std::shared_ptr<grpc::Channel> TestServer::NewChannel(
    size_t address_index, const std::shared_ptr<grpc::ChannelCredentials>& credentials) const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(server_->addresses()[address_index], credentials, arguments);
}

std::string TestServer::ScrapeMetrics() const {
  const std::string address = server_->metrics_address();
  sockaddr_in name{};
  name.sin_family = AF_INET;
  name.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  name.sin_port = htons(static_cast<uint16_t>(std::stoi(address.substr(address.rfind(':') + 1))));
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  std::string text;
  if (connect(connection, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0) {
    const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
    if (send(connection, request.data(), request.size(), 0) ==
        static_cast<ssize_t>(request.size())) {
      char piece[4096];
      for (ssize_t n; (n = recv(connection, piece, sizeof piece, 0)) > 0;) text.append(piece, n);
    }
  }
  close(connection);
  return text;
}

std::unique_ptr<grpc::ClientContext> NewContext(std::chrono::milliseconds timeout) {
  auto context = std::make_unique<grpc::ClientContext>();
  context->set_deadline(std::chrono::system_clock::now() + timeout);
  return context;
}

v1::ComputeLossRequest MseRequest(const std::vector<double>& predictions,
                                  const std::vector<double>& targets) {
  v1::ComputeLossRequest request;
  request.add_losses()->mutable_mse();
  (*request.mutable_inputs())["predictions"] = Elements(predictions);
  (*request.mutable_inputs())["targets"] = Elements(targets);
  return request;
}

v1::ComputeLossRequest HeavyRequest(int n) {
  v1::ComputeLossRequest request;
  for (int i = 0; i < 64; ++i) request.add_losses()->mutable_mse();
  std::string data(8 * static_cast<size_t>(n), '\0');
  for (int i = 0; i < n; ++i) {
    const double value = 1.0 / (i + 1);
    std::memcpy(data.data() + 8 * static_cast<size_t>(i), &value, 8);
  }
  for (const char* name : {"predictions", "targets"}) {
    v1::Tensor& tensor = (*request.mutable_inputs())[name];
    tensor.set_dtype(v1::DATA_TYPE_FLOAT64);
    tensor.add_shape(n);
    tensor.set_data(data);
  }
  return request;
}

v1::EvaluateRequest SpecStep() {
  v1::EvaluateRequest step;
  step.mutable_spec()->add_losses()->mutable_mse();
  return step;
}

v1::EvaluateRequest BatchStep(const std::vector<double>& predictions,
                              const std::vector<double>& targets) {
  v1::EvaluateRequest step;
  (*step.mutable_batch()->mutable_inputs())["predictions"] = Elements(predictions);
  (*step.mutable_batch()->mutable_inputs())["targets"] = Elements(targets);
  return step;
}

v1::EvaluateRequest FinishStep() {
  v1::EvaluateRequest step;
  step.mutable_finish();
  return step;
}

ErrorDetail Detail(const grpc::Status& status) {
  return DetailOf(StatusFromDetails(static_cast<absl::StatusCode>(status.error_code()),
                                    status.error_message(), status.error_details()));
}

grpc::Status CallByName(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& request, std::string* answer) {
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  const auto wait = [&queue] {
    void* tag;
    bool ok = false;
    return queue.Next(&tag, &ok) && ok;
  };
  const std::unique_ptr<grpc::ClientContext> context = NewContext();
  const auto call = stub.PrepareCall(context.get(), method, &queue);
  call->StartCall(nullptr);
  const grpc::Slice slice(request);
  grpc::ByteBuffer received;
  if (wait()) {
    call->WriteLast(grpc::ByteBuffer(&slice, 1), grpc::WriteOptions(), nullptr);
    wait();
    call->Read(&received, nullptr);
    grpc::Slice flat;
    if (wait() && received.DumpToSingleSlice(&flat).ok()) {
      answer->assign(reinterpret_cast<const char*>(flat.begin()), flat.size());
    }
  }
  grpc::Status status;
  call->Finish(&status, nullptr);
  wait();
  queue.Shutdown();
  return status;
}

int HealthOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& service) {
  // HealthCheckRequest { string service = 1; }, HealthCheckResponse { ServingStatus status = 1; }
  const std::string request =
      absl::StrCat("\x0a", std::string(1, static_cast<char>(service.size())), service);
  std::string answer;
  const grpc::Status status = CallByName(channel, "/grpc.health.v1.Health/Check", request, &answer);
  return status.ok() && answer.size() == 2 && answer[0] == '\x08' ? answer[1] : 0;
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return true;
}

}  // namespace lossd
