// focal: of a binary target, and of rows of classes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/focal.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/binary-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace binary {

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
  static constexpr uint32_t kGradients = 1;
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
    return hn::Mul(Alpha(d, y, rest, item), hn::Set(d, scale));
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V one = hn::Set(d, T(1));
    const V rest = hn::Sub(one, y);
    V slope = Prediction::Slope(d, prediction, y, rest);
    if (gamma != T(0)) {
      // (1 - p_t)^gamma (BCE' + gamma BCE (1 - p_t)' / (1 - p_t)).
      const NegLogs<V> logs = Prediction::Logs(d, prediction);
      const V bce = hn::Add(MaskedMul(d, y, logs.positive), MaskedMul(d, rest, logs.negative));
      const Probabilities<V> p = Prediction::Both(d, prediction);
      const V wrong = hn::MulAdd(p.positive, rest, hn::Mul(p.negative, y));
      // pq is at most p and q, so at most 1 - p_t.
      const V growth = hn::Mul(hn::Sub(rest, y), hn::Div(Prediction::Rate(d, p), wrong));
      const V more = MaskedMul(d, growth, hn::Mul(hn::Set(d, gamma), bce));
      slope = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), hn::Add(slope, more));
    }
    return hn::Mul(Alpha(d, y, rest, slope), hn::Set(d, scale));
  }

 private:
  template <class D, class V>
  HWY_INLINE V Alpha(D d, V y, V rest, V value) const {
    if (!has_alpha) return value;
    const V factor = hn::MulAdd(hn::Set(d, alpha), y, hn::Mul(hn::Set(d, rest_of_alpha), rest));
    return MaskedMul(d, factor, value);
  }
};
template <class T>
using FocalLogits = Focal<T, FromLogits>;
template <class T>
using FocalProbs = Focal<T, FromClampedProbs>;

// Multi-class: -(1 - p_y)^gamma log p_y, the power formed as above.
template <class T, template <class> class Prediction>
struct FocalRows {
  static constexpr uint32_t kGradients = 1;
  T gamma, scale;
  FocalRows(const double* p, const RowBlock<T>&)
      : gamma(static_cast<T>(p[0])), scale(static_cast<T>(UnitsPerNat(p[2]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const hn::ScalableTag<T> d;  // whole vectors, as Pow wants them
    const T* x = block.operands[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const Prediction<T> prediction(x, block.width);
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

  // d item / d(-log p_y) = (1 - p_y)^gamma (1 + gamma p_y (-log p_y) / (1 - p_y)).
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const hn::ScalableTag<T> d;
    const T* x = block.operands[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const Prediction<T> prediction(x, block.width);
    const auto one = hn::Set(d, T(1));
    const auto neg_log = hn::Set(d, ScalarNegLog(prediction, LoadScalar(x + label)));
    auto slope = one;
    if (gamma != T(0)) {
      const auto zero = hn::Zero(d);
      const auto log_p = hn::Sub(zero, neg_log);
      const auto wrong = hn::Sub(zero, Expm1(d, log_p));
      const auto growth = hn::Div(MaskedMul(d, Exp(d, log_p), neg_log), wrong);
      const auto factor = hn::MulAdd(hn::Set(d, gamma), growth, one);
      slope = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), factor);
    }
    T whole = hn::GetLane(slope) * scale;
    if (block.class_weights != nullptr) whole *= LoadScalar(block.class_weights + label);
    const auto target = [&](auto tag, size_t i, size_t) HWY_ATTR {
      return hn::IfThenElseZero(IsClass(tag, i, label), hn::Set(tag, T(1)));
    };
    prediction.Gradient(x, block.width, T(1), target, whole * item_scale,
                        gradients[0] + row * block.width);
  }
};
template <class T>
using FocalLogitsRows = FocalRows<T, LogitsRow>;
template <class T>
using FocalProbsRows = FocalRows<T, ProbsRow>;

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

constexpr ItemKind kItem = ItemKind::kElement;
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

constexpr Parameter kFocalParameters[] = {
    {"gamma", ParameterType::kDouble, 2, 0, kMax, false, "how much easy items are scaled down"},
    {"alpha", ParameterType::kDouble, __builtin_nan(""), 0, 1, false,
     "weight of the positives, binary form only; unset: no weighting"},
    kUnitParameter};

constexpr LossRow kFocalRow[] = {
    {"focal", kFamily, "cross-entropy with easy items scaled down",
     "BCE (1 - p_t)^gamma (alpha y + (1 - alpha)(1 - y)), p_t = p y + (1 - p)(1 - y); with labels "
     "-(1 - p_y)^gamma log p_y",
     "torchvision.ops.sigmoid_focal_loss; Lin et al. 2017", kFocalParameters, kFocalSignatures},
};

}  // namespace binary

LossTable FocalTable() { return {HWY_TARGET, binary::kFocalRow}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(FocalTable);
LossTable FocalTable() { return HWY_DYNAMIC_DISPATCH(FocalTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
