// Classification and distributions: losses of a row of classes. zero_one stands in zero_one.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/classification.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/predictions-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace classification {

// With labels: w_y (1 - s) (-log p_y) + s / C sum_j w_j (-log p_j), s the smoothing.
template <class T, template <class> class Prediction>
struct LabelCrossEntropy {
  T scale, keep, spread;
  LabelCrossEntropy(const double* p, const RowBlock<T>& block)
      : scale(static_cast<T>(UnitsPerNat(p[2]))),
        keep(static_cast<T>(1 - p[0])),
        spread(static_cast<T>(p[0] / static_cast<double>(block.classes))) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const Prediction<T> prediction(x, block.classes);
    T item = ScalarNegLog(prediction, LoadScalar(x + label));
    if (block.class_weights != nullptr) {
      const T weight = LoadScalar(block.class_weights + label);
      // A class of weight 0 adds nothing, whatever its probability, as in the sums below.
      item = weight == T(0) ? T(0) : weight * item;
    }
    if (spread != T(0)) {
      const T smooth = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
        const auto neg_log = prediction.NegLog(d, LoadClasses(d, x + i, count, T(0)));
        if (block.class_weights == nullptr) return neg_log;
        return MaskedMul(d, LoadClasses(d, block.class_weights + i, count, T(0)), neg_log);
      });
      // keep = 0 leaves the label without a part, whatever its probability.
      item = (keep == T(0) ? T(0) : keep * item) + spread * smooth;
    }
    return item * scale;
  }
};

// With target_probs: sum_j w_j t_j (-log p_j), the targets mixed with the uniform distribution by
// the smoothing.
template <class T, template <class> class Prediction>
struct TargetCrossEntropy {
  T scale, keep, spread;
  TargetCrossEntropy(const double* p, const RowBlock<T>& block)
      : scale(static_cast<T>(UnitsPerNat(p[2]))),
        keep(static_cast<T>(1 - p[0])),
        spread(static_cast<T>(p[0] / static_cast<double>(block.classes))) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const T* t = block.targets + row * block.classes;
    const Prediction<T> prediction(x, block.classes);
    const T sum = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto neg_log = prediction.NegLog(d, LoadClasses(d, x + i, count, T(0)));
      auto target = LoadClasses(d, t + i, count, T(0));
      if (spread != T(0)) target = hn::MulAdd(target, hn::Set(d, keep), hn::Set(d, spread));
      if (block.class_weights != nullptr) {
        target = hn::Mul(target, LoadClasses(d, block.class_weights + i, count, T(0)));
      }
      return MaskedMul(d, target, neg_log);
    });
    return sum * scale;
  }
};

// Of logits: sum_j p_j (-log p_j) = log_total + (sum_j e_j (max - x_j)) / total, e_j = exp(x_j -
// max).
template <class T>
struct LogitsEntropy {
  T scale;
  LogitsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const LogitsRow<T> logits(x, block.classes);
    const T below = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto distance = hn::Sub(hn::Set(d, logits.sum.max), LoadClasses(d, x + i, count, T(0)));
      return MaskedMul(d, Exp(d, hn::Sub(hn::Zero(d), distance)), distance);
    });
    return (logits.log_total + below / logits.sum.Total()) * scale;
  }
};

template <class T>
struct LogProbsEntropy {
  T scale;
  LogProbsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const T sum = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto log_p = LoadClasses(d, x + i, count, T(0));
      return MaskedMul(d, Exp(d, log_p), hn::Sub(hn::Zero(d), log_p));
    });
    return sum * scale;
  }
};

template <class T>
struct ProbsEntropy {
  T scale;
  ProbsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const T sum = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto p = LoadClasses(d, x + i, count, T(0));
      return MaskedMul(d, p, hn::Sub(hn::Zero(d), Log(d, p)));
    });
    return sum * scale;
  }
};

// The target distribution: p and log p of a vector of classes.
template <class V>
struct TargetTerms {
  V p, log_p;
};
struct TargetProbs {
  template <class D, class V>
  static HWY_INLINE TargetTerms<V> Terms(D d, V t) {
    return {t, Log(d, t)};
  }
};
struct TargetLogProbs {
  template <class D, class V>
  static HWY_INLINE TargetTerms<V> Terms(D d, V t) {
    return {Exp(d, t), t};
  }
};

template <class T, class Target, template <class> class Prediction>
struct Divergence {
  T scale;
  Divergence(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[1]))) {}

  template <class D>
  static HWY_INLINE hn::Vec<D> Term(D d, const Prediction<T>& prediction, const T* x, const T* t,
                                    size_t i, size_t count) {
    const auto terms = Target::Terms(d, LoadClasses(d, t + i, count, T(0)));
    const auto neg_log_q = prediction.NegLog(d, LoadClasses(d, x + i, count, T(0)));
    return MaskedMul(d, terms.p, hn::Add(terms.log_p, neg_log_q));
  }
};

template <class T, class Target, template <class> class Prediction>
struct RowDivergence : Divergence<T, Target, Prediction> {
  using Base = Divergence<T, Target, Prediction>;
  using Base::Base;
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.predictions + row * block.classes;
    const T* t = block.targets + row * block.classes;
    const Prediction<T> prediction(x, block.classes);
    const T sum = SumRow<T>(block.classes, [&](auto d, size_t i, size_t count) HWY_ATTR {
      return Base::Term(d, prediction, x, t, i, count);
    });
    return sum * Base::scale;
  }
};

template <class T, class Target, template <class> class Prediction>
struct PointwiseDivergence : Divergence<T, Target, Prediction> {
  using Base = Divergence<T, Target, Prediction>;
  using Base::Base;
  template <class Store>
  void Row(const RowBlock<T>& block, size_t row, const Store& store) const {
    const hn::ScalableTag<T> d;
    const T* x = block.predictions + row * block.classes;
    const T* t = block.targets + row * block.classes;
    const Prediction<T> prediction(x, block.classes);
    for (size_t i = 0; i < block.classes; i += kVectorLanes<T>) {
      const size_t count = HWY_MIN(block.classes - i, kVectorLanes<T>);
      const auto term = Base::Term(d, prediction, x, t, i, count);
      store(hn::Mul(term, hn::Set(d, Base::scale)), i, count);
    }
  }
};

template <class T>
using LabelsLogits = LabelCrossEntropy<T, LogitsRow>;
template <class T>
using LabelsLogProbs = LabelCrossEntropy<T, LogProbsRow>;
template <class T>
using LabelsProbs = LabelCrossEntropy<T, ProbsRow>;
template <class T>
using TargetsLogits = TargetCrossEntropy<T, LogitsRow>;
template <class T>
using TargetsLogProbs = TargetCrossEntropy<T, LogProbsRow>;
template <class T>
using TargetsProbs = TargetCrossEntropy<T, ProbsRow>;

template <class T>
using KlProbsLogits = RowDivergence<T, TargetProbs, LogitsRow>;
template <class T>
using KlProbsLogProbs = RowDivergence<T, TargetProbs, LogProbsRow>;
template <class T>
using KlProbsProbs = RowDivergence<T, TargetProbs, ProbsRow>;
template <class T>
using KlLogProbsLogits = RowDivergence<T, TargetLogProbs, LogitsRow>;
template <class T>
using KlLogProbsLogProbs = RowDivergence<T, TargetLogProbs, LogProbsRow>;
template <class T>
using KlLogProbsProbs = RowDivergence<T, TargetLogProbs, ProbsRow>;
template <class T>
using PointProbsLogits = PointwiseDivergence<T, TargetProbs, LogitsRow>;
template <class T>
using PointProbsLogProbs = PointwiseDivergence<T, TargetProbs, LogProbsRow>;
template <class T>
using PointProbsProbs = PointwiseDivergence<T, TargetProbs, ProbsRow>;
template <class T>
using PointLogProbsLogits = PointwiseDivergence<T, TargetLogProbs, LogitsRow>;
template <class T>
using PointLogProbsLogProbs = PointwiseDivergence<T, TargetLogProbs, LogProbsRow>;
template <class T>
using PointLogProbsProbs = PointwiseDivergence<T, TargetLogProbs, ProbsRow>;

constexpr Input ClassInput(const char* name) {
  return {name, ShapeRule::kClasses, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input RowInput(const char* name) {
  return {name, ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kClassWeight = {"class_weight", ShapeRule::kClassVector, TypeRule::kFloating,
                                ValueRule::kAny, true};

constexpr Input kLogitsLabels[] = {ClassInput("logits"), kLabels, kClassWeight};
constexpr Input kLogProbsLabels[] = {ClassInput("log_probs"), kLabels, kClassWeight};
constexpr Input kProbsLabels[] = {ClassInput("probs"), kLabels, kClassWeight};
constexpr Input kLogitsTargets[] = {ClassInput("logits"), ClassInput("target_probs"), kClassWeight};
constexpr Input kLogProbsTargets[] = {ClassInput("log_probs"), ClassInput("target_probs"),
                                      kClassWeight};
constexpr Input kProbsTargets[] = {ClassInput("probs"), ClassInput("target_probs"), kClassWeight};

constexpr Input kLogits[] = {RowInput("logits")};
constexpr Input kLogProbs[] = {RowInput("log_probs")};
constexpr Input kProbs[] = {RowInput("probs")};

constexpr Input kKlProbsLogits[] = {ClassInput("logits"), ClassInput("target_probs")};
constexpr Input kKlProbsLogProbs[] = {ClassInput("log_probs"), ClassInput("target_probs")};
constexpr Input kKlProbsProbs[] = {ClassInput("probs"), ClassInput("target_probs")};
constexpr Input kKlLogProbsLogits[] = {ClassInput("logits"), ClassInput("target_log_probs")};
constexpr Input kKlLogProbsLogProbs[] = {ClassInput("log_probs"), ClassInput("target_log_probs")};
constexpr Input kKlLogProbsProbs[] = {ClassInput("probs"), ClassInput("target_log_probs")};

constexpr Signature kCrossEntropySignatures[] = {
    {kLogitsLabels, ItemKind::kPosition, Rowwise<LabelsLogits>(), {}, true},
    {kLogProbsLabels, ItemKind::kPosition, Rowwise<LabelsLogProbs>(), {}, true},
    {kProbsLabels, ItemKind::kPosition, Rowwise<LabelsProbs>(), {}, true},
    {kLogitsTargets, ItemKind::kPosition, Rowwise<TargetsLogits>()},
    {kLogProbsTargets, ItemKind::kPosition, Rowwise<TargetsLogProbs>()},
    {kProbsTargets, ItemKind::kPosition, Rowwise<TargetsProbs>()}};

constexpr Signature kEntropySignatures[] = {{kLogits, ItemKind::kRow, Rowwise<LogitsEntropy>()},
                                            {kLogProbs, ItemKind::kRow, Rowwise<LogProbsEntropy>()},
                                            {kProbs, ItemKind::kRow, Rowwise<ProbsEntropy>()}};

// The second set of kernels gives an item a class.
template <template <class> class Row, template <class> class Point>
constexpr Signature DivergenceSignature(TableSpan<Input> inputs) {
  Signature signature = {inputs, ItemKind::kPosition, Rowwise<Row>()};
  signature.pointwise_kernels = PointwiseRows<Point>();
  return signature;
}
constexpr Signature kKlSignatures[] = {
    DivergenceSignature<KlProbsLogits, PointProbsLogits>(kKlProbsLogits),
    DivergenceSignature<KlProbsLogProbs, PointProbsLogProbs>(kKlProbsLogProbs),
    DivergenceSignature<KlProbsProbs, PointProbsProbs>(kKlProbsProbs),
    DivergenceSignature<KlLogProbsLogits, PointLogProbsLogits>(kKlLogProbsLogits),
    DivergenceSignature<KlLogProbsLogProbs, PointLogProbsLogProbs>(kKlLogProbsLogProbs),
    DivergenceSignature<KlLogProbsProbs, PointLogProbsProbs>(kKlLogProbsProbs)};

constexpr Parameter kUnit = {"unit", ParameterType::kUnit,    kUnitNats, kUnitNats, kUnitBits,
                             false,  "unit of the logarithms"};
constexpr Parameter kCrossEntropyParameters[] = {
    {"label_smoothing", ParameterType::kDouble, 0, 0, 1, false,
     "share of the uniform distribution in the target"},
    {"ignore_index", ParameterType::kInt64, -100, -9007199254740991.0, 9007199254740991.0, false,
     "positions with this label are ignored"},
    kUnit};
constexpr Parameter kEntropyParameters[] = {kUnit};
constexpr Parameter kKlParameters[] = {
    {"pointwise", ParameterType::kBool, 0, 0, 1, false, "one item a class in place of one a row"},
    kUnit};

constexpr char kFamily[] = "classification";
constexpr LossRow kRows[] = {
    {"cross_entropy", kFamily, "cross-entropy of a label or a target distribution",
     "-log p_y (times class_weight of y), or -sum_j target_probs_j log p_j",
     "torch.nn.functional.cross_entropy; with log_probs nll_loss", kCrossEntropyParameters,
     kCrossEntropySignatures},
    {"entropy", kFamily, "entropy of the prediction", "-sum_j p_j log p_j", "definition",
     kEntropyParameters, kEntropySignatures},
    {"kl_divergence", kFamily, "Kullback-Leibler divergence of the target p from the prediction q",
     "sum_j p_j (log p_j - log q_j); pointwise: its terms", "torch.nn.functional.kl_div",
     kKlParameters, kKlSignatures},
};

}  // namespace classification

LossTable ClassificationTable() { return {HWY_TARGET, classification::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(ClassificationTable);
LossTable ClassificationTable() { return HWY_DYNAMIC_DISPATCH(ClassificationTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
