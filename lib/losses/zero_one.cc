// zero_one: the error rate, of rows of classes, of binary predictions, and of anything that can be
// equal.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/zero_one.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace zero_one {

// 0 if fewer than top_k classes come before the label: those above it, and equal ones of lower
// index. A row with a NaN has no order, and its item is NaN.
template <class T>
struct Ranked {
  T top_k;
  Ranked(const double* p, const RowBlock<T>&) : top_k(static_cast<T>(p[0])) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.operands[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const T of_label = LoadScalar(x + label);
    // Counts are whole numbers under 2^24, so no sum rounds; a NaN anywhere makes the count NaN.
    const T before = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto v = LoadClasses(d, x + i, count, T(0));
      const auto own = hn::Set(d, of_label);
      const auto one = hn::Set(d, T(1));
      const auto above = hn::IfThenElseZero(hn::Gt(v, own), one);
      const auto equal = hn::IfThenElseZero(hn::Eq(v, own), one);
      const size_t lower = label > i ? label - i : 0;  // lanes before the label
      const auto ties = hn::IfThenElseZero(hn::FirstN(d, HWY_MIN(lower, kVectorLanes<T>)), equal);
      return hn::IfThenElse(hn::Eq(v, v), hn::Add(above, ties), hn::NaN(d));
    });
    if (before != before) return QuietNan<T>();
    return before < top_k ? T(0) : T(1);
  }
};

template <class T, int kTwiceThreshold>
struct Thresholded {
  static constexpr int kOperands = 2;
  explicit Thresholded(const double*) {}
  template <class D, class V>
  V Item(D d, V prediction, V target) const {
    const V one = hn::Set(d, T(1));
    const V threshold = hn::Set(d, T(kTwiceThreshold) / T(2));
    const V predicted = hn::IfThenElseZero(hn::Gt(prediction, threshold), one);
    const V item = hn::IfThenZeroElse(hn::Eq(predicted, target), one);
    return hn::IfThenElse(hn::Eq(prediction, prediction), item, hn::NaN(d));
  }
};
template <class T>
using BinaryLogits = Thresholded<T, 0>;
template <class T>
using BinaryProbs = Thresholded<T, 1>;

template <class T>
struct Unequal {
  static constexpr int kOperands = 2;
  explicit Unequal(const double*) {}
  template <class D, class V>
  V Item(D d, V prediction, V target) const {
    const V item = hn::IfThenZeroElse(hn::Eq(prediction, target), hn::Set(d, T(1)));
    const auto ordered = hn::And(hn::Eq(prediction, prediction), hn::Eq(target, target));
    return hn::IfThenElse(ordered, item, hn::NaN(d));
  }
};

constexpr Input RowInput(const char* name) {
  return {name, ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input ElementInput(const char* name) {
  return {name, ShapeRule::kElements, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input AnyInput(const char* name) {
  return {name, ShapeRule::kElements, TypeRule::kAny, ValueRule::kAny, false};
}
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kTargets = {"targets", ShapeRule::kElements, TypeRule::kTarget,
                            ValueRule::kZeroOrOne, false};

constexpr Input kLogitsLabels[] = {RowInput("logits"), kLabels};
constexpr Input kProbsLabels[] = {RowInput("probs"), kLabels};
constexpr Input kLogitsTargets[] = {ElementInput("logits"), kTargets};
constexpr Input kProbsTargets[] = {ElementInput("probs"), kTargets};
constexpr Input kPredictionsTargets[] = {AnyInput("predictions"), AnyInput("targets")};

// top_k and ignore_index are for rows only.
template <template <class> class Formula>
constexpr Signature ElementSignature(TableSpan<Input> inputs) {
  Signature signature = {inputs, ItemKind::kElement, Elementwise<Formula>()};
  signature.unused_parameters = (1 << 0) | (1 << 1);
  return signature;
}
constexpr Signature kSignatures[] = {{kLogitsLabels, ItemKind::kRow, Rowwise<Ranked>()},
                                     {kProbsLabels, ItemKind::kRow, Rowwise<Ranked>()},
                                     ElementSignature<BinaryLogits>(kLogitsTargets),
                                     ElementSignature<BinaryProbs>(kProbsTargets),
                                     ElementSignature<Unequal>(kPredictionsTargets)};

constexpr Parameter kParameters[] = {
    {"top_k", ParameterType::kInt64, 1, 1, 1000000, false, "rows: the label must be among so many"},
    {"ignore_index", ParameterType::kInt64, -100, -9007199254740991.0, 9007199254740991.0, false,
     "rows: those with this label are ignored"}};

constexpr LossRow kRows[] = {
    {"zero_one", "classification", "error rate",
     "0 if the label is among the top_k predictions (ties: lower class first), else 1; without "
     "labels 0 if the "
     "prediction (logit > 0, prob > 0.5) equals the target",
     "definition", kParameters, kSignatures},
};

}  // namespace zero_one

LossTable ZeroOneTable() { return {HWY_TARGET, zero_one::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(ZeroOneTable);
LossTable ZeroOneTable() { return HWY_DYNAMIC_DISPATCH(ZeroOneTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
