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

// A row to take sums of, and what is fetched into the second-level cache meanwhile: by default what
// follows at some distance.
template <class T>
struct SumOperand {
  const T* row;
  const T* ahead;

  SumOperand(const T* values) : row(values), ahead(values + kRowPrefetchBytes / sizeof(T)) {}
  SumOperand(const T* values, const T* next) : row(values), ahead(next) {}
};

// The last steps of the tree over the virtual lanes: i + (i + half of them), and so on.
template <class D>
HWY_INLINE double SumOfHalves(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(d) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> half;
    return SumOfHalves(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}

// Several sums over rows of one width at once, each in the layout of rowwise-inl.h: every element
// is read and widened once. add(x, sums) adds the terms of a vector of elements, x[o] of operand o,
// to sums[0], sums[1], ...
template <size_t kSums, class T, size_t kOperands, class Add>
HWY_INLINE void AddChunks(size_t begin, size_t end, const SumOperand<T> (&operands)[kOperands],
                          const Add& add, double* sums) {
  const WideTag d;
  constexpr size_t kVectors = kVirtualLanes / kWideLanes;
  constexpr size_t kGroup = kGroupSteps * kVirtualLanes;
  constexpr size_t kLine = 64 / sizeof(T);
  // Vectors of virtual lanes side by side: one chain of additions at a time would fill the
  // processor's queues, more sums than registers its memory.
  constexpr size_t kColumns = kSums <= 3 ? 4 : 2;
  const auto add_vector = [&](size_t i, size_t count, Wide(&to)[kSums]) HWY_ATTR {
    Wide x[kOperands];
    for (size_t o = 0; o < kOperands; ++o) x[o] = LoadWide(operands[o].row + i, count);
    add(x, to);
  };
  Wide totals[kSums][kVectors];
  for (auto& total : totals) {
    for (Wide& v : total) v = hn::Zero(d);
  }
  const size_t full = end - (end - begin) % kVirtualLanes;
  size_t i = begin;
  for (; i < full; i = HWY_MIN(full, i + kGroup)) {
    const size_t group_end = HWY_MIN(full, i + kGroup);
    for (size_t v = 0; v < kVectors; v += kColumns) {
      Wide group[kColumns][kSums];
      for (auto& column : group) {
        for (Wide& sum : column) sum = hn::Zero(d);
      }
      for (size_t j = i + v * kWideLanes; j < group_end; j += kVirtualLanes) {
        for (const SumOperand<T>& operand : operands) {
          for (size_t line = 0; line < kColumns * kWideLanes; line += kLine)
            __builtin_prefetch(operand.ahead + j + line, /*rw=*/0, /*locality=*/2);
        }
        for (size_t c = 0; c < kColumns; ++c) add_vector(j + c * kWideLanes, kWideLanes, group[c]);
      }
      for (size_t c = 0; c < kColumns; ++c) {
        for (size_t k = 0; k < kSums; ++k)
          totals[k][v + c] = hn::Add(totals[k][v + c], group[c][k]);
      }
    }
  }
  for (size_t v = 0; v < kVectors && i < end; ++v, i += kWideLanes) {
    const size_t count = HWY_MIN(end - i, kWideLanes);
    Wide last[kSums];
    for (Wide& sum : last) sum = hn::Zero(d);
    add_vector(i, count, last);
    const auto mask = hn::FirstN(d, count);
    for (size_t k = 0; k < kSums; ++k)
      totals[k][v] = hn::Add(totals[k][v], hn::IfThenElseZero(mask, last[k]));
  }
  for (size_t k = 0; k < kSums; ++k) {
    for (size_t count = kVectors / 2; count > 0; count /= 2) {
      for (size_t v = 0; v < count; ++v) totals[k][v] = hn::Add(totals[k][v], totals[k][v + count]);
    }
    sums[k] += SumOfHalves(d, totals[k][0]);
  }
}

template <size_t kSums>
struct RowSums {
  double sum[kSums] = {};
};

template <size_t kSums, class T, size_t kOperands, class Add>
HWY_INLINE RowSums<kSums> SumRows(size_t n, const SumOperand<T> (&operands)[kOperands],
                                  const Add& add) {
  RowSums<kSums> sums;
  for (size_t start = 0; start < n; start += kClassChunk)
    AddChunks<kSums>(start, HWY_MIN(n, start + kClassChunk), operands, add, sums.sum);
  return sums;
}

// sum + x y. The product of two f32 is exact in f64.
template <class T>
HWY_INLINE Wide AddProduct(Wide x, Wide y, Wide sum) {
  return sizeof(T) == 4 ? hn::MulAdd(x, y, sum) : hn::Add(hn::Mul(x, y), sum);
}

// sum + (x - y + offset)^2. The first sum as a MulAdd: the units that add have enough to do.
HWY_INLINE Wide AddSquare(Wide x, Wide y, Wide offset, Wide sum) {
  const Wide difference = hn::MulAdd(hn::Sub(x, y), hn::Set(WideTag(), 1.0), offset);
  return hn::Add(hn::Mul(difference, difference), sum);
}

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

// Of the sum of the squares of v, and an addend.
template <class Vector>
HWY_INLINE Squares SquaresOfSum(size_t n, const Vector& v, double squares, double addend = 0) {
  const double sum = squares + addend;
  if (HWY_LIKELY(sum >= kLowSquares && sum <= kHighSquares)) return {sum, 1};
  return ScaledSquares(n, v, sum, addend);
}

template <class Vector>
HWY_INLINE Squares SquaresOf(size_t n, const Vector& v) {
  return SquaresOfSum(n, v, SumSquares(n, v));
}

template <class T>
HWY_INLINE Squares SquaredDistance(size_t n, const SumOperand<T>& x, const SumOperand<T>& y,
                                   double offset = 0) {
  RowSums<1> sums;
  if (offset == 0) {
    sums = SumRows<1, T, 2>(n, {x, y}, [](const Wide(&v)[2], Wide(&sum)[1]) HWY_ATTR {
      const Wide difference = hn::Sub(v[0], v[1]);
      sum[0] = hn::Add(hn::Mul(difference, difference), sum[0]);
    });
  } else {
    const Wide offsets = hn::Set(WideTag(), offset);
    sums = SumRows<1, T, 2>(n, {x, y}, [&](const Wide(&v)[2], Wide(&sum)[1]) HWY_ATTR {
      sum[0] = AddSquare(v[0], v[1], offsets, sum[0]);
    });
  }
  return SquaresOfSum(n, DifferenceVector<T>{x.row, y.row, offset}, sums.sum[0]);
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
  Cosine(const T* first, const T* second, size_t n, double addend)
      : Cosine(
            first, second, n, addend,
            SumRows<3, T, 2>(n, {first, second}, [](const Wide (&v)[2], Wide (&sum)[3]) HWY_ATTR {
              sum[0] = AddProduct<T>(v[0], v[0], sum[0]);
              sum[1] = AddProduct<T>(v[1], v[1], sum[1]);
              sum[2] = AddProduct<T>(v[0], v[1], sum[2]);
            })) {}
  // Of the sums of x x, y y and x y.
  Cosine(const T* first, const T* second, size_t n, double addend, const RowSums<3>& sums)
      : x(first), y(second) {
    const RowVector<T> a = {x}, b = {y};
    const Squares xs = SquaresOfSum(n, a, sums.sum[0], addend);
    const Squares ys = SquaresOfSum(n, b, sums.sum[1], addend);
    x_scale = xs.scale;
    y_scale = ys.scale;
    const double dot = x_scale == 1 && y_scale == 1
                           ? sums.sum[2]
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
