// What a Client talks through: a server over gRPC, the engine in this process, or a mock.
//
// Tensors travel beside their message, as views: a connection sends them from where they lie.
//
// Thread-safety: a Connection is thread-safe. Of an EvaluateStream one thread may write while
// another one reads; Cancel may be called at any time. Ownership: clients and evaluations share the
// connection; a stream lives no longer than its connection. The memory of tensors is in use until
// ComputeLoss, or a Write that says true, returns; after a Write that says false until its stream
// is destroyed. Both wait for bytes that the socket is just taking, which a peer that reads nothing
// holds up beyond a deadline (over TCP by some 20 seconds).
#ifndef LOSSD_CONNECTION_H_
#define LOSSD_CONNECTION_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lossd/options.h"
#include "lossd/tensors.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// What grpc.health.v1 says of a service. The numbers are those of its ServingStatus.
enum class HealthStatus {
  kUnknown = 0,
  kServing = 1,
  kNotServing = 2,
  kServiceUnknown = 3,
};

// One attempt at LossService.Evaluate. It is never retried by itself: Evaluation does that, because
// only it knows where to go on.
class EvaluateStream {
 public:
  virtual ~EvaluateStream() = default;

  // Blocks until the step is taken up. False: the stream is over; Finish says why. `tensors` belong
  // to the step: the inputs of a batch; of a constant its piece, under the constant's name. Another
  // thread reads meanwhile: that is how a writer learns of the end.
  virtual bool Write(const v1::EvaluateRequest& step, const Inputs& tensors) = 0;
  // No further step follows.
  virtual void WritesDone() = 0;
  // Blocks until an answer is there. False: none will come.
  virtual bool Read(v1::EvaluateResponse* response) = 0;
  // Ends the stream early, from any thread.
  virtual void Cancel() = 0;
  // How the stream ended. Once, after Read returned false and with no Write under way.
  virtual absl::Status Finish() = 0;
};

// Unary calls retry as options().retry says and end by options().deadline.
class Connection {
 public:
  virtual ~Connection() = default;

  virtual const ClientOptions& options() const = 0;

  // `inputs` are those of the request.
  virtual absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(const v1::ComputeLossRequest& request,
                                                              const Inputs& inputs) = 0;
  virtual absl::StatusOr<v1::MergeEvaluationsResponse> MergeEvaluations(
      const v1::MergeEvaluationsRequest& request) = 0;
  virtual absl::StatusOr<v1::ListLossesResponse> ListLosses(
      const v1::ListLossesRequest& request) = 0;
  virtual absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const v1::GetServerInfoRequest& request) = 0;
  // grpc.health.v1.Health.Check of a service; "" is the server as a whole. One attempt: a probe
  // wants to know.
  virtual absl::StatusOr<HealthStatus> CheckHealth(const std::string& service) = 0;

  virtual std::unique_ptr<EvaluateStream> Evaluate(absl::Time deadline) = 0;
};

// A server. The channel connects when it is first used. INVALID_ARGUMENT for credentials that
// cannot be read.
absl::StatusOr<std::shared_ptr<Connection>> MakeGrpcConnection(ClientOptions options);

// The engine in this process: the same code and the same bits as a server. FAILED_PRECONDITION on a
// processor that lacks what the kernels need.
absl::StatusOr<std::shared_ptr<Connection>> MakeInProcessConnection(InProcessOptions options);

}  // namespace lossd

#endif  // LOSSD_CONNECTION_H_
