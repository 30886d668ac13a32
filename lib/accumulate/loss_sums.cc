#include "lib/accumulate/loss_sums.h"

#include <algorithm>

namespace lossd {
namespace {

// Saturates: counts of a state come from outside, and no sum of them may be undefined.
void AddCount(int64_t count, int64_t* sum) {
  if (__builtin_add_overflow(*sum, count, sum)) *sum = std::numeric_limits<int64_t>::max();
}

}  // namespace

void LossSums::Merge(const LossSums& other) {
  for (int part = 0; part < kParts; ++part) parts[part].Merge(other.parts[part]);
  if (pools.empty()) {
    pools = other.pools;
    constants = other.constants;
  } else {
    for (size_t i = 0; i < other.pools.size(); ++i) pools[i].Merge(other.pools[i]);
  }
  weight.Merge(other.weight);
  squares.Merge(other.squares);
  AddCount(other.items, &items);
  AddCount(other.ignored_items, &ignored_items);
  AddCount(other.nan_items, &nan_items);
  AddCount(other.inf_items, &inf_items);
  for (int kind = 0; kind < kKinds; ++kind) AddCount(other.kinds[kind], &kinds[kind]);
  minimum = std::min(minimum, other.minimum);
  maximum = std::max(maximum, other.maximum);
  weighted |= other.weighted;
}

}  // namespace lossd
