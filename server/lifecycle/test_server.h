// For tests: a real Server on free ports with a real channel to it, and the requests that the tests
// send.
//
// Thread-safety: as its parts. A TestServer that is destroyed drains at once.
#ifndef LOSSD_SERVER_LIFECYCLE_TEST_SERVER_H_
#define LOSSD_SERVER_LIFECYCLE_TEST_SERVER_H_

#include <grpcpp/grpcpp.h>

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lossd/v1/loss_service.grpc.pb.h"
#include "server/lifecycle/server.h"

namespace lossd {

// Options of a server on a free TCP port, without metrics.
ServerOptions TestOptions();

class TestServer {
 public:
  explicit TestServer(const ServerOptions& options = TestOptions());

  // The start's error, if it failed.
  const absl::Status& status() const { return status_; }
  Server& server() { return *server_; }
  const std::string& address(size_t i = 0) const { return server_->addresses()[i]; }
  // A channel of its own, that is, a connection of its own.
  std::shared_ptr<grpc::Channel> NewChannel(
      size_t address_index = 0, const std::shared_ptr<grpc::ChannelCredentials>& credentials =
                                    grpc::InsecureChannelCredentials()) const;
  v1::LossService::Stub& stub() { return *stub_; }
  // The text that /metrics serves.
  std::string ScrapeMetrics() const;

 private:
  Logger logger_{LogFormat::kText, LogLevel::kError};
  absl::Status status_;
  std::unique_ptr<Server> server_;
  std::unique_ptr<v1::LossService::Stub> stub_;
};

// A context with a deadline that only a hung test reaches.
std::unique_ptr<grpc::ClientContext> NewContext(
    std::chrono::milliseconds timeout = std::chrono::seconds(60));

// Mean squared error over elements written by hand.
v1::ComputeLossRequest MseRequest(const std::vector<double>& predictions,
                                  const std::vector<double>& targets);
// The same loss 64 times over n f64 elements: with n = 500,000 it keeps a core busy for some 50 ms
// or more.
v1::ComputeLossRequest HeavyRequest(int n);

v1::EvaluateRequest SpecStep();
v1::EvaluateRequest BatchStep(const std::vector<double>& predictions,
                              const std::vector<double>& targets);
v1::EvaluateRequest FinishStep();

// What the details of an error say.
ErrorDetail Detail(const grpc::Status& status);

// One message to a method by its full name and the first answer, both as bytes: health and
// reflection have no generated code here. Returns the status; `answer` stays empty without an
// answer.
grpc::Status CallByName(const std::shared_ptr<grpc::Channel>& channel, const std::string& method,
                        const std::string& request, std::string* answer);

// grpc.health.v1: 1 SERVING, 2 NOT_SERVING; 0 if the call failed.
int HealthOf(const std::shared_ptr<grpc::Channel>& channel, const std::string& service);

// Looks every few milliseconds, until it holds or 30 seconds have passed.
bool Eventually(const std::function<bool()>& condition);

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_TEST_SERVER_H_
