// The geometry of pairs of boxes, a pair a lane: what every box loss starts from, and the way back
// from its derivatives to the numbers of a box.
//
// Every length is a difference of coordinates, or off by roundings of the lengths: no digits are
// lost far from the origin.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_BOX_PAIR_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_BOX_PAIR_INL_H_
#undef LOSSD_LIB_FORMS_BOX_PAIR_INL_H_
#else
#define LOSSD_LIB_FORMS_BOX_PAIR_INL_H_
#endif

#include "hwy/highway.h"
#include "lib/forms/box_format.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// In f32 lanes, whose NaN are computed again, these are the targets' own minimum and maximum, which
// differ in what they make of a NaN.
template <class V>
inline constexpr bool kIsF32 = sizeof(hn::TFromV<V>) == 4;

template <class V>
HWY_INLINE V Smaller(V a, V b) {
  if constexpr (kIsF32<V>) {
    return hn::Min(a, b);
  } else {
    return hn::IfThenElse(hn::Lt(a, b), a, b);
  }
}
template <class V>
HWY_INLINE V Larger(V a, V b) {
  if constexpr (kIsF32<V>) {
    return hn::Max(a, b);
  } else {
    return hn::IfThenElse(hn::Gt(a, b), a, b);
  }
}
// x where it is above 0, else (and for NaN) 0; likewise below 0.
template <class D, class V>
HWY_INLINE V Positive(D d, V x) {
  return Larger(x, hn::Zero(d));
}
template <class D, class V>
HWY_INLINE V Negative(D d, V x) {
  return Smaller(x, hn::Zero(d));
}

// Four numbers a box.
template <class V>
struct BoxNumbers {
  V n[4];
};

// The prediction's and the target's extent along one axis. Each member is off by a rounding or two
// of itself or of the hull, never of the coordinates.
template <class V>
struct BoxAxis {
  V prediction, target;  // sizes, at least 0
  V low, high;           // from the target's lower edge to the prediction's; likewise the upper
  V center;              // from the target's center to the prediction's
  V overlap;             // size of the intersection; 0 or below: they are apart, or touch
  V hull;                // size of what encloses both

  // Not below any of the lengths, to a rounding or two; NaN or infinite where one is.
  HWY_INLINE V Extent() const {
    return hn::Add(hn::Add(prediction, target), hn::Add(hn::Abs(low), hn::Abs(high)));
  }
  // The part of each size outside of the other box, where they overlap.
  template <class D>
  HWY_INLINE V PredictionOutside(D d) const {
    return hn::Sub(Positive(d, high), Negative(d, low));
  }
  template <class D>
  HWY_INLINE V TargetOutside(D d) const {
    return hn::Sub(Positive(d, low), Negative(d, high));
  }
};

// From the lower edge of the one to the upper edge of the other: what decides the overlap.
template <class V>
HWY_INLINE BoxAxis<V> WithEnds(V prediction, V target, V low, V high, V center, V to_target_end,
                               V to_prediction_end) {
  return {prediction,
          target,
          low,
          high,
          center,
          Smaller(Smaller(prediction, target), Smaller(to_target_end, to_prediction_end)),
          Larger(Larger(prediction, target), Larger(to_target_end, to_prediction_end))};
}

// Axis `axis` (0 or 1) of a pair of boxes. `format` is the same for all, so the branch costs
// nothing. (Structs of vectors are made whole: a default constructor has no target's attributes.)
template <class D, class V>
HWY_INLINE BoxAxis<V> AxisOf(D d, BoxFormat format, const BoxNumbers<V>& p, const BoxNumbers<V>& t,
                             int axis) {
  const V half = hn::Set(d, hn::TFromD<D>(0.5));
  const V given = hn::Sub(p.n[axis], t.n[axis]);
  if (format == BoxFormat::kXyxy) {
    const V high = hn::Sub(p.n[axis + 2], t.n[axis + 2]);
    return WithEnds<V>(hn::Sub(p.n[axis + 2], p.n[axis]), hn::Sub(t.n[axis + 2], t.n[axis]), given,
                       high, hn::Mul(hn::Add(given, high), half), hn::Sub(t.n[axis + 2], p.n[axis]),
                       hn::Sub(p.n[axis + 2], t.n[axis]));
  }
  const V prediction = p.n[axis + 2], target = t.n[axis + 2];
  const V growth = hn::Sub(prediction, target);
  if (format == BoxFormat::kXywh) {
    return WithEnds<V>(prediction, target, given, hn::Add(given, growth),
                       hn::MulAdd(growth, half, given), hn::Sub(target, given),
                       hn::Add(prediction, given));
  }
  const V low = hn::NegMulAdd(growth, half, given);
  return WithEnds<V>(prediction, target, low, hn::MulAdd(growth, half, given), given,
                     hn::Sub(target, low), hn::Add(prediction, low));
}

// A pair of boxes. The sums are of terms of one sign, so small losses keep their digits. (Members
// are made in their places: g++ leaves the copy of such a struct in memory, with all its stores.)
template <class V>
struct BoxPair {
  template <class D>
  HWY_INLINE BoxPair(D d, BoxFormat format, const BoxNumbers<V>& p, const BoxNumbers<V>& t,
                     V area_eps, V ratio_eps)
      : x(AxisOf(d, format, p, t, 0)),
        y(AxisOf(d, format, p, t, 1)),
        meets(hn::And(hn::Gt(x.overlap, hn::Zero(d)), hn::Gt(y.overlap, hn::Zero(d)))),
        intersection(hn::IfThenElseZero(meets, hn::Mul(x.overlap, y.overlap))),
        outside(Outside(d)),
        area_union(hn::Add(intersection, outside)),
        eps(area_eps),
        pure_eps(ratio_eps) {}

  BoxAxis<V> x, y;
  hn::Mask<hn::DFromV<V>> meets;  // the intersection has an area
  V intersection;
  V outside;  // area of the union without the intersection
  V area_union;
  V eps;       // of areas and squares: scaled with the boxes
  V pure_eps;  // of ratios

 private:
  // Of each box a strip beside the intersection, as high as the box, and one above or below it.
  template <class D>
  HWY_INLINE V Outside(D d) const {
    const V prediction = hn::MulAdd(x.PredictionOutside(d), y.prediction,
                                    hn::Mul(x.overlap, y.PredictionOutside(d)));
    const V target =
        hn::MulAdd(x.TargetOutside(d), y.target, hn::Mul(x.overlap, y.TargetOutside(d)));
    const V apart = hn::MulAdd(x.prediction, y.prediction, hn::Mul(x.target, y.target));
    return hn::IfThenElse(meets, hn::Add(prediction, target), apart);
  }
};

// d item / d quantity.
template <class V>
struct BoxPartials {
  V intersection;        // area of the intersection
  V area;                // area of the prediction
  V hull_x, hull_y;      // sizes of the hull
  V center_x, center_y;  // distances of the centers
  V width, height;       // of the prediction, beyond what its area says
};

// d item / d edges of the prediction along an axis.
template <class V>
struct EdgeGradients {
  V low, high;
};

// `across` is the other axis. At a tie of edges each box takes half, as in PyTorch's minimum and
// maximum.
template <class D, class V>
HWY_INLINE EdgeGradients<V> EdgesOf(D d, const BoxPair<V>& pair, const BoxAxis<V>& axis,
                                    const BoxAxis<V>& across, V intersection, V area, V hull,
                                    V center, V size) {
  const V zero = hn::Zero(d), half = hn::Set(d, 0.5), one = hn::Set(d, 1.0);
  const auto share = [&](V distance) HWY_ATTR {
    const V tied = hn::IfThenElseZero(hn::Eq(distance, zero), half);
    return hn::IfThenElse(hn::Gt(distance, zero), one, tied);
  };
  const V low_inside = share(axis.low);  // the intersection ends at this edge
  const V high_inside = share(hn::Neg(axis.high));
  const V across_overlap = hn::IfThenElseZero(pair.meets, across.overlap);
  const V of_overlap = hn::Mul(intersection, across_overlap);
  const V of_size = hn::MulAdd(area, across.prediction, size);
  const auto edge = [&](V inside) HWY_ATTR {
    return hn::MulAdd(of_overlap, inside, hn::MulAdd(hull, hn::Sub(one, inside), of_size));
  };
  const V of_center = hn::Mul(center, half);
  return {hn::Sub(of_center, edge(low_inside)), hn::Add(of_center, edge(high_inside))};
}

// d item / d numbers of the prediction.
template <class D, class V>
HWY_INLINE BoxNumbers<V> GradientOf(D d, BoxFormat format, const BoxPair<V>& pair,
                                    const BoxPartials<V>& of) {
  const EdgeGradients<V> x =
      EdgesOf(d, pair, pair.x, pair.y, of.intersection, of.area, of.hull_x, of.center_x, of.width);
  const EdgeGradients<V> y =
      EdgesOf(d, pair, pair.y, pair.x, of.intersection, of.area, of.hull_y, of.center_y, of.height);
  if (format == BoxFormat::kXyxy) return {{x.low, y.low, x.high, y.high}};
  const V of_x = hn::Add(x.low, x.high), of_y = hn::Add(y.low, y.high);
  if (format == BoxFormat::kXywh) return {{of_x, of_y, x.high, y.high}};
  const V half = hn::Set(d, 0.5);
  return {
      {of_x, of_y, hn::Mul(hn::Sub(x.high, x.low), half), hn::Mul(hn::Sub(y.high, y.low), half)}};
}

// False where a coordinate is NaN, or infinities leave no distance.
template <class V>
HWY_INLINE auto HasPlace(const BoxPair<V>& pair) {
  const BoxAxis<V>&x = pair.x, &y = pair.y;
  return hn::And(hn::And(hn::Eq(x.low, x.low), hn::Eq(x.high, x.high)),
                 hn::And(hn::Eq(y.low, y.low), hn::Eq(y.high, y.high)));
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
