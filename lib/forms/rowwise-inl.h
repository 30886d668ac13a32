// The row-wise form: loops over rows of classes, sums over the classes of a row in one fixed
// layout, and the running log-sum-exp.
//
// A formula is a struct template over the compute type:
//
//   template <class T> struct CrossEntropy {
//     CrossEntropy(const double* parameters, const RowBlock<T>& block);
//     T Row(const RowBlock<T>& block, size_t row) const;
//     // With gradients, of the operands whose bits are set: scale * d item / d operand.
//     static constexpr uint32_t kGradients = 1;
//     void Gradient(const RowBlock<T>& block, size_t row, T scale, T* const* gradients) const;
//   };
//
// One that counts kinds of items has `T Row(block, row, uint8_t* kind) const`. One that needs the
// softmax of its rows of logits says so, and reads RowBlock::softmax:
//     static constexpr bool kSoftmax = true;
// One whose item is made of a few numbers a row computes a vector of rows, one a lane, where
// InLanes() is true; it needs no Row if that is always so. x: of each row the class of its label.
//     bool InLanes() const;
//     V Rows(D d, const RowBlock<T>& block, size_t row, size_t count, V x) const;
// One with a table may have static members TableValue and FinishTable, a TableKernel and a
// TableFinishKernel.
//
// The layout of every sum over classes is part of the arithmetic: chunks of 4,096 classes, combined
// in class order; in a chunk 32 virtual lanes (class mod 32), added up in groups of 8 steps; then
// one tree over the lanes, i + (i + 16), + 8, + 4, + 2, + 1. It is the same for any vector length,
// and the tail adds zeros.
#if defined(LOSSD_LIB_FORMS_ROWWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_ROWWISE_INL_H_
#undef LOSSD_LIB_FORMS_ROWWISE_INL_H_
#else
#define LOSSD_LIB_FORMS_ROWWISE_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "lib/forms/kernels.h"
#include "lib/forms/math-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr size_t kClassChunk = 4096;
inline constexpr size_t kVirtualLanes = 32;
inline constexpr size_t kGroupSteps = 8;
// Bytes ahead that are fetched into the second-level cache while a chunk is summed: a chunk, whose
// maximum is looked for meanwhile, and half a chunk before that. The first level is too small for
// it, and has too few buffers to wait for memory.
inline constexpr size_t kRowPrefetchBytes = 24576;
inline constexpr size_t kCacheLineBytes = 64;

HWY_INLINE void PrefetchRow(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kRowPrefetchBytes, /*rw=*/0, /*locality=*/2);
}

// A value that may lie at any address.
template <class T>
HWY_INLINE T LoadScalar(const T* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

template <class T>
HWY_INLINE T QuietNan() {
  return std::numeric_limits<T>::quiet_NaN();
}

// A parameter as the compute type has it. Never inlined: where two stand side by side, g++ 12
// vectorises the two conversions of each away (from -O2 on), and nothing is rounded.
template <class T>
HWY_NOINLINE double RoundedTo(double parameter) {
  return static_cast<double>(static_cast<T>(parameter));
}

// A scalar through the vector function, so that it has the same bits as in a lane.
template <class T>
HWY_INLINE T ScalarExp(T x) {
  const hn::CappedTag<T, 1> d;
  return hn::GetLane(Exp(d, hn::Set(d, x)));
}
template <class T>
HWY_INLINE T ScalarLog(T x) {
  const hn::CappedTag<T, 1> d;
  return hn::GetLane(Log(d, hn::Set(d, x)));
}
template <class T>
HWY_INLINE T ScalarLog1p(T x) {
  const hn::CappedTag<T, 1> d;
  return hn::GetLane(Log1p(d, hn::Set(d, x)));
}

// The tree over the 32 virtual lanes.
template <class T>
HWY_INLINE T SumVirtualLanes(const T* HWY_RESTRICT lanes) {
  const hn::CappedTag<T, 16 / sizeof(T)> d;
  constexpr size_t kLanes = 16 / sizeof(T);
  hn::Vec<decltype(d)> v[kVirtualLanes / kLanes];
  for (size_t i = 0; i < kVirtualLanes / kLanes; ++i) v[i] = hn::Load(d, lanes + i * kLanes);
  for (size_t count = kVirtualLanes / kLanes / 2; count > 0; count /= 2) {
    for (size_t i = 0; i < count; ++i) v[i] = hn::Add(v[i], v[i + count]);
  }
  HWY_ALIGN T rest[kLanes];
  hn::Store(v[0], d, rest);
  if constexpr (kLanes == 4) {
    rest[0] += rest[2];
    rest[1] += rest[3];
  }
  return rest[0] + rest[1];
}

template <class T>
inline constexpr size_t kVectorLanes = hn::MaxLanes(hn::ScalableTag<T>());

// `count` lanes from p on, the others `fill`. Reads no byte beyond them.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadClasses(D d, const T* p, size_t count, T fill) {
  if (HWY_LIKELY(count >= kVectorLanes<T>)) return hn::LoadU(d, p);
#if HWY_ARCH_X86
  const auto mask = hn::FirstN(d, count);
  return hn::IfThenElse(mask, hn::MaskedLoad(mask, d, p), hn::Set(d, fill));
#else
  HWY_ALIGN T padded[kVectorLanes<T>];
  hn::Store(hn::Set(d, fill), d, padded);
  std::memcpy(padded, p, count * sizeof(T));
  return hn::Load(d, padded);
#endif
}

// The lane of a class in the vector of classes i, i + 1, ..., if it is one of them.
template <class D>
HWY_INLINE hn::Mask<D> IsClass(D d, size_t i, size_t class_index) {
  using T = hn::TFromD<D>;
  const size_t lane = class_index - i;  // wraps around for a class before i
  const T place = lane < kVectorLanes<T> ? static_cast<T>(lane) : T(-1);
  return hn::Eq(hn::Iota(d, T(0)), hn::Set(d, place));
}

// Sum over the classes [0, n), n <= kClassChunk, in the fixed layout. terms(d, i, count, out) puts
// the terms of classes i, i + 1, ... into the vectors of the array `out`; where it has one vector,
// lanes from `count` on may hold anything, else all are there.
template <class T, class Terms>
HWY_INLINE T AddChunk(size_t n, const Terms& terms) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLanes = kVectorLanes<T>;
  constexpr size_t kVectors = kVirtualLanes / kLanes;
  constexpr size_t kBlock = 4;  // vectors whose terms are computed side by side
  constexpr size_t kStride = HWY_MAX(kVectors, kBlock);
  V total[kVectors];
  for (size_t v = 0; v < kVectors; ++v) total[v] = hn::Zero(d);
  const size_t full = n - n % kVirtualLanes;
  size_t i = 0;
  while (i < full) {
    const size_t end = HWY_MIN(full, i + kGroupSteps * kVirtualLanes);
    V group[kVectors];
    for (size_t v = 0; v < kVectors; ++v) group[v] = hn::Zero(d);
    for (; i + kStride * kLanes <= end; i += kStride * kLanes) {
      for (size_t v = 0; v < kStride; v += kBlock) {
        V out[kBlock];
        terms(d, i + v * kLanes, kBlock * kLanes, out);
        for (size_t k = 0; k < kBlock; ++k) {
          V& sum = group[(v + k) % kVectors];
          sum = hn::Add(sum, out[k]);
        }
      }
    }
    for (size_t v = 0; v < kVectors && i < end; ++v, i += kLanes) {
      V out[1];
      terms(d, i, kLanes, out);
      group[v] = hn::Add(group[v], out[0]);
    }
    for (size_t v = 0; v < kVectors; ++v) total[v] = hn::Add(total[v], group[v]);
  }
  for (size_t v = 0; v < kVectors && i < n; ++v, i += kLanes) {
    const size_t count = HWY_MIN(n - i, kLanes);
    V out[1];
    terms(d, i, count, out);
    total[v] = hn::Add(total[v], hn::IfThenElseZero(hn::FirstN(d, count), out[0]));
  }
  HWY_ALIGN T lane_sums[kVirtualLanes];
  for (size_t v = 0; v < kVectors; ++v) hn::Store(total[v], d, lane_sums + v * kLanes);
  return SumVirtualLanes(lane_sums);
}

// Sum over all classes of a row of term(d, i, count), the vector of terms of classes i, i + 1, ...
template <class T, class Term>
HWY_INLINE T SumRow(size_t classes, const Term& term) {
  T sum = 0;
  for (size_t start = 0; start < classes; start += kClassChunk) {
    const size_t n = HWY_MIN(classes - start, kClassChunk);
    sum += AddChunk<T>(n, [&](auto d, size_t i, size_t count, auto& out) HWY_ATTR {
      constexpr size_t kVectors = sizeof(out) / sizeof(out[0]);
      for (size_t k = 0; k < kVectors; ++k) {
        out[k] = term(d, start + i + k * kVectorLanes<T>, HWY_MIN(count, kVectorLanes<T>));
      }
    });
  }
  return sum;
}

// The larger of two, `b` where `a` is NaN.
template <class D, class V>
HWY_INLINE V LargerUnlessNan(D, V a, V b) {
#if HWY_ARCH_X86
  return hn::Max(a, b);  // maxps: the second operand unless the first is greater
#else
  return hn::IfThenElse(hn::Gt(a, b), a, b);
#endif
}

// The vectors of a row of items or gradients: store(v, i, count) puts `count` lanes at values[i].
template <class T>
auto RowStore(T* values) {
  return [values](auto v, size_t i, size_t count) HWY_ATTR {
    const hn::ScalableTag<T> d;
    if (count >= kVectorLanes<T>) {
      hn::StoreU(v, d, values + i);
    } else {
      HWY_ALIGN T padded[kVectorLanes<T>];
      hn::Store(v, d, padded);
      std::memcpy(values + i, padded, count * sizeof(T));
    }
  };
}

// values[i] = term(d, i, count), the vector of classes i, i + 1, ..., for all classes of a row.
template <class T, class Term>
HWY_INLINE void StoreRow(size_t width, T* values, const Term& term) {
  const hn::ScalableTag<T> d;
  const auto store = RowStore(values);
  for (size_t i = 0; i < width; i += kVectorLanes<T>) {
    const size_t count = HWY_MIN(width - i, kVectorLanes<T>);
    store(term(d, i, count), i, count);
  }
}

// Makes every NaN of an array the canonical one.
template <class T>
void CanonicaliseNans(T* values, size_t n) {
  for (size_t i = 0; i < n; ++i) values[i] = values[i] == values[i] ? values[i] : QuietNan<T>();
}

// The class weights of the rows' labels, one row a lane, from `row` on. Lanes from `count` on hold
// 0. The block has class weights.
template <class D, class T>
HWY_INLINE hn::Vec<D> WeightsOfLabels(D d, const RowBlock<T>& block, size_t row, size_t count) {
  HWY_ALIGN T values[kVectorLanes<T>] = {};
  for (size_t i = 0; i < count; ++i) {
    std::memcpy(values + i, block.class_weights + block.labels[row + i], sizeof(T));
  }
  return hn::Load(d, values);
}

template <class Formula, class T>
void RunRowsInLanes(const Formula& formula, const RowBlock<T>& block, T* items) {
  // The labels' classes are fetched for many rows before a vector of them is loaded: a load waits
  // long for narrower stores that have just been made.
  constexpr size_t kRows = 256;
  HWY_ALIGN T of_labels[kRows];
  for (size_t start = 0; start < block.rows; start += kRows) {
    const size_t n = HWY_MIN(block.rows - start, kRows);
    const T* x = block.operands[0] + start * block.width;
    for (size_t i = 0; i < n; ++i, x += block.width) {
      std::memcpy(of_labels + i, x + block.labels[start + i], sizeof(T));
    }
    StoreRow<T>(n, items + start, [&](auto d, size_t i, size_t count) HWY_ATTR {
      return formula.Rows(d, block, start + i, count, LoadClasses(d, of_labels + i, count, T(0)));
    });
  }
}

template <class Formula, class T>
void RunRowsOneByOne(const Formula& formula, const RowBlock<T>& block, T* items, uint8_t* kinds) {
  for (size_t row = 0; row < block.rows; ++row) {
    if constexpr (requires { formula.Row(block, row, kinds); }) {
      items[row] = formula.Row(block, row, kinds + row);
    } else {
      items[row] = formula.Row(block, row);
    }
  }
}

template <class Formula, class T>
void RunRows(const double* parameters, const RowBlock<T>& block, T* items, uint8_t* kinds) {
  const Formula formula(parameters, block);
  if constexpr (!requires { formula.InLanes(); }) {
    RunRowsOneByOne(formula, block, items, kinds);
  } else if constexpr (!requires { formula.Row(block, block.rows); }) {
    RunRowsInLanes(formula, block, items);
  } else if (formula.InLanes()) {
    RunRowsInLanes(formula, block, items);
  } else {
    RunRowsOneByOne(formula, block, items, kinds);
  }
  CanonicaliseNans(items, block.rows);
}

// A formula whose gradients hold no other NaN says so by kCanonicalGradients.
template <class Formula>
inline constexpr bool kWritesCanonicalNans = requires {
  Formula::kCanonicalGradients;
};

template <class Formula, class T>
void RunRowGradients(const double* parameters, const RowBlock<T>& block, const T* scales,
                     T* const* gradients) {
  const Formula formula(parameters, block);
  for (size_t row = 0; row < block.rows; ++row) {
    const bool zero = scales[row] == T(0);
    if (!zero) formula.Gradient(block, row, scales[row], gradients);
    for (int o = 0; o <= kTableGradient; ++o) {
      if (gradients[o] == nullptr) continue;
      T* const gradient = gradients[o] + row * block.width;
      if (zero) {
        std::memset(gradient, 0, block.width * sizeof(T));
      } else if constexpr (!kWritesCanonicalNans<Formula>) {
        CanonicaliseNans(gradient, block.width);
      }
    }
  }
  if (block.streams_gradients) hwy::FlushStream();
}

template <class Formula, class T>
void FinishTable(const double* parameters, const RowBlock<T>& block, const double* label_scales,
                 size_t begin, size_t end, T* gradient) {
  Formula::FinishTable(parameters, block, label_scales, begin, end, gradient);
  CanonicaliseNans(gradient, (end - begin) * block.width);
}

template <class Formula, class T>
constexpr TableKernels<T> TableKernelsOf() {
  TableKernels<T> kernels;
  if constexpr (requires { Formula::TableValue; }) kernels.value = Formula::TableValue;
  if constexpr (requires { Formula::FinishTable; }) kernels.finish = FinishTable<Formula, T>;
  return kernels;
}

// True if the formula reads the softmax of its rows.
template <class Formula>
constexpr bool UsesSoftmax() {
  if constexpr (requires { Formula::kSoftmax; }) {
    return Formula::kSoftmax;
  } else {
    return false;
  }
}

template <template <class> class Formula>
constexpr void AddRowGradients(RowKernels* kernels) {
  if constexpr (requires { Formula<float>::kGradients; }) {
    kernels->gradient_f32 = RunRowGradients<Formula<float>, float>;
    kernels->gradient_f64 = RunRowGradients<Formula<double>, double>;
    kernels->gradients = Formula<float>::kGradients;
  }
}

// The kernels of a formula with one item a row.
template <template <class> class Formula>
constexpr Kernels Rowwise() {
  Kernels kernels;
  kernels.rows.f32 = RunRows<Formula<float>, float>;
  kernels.rows.f64 = RunRows<Formula<double>, double>;
  kernels.rows.softmax = UsesSoftmax<Formula<float>>();
  AddRowGradients<Formula>(&kernels.rows);
  kernels.rows.table_f32 = TableKernelsOf<Formula<float>, float>();
  kernels.rows.table_f64 = TableKernelsOf<Formula<double>, double>();
  return kernels;
}

// A formula with one item a class has `void Row(block, row, store) const`, and its gradients'
// scales, one an item, are scales[row * width + i]: `void Gradient(block, row, const T* scales, T*
// const* gradients) const`.
template <class Formula, class T>
void RunPointwiseRows(const double* parameters, const RowBlock<T>& block, T* items, uint8_t*) {
  const Formula formula(parameters, block);
  for (size_t row = 0; row < block.rows; ++row) {
    formula.Row(block, row, RowStore(items + row * block.width));
  }
  CanonicaliseNans(items, block.rows * block.width);
}

// A row without a scale gives zeros. In another one the formula leaves out the items whose scale is
// 0: an input of theirs may still be part of other items, as a logit is.
template <class Formula, class T>
void RunPointwiseGradients(const double* parameters, const RowBlock<T>& block, const T* scales,
                           T* const* gradients) {
  const Formula formula(parameters, block);
  for (size_t row = 0; row < block.rows; ++row) {
    const T* row_scales = scales + row * block.width;
    size_t zeros = 0;
    while (zeros < block.width && row_scales[zeros] == T(0)) ++zeros;
    if (zeros < block.width) {
      formula.Gradient(block, row, row_scales, gradients);
    } else {
      for (int o = 0; o < kMaxOperands; ++o) {
        if (gradients[o] != nullptr)
          std::memset(gradients[o] + row * block.width, 0, block.width * sizeof(T));
      }
    }
  }
  for (int o = 0; o < kMaxOperands; ++o) {
    if (gradients[o] != nullptr) CanonicaliseNans(gradients[o], block.rows * block.width);
  }
}

template <template <class> class Formula>
constexpr Kernels PointwiseRows() {
  Kernels kernels;
  kernels.rows.f32 = RunPointwiseRows<Formula<float>, float>;
  kernels.rows.f64 = RunPointwiseRows<Formula<double>, double>;
  kernels.rows.softmax = UsesSoftmax<Formula<float>>();
  if constexpr (requires { Formula<float>::kGradients; }) {
    kernels.rows.gradient_f32 = RunPointwiseGradients<Formula<float>, float>;
    kernels.rows.gradient_f64 = RunPointwiseGradients<Formula<double>, double>;
    kernels.rows.gradients = Formula<float>::kGradients;
  }
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
