// The regression family: item losses of d = prediction - target.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/regression.cc"
#include <algorithm>
#include <cmath>
#include <limits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/predictions-inl.h"
#include "lib/forms/table_math-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace regression {

// |prediction - target| / 2, for where the difference itself overflows.
template <class D, class V>
HWY_INLINE V HalfMagnitude(D d, V prediction, V target) {
  const V half = hn::Set(d, hn::TFromD<D>(0.5));
  return hn::Abs(hn::Sub(hn::Mul(half, prediction), hn::Mul(half, target)));
}

// `item`, or twice `half_item` where the difference is infinite: it may have overflowed where the
// loss does not.
template <class D, class V>
HWY_INLINE V UnlessOverflown(D d, V difference, V item, V half_item) {
  const V infinity = hn::Set(d, std::numeric_limits<hn::TFromD<D>>::infinity());
  return hn::IfThenElse(hn::Eq(hn::Abs(difference), infinity), hn::Add(half_item, half_item), item);
}

// The slope of |v|: -1, +1, and 0 at 0 and NaN, as torch takes it.
template <class D, class V>
HWY_INLINE V Sign(D d, V v) {
  const V one = hn::Set(d, hn::TFromD<D>(1));
  const V zero = hn::Zero(d);
  const V below = hn::IfThenElseZero(hn::Lt(v, zero), hn::Sub(zero, one));
  return hn::IfThenElse(hn::Gt(v, zero), one, below);
}

template <class T>
struct Mse {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  explicit Mse(const double*) {}
  template <class D, class V>
  V Item(D, V prediction, V target) const {
    const V difference = hn::Sub(prediction, target);
    return hn::Mul(difference, difference);
  }
  template <int kOperand, class D, class V>
  V Gradient(D, V prediction, V target) const {
    const V difference = hn::Sub(prediction, target);
    return hn::Add(difference, difference);
  }
};

template <class T>
struct Mae {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  explicit Mae(const double*) {}
  template <class D, class V>
  V Item(D, V prediction, V target) const {
    return hn::Abs(hn::Sub(prediction, target));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    return Sign(d, hn::Sub(prediction, target));
  }
};

template <class T>
struct MeanBias {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  explicit MeanBias(const double*) {}
  template <class D, class V>
  V Item(D, V prediction, V target) const {
    return hn::Sub(prediction, target);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V, V) const {
    return hn::Set(d, T(1));
  }
};

// beta = 0 takes the linear branch everywhere.
template <class T>
struct SmoothL1 {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  // 1 / beta = scale * inverse, with a power of two near 1 / beta: no product with one of them
  // overflows, or loses digits to underflow, before the loss does.
  T beta, half_beta, scale, inverse;
  explicit SmoothL1(const double* p)
      : beta(static_cast<T>(p[0])), half_beta(static_cast<T>(p[0] / 2)) {
    constexpr int kMost = std::numeric_limits<T>::max_exponent - 2;
    int exponent = 0;
    std::frexp(beta, &exponent);
    exponent = std::clamp(exponent, -kMost, kMost);
    scale = std::ldexp(T(1), -exponent);
    inverse = std::ldexp(T(1), exponent) / beta;
  }
  template <class D, class V>
  V OrdinaryItem(D d, V prediction, V target) const {
    const V magnitude = hn::Abs(hn::Sub(prediction, target));
    const V quadratic = hn::Mul(hn::Mul(magnitude, hn::Set(d, inverse)),
                                hn::Mul(magnitude, hn::Set(d, T(0.5) * scale)));
    const V linear = hn::Sub(magnitude, hn::Set(d, half_beta));
    return hn::IfThenElse(hn::Lt(magnitude, hn::Set(d, beta)), quadratic, linear);
  }
  template <class D, class V>
  V Item(D d, V prediction, V target) const {
    const V half_linear =
        hn::Sub(HalfMagnitude(d, prediction, target), hn::Set(d, T(0.5) * half_beta));
    return UnlessOverflown(d, hn::Sub(prediction, target), OrdinaryItem(d, prediction, target),
                           half_linear);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    const V difference = hn::Sub(prediction, target);
    const auto inner = hn::Lt(hn::Abs(difference), hn::Set(d, beta));
    const V slope = hn::Mul(hn::Mul(difference, hn::Set(d, inverse)), hn::Set(d, scale));
    return hn::IfThenElse(inner, slope, Sign(d, difference));
  }
};

template <class T>
struct Huber {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  T delta, half_delta;
  explicit Huber(const double* p)
      : delta(static_cast<T>(p[0])), half_delta(static_cast<T>(p[0] / 2)) {}
  template <class D, class V>
  V OrdinaryItem(D d, V prediction, V target) const {
    const V magnitude = hn::Abs(hn::Sub(prediction, target));
    const V quadratic = hn::Mul(hn::Mul(hn::Set(d, T(0.5)), magnitude), magnitude);
    const V linear = hn::Mul(hn::Set(d, delta), hn::Sub(magnitude, hn::Set(d, half_delta)));
    return hn::IfThenElse(hn::Le(magnitude, hn::Set(d, delta)), quadratic, linear);
  }
  template <class D, class V>
  V Item(D d, V prediction, V target) const {
    const V half_linear = hn::Mul(hn::Set(d, delta), hn::Sub(HalfMagnitude(d, prediction, target),
                                                             hn::Set(d, T(0.5) * half_delta)));
    return UnlessOverflown(d, hn::Sub(prediction, target), OrdinaryItem(d, prediction, target),
                           half_linear);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    const V difference = hn::Sub(prediction, target);
    const auto inner = hn::Le(hn::Abs(difference), hn::Set(d, delta));
    return hn::IfThenElse(inner, difference, hn::Mul(hn::Set(d, delta), Sign(d, difference)));
  }
};

template <class T>
struct LogCoshLoss {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  static constexpr bool kHeavy = true;
  explicit LogCoshLoss(const double*) {}
  template <bool kOrdinary, class D, class V, size_t kCount>
  HWY_INLINE void Vectors(D d, const V (&predictions)[kCount], const V (&targets)[kCount],
                          V (&items)[kCount]) const {
    V difference[kCount];
    for (size_t v = 0; v < kCount; ++v) difference[v] = hn::Sub(predictions[v], targets[v]);
    LogCoshes(d, difference, items);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    // tanh |d| = -e / (2 + e) with e = exp(-2 |d|) - 1.
    const V difference = hn::Sub(prediction, target);
    const V magnitude = hn::Abs(difference);
    const V e = Expm1(d, hn::Mul(hn::Set(d, T(-2)), magnitude));
    const V slope = hn::Div(hn::Sub(hn::Zero(d), e), hn::Add(hn::Set(d, T(2)), e));
    return hn::IfThenElse(hn::Lt(difference, hn::Zero(d)), hn::Sub(hn::Zero(d), slope), slope);
  }
};

template <class T>
struct Quantile {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  T q, q_minus_one, half_minus_q;
  explicit Quantile(const double* p)
      : q(static_cast<T>(p[0])),
        q_minus_one(static_cast<T>(p[0] - 1)),
        half_minus_q(static_cast<T>(0.5 - p[0])) {}
  template <class D, class V>
  V OrdinaryItem(D d, V prediction, V target) const {
    const V short_by = hn::Sub(target, prediction);
    const auto over = hn::Lt(short_by, hn::Zero(d));
    return hn::Mul(hn::IfThenElse(over, hn::Set(d, q_minus_one), hn::Set(d, q)), short_by);
  }
  template <class D, class V>
  V Item(D d, V prediction, V target) const {
    const V short_by = hn::Sub(target, prediction);
    const V factor =
        hn::IfThenElse(hn::Lt(short_by, hn::Zero(d)), hn::Set(d, q_minus_one), hn::Set(d, q));
    // q 0 or 1 makes one side flat: 0 times an infinite error is the 0 that max() takes.
    const V flat = hn::Zero(d);
    const V half_item = hn::Mul(hn::Abs(factor), HalfMagnitude(d, prediction, target));
    const V item = UnlessOverflown(d, short_by, hn::Mul(factor, short_by), half_item);
    return hn::IfThenElse(hn::And(hn::Eq(factor, flat), hn::Eq(short_by, short_by)), flat, item);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    // At the kink the mean of both sides, as torch.maximum does.
    const V short_by = hn::Sub(target, prediction);
    const V kink =
        hn::IfThenElse(hn::Eq(short_by, hn::Zero(d)), hn::Set(d, half_minus_q), short_by);
    const V above = hn::IfThenElse(hn::Lt(short_by, hn::Zero(d)), hn::Set(d, -q_minus_one), kink);
    return hn::IfThenElse(hn::Gt(short_by, hn::Zero(d)), hn::Set(d, -q), above);
  }
};

template <class T>
struct PoissonNll {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kOnePass = true;
  static constexpr bool kHeavy = true;
  bool log_input, full;
  T eps;
  explicit PoissonNll(const double* p)
      : log_input(p[0] != 0), full(p[1] != 0), eps(static_cast<T>(p[2])) {}
  template <bool kOrdinary, class D, class V, size_t kCount>
  HWY_INLINE void Vectors(D d, const V (&predictions)[kCount], const V (&targets)[kCount],
                          V (&items)[kCount]) const {
    if (log_input) {
      OfLogRates<kOrdinary>(d, predictions, targets, items);
    } else {
      for (size_t v = 0; v < kCount; ++v) {
        const V log_rate = Log(d, hn::Add(predictions[v], hn::Set(d, eps)));
        items[v] = Fit(d, targets[v], log_rate, predictions[v]);
      }
    }
    for (size_t v = 0; v < kCount && full; ++v) items[v] = PlusStirling(d, targets[v], items[v]);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target) const {
    if (log_input) return hn::Sub(Exp(d, prediction), target);
    const V rate = hn::Add(prediction, hn::Set(d, eps));
    return hn::Sub(hn::Set(d, T(1)), MaskedDiv(d, target, rate));
  }

 private:
  template <bool kOrdinary, class D, class V, size_t kCount>
  static HWY_INLINE void OfLogRates(D d, const V (&log_rates)[kCount], const V (&targets)[kCount],
                                    V (&items)[kCount]) {
    V rates[kCount];
    Exps<kOrdinary>(d, log_rates, rates);
    for (size_t v = 0; v < kCount; ++v) {
      if constexpr (kOrdinary) {
        // Out of the range of Exps the item is not finite, and takes the other way.
        const auto ordinary = hn::Lt(hn::Abs(log_rates[v]), hn::Set(d, kOrdinaryExp));
        const V item = hn::NegMulAdd(targets[v], log_rates[v], rates[v]);
        items[v] = hn::IfThenElse(ordinary, item, hn::NaN(d));
      } else {
        items[v] = Fit(d, targets[v], log_rates[v], rates[v]);
      }
    }
  }
  // rate - t log_rate; the rate alone where t is 0: 0 log 0 is 0.
  template <class D, class V>
  static HWY_INLINE V Fit(D d, V target, V log_rate, V rate) {
    const auto nothing = hn::And(hn::Eq(target, hn::Zero(d)), hn::Eq(log_rate, log_rate));
    return hn::IfThenElse(nothing, rate, hn::NegMulAdd(target, log_rate, rate));
  }
  // With t log t - t + log(2 pi t) / 2 where t > 1.
  template <class D, class V>
  static HWY_INLINE V PlusStirling(D d, V target, V item) {
    constexpr T kTwoPi = static_cast<T>(6.283185307179586476925);
    const V log_2_pi_t = Log(d, hn::Mul(hn::Set(d, kTwoPi), target));
    const V stirling =
        hn::MulAdd(hn::Set(d, T(0.5)), log_2_pi_t, hn::MulSub(target, Log(d, target), target));
    return hn::IfThenElse(hn::Gt(target, hn::Set(d, T(1))), hn::Add(item, stirling), item);
  }
};

template <class T>
struct GaussianNll {
  static constexpr int kOperands = 3;
  static constexpr uint32_t kGradients = 0b101;  // of predictions and variance
  T eps, constant;
  explicit GaussianNll(const double* p)
      : eps(static_cast<T>(p[1])),
        constant(static_cast<T>(p[0] != 0 ? 0.918938533204672741780 : 0)) {}  // log(2 pi) / 2
  template <class D, class V>
  V Item(D d, V prediction, V target, V variance) const {
    const V clamped = hn::IfThenElse(hn::Lt(variance, hn::Set(d, eps)), hn::Set(d, eps), variance);
    const V difference = hn::Sub(prediction, target);
    // (d / 2) (d / v): d^2 alone may overflow where the loss does not.
    const V half = hn::Set(d, T(0.5));
    const V half_squares = hn::Mul(hn::Mul(half, difference), hn::Div(difference, clamped));
    const V sum = hn::MulAdd(half, Log(d, clamped), half_squares);
    return hn::Add(sum, hn::Set(d, constant));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V target, V variance) const {
    const V clamped = hn::IfThenElse(hn::Lt(variance, hn::Set(d, eps)), hn::Set(d, eps), variance);
    const V ratio = hn::Div(hn::Sub(prediction, target), clamped);
    if constexpr (kOperand == 0) return ratio;
    // As in torch, the slope at the clamped variance is that of a smaller one too.
    const V inverse = hn::Div(hn::Set(d, T(1)), clamped);
    return hn::Mul(hn::Set(d, T(0.5)), hn::NegMulAdd(ratio, ratio, inverse));
  }
};

constexpr Input kPredictions = {"predictions", ShapeRule::kElements, TypeRule::kFloating,
                                ValueRule::kAny, false};
constexpr Input kTargets = {"targets", ShapeRule::kElements, TypeRule::kTarget, ValueRule::kAny,
                            false};
constexpr Input kVariance = {"variance", ShapeRule::kElements, TypeRule::kFloating,
                             ValueRule::kNonNegative, false};

constexpr Input kPair[] = {kPredictions, kTargets};
constexpr Input kGaussian[] = {kPredictions, kTargets, kVariance};

template <template <class> class Formula>
constexpr Signature kPairSignature[] = {{kPair, ItemKind::kElement, Elementwise<Formula>()}};
constexpr Signature kGaussianSignature[] = {
    {kGaussian, ItemKind::kElement, Elementwise<GaussianNll>()}};

constexpr double kMax = 1.7976931348623157e308;
constexpr Parameter kSmoothL1[] = {
    {"beta", ParameterType::kDouble, 1, 0, kMax, false, "where the loss turns linear; 0 is mae"}};
constexpr Parameter kHuber[] = {
    {"delta", ParameterType::kDouble, 1, 0, kMax, true, "where the loss turns linear"}};
constexpr Parameter kQuantile[] = {
    {"q", ParameterType::kDouble, 0.5, 0, 1, false, "the quantile that the prediction aims at"}};
constexpr Parameter kPoisson[] = {
    {"log_input", ParameterType::kBool, 1, 0, 1, false, "predictions are logarithms of the rate"},
    {"full", ParameterType::kBool, 0, 0, 1, false,
     "add Stirling's approximation of log(t!) where t > 1"},
    {"eps", ParameterType::kDouble, 1e-8, 0, kMax, false,
     "added under the logarithm without log_input"}};
constexpr Parameter kGaussianParameters[] = {
    {"full", ParameterType::kBool, 0, 0, 1, false, "add log(2 pi) / 2"},
    {"eps", ParameterType::kDouble, 1e-6, 0, kMax, true, "smallest variance"}};

constexpr char kFamily[] = "regression";
constexpr LossRow kRows[] = {
    {"mse",
     kFamily,
     "squared error",
     "d^2",
     "torch.nn.functional.mse_loss",
     {},
     kPairSignature<Mse>},
    {"mae",
     kFamily,
     "absolute error",
     "|d|",
     "torch.nn.functional.l1_loss",
     {},
     kPairSignature<Mae>},
    {"mean_bias",
     kFamily,
     "signed error: does the model over- or undershoot",
     "d",
     "definition",
     {},
     kPairSignature<MeanBias>},
    {"smooth_l1", kFamily, "squared near zero, absolute beyond beta",
     "d^2 / (2 beta) if |d| < beta, else |d| - beta / 2", "torch.nn.functional.smooth_l1_loss",
     kSmoothL1, kPairSignature<SmoothL1>},
    {"huber", kFamily, "squared near zero, linear beyond delta",
     "d^2 / 2 if |d| <= delta, else delta (|d| - delta / 2)", "torch.nn.functional.huber_loss",
     kHuber, kPairSignature<Huber>},
    {"log_cosh",
     kFamily,
     "smooth absolute error",
     "log(cosh(d))",
     "definition",
     {},
     kPairSignature<LogCoshLoss>},
    {"quantile", kFamily, "pinball loss of a quantile", "max(q (-d), (q - 1)(-d))",
     "definition (pinball)", kQuantile, kPairSignature<Quantile>},
    {"poisson_nll", kFamily, "negative log-likelihood of counts under a predicted rate",
     "exp(p) - t p; without log_input p - t log(p + eps)", "torch.nn.functional.poisson_nll_loss",
     kPoisson, kPairSignature<PoissonNll>},
    {"gaussian_nll", kFamily, "negative log-likelihood under a predicted mean and variance",
     "(log(max(v, eps)) + d^2 / max(v, eps)) / 2", "torch.nn.functional.gaussian_nll_loss",
     kGaussianParameters, kGaussianSignature},
};

}  // namespace regression

LossTable RegressionTable() { return {HWY_TARGET, regression::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(RegressionTable);
LossTable RegressionTable() { return HWY_DYNAMIC_DISPATCH(RegressionTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
