// Margin losses of an element and a target of -1 or +1.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/hinge.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/losses/binary-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace binary {

// max(v, 0) that keeps NaN.
template <class D, class V>
HWY_INLINE V Positive(D d, V v) {
  return hn::IfThenZeroElse(hn::Le(v, hn::Zero(d)), v);
}

// `slope` times that of max(v, 0): 0 at the kink, as PyTorch takes it from 2.14 on; 0 at NaN.
template <class D, class V>
HWY_INLINE V WherePositive(D d, V v, V slope) {
  return hn::IfThenElseZero(hn::Gt(v, hn::Zero(d)), slope);
}

template <class T>
struct Hinge {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  T margin;
  bool squared;
  explicit Hinge(const double* p) : margin(static_cast<T>(p[0])), squared(p[1] != 0) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    const V item = Positive(d, hn::NegMulAdd(y, prediction, hn::Set(d, margin)));
    return squared ? hn::Mul(item, item) : item;
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V room = hn::NegMulAdd(y, prediction, hn::Set(d, margin));
    const V slope = hn::Sub(hn::Zero(d), y);
    return WherePositive(d, room, squared ? hn::Mul(hn::Add(room, room), slope) : slope);
  }
};

template <class T>
struct SoftMargin {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  explicit SoftMargin(const double*) {}
  template <class D, class V>
  V Item(D d, V prediction, V y) const {
    return Softplus(d, hn::Sub(hn::Zero(d), hn::Mul(y, prediction)));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V slope = FromLogits::Both(d, hn::Mul(y, prediction)).negative;
    return hn::Sub(hn::Zero(d), hn::Mul(y, slope));
  }
};

template <class T>
struct HingeEmbedding {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  T margin;
  explicit HingeEmbedding(const double* p) : margin(static_cast<T>(p[0])) {}
  template <class D, class V>
  V Item(D d, V distance, V y) const {
    const V below = Positive(d, hn::Sub(hn::Set(d, margin), distance));
    return hn::IfThenElse(hn::Gt(y, hn::Zero(d)), distance, below);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V distance, V y) const {
    const V one = hn::Set(d, T(1));
    const V room = hn::Sub(hn::Set(d, margin), distance);
    const V below = WherePositive(d, room, hn::Sub(hn::Zero(d), one));
    return hn::IfThenElse(hn::Gt(y, hn::Zero(d)), one, below);
  }
};

template <class T>
struct MarginRanking {
  static constexpr int kOperands = 3;
  static constexpr uint32_t kGradients = 0b11;
  T margin;
  explicit MarginRanking(const double* p) : margin(static_cast<T>(p[0])) {}
  template <class D, class V>
  V Item(D d, V first, V second, V y) const {
    return Positive(d, hn::NegMulAdd(y, hn::Sub(first, second), hn::Set(d, margin)));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V first, V second, V y) const {
    const V room = hn::NegMulAdd(y, hn::Sub(first, second), hn::Set(d, margin));
    return WherePositive(d, room, kOperand == 0 ? hn::Sub(hn::Zero(d), y) : y);
  }
};

constexpr Input kSigns = {"targets", kElements, TypeRule::kTarget, ValueRule::kPlusMinusOne, false};
constexpr Input kPredictions = {"predictions", kElements, TypeRule::kFloating, ValueRule::kAny,
                                false};
constexpr Input kDistances = {"distances", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kFirst = {"first", kElements, TypeRule::kFloating, ValueRule::kAny, false};
constexpr Input kSecond = {"second", kElements, TypeRule::kFloating, ValueRule::kAny, false};

constexpr Input kPredictionsSigns[] = {kPredictions, kSigns};
constexpr Input kDistancesSigns[] = {kDistances, kSigns};
constexpr Input kRanking[] = {kFirst, kSecond, kSigns};

constexpr ItemKind kItem = ItemKind::kElement;
constexpr Signature kHingeSignatures[] = {{kPredictionsSigns, kItem, Elementwise<Hinge>()}};
constexpr Signature kSoftMarginSignatures[] = {
    {kPredictionsSigns, kItem, Elementwise<SoftMargin>()}};
constexpr Signature kHingeEmbeddingSignatures[] = {
    {kDistancesSigns, kItem, Elementwise<HingeEmbedding>()}};
constexpr Signature kMarginRankingSignatures[] = {{kRanking, kItem, Elementwise<MarginRanking>()}};

constexpr Parameter kHingeParameters[] = {
    {"margin", ParameterType::kDouble, 1, -kMax, kMax, false, "where the loss becomes 0"},
    {"squared", ParameterType::kBool, 0, 0, 1, false, "square the item"}};
constexpr Parameter kHingeEmbeddingParameters[] = {{"margin", ParameterType::kDouble, 1, -kMax,
                                                    kMax, false,
                                                    "distance from which dissimilar pairs cost 0"}};
constexpr Parameter kMarginRankingParameters[] = {{"margin", ParameterType::kDouble, 0, -kMax, kMax,
                                                   false, "lead that the higher one must have"}};

constexpr LossRow kHingeRows[] = {
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

LossTable HingeTable() { return {HWY_TARGET, binary::kHingeRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(HingeTable);
LossTable HingeTable() { return HWY_DYNAMIC_DISPATCH(HingeTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
