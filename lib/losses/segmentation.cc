// The segmentation family: ratios of sums over the positions of a mask.
//
// With p the prediction and g the target of a position, 1 minus the coefficient is formed without a
// difference of near numbers, as E / (E + k I + s): I = sum p g, and E the sum of what the two do
// not share, p (1 - g) + (1 - p) g, or (p - g)^2 where the denominator has squares. k is 2 for
// dice, whose denominator is sum p + sum g = E + 2 I, and 1 for jaccard, whose union is E + I.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/segmentation.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/mask-inl.h"
#include "lib/forms/predictions-inl.h"
#include "lib/losses/families.h"

#ifndef LOSSD_LIB_LOSSES_SEGMENTATION_REPORTS_
#define LOSSD_LIB_LOSSES_SEGMENTATION_REPORTS_
namespace lossd::segmentation {

// Places of the parameters. Those that the reports take come first.
inline constexpr int kSmooth = 0, kSquared = 1, kPooling = 2;  // of dice and jaccard
inline constexpr int kAlpha = 0, kBeta = 1, kGamma = 2, kTverskySmooth = 3, kTverskyPooling = 4;
inline constexpr int kOverlapConstants = 1, kTverskyConstants = 4;

inline constexpr double kPerSample = 1, kWhole = 2;
inline constexpr const char* kPoolingNames[] = {"PER_SAMPLE", "WHOLE"};

bool OverlapIsWhole(const double* parameters);
bool TverskyIsWhole(const double* parameters);
// The loss of the pooled sums: the mean over the classes of losses that are each rounded once.
double ReportDice(const LossSums& sums, bool mean);
double ReportJaccard(const LossSums& sums, bool mean);
double ReportTversky(const LossSums& sums, bool mean);

}  // namespace lossd::segmentation
#endif

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace segmentation {

namespace family = lossd::segmentation;

// I and E.
template <class T>
struct Overlap {
  static constexpr int kSums = 2;
  bool squared;
  explicit Overlap(const double* p) : squared(p[family::kSquared] != 0) {}
  template <class D, class V>
  void Terms(D d, V p, V q, V g, V* terms) const {
    const V excess = hn::Mul(p, hn::Sub(hn::Set(d, T(1)), g));
    const V lack = hn::Mul(q, g);
    const V difference = hn::Sub(excess, lack);  // p - g
    terms[0] = hn::Mul(p, g);
    terms[1] = squared ? hn::Mul(difference, difference) : hn::Add(excess, lack);
  }
  template <class D, class V>
  V Slope(D d, V p, V q, V g, const T* partials) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), g);
    V slope = hn::Sub(rest, g);
    if (squared) {
      const V difference = hn::Sub(hn::Mul(p, rest), hn::Mul(q, g));
      slope = hn::Add(difference, difference);
    }
    return hn::Add(MaskedMul(d, g, hn::Set(d, partials[0])),
                   MaskedMul(d, slope, hn::Set(d, partials[1])));
  }
};

// TP, FP and FN.
template <class T>
struct Confusion {
  static constexpr int kSums = 3;
  explicit Confusion(const double*) {}
  template <class D, class V>
  void Terms(D d, V p, V q, V g, V* terms) const {
    terms[0] = hn::Mul(p, g);
    terms[1] = hn::Mul(p, hn::Sub(hn::Set(d, T(1)), g));
    terms[2] = hn::Mul(q, g);
  }
  template <class D, class V>
  V Slope(D d, V, V, V g, const T* partials) const {
    const V rest = hn::Sub(hn::Set(d, T(1)), g);
    const V within = hn::Sub(hn::Set(d, partials[0]), hn::Set(d, partials[2]));
    return hn::Add(MaskedMul(d, g, within), MaskedMul(d, rest, hn::Set(d, partials[1])));
  }
};

// Nothing on either side, and nothing added: a loss of 0, which does not move.
template <int kCount>
double EmptyLoss(double* partials) {
  for (int k = 0; k < kCount; ++k) partials[k] = 0;
  return 0;
}

// E / (E + k I + s).
template <int kShared>
double OverlapLoss(const double* p, const double* sums, double* partials) {
  const double shared = kShared * sums[0] + p[family::kSmooth];
  const double whole = sums[1] + shared;
  if (sums[1] == 0 && whole == 0) return EmptyLoss<2>(partials);
  const double loss = sums[1] / whole;
  partials[0] = -kShared * (loss / whole);
  partials[1] = shared / whole / whole;
  return loss;
}

inline double Power(double x, double exponent) {
  const hn::ScalableTag<double> d;
  return hn::GetLane(Pow(d, hn::Set(d, x), hn::Set(d, exponent)));
}

// ((alpha FP + beta FN) / (TP + alpha FP + beta FN + s))^gamma.
inline double TverskyLoss(const double* p, const double* sums, double* partials) {
  const double missed = p[family::kAlpha] * sums[1] + p[family::kBeta] * sums[2];
  const double found = sums[0] + p[family::kTverskySmooth];
  const double whole = found + missed;
  if (missed == 0 && whole == 0) return EmptyLoss<3>(partials);
  const double ratio = missed / whole;
  const double gamma = p[family::kGamma];
  const double slope = gamma == 1 ? 1 : gamma * Power(ratio, gamma - 1);
  const double of_missed = slope * (found / whole / whole);
  partials[0] = slope * -(ratio / whole);
  partials[1] = p[family::kAlpha] * of_missed;
  partials[2] = p[family::kBeta] * of_missed;
  return gamma == 1 ? ratio : Power(ratio, gamma);
}

constexpr Input kLogits = {"logits", ShapeRule::kElements, TypeRule::kFloating, ValueRule::kAny,
                           false};
constexpr Input kProbs = {"probs", ShapeRule::kElements, TypeRule::kFloating, ValueRule::kAny,
                          false};
constexpr Input kTargets = {"targets", ShapeRule::kElements, TypeRule::kTarget,
                            ValueRule::kUnitInterval, false};
constexpr Input kClassLogits = {"logits", ShapeRule::kClasses, TypeRule::kFloating, ValueRule::kAny,
                                false};
constexpr Input kClassProbs = {"probs", ShapeRule::kClasses, TypeRule::kFloating, ValueRule::kAny,
                               false};
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kLogitsTargets[] = {kLogits, kTargets};
constexpr Input kProbsTargets[] = {kProbs, kTargets};
constexpr Input kLogitsLabels[] = {kClassLogits, kLabels};
constexpr Input kProbsLabels[] = {kClassProbs, kLabels};

// What the losses of the family differ in.
struct Ratio {
  MaskLoss loss;
  int constants;
  bool (*is_whole)(const double*);
  double (*report)(const LossSums&, bool);
};

template <template <class> class Formula, class Activation>
constexpr Signature MaskSignature(TableSpan<Input> inputs, const Ratio& ratio) {
  Signature signature;
  signature.inputs = inputs;
  signature.item = ItemKind::kSample;
  signature.kernels = Mask<Formula, Activation>(ratio.loss, ratio.constants, false);
  signature.pooling.wanted = ratio.is_whole;
  signature.pooling.kernels = Mask<Formula, Activation>(ratio.loss, ratio.constants, true);
  signature.pooling.report = ratio.report;
  return signature;
}

constexpr Ratio kDice = {OverlapLoss<2>, family::kOverlapConstants, family::OverlapIsWhole,
                         family::ReportDice};
constexpr Ratio kJaccard = {OverlapLoss<1>, family::kOverlapConstants, family::OverlapIsWhole,
                            family::ReportJaccard};
constexpr Ratio kTversky = {TverskyLoss, family::kTverskyConstants, family::TverskyIsWhole,
                            family::ReportTversky};

constexpr Signature kDiceSignatures[] = {MaskSignature<Overlap, MaskSigmoid>(kLogitsTargets, kDice),
                                         MaskSignature<Overlap, MaskProbs>(kProbsTargets, kDice),
                                         MaskSignature<Overlap, MaskSoftmax>(kLogitsLabels, kDice),
                                         MaskSignature<Overlap, MaskProbs>(kProbsLabels, kDice)};
constexpr Signature kJaccardSignatures[] = {
    MaskSignature<Overlap, MaskSigmoid>(kLogitsTargets, kJaccard),
    MaskSignature<Overlap, MaskProbs>(kProbsTargets, kJaccard),
    MaskSignature<Overlap, MaskSoftmax>(kLogitsLabels, kJaccard),
    MaskSignature<Overlap, MaskProbs>(kProbsLabels, kJaccard)};
constexpr Signature kTverskySignatures[] = {
    MaskSignature<Confusion, MaskSigmoid>(kLogitsTargets, kTversky),
    MaskSignature<Confusion, MaskProbs>(kProbsTargets, kTversky),
    MaskSignature<Confusion, MaskSoftmax>(kLogitsLabels, kTversky),
    MaskSignature<Confusion, MaskProbs>(kProbsLabels, kTversky)};

constexpr double kMax = 1.7976931348623157e308;
// Far above any number of positions; sums times it, and gradients over it, stay in the range of
// f32.
constexpr double kLargest = 1e30;
constexpr double kUnset = __builtin_nan("");
constexpr double kMaxInteger = 9007199254740991.0;  // 2^53 - 1
constexpr Parameter kSmoothParameter = {"smooth",
                                        ParameterType::kDouble,
                                        0,
                                        0,
                                        kLargest,
                                        false,
                                        "added to both sides of the ratio of a class"};
constexpr Parameter kPoolingParameter = {
    "pooling",
    ParameterType::kEnum,
    family::kPerSample,
    family::kPerSample,
    family::kWhole,
    false,
    "PER_SAMPLE: a loss a sample; WHOLE: one loss of the sums over the request or stream",
    family::kPoolingNames};
constexpr Parameter kIgnoreIndex = {
    "ignore_index",
    ParameterType::kInt64,
    kUnset,
    -kMaxInteger,
    kMaxInteger,
    false,
    "positions with this target or label enter no sum; unset: none is ignored"};
constexpr Parameter kOverlapParameters[] = {
    kSmoothParameter,
    {"squared", ParameterType::kBool, 0, 0, 1, false, "p^2 and g^2 in the denominator"},
    kPoolingParameter,
    kIgnoreIndex};
constexpr Parameter kTverskyParameters[] = {
    {"alpha", ParameterType::kDouble, 0.5, 0, kLargest, false, "weight of false positives"},
    {"beta", ParameterType::kDouble, 0.5, 0, kLargest, false, "weight of false negatives"},
    {"gamma", ParameterType::kDouble, 1, 0, kMax, true, "power of the loss of a class"},
    kSmoothParameter,
    kPoolingParameter,
    kIgnoreIndex};

constexpr char kFamily[] = "segmentation";
constexpr LossRow kRows[] = {
    {"dice", kFamily, "what prediction and target mask do not share, relative to their sizes",
     "1 - (2 sum p g + s) / (sum p + sum g + s); with labels the mean over the classes; squared: "
     "p^2 and g^2 below",
     "definition; Milletari et al. 2016", kOverlapParameters, kDiceSignatures},
    {"jaccard", kFamily, "what prediction and target mask do not share, relative to their union",
     "1 - (I + s) / (U + s), I = sum p g, U = sum p + sum g - I; with labels the mean over the "
     "classes; squared: p^2 and g^2 in U",
     "definition; segmentation_models JaccardLoss", kOverlapParameters, kJaccardSignatures},
    {"tversky", kFamily, "dice with weights of its own for false positives and false negatives",
     "(1 - (TP + s) / (TP + alpha FP + beta FN + s))^gamma, TP = sum p g, FP = sum p (1 - g), FN = "
     "sum (1 - p) g; with labels the mean over the classes",
     "definition; Salehi et al. 2017, Abraham and Khan 2019", kTverskyParameters,
     kTverskySignatures},
};

}  // namespace segmentation

LossTable SegmentationTable() { return {HWY_TARGET, segmentation::kRows}; }
double SegmentationPower(double x, double exponent) { return segmentation::Power(x, exponent); }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include "lib/accumulate/rational.h"

namespace lossd {

HWY_EXPORT(SegmentationTable);
HWY_EXPORT(SegmentationPower);

namespace segmentation {
namespace {

// The mean over the classes of loss(sums of a class). NaN for sums that no evaluation leaves.
template <class LossOfClass>
double ReportClasses(const LossSums& sums, size_t per_class, size_t constants,
                     const LossOfClass& loss) {
  if (sums.pools.empty() || sums.pools.size() % per_class != 0 ||
      sums.constants.size() != constants) {
    return __builtin_nan("");
  }
  ExactSum total;
  for (size_t c = 0; c < sums.pools.size(); c += per_class) total.Add(loss(&sums.pools[c]));
  return QuotientByCount(total, static_cast<int64_t>(sums.pools.size() / per_class));
}

// The quotient, where 0 / 0 of finite numbers is 0.
double RatioOrZero(const ExactNumber& part, const ExactNumber& whole, bool finite) {
  const double ratio = RoundQuotient(part, whole);
  return finite && ratio != ratio ? 0.0 : ratio;
}

double ReportOverlap(const LossSums& sums, int64_t shared) {
  return ReportClasses(sums, 2, kOverlapConstants, [&](const ExactSum* of_class) {
    const ExactNumber part(of_class[1]);
    const ExactNumber whole = part + ExactNumber(shared) * ExactNumber(of_class[0]) +
                              ExactNumber::FromDouble(sums.constants[kSmooth]);
    return RatioOrZero(part, whole, of_class[0].IsFinite() && of_class[1].IsFinite());
  });
}

}  // namespace

bool OverlapIsWhole(const double* parameters) { return parameters[kPooling] == kWhole; }
bool TverskyIsWhole(const double* parameters) { return parameters[kTverskyPooling] == kWhole; }

double ReportDice(const LossSums& sums, bool) { return ReportOverlap(sums, 2); }
double ReportJaccard(const LossSums& sums, bool) { return ReportOverlap(sums, 1); }

double ReportTversky(const LossSums& sums, bool) {
  return ReportClasses(sums, 3, kTverskyConstants, [&](const ExactSum* of_class) {
    const auto constant = [&](int i) {
      return ExactNumber::FromDouble(sums.constants[static_cast<size_t>(i)]);
    };
    const ExactNumber part =
        constant(kAlpha) * ExactNumber(of_class[1]) + constant(kBeta) * ExactNumber(of_class[2]);
    const ExactNumber whole = part + ExactNumber(of_class[0]) + constant(kTverskySmooth);
    const bool finite = of_class[0].IsFinite() && of_class[1].IsFinite() && of_class[2].IsFinite();
    const double ratio = RatioOrZero(part, whole, finite);
    const double gamma = sums.constants[kGamma];
    return gamma == 1 ? ratio : HWY_DYNAMIC_DISPATCH(SegmentationPower)(ratio, gamma);
  });
}

}  // namespace segmentation

LossTable SegmentationTable() { return HWY_DYNAMIC_DISPATCH(SegmentationTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
