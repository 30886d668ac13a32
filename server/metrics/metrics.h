// Everything lossd counts, with the handles resolved once at start: a call looks up no name.
//
// Thread-safe. Lives as long as the server; the exposer shares the registry.
#ifndef LOSSD_SERVER_METRICS_METRICS_H_
#define LOSSD_SERVER_METRICS_METRICS_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"
#include "server/metrics/evaluation_gauges.h"
#include "server/metrics/method.h"

namespace lossd {

// The labels of lossd_build_info.
struct BuildFacts {
  std::string version;
  int32_t arithmetic_revision = 0;
  std::string simd_target;
};

class Metrics {
 public:
  // `losses`: names in the catalogue's order.
  Metrics(const std::vector<std::string>& losses, const BuildFacts& build, int64_t max_label_sets);

  void CallStarted(Method method);
  // `code`: a gRPC status code.
  void CallHandled(Method method, int code, double seconds);
  void Received(int64_t bytes);
  void InflightChanged(int64_t delta_bytes);
  // A call that a limit or the drain refused; reasons that it does not know count as OTHER.
  void Rejected(std::string_view reason);
  void StreamResumed();
  // One loss over one batch; `loss_index` in the catalogue's order.
  void Computed(int loss_index, int64_t items, int64_t nan_items, int64_t inf_items,
                double seconds);
  EvaluationGauges& evaluations() { return evaluations_; }

  const std::shared_ptr<prometheus::Registry>& registry() const { return registry_; }

 private:
  static constexpr size_t kCodes = 17;  // OK .. UNAUTHENTICATED

  struct MethodHandles {
    prometheus::Counter* started;
    std::array<prometheus::Counter*, kCodes> handled;
    prometheus::Histogram* seconds;
  };
  struct LossHandles {
    prometheus::Counter* items;
    prometheus::Histogram* seconds;
    prometheus::Counter* nan_items;
    prometheus::Counter* inf_items;
  };

  void ResolveMethods();
  void ResolveLosses(const std::vector<std::string>& losses);
  void ResolveServer(const BuildFacts& build);

  std::shared_ptr<prometheus::Registry> registry_;
  std::array<MethodHandles, kMethodNames.size()> methods_;
  std::vector<LossHandles> losses_;
  prometheus::Counter* received_bytes_;
  prometheus::Gauge* inflight_bytes_;
  prometheus::Counter* stream_resumes_;
  std::vector<std::pair<std::string_view, prometheus::Counter*>> rejected_;  // OTHER last
  EvaluationGauges evaluations_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_METRICS_H_
