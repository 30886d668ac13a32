// Results -> the evaluation gauges, for calls that carry labels. Thread-safe.
#ifndef LOSSD_SERVER_RPC_EVALUATION_READINGS_H_
#define LOSSD_SERVER_RPC_EVALUATION_READINGS_H_

#include "lossd/v1/loss_service.pb.h"
#include "server/metrics/evaluation_gauges.h"

namespace lossd {

// Neither writes where labels name neither a model nor a data set.
void WriteGauges(const v1::EvaluationLabels& labels, const v1::ComputeLossResponse& response,
                 EvaluationGauges* gauges);
void WriteGauges(const v1::EvaluationLabels& labels, const v1::EvaluationResult& result,
                 EvaluationGauges* gauges);

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_EVALUATION_READINGS_H_
