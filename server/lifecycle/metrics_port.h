// The HTTP port that Prometheus scrapes. Thread-safe. Serves from Open until it is destroyed.
#ifndef LOSSD_SERVER_LIFECYCLE_METRICS_PORT_H_
#define LOSSD_SERVER_LIFECYCLE_METRICS_PORT_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "prometheus/exposer.h"
#include "prometheus/registry.h"

namespace lossd {

class MetricsPort {
 public:
  // Serves `registry`, which it shares, on HOST:PORT.
  static absl::StatusOr<std::unique_ptr<MetricsPort>> Open(
      const std::string& address, std::shared_ptr<prometheus::Registry> registry);
  ~MetricsPort();
  MetricsPort(const MetricsPort&) = delete;
  MetricsPort& operator=(const MetricsPort&) = delete;

  // With the port that was bound.
  const std::string& address() const { return address_; }

 private:
  MetricsPort(std::shared_ptr<prometheus::Registry> registry,
              std::unique_ptr<prometheus::Exposer> exposer, std::string address, int port);

  const std::shared_ptr<prometheus::Registry> registry_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  const std::string address_;
  const int port_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_METRICS_PORT_H_
