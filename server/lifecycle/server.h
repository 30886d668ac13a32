// A running lossd: engine, admission, metrics, gRPC server and metrics port, from start to drain.
//
// Thread-safety: Drain is called once, by one thread; the accessors by any. Ownership: it owns all
// parts but the logger, which must outlive it. Destroying one that was not drained cancels what
// runs.
#ifndef LOSSD_SERVER_LIFECYCLE_SERVER_H_
#define LOSSD_SERVER_LIFECYCLE_SERVER_H_

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config/server_options.h"
#include "server/lifecycle/metrics_port.h"
#include "server/logging/logger.h"
#include "server/rpc/loss_service.h"

namespace lossd {

class Server {
 public:
  // Serves when it returns. Errors say which option is wrong.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerOptions& options,
                                                       Logger* logger);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Where it listens, in the order of the options, with the ports that were bound.
  const std::vector<std::string>& addresses() const { return addresses_; }
  // Where /metrics is; empty if nowhere.
  std::string metrics_address() const {
    return metrics_port_ == nullptr ? "" : metrics_port_->address();
  }

  // Ends in order, within `grace`: health turns NOT_SERVING, new calls are refused, running calls
  // finish, evaluations get a last checkpoint; what still runs then is cancelled. The metrics port
  // goes last, with this.
  void Drain(absl::Duration grace);

 private:
  Server(const ServerOptions& options, Logger* logger);

  absl::Status MakeParts();
  absl::Status ServeMetrics();
  absl::Status ServeCalls();
  void AddLimits(grpc::ServerBuilder* builder) const;

  const ServerOptions options_;
  Logger* const logger_;
  // In the order in which they depend on one another.
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<Admission> admission_;
  std::unique_ptr<LossEngine> engine_;
  std::unique_ptr<LossServiceImpl> service_;
  std::unique_ptr<MetricsPort> metrics_port_;
  std::unique_ptr<grpc::Server> grpc_server_;
  std::vector<std::string> addresses_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_SERVER_H_
