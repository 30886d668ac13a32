// Rows of one width against each other: squares, norms, distances and cosines, and their
// derivatives.
//
// Everything is computed in f64, of f32 rows too. There the square of no f32 over- or underflows,
// and the error of a sum is far below an ulp of an f32, so 1 - cos of two nearly parallel rows
// keeps its digits; memory is what such a row waits for, not arithmetic. Rows of f64 whose squares
// would leave the range are summed again, times a power of two.
//
// Sums go by the fixed layout of rowwise-inl.h. Thread-safety: pure functions. Ownership: rows are
// the caller's, and may lie at any address.
#if defined(LOSSD_LIB_FORMS_PAIRWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_PAIRWISE_INL_H_
#undef LOSSD_LIB_FORMS_PAIRWISE_INL_H_
#else
#define LOSSD_LIB_FORMS_PAIRWISE_INL_H_
#endif

#include <cmath>
#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

using WideTag = hn::ScalableTag<double>;
using Wide = hn::Vec<WideTag>;
inline constexpr size_t kWideLanes = kVectorLanes<double>;

// `count` elements from p on in f64, the other lanes 0. Reads no byte beyond them.
template <class T>
HWY_INLINE Wide LoadWide(const T* p, size_t count) {
  const WideTag d;
  if constexpr (sizeof(T) == 8) {
    return LoadClasses(d, p, count, T(0));
  } else {
    const hn::Rebind<float, WideTag> narrow;
    if (HWY_LIKELY(count >= kWideLanes)) return hn::PromoteTo(d, hn::LoadU(narrow, p));
    HWY_ALIGN float padded[kWideLanes] = {};
    std::memcpy(padded, p, count * sizeof(float));
    return hn::PromoteTo(d, hn::Load(narrow, padded));
  }
}

// The first `count` lanes, rounded to T, to p.
template <class T>
HWY_INLINE void StoreNarrow(Wide v, T* p, size_t count) {
  const hn::Rebind<T, WideTag> d;
  hn::Vec<decltype(d)> narrow;
  if constexpr (sizeof(T) == 8) {
    narrow = v;
  } else {
    narrow = hn::DemoteTo(d, v);
  }
  if (HWY_LIKELY(count >= kWideLanes)) {
    hn::StoreU(narrow, d, p);
  } else {
    HWY_ALIGN T padded[kWideLanes];
    hn::Store(narrow, d, padded);
    std::memcpy(p, padded, count * sizeof(T));
  }
}

// values(i, count), rounded to T, to the elements [0, n) of a row of gradients.
template <class T, class Values>
HWY_INLINE void StoreWideRow(size_t n, T* row, const Values& values) {
  for (size_t i = 0; i < n; i += kWideLanes) {
    const size_t count = HWY_MIN(n - i, kWideLanes);
    StoreNarrow(values(i, count), row + i, count);
  }
}

// Vectors to take sums of: `count` elements from element i on.
template <class T>
struct RowVector {
  const T* x;
  HWY_INLINE Wide operator()(size_t i, size_t count) const {
    PrefetchRow(x + i);
    return LoadWide(x + i, count);
  }
};

// x - y + offset.
template <class T>
struct DifferenceVector {
  const T* x = nullptr;
  const T* y = nullptr;
  double offset = 0;
  HWY_INLINE Wide operator()(size_t i, size_t count) const {
    PrefetchRow(x + i);
    PrefetchRow(y + i);
    const Wide difference = hn::Sub(LoadWide(x + i, count), LoadWide(y + i, count));
    return hn::Add(difference, hn::Set(WideTag(), offset));
  }
};

template <class Vector>
struct ScaledVector {
  Vector v;
  double scale;
  HWY_INLINE Wide operator()(size_t i, size_t count) const {
    return hn::Mul(v(i, count), hn::Set(WideTag(), scale));
  }
};

template <class Vector>
HWY_INLINE double SumSquares(size_t n, const Vector& v) {
  return SumRow<double>(n, [&](auto, size_t i, size_t count) HWY_ATTR {
    const Wide x = v(i, count);
    return hn::Mul(x, x);
  });
}

template <class First, class Second>
HWY_INLINE double DotProduct(size_t n, const First& a, const Second& b) {
  return SumRow<double>(
      n, [&](auto, size_t i, size_t count) HWY_ATTR { return hn::Mul(a(i, count), b(i, count)); });
}

template <class Vector>
HWY_INLINE double SumMagnitudes(size_t n, const Vector& v) {
  return SumRow<double>(
      n, [&](auto, size_t i, size_t count) HWY_ATTR { return hn::Abs(v(i, count)); });
}

// The largest magnitude of what is not NaN, or 0.
template <class Vector>
HWY_INLINE double LargestMagnitude(size_t n, const Vector& v) {
  const WideTag d;
  Wide largest = hn::Zero(d);
  for (size_t i = 0; i < n; i += kWideLanes) {
    const size_t count = HWY_MIN(n - i, kWideLanes);
    const Wide x = hn::IfThenElseZero(hn::FirstN(d, count), hn::Abs(v(i, count)));
    largest = LargerUnlessNan(d, x, largest);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

// The sum of (scale v_i)^2, plus scale^2 times an addend. The scale is a power of two, 1 unless the
// sum would be far from 1; the sum is then neither, or 0, infinite or NaN as the vector is.
struct Squares {
  double sum = 0;
  double scale = 1;

  // |v|.
  double Norm() const { return std::sqrt(sum) / scale; }
  // |v|^2 / 2, without an overflow on the way.
  double Half() const { return sum * 0.5 / scale / scale; }
  // v / |v| is (scale v) times this; 0 for the zero vector, as PyTorch's norm has its subgradient.
  double ToUnit() const { return sum == 0 ? 0 : 1 / std::sqrt(sum); }
};

// Sums between these are taken as they are: the product of two is a normal number, and of 2^-480 no
// term that underflowed was more than 2^-594. An f32 other than 0 has a square of 2^-298 at least.
inline constexpr double kLowSquares = 0x1p-480;
inline constexpr double kHighSquares = 0x1p480;

template <class Vector>
HWY_NOINLINE Squares ScaledSquares(size_t n, const Vector& v, double sum, double addend) {
  if (sum != sum) return {sum, 1};
  const double largest = LargestMagnitude(n, v);
  if (largest == 0 || largest > std::numeric_limits<double>::max()) return {largest, 1};
  const int exponent = HWY_MIN(1022, HWY_MAX(-1022, -std::ilogb(largest)));
  const double scale = std::ldexp(1.0, exponent);
  return {SumSquares(n, ScaledVector<Vector>{v, scale}) + addend * scale * scale, scale};
}

template <class Vector>
HWY_INLINE Squares SquaresOf(size_t n, const Vector& v, double addend = 0) {
  const double sum = SumSquares(n, v) + addend;
  if (HWY_LIKELY(sum >= kLowSquares && sum <= kHighSquares)) return {sum, 1};
  return ScaledSquares(n, v, sum, addend);
}

template <class T>
HWY_INLINE Squares SquaredDistance(size_t n, const T* x, const T* y, double offset = 0) {
  return SquaresOf(n, DifferenceVector<T>{x, y, offset});
}

// x y / sqrt((|x|^2 + addend)(|y|^2 + addend)), 0 where one of those is, and its derivatives.
template <class T>
struct Cosine {
  const T* x = nullptr;
  const T* y = nullptr;
  double x_scale = 1, y_scale = 1;  // powers of two, see Squares
  double value = 0;                 // -1 to 1, or NaN
  double across = 0;                // factor of the other row in the derivative
  double along_x = 0, along_y = 0;  // factors of the row itself

  Cosine() = default;
  Cosine(const T* first, const T* second, size_t n, double addend) : x(first), y(second) {
    const RowVector<T> a = {x}, b = {y};
    const Squares xs = SquaresOf(n, a, addend), ys = SquaresOf(n, b, addend);
    x_scale = xs.scale;
    y_scale = ys.scale;
    const double dot = x_scale == 1 && y_scale == 1
                           ? DotProduct(n, a, b)
                           : DotProduct(n, ScaledVector<RowVector<T>>{a, x_scale},
                                        ScaledVector<RowVector<T>>{b, y_scale});
    value = dot;  // 0, or NaN
    if (xs.sum == 0 || ys.sum == 0) return;
    across = 1 / std::sqrt(xs.sum * ys.sum);
    value = dot / std::sqrt(xs.sum * ys.sum);
    // Beyond by rounding only.
    value = value > 1 ? 1 : value < -1 ? -1 : value;
    along_x = value / xs.sum;
    along_y = value / ys.sum;
  }

  // d value / d x_i and d value / d y_i.
  HWY_INLINE void Partials(size_t i, size_t count, Wide* dx, Wide* dy) const {
    const WideTag d;
    const Wide to_x = hn::Set(d, x_scale), to_y = hn::Set(d, y_scale);
    const Wide a = hn::Mul(LoadWide(x + i, count), to_x);
    const Wide b = hn::Mul(LoadWide(y + i, count), to_y);
    const Wide factor = hn::Set(d, across);
    *dx = hn::Mul(hn::NegMulAdd(a, hn::Set(d, along_x), hn::Mul(b, factor)), to_x);
    *dy = hn::Mul(hn::NegMulAdd(b, hn::Set(d, along_y), hn::Mul(a, factor)), to_y);
  }
};

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
