#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/forms/softmax_rows.cc"
#include "lib/forms/softmax_rows.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/narrow_rows-inl.h"
#include "lib/forms/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

// log1p of all rows at once: NaN for a row without a softmax.
template <class T>
void LogTotals(size_t rows, const SoftmaxRows<T>& softmax) {
  const hn::ScalableTag<T> d;
  StoreRow<T>(rows, softmax.log_total, [&](auto, size_t i, size_t count) HWY_ATTR {
    const auto max = LoadClasses(d, softmax.max + i, count, T(0));
    const auto at_max = LoadClasses(d, softmax.at_max + i, count, T(1));
    const auto rest = LoadClasses(d, softmax.rest + i, count, T(0));
    const auto others = hn::Add(hn::Sub(at_max, hn::Set(d, T(1))), rest);
    const auto valid = hn::Eq(hn::Sub(max, max), hn::Zero(d));
    return hn::IfThenElse(valid, Log1p(d, others), hn::Set(d, QuietNan<T>()));
  });
}

template <class T>
void ComputeRows(const T* x, size_t rows, size_t width, const SoftmaxRows<T>& softmax) {
  if (width <= kNarrowWidth) {
    LogSumExpNarrowRows(x, rows, width, softmax);
  } else {
    LogSumExpRows(x, rows, width, [&](size_t row, const LogSumExp<T>& sum) HWY_ATTR {
      softmax.max[row] = sum.max;
      softmax.at_max[row] = sum.at_max;
      softmax.rest[row] = sum.rest;
    });
  }
  LogTotals(rows, softmax);
}

void ComputeRowsF32(const float* x, size_t rows, size_t width, const SoftmaxRows<float>& softmax) {
  ComputeRows(x, rows, width, softmax);
}
void ComputeRowsF64(const double* x, size_t rows, size_t width,
                    const SoftmaxRows<double>& softmax) {
  ComputeRows(x, rows, width, softmax);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {
namespace {

HWY_EXPORT(ComputeRowsF32);
HWY_EXPORT(ComputeRowsF64);

}  // namespace

void ComputeSoftmaxRows(const float* x, size_t rows, size_t width, SoftmaxRows<float> softmax) {
  HWY_DYNAMIC_DISPATCH(ComputeRowsF32)(x, rows, width, softmax);
}
void ComputeSoftmaxRows(const double* x, size_t rows, size_t width, SoftmaxRows<double> softmax) {
  HWY_DYNAMIC_DISPATCH(ComputeRowsF64)(x, rows, width, softmax);
}

}  // namespace lossd

#endif  // HWY_ONCE
