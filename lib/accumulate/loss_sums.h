// The exact sums and counts of one loss over any number of items: what a report is made of, and
// what merges.
//
// A plain value; thread-compatible. Merge is associative and commutative to the bit.
#ifndef LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_
#define LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

#include "lib/accumulate/exact_sum.h"

namespace lossd {

// Pools of all losses of a request or an evaluation together, at most: three of 8,192 classes. A
// pool takes a few bytes in a state and hundreds in memory.
inline constexpr size_t kMaxPools = 3 * 8192;

struct LossSums {
  // Parts of a report: [0] is the sum of terms, f64(item x sample_weight); a pooled loss has more.
  static constexpr int kParts = 3;
  std::array<ExactSum, kParts> parts;
  // Parts that a loss keeps by class, for reports over a whole stream; empty else. Two sums of one
  // loss have equally many, or one of them none.
  std::vector<ExactSum> pools;
  // Parameters of the loss that the report of its pools takes: equal in all sums of one evaluation.
  // Empty where there are no pools.
  std::vector<double> constants;
  // Sum of weights: the denominator of the mean.
  ExactSum weight;
  // Sum of f64(item^2), unweighted: for the standard error. Kept by evaluations only.
  ExactSum squares;
  int64_t items = 0;          // counted
  int64_t ignored_items = 0;  // weight 0, or the ignored label
  int64_t nan_items = 0;
  int64_t inf_items = 0;
  // Items of each kind that the loss tells apart (LossRow::counts).
  static constexpr int kKinds = 3;
  // Of an item without a kind, such as one that is NaN.
  static constexpr uint8_t kNoKind = kKinds;
  std::array<int64_t, kKinds> kinds{};
  // Of the items that are not NaN; kept by evaluations only.
  double minimum = std::numeric_limits<double>::infinity();
  double maximum = -std::numeric_limits<double>::infinity();
  // Some counted item had a weight other than 1.
  bool weighted = false;

  void Merge(const LossSums& other);
};

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_LOSS_SUMS_H_
