// Predictions of classes as they come: logits, log_probs or probs. Each gives -log p of the classes
// of a row, for a vector of them and for one, and the vector and the scalar have the same bits.
#if defined(LOSSD_LIB_FORMS_PREDICTIONS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#undef LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#else
#define LOSSD_LIB_FORMS_PREDICTIONS_INL_H_
#endif

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

// -log p_j = (max - x_j) + log1p(...): both terms are at least 0.
template <class T>
struct LogitsRow {
  LogSumExp<T> sum;
  T log_total;  // NaN for a row without a softmax, and so is every -log p

  LogitsRow(const T* x, size_t classes) : sum(LogSumExpRow(x, classes)) {
    log_total = sum.Valid() ? sum.LogTotal() : QuietNan<T>();
  }
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Add(hn::Sub(hn::Set(d, sum.max), x), hn::Set(d, log_total));
  }
};

template <class T>
struct LogProbsRow {
  LogProbsRow(const T*, size_t) {}
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Sub(hn::Zero(d), x);
  }
};

template <class T>
struct ProbsRow {
  ProbsRow(const T*, size_t) {}
  template <class D, class V>
  HWY_INLINE V NegLog(D d, V x) const {
    return hn::Sub(hn::Zero(d), Log(d, x));
  }
};

// -log p of one class.
template <class T, class Prediction>
HWY_INLINE T ScalarNegLog(const Prediction& prediction, T x) {
  const hn::CappedTag<T, 1> d;
  return hn::GetLane(prediction.NegLog(d, hn::Set(d, x)));
}

// factor * value, and 0 where the factor is: 0 log 0 = 0.
template <class D, class V>
HWY_INLINE V MaskedMul(D d, V factor, V value) {
  return hn::IfThenZeroElse(hn::Eq(factor, hn::Zero(d)), hn::Mul(factor, value));
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
