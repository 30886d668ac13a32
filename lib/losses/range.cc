// range: the spread of each class and the distance of the two closest classes, of a batch as one
// item.
//
//   alpha * sum over classes of H_c + beta * max(0, margin - |m_a - m_b|^2)
//
// H_c is the harmonic mean of the k largest squared distances between two rows of the class, m_a
// and m_b are the class means with the smallest squared distance. A class with fewer than k pairs
// uses those it has, and one with none adds 0; a distance of 0 makes H_c 0; a single class has no
// second term. A NaN distance makes the item NaN. A factor of 0 leaves its term out.
//
// Ties change no value. Among equal distances the gradient goes to the pair of the earlier rows,
// among equally distant means to the pair of the smaller labels. At the kink of the second term it
// is 0, as PyTorch takes it for max(., 0) from 2.14 on. Where H_c is 0 its gradient is 0, the true
// derivative: 1/d^2 times the 0 of d |x - y|^2.
//
// All in f64: squared distances in rowwise-inl.h's layout, the sum over classes exact and rounded
// once, means in two parts, so that clusters far from the origin keep the digits of their distance.
// So the item does not depend on the order of the samples either. Source: X. Zhang et al., Range
// Loss for Deep Face Recognition with Long-Tailed Training Data.
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "lib/accumulate/exact_sum.h"
#include "lib/forms/vector_math.h"
#include "lib/forms/whole_batch.h"
#include "lib/losses/families.h"

namespace lossd {
namespace {

// A pair of rows of a class. `order` counts the pairs: those of earlier rows come first.
struct RowPair {
  double distance;  // squared
  size_t order;
  size_t first, second;
};

// The larger distance first, then the earlier pair. No distance is NaN.
bool ComesBefore(const RowPair& a, const RowPair& b) {
  return a.distance > b.distance || (a.distance == b.distance && a.order < b.order);
}

// The k first of all pairs that were added.
class LargestPairs {
 public:
  explicit LargestPairs(size_t k) : k_(k) {}

  void Clear() { pairs_.clear(); }
  void Add(const RowPair& pair) {
    if (pairs_.size() == k_) {
      if (!ComesBefore(pair, pairs_.front())) return;
      std::pop_heap(pairs_.begin(), pairs_.end(), ComesBefore);
      pairs_.back() = pair;
    } else {
      pairs_.push_back(pair);
    }
    std::push_heap(pairs_.begin(), pairs_.end(), ComesBefore);
  }
  // In order; then only Clear may follow.
  const std::vector<RowPair>& Sorted() {
    std::sort_heap(pairs_.begin(), pairs_.end(), ComesBefore);
    return pairs_;
  }

 private:
  const size_t k_;
  std::vector<RowPair> pairs_;  // a heap: in front the one that comes last
};

// The harmonic mean of sorted distances. Relative to the smallest one, so that nothing overflows.
double HarmonicMean(const std::vector<RowPair>& pairs) {
  if (pairs.empty()) return 0;
  const double smallest = pairs.back().distance;
  if (smallest == 0 || std::isinf(smallest)) return smallest;
  double sum = 0;
  for (const RowPair& pair : pairs) sum += smallest / pair.distance;
  return smallest * (static_cast<double>(pairs.size()) / sum);
}

// The two closest class means.
struct ClosestMeans {
  size_t a = 0, b = 0;  // classes
  double distance = 0;  // squared
};

template <class T>
class Range {
 public:
  static constexpr uint32_t kGradients = 1;

  Range(const double* parameters, const WholeBlock<T>& block)
      : alpha_(parameters[0]),
        beta_(parameters[1]),
        k_(static_cast<size_t>(parameters[2])),
        margin_(parameters[3]),
        block_(block),
        x_(block.operands[0].values),
        rows_(block.operands[0].sizes[0]),
        width_(block.operands[0].sizes[1]) {
    GroupRows();
  }

  static WholeProblem Check(const double*, const WholeBlock<T>& block) {
    const WholeOperand<T>& labels = block.operands[1];
    for (size_t i = 0; i < labels.sizes[0]; ++i) {
      if (labels.labels[i] < 0) return {1, static_cast<int64_t>(i), "a label of at least 0"};
    }
    return {};
  }

  void Item(WholeItem* item) {
    ExactSum spread;
    LargestPairs largest(k_);
    for (size_t c = 0; c < classes() && alpha_ != 0 && !block_.cancelled(); ++c) {
      spread.Add(FindLargest(c, &largest) ? HarmonicMean(largest.Sorted()) : kNan);
    }
    item->item = alpha_ != 0 ? alpha_ * spread.Round() : 0;
    if (classes() < 2 || beta_ == 0) return;
    FindMeans();
    ClosestMeans closest;
    if (!FindClosest(&closest)) item->item = kNan;
    const double gap = margin_ - closest.distance;
    if (gap > 0) item->item += beta_ * gap;
  }

  void Gradient(double scale, T* const* gradients) {
    std::vector<double> sums(rows_ * width_);
    LargestPairs largest(k_);
    bool nan = false;
    for (size_t c = 0; c < classes() && alpha_ != 0 && !block_.cancelled(); ++c) {
      nan |= !FindLargest(c, &largest);
      AddSpread(2 * scale * alpha_, largest.Sorted(), sums.data());
    }
    if (classes() >= 2 && beta_ != 0) {
      FindMeans();
      ClosestMeans closest;
      nan |= !FindClosest(&closest);
      if (margin_ - closest.distance > 0) AddMeans(-2 * scale * beta_, closest, sums.data());
    }
    for (size_t i = 0; i < sums.size(); ++i) {
      gradients[0][i] = static_cast<T>(nan ? kNan : sums[i]);
    }
  }

 private:
  static constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

  size_t classes() const { return starts_.size() - 1; }

  // Rows by label, then place; a class is what lies between two starts.
  void GroupRows() {
    const int64_t* const labels = block_.operands[1].labels;
    order_.resize(rows_);
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::ranges::stable_sort(order_, {}, [labels](size_t row) { return labels[row]; });
    for (size_t i = 0; i < rows_; ++i) {
      if (i == 0 || labels[order_[i]] != labels[order_[i - 1]]) starts_.push_back(i);
    }
    starts_.push_back(rows_);
  }

  // False where a distance is NaN and so has no order.
  bool FindLargest(size_t c, LargestPairs* largest) const {
    largest->Clear();
    size_t order = 0;
    for (size_t i = starts_[c]; i < starts_[c + 1] && !block_.cancelled(); ++i) {
      const T* const first = x_ + order_[i] * width_;
      for (size_t j = i + 1; j < starts_[c + 1]; ++j) {
        const double distance = SquaredDistance(first, x_ + order_[j] * width_, width_);
        if (distance != distance) return false;
        largest->Add({distance, order++, order_[i], order_[j]});
      }
    }
    return true;
  }

  void FindMeans() {
    means_.resize(classes() * width_);
    rests_.resize(classes() * width_);
    for (size_t c = 0; c < classes() && !block_.cancelled(); ++c) {
      const double count = static_cast<double>(starts_[c + 1] - starts_[c]);
      for (size_t i = 0; i < width_; ++i) {
        ExactSum sum;
        for (size_t row = starts_[c]; row < starts_[c + 1]; ++row) {
          sum.Add(static_cast<double>(x_[order_[row] * width_ + i]));
        }
        const double mean = sum.Round() / count;
        // Less count * mean, which is a product and what it rounds off.
        const double product = mean * count;
        sum.Add(-product);
        sum.Add(-std::fma(mean, count, -product));
        means_[c * width_ + i] = mean;
        rests_[c * width_ + i] = sum.IsFinite() ? sum.Round() / count : 0;
      }
    }
  }

  TwoPartRow MeanOf(size_t c) const {
    return {means_.data() + c * width_, rests_.data() + c * width_};
  }

  // False where a distance is NaN.
  bool FindClosest(ClosestMeans* closest) const {
    closest->distance = std::numeric_limits<double>::infinity();
    for (size_t a = 0; a + 1 < classes() && !block_.cancelled(); ++a) {
      for (size_t b = a + 1; b < classes(); ++b) {
        const double distance = SquaredDistance(MeanOf(a), MeanOf(b), width_);
        if (distance != distance) return false;
        if (distance < closest->distance) *closest = {a, b, distance};
      }
    }
    return true;
  }

  // scale / 2 times the gradient of H, by dH / d distance_j = (H / distance_j)^2 / count.
  void AddSpread(double scale, const std::vector<RowPair>& pairs, double* sums) const {
    const double mean = HarmonicMean(pairs);
    if (mean == 0) return;
    const double count = static_cast<double>(pairs.size());
    for (const RowPair& pair : pairs) {
      const double ratio = mean / pair.distance;
      const double factor = scale * (ratio * ratio / count);
      const T* const a = x_ + pair.first * width_;
      const T* const b = x_ + pair.second * width_;
      for (size_t i = 0; i < width_; ++i) {
        const double step = factor * (static_cast<double>(a[i]) - static_cast<double>(b[i]));
        sums[pair.first * width_ + i] += step;
        sums[pair.second * width_ + i] -= step;
      }
    }
  }

  // factor * (m_a - m_b) shared by the rows of a, less the same by those of b.
  void AddMeans(double factor, const ClosestMeans& closest, double* sums) const {
    const TwoPartRow a = MeanOf(closest.a), b = MeanOf(closest.b);
    for (const size_t c : {closest.a, closest.b}) {
      const double count = static_cast<double>(starts_[c + 1] - starts_[c]);
      const double share = (c == closest.a ? factor : -factor) / count;
      for (size_t row = starts_[c]; row < starts_[c + 1]; ++row) {
        double* const to = sums + order_[row] * width_;
        for (size_t i = 0; i < width_; ++i) {
          to[i] += share * ((a.high[i] - b.high[i]) + (a.low[i] - b.low[i]));
        }
      }
    }
  }

  const double alpha_, beta_;
  const size_t k_;
  const double margin_;
  const WholeBlock<T>& block_;
  const T* const x_;
  const size_t rows_, width_;
  std::vector<size_t> order_;   // rows
  std::vector<size_t> starts_;  // in order_, of each class, then the end
  std::vector<double> means_;   // [classes, width]
  std::vector<double> rests_;   // what the means rounded off
};

constexpr Input kInputs[] = {
    {"embeddings", ShapeRule::kEmbeddings, TypeRule::kFloating, ValueRule::kAny, false},
    {"labels", ShapeRule::kRowValues, TypeRule::kLabel, ValueRule::kClass, false}};

constexpr Signature kSignatures[] = {{kInputs, ItemKind::kBatch, WholeBatch<Range>()}};

constexpr double kLargestDouble = std::numeric_limits<double>::max();
constexpr Parameter kParameters[] = {
    {"alpha", ParameterType::kDouble, 1, 0, kLargestDouble, false, "factor of the first term"},
    {"beta", ParameterType::kDouble, 1, 0, kLargestDouble, false, "factor of the second term"},
    {"k", ParameterType::kInt64, 2, 1, 1024, false, "largest distances of a class that count"},
    {"margin", ParameterType::kDouble, 1, -kLargestDouble, kLargestDouble, false,
     "squared distance that the closest class means should have"}};

constexpr LossRow kRows[] = {
    {.name = "range",
     .family = "regulariser",
     .help = "spread of the classes and distance of the closest two, of a whole batch",
     .formula =
         "alpha * sum_c H_c + beta * max(0, margin - min_ab |m_a - m_b|^2), H_c the harmonic mean "
         "of the k largest squared distances in class c, m_a the mean of class a",
     .source = "definition (Zhang et al., Range Loss for Deep Face Recognition)",
     .parameters = kParameters,
     .signatures = kSignatures,
     .streams = false},
};

}  // namespace

LossTable RangeTable() { return {VectorMathTarget(), kRows}; }

}  // namespace lossd
