// exp, log(1 + exp(-|x|)) and log(cosh(x)), f32 by tables of 16 entries that stand in registers:
// see math-inl.h, which says what holds for all of these functions. Beside those of exp-inl.h and
// log-inl.h they take a third fewer multiplications, which is what bounds the losses of a logit.
// f64 has no tables, and goes by the functions of math-inl.h.
//
// They work on several vectors at a time, one operation of all after the other: the chain of one
// vector alone fills the window in which a processor looks for work.
//
// kOrdinary: |x| is below kOrdinaryExp, where no exponential leaves the normal numbers; the bits
// are those of the whole line, and beyond the limit mean nothing.
//
// Thread-safety: pure functions on registers. Ownership: none.
#if defined(LOSSD_LIB_FORMS_TABLE_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_TABLE_MATH_INL_H_
#undef LOSSD_LIB_FORMS_TABLE_MATH_INL_H_
#else
#define LOSSD_LIB_FORMS_TABLE_MATH_INL_H_
#endif

#include <stddef.h>
#include <stdint.h>

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/math_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr float kOrdinaryExp = 87.0f;  // 2^-126 is 87.34

// The entry at the low four bits of `index`.
template <class D, class VI>
HWY_INLINE hn::Vec<D> LookUp(D d, const float (&table)[16], VI index) {
  const hn::RebindToSigned<D> di;
  constexpr size_t kLanes = hn::MaxLanes(d);
  if constexpr (kLanes == 16) {
    const auto low = hn::And(index, hn::Set(di, 15));
    return hn::TableLookupLanes(hn::Load(d, table), hn::IndicesFromVec(d, low));
  } else if constexpr (kLanes == 8) {
    const auto low = hn::IndicesFromVec(d, hn::And(index, hn::Set(di, 7)));
    const auto upper = hn::MaskFromVec(hn::BitCast(d, hn::ShiftLeft<28>(index)));
    return hn::IfThenElse(upper, hn::TableLookupLanes(hn::Load(d, table + 8), low),
                          hn::TableLookupLanes(hn::Load(d, table), low));
  } else {
    return hn::GatherIndex(d, table, hn::And(index, hn::Set(di, 15)));
  }
}

// x = (16 n + j) ln(2)/16 + r with |r| <= ln(2)/32: exp(x) = 2^n 2^(j/16) (1 + q). 16 n + j stands
// in the low bits of `count`.
template <class V, class VI, size_t kCount>
struct StepExp {
  // Written out: an implicit constructor is not compiled for the target.
  HWY_INLINE StepExp() {}
  VI count[kCount];
  V q[kCount];
};

template <class D, class V, size_t kCount>
HWY_INLINE StepExp<V, hn::VFromD<hn::RebindToSigned<D>>, kCount> ReduceStepExp(
    D d, const V (&x)[kCount]) {
  using C = TableConstants;
  const hn::RebindToSigned<D> di;
  const V rounder = hn::Set(d, MathConstants<float>::kRounder);
  StepExp<V, hn::VFromD<hn::RebindToSigned<D>>, kCount> a;
  V n[kCount], r[kCount];
  for (size_t v = 0; v < kCount; ++v) {
    const V rounded = hn::MulAdd(x[v], hn::Set(d, C::kStepsPerNat), rounder);
    a.count[v] = hn::BitCast(di, rounded);
    n[v] = hn::Sub(rounded, rounder);
  }
  for (size_t v = 0; v < kCount; ++v) r[v] = hn::NegMulAdd(n[v], hn::Set(d, C::kStep), x[v]);
  for (size_t v = 0; v < kCount; ++v) r[v] = hn::NegMulAdd(n[v], hn::Set(d, C::kStepRest), r[v]);
  for (size_t v = 0; v < kCount; ++v) {
    const V slope = hn::MulAdd(r[v], hn::Set(d, C::kExpStep[1]), hn::Set(d, C::kExpStep[0]));
    a.q[v] = hn::MulAdd(hn::Mul(r[v], r[v]), slope, r[v]);
  }
  return a;
}

// 2^(count/16), the integer part of count / 16 taken from other bits than the rest: `exponent` is
// 16 n + j in units of 1/16 of an exponent.
template <class D, class VI>
HWY_INLINE hn::Vec<D> StepScale(D d, VI count, VI exponent) {
  const hn::RebindToSigned<D> di;
  const auto entry = hn::BitCast(di, LookUp(d, TableConstants::kExp, count));
  return hn::BitCast(d, hn::Add(entry, hn::ShiftLeft<19>(exponent)));
}

// exp(x). 0.99 ulp; 0.83.
template <bool kOrdinary, class D, class V, size_t kCount>
HWY_INLINE void Exps(D d, const V (&x)[kCount], V (&y)[kCount]) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    for (size_t v = 0; v < kCount; ++v) y[v] = Exp(d, x[v]);
  } else {
    const hn::RebindToSigned<D> di;
    const auto a = ReduceStepExp(d, x);
    for (size_t v = 0; v < kCount; ++v) {
      auto exponent = a.count[v];
      if constexpr (!kOrdinary) {
        // Half of n now, and the rest, which alone may round, at the end.
        exponent = hn::Sub(exponent, hn::BitCast(di, hn::Set(d, MathConstants<float>::kRounder)));
        const auto half = hn::ShiftLeft<4>(hn::ShiftRight<5>(exponent));
        const auto rest = hn::ShiftRight<4>(hn::Sub(exponent, half));
        const V scale = StepScale(d, exponent, hn::Add(half, hn::And(exponent, hn::Set(di, 15))));
        const auto biased = hn::Add(rest, hn::Set(di, MathConstants<float>::kBias));
        const V power = hn::BitCast(d, hn::ShiftLeft<23>(biased));
        y[v] = ExpEnds(d, x[v], hn::Mul(hn::MulAdd(scale, a.q[v], scale), power));
      } else {
        const V scale = StepScale(d, exponent, exponent);
        y[v] = hn::MulAdd(scale, a.q[v], scale);
      }
    }
  }
}

// log(1 + e) for 0 <= e <= 1, f32. With r of the table near 1 / (1 + e), 1 + e = (1 + f) / r and
// f = e r + (r - 1), where r - 1 is exact; the first entry gives f = e and the relative accuracy of
// small ones.
template <class D, class V, size_t kCount>
HWY_INLINE void Log1pOfUnit(D d, const V (&e)[kCount], V (&y)[kCount]) {
  using C = TableConstants;
  const hn::RebindToSigned<D> di;
  V log[kCount], f[kCount], tail[kCount];
  for (size_t v = 0; v < kCount; ++v) {
    const auto index = hn::BitCast(
        di, hn::MulAdd(e[v], hn::Set(d, 15.0f), hn::Set(d, MathConstants<float>::kRounder)));
    const V inverse = LookUp(d, C::kInverse, index);
    log[v] = LookUp(d, C::kLog, index);
    f[v] = hn::MulAdd(e[v], inverse, hn::Sub(inverse, hn::Set(d, 1.0f)));
  }
  for (size_t v = 0; v < kCount; ++v) {
    tail[v] = hn::MulAdd(f[v], hn::Set(d, C::kLogStep[2]), hn::Set(d, C::kLogStep[1]));
  }
  for (size_t v = 0; v < kCount; ++v) {
    tail[v] = hn::MulAdd(f[v], tail[v], hn::Set(d, C::kLogStep[0]));
  }
  for (size_t v = 0; v < kCount; ++v) {
    y[v] = hn::Add(log[v], hn::MulAdd(hn::Mul(f[v], f[v]), tail[v], f[v]));
  }
}

// -|x|, at least -104, where exp rounds to 0; of NaN that.
template <bool kOrdinary, class D, class V>
HWY_INLINE V NegAbs(D d, V x) {
  const hn::RebindToUnsigned<D> du;
  const V t = hn::Or(x, hn::SignBit(d));
  if constexpr (kOrdinary) return t;
  // As integers, the lowest float is the largest.
  return hn::BitCast(d, hn::Min(hn::BitCast(du, t), hn::BitCast(du, hn::Set(d, -104.0f))));
}

// The scale of exp(x) <= 1; unless it is ordinary 2^64 as large, so that only the product with
// 2^-64 rounds to a subnormal.
template <bool kOrdinary, class D, class VI>
HWY_INLINE hn::Vec<D> UnitStepScale(D d, VI count) {
  const hn::RebindToSigned<D> di;
  return StepScale(d, count, kOrdinary ? count : hn::Add(count, hn::Set(di, 64 * 16)));
}
template <bool kOrdinary, class D, class V>
HWY_INLINE V Unlifted(D d, V e) {
  return kOrdinary ? e : hn::Mul(e, hn::Set(d, 0x1p-64f));
}

// exp(-|x|), f32; of NaN 0.
template <bool kOrdinary, class D, class V, size_t kCount>
HWY_INLINE void ExpNegAbs(D d, const V (&x)[kCount], V (&y)[kCount]) {
  V t[kCount];
  for (size_t v = 0; v < kCount; ++v) t[v] = NegAbs<kOrdinary>(d, x[v]);
  const auto a = ReduceStepExp(d, t);
  for (size_t v = 0; v < kCount; ++v) {
    const V scale = UnitStepScale<kOrdinary>(d, a.count[v]);
    y[v] = Unlifted<kOrdinary>(d, hn::MulAdd(scale, a.q[v], scale));
  }
}

// log(1 + exp(-|x|)); its relative accuracy holds down to the subnormals, where it is exp(-|x|).
// 2.03 ulp; 1.65.
template <bool kOrdinary, class D, class V, size_t kCount>
HWY_INLINE void Log1pExpNegAbs(D d, const V (&x)[kCount], V (&y)[kCount]) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    for (size_t v = 0; v < kCount; ++v) y[v] = Log1pExpNeg(d, hn::Abs(x[v]));
  } else {
    V e[kCount];
    ExpNegAbs<kOrdinary>(d, x, e);
    Log1pOfUnit(d, e, y);
    for (size_t v = 0; v < kCount && !kOrdinary; ++v) {
      y[v] = hn::IfThenElse(hn::Eq(x[v], x[v]), y[v], x[v]);
    }
  }
}

// log(cosh(x)), relative accuracy at both ends: x^2/2 at zero, |x| - ln 2 far out. 1.78 ulp; 1.05.
template <class D, class V, size_t kCount>
HWY_INLINE void LogCoshes(D d, const V (&x)[kCount], V (&y)[kCount]) {
  if constexpr (sizeof(hn::TFromD<D>) == 8) {
    for (size_t v = 0; v < kCount; ++v) y[v] = LogCosh(d, x[v]);
  } else {
    using C = MathConstants<float>;
    constexpr size_t kDegree = sizeof(C::kLogCosh) / sizeof(float) - 1;
    const hn::RebindToUnsigned<D> du;
    V a[kCount], t[kCount], log[kCount], z[kCount], near[kCount];
    for (size_t v = 0; v < kCount; ++v) {
      a[v] = hn::Abs(x[v]);
      // Beyond 80 the logarithm no longer counts.
      const auto most = hn::BitCast(du, hn::Set(d, 80.0f));
      t[v] = hn::BitCast(d, hn::Min(hn::BitCast(du, hn::Add(a[v], a[v])), most));
      z[v] = hn::Mul(a[v], a[v]);
      near[v] = hn::Set(d, C::kLogCosh[kDegree]);
    }
    Log1pExpNegAbs<true>(d, t, log);
    for (size_t c = kDegree; c-- > 0;) {
      const V coefficient = hn::Set(d, C::kLogCosh[c]);
      for (size_t v = 0; v < kCount; ++v) near[v] = hn::MulAdd(near[v], z[v], coefficient);
    }
    for (size_t v = 0; v < kCount; ++v) {
      near[v] = hn::Mul(z[v], hn::MulAdd(near[v], z[v], hn::Set(d, 0.5f)));
      const V far = hn::Add(a[v], hn::Sub(log[v], hn::Set(d, C::kLn2)));
      y[v] = hn::IfThenElse(hn::Lt(a[v], hn::Set(d, 1.0f)), near[v], far);
    }
  }
}

// e = exp(-|x|) in two parts, hi + lo within 2^-28, and log(1 + e) within 1.2 ulp, f32.
template <class V, size_t kCount>
struct FineSoftplus {
  HWY_INLINE FineSoftplus() {}  // as that of StepExp
  V hi[kCount], lo[kCount], log[kCount];
};

template <bool kOrdinary, class D, class V, size_t kCount>
HWY_INLINE FineSoftplus<V, kCount> FineLog1pExpNegAbs(D d, const V (&x)[kCount]) {
  using C = TableConstants;
  const hn::RebindToSigned<D> di;
  FineSoftplus<V, kCount> e;
  V f[kCount], tail[kCount];
  for (size_t v = 0; v < kCount; ++v) f[v] = NegAbs<kOrdinary>(d, x[v]);
  const auto a = ReduceStepExp(d, f);
  for (size_t v = 0; v < kCount; ++v) {
    const V scale = UnitStepScale<kOrdinary>(d, a.count[v]);
    const V hi = hn::MulAdd(scale, a.q[v], scale);
    const V rounded_off = hn::MulAdd(scale, a.q[v], hn::Sub(scale, hi));
    const V lo = hn::MulAdd(hi, LookUp(d, C::kExpRest, a.count[v]), rounded_off);
    e.hi[v] = Unlifted<kOrdinary>(d, hi);
    e.lo[v] = Unlifted<kOrdinary>(d, lo);
  }
  for (size_t v = 0; v < kCount; ++v) {
    const auto index = hn::BitCast(
        di, hn::MulAdd(e.hi[v], hn::Set(d, 15.0f), hn::Set(d, MathConstants<float>::kRounder)));
    const V inverse = LookUp(d, C::kInverse, index);
    e.log[v] = LookUp(d, C::kLog, index);
    f[v] = hn::MulAdd(e.hi[v], inverse, hn::Sub(inverse, hn::Set(d, 1.0f)));
    tail[v] = hn::Mul(e.lo[v], inverse);
  }
  for (size_t v = 0; v < kCount; ++v) {
    V slope = hn::MulAdd(f[v], hn::Set(d, C::kLogFine[3]), hn::Set(d, C::kLogFine[2]));
    slope = hn::MulAdd(f[v], slope, hn::Set(d, C::kLogFine[1]));
    slope = hn::MulAdd(f[v], slope, hn::Set(d, C::kLogFine[0]));
    tail[v] = hn::MulAdd(hn::Mul(f[v], f[v]), slope, tail[v]);
  }
  for (size_t v = 0; v < kCount; ++v) {
    e.log[v] = hn::Add(e.log[v], hn::Add(f[v], tail[v]));
    if constexpr (!kOrdinary) e.log[v] = hn::IfThenElse(hn::Eq(x[v], x[v]), e.log[v], x[v]);
  }
  return e;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
