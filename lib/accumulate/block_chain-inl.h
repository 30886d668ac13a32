// The chains that add terms without rounding, of one SIMD target; block_sum-inl.h has their bounds
// and proofs.
//
// Purpose: included once a target by the units that add blocks: block_sum.cc, and families of
// losses whose items are added as they are computed. Thread-safety: values on registers. Ownership:
// none.

#if defined(LOSSD_LIB_ACCUMULATE_BLOCK_CHAIN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_ACCUMULATE_BLOCK_CHAIN_INL_H_
#undef LOSSD_LIB_ACCUMULATE_BLOCK_CHAIN_INL_H_
#else
#define LOSSD_LIB_ACCUMULATE_BLOCK_CHAIN_INL_H_
#endif

#include <hwy/highway.h>

#include "lib/accumulate/block_plan.h"
#include "lib/accumulate/block_scan-inl.h"
#include "lib/accumulate/block_sum.h"

HWY_BEFORE_NAMESPACE();
namespace lossd {
namespace HWY_NAMESPACE {
using internal::BlockPlan;

// Terms as x * w, unrounded: the fused multiply-adds below never round the product. A plain item
// has w = 1. MulAdd(x, 1, y) is x + y, but runs in the multipliers, which processors with adders of
// their own (AMD's) would else leave idle.
struct Terms {
  V64 x;
  V64 w;
};

// One chain a lane; block_sum-inl.h has its bounds.
template <int kLevels>
struct Chain {
  HWY_INLINE explicit Chain(const BlockPlan& plan)
      : p(hn::Set(F64(), plan.start[0])), q(hn::Set(F64(), plan.start[1])), rest(hn::Zero(F64())) {}

  // kUnitFactor: term.w is 1. kBusyAdders: the terms are widened floats; AMD's processors widen in
  // their adders, which leaves those one operation in four.
  template <bool kUnitFactor, bool kBusyAdders>
  HWY_INLINE void Add(Terms term, V64 one) {
    const V64 t = hn::MulAdd(term.x, term.w, p);
    const V64 high = hn::Sub(t, p);
    p = t;
    V64 low;
    if constexpr (kUnitFactor) {
      low = kBusyAdders ? hn::NegMulAdd(high, one, term.x) : hn::Sub(term.x, high);
    } else {
      low = hn::MulSub(term.x, term.w, high);
    }
    if constexpr (kLevels == 3) {
      const V64 t2 = hn::Add(q, low);
      low = hn::Sub(low, hn::Sub(t2, q));
      q = t2;
    }
    rest = hn::MulAdd(low, one, rest);
  }

  // By additions alone, for where other work fills the multipliers. Two levels.
  HWY_INLINE void AddByAdders(V64 x) {
    static_assert(kLevels == 2);
    const V64 t = hn::Add(p, x);
    rest = hn::Add(rest, hn::Sub(x, hn::Sub(t, p)));
    p = t;
  }

  V64 p;
  V64 q;  // Unused with two levels.
  V64 rest;
};

// Sum of four lanes' worth of partial sums, each less its start: exact by the bounds above.
HWY_INLINE double FoldLess(double start, V64 a, V64 b, V64 c, V64 d) {
  const V64 m = hn::Set(F64(), start);
  const V64 ab = hn::Add(hn::Sub(a, m), hn::Sub(b, m));
  const V64 cd = hn::Add(hn::Sub(c, m), hn::Sub(d, m));
  return Fold(F64(), hn::Add(ab, cd), AddOp());
}

// Four chains cover the latency of the additions that each waits for.
template <int kLevels>
struct FourChains {
  HWY_INLINE explicit FourChains(const BlockPlan& plan) : a(plan), b(plan), c(plan), e(plan) {}

  HWY_INLINE ExactParts Result(const BlockPlan& plan) const {
    ExactParts parts;
    parts.part[0] = FoldLess(plan.start[0], a.p, b.p, c.p, e.p);
    parts.part[1] = FoldLess(0, a.rest, b.rest, c.rest, e.rest);
    if constexpr (kLevels == 3) {
      parts.part[2] = parts.part[1];
      parts.part[1] = FoldLess(plan.start[1], a.q, b.q, c.q, e.q);
    }
    return parts;
  }

  Chain<kLevels> a, b, c, e;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd
HWY_AFTER_NAMESPACE();

#endif
