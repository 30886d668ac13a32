// exp and expm1 on SIMD vectors, and what else reduces its argument by multiples of ln 2: see
// math-inl.h, which says what holds for all of these functions.
//
// Thread-safety: pure functions on registers. Ownership: none.
#if defined(LOSSD_LIB_FORMS_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_EXP_INL_H_
#undef LOSSD_LIB_FORMS_EXP_INL_H_
#else
#define LOSSD_LIB_FORMS_EXP_INL_H_
#endif

#include <stddef.h>
#include <stdint.h>

#include <limits>

#include "hwy/highway.h"
#include "lib/forms/math_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// A value as the sum of two: hi is the value rounded or nearly so, lo what is left.
template <class V>
struct TwoPart {
  V hi;
  V lo;
};

// c[kFrom] + x c[kFrom + 1] + ... by Horner's rule, one fused multiply-add a coefficient. Recursion
// rather than a loop: -O2 need not unroll a loop, and the coefficients then stay immediate.
template <size_t kFrom, class D, class V, class T, size_t kCount>
HWY_INLINE V Polynomial(D d, V x, const T (&c)[kCount]) {
  if constexpr (kFrom + 1 == kCount) {
    return hn::Set(d, c[kFrom]);
  } else {
    return hn::MulAdd(Polynomial<kFrom + 1>(d, x, c), x, hn::Set(d, c[kFrom]));
  }
}

// x = n ln 2 + r + r_lo with whole n and |r| <= ln(2)/2 (a little more by rounding). n + offset
// stands in the low bits of `count`. Meaningless, but harmless, where |x| is beyond the limits of
// exp: the callers select those away.
template <class D, class V>
struct ExpArgument {
  hn::VFromD<hn::RebindToUnsigned<D>> count;
  V n;
  V remainder;  // x - n kLn2: exact, since both are multiples of an ulp of a number near ln(2)/2
  V r;
};

template <class D, class V>
HWY_INLINE ExpArgument<D, V> ReduceExp(D d, V x, int offset) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const hn::RebindToUnsigned<D> du;
  const V rounder = hn::Set(d, C::kRounder + static_cast<T>(offset));
  const V rounded = hn::MulAdd(x, hn::Set(d, C::kLog2E), rounder);
  const V n = hn::Sub(rounded, rounder);
  const V remainder = hn::NegMulAdd(n, hn::Set(d, C::kLn2), x);
  const V r = hn::NegMulAdd(n, hn::Set(d, C::kLn2Rest), remainder);
  return {hn::BitCast(du, rounded), n, remainder, r};
}

// exp(r) for |r| <= ln(2)/2.
template <class D, class V>
HWY_INLINE V ExpOfRemainder(D d, V r) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const V slope = hn::MulAdd(r, Polynomial<0>(d, r, MathConstants<T>::kExp), one);
  return hn::MulAdd(r, slope, one);
}

// value * 2^n in one rounding, for n + 2 * kBias in the low bits of `count` and -2 kBias < n < 2
// kBias: two factors, of which the first leaves a normal number of the size of 1 to 2^(n/2), so
// only the second rounds.
template <class D, class V, class VU>
HWY_INLINE V ScaleByHalves(D d, V value, VU count) {
  constexpr int kShift = MathConstants<hn::TFromD<D>>::kMantissaBits;
  const VU half = hn::ShiftRight<1>(count);
  const V first = hn::BitCast(d, hn::ShiftLeft<kShift>(half));
  const V second = hn::BitCast(d, hn::ShiftLeft<kShift>(hn::Sub(count, half)));
  return hn::Mul(hn::Mul(value, first), second);
}

// Zero and infinity for an x beyond the limits of exp.
template <class D, class V>
HWY_INLINE V ExpEnds(D d, V x, V y) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V floored = hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, C::kExpLow)), y);
  const V inf = hn::Set(d, std::numeric_limits<T>::infinity());
  return hn::IfThenElse(hn::Gt(x, hn::Set(d, C::kExpHigh)), inf, floored);
}

// exp(x) on the whole line; gradual underflow. 0.90 ulp; 0.85.
template <class D, class V>
HWY_INLINE V Exp(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const ExpArgument<D, V> a = ReduceExp(d, x, 2 * C::kBias);
  return ExpEnds(d, x, ScaleByHalves(d, ExpOfRemainder(d, a.r), a.count));
}

// exp(x) for x <= 0 and -inf, the bits of Exp(x) in fewer operations; gradual underflow. 0.90 ulp;
// 0.85.
template <class D, class V>
HWY_INLINE V ExpNonPositive(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const ExpArgument<D, V> a = ReduceExp(d, x, C::kBias + C::kExpShift);
  const V scale = hn::BitCast(d, hn::ShiftLeft<C::kMantissaBits>(a.count));
  const V y = hn::Mul(hn::Mul(ExpOfRemainder(d, a.r), scale), hn::Set(d, C::kExpUnshift));
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, C::kExpLow)), y);
}

// Arguments that ExpTerms takes: kExpNormalLow < x < 0. One signed comparison of the bits: those of
// negative numbers start at the lowest integer and rise with the magnitude, those of 0, positive
// numbers and NaN are above; -0 does not come out of a difference.
template <class D, class V>
HWY_INLINE hn::Mask<D> IsExpTerm(D d, V x) {
  using T = hn::TFromD<D>;
  const hn::RebindToSigned<D> di;
  const V low = hn::Set(d, MathConstants<T>::kExpNormalLow);
  return hn::RebindMask(d, hn::Lt(hn::BitCast(di, x), hn::BitCast(di, low)));
}

// exp(x) of kCount vectors with kExpNormalLow < x < 0: the terms of a sum whose largest is 1. One
// operation of all vectors after the other, for chains as long as these fill the window in which a
// processor looks for work. f32 goes by a polynomial of one degree less than Exp, and takes x - n
// kLn2 for the remainder: n kLn2Rest is at most 2^-22, and 2^-24 for terms above 1e-14. 4.68 ulp;
// 2.38.
template <class D, class V, size_t kCount>
HWY_INLINE void ExpTerms(D d, const V (&x)[kCount], V (&y)[kCount]) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const hn::RebindToUnsigned<D> du;
  constexpr size_t kDegree = sizeof(C::kExpTerm) / sizeof(T) - 1;
  V rounded[kCount], n[kCount], r[kCount];
  for (size_t k = 0; k < kCount; ++k) {
    rounded[k] = hn::MulAdd(x[k], hn::Set(d, C::kLog2E), hn::Set(d, C::kRounder));
  }
  for (size_t k = 0; k < kCount; ++k) n[k] = hn::Sub(rounded[k], hn::Set(d, C::kRounder));
  for (size_t k = 0; k < kCount; ++k) r[k] = hn::NegMulAdd(n[k], hn::Set(d, C::kLn2), x[k]);
  if constexpr (sizeof(T) == 8) {
    for (size_t k = 0; k < kCount; ++k) r[k] = hn::NegMulAdd(n[k], hn::Set(d, C::kLn2Rest), r[k]);
  }
  for (size_t k = 0; k < kCount; ++k) y[k] = hn::Set(d, C::kExpTerm[kDegree]);
  for (size_t c = kDegree; c-- > 0;) {
    const V coefficient = hn::Set(d, C::kExpTerm[c]);
    for (size_t k = 0; k < kCount; ++k) y[k] = hn::MulAdd(y[k], r[k], coefficient);
  }
  for (size_t k = 0; k < kCount; ++k) y[k] = hn::MulAdd(y[k], r[k], hn::Set(d, T{1}));
  // Times 2^n by its exponent: both are normal numbers.
  for (size_t k = 0; k < kCount; ++k) {
    const auto exponent = hn::ShiftLeft<C::kMantissaBits>(hn::BitCast(du, rounded[k]));
    y[k] = hn::BitCast(d, hn::Add(hn::BitCast(du, y[k]), exponent));
  }
}

// exp(x) for x <= 0 and -inf with the bits of ExpTerms; 0 where that is below the normal numbers.
template <class D, class V>
HWY_INLINE V ExpTermNonPositive(D d, V x) {
  using C = MathConstants<hn::TFromD<D>>;
  const V arguments[1] = {x};
  V terms[1];
  ExpTerms(d, arguments, terms);
  const V y = hn::IfThenElse(hn::Eq(x, x), terms[0], x);
  return hn::IfThenZeroElse(hn::Lt(x, hn::Set(d, C::kExpNormalLow)), y);
}

// exp(x) for x <= 0 in two parts: hi is within 0.9 ulp, hi + lo within a quarter.
template <class D, class V>
HWY_INLINE TwoPart<V> ExpNonPositiveTwoPart(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, T{1});
  const ExpArgument<D, V> a = ReduceExp(d, x, C::kBias + C::kExpShift);
  const V r_lo = hn::NegMulAdd(a.n, hn::Set(d, C::kLn2Rest), hn::Sub(a.remainder, a.r));
  const V slope = hn::MulAdd(a.r, Polynomial<0>(d, a.r, C::kExp), one);
  const V hi = hn::MulAdd(a.r, slope, one);
  // 1 - hi is exact (hi is within [1/2, 2]), so this is what the line above rounded off, plus
  // exp'(r) r_lo.
  const V lo = hn::MulAdd(r_lo, hi, hn::MulAdd(a.r, slope, hn::Sub(one, hi)));
  const V scale = hn::BitCast(d, hn::ShiftLeft<C::kMantissaBits>(a.count));
  const V unshift = hn::Set(d, C::kExpUnshift);
  const auto under = hn::Lt(x, hn::Set(d, C::kExpLow));
  return {hn::IfThenZeroElse(under, hn::Mul(hn::Mul(hi, scale), unshift)),
          hn::IfThenZeroElse(under, hn::Mul(hn::Mul(lo, scale), unshift))};
}

// exp(x) - 1 on the whole line; the sign of zero is kept. 1.03 ulp; 0.92.
template <class D, class V>
HWY_INLINE V Expm1(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  // Clamped by comparison, so that NaN stays; the results at the limits are those beyond.
  const V low = hn::Set(d, C::kExpm1Low), high = hn::Set(d, C::kExpHigh);
  V c = hn::IfThenElse(hn::Lt(x, low), low, x);
  c = hn::IfThenElse(hn::Gt(x, high), high, c);
  const ExpArgument<D, V> a = ReduceExp(d, c, C::kBias - 1);
  const V r_lo = hn::NegMulAdd(a.n, hn::Set(d, C::kLn2Rest), hn::Sub(a.remainder, a.r));
  // expm1(r) = r + tail; with s = 2^(n-1), half the result is (s - 1/2) + s r + s tail. Half, since
  // n may be 128 (1024).
  const V tail =
      hn::MulAdd(hn::Mul(a.r, a.r), Polynomial<0>(d, a.r, C::kExp), hn::MulAdd(r_lo, a.r, r_lo));
  const V s = hn::BitCast(d, hn::ShiftLeft<C::kMantissaBits>(a.count));
  const V half = hn::Set(d, T{0.5});
  const V offset = hn::Sub(s, half);
  const V offset_lo = hn::Sub(hn::Sub(s, offset), half);
  const V sum = hn::MulAdd(s, a.r, offset);
  const V sum_lo = hn::Add(hn::MulAdd(s, a.r, hn::Sub(offset, sum)), offset_lo);
  const V half_result = hn::Add(sum, hn::MulAdd(s, tail, sum_lo));
  const auto tiny = hn::Lt(hn::Abs(x), hn::Set(d, C::kTiny));
  return hn::IfThenElse(tiny, x, hn::Add(half_result, half_result));
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_LIB_FORMS_EXP_INL_H_
