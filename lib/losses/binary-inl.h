// Predictions of a binary target as they come: logits or probs. Each kind gives -log p and
// -log(1 - p), p, 1 - p, and their slopes.
//
// With logits x, log p = -softplus(-x) and log(1 - p) = -softplus(x), softplus(x) = max(x, 0) +
// log(1 + e^-|x|): every term is at least 0, so nothing cancels. A term whose factor is 0 is 0,
// also where the logarithm is infinite.
//
// Thread-safety: pure functions on registers. Ownership: none.
#if defined(LOSSD_LIB_LOSSES_BINARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_LOSSES_BINARY_INL_H_
#undef LOSSD_LIB_LOSSES_BINARY_INL_H_
#else
#define LOSSD_LIB_LOSSES_BINARY_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/predictions-inl.h"
#include "lib/forms/table_math-inl.h"
#include "lib/losses/descriptor.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace binary {

// -log p and -log(1 - p).
template <class V>
struct NegLogs {
  V positive, negative;
};

// p and 1 - p.
template <class V>
struct Probabilities {
  V positive, negative;
};

// Each kind of prediction gives its logarithms, its probabilities and the slope of
// a (-log p) + b (-log(1 - p)) with respect to the prediction.

// Of a logit.
struct FromLogits {
  template <class D, class V>
  static HWY_INLINE NegLogs<V> Logs(D d, V x) {
    const V zero = hn::Zero(d);
    const V logits[1] = {x};
    V logs[1];
    Log1pExpNegAbs<false>(d, logits, logs);
    const V small = logs[0];
    // Exactly one of max(x, 0) and max(-x, 0) is not 0.
    const V above = hn::IfThenElseZero(hn::Gt(x, zero), x);
    const V below = hn::IfThenElseZero(hn::Lt(x, zero), hn::Sub(zero, x));
    return {hn::Add(below, small), hn::Add(above, small)};
  }
  // a (-log p) + (1 - y) (-log(1 - p)), with a = y times a weight: as (a + 1 - y) log(1 + e^-|x|) +
  // max(x, 0) - x c, c = y where x > 0 and a elsewhere. With a weight of 1 the factor is 1 exactly.
  template <bool kOrdinary, class D, class V>
  static HWY_INLINE V CrossEntropy(D d, V x, V y, V small, V c) {
    const hn::RebindToSigned<D> di;
    const V above = hn::BitCast(d, hn::Max(hn::BitCast(di, x), hn::Zero(di)));
    V large = hn::NegMulAdd(x, c, above);
    if constexpr (!kOrdinary) {
      // The limits at infinity: 0 if the target is met.
      const V factor =
          hn::IfThenElse(hn::Gt(x, hn::Zero(d)), hn::Sub(hn::Set(d, hn::TFromD<D>(1)), y), c);
      const V infinity = hn::Set(d, std::numeric_limits<hn::TFromD<D>>::infinity());
      const V limit = MaskedMul(d, factor, infinity);
      large = hn::IfThenElse(hn::Eq(hn::Abs(x), infinity), limit, large);
    }
    return hn::Add(large, small);
  }
  // Both from one exponential; 2.5 ulp.
  template <class D, class V>
  static HWY_INLINE Probabilities<V> Both(D d, V x) {
    const V one = hn::Set(d, hn::TFromD<D>(1));
    const V e = ExpNonPositive(d, hn::Neg(hn::Abs(x)));
    const V larger = hn::Div(one, hn::Add(one, e));
    const V smaller = hn::Mul(e, larger);
    const auto above = hn::Gt(x, hn::Zero(d));
    return {hn::IfThenElse(above, larger, smaller), hn::IfThenElse(above, smaller, larger)};
  }
  // p and 1 - p, each in two parts.
  template <class D, class V>
  static HWY_INLINE Probabilities<TwoPart<V>> BothTwoPart(D d, V x) {
    return {SigmoidTwoPart(d, x), SigmoidTwoPart(d, hn::Neg(x))};
  }
  // dp / dx.
  template <class D, class V>
  static HWY_INLINE V Rate(D, const Probabilities<V>& p) {
    return hn::Mul(p.positive, p.negative);
  }
  template <class D, class V>
  static HWY_INLINE V Slope(D d, V x, V a, V b) {
    const Probabilities<V> p = Both(d, x);
    return hn::MulSub(b, p.positive, hn::Mul(a, p.negative));
  }
};

// Of a probability, as it is.
struct FromProbs {
  template <class D, class V>
  static HWY_INLINE NegLogs<V> Logs(D d, V p) {
    const V zero = hn::Zero(d);
    return {hn::Sub(zero, Log(d, p)), hn::Sub(zero, Log1p(d, hn::Sub(zero, p)))};
  }
  template <class D, class V>
  static HWY_INLINE V Complement(D d, V p) {
    using T = hn::TFromD<D>;
    return hn::Sub(hn::Set(d, T(1)), p);
  }
  template <class D, class V>
  static HWY_INLINE Probabilities<V> Both(D d, V p) {
    return {p, Complement(d, p)};
  }
  template <class D, class V>
  static HWY_INLINE Probabilities<TwoPart<V>> BothTwoPart(D d, V p) {
    const V one = hn::Set(d, hn::TFromD<D>(1));
    const V rest = hn::Sub(one, p);
    return {{p, hn::Zero(d)}, {rest, hn::Sub(hn::Sub(one, rest), p)}};
  }
  template <class D, class V>
  static HWY_INLINE V Rate(D d, const Probabilities<V>&) {
    return hn::Set(d, hn::TFromD<D>(1));
  }
  template <class D, class V>
  static HWY_INLINE V Slope(D d, V p, V a, V b) {
    return hn::Sub(MaskedDiv(d, b, Complement(d, p)), MaskedDiv(d, a, p));
  }
};

// Of a probability, the logarithms clamped at -100 as torch does.
struct FromClampedProbs : FromProbs {
  template <class D, class V>
  static HWY_INLINE NegLogs<V> Logs(D d, V p) {
    using T = hn::TFromD<D>;
    const V limit = hn::Set(d, T(100));
    const NegLogs<V> logs = FromProbs::Logs(d, p);
    return {hn::IfThenElse(hn::Gt(logs.positive, limit), limit, logs.positive),
            hn::IfThenElse(hn::Gt(logs.negative, limit), limit, logs.negative)};
  }
  // (p - y) / (p (1 - p)) for a = y and b = 1 - y, the divisor at least 1e-12 as in torch, where it
  // is a float for every type.
  template <class D, class V>
  static HWY_INLINE V Slope(D d, V p, V a, V b) {
    const V least = hn::Set(d, hn::TFromD<D>(1e-12f));
    const V rest = Complement(d, p);
    const V product = hn::Mul(p, rest);
    const V divisor = hn::IfThenElse(hn::Lt(product, least), least, product);
    return hn::Div(hn::MulSub(b, p, hn::Mul(a, rest)), divisor);
  }
};

constexpr ShapeRule kElements = ShapeRule::kElements;
constexpr Input kLogits = {"logits", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kProbs = {"probs", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kTargets = {"targets", kElements, TypeRule::kTarget, ValueRule::kUnitInterval,
                            false};

constexpr Input kLogitsTargets[] = {kLogits, kTargets};
constexpr Input kProbsTargets[] = {kProbs, kTargets};

constexpr char kFamily[] = "binary";
constexpr double kMax = 1.7976931348623157e308;

}  // namespace binary
}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
