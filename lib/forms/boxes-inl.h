// Pairs of boxes in lanes: loops over boxes of four numbers, and the geometry that every box loss
// starts from.
//
// A formula is a struct of two functions, on vectors of f64 (tag D), a pair of boxes a lane:
//
//   struct Iou {
//     template <class D, class V> static V Item(D d, const BoxPair<V>& pair);
//     // d item / d of what BoxPartials names; what stays untouched is 0.
//     template <class D, class V> static void Partials(D d, const BoxPair<V>& pair,
//                                                      BoxPartials<V>* partials);
//   };
//
// f32 is widened, computed in f64 and rounded once: areas neither overflow nor underflow there, and
// corners of boxes given by center and size keep their digits far from the origin. Boxes of f64
// whose coordinates would overflow when squared, or vanish, are scaled by a power of two first.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_BOXES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_BOXES_INL_H_
#undef LOSSD_LIB_FORMS_BOXES_INL_H_
#else
#define LOSSD_LIB_FORMS_BOXES_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/box_format.h"
#include "lib/forms/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// x where it is above 0, else (and for NaN) 0.
template <class D, class V>
HWY_INLINE V Positive(D d, V x) {
  return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), x);
}
template <class V>
HWY_INLINE V Smaller(V a, V b) {
  return hn::IfThenElse(hn::Lt(a, b), a, b);
}
template <class V>
HWY_INLINE V Larger(V a, V b) {
  return hn::IfThenElse(hn::Gt(a, b), a, b);
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

  // The part of each size outside of the other box, where they overlap.
  template <class D>
  HWY_INLINE V PredictionOutside(D d) const {
    return hn::Add(Positive(d, hn::Neg(low)), Positive(d, high));
  }
  template <class D>
  HWY_INLINE V TargetOutside(D d) const {
    return hn::Add(Positive(d, low), Positive(d, hn::Neg(high)));
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
  const V half = hn::Set(d, 0.5);
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

// A pair of boxes. The sums are of terms of one sign, so small losses keep their digits.
template <class V>
struct BoxPair {
  BoxAxis<V> x, y;
  hn::Mask<hn::DFromV<V>> meets;  // the intersection has an area
  V intersection;
  V outside;  // area of the union without the intersection
  V area_union;
  V eps;       // of areas and squares: scaled with the boxes
  V pure_eps;  // of ratios
};

template <class D, class V>
HWY_INLINE BoxPair<V> PairOf(D d, BoxFormat format, const BoxNumbers<V>& p, const BoxNumbers<V>& t,
                             V eps, V pure_eps) {
  const BoxAxis<V> x = AxisOf(d, format, p, t, 0);
  const BoxAxis<V> y = AxisOf(d, format, p, t, 1);
  const V zero = hn::Zero(d);
  const auto meets = hn::And(hn::Gt(x.overlap, zero), hn::Gt(y.overlap, zero));
  const V intersection = hn::IfThenElseZero(meets, hn::Mul(x.overlap, y.overlap));
  // Of each box a strip beside the intersection, as high as the box, and one above or below it.
  const V prediction =
      hn::MulAdd(x.PredictionOutside(d), y.prediction, hn::Mul(x.overlap, y.PredictionOutside(d)));
  const V target = hn::MulAdd(x.TargetOutside(d), y.target, hn::Mul(x.overlap, y.TargetOutside(d)));
  const V apart = hn::MulAdd(x.prediction, y.prediction, hn::Mul(x.target, y.target));
  const V outside = hn::IfThenElse(meets, hn::Add(prediction, target), apart);
  return {x, y, meets, intersection, outside, hn::Add(intersection, outside), eps, pure_eps};
}

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

// The tag of the T that fill as many lanes as f64 has.
template <class T>
using BoxTag = hn::Rebind<T, hn::ScalableTag<double>>;

template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<double>> WidenLanes(hn::Vec<BoxTag<T>> v) {
  if constexpr (sizeof(T) == 4) {
    return hn::PromoteTo(hn::ScalableTag<double>(), v);
  } else {
    return v;
  }
}
template <class T>
HWY_INLINE hn::Vec<BoxTag<T>> NarrowLanes(hn::Vec<hn::ScalableTag<double>> v) {
  const BoxTag<T> d;
  hn::Vec<BoxTag<T>> narrow;
  if constexpr (sizeof(T) == 4) {
    narrow = hn::DemoteTo(d, v);
  } else {
    narrow = v;
  }
  return hn::IfThenElse(hn::Eq(narrow, narrow), narrow,
                        hn::Set(d, std::numeric_limits<T>::quiet_NaN()));
}

inline constexpr size_t kBoxLanes = hn::MaxLanes(hn::ScalableTag<double>());

// `count` boxes, at any address; lanes beyond them are 0.
template <class T>
HWY_INLINE BoxNumbers<hn::Vec<hn::ScalableTag<double>>> LoadBoxes(const T* boxes, size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[4 * kBoxLanes];
  if (HWY_UNLIKELY(count < kBoxLanes)) {
    std::memset(padded, 0, sizeof(padded));
    std::memcpy(padded, boxes, 4 * count * sizeof(T));
    boxes = padded;
  }
  hn::Vec<BoxTag<T>> a, b, c, e;
  hn::LoadInterleaved4(d, boxes, a, b, c, e);
  return {{WidenLanes<T>(a), WidenLanes<T>(b), WidenLanes<T>(c), WidenLanes<T>(e)}};
}

template <class T>
HWY_INLINE void StoreBoxes(const BoxNumbers<hn::Vec<hn::ScalableTag<double>>>& boxes, T* to,
                           size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[4 * kBoxLanes];
  T* const all = count < kBoxLanes ? padded : to;
  hn::StoreInterleaved4(NarrowLanes<T>(boxes.n[0]), NarrowLanes<T>(boxes.n[1]),
                        NarrowLanes<T>(boxes.n[2]), NarrowLanes<T>(boxes.n[3]), d, all);
  if (HWY_UNLIKELY(count < kBoxLanes)) std::memcpy(to, padded, 4 * count * sizeof(T));
}

template <class T>
HWY_INLINE void StoreLanes(hn::Vec<hn::ScalableTag<double>> v, T* to, size_t count) {
  const BoxTag<T> d;
  const auto narrow = NarrowLanes<T>(v);
  if (HWY_LIKELY(count >= kBoxLanes)) {
    hn::StoreU(narrow, d, to);
    return;
  }
  HWY_ALIGN T padded[kBoxLanes];
  hn::Store(narrow, d, padded);
  std::memcpy(to, padded, count * sizeof(T));
}

template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<double>> LoadLanes(const T* from, size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[kBoxLanes] = {};
  if (HWY_UNLIKELY(count < kBoxLanes)) {
    std::memcpy(padded, from, count * sizeof(T));
    from = padded;
  }
  return WidenLanes<T>(hn::LoadU(d, from));
}

// Pairs of boxes in their format, scaled where they must be.
template <class T>
class BoxPairs {
 public:
  using D = hn::ScalableTag<double>;
  using V = hn::Vec<D>;

  BoxPairs(BoxFormat format, double eps) : format_(format), eps_(eps) {}

  // `scale` gets the power of two that the coordinates were multiplied by.
  HWY_INLINE BoxPair<V> Load(const RowBlock<T>& block, size_t row, size_t count, V* scale) const {
    const D d;
    BoxNumbers<V> p = LoadBoxes(block.operands[0] + 4 * row, count);
    BoxNumbers<V> t = LoadBoxes(block.operands[1] + 4 * row, count);
    V eps = hn::Set(d, eps_);
    *scale = hn::Set(d, 1.0);
    if constexpr (sizeof(T) == 8) Scale(&p, &t, scale, &eps);
    return PairOf(d, format_, p, t, eps, hn::Set(d, eps_));
  }

  BoxFormat format() const { return format_; }

 private:
  // Squares of coordinates up to 2^500, and sums of a few of them, are finite; those of 2^-450 and
  // above still have neighbours a millionth of them apart.
  static constexpr double kHuge = 0x1p500, kTiny = 0x1p-450;
  static constexpr double kShrink = 0x1p-525, kGrow = 0x1p500;

  // eps is an area or a square. It stays above 0 where it is, and finite.
  static double ScaledEps(double eps, double scale) {
    constexpr double kMost = 0x1p1000;
    const double scaled = (eps < kMost ? eps : kMost) * scale * scale;
    if (scaled == 0 && eps > 0) return std::numeric_limits<double>::denorm_min();
    return scaled < kMost ? scaled : kMost;
  }

  HWY_INLINE void Scale(BoxNumbers<V>* p, BoxNumbers<V>* t, V* scale, V* eps) const {
    const D d;
    V largest = hn::Zero(d);
    for (int i = 0; i < 4; ++i) {
      largest = Larger(hn::Abs(p->n[i]), Larger(hn::Abs(t->n[i]), largest));
    }
    const auto huge = hn::Gt(largest, hn::Set(d, kHuge));
    const auto tiny = hn::Lt(largest, hn::Set(d, kTiny));
    *scale =
        hn::IfThenElse(huge, hn::Set(d, kShrink), hn::IfThenElse(tiny, hn::Set(d, kGrow), *scale));
    *eps = hn::IfThenElse(
        huge, hn::Set(d, ScaledEps(eps_, kShrink)),
        hn::IfThenElse(tiny, hn::Set(d, ScaledEps(eps_, kGrow)), hn::Set(d, ScaledEps(eps_, 1))));
    for (int i = 0; i < 4; ++i) {
      p->n[i] = hn::Mul(p->n[i], *scale);
      t->n[i] = hn::Mul(t->n[i], *scale);
    }
  }

  const BoxFormat format_;
  const double eps_;
};

// The parameters of a box loss are its format and eps.
template <class T>
BoxPairs<T> PairsOf(const double* parameters) {
  return BoxPairs<T>(static_cast<BoxFormat>(static_cast<int>(parameters[0])), parameters[1]);
}

template <class Formula, class T>
void RunBoxes(const double* parameters, const RowBlock<T>& block, T* items, uint8_t*) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const BoxPairs<T> pairs = PairsOf<T>(parameters);
  for (size_t row = 0; row < block.rows; row += kBoxLanes) {
    const size_t count = HWY_MIN(block.rows - row, kBoxLanes);
    V scale;
    const BoxPair<V> pair = pairs.Load(block, row, count, &scale);
    const V item = Formula::Item(d, pair);
    StoreLanes(hn::IfThenElse(HasPlace(pair), item, hn::NaN(d)), items + row, count);
  }
}

template <class Formula, class T>
void RunBoxGradients(const double* parameters, const RowBlock<T>& block, const T* scales,
                     T* const* gradients) {
  if (gradients[0] == nullptr) return;
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const BoxPairs<T> pairs = PairsOf<T>(parameters);
  for (size_t row = 0; row < block.rows; row += kBoxLanes) {
    const size_t count = HWY_MIN(block.rows - row, kBoxLanes);
    V scale;
    const BoxPair<V> pair = pairs.Load(block, row, count, &scale);
    const V zero = hn::Zero(d);
    BoxPartials<V> partials = {zero, zero, zero, zero, zero, zero, zero, zero};
    Formula::Partials(d, pair, &partials);
    BoxNumbers<V> gradient = GradientOf(d, pairs.format(), pair, partials);
    const V item_scale = LoadLanes(scales + row, count);
    const V factor = hn::Mul(item_scale, scale);
    const auto flows = hn::Ne(item_scale, zero);
    const auto has_place = HasPlace(pair);
    for (V& g : gradient.n) {
      const V scaled = hn::IfThenElse(has_place, hn::Mul(g, factor), hn::NaN(d));
      g = hn::IfThenElseZero(flows, scaled);
    }
    StoreBoxes(gradient, gradients[0] + 4 * row, count);
  }
}

// The kernels of a formula with one item a pair of boxes: operand 0 the predictions, 1 the targets.
template <class Formula>
constexpr Kernels Boxes() {
  Kernels kernels;
  kernels.rows.f32 = RunBoxes<Formula, float>;
  kernels.rows.f64 = RunBoxes<Formula, double>;
  kernels.rows.gradient_f32 = RunBoxGradients<Formula, float>;
  kernels.rows.gradient_f64 = RunBoxGradients<Formula, double>;
  kernels.rows.gradients = 1;
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
