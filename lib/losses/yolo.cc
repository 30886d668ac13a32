// yolo: the composite loss of a detection head, of a batch as one item.
//
//   box_weight * box + objectness_weight * objectness + classification_weight * classification
//
// A prediction (tx, ty, tw, th, o, K class logits) of anchor a at cell (x, y) is the box with
// center (x + sigmoid(tx), y + sigmoid(ty)) and size (anchor width * exp(tw), anchor height *
// exp(th)), in grid units of its scale. A ground truth box is assigned to anchors at the cell that
// holds its center (the last one where the center is 1): with ANCHOR_RATIO, in every scale, to each
// anchor with max(w / aw, aw / w, h / ah, ah / h) < anchor_threshold; with BEST_IOU to one anchor
// of all scales, that of the highest IoU with the box when both share a center (ties: the earlier
// scale, then the earlier anchor). An assigned pair of box and prediction counts once, also where
// several boxes share a prediction.
//
// box: mean over the pairs, of the ciou loss (eps 1e-7), or the mean of the four squared
//   differences of center and size, in grid units. 0 without pairs.
// objectness: mean over the predictions of all scales. Target t of an assigned one: its IoU with
//   the box, clamped to [0,1], the largest one where boxes share it: BCE(o, t). Of the others:
//   no_object_weight * BCE(o, 0). t is a target: no gradient flows through it.
// classification: mean over the pairs and their K classes of BCE(logit, one-hot). 0 for K < 2.
//
// The components are reported with their weights, so they add up to the item. A weight of 0 leaves
// its part out. All in f64; means are exact sums, rounded once, so the item does not depend on the
// order of the boxes.
// Sources: J. Redmon, A. Farhadi, YOLOv3; the assignment by ratio is that of Ultralytics' YOLOv5.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "lib/accumulate/exact_sum.h"
#include "lib/forms/box_format.h"
#include "lib/forms/vector_math.h"
#include "lib/forms/whole_batch.h"
#include "lib/losses/families.h"
#include "lib/losses/yolo_assignment.h"

namespace lossd {
namespace {

constexpr double kLocalizationMse = 2;    // as in lossd.v1.YoloLocalization
constexpr double kAssignmentBestIou = 2;  // as in lossd.v1.YoloAssignment

// Logits and pairs that are computed at a time.
constexpr size_t kLogits = 1024;
constexpr size_t kPairs = 64;

// A weight of 0 leaves out what it weighs, be it infinite.
double Weighted(double weight, double value) { return weight == 0 ? 0 : weight * value; }

// BCE of a logit and a target, given softplus(logit).
double BinaryCrossEntropy(double logit, double above, double target) {
  double below = -logit;
  SoftplusOf(&below, 1, &below);
  return Weighted(target, below) + Weighted(1 - target, above);
}

// The kernels of a box loss of the catalogue.
RowKernels BoxLoss(const char* name) {
  for (const LossRow& row : BoxesTable().rows) {
    if (std::strcmp(row.name, name) == 0) return row.signatures[0].kernels.rows;
  }
  return {};
}

// What a pair says of its prediction's box.
struct BoxMatch {
  double loss;
  double iou;
  std::array<double, 4> gradient;  // d loss / d (tx, ty, tw, th)
};

// Decodes the boxes of pairs, and compares them, some at a time.
template <class T>
class BoxMatcher {
 public:
  BoxMatcher(const Head<T>& head, bool mse) : head_(head), mse_(mse) {}

  // Calls use(pair, match) for this pair or for those gathered, in their order; Finish does so for
  // the rest.
  template <class Use>
  void Add(const Assigned& pair, const Use& use) {
    pairs_[count_++] = pair;
    if (count_ == kPairs) Finish(use);
  }
  template <class Use>
  void Finish(const Use& use) {
    if (count_ == 0) return;
    Decode();
    Compare();
    for (size_t i = 0; i < count_; ++i) {
      BoxMatch match = {losses_[i], 1 - distances_[i], {}};
      if (mse_) match.loss = 0;
      for (size_t c = 0; c < 4; ++c) {
        const double difference = boxes_[4 * i + c] - targets_[4 * i + c];
        if (mse_) match.loss += difference * difference / 4;
        match.gradient[c] = slopes_[4 * i + c] * (mse_ ? difference / 2 : gradients_[4 * i + c]);
      }
      use(pairs_[i], match);
    }
    count_ = 0;
  }

 private:
  // Sizes of e^300 and above overlap, and of e^-300 and below are overlapped, by nothing that f64
  // can hold: only their ratio says anything, and that is kept where they would over- or underflow.
  static void KeepRatio(double* logarithms) {
    constexpr double kMost = 300;
    const double largest = std::max(logarithms[0], logarithms[1]);
    const double beyond = largest > kMost    ? largest - kMost
                          : largest < -kMost ? largest + kMost
                                             : 0;
    for (int i = 0; i < 2; ++i) logarithms[i] -= beyond;
  }

  // boxes_ and slopes_, d box / d (tx, ty, tw, th).
  void Decode() {
    double centers[4 * kPairs], sizes[2 * kPairs];
    for (size_t i = 0; i < count_; ++i) {
      const T* const from = head_.values + pairs_[i].prediction * head_.channels;
      for (size_t c = 0; c < 2; ++c) {
        centers[4 * i + c] = static_cast<double>(from[c]);
        centers[4 * i + 2 + c] = -centers[4 * i + c];
        sizes[2 * i + c] = static_cast<double>(from[2 + c]);
      }
      if (!mse_) KeepRatio(sizes + 2 * i);
    }
    SigmoidOf(centers, 4 * count_, centers);
    ExpOf(sizes, 2 * count_, sizes);
    for (size_t i = 0; i < count_; ++i) {
      for (size_t c = 0; c < 2; ++c) {
        boxes_[4 * i + c] = centers[4 * i + c];
        slopes_[4 * i + c] = centers[4 * i + c] * centers[4 * i + 2 + c];
        const double size = pairs_[i].anchor[c] * sizes[2 * i + c];
        boxes_[4 * i + 2 + c] = slopes_[4 * i + 2 + c] = size;
      }
      std::ranges::copy(pairs_[i].target, targets_ + 4 * i);
    }
  }

  // The losses iou and ciou of the catalogue.
  void Compare() {
    static constexpr double kParameters[] = {static_cast<double>(BoxFormat::kCxcywh), 1e-7};
    RowBlock<double> block;
    block.rows = count_;
    block.width = 4;
    block.operands[0] = boxes_;
    block.operands[1] = targets_;
    iou_.f64(kParameters, block, distances_, nullptr);
    if (mse_) return;
    ciou_.f64(kParameters, block, losses_, nullptr);
    double ones[kPairs];
    std::fill_n(ones, count_, 1.0);
    double* const gradients[kMaxOperands + 1] = {gradients_};
    ciou_.gradient_f64(kParameters, block, ones, gradients);
  }

  const Head<T>& head_;
  const bool mse_;
  const RowKernels iou_ = BoxLoss("iou"), ciou_ = BoxLoss("ciou");
  size_t count_ = 0;
  Assigned pairs_[kPairs];
  double boxes_[4 * kPairs], slopes_[4 * kPairs], targets_[4 * kPairs];
  double distances_[kPairs], losses_[kPairs], gradients_[4 * kPairs];
};

// Calls use(index of the first, logits, n) for the objectness logits of a head, chunk by chunk.
template <class T, class Use>
void ForEachObjectness(const WholeBlock<T>& block, const Head<T>& head, const Use& use) {
  double logits[kLogits];
  const size_t count = head.predictions();
  for (size_t first = 0; first < count && !block.cancelled(); first += kLogits) {
    const size_t n = std::min(kLogits, count - first);
    const T* from = head.values + first * head.channels + kBoxChannels;
    for (size_t i = 0; i < n; ++i) logits[i] = static_cast<double>(from[i * head.channels]);
    use(first, logits, n);
  }
}

// Calls use(index of the first, logits, n) for the class logits of a pair.
template <class T, class Use>
void ForEachClass(const Head<T>& head, const Assigned& pair, const Use& use) {
  const T* const logits = head.values + pair.prediction * head.channels + kHeadChannels;
  double x[kLogits];
  for (size_t first = 0; first < head.classes(); first += kLogits) {
    const size_t n = std::min(kLogits, head.classes() - first);
    for (size_t i = 0; i < n; ++i) x[i] = static_cast<double>(logits[first + i]);
    use(first, x, n);
  }
}

template <class T>
class Yolo {
 public:
  static constexpr uint32_t kGradients = (1u << kMaxHeads) - 1;

  Yolo(const double* p, const WholeBlock<T>& block)
      : block_(block),
        box_weight_(p[1]),
        objectness_weight_(p[2]),
        no_object_weight_(p[3]),
        classification_weight_(p[4]),
        mse_(p[5] == kLocalizationMse),
        assignment_(block, p[6] == kAssignmentBestIou, p[7]),
        scales_(block.groups->size()),
        targets_(scales_) {
    ExactSum boxes;
    for (size_t scale = 0; scale < scales_; ++scale) MatchPairs(scale, &boxes);
    box_ = pairs_ == 0 ? 0 : boxes.Round() / static_cast<double>(pairs_);
  }

  static WholeProblem Check(const double*, const WholeBlock<T>& block);

  void Item(WholeItem* item) const {
    const double parts[kMaxComponents] = {Weighted(box_weight_, box_),
                                          Weighted(objectness_weight_, Objectness()),
                                          Weighted(classification_weight_, Classification())};
    for (size_t i = 0; i < kMaxComponents; ++i) {
      item->components[i] = parts[i];
      item->item += parts[i];
    }
  }

  void Gradient(double scale, T* const* gradients) const {
    for (size_t s = 0; s < scales_; ++s) {
      if (gradients[s] == nullptr) continue;
      const Head<T> head(block_, s);
      // In f64, for several pairs may share a prediction.
      std::vector<double> sums(head.predictions() * head.channels);
      AddObjectness(s, scale, sums.data());
      AddBoxes(s, scale, sums.data());
      AddClasses(s, scale, sums.data());
      for (size_t i = 0; i < sums.size(); ++i) gradients[s][i] = static_cast<T>(sums[i]);
    }
  }

 private:
  static constexpr double kUnassigned = -1;

  // The boxes of the pairs, and the objectness targets of the scale.
  void MatchPairs(size_t scale, ExactSum* boxes) {
    const Head<T> head(block_, scale);
    std::vector<double>& targets = targets_[scale];
    targets.assign(head.predictions(), kUnassigned);
    predictions_ += head.predictions();
    ForEachMatch(scale, head, [&](const Assigned& pair, const BoxMatch& match) {
      boxes->Add(match.loss);
      ++pairs_;
      double& target = targets[pair.prediction];
      // A NaN is taken, and stays.
      if (target != target || match.iou <= target) return;
      target = std::clamp(match.iou, 0.0, 1.0);
    });
  }

  double Objectness() const {
    ExactSum sum;
    for (size_t scale = 0; scale < scales_; ++scale) {
      const Head<T> head(block_, scale);
      ForEachObjectness(block_, head, [&](size_t first, double* x, size_t n) {
        double above[kLogits];
        SoftplusOf(x, n, above);
        for (size_t i = 0; i < n; ++i) {
          const double target = targets_[scale][first + i];
          sum.Add(target == kUnassigned ? Weighted(no_object_weight_, above[i])
                                        : BinaryCrossEntropy(x[i], above[i], target));
        }
      });
    }
    return predictions_ == 0 ? 0 : sum.Round() / static_cast<double>(predictions_);
  }

  double Classification() const {
    ExactSum sum;
    const size_t classes = Head<T>(block_, 0).classes();
    if (classes < 2 || pairs_ == 0) return 0;
    for (size_t scale = 0; scale < scales_; ++scale) {
      const Head<T> head(block_, scale);
      assignment_.ForEach(scale, [&](const Assigned& pair) {
        ForEachClass(head, pair, [&](size_t first, double* x, size_t n) {
          if (pair.label - first < n) x[pair.label - first] *= -1;
          SoftplusOf(x, n, x);
          for (size_t i = 0; i < n; ++i) sum.Add(x[i]);
        });
      });
    }
    return sum.Round() / (static_cast<double>(pairs_) * static_cast<double>(classes));
  }

  void AddObjectness(size_t scale, double factor, double* sums) const {
    if (objectness_weight_ == 0) return;
    const Head<T> head(block_, scale);
    const double share = factor * objectness_weight_ / static_cast<double>(predictions_);
    ForEachObjectness(block_, head, [&](size_t first, double* x, size_t n) {
      double p[kLogits];
      SigmoidOf(x, n, p);
      for (size_t i = 0; i < n; ++i) {
        const double target = targets_[scale][first + i];
        const double slope =
            target == kUnassigned ? Weighted(no_object_weight_, p[i]) : p[i] - target;
        sums[(first + i) * head.channels + kBoxChannels] = share * slope;
      }
    });
  }

  template <class Use>
  void ForEachMatch(size_t scale, const Head<T>& head, const Use& use) const {
    BoxMatcher<T> matcher(head, mse_);
    assignment_.ForEach(scale, [&](const Assigned& pair) { matcher.Add(pair, use); });
    matcher.Finish(use);
  }

  void AddBoxes(size_t scale, double factor, double* sums) const {
    if (box_weight_ == 0) return;
    const Head<T> head(block_, scale);
    const double share = factor * box_weight_ / static_cast<double>(pairs_);
    ForEachMatch(scale, head, [&](const Assigned& pair, const BoxMatch& match) {
      double* const to = sums + pair.prediction * head.channels;
      for (size_t i = 0; i < kBoxChannels; ++i) to[i] += share * match.gradient[i];
    });
  }

  void AddClasses(size_t scale, double factor, double* sums) const {
    const Head<T> head(block_, scale);
    if (classification_weight_ == 0 || head.classes() < 2) return;
    const double count = static_cast<double>(pairs_) * static_cast<double>(head.classes());
    const double share = factor * classification_weight_ / count;
    assignment_.ForEach(scale, [&](const Assigned& pair) {
      double* const to = sums + pair.prediction * head.channels + kHeadChannels;
      ForEachClass(head, pair, [&](size_t first, double* x, size_t n) {
        SigmoidOf(x, n, x);
        if (pair.label - first < n) x[pair.label - first] -= 1;
        for (size_t i = 0; i < n; ++i) to[first + i] += share * x[i];
      });
    });
  }

  const WholeBlock<T>& block_;
  const double box_weight_, objectness_weight_, no_object_weight_, classification_weight_;
  const bool mse_;
  const Assignment<T> assignment_;
  const size_t scales_;
  size_t predictions_ = 0;  // of all scales
  size_t pairs_ = 0;
  double box_ = 0;
  std::vector<std::vector<double>> targets_;  // by scale, of each prediction, or kUnassigned
};

template <class T>
WholeProblem Yolo<T>::Check(const double*, const WholeBlock<T>& block) {
  const Head<T> head(block, 0);
  const WholeOperand<T>& boxes = block.operands[kBoxesOperand];
  const double images = static_cast<double>(head.images);
  const double labels = static_cast<double>(std::max<size_t>(head.classes(), 1));
  for (size_t i = 0; i < boxes.elements(); ++i) {
    const double value = static_cast<double>(boxes.values[i]);
    const size_t column = i % kBoxNumbers;
    const bool whole = value == std::floor(value);
    std::string expected;
    if (column == 0 && !(whole && value >= 0 && value < images)) {
      expected = "an image index from 0 to " + std::to_string(head.images - 1);
    } else if (column == 1 && !(whole && value >= 0 && value < labels)) {
      expected = "a class from 0 to " + std::to_string(static_cast<size_t>(labels) - 1);
    } else if ((column == 2 || column == 3) && !(value >= 0 && value <= 1)) {
      expected = "a center from 0 to 1";
    } else if (column > 3 && !(value > 0 && value <= 1)) {
      expected = "a size above 0, at most 1";
    }
    if (!expected.empty()) {
      return {static_cast<int>(kBoxesOperand), static_cast<int64_t>(i), std::move(expected)};
    }
  }
  return {};
}

constexpr Input HeadInput(const char* name, bool optional) {
  return {name, ShapeRule::kHead, TypeRule::kFloating, ValueRule::kAny, optional};
}
constexpr Input kInputs[] = {
    HeadInput("predictions_0", false),
    HeadInput("predictions_1", true),
    HeadInput("predictions_2", true),
    HeadInput("predictions_3", true),
    HeadInput("predictions_4", true),
    HeadInput("predictions_5", true),
    HeadInput("predictions_6", true),
    HeadInput("predictions_7", true),
    {"boxes", ShapeRule::kHeadBoxes, TypeRule::kTarget, ValueRule::kAny, false}};
static_assert(std::size(kInputs) == kMaxHeads + 1 && std::size(kInputs) <= kMaxWholeOperands);

constexpr Signature kSignatures[] = {{kInputs, ItemKind::kBatch, WholeBatch<Yolo>()}};

constexpr double kLargestDouble = std::numeric_limits<double>::max();
constexpr Parameter Weight(const char* name, double default_value, const char* help) {
  return {name, ParameterType::kDouble, default_value, 0, kLargestDouble, false, help};
}
constexpr const char* kScaleNames[] = {"anchors", "width", "height"};
constexpr const char* kLocalizations[] = {"CIOU", "MSE"};
constexpr const char* kAssignments[] = {"ANCHOR_RATIO", "BEST_IOU"};
constexpr Parameter kParameters[] = {
    {"scales", ParameterType::kPairGroups, std::numeric_limits<double>::quiet_NaN(), 0,
     kLargestDouble, true, "the anchors of each predictions_k, in grid units; required",
     kScaleNames},
    Weight("box_weight", 0.05, "factor of the box term"),
    Weight("objectness_weight", 1, "factor of the objectness term"),
    Weight("no_object_weight", 1, "factor of predictions without a box in the objectness term"),
    Weight("classification_weight", 0.5, "factor of the classification term"),
    {"localization", ParameterType::kEnum, 1, 1, 2, false, "what the box term is", kLocalizations},
    {"assignment", ParameterType::kEnum, 1, 1, 2, false, "which anchors a box is assigned to",
     kAssignments},
    {"anchor_threshold", ParameterType::kDouble, 4, 1, kLargestDouble, false,
     "ANCHOR_RATIO: largest ratio of sizes, either way, not itself included"}};

constexpr const char* kComponents[] = {"box", "objectness", "classification"};

constexpr LossRow kRows[] = {
    {.name = "yolo",
     .family = "boxes",
     .help = "box, objectness and class of a detection head, of a whole batch",
     .formula =
         "box_weight * mean(ciou, or squared error) + objectness_weight * mean(BCE, negatives "
         "times no_object_weight) + classification_weight * mean(BCE of one-hot classes)",
     .source = "definition (YOLOv3; assignment by ratio as YOLOv5)",
     .parameters = kParameters,
     .signatures = kSignatures,
     .streams = false,
     .components = kComponents},
};

}  // namespace

LossTable YoloTable() { return {VectorMathTarget(), kRows}; }

}  // namespace lossd
