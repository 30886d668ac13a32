// Predictions of classes as they come: logits, log_probs or probs. Each gives -log p of the classes
// of a row, for a vector of them and for one, and the vector and the scalar have the same bits.
//
// Each also gives the gradient of sum_j t_j (-log p_j), times `scale`: `target(d, i, count)` is the
// vector of t_i, t_{i+1}, ..., `total` the sum of all. A class whose t_j is 0 has no term.
#if defined(LOSSD_LIB_FORMS_PREDICTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#undef LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#else
#define LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#endif

#include <cstdint>
#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/forms/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

// factor * value, and 0 where the factor is: 0 log 0 = 0.
template <class D, class V>
HWY_INLINE V MaskedMul(D d, V factor, V value) {
  return hn::IfThenZeroElse(hn::Eq(factor, hn::Zero(d)), hn::Mul(factor, value));
}

// The same of a quotient.
template <class D, class V>
HWY_INLINE V MaskedDiv(D d, V factor, V value) {
  return hn::IfThenZeroElse(hn::Eq(factor, hn::Zero(d)), hn::Div(factor, value));
}

// -log p_j = (max - x_j) + log1p(...): both terms are at least 0.
template <class T>
struct LogitsRow {
  static constexpr bool kSoftmax = true;
  LogSumExp<T> sum;
  T log_total;  // NaN for a row without a softmax, and so is every -log p

  LogitsRow(const RowBlock<T>& block, size_t row)
      : sum{block.softmax.max[row], block.softmax.at_max[row], block.softmax.rest[row]},
        log_total(block.softmax.log_total[row]) {}
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Add(hn::Sub(hn::Set(d, sum.max), x), hn::Set(d, log_total));
  }
  // The same of one class of each of the rows `row`, `row + 1`, ..., a row a lane.
  template <class D, class V>
  static HWY_INLINE V NegLogOfRows(D d, const RowBlock<T>& block, size_t row, size_t count, V x) {
    const auto max = LoadClasses(d, block.softmax.max + row, count, T(0));
    const auto log_total = LoadClasses(d, block.softmax.log_total + row, count, T(0));
    return hn::Add(hn::Sub(max, x), log_total);
  }
  // Lanes beyond the row may hold anything up to the largest logit.
  template <class D, class V>
  HWY_INLINE V Probability(D d, V x) const {
    const V e = ExpNonPositive(d, hn::Sub(x, hn::Set(d, sum.max)));
    return hn::Div(e, hn::Set(d, sum.Valid() ? sum.Total() : QuietNan<T>()));
  }
  // total p_j - t_j; as -total (1 - p_j) + (total - t_j) where p_j is near 1, so that a class that
  // has all of the target keeps its digits.
  template <class Target>
  void Gradient(const T* x, size_t width, T total, const Target& target, T scale,
                T* gradient) const {
    StoreRow<T>(width, gradient, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto v = LoadClasses(d, x + i, count, -std::numeric_limits<T>::infinity());
      const auto totals = hn::Set(d, total);
      const auto t = target(d, i, count);
      const auto p = Probability(d, v);
      auto slope = hn::MulSub(totals, p, t);
      const auto likely = hn::Gt(p, hn::Set(d, T(0.5)));
      if (HWY_UNLIKELY(!hn::AllFalse(d, likely))) {
        const auto wrong = Expm1(d, hn::Sub(hn::Zero(d), NegLog(d, v)));
        slope = hn::IfThenElse(likely, hn::MulAdd(totals, wrong, hn::Sub(totals, t)), slope);
      }
      return hn::Mul(slope, hn::Set(d, scale));
    });
  }
};

// The softmax of a row times `factor`, and the class of the label `own` lower: own (p_j - t_j)
// scale for a target that is all at the label. Writes the canonical NaN only.
template <class T>
class LabelGradient {
 public:
  LabelGradient(const RowBlock<T>& block, size_t row, T own, T scale)
      : x_(block.operands[0] + row * block.width),
        width_(block.width),
        streams_(block.streams_gradients),
        logits_(block, row),
        own_(own),
        scale_(scale),
        inverse_(T(1) / (logits_.sum.Valid() ? logits_.sum.Total() : QuietNan<T>())) {}

  void Store(size_t label, T* gradient) const {
    const T factor = own_ * scale_ * inverse_;
    size_t i = 0;
    // Up to where whole vectors may be stored past the cache; then four vectors at a time.
    constexpr size_t kBytes = kLanes * sizeof(T);
    const size_t odd = reinterpret_cast<uintptr_t>(gradient) % kBytes;
    const bool streams = streams_ && odd % sizeof(T) == 0;
    if (streams && odd != 0) {
      const size_t head = HWY_MIN(width_, (kBytes - odd) / sizeof(T));
      StoreClasses(0, head, factor, gradient);
      i = head;
    }
    if (streams) {
      for (; i + kStride <= width_; i += kStride) StoreStride<true>(i, factor, gradient);
    } else {
      for (; i + kStride <= width_; i += kStride) StoreStride<false>(i, factor, gradient);
    }
    for (; i < width_; i += kLanes) {
      StoreClasses(i, HWY_MIN(width_ - i, kLanes), factor, gradient);
    }
    StoreOfLabel(label, gradient);
    // A row without NaN and with a finite factor has none now.
    if (logits_.log_total - logits_.log_total != T(0) || factor - factor != T(0))
      CanonicaliseNans(gradient, width_);
  }

 private:
  using D = hn::ScalableTag<T>;
  static constexpr size_t kLanes = kVectorLanes<T>;
  static constexpr size_t kVectors = 4;
  static constexpr size_t kStride = kVectors * kLanes;

  HWY_INLINE void StoreClasses(size_t i, size_t count, T factor, T* gradient) const {
    const D d;
    const auto v = LoadClasses(d, x_ + i, count, -std::numeric_limits<T>::infinity());
    const auto e = ExpTermNonPositive(d, hn::Sub(v, hn::Set(d, logits_.sum.max)));
    RowStore(gradient)(hn::Mul(e, hn::Set(d, factor)), i, count);
  }

  template <bool kStreams>
  HWY_INLINE void StoreStride(size_t i, T factor, T* gradient) const {
    const D d;
    hn::Vec<D> below[kVectors], terms[kVectors];
    const auto low = hn::Set(d, MathConstants<T>::kExpNormalLow);
    auto ordinary = hn::FirstN(d, kLanes);
    for (size_t k = 0; k < kVectors; ++k) {
      below[k] = hn::Sub(hn::LoadU(d, x_ + i + k * kLanes), hn::Set(d, logits_.sum.max));
      ordinary = hn::And(ordinary, hn::Gt(below[k], low));  // not NaN either
    }
    ExpTerms(d, below, terms);
    if (HWY_UNLIKELY(!hn::AllTrue(d, ordinary))) {
      for (size_t k = 0; k < kVectors; ++k) terms[k] = ExpTermNonPositive(d, below[k]);
    }
    for (size_t k = 0; k < kVectors; ++k) {
      const auto slope = hn::Mul(terms[k], hn::Set(d, factor));
      if constexpr (kStreams) {
        hn::Stream(slope, d, gradient + i + k * kLanes);
      } else {
        hn::StoreU(slope, d, gradient + i + k * kLanes);
      }
    }
  }

  // As -own (1 - p) where p is near 1, so that nothing cancels.
  void StoreOfLabel(size_t label, T* gradient) const {
    const hn::CappedTag<T, 1> d;
    const auto v = hn::Set(d, LoadScalar(x_ + label));
    const auto own = hn::Set(d, own_);
    const auto e = ExpTermNonPositive(d, hn::Sub(v, hn::Set(d, logits_.sum.max)));
    const auto p = hn::Mul(e, hn::Set(d, inverse_));
    const auto wrong = Expm1(d, hn::Sub(hn::Zero(d), logits_.NegLog(d, v)));
    const auto likely = hn::Gt(p, hn::Set(d, T(0.5)));
    const auto slope = hn::IfThenElse(likely, hn::Mul(own, wrong), hn::MulSub(own, p, own));
    const T value = hn::GetLane(hn::Mul(slope, hn::Set(d, scale_)));
    std::memcpy(gradient + label, &value, sizeof(T));
  }

  const T* const x_;
  const size_t width_;
  const bool streams_;
  const LogitsRow<T> logits_;
  const T own_, scale_;
  const T inverse_;  // of the sum of exp(x - max); NaN for a row without a softmax
};

template <class T>
struct LogProbsRow {
  static constexpr bool kSoftmax = false;
  LogProbsRow(const RowBlock<T>&, size_t) {}
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Sub(hn::Zero(d), x);
  }
  template <class D, class V>
  static HWY_INLINE V NegLogOfRows(D d, const RowBlock<T>&, size_t, size_t, V x) {
    return hn::Sub(hn::Zero(d), x);
  }
  template <class Target>
  void Gradient(const T*, size_t width, T, const Target& target, T scale, T* gradient) const {
    StoreRow<T>(width, gradient, [&](auto d, size_t i, size_t count) HWY_ATTR {
      return MaskedMul(d, target(d, i, count), hn::Set(d, -scale));
    });
  }
};

template <class T>
struct ProbsRow {
  static constexpr bool kSoftmax = false;
  ProbsRow(const RowBlock<T>&, size_t) {}
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Sub(hn::Zero(d), Log(d, x));
  }
  template <class D, class V>
  static HWY_INLINE V NegLogOfRows(D d, const RowBlock<T>&, size_t, size_t, V x) {
    return hn::Sub(hn::Zero(d), Log(d, x));
  }
  template <class Target>
  void Gradient(const T* x, size_t width, T, const Target& target, T scale, T* gradient) const {
    StoreRow<T>(width, gradient, [&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto slope = MaskedDiv(d, target(d, i, count), LoadClasses(d, x + i, count, T(1)));
      return MaskedMul(d, slope, hn::Set(d, -scale));
    });
  }
};

// -log p of one class.
template <class T, class Prediction>
HWY_INLINE T ScalarNegLog(const Prediction& prediction, T x) {
  const hn::CappedTag<T, 1> d;
  return hn::GetLane(prediction.NegLog(d, hn::Set(d, x)));
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
