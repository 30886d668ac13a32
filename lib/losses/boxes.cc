// Boxes: losses of a predicted box and its target.
//
// With I the area of the intersection, U of the union, H of the hull (the smallest box around
// both), eps is added to what divides. Everything else is as torchvision defines it; 1 - IoU is
// formed as (U - I + eps) / (U + eps), U - I without cancellation, so boxes that nearly match keep
// the digits of their distance. Boxes without an area have IoU 0; with eps of 0 as well they give
// NaN, and so does the aspect ratio of a point in ciou, as in PyTorch.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/boxes.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/boxes-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace boxes {

// 1 - IoU.
struct Iou {
  template <class D, class V>
  static HWY_INLINE V Item(D d, const BoxPair<V>& pair) {
    const V item = hn::Div(hn::Add(pair.outside, pair.eps), hn::Add(pair.area_union, pair.eps));
    if constexpr (kIsF32<V>) return item;  // of finite boxes
    // An infinite box has no share in common with a finite one.
    const V inf = hn::Inf(d);
    const auto endless = hn::And(hn::Eq(pair.area_union, inf), hn::Lt(pair.intersection, inf));
    return hn::IfThenElse(endless, hn::Set(d, hn::TFromD<D>(1)), item);
  }

  // With U = A_p + A_t - I: d/dI = -(1 + IoU) / (U + eps), d/dA_p = IoU / (U + eps).
  template <class D, class V>
  static HWY_INLINE void Partials(D d, const BoxPair<V>& pair, BoxPartials<V>* partials) {
    const V one = hn::Set(d, 1.0);
    const V inverse = hn::Div(one, hn::Add(pair.area_union, pair.eps));
    const V iou = hn::Mul(pair.intersection, inverse);
    partials->intersection = hn::Neg(hn::MulAdd(iou, inverse, inverse));
    partials->area = hn::Mul(iou, inverse);
  }
};

// 1 - IoU + (H - U) / H.
struct Giou {
  // H - U: with an intersection the corners of the hull that no box covers, each as wide as what
  // one box has alone and as high as what the other has.
  template <class D, class V>
  static HWY_INLINE V Uncovered(D d, const BoxPair<V>& pair, V hull) {
    const V corners = hn::MulAdd(pair.x.PredictionOutside(d), pair.y.TargetOutside(d),
                                 hn::Mul(pair.x.TargetOutside(d), pair.y.PredictionOutside(d)));
    return hn::IfThenElse(pair.meets, corners, hn::Sub(hull, pair.area_union));
  }

  template <class D, class V>
  static HWY_INLINE V Item(D d, const BoxPair<V>& pair) {
    const V hull = hn::Mul(pair.x.hull, pair.y.hull);
    const V penalty = hn::Div(Uncovered(d, pair, hull), hn::Add(hull, pair.eps));
    return hn::Add(Iou::Item(d, pair), penalty);
  }

  template <class D, class V>
  static HWY_INLINE void Partials(D d, const BoxPair<V>& pair, BoxPartials<V>* partials) {
    Iou::Partials(d, pair, partials);
    const V hull = hn::Mul(pair.x.hull, pair.y.hull);
    const V inverse = hn::Div(hn::Set(d, 1.0), hn::Add(hull, pair.eps));
    const V penalty = hn::Mul(Uncovered(d, pair, hull), inverse);
    partials->intersection = hn::Add(partials->intersection, inverse);
    partials->area = hn::Sub(partials->area, inverse);
    const V of_hull = hn::NegMulAdd(penalty, inverse, inverse);
    partials->hull_x = hn::Mul(of_hull, pair.y.hull);
    partials->hull_y = hn::Mul(of_hull, pair.x.hull);
  }
};

// 1 - IoU + the squared distance of the centers / the squared diagonal of the hull.
struct Diou {
  template <class V>
  static HWY_INLINE V SumOfSquares(V x, V y, V plus) {
    return hn::MulAdd(x, x, hn::MulAdd(y, y, plus));
  }

  template <class D, class V>
  static HWY_INLINE V Item(D d, const BoxPair<V>& pair) {
    const V distance = SumOfSquares(pair.x.center, pair.y.center, hn::Zero(d));
    const V diagonal = SumOfSquares(pair.x.hull, pair.y.hull, pair.eps);
    return hn::Add(Iou::Item(d, pair), hn::Div(distance, diagonal));
  }

  template <class D, class V>
  static HWY_INLINE void Partials(D d, const BoxPair<V>& pair, BoxPartials<V>* partials) {
    Iou::Partials(d, pair, partials);
    const V distance = SumOfSquares(pair.x.center, pair.y.center, hn::Zero(d));
    const V two = hn::Set(d, 2.0);
    const V twice = hn::Div(two, SumOfSquares(pair.x.hull, pair.y.hull, pair.eps));
    const V share = hn::Mul(hn::Mul(distance, twice), hn::Set(d, 0.5));
    partials->center_x = hn::Mul(pair.x.center, twice);
    partials->center_y = hn::Mul(pair.y.center, twice);
    const V of_hull = hn::Neg(hn::Mul(share, twice));
    partials->hull_x = hn::Mul(of_hull, pair.x.hull);
    partials->hull_y = hn::Mul(of_hull, pair.y.hull);
  }
};

// diou + a v, v = 4/pi^2 (atan(w_t / h_t) - atan(w_p / h_p))^2, a = v / (1 - IoU + v + eps).
struct Ciou {
  // The difference of the angles, as one angle: for sizes of at least 0 it is
  // atan((w_t h_p - w_p h_t) / (w_t w_p + h_t h_p)), whose numerator is exact to its last bits.
  template <class D, class V>
  static HWY_INLINE V Angle(D d, const BoxPair<V>& pair) {
    const V w_p = pair.x.prediction, h_p = pair.y.prediction;
    const V w_t = pair.x.target, h_t = pair.y.target;
    const V product = hn::Mul(w_p, h_t);
    const V rest = hn::NegMulAdd(w_p, h_t, product);
    const V numerator = hn::Add(hn::MulSub(w_t, h_p, product), rest);
    return AtanOfRatio(d, numerator, AngleDenominator(pair));
  }
  template <class V>
  static HWY_INLINE V AngleDenominator(const BoxPair<V>& pair) {
    return hn::MulAdd(pair.x.target, pair.x.prediction, hn::Mul(pair.y.target, pair.y.prediction));
  }
  template <class D, class V>
  static HWY_INLINE auto FitsF32(D d, const BoxPair<V>& pair) {
    return hn::Ge(AngleDenominator(pair), hn::Set(d, 0x1p-100f));
  }
  template <class D>
  static HWY_INLINE hn::Vec<D> FourOverPiSquared(D d) {
    return hn::Set(d, hn::TFromD<D>(0.40528473456935108578));
  }

  template <class D, class V>
  static HWY_INLINE V Item(D d, const BoxPair<V>& pair) {
    const V angle = Angle(d, pair);
    const V v = hn::Mul(hn::Mul(angle, angle), FourOverPiSquared(d));
    const V a = hn::Div(v, hn::Add(hn::Add(Iou::Item(d, pair), v), pair.pure_eps));
    // Of equal shapes a v is 0, even where a is 0 / 0.
    const V shape = hn::IfThenZeroElse(hn::Eq(v, hn::Zero(d)), hn::Mul(a, v));
    return hn::Add(Diou::Item(d, pair), shape);
  }

  // a is held constant.
  template <class D, class V>
  static HWY_INLINE void Partials(D d, const BoxPair<V>& pair, BoxPartials<V>* partials) {
    Diou::Partials(d, pair, partials);
    const V angle = Angle(d, pair);
    const V slope = hn::Mul(angle, FourOverPiSquared(d));
    const V v = hn::Mul(angle, slope);
    const V a = hn::Div(v, hn::Add(hn::Add(Iou::Item(d, pair), v), pair.pure_eps));
    const V w_p = pair.x.prediction, h_p = pair.y.prediction;
    const V twice =
        hn::Div(hn::Mul(hn::Add(slope, slope), a), Diou::SumOfSquares(w_p, h_p, hn::Zero(d)));
    const auto equal = hn::Eq(v, hn::Zero(d));
    partials->width = hn::Neg(hn::IfThenZeroElse(equal, hn::Mul(twice, h_p)));
    partials->height = hn::IfThenZeroElse(equal, hn::Mul(twice, w_p));
  }
};

constexpr Input kInputs[] = {
    {"predictions", ShapeRule::kBoxes, TypeRule::kFloating, ValueRule::kBox, false},
    {"targets", ShapeRule::kBoxes, TypeRule::kTarget, ValueRule::kBox, false}};

constexpr Signature kIou[] = {{kInputs, ItemKind::kBox, Boxes<Iou>()}};
constexpr Signature kGiou[] = {{kInputs, ItemKind::kBox, Boxes<Giou>()}};
constexpr Signature kDiou[] = {{kInputs, ItemKind::kBox, Boxes<Diou>()}};
constexpr Signature kCiou[] = {{kInputs, ItemKind::kBox, Boxes<Ciou>()}};

constexpr double kMax = 1.7976931348623157e308;
constexpr const char* kFormatNames[] = {"XYXY", "XYWH", "CXCYWH"};
constexpr Parameter kParameters[] = {
    {"format", ParameterType::kEnum, static_cast<double>(BoxFormat::kXyxy),
     static_cast<double>(BoxFormat::kXyxy), static_cast<double>(BoxFormat::kCxcywh), false,
     "what the four numbers of a box are", kFormatNames},
    {"eps", ParameterType::kDouble, 1e-7, 0, kMax, false,
     "added to the areas and squares that divide"}};

constexpr char kFamily[] = "boxes";
constexpr LossRow kRows[] = {
    {"iou", kFamily, "intersection over union of two boxes", "1 - IoU", "definition", kParameters,
     kIou},
    {"giou", kFamily, "generalised IoU: boxes apart are told how far",
     "1 - IoU + (hull - union) / hull",
     "torchvision.ops.generalized_box_iou_loss; Rezatofighi et al. 2019", kParameters, kGiou},
    {"diou", kFamily, "distance IoU: the centers are pulled together",
     "1 - IoU + (distance of the centers)^2 / (diagonal of the hull)^2",
     "torchvision.ops.distance_box_iou_loss; Zheng et al. 2020", kParameters, kDiou},
    {"ciou", kFamily, "complete IoU: distance IoU and the aspect ratio",
     "diou + a v, v = 4/pi^2 (atan(wt/ht) - atan(wp/hp))^2, a = v / (1 - IoU + v + eps), constant "
     "in "
     "the gradient",
     "torchvision.ops.complete_box_iou_loss; Zheng et al. 2020", kParameters, kCiou},
};

}  // namespace boxes

LossTable BoxesTable() { return {HWY_TARGET, boxes::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(BoxesTable);
LossTable BoxesTable() { return HWY_DYNAMIC_DISPATCH(BoxesTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
