#include "lib/accumulate/pools.h"

#include <algorithm>
#include <cmath>

namespace lossd {
namespace {

// The positions of a piece that count.
template <class T>
struct KeptPositions {
  size_t index[kBlockItems];  // in the block
  T weights[kBlockItems];
  size_t n = 0;
};

// What the terms of one position are, worst first.
template <class T>
struct Finiteness {
  bool is_nan = false;
  bool is_inf = false;

  void Add(T term) {
    is_nan |= std::isnan(term);
    is_inf |= std::isinf(term);
  }
};

// Finds what counts in [begin, end), and counts what does not; the index of the first rejected
// position, or -1.
template <class T>
int64_t SiftPositions(const ItemBlock<T>& block, size_t begin, size_t end, NonFinitePolicy policy,
                      KeptPositions<T>* kept, LossSums* sums) {
  const PoolTerms<T>& pools = *block.pools;
  // A sum of differences is 0 unless a term is not finite: one pass a pool, which vectorises.
  T suspicion[kBlockItems] = {};
  for (size_t pool = 0; pool < pools.count; ++pool) {
    const T* const terms = pools.terms + pool * pools.stride + begin;
    for (size_t i = 0; i < end - begin; ++i) suspicion[i] += terms[i] - terms[i];
  }
  for (size_t i = begin; i < end; ++i) {
    const T weight = block.weights != nullptr ? block.weights[i] : T(1);
    if (weight == T(0) || (block.ignored != nullptr && block.ignored[i] != 0)) {
      ++sums->ignored_items;
      continue;
    }
    if (suspicion[i - begin] != T(0)) {  // NaN
      Finiteness<T> found;
      for (size_t pool = 0; pool < pools.count; ++pool)
        found.Add(pools.terms[pool * pools.stride + i]);
      if (policy == NonFinitePolicy::kReject) return static_cast<int64_t>(i);
      ++(found.is_nan ? sums->nan_items : sums->inf_items);
      if (policy == NonFinitePolicy::kSkip) continue;
    }
    sums->weighted |= weight != T(1);
    kept->index[kept->n] = i;
    kept->weights[kept->n++] = weight;
  }
  return -1;
}

template <class T>
void AddKept(const SumKernels& kernels, const ItemBlock<T>& block, const KeptPositions<T>& kept,
             LossSums* sums) {
  const PoolTerms<T>& pools = *block.pools;
  T terms[kBlockItems];
  for (size_t pool = 0; pool < pools.count; ++pool) {
    const T* const from = pools.terms + pool * pools.stride;
    for (size_t i = 0; i < kept.n; ++i) terms[i] = from[kept.index[i]];
    if (block.weights != nullptr) {
      AddProductBlock(kernels, terms, kept.weights, kept.n, &sums->pools[pool]);
    } else {
      AddBlock(kernels, terms, kept.n, &sums->pools[pool]);
    }
  }
  if (block.weights != nullptr) {
    AddBlock(kernels, kept.weights, kept.n, &sums->weight);
  } else {
    sums->weight.Add(static_cast<double>(kept.n));
  }
  sums->items += static_cast<int64_t>(kept.n);
}

template <class T>
int64_t CollectPoolsOf(const SumKernels& kernels, const ItemBlock<T>& block,
                       const CollectOptions& options, LossSums* sums) {
  const PoolTerms<T>& pools = *block.pools;
  if (sums->pools.empty()) {
    sums->pools.resize(pools.count);
    sums->constants.assign(pools.constants, pools.constants + pools.constant_count);
  }
  for (size_t begin = 0; begin < block.n; begin += kBlockItems) {
    KeptPositions<T> kept;
    const size_t end = std::min(block.n, begin + kBlockItems);
    const int64_t rejected = SiftPositions(block, begin, end, options.non_finite, &kept, sums);
    if (rejected >= 0) return rejected;
    AddKept(kernels, block, kept, sums);
  }
  return -1;
}

}  // namespace

int64_t CollectPools(const SumKernels& kernels, const ItemBlock<float>& block,
                     const CollectOptions& options, LossSums* sums) {
  return CollectPoolsOf(kernels, block, options, sums);
}

int64_t CollectPools(const SumKernels& kernels, const ItemBlock<double>& block,
                     const CollectOptions& options, LossSums* sums) {
  return CollectPoolsOf(kernels, block, options, sums);
}

}  // namespace lossd
