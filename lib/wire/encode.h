// From the library's types to lossd.v1 messages. Thread-safe: pure functions.
#ifndef LOSSD_LIB_WIRE_ENCODE_H_
#define LOSSD_LIB_WIRE_ENCODE_H_

#include "lib/evaluation/state.h"
#include "lib/losses/descriptor.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// Counts, sums and the value: the mean, or the sum.
void EncodeResult(const LossState& loss, bool mean, v1::LossResult* result);

// The summaries, total and serialized state of an evaluation.
void EncodeEvaluation(const EvaluationState& state, v1::EvaluationResult* result);

// Sum of weight times value in the order of the losses, in f64; false if a weight is not set.
bool Total(const EvaluationState& state, bool mean, double* total);

void EncodeShape(const Shape& shape, v1::Tensor* tensor);

void DescribeLoss(const LossRow& row, v1::LossDescription* description);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_ENCODE_H_
