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
#include "lib/forms/exp-inl.h"
#include "lib/forms/log-inl.h"
#include "lib/forms/math_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

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

// 1 / (1 + exp(-x)) as quotient + rest * inverse.
template <class V>
struct SigmoidParts {
  V quotient;
  V rest;
  V inverse;
};

template <class D, class V>
HWY_INLINE SigmoidParts<V> ReduceSigmoid(D d, V x) {
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
  return {quotient, hn::Add(rest, rest_lo), inverse};
}

// 1 / (1 + exp(-x)), relative accuracy on both sides. 0.83 ulp; 0.69.
template <class D, class V>
HWY_INLINE V Sigmoid(D d, V x) {
  const SigmoidParts<V> parts = ReduceSigmoid(d, x);
  return hn::MulAdd(parts.rest, parts.inverse, parts.quotient);
}

// The same in two parts, hi + lo within a third of an ulp.
template <class D, class V>
HWY_INLINE TwoPart<V> SigmoidTwoPart(D d, V x) {
  const SigmoidParts<V> parts = ReduceSigmoid(d, x);
  return {parts.quotient, hn::Mul(parts.rest, parts.inverse)};
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

// atan(y / x) for x >= 0; the sign of zero is kept, 0 / 0 is NaN. Beyond tan(pi/8) the angle pi/4
// is taken off, beyond tan(3 pi/8) pi/2: c + atan t, where t is (y - x) / (y + x) or -x / y, one
// division for all. 2.51 ulp; 1.39, where x is 1.
template <class D, class V>
HWY_INLINE V AtanOfRatio(D d, V y, V x) {
  using T = hn::TFromD<D>;
  using C = MathConstants<T>;
  const V ay = hn::Abs(y);
  const auto beyond_low = hn::Gt(ay, hn::Mul(x, hn::Set(d, T(0.41421356237309503))));  // tan(pi/8)
  const auto beyond_high =
      hn::Gt(ay, hn::Mul(x, hn::Set(d, T(2.4142135623730949))));  // tan(3 pi/8)
  const V n =
      hn::IfThenElse(beyond_high, hn::Neg(x), hn::IfThenElse(beyond_low, hn::Sub(ay, x), ay));
  const V den = hn::IfThenElse(beyond_high, ay, hn::IfThenElse(beyond_low, hn::Add(ay, x), x));
  const V c = hn::IfThenElse(beyond_high, hn::Set(d, C::kHalfPi),
                             hn::IfThenElseZero(beyond_low, hn::Set(d, C::kHalfPi / 2)));
  const V t = hn::Div(n, den);
  const V z = hn::Mul(t, t);
  const V angle = hn::Add(c, hn::MulAdd(hn::Mul(t, z), Polynomial<0>(d, z, C::kAtan), t));
  return hn::Or(angle, hn::And(y, hn::SignBit(d)));
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

// x^y in f64 lanes for a result that is rounded to f32: an ulp of the logarithm times 104 is still
// 2^-46.
template <class D, class V>
HWY_INLINE V PowForF32(D d, V x, V y) {
  return PowEnds(d, x, y, Exp(d, hn::Mul(y, Log(d, x))));
}

// The same of half a vector of f32.
template <class D, class V>
HWY_INLINE hn::VFromD<D> PowWidened(D d, V x, V y) {
  return PowForF32(d, hn::PromoteTo(d, x), hn::PromoteTo(d, y));
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
