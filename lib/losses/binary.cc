// Cross-entropies of a binary target. focal stands in focal.cc, the margin losses in hinge.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/binary.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/losses/binary-inl.h"
#include "lib/losses/families.h"

#ifndef LOSSD_LIB_LOSSES_BINARY_REPORTS_
#define LOSSD_LIB_LOSSES_BINARY_REPORTS_
namespace lossd::binary {

// The report of balanced_binary_cross_entropy with beta unset, and the beta that it stands for.
bool BetaIsUnset(const double* parameters);
double ReportBalanced(const LossSums& sums, bool mean);
void ResolveBeta(const LossSums& sums, double* parameters);

}  // namespace lossd::binary
#endif

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace binary {

template <class T, class Prediction>
struct BinaryCrossEntropy {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  T scale;
  explicit BinaryCrossEntropy(const double* p) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V sum = hn::Add(MaskedMul(d, y, logs.positive), MaskedMul(d, rest, logs.negative));
    return hn::Mul(sum, hn::Set(d, scale));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    return hn::Mul(Prediction::Slope(d, prediction, y, rest), hn::Set(d, scale));
  }
};
template <class T>
using BceProbs = BinaryCrossEntropy<T, FromClampedProbs>;

// With the optional pos_weight, which is 1 where it was not given.
template <class T>
struct BceLogits {
  static constexpr int kOperands = 3;
  static constexpr uint32_t kGradients = 1;
  T scale;
  explicit BceLogits(const double* p) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y, V pos_weight) const {
    const V logits[1] = {prediction};
    V small[1];
    Log1pExpNegAbs<false>(d, logits, small);
    const V weighted = hn::Mul(y, pos_weight);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V c = hn::IfThenElse(hn::Gt(prediction, hn::Zero(d)), y, weighted);
    const V of_both = MaskedMul(d, hn::Add(weighted, rest), small[0]);
    const V item = FromLogits::CrossEntropy<false>(d, prediction, y, of_both, c);
    return hn::Mul(item, hn::Set(d, scale));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y, V pos_weight) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V slope = FromLogits::Slope(d, prediction, hn::Mul(y, pos_weight), rest);
    return hn::Mul(slope, hn::Set(d, scale));
  }
};

// The same without it.
template <class T>
struct UnweightedBceLogits {
  static constexpr int kOperands = 2;
  static constexpr bool kOnePass = true;
  static constexpr bool kHeavy = true;
  static constexpr float kOrdinaryPrediction = kOrdinaryExp;
  T scale;
  explicit UnweightedBceLogits(const double* p) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  template <bool kOrdinary, class D, class V, size_t kCount>
  HWY_INLINE void Vectors(D d, const V (&logits)[kCount], const V (&y)[kCount],
                          V (&items)[kCount]) const {
    V small[kCount];
    Log1pExpNegAbs<kOrdinary>(d, logits, small);
    for (size_t v = 0; v < kCount; ++v) {
      items[v] = FromLogits::CrossEntropy<kOrdinary>(d, logits[v], y[v], small[v], y[v]);
    }
    for (size_t v = 0; v < kCount && scale != T(1); ++v) {
      items[v] = hn::Mul(items[v], hn::Set(d, scale));
    }
  }
};

template <class T, class Prediction>
struct Weighted {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  T weight, scale;
  explicit Weighted(const double* p)
      : weight(static_cast<T>(p[0])), scale(static_cast<T>(UnitsPerNat(p[1]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V positive = MaskedMul(d, hn::Mul(y, hn::Set(d, weight)), logs.positive);
    return hn::Mul(hn::Add(positive, MaskedMul(d, rest, logs.negative)), hn::Set(d, scale));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V slope = Prediction::Slope(d, prediction, hn::Mul(y, hn::Set(d, weight)), rest);
    return hn::Mul(slope, hn::Set(d, scale));
  }
};
template <class T>
using WeightedLogits = Weighted<T, FromLogits>;
template <class T>
using WeightedProbs = Weighted<T, FromProbs>;

// beta given, or resolved from the sums.
template <class T, class Prediction>
struct Balanced {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  T beta, rest_of_beta, scale;
  explicit Balanced(const double* p)
      : beta(static_cast<T>(p[0])),
        rest_of_beta(static_cast<T>(1 - p[0])),
        scale(static_cast<T>(UnitsPerNat(p[1]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V positive = MaskedMul(d, hn::Mul(y, hn::Set(d, beta)), logs.positive);
    const V negative = MaskedMul(d, hn::Mul(rest, hn::Set(d, rest_of_beta)), logs.negative);
    return hn::Mul(hn::Add(positive, negative), hn::Set(d, scale));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V positive = hn::Mul(y, hn::Set(d, beta));
    const V negative = hn::Mul(rest, hn::Set(d, rest_of_beta));
    return hn::Mul(Prediction::Slope(d, prediction, positive, negative), hn::Set(d, scale));
  }
};
template <class T>
using BalancedLogits = Balanced<T, FromLogits>;
template <class T>
using BalancedProbs = Balanced<T, FromProbs>;

// beta unset: -y log p, -(1 - y) log(1 - p) and y, summed apart.
template <class T, class Prediction>
struct BalancedParts {
  static constexpr int kOperands = 2;
  static constexpr int kParts = 3;
  T scale;
  explicit BalancedParts(const double* p) : scale(static_cast<T>(UnitsPerNat(p[1]))) {}
  template <class D, class V>
  void Items(D d, V prediction, V y, V* parts) const {
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    parts[0] = hn::Mul(MaskedMul(d, y, logs.positive), hn::Set(d, scale));
    parts[1] = hn::Mul(MaskedMul(d, rest, logs.negative), hn::Set(d, scale));
    parts[2] = y;
  }
};
template <class T>
using BalancedPartsLogits = BalancedParts<T, FromLogits>;
template <class T>
using BalancedPartsProbs = BalancedParts<T, FromProbs>;

constexpr Input kPosWeight = {"pos_weight", ShapeRule::kLastDimension, TypeRule::kFloating,
                              ValueRule::kAny, true};

constexpr Input kLogitsTargetsWeight[] = {kLogits, kTargets, kPosWeight};

constexpr ItemKind kItem = ItemKind::kElement;
constexpr Signature kBceSignatures[] = {
    {kLogitsTargetsWeight, kItem, Elementwise<BceLogits, UnweightedBceLogits>()},
    {kProbsTargets, kItem, Elementwise<BceProbs>()}};
constexpr Signature kWeightedSignatures[] = {{kLogitsTargets, kItem, Elementwise<WeightedLogits>()},
                                             {kProbsTargets, kItem, Elementwise<WeightedProbs>()}};

template <template <class> class Parts>
constexpr Pooling kBalancedPooling = {lossd::binary::BetaIsUnset, Elementwise<Parts>(),
                                      lossd::binary::ReportBalanced, lossd::binary::ResolveBeta};
constexpr Signature kBalancedSignatures[] = {
    {kLogitsTargets, kItem, Elementwise<BalancedLogits>(), kBalancedPooling<BalancedPartsLogits>},
    {kProbsTargets, kItem, Elementwise<BalancedProbs>(), kBalancedPooling<BalancedPartsProbs>}};

constexpr Parameter kBceParameters[] = {kUnitParameter};
constexpr Parameter kWeightedParameters[] = {
    {"weight", ParameterType::kDouble, 1, 0, kMax, false, "weight of the positive part"},
    kUnitParameter};
constexpr Parameter kBalancedParameters[] = {
    {"beta", ParameterType::kDouble, __builtin_nan(""), 0, 1, false,
     "b; unset: 1 - (sum w y) / (sum w) over the whole request or stream"},
    kUnitParameter};

constexpr LossRow kRows[] = {
    {"binary_cross_entropy", kFamily, "cross-entropy of a binary target",
     "-[w y log p + (1 - y) log(1 - p)], w = pos_weight or 1; with probs the logarithms are "
     "clamped at -100",
     "torch.nn.functional.binary_cross_entropy, binary_cross_entropy_with_logits", kBceParameters,
     kBceSignatures},
    {"weighted_binary_cross_entropy", kFamily, "binary cross-entropy with weighted positives",
     "-[weight y log p + (1 - y) log(1 - p)]", "definition", kWeightedParameters,
     kWeightedSignatures},
    {"balanced_binary_cross_entropy", kFamily,
     "binary cross-entropy balanced by the share of positives",
     "-[b y log p + (1 - b)(1 - y) log(1 - p)]", "definition", kBalancedParameters,
     kBalancedSignatures},
};

}  // namespace binary

LossTable BinaryTable() { return {HWY_TARGET, binary::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "lib/accumulate/rational.h"

namespace lossd {
namespace binary {

bool BetaIsUnset(const double* parameters) { return parameters[0] != parameters[0]; }

// b = (W - Y) / W, so b A + (1 - b) B = ((W - Y) A + Y B) / W.
double ReportBalanced(const LossSums& sums, bool mean) {
  if (sums.items == 0) return mean ? __builtin_nan("") : 0.0;
  const ExactNumber a(sums.parts[0]), b(sums.parts[1]), y(sums.parts[2]), w(sums.weight);
  const ExactNumber numerator = (w - y) * a + y * b;
  return RoundQuotient(numerator, mean ? w * w : w);
}

void ResolveBeta(const LossSums& sums, double* parameters) {
  const ExactNumber y(sums.parts[2]), w(sums.weight);
  parameters[0] = RoundQuotient(w - y, w);
}

}  // namespace binary

HWY_EXPORT(BinaryTable);
LossTable BinaryTable() { return HWY_DYNAMIC_DISPATCH(BinaryTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
