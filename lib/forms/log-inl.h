// log and log1p on SIMD vectors: see math-inl.h, which says what holds for all of these functions.
//
// Thread-safety: pure functions on registers. Ownership: none.
#if defined(LOSSD_LIB_FORMS_LOG_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_LOG_INL_H_
#undef LOSSD_LIB_FORMS_LOG_INL_H_
#else
#define LOSSD_LIB_FORMS_LOG_INL_H_
#endif

#include <stddef.h>
#include <stdint.h>

#include <limits>

#include "hwy/highway.h"
#include "lib/forms/exp-inl.h"
#include "lib/forms/math_constants.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

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

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // LOSSD_LIB_FORMS_LOG_INL_H_
