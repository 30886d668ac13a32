#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/forms/vector_math.cc"
#include "lib/forms/vector_math.h"

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

template <class Function>
HWY_INLINE void ForEach(const double* x, size_t n, double* y, const Function& function) {
  const hn::ScalableTag<double> d;
  constexpr size_t kLanes = kVectorLanes<double>;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(function(d, hn::LoadU(d, x + i)), d, y + i);
  if (i == n) return;
  HWY_ALIGN double rest[kLanes];
  hn::Store(function(d, LoadClasses(d, x + i, n - i, 0.0)), d, rest);
  std::memcpy(y + i, rest, (n - i) * sizeof(double));
}

void SoftplusOf(const double* x, size_t n, double* y) {
  ForEach(x, n, y, [](auto d, auto v) HWY_ATTR { return Softplus(d, v); });
}

void SigmoidOf(const double* x, size_t n, double* y) {
  ForEach(x, n, y, [](auto d, auto v) HWY_ATTR { return Sigmoid(d, v); });
}

void ExpOf(const double* x, size_t n, double* y) {
  ForEach(x, n, y, [](auto d, auto v) HWY_ATTR { return Exp(d, v); });
}

// Values of T as f64; the others 0.
template <class D>
HWY_INLINE hn::Vec<D> LoadWide(D d, const double* p, size_t count) {
  return LoadClasses(d, p, count, 0.0);
}
template <class D>
HWY_INLINE hn::Vec<D> LoadWide(D d, const float* p, size_t count) {
  const hn::Rebind<float, D> narrow;
  constexpr size_t kLanes = kVectorLanes<double>;
  if (HWY_LIKELY(count >= kLanes)) return hn::PromoteTo(d, hn::LoadU(narrow, p));
  HWY_ALIGN float padded[kLanes] = {};
  std::memcpy(padded, p, count * sizeof(float));
  return hn::PromoteTo(d, hn::Load(narrow, padded));
}

template <class T>
double Distance(const T* a, const T* b, size_t n) {
  return SumRow<double>(n, [&](auto d, size_t i, size_t count) HWY_ATTR {
    const auto difference = hn::Sub(LoadWide(d, a + i, count), LoadWide(d, b + i, count));
    return hn::Mul(difference, difference);
  });
}

double DistanceF32(const float* a, const float* b, size_t n) { return Distance(a, b, n); }
double DistanceF64(const double* a, const double* b, size_t n) { return Distance(a, b, n); }

double DistanceTwoPart(const TwoPartRow& a, const TwoPartRow& b, size_t n) {
  return SumRow<double>(n, [&](auto d, size_t i, size_t count) HWY_ATTR {
    const auto high = hn::Sub(LoadWide(d, a.high + i, count), LoadWide(d, b.high + i, count));
    const auto low = hn::Sub(LoadWide(d, a.low + i, count), LoadWide(d, b.low + i, count));
    const auto difference = hn::Add(high, low);
    return hn::Mul(difference, difference);
  });
}

int64_t Target() { return HWY_TARGET; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

namespace {

HWY_EXPORT(SoftplusOf);
HWY_EXPORT(SigmoidOf);
HWY_EXPORT(ExpOf);
HWY_EXPORT(DistanceF32);
HWY_EXPORT(DistanceF64);
HWY_EXPORT(DistanceTwoPart);
HWY_EXPORT(Target);

}  // namespace

void SoftplusOf(const double* x, size_t n, double* y) { HWY_DYNAMIC_DISPATCH(SoftplusOf)(x, n, y); }
void SigmoidOf(const double* x, size_t n, double* y) { HWY_DYNAMIC_DISPATCH(SigmoidOf)(x, n, y); }
void ExpOf(const double* x, size_t n, double* y) { HWY_DYNAMIC_DISPATCH(ExpOf)(x, n, y); }

double SquaredDistance(const float* a, const float* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(DistanceF32)(a, b, n);
}
double SquaredDistance(const double* a, const double* b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(DistanceF64)(a, b, n);
}

double SquaredDistance(const TwoPartRow& a, const TwoPartRow& b, size_t n) {
  return HWY_DYNAMIC_DISPATCH(DistanceTwoPart)(a, b, n);
}

int64_t VectorMathTarget() { return HWY_DYNAMIC_DISPATCH(Target)(); }

}  // namespace lossd

#endif  // HWY_ONCE
