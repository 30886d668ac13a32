// The library's own exp, log and their kin on SIMD vectors, f32 and f64: the elementary functions
// of every loss.
//
// Each function does the same IEEE operations in the same order on every target and compiler, so
// its bits are equal on AVX2, AVX-512 and NEON: explicit fused multiply-adds only, selection by
// comparison in place of Min and Max, rounding to an integer by a magic number in place of
// ConvertTo. Build with -ffp-contract=off, round to nearest, no flush to zero. The whole domain is
// covered: infinities, signed zeros, subnormal arguments and results; NaN gives NaN of any payload,
// which the caller makes canonical. No result overflows or underflows before the true value does.
// Each function quotes the largest error in ulps (f32; f64) that was seen, f64 against MPFR on
// 250,000 points, f32 against f64 on 12 million; math_test.cc asserts a little more.
//
// Thread-safety: pure functions on registers. Ownership: none.

#if defined(LOSSD_LIB_FORMS_MATH_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_MATH_INL_H_
#undef LOSSD_LIB_FORMS_MATH_INL_H_
#else
#define LOSSD_LIB_FORMS_MATH_INL_H_
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

// ---- exp

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

// ---- log

// log(1 + f) - f: with s = f / (2 + f), 1 + f = (1 + s) / (1 - s) and 2 s = f - (f^2/2) (1 - s), so
// a short polynomial in s^2 does for a division; in f alone f64 would take degree 19.
template <class D, class V, size_t kCount>
HWY_INLINE V Log1pTailByQuotient(D d, V f, const double (&c)[kCount]) {
  const V s = hn::Div(f, hn::Add(hn::Set(d, 2.0), f));
  const V z = hn::Mul(s, s);
  const V h = hn::Mul(hn::Mul(f, f), hn::Set(d, 0.5));
  return hn::MulSub(s, hn::MulAdd(z, Polynomial<0>(d, z, c), h), h);
}

// log(1 + f) - f for -1/4 <= f <= 1/2.
template <class D, class V>
HWY_INLINE V Log1pTail(D d, V f) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  if constexpr (sizeof(T) == 4) {
    return hn::Mul(hn::Mul(f, f), Polynomial<0>(d, f, C::kLog));
  } else {
    return Log1pTailByQuotient(d, f, C::kLog);
  }
}

// e ln 2 + log(1 + f): the sum e ln 2 + f in two parts, the small terms gathered behind it.
template <class D, class V>
HWY_INLINE V LogOfParts(D d, V e, V f) {
  using C = MathConstants<hn::TFromD<D>>;
  const V whole = hn::Mul(e, hn::Set(d, C::kLn2Short));
  const V sum = hn::Add(whole, f);
  const V rounded_off = hn::Sub(f, hn::Sub(sum, whole));
  const V small = hn::MulAdd(e, hn::Set(d, C::kLn2ShortRest), Log1pTail(d, f));
  return hn::Add(sum, hn::Add(small, rounded_off));
}

// u = 2^e (1 + f) with -1/4 <= f < 1/2, for a positive normal u. 3/4 rather than sqrt(1/2), so that
// log1p can form its f exactly. `exponent_bits` is the biased e in its place in a floating-point
// number.
template <class D, class V>
struct LogArgument {
  hn::VFromD<hn::RebindToUnsigned<D>> exponent_bits;
  V e;
};

template <class D, class V>
HWY_INLINE LogArgument<D, V> ReduceLog(D d, V u) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  using U = hwy::MakeUnsigned<T>;
  const hn::RebindToUnsigned<D> du;
  // Adding the distance of 3/4 from 1 carries into the exponent from 1.5 on.
  const auto bits = hn::Add(hn::BitCast(du, u), hn::Set(du, U{1} << (C::kMantissaBits - 1)));
  const auto biased = hn::ShiftRight<C::kMantissaBits>(bits);
  // The integer in the low bits of 2^23 (2^52), less that and the bias.
  const T two_to_mantissa = static_cast<T>(U{1} << C::kMantissaBits);
  const auto magic = hn::BitCast(du, hn::Set(d, two_to_mantissa));
  const V e = hn::Sub(hn::BitCast(d, hn::Or(biased, magic)),
                      hn::Set(d, two_to_mantissa + static_cast<T>(C::kBias)));
  return {hn::ShiftLeft<C::kMantissaBits>(biased), e};
}

// f of ReduceLog.
template <class D, class V>
HWY_INLINE V LogFraction(D d, V u, const LogArgument<D, V>& a) {
  using T = hn::TFromD<D>;
  const hn::RebindToUnsigned<D> du;
  const V one = hn::Set(d, T{1});
  const auto bits = hn::Add(hn::Sub(hn::BitCast(du, u), a.exponent_bits), hn::BitCast(du, one));
  return hn::Sub(hn::BitCast(d, bits), one);
}

// Puts in the ends of a logarithm's domain, by its argument: NaN below zero, -inf at zero; +inf and
// NaN map to themselves.
template <class D, class V>
HWY_INLINE V LogEnds(D d, V argument, V result) {
  using T = hn::TFromD<D>;
  const V inf = hn::Set(d, std::numeric_limits<T>::infinity());
  const V zero = hn::Zero(d);
  V y = hn::IfThenElse(hn::Lt(argument, inf), result, argument);
  y = hn::IfThenElse(hn::Eq(argument, zero), hn::Neg(inf), y);
  return hn::IfThenElse(hn::Lt(argument, zero), hn::Set(d, std::numeric_limits<T>::quiet_NaN()), y);
}

// x = 2^e (1 + f) for any positive finite x: subnormals are lifted into the normal range first.
template <class D, class V>
struct LiftedLog {
  V e;
  V f;
};

template <class D, class V>
HWY_INLINE LiftedLog<D, V> LiftAndReduceLog(D d, V x) {
  using T = hn::TFromD<D>;
  constexpr int kMantissaBits = MathConstants<T>::kMantissaBits;
  const auto subnormal = hn::Lt(x, hn::Set(d, std::numeric_limits<T>::min()));
  const T lift = static_cast<T>(hwy::MakeUnsigned<T>{1} << kMantissaBits);
  const V u = hn::IfThenElse(subnormal, hn::Mul(x, hn::Set(d, lift)), x);
  const LogArgument<D, V> a = ReduceLog(d, u);
  const V lifted_by = hn::IfThenElseZero(subnormal, hn::Set(d, static_cast<T>(kMantissaBits)));
  return {hn::Sub(a.e, lifted_by), LogFraction(d, u, a)};
}

// log(x): NaN below zero, -inf at either zero. 0.93 ulp; 0.83.
template <class D, class V>
HWY_INLINE V Log(D d, V x) {
  const LiftedLog<D, V> u = LiftAndReduceLog(d, x);
  return LogEnds(d, x, LogOfParts(d, u.e, u.f));
}

// log(1 + x): NaN below -1, -inf at -1; the sign of zero is kept. 0.94 ulp; 0.81.
template <class D, class V>
HWY_INLINE V Log1p(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  using U = hwy::MakeUnsigned<T>;
  const hn::RebindToUnsigned<D> du;
  const V u = hn::Add(x, hn::Set(d, T{1}));
  const LogArgument<D, V> a = ReduceLog(d, u);
  // (1 + x) 2^-e - 1 = (x/4) s + (s/4 - 1), s = 2^(2 - e): with e decided at 3/4 every term and the
  // sum are exact, up to e of 24 (53), where s no longer matters. The 4 keeps s a normal number at
  // the largest x.
  const V s = hn::BitCast(
      d, hn::Sub(hn::Set(du, U{2 * C::kBias + 2} << C::kMantissaBits), a.exponent_bits));
  const V quarter = hn::Set(d, T{0.25});
  const V f = hn::MulAdd(hn::Mul(x, quarter), s, hn::MulSub(s, quarter, hn::Set(d, T{1})));
  const V y = LogEnds(d, u, LogOfParts(d, a.e, f));
  return hn::IfThenElse(hn::Lt(hn::Abs(x), hn::Set(d, C::kTiny)), x, y);
}

// ---- exp and log together

// (log(1 + v) - v) / v for 0 <= v <= 1, in one piece: the singularity at -1 is as far from [0, 1]
// as from [3/4, 3/2], so it needs no reduction and little more of a polynomial.
template <class D, class V>
HWY_INLINE V Log1pSlopeOfUnit(D d, V v) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V half = hn::Set(d, T{0.5});
  if constexpr (sizeof(T) == 4) {
    // In v - 1/2, where the coefficients fall by 1/3 each; in v they alternate and nearly cancel
    // at 1.
    return hn::Mul(v, Polynomial<0>(d, hn::Sub(v, half), C::kLogUnit));
  } else {
    // As Log1pTail, divided by v.
    const V inverse = hn::Div(hn::Set(d, T{1}), hn::Add(hn::Set(d, T{2}), v));
    const V s = hn::Mul(v, inverse);
    const V h = hn::Mul(v, half);
    const V rest = Polynomial<0>(d, hn::Mul(s, s), C::kLogUnit);
    return hn::MulSub(s, hn::MulAdd(hn::Mul(s, inverse), rest, h), h);
  }
}

// log(1 + exp(-t)) for t >= 0 and +inf; its relative accuracy holds down to the subnormals, where
// it is exp(-t). 1.75 ulp; 1.65: the error of exp(-t) counts double where the result is just below
// a power of two and exp(-t) above. Carrying what exp(-t) rounds off would give 1.0; 0.82, and take
// 1.7 times as long.
template <class D, class V>
HWY_INLINE V Log1pExpNeg(D d, V t) {
  const V e = ExpNonPositive(d, hn::Neg(t));
  return hn::MulAdd(e, Log1pSlopeOfUnit(d, e), e);
}

// log(1 + exp(x)) on the whole line: max(x, 0) + Log1pExpNeg(|x|), the small correction added to x
// first. 1.82 ulp; 1.65.
template <class D, class V>
HWY_INLINE V Softplus(D d, V x) {
  const V positive = hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x);
  const V e = ExpNonPositive(d, hn::Or(x, hn::SignBit(d)));
  return hn::Add(hn::MulAdd(e, Log1pSlopeOfUnit(d, e), positive), e);
}

// 1 / (1 + exp(-x)), relative accuracy on both sides. 0.83 ulp; 0.69.
template <class D, class V>
HWY_INLINE V Sigmoid(D d, V x) {
  using T = hn::TFromD<D>;
  const V one = hn::Set(d, T{1});
  const TwoPart<V> v = ExpNonPositiveTwoPart(d, hn::Neg(hn::Abs(x)));
  // (x < 0 ? v : 1) / (1 + v), the denominator and the quotient each with a correction.
  const auto negative = hn::Lt(x, hn::Zero(d));
  const V numerator = hn::IfThenElse(negative, v.hi, one);
  const V numerator_lo = hn::IfThenElseZero(negative, v.lo);
  const V denominator = hn::Add(one, v.hi);
  const V denominator_lo = hn::Add(hn::Sub(v.hi, hn::Sub(denominator, one)), v.lo);
  const V inverse = hn::Div(one, denominator);
  const V quotient = hn::Mul(numerator, inverse);
  const V rest = hn::NegMulAdd(quotient, denominator, numerator);
  const V rest_lo = hn::NegMulAdd(quotient, denominator_lo, numerator_lo);
  return hn::MulAdd(hn::Add(rest, rest_lo), inverse, quotient);
}

// log(cosh(x)), relative accuracy at both ends: x^2/2 at zero, |x| - ln 2 far out. 1.06 ulp; 1.05.
template <class D, class V>
HWY_INLINE V LogCosh(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V ax = hn::Abs(x);
  // |x| < 1: x^2/2 in two parts plus x^4 p(x^2).
  const V half_x = hn::Mul(ax, hn::Set(d, T{0.5}));
  const V h = hn::Mul(half_x, ax);
  const V h_lo = hn::MulSub(half_x, ax, h);
  const V z = hn::Mul(ax, ax);
  const V near = hn::Add(h, hn::MulAdd(hn::Mul(z, z), Polynomial<0>(d, z, C::kLogCosh), h_lo));
  // Else |x| - ln 2 + log(1 + exp(-2 |x|)), the difference in two parts.
  const V l = Log1pExpNeg(d, hn::Add(ax, ax));
  const V ln2 = hn::Set(d, C::kLn2);
  const V difference = hn::Sub(ax, ln2);
  const V rounded_off = hn::Sub(hn::Sub(ax, difference), ln2);
  const V far = hn::Add(difference, hn::Add(l, hn::Sub(rounded_off, hn::Set(d, C::kLn2Rest))));
  const V y = hn::IfThenElse(hn::Lt(ax, hn::Set(d, T{1})), near, far);
  return hn::IfThenElse(hn::Lt(ax, hn::Set(d, C::kLogCoshHigh)), y, ax);
}

// ---- atan

// atan(x) on the whole line; the sign of zero is kept. Beyond tan(pi/8) the angle pi/4 is taken
// off, beyond tan(3 pi/8) pi/2: atan |x| = c + atan t, t = n / d, one division for all. 0.80 ulp;
// 0.61.
template <class D, class V>
HWY_INLINE V Atan(D d, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V one = hn::Set(d, T{1});
  const V ax = hn::Abs(x);
  const auto beyond_low = hn::Gt(ax, hn::Set(d, T(0.41421356237309503)));  // tan(pi/8)
  const auto beyond_high = hn::Gt(ax, hn::Set(d, T(2.4142135623730949)));  // tan(3 pi/8)
  const V sum = hn::Add(ax, one);
  const V middle_n = hn::Sub(ax, one);
  const V n =
      hn::IfThenElse(beyond_high, hn::Set(d, T{-1}), hn::IfThenElse(beyond_low, middle_n, ax));
  const V den = hn::IfThenElse(beyond_high, ax, hn::IfThenElse(beyond_low, sum, one));
  const V t = hn::Div(n, den);
  // What the roundings of ax + 1, ax - 1 and the quotient lost. Infinite ax makes it NaN, and needs
  // none.
  const auto middle = hn::AndNot(beyond_high, beyond_low);
  const V den_lo = hn::IfThenElseZero(middle, hn::Sub(ax, hn::Sub(sum, one)));
  const V n_lo = hn::IfThenElseZero(middle, hn::Sub(ax, hn::Add(middle_n, one)));
  const V lost = hn::Add(hn::NegMulAdd(t, den, n), hn::NegMulAdd(t, den_lo, n_lo));
  const V t_lo = hn::IfThenElseZero(hn::Lt(ax, hn::Set(d, C::kAtanHigh)), hn::Div(lost, den));
  const V c = hn::IfThenElse(beyond_high, hn::Set(d, C::kHalfPi),
                             hn::IfThenElseZero(middle, hn::Set(d, C::kHalfPi / 2)));
  const V c_lo = hn::IfThenElse(beyond_high, hn::Set(d, C::kHalfPiRest),
                                hn::IfThenElseZero(middle, hn::Set(d, C::kHalfPiRest / 2)));
  const V z = hn::Mul(t, t);
  const V tail = hn::MulAdd(hn::Mul(t, z), Polynomial<0>(d, z, C::kAtan), hn::Add(t_lo, c_lo));
  const V rounded = hn::Add(c, t);
  const V y = hn::Add(rounded, hn::Add(hn::Sub(t, hn::Sub(rounded, c)), tail));
  return hn::Or(y, hn::And(x, hn::SignBit(d)));
}

// ---- pow

// log(x) for a positive finite f64 in two parts, relative error 2^-63 or so: a power multiplies it
// by up to 745 before the exponential looks at its absolute error.
template <class D, class V>
HWY_INLINE TwoPart<V> LogTwoPart(D d, V x) {
  using C = MathConstants<double>;
  const LiftedLog<D, V> u = LiftAndReduceLog(d, x);
  // s = f / (2 + f), z = s^2 and so on, each with what its rounding lost.
  const V two = hn::Set(d, 2.0);
  const V denominator = hn::Add(two, u.f);
  const V denominator_lo = hn::Sub(u.f, hn::Sub(denominator, two));
  const V inverse = hn::Div(hn::Set(d, 1.0), denominator);
  const V s = hn::Mul(u.f, inverse);
  const V rest = hn::NegMulAdd(s, denominator_lo, hn::NegMulAdd(s, denominator, u.f));
  const V s_lo = hn::Mul(rest, inverse);
  const V z = hn::Mul(s, s);
  const V z_lo = hn::MulAdd(hn::Add(s, s), s_lo, hn::MulSub(s, s, z));
  // c = 2/3 + z p(z); log(1 + f) = 2 s + s z c.
  const V q = hn::Mul(z, Polynomial<0>(d, z, C::kLogLong));
  const V two_thirds = hn::Set(d, C::kTwoThirds);
  const V c = hn::Add(two_thirds, q);
  const V c_lo =
      hn::MulAdd(z_lo, hn::Set(d, C::kLogLong[0]),
                 hn::Add(hn::Sub(q, hn::Sub(c, two_thirds)), hn::Set(d, C::kTwoThirdsRest)));
  const V cube = hn::Mul(s, z);
  const V cube_lo = hn::MulAdd(z, s_lo, hn::MulAdd(s, z_lo, hn::MulSub(s, z, cube)));
  const V w = hn::Mul(cube, c);
  const V w_lo = hn::MulAdd(cube, c_lo, hn::MulAdd(cube_lo, c, hn::MulSub(cube, c, w)));
  const V twice = hn::Add(s, s);
  const V fraction = hn::Add(twice, w);
  const V fraction_lo =
      hn::Add(hn::Sub(w, hn::Sub(fraction, twice)), hn::Add(hn::Add(s_lo, s_lo), w_lo));
  const V whole = hn::Mul(u.e, hn::Set(d, C::kLn2Short));
  const V sum = hn::Add(whole, fraction);
  const V sum_lo = hn::Add(hn::Sub(fraction, hn::Sub(sum, whole)),
                           hn::MulAdd(u.e, hn::Set(d, C::kLn2ShortRest), fraction_lo));
  const V hi = hn::Add(sum, sum_lo);
  return {hi, hn::Sub(sum_lo, hn::Sub(hi, sum))};
}

// x^y in f64 before the special cases: x positive and finite, y finite.
template <class D, class V>
HWY_INLINE V PowOfPositive(D d, V x, V y) {
  using C = MathConstants<double>;
  const TwoPart<V> l = LogTwoPart(d, x);
  const V p = hn::Mul(y, l.hi);
  // Far beyond the limits of exp p may be infinite and its rest NaN.
  const auto near = hn::Lt(hn::Abs(p), hn::Set(d, 1024.0));
  const V p_lo = hn::IfThenElseZero(near, hn::MulAdd(y, l.lo, hn::MulSub(y, l.hi, p)));
  const ExpArgument<D, V> a = ReduceExp(d, p, 2 * C::kBias);
  const V r = hn::Add(a.remainder, hn::NegMulAdd(a.n, hn::Set(d, C::kLn2Rest), p_lo));
  return ExpEnds(d, p, ScaleByHalves(d, ExpOfRemainder(d, r), a.count));
}

// Puts in the special cases of x^y, in f64 lanes.
template <class D, class V>
HWY_INLINE V PowEnds(D d, V x, V y, V result) {
  const V zero = hn::Zero(d), one = hn::Set(d, 1.0);
  const V inf = hn::Set(d, std::numeric_limits<double>::infinity());
  const auto falling = hn::Lt(y, zero);
  V z = hn::IfThenElse(hn::Eq(x, zero), hn::IfThenElseZero(falling, inf), result);
  z = hn::IfThenElse(hn::Eq(x, inf), hn::IfThenZeroElse(falling, inf), z);
  z = hn::IfThenElse(hn::Eq(y, one), x, z);
  z = hn::IfThenElse(hn::Eq(y, zero), one, z);
  z = hn::IfThenElse(hn::Eq(x, x), z, x);  // NaN
  return hn::IfThenElse(hn::Lt(x, zero), hn::Set(d, std::numeric_limits<double>::quiet_NaN()), z);
}

// x^y of half a vector of f32, in f64 lanes: there an ulp of the logarithm times 104 is still
// 2^-46.
template <class D, class V>
HWY_INLINE hn::VFromD<D> PowWidened(D d, V x, V y) {
  using VD = hn::VFromD<D>;
  const VD wide_x = hn::PromoteTo(d, x);
  const VD wide_y = hn::PromoteTo(d, y);
  return PowEnds(d, wide_x, wide_y, Exp(d, hn::Mul(wide_y, Log(d, wide_x))));
}

// x^y for x >= 0 and any finite y. Exact at x of 0, 1 and inf and at y = 0 (1, also for x of 0) and
// 1; NaN for x < 0 and for x NaN, also at y = 0. 0.501 ulp; 0.88.
template <class D, class V>
HWY_INLINE V Pow(D d, V x, V y) {
  if constexpr (sizeof(hn::TFromD<D>) == 4) {
    const hn::RepartitionToWide<D> wide;
    const hn::Half<D> half;
    const auto low = PowWidened(wide, hn::LowerHalf(half, x), hn::LowerHalf(half, y));
    const auto high = PowWidened(wide, hn::UpperHalf(half, x), hn::UpperHalf(half, y));
    return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
  } else {
    return PowEnds(d, x, y, PowOfPositive(d, x, y));
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_LIB_FORMS_MATH_INL_H_
