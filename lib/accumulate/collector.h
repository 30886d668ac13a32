// From the items of a block to the sums of a loss: weights, ignored and non-finite items, in one
// place for every loss.
//
// Thread-safety: pure functions on the caller's sums. What is collected does not depend on how
// items are cut into blocks.
#ifndef LOSSD_LIB_ACCUMULATE_COLLECTOR_H_
#define LOSSD_LIB_ACCUMULATE_COLLECTOR_H_

#include <cstddef>
#include <cstdint>

#include "lib/accumulate/block_sum.h"
#include "lib/accumulate/loss_sums.h"

namespace lossd {

// What NaN and infinite items do. The numbers are those of lossd.v1.NonFinitePolicy.
enum class NonFinitePolicy {
  kPropagate = 1,  // they enter the sums
  kSkip = 2,       // they are left out of sums and counts
  kReject = 3,     // the first one is an error
};

// Terms of sums that a loss keeps by class (LossSums::pools): term i of pool k is at
// terms[k * stride + i].
template <class T>
struct PoolTerms {
  const T* terms = nullptr;
  size_t stride = 0;
  size_t count = 0;                   // of pools
  const double* constants = nullptr;  // LossSums::constants
  size_t constant_count = 0;
};

// Items of the compute type T, and what belongs to each.
template <class T>
struct ItemBlock {
  const T* items[LossSums::kParts];  // one array a part
  int parts = 1;
  size_t n = 0;
  const T* weights = nullptr;           // sample weights; null: 1
  const T* class_weights = nullptr;     // factors of the weight in the denominator only; null: 1
  const uint8_t* ignored = nullptr;     // 1 where the label is the ignored one; null: nowhere
  const uint8_t* kinds = nullptr;       // index of what LossSums::kinds counts; null: nothing
  const PoolTerms<T>* pools = nullptr;  // set: these of n positions, and no items
  Upcoming next;                        // what the next block will read

  bool plain() const {
    return weights == nullptr && class_weights == nullptr && ignored == nullptr && kinds == nullptr;
  }
};

struct CollectOptions {
  NonFinitePolicy non_finite = NonFinitePolicy::kPropagate;
  bool statistics = false;  // also squares, minimum and maximum
};

// Adds the block to the sums. Under kReject: the index of the first non-finite item that is not
// ignored, and the sums then mean nothing. Else -1.
int64_t Collect(const SumKernels& kernels, const ItemBlock<float>& block,
                const CollectOptions& options, LossSums* sums);
int64_t Collect(const SumKernels& kernels, const ItemBlock<double>& block,
                const CollectOptions& options, LossSums* sums);

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_COLLECTOR_H_
