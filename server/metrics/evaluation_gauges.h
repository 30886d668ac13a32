// The gauges that dashboards are for: what the last evaluation of (model, dataset, loss) found.
//
// Label values come from clients, so the number of label sets is capped: the set written longest
// ago makes room, and is counted. Thread-safe. The registry must outlive this.
#ifndef LOSSD_SERVER_METRICS_EVALUATION_GAUGES_H_
#define LOSSD_SERVER_METRICS_EVALUATION_GAUGES_H_

#include <cstdint>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "prometheus/counter.h"
#include "prometheus/family.h"
#include "prometheus/gauge.h"
#include "prometheus/registry.h"

namespace lossd {

// What one loss of an evaluation came to.
struct EvaluationReading {
  std::string_view loss;  // name in the catalogue
  double value = 0;
  std::optional<double> standard_error;
  int64_t items = 0;
};

class EvaluationGauges {
 public:
  EvaluationGauges(prometheus::Registry* registry, int64_t max_label_sets);

  // A finished evaluation. Where a loss occurs twice in it (two parameters of one loss), the first
  // counts: the label is the catalogue's name, so the gauges could not tell them apart.
  void Write(std::string_view model, std::string_view dataset,
             std::span<const EvaluationReading> readings, double finished_unix_seconds);

 private:
  using Gauges = prometheus::Family<prometheus::Gauge>;

  struct LabelSet {
    std::string key;  // the labels, length-prefixed
    prometheus::Gauge* loss;
    prometheus::Gauge* standard_error;  // null: the last evaluation had none
    prometheus::Gauge* items;
    prometheus::Gauge* finished;
  };

  LabelSet& Find(const prometheus::Labels& labels, const std::string& key);
  void EvictOldest();

  const int64_t max_label_sets_;
  Gauges& loss_;
  Gauges& standard_error_;
  Gauges& items_;
  Gauges& finished_;
  prometheus::Counter& evicted_;

  std::mutex mutex_;
  std::list<LabelSet> sets_;  // written longest ago first
  std::map<std::string, std::list<LabelSet>::iterator> by_key_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_METRICS_EVALUATION_GAUGES_H_
