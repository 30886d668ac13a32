// Pairs and triplets of embeddings: cosine_embedding, contrastive, triplet. Distances and cosines
// are those of pairwise-inl.h, in f64; an item is rounded once, at its end.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/pairs.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/distances-inl.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/pairwise-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace pairs {

// max(0, v), and NaN of NaN.
inline double AboveZero(double v) { return v <= 0 ? 0 : v; }

template <class T>
const T* RowOf(const RowBlock<T>& block, int operand, size_t row) {
  return block.operands[operand] + row * block.width;
}

template <class T>
T* RowOf(const RowBlock<T>& block, T* gradient, size_t row) {
  return gradient == nullptr ? nullptr : gradient + row * block.width;
}

// PyTorch adds this to the squared norms, as a float: a zero vector has cosine 0.
constexpr double kSquaredNormEpsilon = static_cast<double>(1e-12f);

template <class T>
struct CosineEmbedding {
  static constexpr uint32_t kGradients = 0b11;
  double margin;
  CosineEmbedding(const double* p, const RowBlock<T>&) : margin(RoundedTo<T>(p[0])) {}

  static Cosine<T> CosineOf(const RowBlock<T>& block, size_t row) {
    return {RowOf(block, 0, row), RowOf(block, 1, row), block.width, kSquaredNormEpsilon};
  }

  T Row(const RowBlock<T>& block, size_t row) const {
    const double cosine = CosineOf(block, row).value;
    const bool similar = LoadScalar(block.row_targets + row) > T(0);
    return static_cast<T>(similar ? 1 - cosine : AboveZero(cosine - margin));
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const Cosine<T> cosine = CosineOf(block, row);
    const bool similar = LoadScalar(block.row_targets + row) > T(0);
    const double slope = similar ? -1 : cosine.value - margin <= 0 ? 0 : 1;
    T* const outputs[2] = {RowOf(block, gradients[0], row), RowOf(block, gradients[1], row)};
    StoreScaledPartials(block.width, cosine, slope * static_cast<double>(scale), outputs);
  }
};

// Of a label under the parameter label_convention.
constexpr double kZeroIsSimilar = 1;
constexpr double kOneIsSimilar = 2;
constexpr const char* kConventionNames[] = {"ZERO_IS_SIMILAR", "ONE_IS_SIMILAR"};

constexpr double SimilarTarget(const double* p) { return p[1] == kOneIsSimilar ? 1 : 0; }

template <class T>
struct Contrastive {
  static constexpr uint32_t kGradients = 0b11;
  double margin;
  T similar;
  Contrastive(const double* p, const RowBlock<T>&)
      : margin(RoundedTo<T>(p[0])), similar(static_cast<T>(SimilarTarget(p))) {}

  static EuclideanDistance<T> DistanceOf(const RowBlock<T>& block, size_t row) {
    return {RowOf(block, 0, row), RowOf(block, 1, row), block.width, 0};
  }

  T Row(const RowBlock<T>& block, size_t row) const {
    const EuclideanDistance<T> distance = DistanceOf(block, row);
    if (LoadScalar(block.row_targets + row) == similar) {
      return static_cast<T>(distance.squares.Half());
    }
    const double missing = AboveZero(margin - distance.value);
    return static_cast<T>(missing * 0.5 * missing);
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const EuclideanDistance<T> distance = DistanceOf(block, row);
    T* const outputs[2] = {RowOf(block, gradients[0], row), RowOf(block, gradients[1], row)};
    const double factor = static_cast<double>(scale);
    if (LoadScalar(block.row_targets + row) == similar) {
      StoreScaledPartials(block.width, HalfSquaredDistance<T>{distance.difference}, factor,
                          outputs);
    } else {
      const double missing = AboveZero(margin - distance.value);
      StoreScaledPartials(block.width, distance, -missing * factor, outputs);
    }
  }
};

// The same of distances that the caller computed.
template <class T>
struct ContrastiveDistances {
  static constexpr int kOperands = 2;
  static constexpr uint32_t kGradients = 0b1;
  T margin, similar;
  explicit ContrastiveDistances(const double* p)
      : margin(static_cast<T>(p[0])), similar(static_cast<T>(SimilarTarget(p))) {}

  template <class D, class V>
  HWY_INLINE V Missing(D d, V distance) const {
    const V missing = hn::Sub(hn::Set(d, margin), distance);
    return hn::IfThenZeroElse(hn::Le(missing, hn::Zero(d)), missing);
  }
  template <class D, class V>
  V Item(D d, V distance, V target) const {
    const auto is_similar = hn::Eq(target, hn::Set(d, similar));
    const V base = hn::IfThenElse(is_similar, distance, Missing(d, distance));
    return hn::Mul(hn::Mul(base, hn::Set(d, T(0.5))), base);
  }
  template <int kOperand, class D, class V>
  V Gradient(D d, V distance, V target) const {
    const auto is_similar = hn::Eq(target, hn::Set(d, similar));
    return hn::IfThenElse(is_similar, distance, hn::Sub(hn::Zero(d), Missing(d, distance)));
  }
};

// The kinds of triplets, by the numbers of kTripletCounts.
constexpr uint8_t kEasy = 0;      // loss 0
constexpr uint8_t kSemiHard = 1;  // d(a,p) <= d(a,n) < d(a,p) + margin
constexpr uint8_t kHard = 2;      // d(a,n) < d(a,p)
constexpr const char* kTripletCounts[] = {"easy", "semi_hard", "hard"};

template <class T>
struct Triplet {
  static constexpr uint32_t kGradients = 0b111;
  double margin;
  Metric metric;
  bool swap;
  Triplet(const double* p, const RowBlock<T>&)
      : margin(RoundedTo<T>(p[0])),
        metric(static_cast<int>(p[2]), RoundedTo<T>(p[1]), RoundedTo<T>(p[4])),
        swap(p[3] != 0) {}

  // A triplet's distances. `negative` is d(a,n), or with swap the smaller of it and d(p,n).
  struct Distances {
    PairDistance<T> to_positive, to_negative, between;
    double positive = 0, negative = 0;
    // Of the gradient of `negative`: a tie is halved, as in PyTorch.
    double share = 1, share_between = 0;
    double loss = 0;  // before max(0, .)
  };

  void Measure(const RowBlock<T>& block, size_t row, Distances* d) const {
    const T* const anchor = RowOf(block, 0, row);
    const T* const positive = RowOf(block, 1, row);
    const T* const negative = RowOf(block, 2, row);
    PairDistance<T>::MeasureBoth(metric, anchor, positive, negative, block.width, &d->to_positive,
                                 &d->to_negative);
    d->positive = d->to_positive.value;
    d->negative = d->to_negative.value;
    if (swap) {
      d->between.Measure(metric, positive, negative, block.width);
      const double between = d->between.value;
      if (between == d->negative) {
        d->share = d->share_between = 0.5;
      } else if (!(between > d->negative)) {  // NaN too
        d->share = 0;
        d->share_between = 1;
        // A NaN of either stays.
        d->negative = d->negative == d->negative ? between : d->negative;
      }
    }
    d->loss = margin + d->positive - d->negative;
  }

  T Row(const RowBlock<T>& block, size_t row, uint8_t* kind) const {
    Distances d;
    Measure(block, row, &d);
    *kind = KindOf(d);
    return static_cast<T>(AboveZero(d.loss));
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    Distances d;
    Measure(block, row, &d);
    T* const outputs[3] = {RowOf(block, gradients[0], row), RowOf(block, gradients[1], row),
                           RowOf(block, gradients[2], row)};
    const WideTag wide;
    const bool flows = !(d.loss <= 0);
    const double factor = static_cast<double>(scale);
    for (size_t i = 0; i < block.width; i += kWideLanes) {
      const size_t count = HWY_MIN(block.width - i, kWideLanes);
      Wide of_anchor = hn::Zero(wide), of_positive = of_anchor, of_negative = of_anchor;
      if (flows) {
        AddPartials(d.to_positive, factor, i, count, &of_anchor, &of_positive);
        AddPartials(d.to_negative, -factor * d.share, i, count, &of_anchor, &of_negative);
        AddPartials(d.between, -factor * d.share_between, i, count, &of_positive, &of_negative);
      }
      if (outputs[0] != nullptr) StoreNarrow(of_anchor, outputs[0] + i, count);
      if (outputs[1] != nullptr) StoreNarrow(of_positive, outputs[1] + i, count);
      if (outputs[2] != nullptr) StoreNarrow(of_negative, outputs[2] + i, count);
    }
  }

 private:
  // Looked up: a branch that cannot be foretold would wait for the distances, and the next row with
  // it.
  static uint8_t KindOf(const Distances& d) {
    constexpr uint8_t kKinds[] = {kSemiHard, kEasy, kHard, kEasy, LossSums::kNoKind};
    const unsigned easy = d.loss <= 0, hard = d.negative < d.positive, none = d.loss != d.loss;
    return kKinds[none != 0 ? 4 : easy + 2 * hard];
  }

  static HWY_INLINE void AddPartials(const PairDistance<T>& distance, double factor, size_t i,
                                     size_t count, Wide* dx, Wide* dy) {
    if (factor == 0) return;
    const Wide factors = hn::Set(WideTag(), factor);
    Wide x = hn::Zero(WideTag()), y = x;
    distance.Partials(i, count, &x, &y);
    *dx = hn::MulAdd(x, factors, *dx);
    *dy = hn::MulAdd(y, factors, *dy);
  }
};

constexpr Input Rows(const char* name) {
  return {name, ShapeRule::kEmbeddings, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input kSigns = {"targets", ShapeRule::kRowValues, TypeRule::kTarget,
                          ValueRule::kPlusMinusOne, false};
constexpr Input kPairSigns[] = {Rows("first"), Rows("second"), kSigns};
constexpr Input kPairTargets[] = {
    Rows("first"),
    Rows("second"),
    {"targets", ShapeRule::kRowValues, TypeRule::kTarget, ValueRule::kSimilarity, false}};
constexpr Input kDistanceTargets[] = {
    {"distances", ShapeRule::kElements, TypeRule::kFloating, ValueRule::kAny, false},
    {"targets", ShapeRule::kElements, TypeRule::kTarget, ValueRule::kSimilarity, false}};
constexpr Input kTriplet[] = {Rows("anchor"), Rows("positive"), Rows("negative")};

constexpr Signature kCosineSignatures[] = {
    {kPairSigns, ItemKind::kRow, Rowwise<CosineEmbedding>()}};

// What a target may be hangs on the convention.
constexpr ValueRule TargetValues(const double* p) {
  return p[1] == kOneIsSimilar ? ValueRule::kSimilarity : ValueRule::kZeroOrOne;
}
constexpr Signature ContrastiveSignature(TableSpan<Input> inputs, ItemKind item,
                                         const Kernels& kernels) {
  Signature signature = {inputs, item, kernels};
  signature.target_values = TargetValues;
  return signature;
}
constexpr Signature kContrastiveSignatures[] = {
    ContrastiveSignature(kPairTargets, ItemKind::kRow, Rowwise<Contrastive>()),
    ContrastiveSignature(kDistanceTargets, ItemKind::kElement,
                         Elementwise<ContrastiveDistances>())};
constexpr Signature kTripletSignatures[] = {{kTriplet, ItemKind::kRow, Rowwise<Triplet>()}};

constexpr double kMax = 1.7976931348623157e308;
constexpr double kMaxNorm = 1e30;  // finite in f32; the largest difference is then all that counts
constexpr Parameter kCosineParameters[] = {{"margin", ParameterType::kDouble, 0, -kMax, kMax, false,
                                            "cosine up to which dissimilar pairs cost 0"}};
constexpr Parameter kContrastiveParameters[] = {
    {"margin", ParameterType::kDouble, 1, -kMax, kMax, false,
     "distance from which dissimilar pairs cost 0"},
    {"label_convention", ParameterType::kEnum, kZeroIsSimilar, kZeroIsSimilar, kOneIsSimilar, false,
     "which target says similar; with ONE_IS_SIMILAR dissimilar is -1 or 0", kConventionNames}};
constexpr Parameter kTripletParameters[] = {
    {"margin", ParameterType::kDouble, 1, -kMax, kMax, false,
     "lead that the positive must have over the negative"},
    {"p", ParameterType::kDouble, 2, 1, kMaxNorm, false, "norm of the EUCLIDEAN distance"},
    {"distance", ParameterType::kEnum, Metric::kEuclidean, Metric::kEuclidean, Metric::kCosine,
     false, "how anchor, positive and negative are compared", Metric::kNames},
    {"swap", ParameterType::kBool, 0, 0, 1, false, "take d(p,n) where it is below d(a,n)"},
    {"eps", ParameterType::kDouble, 1e-6, 0, kMax, false,
     "added to each difference of elements; not for COSINE"}};

constexpr char kFamily[] = "pairs";
constexpr LossRow kRows[] = {
    {"cosine_embedding", kFamily, "cosine of pairs that are similar or not",
     "1 - cos if y = 1; max(0, cos - margin) if y = -1",
     "torch.nn.functional.cosine_embedding_loss", kCosineParameters, kCosineSignatures},
    {"contrastive", kFamily, "distance of pairs that are similar or not",
     "D^2 / 2 of a similar pair; max(0, margin - D)^2 / 2 of another; D = |first - second|",
     "definition (Hadsell et al. 2006)", kContrastiveParameters, kContrastiveSignatures},
    {"triplet", kFamily, "an anchor is nearer to its positive than to its negative",
     "max(0, d(a,p) - d(a,n) + margin)", "torch.nn.functional.triplet_margin_loss",
     kTripletParameters, kTripletSignatures, kTripletCounts},
};

}  // namespace pairs

LossTable PairsTable() { return {HWY_TARGET, pairs::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(PairsTable);
LossTable PairsTable() { return HWY_DYNAMIC_DISPATCH(PairsTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
