#include "lib/evaluation/report.h"

#include <cmath>
#include <limits>

#include "lib/accumulate/rational.h"

namespace lossd {

double ReportMean(const LossRow& row, bool pooled, const LossSums& sums) {
  if (sums.items == 0) return std::numeric_limits<double>::quiet_NaN();
  if (pooled) return row.signatures[0].pooling.report(sums, true);
  return Quotient(sums.parts[0], sums.weight);
}

double ReportSum(const LossRow& row, bool pooled, const LossSums& sums) {
  if (sums.items == 0) return 0;
  if (pooled) return row.signatures[0].pooling.report(sums, false);
  return sums.parts[0].Round();
}

std::optional<double> ReportStandardError(bool pooled, const LossSums& sums) {
  if (pooled || sums.weighted || sums.items < 2) return std::nullopt;
  const ExactNumber n(sums.items);
  const ExactNumber s(sums.parts[0]);
  const ExactNumber q(sums.squares);
  const double variance_of_mean = RoundQuotient(n * q - s * s, n * n * ExactNumber(sums.items - 1));
  // With f64 items the squares are rounded, so that equal items may leave a hair below zero.
  if (variance_of_mean < 0) return 0.0;
  return std::sqrt(variance_of_mean);
}

}  // namespace lossd
