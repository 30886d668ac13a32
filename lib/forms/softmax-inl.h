// The log-sum-exp of rows of classes: what a softmax needs of a row, in the fixed layout of
// rowwise-inl.h.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_SOFTMAX_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_SOFTMAX_INL_H_
#undef LOSSD_LIB_FORMS_SOFTMAX_INL_H_
#else
#define LOSSD_LIB_FORMS_SOFTMAX_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// What a softmax needs of a row, kept so that nothing cancels: the classes at the maximum apart
// from the rest. log sum exp(x) = max + log1p((at_max - 1) + rest), and both terms of (max - x_j) +
// log1p(...) are at least 0.
template <class T>
struct LogSumExp {
  T max;     // largest logit
  T at_max;  // number of classes there
  T rest;    // sum over the others of exp(x - max)

  T Total() const { return at_max + rest; }  // sum of exp(x - max)
  // False for a row without a softmax: all classes at -inf, or one at +inf.
  bool Valid() const { return max - max == T(0); }
};

// The maximum of what is not NaN: exact, so its order is free.
template <class T>
class RunningMax {
 public:
  static constexpr size_t kChains = 4;
  static constexpr size_t kStride = kChains * kVectorLanes<T>;

  RunningMax() {
    for (size_t c = 0; c < kChains; ++c) largest_[c] = hn::Set(D(), kLowest);
  }
  // kStride classes from x on.
  HWY_INLINE void Add(const T* x) {
    const D d;
    for (size_t c = 0; c < kChains; ++c) {
      largest_[c] = LargerUnlessNan(d, hn::LoadU(d, x + c * kVectorLanes<T>), largest_[c]);
    }
  }
  // The maximum of those added and the classes [i, n) of x.
  HWY_INLINE T Finish(const T* x, size_t i, size_t n) {
    const D d;
    for (; i + kStride <= n; i += kStride) Add(x + i);
    for (; i < n; i += kVectorLanes<T>) {
      largest_[0] = LargerUnlessNan(d, LoadClasses(d, x + i, n - i, kLowest), largest_[0]);
    }
    for (size_t c = 1; c < kChains; ++c) largest_[0] = LargerUnlessNan(d, largest_[c], largest_[0]);
    return hn::GetLane(hn::MaxOfLanes(d, largest_[0]));  // no NaN here
  }

 private:
  using D = hn::ScalableTag<T>;
  static constexpr T kLowest = -std::numeric_limits<T>::infinity();
  hn::Vec<D> largest_[kChains];
};

// A chunk of n classes at x and its maximum.
template <class T>
struct ClassChunk {
  const T* x;
  size_t n;
  T max;
};

// The term of a class that is `below` <= 0 the maximum, where ExpTerms need not be right: 0 at the
// maximum, which is counted apart, and below the normal numbers; NaN stays.
template <class D, class V>
HWY_INLINE V EndTerm(D d, V below, V term) {
  using C = MathConstants<hn::TFromD<D>>;
  const V y = hn::IfThenElse(hn::Eq(below, below), term, below);
  const V normal = hn::IfThenZeroElse(hn::Lt(below, hn::Set(d, C::kExpNormalLow)), y);
  return hn::IfThenZeroElse(hn::Eq(below, hn::Zero(d)), normal);
}

// The log-sum-exp of a chunk. Meanwhile finds the maximum of the one after it (n = 0: none), so
// that memory is read while there is something to compute.
template <class T>
HWY_INLINE LogSumExp<T> LogSumExpChunk(const ClassChunk<T>& chunk, ClassChunk<T>* next) {
  RunningMax<T> next_max;
  size_t next_done = 0;
  size_t at_max = 0;
  const T rest = AddChunk<T>(chunk.n, [&](auto d, size_t i, size_t count, auto& out) HWY_ATTR {
    using V = hn::Vec<decltype(d)>;
    constexpr size_t kLanes = kVectorLanes<T>;
    constexpr size_t kVectors = sizeof(out) / sizeof(out[0]);
    const V maxes = hn::Set(d, chunk.max);
    V below[kVectors];
    // The bits of negative numbers, as integers, rise with the magnitude: see IsExpTerm.
    const hn::RebindToSigned<decltype(d)> di;
    auto farthest = hn::Set(di, hwy::LimitsMin<hwy::MakeSigned<T>>());
    for (size_t k = 0; k < kVectors; ++k) {
      const T* const classes = chunk.x + i + k * kLanes;
      PrefetchRow(classes);
      // Lanes beyond the row are at -inf and add nothing. A NaN makes the sum NaN.
      const V v =
          LoadClasses(d, classes, HWY_MIN(count, kLanes), -std::numeric_limits<T>::infinity());
      below[k] = hn::Sub(v, maxes);
      farthest = hn::Max(farthest, hn::BitCast(di, below[k]));
    }
    if (kVectors == RunningMax<T>::kChains && i + RunningMax<T>::kStride <= next->n) {
      next_max.Add(next->x + i);
      next_done = i + RunningMax<T>::kStride;
    }
    ExpTerms(d, below, out);
    if (HWY_LIKELY(hn::AllTrue(d, IsExpTerm(d, hn::BitCast(d, farthest))))) return;
    for (size_t k = 0; k < kVectors; ++k) {
      at_max += hn::CountTrue(d, hn::Eq(below[k], hn::Zero(d)));
      out[k] = EndTerm(d, below[k], out[k]);
    }
  });
  if (next->n > 0) next->max = next_max.Finish(next->x, next_done, next->n);
  return {chunk.max, static_cast<T>(at_max), rest};
}

template <class T>
HWY_INLINE LogSumExp<T> Combine(const LogSumExp<T>& a, const LogSumExp<T>& b) {
  if (a.max == b.max) return {a.max, a.at_max + b.at_max, a.rest + b.rest};
  const LogSumExp<T>& high = a.max > b.max ? a : b;
  const LogSumExp<T>& low = a.max > b.max ? b : a;
  return {high.max, high.at_max, high.rest + low.Total() * ScalarExp(low.max - high.max)};
}

// The log-sum-exps of rows that lie one after the other: store(row, LogSumExp<T>). The maximum of a
// row's first chunk is found with the last chunk of the row before it.
template <class T, class Store>
HWY_INLINE void LogSumExpRows(const T* x, size_t rows, size_t classes, const Store& store) {
  const size_t first = HWY_MIN(classes, kClassChunk);
  ClassChunk<T> chunk = {x, first, 0};
  chunk.max = RunningMax<T>().Finish(x, 0, first);
  for (size_t row = 0; row < rows; ++row) {
    LogSumExp<T> result;
    for (size_t start = 0; start < classes;) {
      const size_t after = start + chunk.n;
      const size_t of_next_row = row + 1 < rows ? first : 0;
      const size_t n = after < classes ? HWY_MIN(classes - after, kClassChunk) : of_next_row;
      ClassChunk<T> next = {chunk.x + chunk.n, n, 0};
      const LogSumExp<T> part = LogSumExpChunk(chunk, &next);
      result = start == 0 ? part : Combine(result, part);
      chunk = next;
      start = after;
    }
    store(row, result);
  }
}

template <class T>
HWY_INLINE LogSumExp<T> LogSumExpRow(const T* x, size_t classes) {
  LogSumExp<T> result;
  LogSumExpRows(x, 1, classes, [&](size_t, const LogSumExp<T>& sum) { result = sum; });
  return result;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
