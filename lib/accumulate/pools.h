// Sums that a loss keeps by class for a report over a whole stream: the terms of the positions of a
// block, collected as items are.
//
// Thread-safety: pure functions on the caller's sums. What is collected does not depend on how
// positions are cut into blocks.
#ifndef LOSSD_LIB_ACCUMULATE_POOLS_H_
#define LOSSD_LIB_ACCUMULATE_POOLS_H_

#include <cstdint>

#include "lib/accumulate/collector.h"

namespace lossd {

// Adds the block's pools to the sums: f64(term x weight) of each position that counts. A position
// is one item in what is counted; it is not finite where one of its terms is not. Under kReject:
// the index of the first non-finite position that is not ignored, and the sums then mean nothing.
// Else -1. Requires block.pools.
int64_t CollectPools(const SumKernels& kernels, const ItemBlock<float>& block,
                     const CollectOptions& options, LossSums* sums);
int64_t CollectPools(const SumKernels& kernels, const ItemBlock<double>& block,
                     const CollectOptions& options, LossSums* sums);

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_POOLS_H_
