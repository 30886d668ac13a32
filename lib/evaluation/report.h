// From exact sums to the numbers that are reported: each rounded once. Thread-safe.
#ifndef LOSSD_LIB_EVALUATION_REPORT_H_
#define LOSSD_LIB_EVALUATION_REPORT_H_

#include <optional>

#include "lib/accumulate/loss_sums.h"
#include "lib/losses/descriptor.h"

namespace lossd {

// MEAN: the correctly rounded quotient of the sum of terms and the sum of weights, or the loss's
// own report; NaN without items.
double ReportMean(const LossRow& row, bool pooled, const LossSums& sums);
// SUM: correctly rounded; 0 without items.
double ReportSum(const LossRow& row, bool pooled, const LossSums& sums);

// sqrt((n Q - S^2) / (n^2 (n - 1))), the fraction formed exactly and rounded once. Unset for a
// pooled loss, with weights other than 1, and with fewer than two items.
std::optional<double> ReportStandardError(bool pooled, const LossSums& sums);

}  // namespace lossd

#endif  // LOSSD_LIB_EVALUATION_REPORT_H_
