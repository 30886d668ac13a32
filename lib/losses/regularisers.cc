// Regularisers of the feature space, an item a row: center, center_invariant, ring. Sums are those
// of pairwise-inl.h, in f64; an item is rounded once, at its end.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/regularisers.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/pairwise-inl.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/losses/families.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace regularisers {

template <class T>
const T* CenterOf(const RowBlock<T>& block, size_t row) {
  return block.table + static_cast<size_t>(block.labels[row]) * block.width;
}

template <class T>
const T* EmbeddingOf(const RowBlock<T>& block, size_t row) {
  return block.operands[0] + row * block.width;
}

// The centers lie anywhere in the table: that of a row to come is fetched.
template <class T>
Squares SquaredDistanceToCenter(const RowBlock<T>& block, size_t row) {
  const size_t next = row + 1 + kRowPrefetchBytes / sizeof(T) / HWY_MAX(block.width, size_t{1});
  const T* const center = CenterOf(block, row);
  const T* const ahead = next < block.rows ? CenterOf(block, next) : center;
  return SquaredDistance<T>(block.width, EmbeddingOf(block, row), {center, ahead});
}

// factor v, and 0 for a factor of 0, whatever v.
template <class Vector>
HWY_INLINE Wide Times(double factor, const Vector& v, size_t i, size_t count) {
  const WideTag d;
  return factor == 0 ? hn::Zero(d) : hn::Mul(v(i, count), hn::Set(d, factor));
}

// factor (x - c), rounded to T, to a row of gradients; nothing where there is none.
template <class T>
void StoreDifference(const DifferenceVector<T>& difference, double factor, size_t row, size_t width,
                     T* gradient) {
  if (gradient == nullptr) return;
  StoreWideRow(width, gradient + row * width, [&](size_t i, size_t count) HWY_ATTR {
    return Times(factor, difference, i, count);
  });
}

template <class T>
struct Center {
  static constexpr uint32_t kGradients = 1 | 1 << kTableGradient;
  Center(const double*, const RowBlock<T>&) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    return static_cast<T>(SquaredDistanceToCenter(block, row).Half());
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const DifferenceVector<T> difference = {EmbeddingOf(block, row), CenterOf(block, row), 0};
    const double factor = static_cast<double>(scale);
    StoreDifference(difference, factor, row, block.width, gradients[0]);
    StoreDifference(difference, -factor, row, block.width, gradients[kTableGradient]);
  }
};

// A sum of many numbers with the roundings of its additions carried along (Neumaier's).
class LongSum {
 public:
  void Add(double term) {
    const double sum = sum_ + term;
    const bool larger = std::abs(sum_) >= std::abs(term);
    rest_ += larger ? (sum_ - sum) + term : (term - sum) + sum_;
    sum_ = sum;
  }
  // Where a term is not finite the sum is what it is, and the rest means nothing.
  double Value() const { return rest_ == rest_ ? sum_ + rest_ : sum_; }

 private:
  double sum_ = 0;
  double rest_ = 0;
};

// gamma/4 (|c_y|^2 - mean_k |c_k|^2)^2 + center_weight/2 |x - c_y|^2. The table's value is the
// mean.
template <class T>
struct CenterInvariant {
  static constexpr uint32_t kGradients = 1 | 1 << kTableGradient;
  double gamma, center_weight;
  CenterInvariant(const double* p, const RowBlock<T>&)
      : gamma(RoundedTo<T>(p[0])), center_weight(RoundedTo<T>(p[1])) {}

  static double SquaredNorm(const T* center, size_t width) {
    return SumSquares(width, RowVector<T>{center});
  }
  static double TableValue(const double*, const RowBlock<T>& block) {
    LongSum sum;
    for (size_t k = 0; k < block.table_rows; ++k)
      sum.Add(SquaredNorm(block.table + k * block.width, block.width));
    return sum.Value() / static_cast<double>(block.table_rows);
  }

  // How far a center's squared norm is from the mean.
  static double Excess(const RowBlock<T>& block, const T* center) {
    return SquaredNorm(center, block.width) - block.table_value;
  }

  T Row(const RowBlock<T>& block, size_t row) const {
    const T* const center = CenterOf(block, row);
    // A term that is weighted with 0 is 0, also where it would be infinite.
    double item = 0;
    if (gamma != 0) {
      const double half_excess = Excess(block, center) * 0.5;
      item = gamma * half_excess * half_excess;
    }
    if (center_weight != 0) {
      item += center_weight * SquaredDistanceToCenter(block, row).Half();
    }
    return static_cast<T>(item);
  }

  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const T* const center = CenterOf(block, row);
    const DifferenceVector<T> difference = {EmbeddingOf(block, row), center, 0};
    const double pull = center_weight * static_cast<double>(scale);
    StoreDifference(difference, pull, row, block.width, gradients[0]);
    if (gradients[kTableGradient] == nullptr) return;
    const RowVector<T> c = {center};
    const double push = gamma == 0 ? 0 : gamma * Excess(block, center) * static_cast<double>(scale);
    StoreWideRow(block.width, gradients[kTableGradient] + row * block.width,
                 [&](size_t i, size_t count) HWY_ATTR {
                   return hn::Sub(Times(push, c, i, count), Times(pull, difference, i, count));
                 });
  }

  // What the rows add to every center through the mean: -gamma/C c_j times the sum over rows of
  // scale (|c_y|^2 - mean).
  static void FinishTable(const double* p, const RowBlock<T>& block, const double* label_scales,
                          size_t begin, size_t end, T* gradient) {
    const double gamma = RoundedTo<T>(p[0]);
    if (gamma == 0) return;
    LongSum excess;
    for (size_t k = 0; k < block.table_rows; ++k) {
      if (label_scales[k] == 0) continue;
      excess.Add(label_scales[k] * Excess(block, block.table + k * block.width));
    }
    const double factor = gamma * excess.Value() / static_cast<double>(block.table_rows);
    for (size_t k = begin; k < end; ++k, gradient += block.width) {
      const RowVector<T> center = {block.table + k * block.width}, own = {gradient};
      StoreWideRow(block.width, gradient, [&](size_t i, size_t count) HWY_ATTR {
        return hn::Sub(own(i, count), Times(factor, center, i, count));
      });
    }
  }
};

// (|x| - R)^2 / 2.
template <class T>
struct Ring {
  static constexpr uint32_t kGradients = 1;
  double radius;
  Ring(const double* p, const RowBlock<T>&) : radius(RoundedTo<T>(p[0])) {}

  T Row(const RowBlock<T>& block, size_t row) const {
    const double off = SquaresOf(block.width, Embedding(block, row)).Norm() - radius;
    return static_cast<T>(off * 0.5 * off);
  }

  // (|x| - R) x / |x|, and 0 at x = 0.
  void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const {
    const RowVector<T> x = Embedding(block, row);
    const Squares squares = SquaresOf(block.width, x);
    const double factor = (squares.Norm() - radius) * static_cast<double>(scale);
    StoreWideRow(block.width, gradients[0] + row * block.width,
                 [&](size_t i, size_t count) HWY_ATTR {
                   const WideTag d;
                   const Wide unit = hn::Mul(hn::Mul(x(i, count), hn::Set(d, squares.scale)),
                                             hn::Set(d, squares.ToUnit()));
                   return hn::Mul(unit, hn::Set(d, factor));
                 });
  }

 private:
  static RowVector<T> Embedding(const RowBlock<T>& block, size_t row) {
    return {EmbeddingOf(block, row)};
  }
};

constexpr Input kEmbeddings = {"embeddings", ShapeRule::kEmbeddings, TypeRule::kFloating,
                               ValueRule::kAny, false};
constexpr Input kCentered[] = {
    kEmbeddings,
    {"centers", ShapeRule::kTable, TypeRule::kFloating, ValueRule::kAny, false},
    {"labels", ShapeRule::kPositions, TypeRule::kLabel, ValueRule::kLabel, false}};
constexpr Input kAlone[] = {kEmbeddings};

constexpr Signature kCenterSignatures[] = {{kCentered, ItemKind::kRow, Rowwise<Center>()}};
constexpr Signature kInvariantSignatures[] = {
    {kCentered, ItemKind::kRow, Rowwise<CenterInvariant>()}};
constexpr Signature kRingSignatures[] = {{kAlone, ItemKind::kRow, Rowwise<Ring>()}};

constexpr double kMax = 1.7976931348623157e308;
constexpr Parameter kCenterParameters[] = {
    {"want_center_update", ParameterType::kBool, 0, 0, 1, false,
     "also return center_update [C,D], sum over rows of j (c_j - x) / (1 + their count); not in "
     "streams"}};
constexpr Parameter kInvariantParameters[] = {
    {"gamma", ParameterType::kDouble, 1, 0, kMax, false, "weight of equal norms of the centers"},
    {"center_weight", ParameterType::kDouble, 1, 0, kMax, false,
     "weight of the distance to the center"}};
constexpr Parameter kRingParameters[] = {{"radius", ParameterType::kDouble, 1, 0, kMax, false,
                                          "R, the norm that embeddings should have"}};

constexpr char kFamily[] = "regulariser";
constexpr LossRow kRows[] = {
    {.name = "center",
     .family = kFamily,
     .help = "distance of embeddings to the center of their class",
     .formula = "|x - c_y|^2 / 2",
     .source = "Wen et al. 2016",
     .parameters = kCenterParameters,
     .signatures = kCenterSignatures,
     .update_parameter = "want_center_update",
     .update_output = "center_update"},
    {"center_invariant", kFamily, "distance to the center of the class, the centers on one sphere",
     "gamma/4 (|c_y|^2 - mean_k |c_k|^2)^2 + center_weight/2 |x - c_y|^2", "Wu et al. 2017",
     kInvariantParameters, kInvariantSignatures},
    {"ring", kFamily, "norms of embeddings near a radius", "(|x| - R)^2 / 2", "Zheng et al. 2018",
     kRingParameters, kRingSignatures},
};

}  // namespace regularisers

LossTable RegularisersTable() { return {HWY_TARGET, regularisers::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(RegularisersTable);
LossTable RegularisersTable() { return HWY_DYNAMIC_DISPATCH(RegularisersTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
