// focal: of a binary target, and of rows of classes.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/focal.cc"
#include <limits>
#include <type_traits>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/predictions-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/binary-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace binary {

// The square, which is the default, needs no logarithm.
template <class T>
struct FocalPower {
  T gamma;
  template <class D, class V>
  HWY_INLINE V operator()(D d, V wrong) const {
    return gamma == T(2) ? hn::Mul(wrong, wrong) : Pow(d, wrong, hn::Set(d, gamma));
  }
};

// What an item of binary focal is made of; items of f32 are put together in f64 lanes.
template <class V>
struct FocalTerms {
  NegLogs<V> logs;
  Probabilities<TwoPart<V>> p;
  V y;
};

template <class DD, class VH>
HWY_INLINE FocalTerms<hn::VFromD<DD>> WidenTerms(DD wide, const FocalTerms<VH>& t) {
  const auto widen = [wide](auto v) HWY_ATTR { return hn::PromoteTo(wide, v); };
  const auto join = [&](auto v) HWY_ATTR {
    return TwoPart<hn::VFromD<DD>>{hn::Add(widen(v.hi), widen(v.lo)), hn::Zero(wide)};
  };
  return {{widen(t.logs.positive), widen(t.logs.negative)},
          {join(t.p.positive), join(t.p.negative)},
          widen(t.y)};
}

template <class T, class Prediction>
struct Focal {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kHeavy = true;
  struct {
    double gamma, scale, alpha, rest_of_alpha;
  } exact;  // for items
  T gamma, scale, alpha, rest_of_alpha;
  bool has_alpha;
  explicit Focal(const double* p)
      : exact{p[0], UnitsPerNat(p[2]), p[1], 1 - p[1]},
        gamma(static_cast<T>(p[0])),
        scale(static_cast<T>(UnitsPerNat(p[2]))),
        alpha(static_cast<T>(p[1])),
        rest_of_alpha(static_cast<T>(1 - p[1])),
        has_alpha(p[1] == p[1]) {}
  template <bool kOrdinary, class D, class V, size_t kCount>
  HWY_INLINE void Vectors(D d, const V (&predictions)[kCount], const V (&y)[kCount],
                          V (&items)[kCount]) const {
    constexpr bool kShort = sizeof(T) == 4 && std::is_same_v<Prediction, FromLogits>;
    if constexpr (kShort) {
      if (exact.gamma == 1 || exact.gamma == 2) {
        OfHardTargets<kOrdinary>(d, predictions, y, items);
        for (size_t v = 0; v < kCount; ++v) {
          const auto hard = hn::Or(hn::Eq(y[v], hn::Zero(d)), hn::Eq(y[v], hn::Set(d, T(1))));
          if (HWY_LIKELY(hn::AllTrue(d, hard))) continue;
          items[v] = hn::IfThenElse(hard, items[v], Item(d, predictions[v], y[v]));
        }
        return;
      }
    }
    for (size_t v = 0; v < kCount; ++v) items[v] = Item(d, predictions[v], y[v]);
  }
  template <class D, class V>
  HWY_INLINE V Item(D d, V prediction, V y) const {
    FocalTerms<V> terms = {Prediction::Logs(d, prediction), {}, y};
    if constexpr (sizeof(T) == 8) {
      terms.p = Prediction::BothTwoPart(d, prediction);
      return Assemble(d, terms);
    } else {
      // A square takes p and 1 - p in two parts of f32, another power in f64.
      const bool square = exact.gamma == 2;
      const TwoPart<V> none = {hn::Zero(d), hn::Zero(d)};
      terms.p = {none, none};
      if (square) terms.p = Prediction::BothTwoPart(d, prediction);
      const hn::RepartitionToWide<D> wide;
      const hn::Half<D> half;
      auto low = WidenTerms(wide, LowerTerms(half, terms));
      auto high = WidenTerms(wide, UpperTerms(half, terms));
      if (!square && exact.gamma != 0) {
        const auto widen = [wide](auto v) HWY_ATTR { return hn::PromoteTo(wide, v); };
        low.p = Prediction::BothTwoPart(wide, widen(hn::LowerHalf(half, prediction)));
        high.p = Prediction::BothTwoPart(wide, widen(hn::UpperHalf(half, prediction)));
      }
      return hn::Combine(d, hn::DemoteTo(half, Assemble(wide, high)),
                         hn::DemoteTo(half, Assemble(wide, low)));
    }
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V prediction, V y) const {
    const V one = hn::Set(d, T(1));
    const V rest = hn::Sub(one, y);
    V slope = Prediction::Slope(d, prediction, y, rest);
    if (gamma != T(0)) {
      // (1 - p_t)^gamma (BCE' + gamma BCE (1 - p_t)' / (1 - p_t)).
      const NegLogs<V> logs = Prediction::Logs(d, prediction);
      const V bce = hn::Add(MaskedMul(d, y, logs.positive), MaskedMul(d, rest, logs.negative));
      const Probabilities<V> p = Prediction::Both(d, prediction);
      const V wrong = hn::MulAdd(p.positive, rest, hn::Mul(p.negative, y));
      // pq is at most p and q, so at most 1 - p_t.
      const V growth = hn::Mul(hn::Sub(rest, y), hn::Div(Prediction::Rate(d, p), wrong));
      const V more = MaskedMul(d, growth, hn::Mul(hn::Set(d, gamma), bce));
      slope = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), hn::Add(slope, more));
    }
    return hn::Mul(Alpha(d, y, rest, slope), hn::Set(d, scale));
  }

 private:
  // f32 logits with targets of 0 and 1 and a gamma of 1 or 2. With u = -x for a target of 1 and x
  // for 0, the item is softplus(u) sigmoid(u)^gamma, the sigmoid in two parts.
  template <bool kOrdinary, class D, class V, size_t kCount>
  HWY_INLINE void OfHardTargets(D d, const V (&logits)[kCount], const V (&y)[kCount],
                                V (&items)[kCount]) const {
    const hn::RebindToSigned<D> di;
    const V one = hn::Set(d, 1.0f), zero = hn::Zero(d);
    V u[kCount];
    for (size_t v = 0; v < kCount; ++v) {
      // The bits of 1 lend their 29th for a sign.
      const V flip = hn::BitCast(d, hn::ShiftLeft<2>(hn::BitCast(di, y[v])));
      u[v] = hn::Xor(logits[v], hn::And(flip, hn::SignBit(d)));
    }
    const FineSoftplus<V, kCount> e = FineLog1pExpNegAbs<kOrdinary>(d, u);
    for (size_t v = 0; v < kCount; ++v) {
      const V sum = hn::Add(one, e.hi[v]);
      const V sum_lo = hn::Add(hn::Sub(e.hi[v], hn::Sub(sum, one)), e.lo[v]);
      const V inverse = hn::Div(one, sum);
      // sigmoid(u) = (u < 0 ? e : 1) / (1 + e) = p + p_lo.
      const auto below = hn::RebindMask(d, hn::Lt(hn::BitCast(di, u[v]), hn::Zero(di)));
      const V numerator = hn::IfThenElse(below, e.hi[v], one);
      const V numerator_lo = hn::IfThenElseZero(below, e.lo[v]);
      const V p = hn::Mul(numerator, inverse);
      const V rest = hn::NegMulAdd(p, sum_lo, hn::NegMulAdd(p, sum, numerator));
      const V p_lo = hn::Mul(hn::Add(rest, numerator_lo), inverse);
      const V power =
          exact.gamma == 2 ? hn::MulAdd(p, p, hn::Mul(hn::Add(p, p), p_lo)) : hn::Add(p, p_lo);
      const V above = hn::BitCast(d, hn::Max(hn::BitCast(di, u[v]), hn::Zero(di)));
      const V softplus = hn::Add(above, e.log[v]);
      items[v] = hn::Mul(power, softplus);
      if constexpr (!kOrdinary) {
        // Infinite logarithms of impossible items.
        items[v] = hn::IfThenElse(hn::Eq(power, zero), zero, items[v]);
        items[v] = hn::IfThenElse(hn::Eq(u[v], u[v]), items[v], u[v]);
      }
    }
    for (size_t v = 0; v < kCount && has_alpha; ++v) {
      const V factor =
          hn::IfThenElse(hn::Eq(y[v], one), hn::Set(d, alpha), hn::Set(d, rest_of_alpha));
      items[v] = MaskedMul(d, factor, items[v]);
    }
    for (size_t v = 0; v < kCount && scale != T(1); ++v) {
      items[v] = hn::Mul(items[v], hn::Set(d, scale));
    }
  }

  // f64. 1 - p_t is formed as y (1 - p) + (1 - y) p: two terms of at least 0, so that it keeps its
  // digits where p_t is near 1; and in two parts, as the power multiplies its error by gamma.
  template <class D, class V>
  HWY_INLINE V Assemble(D d, const FocalTerms<V>& t) const {
    const V rest = hn::Sub(hn::Set(d, 1.0), t.y);
    const V of_negative = MaskedMul(d, rest, t.logs.negative);
    const V both = hn::MulAdd(t.y, t.logs.positive, of_negative);
    V item = hn::IfThenElse(hn::Eq(t.y, hn::Zero(d)), of_negative, both);
    V item_lo = hn::Zero(d);
    if (exact.gamma != 0) {
      const TwoPart<V> wrong = Wrong(d, t, rest);
      const V power = PowerOf(d, wrong.hi, wrong.lo);
      const V product = MaskedMul(d, power, item);
      item_lo = RoundedOff(d, power, item, product);
      item = product;
    }
    if (has_alpha) {
      const V alphas = hn::Set(d, exact.alpha), rest_of_alphas = hn::Set(d, exact.rest_of_alpha);
      const V of_rest = hn::Mul(rest_of_alphas, rest);
      const V factor = hn::MulAdd(alphas, t.y, of_rest);
      const V factor_lo = hn::Add(hn::MulAdd(alphas, t.y, hn::Sub(of_rest, factor)),
                                  RoundedOff(d, rest_of_alphas, rest, of_rest));
      const V product = MaskedMul(d, factor, item);
      item_lo = hn::MulAdd(factor, item_lo, RoundedOff(d, factor, item, product));
      item_lo = hn::MulAdd(factor_lo, hn::IfThenElseZero(IsFinite(d, product), item), item_lo);
      item = product;
    }
    return hn::Mul(hn::Add(item, item_lo), hn::Set(d, exact.scale));
  }

  template <class D, class V>
  static HWY_INLINE hn::Mask<D> IsFinite(D d, V v) {
    return hn::Lt(hn::Abs(v), hn::Set(d, std::numeric_limits<double>::infinity()));
  }

  // What a product rounds off; 0 where it is not finite. Where the result is rounded to f32 it does
  // not matter.
  template <class D, class V>
  static HWY_INLINE V RoundedOff(D d, V a, V b, V product) {
    if constexpr (sizeof(T) == 4) return hn::Zero(d);
    const auto zero = hn::Eq(product, hn::Zero(d));
    const V rest = hn::IfThenElseZero(IsFinite(d, product), hn::MulSub(a, b, product));
    return hn::IfThenZeroElse(zero, rest);
  }

  template <class D, class V>
  static HWY_INLINE TwoPart<V> Wrong(D d, const FocalTerms<V>& t, V rest) {
    const V a = hn::Mul(t.p.negative.hi, t.y);
    if constexpr (sizeof(T) == 4) return {hn::MulAdd(t.p.positive.hi, rest, a), hn::Zero(d)};
    // The products and their sum, each with what it rounds off.
    const V b = hn::Mul(t.p.positive.hi, rest);
    const V sum = hn::Add(a, b);
    const V from_b = hn::Sub(sum, a);
    const V of_sum = hn::Add(hn::Sub(a, hn::Sub(sum, from_b)), hn::Sub(b, from_b));
    const V of_a = hn::MulAdd(t.p.negative.lo, t.y, hn::MulSub(t.p.negative.hi, t.y, a));
    const V of_b = hn::MulAdd(t.p.positive.lo, rest, hn::MulSub(t.p.positive.hi, rest, b));
    return {sum, hn::Add(of_sum, hn::Add(of_a, of_b))};
  }

  // (hi + lo)^gamma: hi^gamma (1 + gamma lo / hi).
  template <class D, class V>
  HWY_INLINE V PowerOf(D d, V hi, V lo) const {
    if (exact.gamma == 2) return hn::MulAdd(hi, hi, hn::Mul(hn::Add(hi, hi), lo));
    const V gammas = hn::Set(d, exact.gamma);
    if constexpr (sizeof(T) == 4) return PowForF32(d, hi, gammas);  // there lo is 0
    const V power = Pow(d, hi, gammas);
    const V more = hn::Div(hn::Mul(gammas, lo), hi);
    const auto small = hn::Lt(hn::Abs(more), hn::Set(d, 1.0));  // not where hi is 0
    return hn::MulAdd(power, hn::IfThenElseZero(small, more), power);
  }

  template <class DH, class V>
  static HWY_INLINE FocalTerms<hn::VFromD<DH>> LowerTerms(DH half, const FocalTerms<V>& t) {
    const auto part = [half](auto v) HWY_ATTR { return hn::LowerHalf(half, v); };
    return {{part(t.logs.positive), part(t.logs.negative)},
            {{part(t.p.positive.hi), part(t.p.positive.lo)},
             {part(t.p.negative.hi), part(t.p.negative.lo)}},
            part(t.y)};
  }
  template <class DH, class V>
  static HWY_INLINE FocalTerms<hn::VFromD<DH>> UpperTerms(DH half, const FocalTerms<V>& t) {
    const auto part = [half](auto v) HWY_ATTR { return hn::UpperHalf(half, v); };
    return {{part(t.logs.positive), part(t.logs.negative)},
            {{part(t.p.positive.hi), part(t.p.positive.lo)},
             {part(t.p.negative.hi), part(t.p.negative.lo)}},
            part(t.y)};
  }

  template <class D, class V>
  HWY_INLINE V Alpha(D d, V y, V rest, V value) const {
    if (!has_alpha) return value;
    const V factor = hn::MulAdd(hn::Set(d, alpha), y, hn::Mul(hn::Set(d, rest_of_alpha), rest));
    return MaskedMul(d, factor, value);
  }
};
template <class T>
struct FocalLogits : Focal<T, FromLogits> {
  using Focal<T, FromLogits>::Focal;
  static constexpr bool kOnePass = true;
  static constexpr float kOrdinaryPrediction = kOrdinaryExp;
};
template <class T>
using FocalProbs = Focal<T, FromClampedProbs>;

// Multi-class: -(1 - p_y)^gamma log p_y, the power formed as above.
template <class T, template <class> class Prediction>
struct FocalRows {
  static constexpr bool kSoftmax = Prediction<T>::kSoftmax;
  static constexpr uint32_t kGradients = 1;
  static constexpr bool kCanonicalGradients = true;
  T gamma, scale;
  FocalRows(const double* p, const RowBlock<T>&)
      : gamma(static_cast<T>(p[0])), scale(static_cast<T>(UnitsPerNat(p[2]))) {}
  static constexpr bool InLanes() { return true; }
  template <class D, class V>
  HWY_INLINE V Rows(D d, const RowBlock<T>& block, size_t row, size_t count, V x) const {
    const auto neg_log = Prediction<T>::NegLogOfRows(d, block, row, count, x);
    auto item = neg_log;
    if (gamma != T(0)) {
      const auto zero = hn::Zero(d);
      const auto wrong = hn::Sub(zero, Expm1(d, hn::Sub(zero, neg_log)));  // 1 - p_y
      item = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), item);
    }
    if (block.class_weights != nullptr) item = hn::Mul(item, WeightsOfLabels(d, block, row, count));
    return hn::Mul(item, hn::Set(d, scale));
  }

  // d item / d(-log p_y) = (1 - p_y)^gamma (1 + gamma p_y (-log p_y) / (1 - p_y)).
  void Gradient(const RowBlock<T>& block, size_t row, T item_scale, T* const* gradients) const {
    const hn::ScalableTag<T> d;
    const T* x = block.operands[0] + row * block.width;
    const size_t label = static_cast<size_t>(block.labels[row]);
    const Prediction<T> prediction(block, row);
    const auto one = hn::Set(d, T(1));
    const auto neg_log = hn::Set(d, ScalarNegLog(prediction, LoadScalar(x + label)));
    auto slope = one;
    if (gamma != T(0)) {
      const auto zero = hn::Zero(d);
      const auto log_p = hn::Sub(zero, neg_log);
      const auto wrong = hn::Sub(zero, Expm1(d, log_p));
      const auto growth = hn::Div(MaskedMul(d, Exp(d, log_p), neg_log), wrong);
      const auto factor = hn::MulAdd(hn::Set(d, gamma), growth, one);
      slope = MaskedMul(d, FocalPower<T>{gamma}(d, wrong), factor);
    }
    T whole = hn::GetLane(slope) * scale;
    if (block.class_weights != nullptr) whole *= LoadScalar(block.class_weights + label);
    T* const gradient = gradients[0] + row * block.width;
    if constexpr (kSoftmax) {
      LabelGradient<T>(block, row, T(1), whole * item_scale).Store(label, gradient);
    } else {
      const auto target = [&](auto tag, size_t i, size_t) HWY_ATTR {
        return hn::IfThenElseZero(IsClass(tag, i, label), hn::Set(tag, T(1)));
      };
      prediction.Gradient(x, block.width, T(1), target, whole * item_scale, gradient);
      CanonicaliseNans(gradient, block.width);
    }
  }
};
template <class T>
using FocalLogitsRows = FocalRows<T, LogitsRow>;
template <class T>
using FocalProbsRows = FocalRows<T, ProbsRow>;

constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kClassWeight = {"class_weight", ShapeRule::kClassVector, TypeRule::kFloating,
                                ValueRule::kAny, true};
constexpr Input kLogitsLabels[] = {
    {"logits", ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false},
    kLabels,
    kClassWeight};
constexpr Input kProbsLabels[] = {
    {"probs", ShapeRule::kRows, TypeRule::kFloating, ValueRule::kAny, false},
    kLabels,
    kClassWeight};

constexpr ItemKind kItem = ItemKind::kElement;
// alpha, parameter 1, is for the binary form only.
template <template <class> class Formula>
constexpr Signature FocalRowsSignature(TableSpan<Input> inputs) {
  Signature signature = {inputs, ItemKind::kRow, Rowwise<Formula>()};
  signature.unused_parameters = 1 << 1;
  return signature;
}
constexpr Signature kFocalSignatures[] = {{kLogitsTargets, kItem, Elementwise<FocalLogits>()},
                                          {kProbsTargets, kItem, Elementwise<FocalProbs>()},
                                          FocalRowsSignature<FocalLogitsRows>(kLogitsLabels),
                                          FocalRowsSignature<FocalProbsRows>(kProbsLabels)};

constexpr Parameter kFocalParameters[] = {
    {"gamma", ParameterType::kDouble, 2, 0, kMax, false, "how much easy items are scaled down"},
    {"alpha", ParameterType::kDouble, __builtin_nan(""), 0, 1, false,
     "weight of the positives, binary form only; unset: no weighting"},
    kUnitParameter};

constexpr LossRow kFocalRow[] = {
    {"focal", kFamily, "cross-entropy with easy items scaled down",
     "BCE (1 - p_t)^gamma (alpha y + (1 - alpha)(1 - y)), p_t = p y + (1 - p)(1 - y); with labels "
     "-(1 - p_y)^gamma log p_y",
     "torchvision.ops.sigmoid_focal_loss; Lin et al. 2017", kFocalParameters, kFocalSignatures},
};

}  // namespace binary

LossTable FocalTable() { return {HWY_TARGET, binary::kFocalRow}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(FocalTable);
LossTable FocalTable() { return HWY_DYNAMIC_DISPATCH(FocalTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
