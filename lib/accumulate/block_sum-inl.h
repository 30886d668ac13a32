// The block sums of one SIMD target.
//
// Purpose: included once a target by block_sum.cc through foreach_target.h.
// Thread-safety: pure functions.
// Ownership: none.
//
// How a block of n <= 2^b terms is added without rounding. The scan gives E with |x| < 2^E for
// every term, and v such that every term is a multiple of 2^v. Then, cheapest first:
//
//  plain    All partial sums are multiples of 2^v below 2^(E + b). If E + b - v <= 53 every one of
//           them is a double, and ordinary additions are exact.
//  chain    Start at M = 1.5 * 2^52 u with u = 2^(E + b - 51), so that p stays in [2^52 u, 2^53 u),
//           where doubles are the multiples of u:   t = p + x;  r += x - (t - p);  p = t.
//           t - p is x rounded to a multiple of u and x - (t - p) its exact rest, at most u / 2.
//           One lane takes at most half of the terms (a vector has two lanes or more), so p moves
//           by at most 2^(E + b - 1) = 2^50 u and the roundings' 2^(b - 1) u, which leaves it in
//           range. The sum of all p - M is below 2^52 u, so adding the lanes is exact too. The
//           rests add up to at most 2^(b - 1) u in multiples of 2^v: exact while log2(u) + b - 1 <=
//           53 + v, a span E - v of 105 - 2b bits (85 for 1,024 items).
//  chain 3  The rests go through a second chain with u2 = 2^(b - 52) u, in whose M2 one lane moves
//  by at
//           most 2^(b - 2) u = 2^50 u2, and their rests are added: a span of 157 - 3b bits (127).
//
// Runs of k vectors whose sum is exact in plain additions (E + log2(k) - v <= 53) are added first
// and go into the chain as one; the bounds above hold for them, as they are bounds of sums of |x|.
// u and u2 are at least 2^-1074; where that cuts in, the rests are zero.

#if defined(LOSSD_LIB_ACCUMULATE_BLOCK_SUM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_ACCUMULATE_BLOCK_SUM_INL_H_
#undef LOSSD_LIB_ACCUMULATE_BLOCK_SUM_INL_H_
#else
#define LOSSD_LIB_ACCUMULATE_BLOCK_SUM_INL_H_
#endif

#include <hwy/highway.h>

#include <cstring>

#include "hwy/cache_control.h"
#include "lib/accumulate/block_chain-inl.h"
#include "lib/accumulate/block_plan.h"
#include "lib/accumulate/block_scan-inl.h"
#include "lib/accumulate/block_sum.h"

HWY_BEFORE_NAMESPACE();
namespace lossd {
namespace HWY_NAMESPACE {
using internal::BlockWay;

// Below this many vectors a run saves nothing over a chain that takes each.
constexpr size_t kShortestRun = 4;

// What a term is made of.
enum class Kind { kItem, kProduct, kSquare };

HWY_INLINE V64 Widen(const float* x) {
  const hn::Rebind<float, F64> half;
  return hn::PromoteTo(F64(), hn::LoadU(half, x));
}
HWY_INLINE V64 Widen(const double* x) { return hn::LoadU(F64(), x); }

// The items of a block: `bulk` of them in place, and a copy of the rest, padded with zeros, which
// change neither the sum nor the scan.
template <Kind kKind, class T>
class Block {
 public:
  static constexpr size_t kLanes = hn::MaxLanes(F64());
  // A whole vector of T: one or two vectors of terms.
  static constexpr size_t kStep = hn::MaxLanes(hn::ScalableTag<T>());
  // Whether Terms::w is 1 throughout.
  static constexpr bool kUnitFactor = kKind == Kind::kItem || sizeof(T) == 8;

  HWY_INLINE Block(const T* x, const T* w, size_t n, const Upcoming& next)
      : x_(x),
        w_(w),
        n_(n),
        bulk_(n - n % kStep),
        one_(hn::Set(F64(), internal::kOne)),
        next_(next) {
    if (bulk_ == n) return;
    CopyTail(x, x_tail_);
    if constexpr (kKind == Kind::kProduct) CopyTail(w, w_tail_);
  }

  HWY_INLINE size_t bulk() const { return bulk_; }
  HWY_INLINE bool has_tail() const { return bulk_ != n_; }
  HWY_INLINE V64 one() const { return one_; }
  // Terms i, i + 1, ... of the bulk, or of the tail.
  HWY_INLINE Terms At(size_t i) const { return TermsOf(x_ + i, w_ + i); }
  HWY_INLINE Terms TailAt(size_t i) const { return TermsOf(x_tail_ + i, w_tail_ + i); }

  // Fetches what lies at items [i, i + kCount) of an upcoming stream.
  template <int kStream, size_t kCount>
  HWY_INLINE void Fetch(size_t i) const {
    if (next_.streams[kStream] == nullptr) return;
    for (size_t byte = 0; byte < kCount * sizeof(T); byte += 64) {
      hwy::Prefetch(next_.streams[kStream] + i * sizeof(T) + byte);
    }
  }

  HWY_INLINE Extent Scan() const {
    if constexpr (sizeof(T) == 8) {
      return ScanTerms();
    } else {
      const Extent x = ScanItems();
      if constexpr (kKind == Kind::kItem) return x;
      if constexpr (kKind == Kind::kSquare) return internal::ExtentOfProducts(x, x);
      return internal::ExtentOfProducts(x, ScanFactors<true>(w_, w_tail_));
    }
  }

  HWY_INLINE Extent ScanItems() const { return ScanFactors<false>(x_, x_tail_); }

 private:
  HWY_INLINE void CopyTail(const T* from, T* tail) const {
    hn::Store(hn::Zero(hn::ScalableTag<T>()), hn::ScalableTag<T>(), tail);
    // As bytes: the items may lie at any address.
    memcpy(tail, reinterpret_cast<const char*>(from) + bulk_ * sizeof(T), (n_ - bulk_) * sizeof(T));
  }

  HWY_INLINE Terms TermsOf(const T* x, const T* w) const {
    const V64 value = Widen(x);
    if constexpr (kKind == Kind::kItem) return {value, one_};
    const V64 factor = kKind == Kind::kProduct ? Widen(w) : value;
    // Products of floats are exact in f64; those of doubles are rounded first, by definition.
    if constexpr (sizeof(T) == 8) return {hn::Mul(value, factor), one_};
    return {value, factor};
  }

  HWY_INLINE Extent ScanTerms() const {
    Scan64 a;
    Scan64 b;
    size_t i = 0;
    for (; i + 2 * kLanes <= bulk_; i += 2 * kLanes) {
      Fetch<0, 2 * kLanes>(i);
      a.Update(At(i).x);
      b.Update(At(i + kLanes).x);
    }
    if (i < bulk_) a.Update(At(i).x);
    if (has_tail()) b.Update(TailAt(0).x);
    a.Merge(b);
    return a.Result();
  }

  template <bool kUnited>
  HWY_INLINE Extent ScanFactors(const T* factors, const T* tail) const {
    Scan32<kUnited> a;
    Scan32<kUnited> b;
    size_t i = 0;
    for (; i + 4 * kStep <= bulk_; i += 4 * kStep) {
      Fetch<0, 4 * kStep>(i);
      a.Update(factors + i);
      b.Update(factors + i + kStep);
      a.Update(factors + i + 2 * kStep);
      b.Update(factors + i + 3 * kStep);
    }
    for (; i < bulk_; i += kStep) a.Update(factors + i);
    if (has_tail()) b.Update(tail);
    a.Merge(b);
    return a.Result();
  }

  const T* const x_;
  const T* const w_;
  const size_t n_;
  const size_t bulk_;
  const V64 one_;
  const Upcoming& next_;
  HWY_ALIGN T x_tail_[kStep];
  HWY_ALIGN T w_tail_[kStep];
};

HWY_INLINE V64 Plus(V64 sum, Terms term) { return hn::MulAdd(term.x, term.w, sum); }

// Eight sums: four cycles of latency times two additions a cycle.
template <Kind kKind, class T>
HWY_INLINE ExactParts SumPlain(const Block<kKind, T>& block) {
  constexpr size_t kLanes = Block<kKind, T>::kLanes;
  const V64 zero = hn::Zero(F64());
  V64 s0 = zero, s1 = zero, s2 = zero, s3 = zero, s4 = zero, s5 = zero, s6 = zero, s7 = zero;
  size_t i = 0;
  for (; i + 8 * kLanes <= block.bulk(); i += 8 * kLanes) {
    s0 = Plus(s0, block.At(i));
    s1 = Plus(s1, block.At(i + kLanes));
    s2 = Plus(s2, block.At(i + 2 * kLanes));
    s3 = Plus(s3, block.At(i + 3 * kLanes));
    s4 = Plus(s4, block.At(i + 4 * kLanes));
    s5 = Plus(s5, block.At(i + 5 * kLanes));
    s6 = Plus(s6, block.At(i + 6 * kLanes));
    s7 = Plus(s7, block.At(i + 7 * kLanes));
  }
  for (; i < block.bulk(); i += kLanes) s0 = Plus(s0, block.At(i));
  if (block.has_tail()) {
    for (size_t j = 0; j < Block<kKind, T>::kStep; j += kLanes) s1 = Plus(s1, block.TailAt(j));
  }
  const V64 low = hn::Add(hn::Add(s0, s1), hn::Add(s2, s3));
  const V64 high = hn::Add(hn::Add(s4, s5), hn::Add(s6, s7));
  ExactParts parts;
  parts.part[0] = Fold(F64(), hn::Add(low, high), AddOp());
  return parts;
}

template <int kLevels, Kind kKind, class T>
HWY_NOINLINE ExactParts SumChained(const Block<kKind, T>& block, const BlockPlan& plan) {
  constexpr size_t kLanes = Block<kKind, T>::kLanes;
  constexpr bool kUnit = Block<kKind, T>::kUnitFactor;
  constexpr bool kBusy = sizeof(T) == 4;
  const V64 one = block.one();
  FourChains<kLevels> chains(plan);
  size_t i = 0;
  for (; i + 4 * kLanes <= block.bulk(); i += 4 * kLanes) {
    block.template Fetch<1, 4 * kLanes>(i);
    chains.a.template Add<kUnit, kBusy>(block.At(i), one);
    chains.b.template Add<kUnit, kBusy>(block.At(i + kLanes), one);
    chains.c.template Add<kUnit, kBusy>(block.At(i + 2 * kLanes), one);
    chains.e.template Add<kUnit, kBusy>(block.At(i + 3 * kLanes), one);
  }
  for (; i < block.bulk(); i += kLanes) chains.a.template Add<kUnit, kBusy>(block.At(i), one);
  if (block.has_tail()) {
    for (size_t j = 0; j < Block<kKind, T>::kStep; j += kLanes) {
      chains.b.template Add<kUnit, kBusy>(block.TailAt(j), one);
    }
  }
  return chains.Result(plan);
}

// Chains that take plain sums of plan.run vectors.
template <Kind kKind, class T>
HWY_NOINLINE ExactParts SumInRuns(const Block<kKind, T>& block, const BlockPlan& plan) {
  constexpr size_t kLanes = Block<kKind, T>::kLanes;
  constexpr bool kUnit = Block<kKind, T>::kUnitFactor;
  constexpr bool kBusy = sizeof(T) == 4;
  const V64 one = block.one();
  FourChains<2> chains(plan);
  size_t i = 0;
  while (i + 4 * kLanes <= block.bulk()) {
    V64 a = hn::Zero(F64());
    V64 b = a;
    V64 c = a;
    V64 e = a;
    for (size_t k = 0; k < plan.run && i + 4 * kLanes <= block.bulk(); ++k, i += 4 * kLanes) {
      block.template Fetch<1, 4 * kLanes>(i);
      a = Plus(a, block.At(i));
      b = Plus(b, block.At(i + kLanes));
      c = Plus(c, block.At(i + 2 * kLanes));
      e = Plus(e, block.At(i + 3 * kLanes));
    }
    chains.a.template Add<true, kBusy>({a, one}, one);
    chains.b.template Add<true, kBusy>({b, one}, one);
    chains.c.template Add<true, kBusy>({c, one}, one);
    chains.e.template Add<true, kBusy>({e, one}, one);
  }
  for (; i < block.bulk(); i += kLanes) chains.a.template Add<kUnit, kBusy>(block.At(i), one);
  if (block.has_tail()) {
    for (size_t j = 0; j < Block<kKind, T>::kStep; j += kLanes) {
      chains.b.template Add<kUnit, kBusy>(block.TailAt(j), one);
    }
  }
  return chains.Result(plan);
}

template <Kind kKind, class T>
HWY_INLINE ExactParts SumPlanned(const Block<kKind, T>& block, const BlockPlan& plan) {
  ExactParts parts;
  switch (plan.way) {
    case BlockWay::kZero:
      return parts;
    case BlockWay::kPlain:
      return SumPlain(block);
    case BlockWay::kChain2:
      return plan.run >= kShortestRun ? SumInRuns(block, plan) : SumChained<2>(block, plan);
    case BlockWay::kChain3:
      return SumChained<3>(block, plan);
    case BlockWay::kUnprovable:
      break;
  }
  parts.exact = false;
  return parts;
}

template <Kind kKind, class T>
HWY_INLINE ExactParts SumBlock(const T* x, const T* w, size_t n, const Upcoming& next) {
  if (n == 0) return ExactParts();
  const Block<kKind, T> block(x, w, n, next);
  return SumPlanned(block, internal::PlanBlock(block.Scan(), n));
}

template <class T>
ExactParts SumOfItems(const T* x, size_t n, const Upcoming& next) {
  return SumBlock<Kind::kItem, T>(x, x, n, next);
}
template <class T>
ExactParts SumOfSquares(const T* x, size_t n) {
  return SumBlock<Kind::kSquare, T>(x, x, n, Upcoming());
}
template <class T>
ExactParts SumOfProducts(const T* x, const T* w, size_t n) {
  return SumBlock<Kind::kProduct, T>(x, w, n, Upcoming());
}

// Items in runs and squares in chains, in one pass over the items. Either plan may also be kPlain.
HWY_NOINLINE MomentParts MomentsInRuns(const Block<Kind::kSquare, float>& block,
                                       const BlockPlan& item_plan, const BlockPlan& square_plan) {
  constexpr size_t kLanes = Block<Kind::kSquare, float>::kLanes;
  const V64 one = block.one();
  Chain<2> items(item_plan);
  FourChains<2> squares(square_plan);
  size_t i = 0;
  while (i + 4 * kLanes <= block.bulk()) {
    V64 a = hn::Zero(F64());
    V64 b = a;
    for (size_t k = 0; k < item_plan.run && i + 4 * kLanes <= block.bulk(); k += 2) {
      block.template Fetch<1, 4 * kLanes>(i);
      const Terms ta = block.At(i);
      const Terms tb = block.At(i + kLanes);
      const Terms tc = block.At(i + 2 * kLanes);
      const Terms te = block.At(i + 3 * kLanes);
      i += 4 * kLanes;
      a = hn::Add(hn::Add(a, ta.x), tb.x);
      b = hn::Add(hn::Add(b, tc.x), te.x);
      squares.a.template Add<false, true>(ta, one);
      squares.b.template Add<false, true>(tb, one);
      squares.c.template Add<false, true>(tc, one);
      squares.e.template Add<false, true>(te, one);
    }
    items.template Add<true, true>({a, one}, one);
    items.template Add<true, true>({b, one}, one);
  }
  const auto add_one = [&](Terms term) HWY_ATTR {
    items.template Add<true, true>({term.x, one}, one);
    squares.a.template Add<false, true>(term, one);
  };
  for (; i < block.bulk(); i += kLanes) add_one(block.At(i));
  if (block.has_tail()) {
    for (size_t j = 0; j < Block<Kind::kSquare, float>::kStep; j += kLanes) {
      add_one(block.TailAt(j));
    }
  }
  MomentParts parts;
  parts.sum.part[0] = Fold(F64(), hn::Sub(items.p, hn::Set(F64(), item_plan.start[0])), AddOp());
  parts.sum.part[1] = Fold(F64(), items.rest, AddOp());
  parts.square = squares.Result(square_plan);
  return parts;
}

MomentParts MomentsF32(const float* x, size_t n, const Upcoming& next) {
  MomentParts parts;
  if (n == 0) return parts;
  const Block<Kind::kSquare, float> block(x, x, n, next);
  const Extent extent = block.ScanItems();
  const BlockPlan item_plan = internal::PlanBlock(extent, n);
  const BlockPlan square_plan = internal::PlanBlock(internal::ExtentOfProducts(extent, extent), n);
  const auto chains = [](const BlockPlan& plan) HWY_ATTR {
    return plan.way == BlockWay::kPlain || plan.way == BlockWay::kChain2;
  };
  if (chains(item_plan) && chains(square_plan) && item_plan.run >= kShortestRun) {
    return MomentsInRuns(block, item_plan, square_plan);
  }
  parts.sum = SumPlanned(Block<Kind::kItem, float>(x, x, n, next), item_plan);
  parts.square = SumPlanned(block, square_plan);
  return parts;
}

MomentParts MomentsF64(const double* x, size_t n, const Upcoming& next) {
  MomentParts parts;
  parts.sum = SumOfItems(x, n, next);
  parts.square = SumOfSquares(x, n);
  return parts;
}

const SumKernels* Table() {
  static constexpr SumKernels kTable = {
      HWY_TARGET, SumOfItems<float>,  SumOfProducts<float>,  SumOfSquares<float>,
      MomentsF32, SumOfItems<double>, SumOfProducts<double>, SumOfSquares<double>,
      MomentsF64,
  };
  return &kTable;
}

}  // namespace HWY_NAMESPACE
}  // namespace lossd
HWY_AFTER_NAMESPACE();

#endif
