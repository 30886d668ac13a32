// Margin losses of a row of classes: of one label, of several, and of a target a class.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/margins.cc"
#include <algorithm>
#include <cstring>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/binary-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace margins {

// How far a class is above the label less the margin, where that is positive; `factor` is 1, or 1/2
// where the difference may overflow. The difference comes first: it is exact for neighbours.
template <class D, class V, class T = hn::TFromD<D>>
HWY_INLINE V Violation(D d, V x, T of_label, T margin, T factor) {
  const V scale = hn::Set(d, factor);
  const V difference = hn::Sub(hn::Mul(x, scale), hn::Set(d, of_label * factor));
  const V violation = hn::Add(difference, hn::Set(d, margin * factor));
  return hn::IfThenZeroElse(hn::Le(violation, hn::Zero(d)), violation);  // NaN stays
}

// The slope of max(v, 0) at that value: 0 at the kink, as in torch. NaN stays.
template <class D, class V>
HWY_INLINE V Step(D d, V violation) {
  const V one = hn::Set(d, hn::TFromD<D>(1));
  return hn::IfThenElse(hn::Gt(violation, hn::Zero(d)), one, violation);
}

template <class T>
bool IsFinite(T value) {
  return value - value == T(0);
}

// w_y sum over j != y of max(0, margin - x_y + x_j)^p / C. torch takes a NaN for a class that keeps
// its distance; here the item is NaN.
template <class T>
struct MultiMargin {
  static constexpr uint32_t kGradients = 1;
  bool squared;
  T margin;
  MultiMargin(const double* p, const RowBlock<T>&)
      : squared(p[0] == 2), margin(static_cast<T>(p[1])) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const T weight = Weight(block, row);
    if (weight == T(0)) return T(0);  // a class of weight 0 adds nothing, not even NaN
    const T classes = static_cast<T>(block.width);
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t) HWY_ATTR {
      const auto v = Of(d, block, row, i, T(1));
      return squared ? hn::Mul(v, v) : v;
    });
    const T item = weight * (sum / classes);
    if (IsFinite(item)) return item;
    // The sum may have overflowed where the item does not: once more from halves, divided first.
    const T share = weight / classes;
    const T halves = SumRow<T>(block.width, [&](auto d, size_t i, size_t) HWY_ATTR {
      const auto v = Of(d, block, row, i, T(0.5));
      const auto part = hn::Mul(v, hn::Set(d, share));
      return squared ? hn::Mul(part, v) : part;
    });
    return halves * (squared ? T(4) : T(2));
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    T* gradient = gradients[0] + row * block.width;
    const T weight = Weight(block, row);
    if (weight == T(0)) {
      std::memset(gradient, 0, block.width * sizeof(T));
      return;
    }
    const auto slope = [&](auto d, size_t i, size_t) HWY_ATTR {
      const auto v = Of(d, block, row, i, T(1));
      return squared ? hn::Add(v, v) : Step(d, v);
    };
    const T share = weight * scale / static_cast<T>(block.width);
    const T of_label = -SumRow<T>(block.width, slope) * share;
    const size_t label = static_cast<size_t>(block.labels[row]);
    StoreRow<T>(block.width, gradient, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto others = hn::Mul(slope(d, i, count), hn::Set(d, share));
      return hn::IfThenElse(IsClass(d, i, label), hn::Set(d, of_label), others);
    });
  }

 private:
  static T Weight(const RowBlock<T>& block, size_t row) {
    if (block.class_weights == nullptr) return T(1);
    return LoadScalar(block.class_weights + block.labels[row]);
  }
  // The violations of classes i, i + 1, ...; 0 for the label and beyond the row.
  template <class D>
  HWY_INLINE hn::Vec<D> Of(D d, const RowBlock<T>& block, size_t row, size_t i, T factor) const {
    const T* x = block.operands[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const auto v = LoadClasses(d, x + i, block.width - i, T(0));
    const auto violation = Violation(d, v, LoadScalar(x + label), margin, factor);
    return hn::IfThenZeroElse(IsClass(d, i, label), violation);
  }
};

// The classes of a row's labels: those before the first -1, each as often as it stands there.
struct LabelList {
  const int64_t* labels;
  size_t size;
  template <class T>
  LabelList(const RowBlock<T>& block, size_t row) : labels(block.label_rows + row * block.width) {
    size = static_cast<size_t>(std::find(labels, labels + block.width, -1) - labels);
  }
};

// The sum over labels l and over the classes j that are none of max(0, 1 - x_l + x_j), divided by
// C.
template <class T>
struct MultilabelMargin {
  static constexpr uint32_t kGradients = 1;
  MultilabelMargin(const double*, const RowBlock<T>&) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const LabelList list(block, row);
    if (list.size == 0) return T(0);
    const T* x = block.operands[0] + row * block.width;
    const T classes = static_cast<T>(block.width);
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto v = LoadClasses(d, x + i, count, T(0));
      return OverLabels(d, x, list, i,
                        [&](T of_label) HWY_ATTR { return Violation(d, v, of_label, T(1), T(1)); });
    });
    const T item = sum / classes;
    if (IsFinite(item)) return item;
    const T halves = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto v = LoadClasses(d, x + i, count, T(0));
      return OverLabels(d, x, list, i, [&](T of_label) HWY_ATTR {
        const auto violation = Violation(d, v, of_label, T(1), T(0.5));
        return hn::Mul(violation, hn::Set(d, T(1) / classes));
      });
    });
    return halves * T(2);
  }

  // A class that is no label gets a share for every label that it is too near, a label loses one
  // for every such class. The gradient's own memory tells them apart meanwhile: 1 for the classes
  // that are no label, for a label 0 and less.
  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const LabelList list(block, row);
    const T* x = block.operands[0] + row * block.width;
    T* gradient = gradients[0] + row * block.width;
    std::fill_n(gradient, block.width, T(1));
    for (size_t l = 0; l < list.size; ++l) gradient[list.labels[l]] = T(0);
    for (size_t l = 0; l < list.size; ++l) {
      const T of_label = LoadScalar(x + list.labels[l]);
      gradient[list.labels[l]] -=
          SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
            const auto v = LoadClasses(d, x + i, count, T(0));
            const auto no_label = hn::Gt(LoadClasses(d, gradient + i, count, T(0)), hn::Zero(d));
            return hn::IfThenElseZero(no_label, Step(d, Violation(d, v, of_label, T(1), T(1))));
          });
    }
    const T share = scale / static_cast<T>(block.width);
    StoreRow<T>(block.width, gradient, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto v = LoadClasses(d, x + i, count, T(0));
      const auto of_labels = LoadClasses(d, gradient + i, count, T(0));
      const auto others = OverLabels(d, x, list, i, [&](T of_label) HWY_ATTR {
        return Step(d, Violation(d, v, of_label, T(1), T(1)));
      });
      const auto no_label = hn::Gt(of_labels, hn::Zero(d));
      return hn::Mul(hn::IfThenElse(no_label, others, of_labels), hn::Set(d, share));
    });
  }

 private:
  // The sum over the labels of term(x_l), a vector of classes i, i + 1, ...; 0 for the classes that
  // are labels. By groups, so that the error does not grow with the number of labels.
  template <class D, class Term>
  static HWY_INLINE hn::Vec<D> OverLabels(D d, const T* x, const LabelList& list, size_t i,
                                          const Term& term) {
    constexpr size_t kGroup = 32;
    auto sum = hn::Zero(d);
    auto is_label = hn::FirstN(d, 0);
    for (size_t l = 0; l < list.size;) {
      auto group = hn::Zero(d);
      for (const size_t end = std::min(list.size, l + kGroup); l < end; ++l) {
        const size_t label = static_cast<size_t>(list.labels[l]);
        group = hn::Add(group, term(LoadScalar(x + label)));
        is_label = hn::Or(is_label, IsClass(d, i, label));
      }
      sum = hn::Add(sum, group);
    }
    return hn::IfThenZeroElse(is_label, sum);
  }
};

// The mean over classes of w_j (y_j (-log p_j) + (1 - y_j) (-log(1 - p_j))).
template <class T>
struct MultilabelSoftMargin {
  static constexpr uint32_t kGradients = 1;
  MultilabelSoftMargin(const double*, const RowBlock<T>&) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const T classes = static_cast<T>(block.width);
    const auto term = [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto y = Load(d, block.operands[1], block, row, i, count);
      const auto logs =
          binary::FromLogits::Logs(d, Load(d, block.operands[0], block, row, i, count));
      const auto rest = hn::Sub(hn::Set(d, T(1)), y);
      const auto positive = MaskedMul(d, y, logs.positive);
      return Weighted(d, block, i, count, hn::Add(positive, MaskedMul(d, rest, logs.negative)));
    };
    const T item = SumRow<T>(block.width, term) / classes;
    if (IsFinite(item)) return item;
    return SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      return hn::Mul(term(d, i, count), hn::Set(d, T(1) / classes));
    });
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const T share = scale / static_cast<T>(block.width);
    StoreRow<T>(block.width, gradients[0] + row * block.width,
                [&](auto d, size_t i, size_t count) HWY_ATTR {
                  const auto x = Load(d, block.operands[0], block, row, i, count);
                  const auto y = Load(d, block.operands[1], block, row, i, count);
                  const auto rest = hn::Sub(hn::Set(d, T(1)), y);
                  const auto slope = binary::FromLogits::Slope(d, x, y, rest);
                  return hn::Mul(Weighted(d, block, i, count, slope), hn::Set(d, share));
                });
  }

 private:
  template <class D>
  static HWY_INLINE hn::Vec<D> Load(D d, const T* rows, const RowBlock<T>& block, size_t row,
                                    size_t i, size_t count) {
    return LoadClasses(d, rows + row * block.width + i, count, T(0));
  }
  template <class D, class V>
  static HWY_INLINE V Weighted(D d, const RowBlock<T>& block, size_t i, size_t count, V v) {
    if (block.class_weights == nullptr) return v;
    return MaskedMul(d, LoadClasses(d, block.class_weights + i, count, T(0)), v);
  }
};

constexpr Input RowInput(const char* name, TypeRule type, ValueRule values) {
  return {name, ShapeRule::kRows, type, values, false};
}
constexpr Input kLogits = RowInput("logits", TypeRule::kFloating, ValueRule::kAny);
constexpr Input kTargets = RowInput("targets", TypeRule::kTarget, ValueRule::kUnitInterval);
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kLabelRows = {"labels", ShapeRule::kLabelRows, TypeRule::kLabel,
                              ValueRule::kLabelList, false};
constexpr Input kClassWeight = {"class_weight", ShapeRule::kClassVector, TypeRule::kFloating,
                                ValueRule::kAny, true};

constexpr Input kMultiMargin[] = {kLogits, kLabels, kClassWeight};
constexpr Input kMultilabelMargin[] = {kLogits, kLabelRows};
constexpr Input kMultilabelSoftMargin[] = {kLogits, kTargets, kClassWeight};

template <template <class> class Formula>
constexpr Signature RowSignature(TableSpan<Input> inputs) {
  return {inputs, ItemKind::kRow, Rowwise<Formula>()};
}
constexpr Signature kMultiMarginSignatures[] = {RowSignature<MultiMargin>(kMultiMargin)};
constexpr Signature kMultilabelMarginSignatures[] = {
    RowSignature<MultilabelMargin>(kMultilabelMargin)};
constexpr Signature kMultilabelSoftMarginSignatures[] = {
    RowSignature<MultilabelSoftMargin>(kMultilabelSoftMargin)};

constexpr Parameter kMultiMarginParameters[] = {
    {"p", ParameterType::kInt64, 1, 1, 2, false, "power of what is missing of the margin"},
    {"margin", ParameterType::kDouble, 1, -binary::kMax, binary::kMax, false,
     "lead that the label must have over every other class"}};

constexpr char kFamily[] = "classification";
constexpr LossRow kRows[] = {
    {"multi_margin", kFamily, "hinge loss of a label's lead over every other class",
     "w_y sum_{j != y} max(0, margin - x_y + x_j)^p / C", "torch.nn.functional.multi_margin_loss",
     kMultiMarginParameters, kMultiMarginSignatures},
    {"multilabel_margin",
     kFamily,
     "hinge loss of the lead of several labels over every other class",
     "sum over labels y and classes j that are none of max(0, 1 - x_y + x_j) / C",
     "torch.nn.functional.multilabel_margin_loss",
     {},
     kMultilabelMarginSignatures},
    {"multilabel_soft_margin",
     kFamily,
     "binary cross-entropy of every class of a row",
     "mean_j w_j -[y_j log p_j + (1 - y_j) log(1 - p_j)]",
     "torch.nn.functional.multilabel_soft_margin_loss",
     {},
     kMultilabelSoftMarginSignatures},
};

}  // namespace margins

LossTable MarginsTable() { return {HWY_TARGET, margins::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(MarginsTable);
LossTable MarginsTable() { return HWY_DYNAMIC_DISPATCH(MarginsTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
