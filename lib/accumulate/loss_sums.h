// The exact sums and counts of one loss over any number of items: what a report is made of, and
// what merges.
//
// A plain value; thread-compatible. Merge is associative and commutative to the bit.
#ifndef LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_
#define LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_

#include <array>
#include <cstdint>
#include <limits>

#include "lib/accumulate/exact_sum.h"

namespace lossd {

struct LossSums {
  // Parts of a report: [0] is the sum of terms, f64(item x sample_weight); a pooled loss has more.
  static constexpr int kParts = 3;
  std::array<ExactSum, kParts> parts;
  // Sum of weights: the denominator of the mean.
  ExactSum weight;
  // Sum of f64(item^2), unweighted: for the standard error. Kept by evaluations only.
  ExactSum squares;
  int64_t items = 0;          // counted
  int64_t ignored_items = 0;  // weight 0, or the ignored label
  int64_t nan_items = 0;
  int64_t inf_items = 0;
  // Of the items that are not NaN; kept by evaluations only.
  double minimum = std::numeric_limits<double>::infinity();
  double maximum = -std::numeric_limits<double>::infinity();
  // Some counted item had a weight other than 1.
  bool weighted = false;

  void Merge(const LossSums& other);
};

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_
