// Distances of two rows with their derivatives: Euclidean and other p-norms, squared, and by angle.
//
// Thread-safety: pure functions. Ownership: a distance points to the rows that it measured.
#if defined(LOSSD_LIB_FORMS_DISTANCES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_DISTANCES_INL_H_
#undef LOSSD_LIB_FORMS_DISTANCES_INL_H_
#else
#define LOSSD_LIB_FORMS_DISTANCES_INL_H_
#endif

#include <limits>

#include "hwy/highway.h"
#include "lib/forms/pairwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

HWY_INLINE double ScalarPow(double x, double y) {
  const hn::CappedTag<double, 1> d;
  return hn::GetLane(Pow(d, hn::Set(d, x), hn::Set(d, y)));
}

// |x - y + offset|.
template <class T>
struct EuclideanDistance {
  DifferenceVector<T> difference;
  Squares squares;
  double value = 0;
  double to_unit = 0;

  EuclideanDistance() = default;
  EuclideanDistance(const T* x, const T* y, size_t n, double offset)
      : EuclideanDistance(x, y, offset, SquaredDistance<T>(n, x, y, offset)) {}
  EuclideanDistance(const T* x, const T* y, double offset, const Squares& of_difference)
      : difference{x, y, offset},
        squares(of_difference),
        value(squares.Norm()),
        to_unit(squares.ToUnit()) {}

  // d value / d x_i and d value / d y_i; 0 where the distance is.
  HWY_INLINE void Partials(size_t i, size_t count, Wide* dx, Wide* dy) const {
    const WideTag d;
    const Wide scaled = hn::Mul(difference(i, count), hn::Set(d, squares.scale));
    *dx = hn::Mul(scaled, hn::Set(d, to_unit));
    *dy = hn::Sub(hn::Zero(d), *dx);
  }
};

// |x - y|^2 / 2, for its derivatives.
template <class T>
struct HalfSquaredDistance {
  DifferenceVector<T> difference;

  HWY_INLINE void Partials(size_t i, size_t count, Wide* dx, Wide* dy) const {
    *dx = difference(i, count);
    *dy = hn::Sub(hn::Zero(WideTag()), *dx);
  }
};

// -1, 0 or 1; NaN of NaN.
HWY_INLINE Wide Sign(Wide v) {
  const WideTag d;
  const Wide zero = hn::Zero(d);
  const Wide falling = hn::IfThenElse(hn::Lt(v, zero), hn::Set(d, -1.0), v);
  return hn::IfThenElse(hn::Gt(v, zero), hn::Set(d, 1.0), falling);
}

// (sum |x_i - y_i + offset|^p)^(1/p), p >= 1: with m the largest magnitude it is m (sum (|d_i| /
// m)^p)^(1/p), which neither over- nor underflows; as p grows it tends to m.
template <class T>
struct PowerDistance {
  DifferenceVector<T> difference;
  double p = 1;
  double largest = 1;
  double value = 0;
  double slope = 1;  // d value / d d_i = sign (|d_i| / largest)^(p - 1) slope

  PowerDistance() = default;
  PowerDistance(const T* x, const T* y, size_t n, double offset, double power)
      : difference{x, y, offset}, p(power) {
    if (p == 1) {
      value = SumMagnitudes(n, difference);
      return;
    }
    largest = LargestMagnitude(n, difference);
    if (largest == 0 || largest > std::numeric_limits<double>::max()) {
      // 0, infinite or NaN. The norm's subgradient at 0 is 0.
      value = SumMagnitudes(n, difference);
      largest = 1;
      slope = value == 0 ? 0 : std::numeric_limits<double>::quiet_NaN();
      return;
    }
    const double sum = SumRow<double>(
        n, [&](auto d, size_t i, size_t count) HWY_ATTR { return RatioToThe(d, i, count, p); });
    value = largest * ScalarPow(sum, 1 / p);
    slope = ScalarPow(sum, 1 / p - 1);
  }

  HWY_INLINE void Partials(size_t i, size_t count, Wide* dx, Wide* dy) const {
    const WideTag d;
    const Wide sign = Sign(difference(i, count));
    *dx = p == 1 ? sign : hn::Mul(hn::Mul(sign, RatioToThe(d, i, count, p - 1)), hn::Set(d, slope));
    *dy = hn::Sub(hn::Zero(d), *dx);
  }

 private:
  // (|d_i| / largest)^exponent.
  HWY_INLINE Wide RatioToThe(WideTag d, size_t i, size_t count, double exponent) const {
    const Wide ratio = hn::Div(hn::Abs(difference(i, count)), hn::Set(d, largest));
    return Pow(d, ratio, hn::Set(d, exponent));
  }
};

// How rows are compared.
struct Metric {
  // Values of a parameter, from 1 on in the order of their names.
  static constexpr int kEuclidean = 1;  // the p-norm of the difference, 2 by default
  static constexpr int kSquaredEuclidean = 2;
  static constexpr int kCosine = 3;  // 1 - cos; the cosine of a zero vector is 0
  static constexpr const char* kNames[] = {"EUCLIDEAN", "SQUARED_EUCLIDEAN", "COSINE"};

  int kind;
  double p;
  double offset;  // added to each difference of elements

  Metric(int metric, double norm, double added) : kind(metric), p(norm), offset(added) {}
};

// The distance of two rows by a metric that is known at run time.
template <class T>
struct PairDistance {
  enum class Kind { kNorm, kPower, kSquared, kCosine };
  Kind kind = Kind::kNorm;
  double value = 0;
  EuclideanDistance<T> euclidean;
  PowerDistance<T> power;
  Cosine<T> cosine;

  void Measure(const Metric& metric, const T* x, const T* y, size_t n) {
    if (metric.kind == Metric::kCosine) {
      Set(Cosine<T>(x, y, n, 0));
    } else if (metric.kind == Metric::kEuclidean && metric.p != 2) {
      kind = Kind::kPower;
      power = PowerDistance<T>(x, y, n, metric.offset, metric.p);
      value = power.value;
    } else {
      Set(metric, EuclideanDistance<T>(x, y, n, metric.offset));
    }
  }

  // The distances of x to y and to z, by one pass over the three.
  static void MeasureBoth(const Metric& metric, const T* x, const T* y, const T* z, size_t n,
                          PairDistance* to_y, PairDistance* to_z) {
    if (metric.kind == Metric::kCosine) {
      const auto add = [](const Wide(&v)[3], Wide(&sum)[5]) HWY_ATTR {
        for (int o = 0; o < 3; ++o) sum[o] = AddProduct<T>(v[o], v[o], sum[o]);
        sum[3] = AddProduct<T>(v[0], v[1], sum[3]);
        sum[4] = AddProduct<T>(v[0], v[2], sum[4]);
      };
      const auto [sum] = SumRows<5, T, 3>(n, {x, y, z}, add);
      to_y->Set(Cosine<T>(x, y, n, 0, {{sum[0], sum[1], sum[3]}}));
      to_z->Set(Cosine<T>(x, z, n, 0, {{sum[0], sum[2], sum[4]}}));
    } else if (metric.kind == Metric::kEuclidean && metric.p != 2) {
      to_y->Measure(metric, x, y, n);
      to_z->Measure(metric, x, z, n);
    } else {
      const double offset = metric.offset;
      const Wide offsets = hn::Set(WideTag(), offset);
      const auto add = [&](const Wide(&v)[3], Wide(&sum)[2]) HWY_ATTR {
        sum[0] = AddSquare(v[0], v[1], offsets, sum[0]);
        sum[1] = AddSquare(v[0], v[2], offsets, sum[1]);
      };
      const auto [sum] = SumRows<2, T, 3>(n, {x, y, z}, add);
      const auto distance = [&](const T* other, double squares) HWY_ATTR {
        const DifferenceVector<T> difference = {x, other, offset};
        return EuclideanDistance<T>(x, other, offset, SquaresOfSum(n, difference, squares));
      };
      to_y->Set(metric, distance(y, sum[0]));
      to_z->Set(metric, distance(z, sum[1]));
    }
  }

  // d value / d x_i and d value / d y_i.
  HWY_INLINE void Partials(size_t i, size_t count, Wide* dx, Wide* dy) const {
    const WideTag d;
    switch (kind) {
      case Kind::kNorm:
        euclidean.Partials(i, count, dx, dy);
        return;
      case Kind::kPower:
        power.Partials(i, count, dx, dy);
        return;
      case Kind::kSquared: {
        const Wide difference = euclidean.difference(i, count);
        *dx = hn::Add(difference, difference);
        break;
      }
      case Kind::kCosine:
        cosine.Partials(i, count, dx, dy);
        *dx = hn::Sub(hn::Zero(d), *dx);
        *dy = hn::Sub(hn::Zero(d), *dy);
        return;
    }
    *dy = hn::Sub(hn::Zero(d), *dx);
  }

 private:
  void Set(const Cosine<T>& of_rows) {
    kind = Kind::kCosine;
    cosine = of_rows;
    value = 1 - cosine.value;
  }
  void Set(const Metric& metric, const EuclideanDistance<T>& of_rows) {
    const bool squared = metric.kind == Metric::kSquaredEuclidean;
    kind = squared ? Kind::kSquared : Kind::kNorm;
    euclidean = of_rows;
    value = squared ? 2 * euclidean.squares.Half() : euclidean.value;
  }
};

// factor times the derivatives of a distance, or a cosine, to the rows outputs[0] (of x) and
// outputs[1] (of y), where they are not null; exactly 0 for a factor of 0.
template <class Distance, class T>
HWY_INLINE void StoreScaledPartials(size_t n, const Distance& distance, double factor,
                                    T* const (&outputs)[2]) {
  const WideTag d;
  const Wide factors = hn::Set(d, factor);
  for (size_t i = 0; i < n; i += kWideLanes) {
    const size_t count = HWY_MIN(n - i, kWideLanes);
    Wide dx = hn::Zero(d), dy = dx;
    if (factor != 0) {
      distance.Partials(i, count, &dx, &dy);
      dx = hn::Mul(dx, factors);
      dy = hn::Mul(dy, factors);
    }
    if (outputs[0] != nullptr) StoreNarrow(dx, outputs[0] + i, count);
    if (outputs[1] != nullptr) StoreNarrow(dy, outputs[1] + i, count);
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
