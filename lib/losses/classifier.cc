// Classifier losses: cross-entropy over logits that are made from embeddings and a classifier. Each
// is its psi of the true class's angle and a choice of what has unit length; the form does the
// rest.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/classifier.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/classifier-inl.h"
#include "lib/losses/classifier_margins.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace classifier {

constexpr double kLargest = std::numeric_limits<double>::max();

constexpr Input kEmbeddings = {"embeddings", ShapeRule::kEmbeddings, TypeRule::kFloating,
                               ValueRule::kAny, false};
constexpr Input kClassifier = {"classifier", ShapeRule::kTable, TypeRule::kFloating,
                               ValueRule::kAny, false};
constexpr Input kLabels = {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel,
                           false};
constexpr Input kBias = {"bias", ShapeRule::kTableVector, TypeRule::kFloating, ValueRule::kAny,
                         true};
constexpr Input kInputs[] = {kEmbeddings, kClassifier, kLabels};
constexpr Input kBiasInputs[] = {kEmbeddings, kClassifier, kLabels, kBias};

// Which of the two count by their direction alone.
enum class Unit { kNone, kClassifier, kEmbeddings, kBoth };

constexpr Kernels Make(Unit unit, int scale_parameter = -1, MarginFunction margin = nullptr,
                       bool wants_sine = false) {
  ClassifierKernels loss;
  loss.unit_embeddings = unit == Unit::kEmbeddings || unit == Unit::kBoth;
  loss.unit_classifier = unit == Unit::kClassifier || unit == Unit::kBoth;
  loss.scale_parameter = scale_parameter;
  loss.margin = margin;
  loss.wants_sine = wants_sine;
  return Classifier(loss);
}

constexpr Signature kSoftmax[] = {{kBiasInputs, ItemKind::kRow, Make(Unit::kNone)}};
constexpr Signature kModified[] = {{kInputs, ItemKind::kRow, Make(Unit::kClassifier)}};
constexpr Signature kLSoftmax[] = {
    {kInputs, ItemKind::kRow, Make(Unit::kNone, -1, MultipleAngleMargin)}};
constexpr Signature kASoftmax[] = {
    {kInputs, ItemKind::kRow, Make(Unit::kClassifier, -1, MultipleAngleMargin)}};
constexpr Signature kAdditiveCosine[] = {
    {kInputs, ItemKind::kRow, Make(Unit::kBoth, 0, CosineMargin)}};
constexpr Signature kArcface[] = {
    {kInputs, ItemKind::kRow, Make(Unit::kBoth, 0, AngleMargin, /*wants_sine=*/true)}};
constexpr Signature kScaledCosine[] = {{kInputs, ItemKind::kRow, Make(Unit::kBoth, 0)}};
constexpr Signature kL2Softmax[] = {{kBiasInputs, ItemKind::kRow, Make(Unit::kEmbeddings, 0)}};

constexpr Parameter ScaleParameter(const char* name, double default_value) {
  return {name,
          ParameterType::kDouble,
          default_value,
          0,
          kLargest,
          true,
          "factor of the cosines, or length that embeddings are brought to"};
}
constexpr Parameter kMultiples[] = {
    {"margin", ParameterType::kInt64, 4, 1, kLargestMultiple, false,
     "whole number m that the angle of the true class is multiplied by"},
    {"annealing", ParameterType::kDouble, 0, 0, kLargest, false,
     "a: psi is annealed to (a cos t + psi) / (1 + a)"}};
constexpr Parameter kAmParameters[] = {ScaleParameter("scale", 30),
                                       {"margin", ParameterType::kDouble, 0.35, -kLargest, kLargest,
                                        false, "taken off the cosine of the true class"}};
constexpr Parameter kCosfaceParameters[] = {
    ScaleParameter("scale", 64),
    {"margin", ParameterType::kDouble, 0.35, -kLargest, kLargest, false,
     "taken off the cosine of the true class"}};
constexpr Parameter kArcfaceParameters[] = {
    ScaleParameter("scale", 64),
    {"margin", ParameterType::kDouble, 0.5, -kLargestAngle, kLargestAngle, false,
     "added to the angle of the true class, in radians"},
    {"easy_margin", ParameterType::kBool, 0, 0, 1, false,
     "leave the angle alone where its cosine is not above 0"}};
constexpr Parameter kNormfaceParameters[] = {ScaleParameter("scale", 20)};
constexpr Parameter kCocoParameters[] = {ScaleParameter("alpha", 10)};
constexpr Parameter kL2Parameters[] = {ScaleParameter("alpha", 50)};

constexpr char kFamily[] = "classifier";
constexpr LossRow kRows[] = {
    {"softmax",
     kFamily,
     "cross-entropy of a linear classifier",
     "-log softmax_y of W_j x + b_j",
     "definition; torch.nn.functional.linear and cross_entropy",
     {},
     kSoftmax},
    {"modified_softmax",
     kFamily,
     "cross-entropy of a classifier with rows of unit length",
     "-log softmax_y of |x| cos t_j",
     "Liu et al., SphereFace, CVPR 2017, section 3.1",
     {},
     kModified},
    {"l_softmax", kFamily, "large-margin softmax: the angle of the true class times a whole number",
     "-log softmax_y of |W_j||x| cos t_j, with psi(t_y) for cos t_y, psi(t) = (-1)^k cos(m t) - 2k",
     "Liu et al., Large-Margin Softmax Loss, ICML 2016", kMultiples, kLSoftmax},
    {"a_softmax", kFamily, "angular softmax (SphereFace): l_softmax with rows of unit length",
     "-log softmax_y of |x| cos t_j, with psi(t_y) for cos t_y, psi(t) = (-1)^k cos(m t) - 2k",
     "Liu et al., SphereFace, CVPR 2017", kMultiples, kASoftmax},
    {"am_softmax", kFamily, "additive-margin softmax",
     "-log softmax_y of s cos t_j, with s (cos t_y - m) for the true class",
     "Wang et al., Additive Margin Softmax, IEEE SPL 2018", kAmParameters, kAdditiveCosine},
    {"cosface", kFamily, "large-margin cosine loss: am_softmax with the defaults of its paper",
     "-log softmax_y of s cos t_j, with s (cos t_y - m) for the true class",
     "Wang et al., CosFace, CVPR 2018", kCosfaceParameters, kAdditiveCosine},
    {"arcface", kFamily, "additive angular margin loss",
     "-log softmax_y of s cos t_j, with s cos(t_y + m) for the true class",
     "Deng et al., ArcFace, CVPR 2019", kArcfaceParameters, kArcface},
    {"normface", kFamily, "cross-entropy of scaled cosines", "-log softmax_y of s cos t_j",
     "Wang et al., NormFace, ACM MM 2017", kNormfaceParameters, kScaledCosine},
    {"coco", kFamily, "congenerous cosine loss: cosines to the class centres",
     "-log softmax_y of alpha cos t_j", "Liu et al., Rethinking Feature Discrimination, 2017",
     kCocoParameters, kScaledCosine},
    {"l2_softmax", kFamily, "cross-entropy with embeddings brought to one length",
     "-log softmax_y of W_j (alpha x / |x|) + b_j",
     "Ranjan et al., L2-constrained Softmax Loss, 2017", kL2Parameters, kL2Softmax},
};

}  // namespace classifier

LossTable ClassifierTable() { return {HWY_TARGET, classifier::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(ClassifierTable);
LossTable ClassifierTable() { return HWY_DYNAMIC_DISPATCH(ClassifierTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
