// The kernels that all classifier losses share (classifier_kernels.h says what each does), for one
// SIMD target. Rows of the batch stand in lanes, so a row's bits depend on no other row and on no
// vector length; what goes along the dimensions of a row takes rowwise-inl.h's fixed layout.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_CLASSIFIER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_CLASSIFIER_INL_H_
#undef LOSSD_LIB_FORMS_CLASSIFIER_INL_H_
#else
#define LOSSD_LIB_FORMS_CLASSIFIER_INL_H_
#endif

#include <cmath>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/classifier_kernels.h"
#include "lib/forms/kernels.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/matmul-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// ---- along the dimensions of a row

template <class T>
HWY_INLINE T DotRow(const T* a, const T* b, size_t width) {
  return SumRow<T>(width, [&](auto d, size_t i, size_t count) HWY_ATTR {
    return hn::Mul(LoadClasses(d, a + i, count, T(0)), LoadClasses(d, b + i, count, T(0)));
  });
}

// row[i] = map(d, vector of row[i], ...)
template <class T, class Map>
HWY_INLINE void MapRow(T* row, size_t width, const Map& map) {
  const hn::ScalableTag<T> d;
  const auto store = RowStore(row);
  for (size_t i = 0; i < width; i += kVectorLanes<T>) {
    const size_t count = HWY_MIN(width - i, kVectorLanes<T>);
    store(map(d, LoadClasses(d, row + i, count, T(0)), i, count), i, count);
  }
}

// Sums of squares in this range lost nothing to underflow, and did not overflow.
template <class T>
inline constexpr T kLowestSquares = sizeof(T) == 4 ? T(0x1p-90) : T(0x1p-900);
template <class T>
inline constexpr T kHighestSquares = sizeof(T) == 4 ? T(0x1p120) : T(0x1p1000);

template <class T>
double NormaliseRow(T* row, size_t width) {
  T squares = DotRow(row, row, width);
  int exponent = 0;
  if (!(squares >= kLowestSquares<T> && squares <= kHighestSquares<T>)) {
    // Times a power of two, so that the largest number is between 1 and 2.
    T largest = 0;
    bool finite = true;
    for (size_t i = 0; i < width; ++i) {
      const T magnitude = std::abs(row[i]);
      finite &= magnitude <= std::numeric_limits<T>::max();
      largest = magnitude > largest ? magnitude : largest;
    }
    if (!finite) {
      for (size_t i = 0; i < width; ++i) row[i] = QuietNan<T>();
      return QuietNan<double>();
    }
    if (largest == T(0)) return 0;
    exponent = std::ilogb(largest);
    for (size_t i = 0; i < width; ++i) row[i] = std::ldexp(row[i], -exponent);
    squares = DotRow(row, row, width);
  }
  const T norm = std::sqrt(squares);
  MapRow(row, width, [&](auto d, auto v, size_t, size_t) HWY_ATTR {
    return hn::Mul(v, hn::Set(d, T(1) / norm));
  });
  return std::ldexp(static_cast<double>(norm), exponent);
}

inline void MeasureTarget(size_t width, bool unit_x, bool wants_sine, TargetRow* row) {
  if (unit_x) row->x_norm = NormaliseRow(row->x, width);
  row->product = DotRow(row->x, row->w, width);
  if (!unit_x) row->x_norm = NormaliseRow(row->x, width);
  row->w_norm = NormaliseRow(row->w, width);
  const double cosine = DotRow(row->x, row->w, width);
  row->cosine = cosine > 1 ? 1 : cosine < -1 ? -1 : cosine;
  row->sine = 0;
  if (!wants_sine) return;
  // The length of what of one unit vector is across the other: 1 - c^2 would lose half the digits
  // near 1.
  const double squares = SumRow<double>(width, [&](auto d, size_t i, size_t count) HWY_ATTR {
    const auto x = LoadClasses(d, row->x + i, count, 0.0);
    const auto w = LoadClasses(d, row->w + i, count, 0.0);
    const auto across = hn::NegMulAdd(hn::Set(d, row->cosine), x, w);
    return hn::Mul(across, across);
  });
  // A zero vector is at a right angle to all.
  const bool zero = row->x_norm == 0 || row->w_norm == 0;
  row->sine = zero || squares > 1 ? 1 : std::sqrt(squares);
}

template <class T>
void ProjectRow(T* gradient, const T* unit, double norm, size_t width) {
  const T along = DotRow(gradient, unit, width);
  MapRow(gradient, width, [&](auto d, auto v, size_t i, size_t count) HWY_ATTR {
    const auto u = LoadClasses(d, unit + i, count, T(0));
    const auto across = hn::NegMulAdd(hn::Set(d, along), u, v);
    const auto result = hn::Div(across, hn::Set(d, static_cast<T>(norm)));
    return norm == 0 ? hn::Zero(d) : result;
  });
}

// ---- rows in lanes

// Prefetches two pieces of memory along a multiplication.
class FetchAhead {
 public:
  explicit FetchAhead(const Ahead (&ahead)[2]) : first_(ahead[0]), second_(ahead[1]) {}
  HWY_INLINE void operator()() {
    Fetch(&first_);
    Fetch(&second_);
  }

 private:
  static HWY_INLINE void Fetch(Ahead* ahead) {
    for (size_t i = 0; i < ahead->lines && ahead->next < ahead->end; ++i, ahead->next += 64)
      __builtin_prefetch(ahead->next, 0, 2);
  }
  Ahead first_, second_;
};

template <bool kAdd, class T>
void MultiplyInto(const T* panel, size_t vectors, size_t width, const SegmentedRows<T>& v,
                  size_t classes, const Ahead (&ahead)[2], T* products) {
  constexpr size_t kStep = kPanelRows<T>;
  const BroadcastFactor<T> factor = {v.numbers, v.row_step, 1, v.segment, v.segment_step};
  FetchAhead fetch(ahead);
  if (vectors == 1) {
    MultiplyPanel<kAdd, kThinTile, 1>(factor, classes, panel, kVectorLanes<T>, width, products,
                                      kStep, fetch);
  } else {
    MultiplyPanel<kAdd, kRowTile, kPanelVectors>(factor, classes, panel, kStep, width, products,
                                                 kStep, fetch);
  }
}

template <class T>
void MultiplyClasses(const T* panel, size_t vectors, size_t width, const SegmentedRows<T>& v,
                     size_t classes, bool goes_on, const Ahead (&ahead)[2], T* products) {
  if (goes_on) {
    MultiplyInto<true>(panel, vectors, width, v, classes, ahead, products);
  } else {
    MultiplyInto<false>(panel, vectors, width, v, classes, ahead, products);
  }
}

template <class T>
void FinishLogits(T* logits, size_t vectors, size_t classes, T scale, bool cosines, const T* bias) {
  const hn::ScalableTag<T> d;
  const auto one = hn::Set(d, T(1));
  const auto minus_one = hn::Set(d, T(-1));
  const auto scales = hn::Set(d, scale);
  for (size_t c = 0; c < classes; ++c) {
    const auto shift = hn::Set(d, bias != nullptr ? bias[c] : T(0));
    T* const of_class = logits + c * kPanelRows<T>;
    for (size_t i = 0; i < vectors * kVectorLanes<T>; i += kVectorLanes<T>) {
      auto x = hn::LoadU(d, of_class + i);
      if (cosines) {
        x = hn::IfThenElse(hn::Gt(x, one), one, x);
        x = hn::IfThenElse(hn::Lt(x, minus_one), minus_one, x);
      }
      hn::StoreU(hn::MulAdd(x, scales, shift), d, of_class + i);
    }
  }
}

template <class V>
struct VectorSums {
  V max, at_max, rest;
};

// The log-sum-exp of `groups` groups of classes, for one vector of rows.
template <class D, class V = hn::Vec<D>>
HWY_INLINE VectorSums<V> SumChunk(D d, const hn::TFromD<D>* logits, size_t groups) {
  using T = hn::TFromD<D>;
  constexpr size_t kStep = kPanelRows<T>;
  const V lowest = hn::Set(d, -std::numeric_limits<T>::infinity());
  V largest[kClassifierGroup];
  for (V& chain : largest) chain = lowest;
  for (size_t g = 0; g < groups; ++g) {
    for (size_t k = 0; k < kClassifierGroup; ++k) {
      const V logit = hn::LoadU(d, logits + (g * kClassifierGroup + k) * kStep);
      largest[k] = LargerUnlessNan(d, logit, largest[k]);
    }
  }
  const V max = LargerUnlessNan(d, LargerUnlessNan(d, largest[0], largest[1]),
                                LargerUnlessNan(d, largest[2], largest[3]));
  // Rows without a class above -inf sum to nothing.
  const V from = hn::IfThenZeroElse(hn::Eq(max, lowest), max);
  V at_max = hn::Zero(d);
  V rest[kClassifierGroup];
  for (V& chain : rest) chain = hn::Zero(d);
  for (size_t g = 0; g < groups; ++g) {
    V below[kClassifierGroup], terms[kClassifierGroup];
    auto ordinary = hn::FirstN(d, kVectorLanes<T>);
    for (size_t k = 0; k < kClassifierGroup; ++k) {
      below[k] = hn::Sub(hn::LoadU(d, logits + (g * kClassifierGroup + k) * kStep), from);
      ordinary = hn::And(ordinary, IsExpTerm(d, below[k]));
    }
    if (HWY_LIKELY(hn::AllTrue(d, ordinary))) {
      ExpTerms(d, below, terms);
    } else {
      for (size_t k = 0; k < kClassifierGroup; ++k) {
        const auto is_max = hn::Eq(below[k], hn::Zero(d));
        at_max = hn::Add(at_max, hn::IfThenElseZero(is_max, hn::Set(d, T(1))));
        terms[k] = hn::IfThenZeroElse(is_max, ExpTermNonPositive(d, below[k]));
      }
    }
    for (size_t k = 0; k < kClassifierGroup; ++k) rest[k] = hn::Add(rest[k], terms[k]);
  }
  return {max, at_max, hn::Add(hn::Add(rest[0], rest[1]), hn::Add(rest[2], rest[3]))};
}

// Combine of rowwise-inl.h in lanes.
template <class D, class V>
HWY_INLINE VectorSums<V> CombineSums(D d, const VectorSums<V>& a, const VectorSums<V>& b) {
  const auto equal = hn::Eq(a.max, b.max);
  const auto first = hn::Gt(a.max, b.max);
  const V high = hn::IfThenElse(first, a.max, b.max);
  const V low = hn::IfThenElse(first, b.max, a.max);
  const V low_total = hn::IfThenElse(first, hn::Add(b.at_max, b.rest), hn::Add(a.at_max, a.rest));
  const V moved = hn::Mul(low_total, Exp(d, hn::Sub(low, high)));
  const V at_max = hn::IfThenElse(first, a.at_max, b.at_max);
  const V rest = hn::Add(hn::IfThenElse(first, a.rest, b.rest), moved);
  return {high, hn::IfThenElse(equal, hn::Add(a.at_max, b.at_max), at_max),
          hn::IfThenElse(equal, hn::Add(a.rest, b.rest), rest)};
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE VectorSums<hn::Vec<D>> LoadSums(D d, const PanelSums<T>& sums, size_t i) {
  return {hn::LoadU(d, sums.max + i), hn::LoadU(d, sums.at_max + i), hn::LoadU(d, sums.rest + i)};
}

// Combines what `next` makes of a vector at i into the sums.
template <class T, class Next>
HWY_INLINE void CombineInto(const PanelSums<T>& sums, size_t vectors, const Next& next) {
  const hn::ScalableTag<T> d;
  for (size_t i = 0; i < vectors * kVectorLanes<T>; i += kVectorLanes<T>) {
    const auto after = CombineSums(d, LoadSums(d, sums, i), next(d, i));
    hn::StoreU(after.max, d, sums.max + i);
    hn::StoreU(after.at_max, d, sums.at_max + i);
    hn::StoreU(after.rest, d, sums.rest + i);
  }
}

template <class T>
void AddClassChunk(T* logits, size_t vectors, size_t classes, const PanelSums<T>& sums) {
  constexpr size_t kStep = kPanelRows<T>;
  const size_t groups = (classes + kClassifierGroup - 1) / kClassifierGroup;
  for (size_t i = classes * kStep; i < groups * kClassifierGroup * kStep; ++i) {
    logits[i] = -std::numeric_limits<T>::infinity();
  }
  CombineInto(sums, vectors,
              [&](auto d, size_t i) HWY_ATTR { return SumChunk(d, logits + i, groups); });
}

template <class T>
void CombinePanelSums(const PanelSums<T>& next, size_t vectors, const PanelSums<T>& sums) {
  CombineInto(sums, vectors, [&](auto d, size_t i) HWY_ATTR { return LoadSums(d, next, i); });
}

// loss = log(1 + sum of the others exp(logit_j - logit_y)): (max - logit_y) + log1p(...), both at
// least 0. An infinite logit of the true class has no softmax above, and an infinite loss below.
template <class T>
RowSoftmax FinishRow(T max_of_others, T at_max, T rest, double target) {
  const double max = static_cast<double>(max_of_others);
  const double others = static_cast<double>(at_max) + static_cast<double>(rest);
  RowSoftmax row;
  double scaled_others, scaled_target;
  if (target >= max) {
    row.item = ScalarLog1p(others * ScalarExp(max - target));
    row.max = RoundedTo<T>(target);
    scaled_others = others * ScalarExp(max - row.max);
    scaled_target = ScalarExp(target - row.max);
  } else {
    scaled_others = others;
    scaled_target = ScalarExp(target - max);
    const double above = (static_cast<double>(at_max) - 1) + static_cast<double>(rest);
    row.item = (max - target) + ScalarLog1p(above + scaled_target);
    row.max = max;
  }
  const double total = scaled_others + scaled_target;
  row.inverse_total = 1 / total;
  row.others = scaled_others / total;
  const bool has_softmax = target < std::numeric_limits<double>::infinity();
  if (!has_softmax || row.item != row.item) row.item = QuietNan<double>();
  return row;
}

template <class T>
void ToCoefficients(T* logits, size_t vectors, size_t classes, const T* max, const T* factors) {
  const hn::ScalableTag<T> d;
  for (size_t i = 0; i < vectors * kVectorLanes<T>; i += kVectorLanes<T>) {
    const auto maxes = hn::LoadU(d, max + i);
    const auto factor = hn::LoadU(d, factors + i);
    const auto none = hn::Eq(factor, hn::Zero(d));
    for (size_t c = 0; c < classes; ++c) {
      T* const at = logits + c * kPanelRows<T> + i;
      const auto p = Exp(d, hn::Sub(hn::LoadU(d, at), maxes));
      hn::StoreU(hn::IfThenZeroElse(none, hn::Mul(p, factor)), d, at);
    }
  }
}

template <class T>
void AddRowGradients(const T* coefficients, size_t classes, const T* v, size_t rows,
                     const Ahead (&ahead)[2], T* gradient) {
  constexpr size_t kStep = kPanelRows<T>;
  const BroadcastFactor<T> factor = {coefficients, 1, kStep, classes, 0};
  FetchAhead fetch(ahead);
  MultiplyPanel<true, kEvenRowTile, kPanelVectors>(factor, rows, v, kStep, classes, gradient, kStep,
                                                   fetch);
}

template <class T>
void AddClassGradients(const T* coefficients, size_t panel_step, size_t classes, const T* u,
                       size_t rows, const Ahead (&ahead)[2], T* gradient) {
  constexpr size_t kStep = kPanelRows<T>;
  const BroadcastFactor<T> factor = {coefficients, kStep, 1, kStep, panel_step};
  FetchAhead fetch(ahead);
  MultiplyPanel<true, kRowTile, kPanelVectors>(factor, classes, u, kStep, rows, gradient, kStep,
                                               fetch);
}

template <class T>
inline constexpr ClassifierOperations<T> kClassifierOperations = {
    kPanelRows<T>,   kVectorLanes<T>,   NormaliseRow<T>,     MultiplyClasses<T>,
    FinishLogits<T>, AddClassChunk<T>,  CombinePanelSums<T>, MeasureTarget,
    FinishRow<T>,    ToCoefficients<T>, AddRowGradients<T>,  AddClassGradients<T>,
    ProjectRow<T>};

// The kernels of a loss, with gradients of the embeddings and the classifier.
constexpr Kernels Classifier(const ClassifierKernels& loss) {
  Kernels kernels;
  kernels.classifier = loss;
  kernels.classifier.f32 = &kClassifierOperations<float>;
  kernels.classifier.f64 = &kClassifierOperations<double>;
  kernels.classifier.gradients = 1u | 1u << kTableGradient;
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
