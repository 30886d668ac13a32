#include "server/metrics/evaluation_gauges.h"

#include <set>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

std::string Key(std::string_view model, std::string_view dataset, std::string_view loss) {
  return absl::StrCat(model.size(), ":", std::string(model), dataset.size(), ":",
                      std::string(dataset), std::string(loss));
}

prometheus::Family<prometheus::Gauge>& Family(prometheus::Registry* registry, const char* name,
                                              const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(*registry);
}

}  // namespace

EvaluationGauges::EvaluationGauges(prometheus::Registry* registry, int64_t max_label_sets)
    : max_label_sets_(max_label_sets),
      loss_(Family(registry, "lossd_evaluation_loss",
                   "Value of the last labelled evaluation of a loss.")),
      standard_error_(Family(registry, "lossd_evaluation_standard_error",
                             "Standard error of that value; none where it is not defined.")),
      items_(Family(registry, "lossd_evaluation_items",
                    "Items that the last labelled evaluation counted.")),
      finished_(Family(registry, "lossd_evaluation_finished_timestamp_seconds",
                       "Unix time at which the last labelled evaluation finished.")),
      evicted_(prometheus::BuildCounter()
                   .Name("lossd_evaluation_label_sets_evicted_total")
                   .Help("Label sets of the evaluation gauges that made room for newer ones "
                         "(flag max-metric-label-sets).")
                   .Register(*registry)
                   .Add({})) {}

void EvaluationGauges::Write(std::string_view model, std::string_view dataset,
                             std::span<const EvaluationReading> readings,
                             double finished_unix_seconds) {
  std::lock_guard lock(mutex_);
  std::set<std::string_view> written;
  for (const EvaluationReading& reading : readings) {
    if (!written.insert(reading.loss).second) continue;
    const prometheus::Labels labels{{"model", std::string(model)},
                                    {"dataset", std::string(dataset)},
                                    {"loss", std::string(reading.loss)}};
    LabelSet& set = Find(labels, Key(model, dataset, reading.loss));
    set.loss->Set(reading.value);
    set.items->Set(static_cast<double>(reading.items));
    set.finished->Set(finished_unix_seconds);
    if (reading.standard_error.has_value()) {
      if (set.standard_error == nullptr) set.standard_error = &standard_error_.Add(labels);
      set.standard_error->Set(*reading.standard_error);
    } else if (set.standard_error != nullptr) {
      standard_error_.Remove(set.standard_error);
      set.standard_error = nullptr;
    }
  }
}

EvaluationGauges::LabelSet& EvaluationGauges::Find(const prometheus::Labels& labels,
                                                   const std::string& key) {
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    sets_.splice(sets_.end(), sets_, found->second);
    return *found->second;
  }
  if (static_cast<int64_t>(sets_.size()) >= max_label_sets_) EvictOldest();
  sets_.push_back({key, &loss_.Add(labels), nullptr, &items_.Add(labels), &finished_.Add(labels)});
  by_key_[key] = std::prev(sets_.end());
  return sets_.back();
}

void EvaluationGauges::EvictOldest() {
  const LabelSet& oldest = sets_.front();
  loss_.Remove(oldest.loss);
  if (oldest.standard_error != nullptr) standard_error_.Remove(oldest.standard_error);
  items_.Remove(oldest.items);
  finished_.Remove(oldest.finished);
  by_key_.erase(oldest.key);
  sets_.pop_front();
  evicted_.Increment();
}

}  // namespace lossd
