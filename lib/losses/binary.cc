// The binary and margin family.
//
// With logits x, log p = -softplus(-x) and log(1 - p) = -softplus(x), softplus(x) = max(x, 0) +
// log(1 + e^-|x|): every term is at least 0, so nothing cancels. A term whose factor is 0 is 0,
// also where the logarithm is infinite.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/binary.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/predictions-inl.h"
#include "lib/forms/rowwise-inl.h"
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

// max(v, 0) that keeps NaN.
template <class D, class V>
HWY_INLINE V Positive(D d, V v) {
  return hn::IfThenZeroElse(hn::Le(v, hn::Zero(d)), v);
}

// -log p and -log(1 - p).
template <class V>
struct NegLogs {
  V positive, negative;
};

// Of a logit.
struct FromLogits {
  template <class D, class V>
  static HWY_INLINE NegLogs<V> Logs(D d, V x) {
    const V zero = hn::Zero(d);
    const V small = Log1pExpNeg(d, hn::Abs(x));
    // Exactly one of max(x, 0) and max(-x, 0) is not 0.
    const V above = hn::IfThenElseZero(hn::Gt(x, zero), x);
    const V below = hn::IfThenElseZero(hn::Lt(x, zero), hn::Sub(zero, x));
    return {hn::Add(below, small), hn::Add(above, small)};
  }
  template <class D, class V>
  static HWY_INLINE V Probability(D d, V x) {
    return Sigmoid(d, x);
  }
  template <class D, class V>
  static HWY_INLINE V Complement(D d, V x) {
    return Sigmoid(d, hn::Sub(hn::Zero(d), x));
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
  static HWY_INLINE V Probability(D, V p) {
    return p;
  }
  template <class D, class V>
  static HWY_INLINE V Complement(D d, V p) {
    using T = hn::TFromD<D>;
    return hn::Sub(hn::Set(d, T(1)), p);
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
};

template <class T, class Prediction>
struct BinaryCrossEntropy {
  static constexpr int kOperands = 2;
  T scale;
  explicit BinaryCrossEntropy(const double* p) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V sum = hn::Add(MaskedMul(d, y, logs.positive), MaskedMul(d, rest, logs.negative));
    return hn::Mul(sum, hn::Set(d, scale));
  }
};
template <class T>
using BceProbs = BinaryCrossEntropy<T, FromClampedProbs>;

// With the optional pos_weight, which is 1 where it was not given.
template <class T>
struct BceLogits {
  static constexpr int kOperands = 3;
  T scale;
  explicit BceLogits(const double* p) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  template <class D, class V>
  V Item(D d, V prediction, V y, V pos_weight) const {
    const NegLogs<V> logs = FromLogits::Logs(d, prediction);
    const V rest = hn::Sub(hn::Set(d, T(1)), y);
    const V positive = MaskedMul(d, hn::Mul(y, pos_weight), logs.positive);
    return hn::Mul(hn::Add(positive, MaskedMul(d, rest, logs.negative)), hn::Set(d, scale));
  }
};

template <class T, class Prediction>
struct Weighted {
  static constexpr int kOperands = 2;
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
};
template <class T>
using WeightedLogits = Weighted<T, FromLogits>;
template <class T>
using WeightedProbs = Weighted<T, FromProbs>;

// beta given, or resolved from the sums.
template <class T, class Prediction>
struct Balanced {
  static constexpr int kOperands = 2;
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

// 1 - p_t is formed as y (1 - p) + (1 - y) p: two terms of at least 0, so that it keeps its digits
// where p_t is near 1. The power multiplies its relative error by gamma.
template <class T>
struct FocalPower {
  T gamma;
  // wrong^gamma; the square, which is the default, needs no logarithm.
  template <class D, class V>
  HWY_INLINE V operator()(D d, V wrong) const {
    return gamma == T(2) ? hn::Mul(wrong, wrong) : Pow(d, wrong, hn::Set(d, gamma));
  }
};

template <class T, class Prediction>
struct Focal {
  static constexpr int kOperands = 2;
  T gamma, scale, alpha, rest_of_alpha;
  bool has_alpha;
  explicit Focal(const double* p)
      : gamma(static_cast<T>(p[0])),
        scale(static_cast<T>(UnitsPerNat(p[2]))),
        alpha(static_cast<T>(p[1])),
        rest_of_alpha(static_cast<T>(1 - p[1])),
        has_alpha(p[1] == p[1]) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const V one = hn::Set(d, T(1));
    const V rest = hn::Sub(one, y);
    const NegLogs<V> logs = Prediction::Logs(d, prediction);
    V item = hn::Add(MaskedMul(d, y, logs.positive), MaskedMul(d, rest, logs.negative));
    if (gamma != T(0)) {
      const V p = Prediction::Probability(d, prediction);
      const V q = Prediction::Complement(d, prediction);
      const V wrong = hn::MulAdd(p, rest, hn::Mul(q, y));  // 1 - p_t
      item = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), item);
    }
    if (has_alpha) {
      const V factor = hn::MulAdd(hn::Set(d, alpha), y, hn::Mul(hn::Set(d, rest_of_alpha), rest));
      item = MaskedMul(d, factor, item);
    }
    return hn::Mul(item, hn::Set(d, scale));
  }
};
template <class T>
using FocalLogits = Focal<T, FromLogits>;
template <class T>
using FocalProbs = Focal<T, FromClampedProbs>;

// Multi-class: -(1 - p_y)^gamma log p_y, the power formed as above.
template <class T, template <class> class Prediction>
struct FocalRows {
  T gamma, scale;
  FocalRows(const double* p, const RowBlock<T>&)
      : gamma(static_cast<T>(p[0])), scale(static_cast<T>(UnitsPerNat(p[2]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const hn::ScalableTag<T> d;  // whole vectors, as Pow wants them
    const T* x = block.predictions + row * block.classes;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const Prediction<T> prediction(x, block.classes);
    const auto neg_log = hn::Set(d, ScalarNegLog(prediction, LoadScalar(x + label)));
    auto item = neg_log;
    if (gamma != T(0)) {
      const auto zero = hn::Zero(d);
      const auto wrong = hn::Sub(zero, Expm1(d, hn::Sub(zero, neg_log)));  // 1 - p_y
      item = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), item);
    }
    if (block.class_weights != nullptr) {
      item = hn::Mul(item, hn::Set(d, LoadScalar(block.class_weights + label)));
    }
    return hn::GetLane(item) * scale;
  }
};
template <class T>
using FocalLogitsRows = FocalRows<T, LogitsRow>;
template <class T>
using FocalProbsRows = FocalRows<T, ProbsRow>;

template <class T>
struct Hinge {
  static constexpr int kOperands = 2;
  T margin;
  bool squared;
  explicit Hinge(const double* p) : margin(static_cast<T>(p[0])), squared(p[1] != 0) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const V item = Positive(d, hn::NegMulAdd(y, prediction, hn::Set(d, margin)));
    return squared ? hn::Mul(item, item) : item;
  }
};

template <class T>
struct SoftMargin {
  static constexpr int kOperands = 2;
  explicit SoftMargin(const double*) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    return Softplus(d, hn::Sub(hn::Zero(d), hn::Mul(y, prediction)));
  }
};

template <class T>
struct HingeEmbedding {
  static constexpr int kOperands = 2;
  T margin;
  explicit HingeEmbedding(const double* p) : margin(static_cast<T>(p[0])) {}
  template <class D, class V>
  V Item(D d, V distance, V y) const {
    const V below = Positive(d, hn::Sub(hn::Set(d, margin), distance));
    return hn::IfThenElse(hn::Gt(y, hn::Zero(d)), distance, below);
  }
};

template <class T>
struct MarginRanking {
  static constexpr int kOperands = 3;
  T margin;
  explicit MarginRanking(const double* p) : margin(static_cast<T>(p[0])) {}
  template <class D, class V>
  V Item(D d, V first, V second, V y) const {
    return Positive(d, hn::NegMulAdd(y, hn::Sub(first, second), hn::Set(d, margin)));
  }
};

constexpr ShapeRule kElements = ShapeRule::kElements;
constexpr Input kLogits = {"logits", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kProbs = {"probs", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kTargets = {"targets", kElements, TypeRule::kTarget, ValueRule::kUnitInterval,
                            false};
constexpr Input kSigns = {"targets", kElements, TypeRule::kTarget, ValueRule::kPlusMinusOne, false};
constexpr Input kPosWeight = {"pos_weight", ShapeRule::kLastDimension, TypeRule::kFloating,
                              ValueRule::kAny, true};
constexpr Input kPredictions = {"predictions", kElements, TypeRule::kFloating, ValueRule::kAny,
                                false};
constexpr Input kDistances = {"distances", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kFirst = {"first", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kSecond = {"second", kElements, TypeRule::kFloating, ValueRule::kAny, false};

constexpr Input kLogitsTargets[] = {kLogits, kTargets};
constexpr Input kLogitsTargetsWeight[] = {kLogits, kTargets, kPosWeight};
constexpr Input kProbsTargets[] = {kProbs, kTargets};
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kClassWeight = {"class_weight", ShapeRule::kClassVector, TypeRule::kFloating,
                                ValueRule::kAny, true};
constexpr Input kLogitsLabels[] = {
    {"logits", ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false},
    kLabels,
    kClassWeight};
constexpr Input kProbsLabels[] = {
    {"probs", ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false},
    kLabels,
    kClassWeight};
constexpr Input kPredictionsSigns[] = {kPredictions, kSigns};
constexpr Input kDistancesSigns[] = {kDistances, kSigns};
constexpr Input kRanking[] = {kFirst, kSecond, kSigns};

constexpr ItemKind kItem = ItemKind::kElement;
constexpr Signature kBceSignatures[] = {{kLogitsTargetsWeight, kItem, Elementwise<BceLogits>()},
                                        {kProbsTargets, kItem, Elementwise<BceProbs>()}};
constexpr Signature kWeightedSignatures[] = {{kLogitsTargets, kItem, Elementwise<WeightedLogits>()},
                                             {kProbsTargets, kItem, Elementwise<WeightedProbs>()}};

template <template <class> class Parts>
constexpr Pooling kBalancedPooling = {lossd::binary::BetaIsUnset, Elementwise<Parts>(),
                                      lossd::binary::ReportBalanced, lossd::binary::ResolveBeta};
constexpr Signature kBalancedSignatures[] = {
    {kLogitsTargets, kItem, Elementwise<BalancedLogits>(), kBalancedPooling<BalancedPartsLogits>},
    {kProbsTargets, kItem, Elementwise<BalancedProbs>(), kBalancedPooling<BalancedPartsProbs>}};

// alpha, parameter 1, is for the binary form only.
template <template <class> class Formula>
constexpr Signature FocalRowsSignature(TableSpan<Input> inputs) {
  Signature signature = {inputs, ItemKind::kRow, Rowwise<Formula>()};
  signature.unused_parameters = 1 << 1;
  return signature;
}
constexpr Signature kFocalSignatures[] = {{kLogitsTargets, kItem, Elementwise<FocalLogits>()},
                                          {kProbsTargets, kItem, Elementwise<FocalProbs>()},
                                          FocalRowsSignature<FocalLogitsRows>(kLogitsLabels),
                                          FocalRowsSignature<FocalProbsRows>(kProbsLabels)};
constexpr Signature kHingeSignatures[] = {{kPredictionsSigns, kItem, Elementwise<Hinge>()}};
constexpr Signature kSoftMarginSignatures[] = {
    {kPredictionsSigns, kItem, Elementwise<SoftMargin>()}};
constexpr Signature kHingeEmbeddingSignatures[] = {
    {kDistancesSigns, kItem, Elementwise<HingeEmbedding>()}};
constexpr Signature kMarginRankingSignatures[] = {{kRanking, kItem, Elementwise<MarginRanking>()}};

constexpr double kMax = 1.7976931348623157e308;
constexpr Parameter kUnit = {"unit", ParameterType::kUnit,    kUnitNats, kUnitNats, kUnitBits,
                             false,  "unit of the logarithms"};
constexpr Parameter kBceParameters[] = {kUnit};
constexpr Parameter kWeightedParameters[] = {
    {"weight", ParameterType::kDouble, 1, 0, kMax, false, "weight of the positive part"}, kUnit};
constexpr Parameter kBalancedParameters[] = {
    {"beta", ParameterType::kDouble, __builtin_nan(""), 0, 1, false,
     "b; unset: 1 - (sum w y) / (sum w) over the whole request or stream"},
    kUnit};
constexpr Parameter kFocalParameters[] = {
    {"gamma", ParameterType::kDouble, 2, 0, kMax, false, "how much easy items are scaled down"},
    {"alpha", ParameterType::kDouble, __builtin_nan(""), 0, 1, false,
     "weight of the positives, binary form only; unset: no weighting"},
    kUnit};
constexpr Parameter kHingeParameters[] = {
    {"margin", ParameterType::kDouble, 1, -kMax, kMax, false, "where the loss becomes 0"},
    {"squared", ParameterType::kBool, 0, 0, 1, false, "square the item"}};
constexpr Parameter kHingeEmbeddingParameters[] = {{"margin", ParameterType::kDouble, 1, -kMax,
                                                    kMax, false,
                                                    "distance from which dissimilar pairs cost 0"}};
constexpr Parameter kMarginRankingParameters[] = {{"margin", ParameterType::kDouble, 0, -kMax, kMax,
                                                   false, "lead that the higher one must have"}};

constexpr char kFamily[] = "binary";
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
    {"focal", kFamily, "cross-entropy with easy items scaled down",
     "BCE (1 - p_t)^gamma (alpha y + (1 - alpha)(1 - y)), p_t = p y + (1 - p)(1 - y); with labels "
     "-(1 - p_y)^gamma log p_y",
     "torchvision.ops.sigmoid_focal_loss; Lin et al. 2017", kFocalParameters, kFocalSignatures},
    {"hinge", kFamily, "hinge loss of a signed target", "max(0, margin - y p), or its square",
     "definition", kHingeParameters, kHingeSignatures},
    {"soft_margin",
     kFamily,
     "logistic loss of a signed target",
     "log(1 + exp(-y p))",
     "torch.nn.functional.soft_margin_loss",
     {},
     kSoftMarginSignatures},
    {"hinge_embedding", kFamily, "hinge loss on distances",
     "d if y = 1; max(0, margin - d) if y = -1", "torch.nn.functional.hinge_embedding_loss",
     kHingeEmbeddingParameters, kHingeEmbeddingSignatures},
    {"margin_ranking", kFamily, "hinge loss of the order of two predictions",
     "max(0, -y (first - second) + margin)", "torch.nn.functional.margin_ranking_loss",
     kMarginRankingParameters, kMarginRankingSignatures},
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
