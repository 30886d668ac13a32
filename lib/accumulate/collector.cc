#include "lib/accumulate/collector.h"

#include <algorithm>
#include <cmath>

#include "lib/accumulate/pools.h"

namespace lossd {
namespace {

ExactParts Sum(const SumKernels& kernels, const float* x, size_t n, const Upcoming& next) {
  return kernels.sum_f32(x, n, next);
}
ExactParts Sum(const SumKernels& kernels, const double* x, size_t n, const Upcoming& next) {
  return kernels.sum_f64(x, n, next);
}
MomentParts Moments(const SumKernels& kernels, const float* x, size_t n, const Upcoming& next) {
  return kernels.moments_f32(x, n, next);
}
MomentParts Moments(const SumKernels& kernels, const double* x, size_t n, const Upcoming& next) {
  return kernels.moments_f64(x, n, next);
}

// Smallest and largest, NaN passed over. Sixteen chains, which vectorise as a single one would not.
template <class T>
void AddRange(const T* items, size_t n, LossSums* sums) {
  constexpr size_t kChains = 16;
  T low[kChains], high[kChains];
  std::fill_n(low, kChains, std::numeric_limits<T>::infinity());
  std::fill_n(high, kChains, -std::numeric_limits<T>::infinity());
  size_t i = 0;
  for (; i + kChains <= n; i += kChains) {
    for (size_t c = 0; c < kChains; ++c) {
      low[c] = items[i + c] < low[c] ? items[i + c] : low[c];
      high[c] = items[i + c] > high[c] ? items[i + c] : high[c];
    }
  }
  for (; i < n; ++i) {
    low[0] = items[i] < low[0] ? items[i] : low[0];
    high[0] = items[i] > high[0] ? items[i] : high[0];
  }
  const double smallest = *std::min_element(low, low + kChains);
  const double largest = *std::max_element(high, high + kChains);
  // + 0 makes a negative zero positive: which of the two comes first must not show.
  if (smallest < sums->minimum) sums->minimum = smallest + 0.0;
  if (largest > sums->maximum) sums->maximum = largest + 0.0;
}

template <class T>
void AddStatistics(const SumKernels& kernels, const T* items, size_t n, LossSums* sums) {
  AddSquareBlock(kernels, items, n, &sums->squares);
  AddRange(items, n, sums);
}

// A block without weights whose sums a kernel forms exactly, which means that every item is finite:
// nothing needs sifting. False, and nothing was added, if it does not.
template <class T>
bool CollectPlain(const SumKernels& kernels, const T* items, size_t n, const Upcoming& next,
                  bool statistics, LossSums* sums) {
  if (statistics) {
    const MomentParts moments = Moments(kernels, items, n, next);
    if (!moments.sum.exact || !moments.square.exact) return false;
    Add(moments.sum, &sums->parts[0]);
    Add(moments.square, &sums->squares);
    AddRange(items, n, sums);
  } else {
    const ExactParts parts = Sum(kernels, items, n, next);
    if (!parts.exact) return false;
    Add(parts, &sums->parts[0]);
  }
  sums->weight.Add(static_cast<double>(n));
  sums->items += static_cast<int64_t>(n);
  return true;
}

// The items of a block that count, closed up.
template <class T>
struct Kept {
  T items[LossSums::kParts][kBlockItems];
  T weights[kBlockItems];
  T class_weights[kBlockItems];
  size_t n = 0;
};

// Copies what counts, and counts what does not; the index of the first rejected item, or -1.
template <class T>
int64_t Sift(const ItemBlock<T>& block, size_t begin, size_t end, NonFinitePolicy policy,
             Kept<T>* kept, LossSums* sums) {
  size_t n = 0;
  for (size_t i = begin; i < end; ++i) {
    const T weight = block.weights != nullptr ? block.weights[i] : T(1);
    if (weight == T(0) || (block.ignored != nullptr && block.ignored[i] != 0)) {
      ++sums->ignored_items;
      continue;
    }
    bool is_nan = false;
    bool is_inf = false;
    for (int part = 0; part < block.parts; ++part) {
      is_nan |= std::isnan(block.items[part][i]);
      is_inf |= std::isinf(block.items[part][i]);
    }
    if (is_nan || is_inf) {
      if (policy == NonFinitePolicy::kReject) return static_cast<int64_t>(i);
      ++(is_nan ? sums->nan_items : sums->inf_items);
      if (policy == NonFinitePolicy::kSkip) continue;
    }
    const T class_weight = block.class_weights != nullptr ? block.class_weights[i] : T(1);
    for (int part = 0; part < block.parts; ++part) kept->items[part][n] = block.items[part][i];
    kept->weights[n] = weight;
    kept->class_weights[n] = class_weight;
    sums->weighted |= weight != T(1) || class_weight != T(1);
    if (block.kinds != nullptr && block.kinds[i] != LossSums::kNoKind)
      ++sums->kinds[block.kinds[i]];
    ++n;
  }
  kept->n = n;
  return -1;
}

template <class T>
void AddKept(const SumKernels& kernels, const ItemBlock<T>& block, const Kept<T>& kept,
             bool statistics, LossSums* sums) {
  for (int part = 0; part < block.parts; ++part) {
    if (block.weights != nullptr) {
      AddProductBlock(kernels, kept.items[part], kept.weights, kept.n, &sums->parts[part]);
    } else {
      AddBlock(kernels, kept.items[part], kept.n, &sums->parts[part]);
    }
  }
  if (block.weights != nullptr || block.class_weights != nullptr) {
    AddProductBlock(kernels, kept.weights, kept.class_weights, kept.n, &sums->weight);
  } else {
    sums->weight.Add(static_cast<double>(kept.n));
  }
  sums->items += static_cast<int64_t>(kept.n);
  if (statistics) AddStatistics(kernels, kept.items[0], kept.n, sums);
}

template <class T>
int64_t CollectBlock(const SumKernels& kernels, const ItemBlock<T>& block,
                     const CollectOptions& options, LossSums* sums) {
  if (block.pools != nullptr) return CollectPools(kernels, block, options, sums);
  for (size_t begin = 0; begin < block.n; begin += kBlockItems) {
    const size_t end = std::min(block.n, begin + kBlockItems);
    if (block.plain() && block.parts == 1 &&
        CollectPlain(kernels, block.items[0] + begin, end - begin, block.next, options.statistics,
                     sums)) {
      continue;
    }
    Kept<T> kept;
    const int64_t rejected = Sift(block, begin, end, options.non_finite, &kept, sums);
    if (rejected >= 0) return rejected;
    AddKept(kernels, block, kept, options.statistics, sums);
  }
  return -1;
}

}  // namespace

int64_t Collect(const SumKernels& kernels, const ItemBlock<float>& block,
                const CollectOptions& options, LossSums* sums) {
  return CollectBlock(kernels, block, options, sums);
}

int64_t Collect(const SumKernels& kernels, const ItemBlock<double>& block,
                const CollectOptions& options, LossSums* sums) {
  return CollectBlock(kernels, block, options, sums);
}

}  // namespace lossd
