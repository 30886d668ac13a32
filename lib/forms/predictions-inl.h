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
