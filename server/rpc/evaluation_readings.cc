#include "server/rpc/evaluation_readings.h"

#include <vector>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace lossd {
namespace {

bool Named(const v1::EvaluationLabels& labels) {
  return !labels.model().empty() || !labels.dataset().empty();
}

EvaluationReading Reading(const v1::LossResult& result) {
  return {result.loss(), result.value(), std::nullopt, result.items()};
}

void Write(const v1::EvaluationLabels& labels, const std::vector<EvaluationReading>& readings,
           EvaluationGauges* gauges) {
  gauges->Write(labels.model(), labels.dataset(), readings,
                static_cast<double>(absl::ToUnixMillis(absl::Now())) / 1000);
}

}  // namespace

void WriteGauges(const v1::EvaluationLabels& labels, const v1::ComputeLossResponse& response,
                 EvaluationGauges* gauges) {
  if (!Named(labels)) return;
  std::vector<EvaluationReading> readings;
  for (const v1::LossResult& result : response.results()) readings.push_back(Reading(result));
  Write(labels, readings, gauges);
}

void WriteGauges(const v1::EvaluationLabels& labels, const v1::EvaluationResult& result,
                 EvaluationGauges* gauges) {
  if (!Named(labels)) return;
  std::vector<EvaluationReading> readings;
  for (const v1::LossSummary& summary : result.summaries()) {
    readings.push_back(Reading(summary.result()));
    if (summary.has_standard_error()) readings.back().standard_error = summary.standard_error();
  }
  Write(labels, readings, gauges);
}

}  // namespace lossd
