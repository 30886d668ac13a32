// Classification and distributions: losses of a row of classes. zero_one stands in zero_one.cc.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/classification.cc"
#include <cstring>
#include <limits>

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
  static constexpr bool kSoftmax = Prediction<T>::kSoftmax;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kCanonicalGradients = true;
  T scale, keep, spread;
  LabelCrossEntropy(const double* p, const RowBlock<T>& block)
      : scale(static_cast<T>(UnitsPerNat(p[2]))),
        keep(static_cast<T>(1 - p[0])),
        spread(static_cast<T>(p[0] / static_cast<double>(block.width))) {}

  bool InLanes() const { return spread == T(0); }
  template <class D, class V>
  HWY_INLINE V Rows(D d, const RowBlock<T>& block, size_t row, size_t count, V x) const {
    return hn::Mul(OfLabel(d, block, row, count, x), hn::Set(d, scale));
  }
  T Row(const RowBlock<T>& block, size_t row) const {
    const hn::CappedTag<T, 1> one;
    const T* x = block.operands[0] + row * block.width;
    const auto of_label = hn::Set(one, LoadScalar(x + block.labels[row]));
    const T item = hn::GetLane(OfLabel(one, block, row, 1, of_label));
    const Prediction<T> prediction(block, row);
    const T smooth = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto neg_log = prediction.NegLog(d, LoadClasses(d, x + i, count, T(0)));
      if (block.class_weights == nullptr) return neg_log;
      return MaskedMul(d, LoadClasses(d, block.class_weights + i, count, T(0)), neg_log);
    });
    // keep = 0 leaves the label without a part, whatever its probability.
    return ((keep == T(0) ? T(0) : keep * item) + spread * smooth) * scale;
  }

  // The target of class j is spread w_j, and keep w_y more for the label.
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    T* gradient = gradients[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const T* w = block.class_weights;
    const T own = keep * (w == nullptr ? T(1) : LoadScalar(w + label));
    if (own == T(0) && spread == T(0)) {
      // A class of weight 0 adds nothing, not even NaN.
      std::memset(gradient, 0, block.width * sizeof(T));
      return;
    }
    if constexpr (kSoftmax) {
      if (spread == T(0)) {
        LabelGradient<T>(block, row, own, scale * item_scale).Store(label, gradient);
        return;
      }
    }
    const auto spread_of = [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto share = hn::Set(d, spread);
      return w == nullptr ? share : hn::Mul(share, LoadClasses(d, w + i, count, T(0)));
    };
    const T total = own + (spread == T(0) ? T(0) : SumRow<T>(block.width, spread_of));
    const auto target = [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto shares = spread == T(0) ? hn::Zero(d) : spread_of(d, i, count);
      return hn::IfThenElse(IsClass(d, i, label), hn::Add(shares, hn::Set(d, own)), shares);
    };
    Prediction<T>(block, row).Gradient(x, block.width, total, target, scale * item_scale, gradient);
    CanonicaliseNans(gradient, block.width);
  }

 private:
  // w_y (-log p_y). A class of weight 0 adds nothing, whatever its probability, as in the sums.
  template <class D, class V>
  static HWY_INLINE V OfLabel(D d, const RowBlock<T>& block, size_t row, size_t count, V x) {
    const auto neg_log = Prediction<T>::NegLogOfRows(d, block, row, count, x);
    if (block.class_weights == nullptr) return neg_log;
    return MaskedMul(d, WeightsOfLabels(d, block, row, count), neg_log);
  }
};

// With target_probs: sum_j w_j t_j (-log p_j), the targets mixed with the uniform distribution by
// the smoothing.
template <class T, template <class> class Prediction>
struct TargetCrossEntropy {
  static constexpr bool kSoftmax = Prediction<T>::kSoftmax;
  static constexpr uint32_t kGradients = 1;
  T scale, keep, spread;
  TargetCrossEntropy(const double* p, const RowBlock<T>& block)
      : scale(static_cast<T>(UnitsPerNat(p[2]))),
        keep(static_cast<T>(1 - p[0])),
        spread(static_cast<T>(p[0] / static_cast<double>(block.width))) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.operands[0] + row * block.width;
    const Prediction<T> prediction(block, row);
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto neg_log = prediction.NegLog(d, LoadClasses(d, x + i, count, T(0)));
      return MaskedMul(d, Target(d, block, row, i, count), neg_log);
    });
    return sum * scale;
  }

  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    const auto target = [&](auto d, size_t i, size_t count)
                            HWY_ATTR { return Target(d, block, row, i, count); };
    Prediction<T>(block, row)
        .Gradient(x, block.width, SumRow<T>(block.width, target), target, scale * item_scale,
                  gradients[0] + row * block.width);
  }

  // w_j t_j, the targets mixed.
  template <class D>
  HWY_INLINE hn::Vec<D> Target(D d, const RowBlock<T>& block, size_t row, size_t i,
                               size_t count) const {
    auto target = LoadClasses(d, block.operands[1] + row * block.width + i, count, T(0));
    if (spread != T(0)) target = hn::MulAdd(target, hn::Set(d, keep), hn::Set(d, spread));
    if (block.class_weights == nullptr) return target;
    return hn::Mul(target, LoadClasses(d, block.class_weights + i, count, T(0)));
  }
};

// Of logits: sum_j p_j (-log p_j) = log_total + (sum_j e_j (max - x_j)) / total, e_j = exp(x_j -
// max).
template <class T>
struct LogitsEntropy {
  static constexpr bool kSoftmax = true;
  static constexpr uint32_t kGradients = 1;
  T scale;
  LogitsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.operands[0] + row * block.width;
    return Nats(LogitsRow<T>(block, row), x, block.width) * scale;
  }

  // p_j (-log p_j - H).
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    const LogitsRow<T> logits(block, row);
    const T entropy = Nats(logits, x, block.width);
    StoreRow<T>(block.width, gradients[0] + row * block.width,
                [&](auto d, size_t i, size_t count) HWY_ATTR {
                  constexpr T kLowest = -std::numeric_limits<T>::infinity();
                  const auto v = LoadClasses(d, x + i, count, kLowest);
                  const auto excess = hn::Sub(logits.NegLog(d, v), hn::Set(d, entropy));
                  const auto slope = MaskedMul(d, logits.Probability(d, v), excess);
                  return hn::Mul(slope, hn::Set(d, scale * item_scale));
                });
  }

 private:
  static T Nats(const LogitsRow<T>& logits, const T* x, size_t width) {
    const T below = SumRow<T>(width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto distance = hn::Sub(hn::Set(d, logits.sum.max), LoadClasses(d, x + i, count, T(0)));
      return MaskedMul(d, Exp(d, hn::Sub(hn::Zero(d), distance)), distance);
    });
    return logits.log_total + below / logits.sum.Total();
  }
};

template <class T>
struct LogProbsEntropy {
  static constexpr uint32_t kGradients = 1;
  T scale;
  LogProbsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.operands[0] + row * block.width;
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto log_p = LoadClasses(d, x + i, count, T(0));
      return MaskedMul(d, Exp(d, log_p), hn::Sub(hn::Zero(d), log_p));
    });
    return sum * scale;
  }

  // -p_j (log p_j + 1).
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    StoreRow<T>(block.width, gradients[0] + row * block.width,
                [&](auto d, size_t i, size_t count) HWY_ATTR {
                  const auto log_p = LoadClasses(d, x + i, count, T(0));
                  const auto slope = MaskedMul(d, Exp(d, log_p), hn::Add(log_p, hn::Set(d, T(1))));
                  return hn::Mul(slope, hn::Set(d, -scale * item_scale));
                });
  }
};

template <class T>
struct ProbsEntropy {
  static constexpr uint32_t kGradients = 1;
  T scale;
  ProbsEntropy(const double* p, const RowBlock<T>&) : scale(static_cast<T>(UnitsPerNat(p[0]))) {}
  T Row(const RowBlock<T>& block, size_t row) const {
    const T* x = block.operands[0] + row * block.width;
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto p = LoadClasses(d, x + i, count, T(0));
      return MaskedMul(d, p, hn::Sub(hn::Zero(d), Log(d, p)));
    });
    return sum * scale;
  }

  // -(log p_j + 1): inf where p_j is 0.
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    StoreRow<T>(block.width, gradients[0] + row * block.width,
                [&](auto d, size_t i, size_t count) HWY_ATTR {
                  const auto log_p = Log(d, LoadClasses(d, x + i, count, T(1)));
                  const auto slope = hn::Add(log_p, hn::Set(d, T(1)));
                  return hn::Mul(slope, hn::Set(d, -scale * item_scale));
                });
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
  template <class D, class V>
  static HWY_INLINE V Probability(D, V t) {
    return t;
  }
};
struct TargetLogProbs {
  template <class D, class V>
  static HWY_INLINE TargetTerms<V> Terms(D d, V t) {
    return {Exp(d, t), t};
  }
  template <class D, class V>
  static HWY_INLINE V Probability(D d, V t) {
    return Exp(d, t);
  }
};

template <class T, class Target, template <class> class Prediction>
struct Divergence {
  static constexpr bool kSoftmax = Prediction<T>::kSoftmax;
  static constexpr uint32_t kGradients = 1;
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
    const T* x = block.operands[0] + row * block.width;
    const T* t = block.operands[1] + row * block.width;
    const Prediction<T> prediction(block, row);
    const T sum = SumRow<T>(block.width, [&](auto d, size_t i, size_t count) HWY_ATTR {
      return Base::Term(d, prediction, x, t, i, count);
    });
    return sum * Base::scale;
  }
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    const T* t = block.operands[1] + row * block.width;
    const auto target = [&](auto d, size_t i, size_t count) HWY_ATTR {
      return Target::Probability(d, LoadClasses(d, t + i, count, T(0)));
    };
    Prediction<T>(block, row)
        .Gradient(x, block.width, SumRow<T>(block.width, target), target, Base::scale * item_scale,
                  gradients[0] + row * block.width);
  }
};

template <class T, class Target, template <class> class Prediction>
struct PointwiseDivergence : Divergence<T, Target, Prediction> {
  using Base = Divergence<T, Target, Prediction>;
  using Base::Base;
  template <class Store>
  void Row(const RowBlock<T>& block, size_t row, const Store& store) const {
    const hn::ScalableTag<T> d;
    const T* x = block.operands[0] + row * block.width;
    const T* t = block.operands[1] + row * block.width;
    const Prediction<T> prediction(block, row);
    for (size_t i = 0; i < block.width; i += kVectorLanes<T>) {
      const size_t count = HWY_MIN(block.width - i, kVectorLanes<T>);
      const auto term = Base::Term(d, prediction, x, t, i, count);
      store(hn::Mul(term, hn::Set(d, Base::scale)), i, count);
    }
  }
  // Of the sum of the items, each times its scale.
  void Gradient(const RowBlock<T>& block, size_t row, const T* item_scales,
                T* const* gradients) const {
    const T* x = block.operands[0] + row * block.width;
    const T* t = block.operands[1] + row * block.width;
    const auto target = [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto p = Target::Probability(d, LoadClasses(d, t + i, count, T(0)));
      return MaskedMul(d, LoadClasses(d, item_scales + i, count, T(0)), p);
    };
    Prediction<T>(block, row)
        .Gradient(x, block.width, SumRow<T>(block.width, target), target, Base::scale,
                  gradients[0] + row * block.width);
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

constexpr Parameter kCrossEntropyParameters[] = {
    {"label_smoothing", ParameterType::kDouble, 0, 0, 1, false,
     "share of the uniform distribution in the target"},
    {"ignore_index", ParameterType::kInt64, -100, -9007199254740991.0, 9007199254740991.0, false,
     "positions with this label are ignored"},
    kUnitParameter};
constexpr Parameter kEntropyParameters[] = {kUnitParameter};
constexpr Parameter kKlParameters[] = {
    {"pointwise", ParameterType::kBool, 0, 0, 1, false, "one item a class in place of one a row"},
    kUnitParameter};

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
