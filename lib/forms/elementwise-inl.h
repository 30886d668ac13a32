// The element-wise form: the loop, the tail and the canonical NaN around a formula.
//
// A formula is a struct template over the compute type:
//
//   template <class T> struct Huber {
//     static constexpr int kOperands = 2;
//     explicit Huber(const double* parameters);
//     template <class D, class V> V Item(D d, V prediction, V target) const;
//     // With gradients, of the operands whose bits are set: d item / d operand.
//     static constexpr uint32_t kGradients = 1;
//     template <int kOperand, class D, class V> V Gradient(D d, V prediction, V target) const;
//   };
//
// One with kParts > 1 has `void Items(D d, V..., V* parts) const` in place of Item.
//
// One whose items may be added as they are computed, from the first two operands, says
// `static constexpr bool kOnePass = true`. It may have an `OrdinaryItem` beside Item, which equals
// it but for the sign of zero wherever it is finite: what is not takes the other way. One with
// heavy arithmetic says `static constexpr bool kHeavy = true` and has, in place of both,
//
//   template <bool kOrdinary, class D, class V, size_t kCount>
//   void Vectors(D d, const V (&predictions)[kCount], const V (&targets)[kCount],
//                V (&items)[kCount]) const;
//
// and may be told of kOrdinary operands: predictions of a magnitude up to its kOrdinaryPrediction
// and targets of 0 to 1, if it has that constant.
// The result of a lane depends on that lane's operands alone; the tail runs the same code on a
// padded copy.
#if defined(LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#undef LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#else
#define LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#endif

#include <bit>
#include <cstring>
#include <limits>

#include "hwy/cache_control.h"
#include "hwy/highway.h"
#include "lib/accumulate/block_chain-inl.h"
#include "lib/forms/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Bytes ahead that are prefetched: without it one core reaches three quarters of the
// memory's speed.
inline constexpr size_t kPrefetchBytes = 2048;

template <class Formula>
constexpr int PartsOf() {
  if constexpr (requires { Formula::kParts; }) {
    return Formula::kParts;
  } else {
    return 1;
  }
}

// Every NaN that is written is the one quiet NaN: what arithmetic makes of NaN differs between
// processors.
template <class D, class V>
HWY_INLINE V CanonicalNan(D d, V v) {
  // hn::NaN sets all bits of the payload.
  return hn::IfThenElse(hn::Eq(v, v), v,
                        hn::Set(d, std::numeric_limits<hn::TFromD<D>>::quiet_NaN()));
}

// Fetches what comes kPrefetchBytes after elements [i, i + count) of each operand.
template <class T>
HWY_INLINE void Prefetch(const T* const* operands, int count_of_operands, size_t i, size_t count) {
  for (size_t byte = 0; byte < count * sizeof(T); byte += 64) {
    for (int o = 0; o < count_of_operands; ++o) {
      hwy::Prefetch(reinterpret_cast<const char*>(operands[o] + i) + byte + kPrefetchBytes);
    }
  }
}

template <class Formula>
constexpr bool IsHeavy() {
  return requires { Formula::kHeavy; };
}

// Items of kCount vectors of a heavy formula.
template <size_t kCount, class Formula, class D, class T>
HWY_INLINE void StoreVectors(const Formula& formula, D d, const T* const* operands, size_t i,
                             T* items) {
  constexpr size_t kLanes = hn::MaxLanes(d);
  hn::Vec<D> a[kCount], b[kCount], results[kCount];
  for (size_t v = 0; v < kCount; ++v) {
    a[v] = hn::LoadU(d, operands[0] + i + v * kLanes);
    b[v] = hn::LoadU(d, operands[1] + i + v * kLanes);
  }
  formula.template Vectors<false>(d, a, b, results);
  for (size_t v = 0; v < kCount; ++v) {
    hn::StoreU(CanonicalNan(d, results[v]), d, items + i + v * kLanes);
  }
}

template <class Formula, class D, class T>
HWY_INLINE void StoreItems(const Formula& formula, D d, const T* const* operands, size_t i,
                           T* const* items) {
  using V = hn::Vec<D>;
  constexpr int kParts = PartsOf<Formula>();
  V parts[kParts];
  const V a = hn::LoadU(d, operands[0] + i);
  if constexpr (Formula::kOperands == 1) {
    if constexpr (kParts == 1) {
      parts[0] = formula.Item(d, a);
    } else {
      formula.Items(d, a, parts);
    }
  } else if constexpr (Formula::kOperands == 2) {
    const V b = hn::LoadU(d, operands[1] + i);
    if constexpr (kParts == 1) {
      parts[0] = formula.Item(d, a, b);
    } else {
      formula.Items(d, a, b, parts);
    }
  } else {
    parts[0] = formula.Item(d, a, hn::LoadU(d, operands[1] + i), hn::LoadU(d, operands[2] + i));
  }
  for (int part = 0; part < kParts; ++part) {
    hn::StoreU(CanonicalNan(d, parts[part]), d, items[part] + i);
  }
}

// One vector of items.
template <class Formula, class D, class T>
HWY_INLINE void StoreVector(const Formula& formula, D d, const T* const* operands, size_t i,
                            T* const* items) {
  if constexpr (IsHeavy<Formula>()) {
    StoreVectors<1>(formula, d, operands, i, items[0]);
  } else {
    StoreItems(formula, d, operands, i, items);
  }
}

template <class Formula, class T>
void RunElementwise(const double* parameters, const T* const* operands, size_t n, T* const* items) {
  constexpr int kOperands = Formula::kOperands;
  constexpr int kParts = PartsOf<Formula>();
  const Formula formula(parameters);
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kLine = 64 / sizeof(T);  // a cache line, at least a vector
  size_t i = 0;
  if constexpr (IsHeavy<Formula>()) {
    for (; i + 4 * lanes <= n; i += 4 * lanes) {
      Prefetch(operands, kOperands, i, 4 * lanes);
      StoreVectors<4>(formula, d, operands, i, items[0]);
    }
  }
  for (; i + kLine <= n; i += kLine) {
    Prefetch(operands, kOperands, i, kLine);
    for (size_t j = 0; j < kLine; j += lanes) StoreVector(formula, d, operands, i + j, items);
  }
  if (i == n) return;

  // The tail, on copies padded with zeros.
  HWY_ALIGN T padded[kOperands][kLine];
  HWY_ALIGN T padded_items[kParts][kLine];
  const T* tail_operands[kOperands];
  T* tail_items[kParts];
  const size_t rest = n - i;
  for (int o = 0; o < kOperands; ++o) {
    std::memset(padded[o], 0, sizeof(padded[o]));
    std::memcpy(padded[o], operands[o] + i, rest * sizeof(T));
    tail_operands[o] = padded[o];
  }
  for (int part = 0; part < kParts; ++part) tail_items[part] = padded_items[part];
  for (size_t j = 0; j < rest; j += lanes) StoreVector(formula, d, tail_operands, j, tail_items);
  for (int part = 0; part < kParts; ++part) {
    std::memcpy(items[part] + i, padded_items[part], rest * sizeof(T));
  }
}

// Whether all operands were ordinary, by the largest of their bits: those of NaN, of infinities and
// of negative targets are beyond the limits.
template <class Formula>
class OrdinaryCheck {
 public:
  HWY_INLINE OrdinaryCheck() : predictions_(hn::Zero(U32())), targets_(hn::Zero(U32())) {}
  HWY_INLINE void Update(hn::Vec<F32> prediction, hn::Vec<F32> target) {
    if constexpr (requires { Formula::kOrdinaryPrediction; }) {
      predictions_ = hn::Max(predictions_, hn::BitCast(U32(), hn::Abs(prediction)));
      targets_ = hn::Max(targets_, hn::BitCast(U32(), target));
    }
  }
  HWY_INLINE bool Holds() const {
    if constexpr (requires { Formula::kOrdinaryPrediction; }) {
      return Fold(U32(), predictions_, MaxOp()) <=
                 std::bit_cast<uint32_t>(Formula::kOrdinaryPrediction) &&
             Fold(U32(), targets_, MaxOp()) <= std::bit_cast<uint32_t>(1.0f);
    }
    return true;
  }

 private:
  hn::Vec<U32> predictions_, targets_;
};

// The items of kCount vectors, where they are ordinary.
template <class Formula, class D, class V, size_t kCount>
HWY_INLINE void OrdinaryItems(const Formula& formula, D d, const V (&a)[kCount],
                              const V (&b)[kCount], V (&items)[kCount]) {
  if constexpr (IsHeavy<Formula>()) {
    formula.template Vectors<true>(d, a, b, items);
  } else {
    for (size_t v = 0; v < kCount; ++v) {
      if constexpr (requires { formula.OrdinaryItem(d, a[v], b[v]); }) {
        items[v] = formula.OrdinaryItem(d, a[v], b[v]);
      } else {
        items[v] = formula.Item(d, a[v], b[v]);
      }
    }
  }
}

// One vector of items on its way into two chains. Heavy formulas leave the adders idle, cheap ones
// the multipliers.
template <bool kHeavy>
HWY_INLINE void AddItems(hn::Vec<F32> items, V64 one, Chain<2>* low, Chain<2>* high) {
  const hn::Half<F32> half;
  const V64 lower = hn::PromoteTo(F64(), hn::LowerHalf(half, items));
  const V64 upper = hn::PromoteTo(F64(), hn::UpperHalf(half, items));
  if constexpr (kHeavy) {
    low->AddByAdders(lower);
    high->AddByAdders(upper);
  } else {
    low->template Add<true, true>({lower, one}, one);
    high->template Add<true, true>({upper, one}, one);
  }
}

// Adds one vector of items to two plain sums.
HWY_INLINE void AddPlainly(hn::Vec<F32> items, V64* low, V64* high) {
  const hn::Half<F32> half;
  *low = hn::Add(*low, hn::PromoteTo(F64(), hn::LowerHalf(half, items)));
  *high = hn::Add(*high, hn::PromoteTo(F64(), hn::UpperHalf(half, items)));
}

// Sums the items in one pass: a formula is bound by memory or by the multipliers, which would be
// idle while a second pass added the items. The chains start from an assumed largest item; the scan
// on the side proves afterwards that they did not round. So it is with kInRuns, where 2^kLogRun
// items a lane are added plainly before they enter a chain.
template <bool kInRuns, class Formula>
void AddOnePass(const Formula& formula, const float* const* operands, size_t n, OnePassSum* sum) {
  constexpr size_t kLanes = hn::MaxLanes(F32());
  constexpr bool kHeavy = IsHeavy<Formula>();
  constexpr size_t kVectors = kHeavy ? 4 : 2;
  constexpr size_t kStep = kVectors * kLanes;
  constexpr size_t kRun = kInRuns ? (4 << internal::kLogRun) / (2 * kVectors) : 1;
  static_assert(kOnePassStep % kStep == 0);
  const F32 d;
  const V64 one = hn::Set(F64(), internal::kOne);
  BlockPlan plan;
  plan.start[0] = internal::AssumedStart(sum->top, n);
  FourChains<2> chains(plan);
  Scan32<false> scan;
  OrdinaryCheck<Formula> check;
  for (size_t i = 0; i < n;) {
    V64 run[4] = {hn::Zero(F64()), hn::Zero(F64()), hn::Zero(F64()), hn::Zero(F64())};
    for (size_t k = 0; k < kRun && i < n; ++k, i += kStep) {
      Prefetch(operands, 2, i, kStep);
      hn::Vec<F32> a[kVectors], b[kVectors], items[kVectors];
      for (size_t v = 0; v < kVectors; ++v) {
        a[v] = hn::LoadU(d, operands[0] + i + v * kLanes);
        b[v] = hn::LoadU(d, operands[1] + i + v * kLanes);
        check.Update(a[v], b[v]);
      }
      OrdinaryItems(formula, d, a, b, items);
      for (size_t v = 0; v < kVectors; v += 2) {
        scan.UpdateVector(items[v]);
        scan.UpdateVector(items[v + 1]);
        if constexpr (kInRuns) {
          AddPlainly(items[v], &run[0], &run[1]);
          AddPlainly(items[v + 1], &run[2], &run[3]);
        } else {
          AddItems<kHeavy>(items[v], one, &chains.a, &chains.b);
          AddItems<kHeavy>(items[v + 1], one, &chains.c, &chains.e);
        }
      }
    }
    if constexpr (kInRuns) {
      chains.a.AddByAdders(run[0]);
      chains.b.AddByAdders(run[1]);
      chains.c.AddByAdders(run[2]);
      chains.e.AddByAdders(run[3]);
    }
  }
  const internal::Extent extent = scan.Result();
  sum->parts = chains.Result(plan);
  sum->runs_hold = internal::AreExactInRuns(extent);
  sum->parts.exact =
      internal::IsProven(sum->top, extent, n) && (!kInRuns || sum->runs_hold) && check.Holds();
  sum->measured_top = extent.zero ? sum->top : extent.top;
}

template <class Formula>
void RunOnePass(const double* parameters, const float* const* operands, size_t n, OnePassSum* sum) {
  const Formula formula(parameters);
  if constexpr (IsHeavy<Formula>()) {
    if (sum->in_runs) return AddOnePass<true>(formula, operands, n, sum);
  }
  sum->in_runs = false;  // cheap formulas are bound by memory without
  AddOnePass<false>(formula, operands, n, sum);
}

// One vector of the gradient of one operand, at an aligned address if it is streamed.
template <int kOperand, bool kStreams, class Formula, class D, class T>
HWY_INLINE void StoreGradient(const Formula& formula, D d, const T* const* operands, size_t i,
                              const T* scales, T* gradient) {
  using V = hn::Vec<D>;
  const V a = hn::LoadU(d, operands[0] + i);
  V derivative;
  if constexpr (Formula::kOperands == 1) {
    derivative = formula.template Gradient<kOperand>(d, a);
  } else if constexpr (Formula::kOperands == 2) {
    derivative = formula.template Gradient<kOperand>(d, a, hn::LoadU(d, operands[1] + i));
  } else {
    derivative = formula.template Gradient<kOperand>(d, a, hn::LoadU(d, operands[1] + i),
                                                     hn::LoadU(d, operands[2] + i));
  }
  const V scale = hn::LoadU(d, scales + i);
  const V scaled = CanonicalNan(d, hn::Mul(scale, derivative));
  const V stored = hn::IfThenZeroElse(hn::Eq(scale, hn::Zero(d)), scaled);
  if constexpr (kStreams) {
    hn::Stream(stored, d, gradient + i);
  } else {
    hn::StoreU(stored, d, gradient + i);
  }
}

// Elements [begin, end), fewer than a vector, on padded copies.
template <int kOperand, class Formula, class T>
void StorePartOfVector(const Formula& formula, const T* const* operands, size_t begin, size_t end,
                       const T* scales, T* gradient) {
  constexpr int kOperands = Formula::kOperands;
  const hn::ScalableTag<T> d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  const size_t bytes = (end - begin) * sizeof(T);
  HWY_ALIGN T padded[kOperands + 2][kLanes] = {};
  const T* padded_operands[kOperands];
  for (int o = 0; o < kOperands; ++o) {
    std::memcpy(padded[o], operands[o] + begin, bytes);
    padded_operands[o] = padded[o];
  }
  std::memcpy(padded[kOperands], scales + begin, bytes);
  StoreGradient<kOperand, false>(formula, d, padded_operands, 0, padded[kOperands],
                                 padded[kOperands + 1]);
  std::memcpy(gradient + begin, padded[kOperands + 1], bytes);
}

template <int kOperand, class Formula, class T>
void RunGradientOf(const Formula& formula, const T* const* operands, size_t n, const T* scales,
                   bool streams, T* gradient) {
  const hn::ScalableTag<T> d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  constexpr size_t kLine = 64 / sizeof(T);
  const size_t beyond = reinterpret_cast<uintptr_t>(gradient) % 64;
  size_t i = 0;
  if (streams && beyond % sizeof(T) == 0) {
    // Whole lines, since a part of one is written at the price of reading it.
    const size_t head = HWY_MIN((64 - beyond) % 64 / sizeof(T), n);
    for (size_t j = 0; j < head; j += kLanes) {
      StorePartOfVector<kOperand>(formula, operands, j, HWY_MIN(j + kLanes, head), scales,
                                  gradient);
    }
    for (i = head; i + kLine <= n; i += kLine) {
      Prefetch(operands, Formula::kOperands, i, kLine);
      for (size_t j = 0; j < kLine; j += kLanes) {
        StoreGradient<kOperand, true>(formula, d, operands, i + j, scales, gradient);
      }
    }
    hwy::FlushStream();
  }
  for (; i + kLanes <= n; i += kLanes) {
    StoreGradient<kOperand, false>(formula, d, operands, i, scales, gradient);
  }
  if (i < n) StorePartOfVector<kOperand>(formula, operands, i, n, scales, gradient);
}

template <class Formula, class T>
void RunElementwiseGradients(const double* parameters, const T* const* operands, size_t n,
                             const T* scales, bool streams, T* const* gradients) {
  const Formula formula(parameters);
  const auto run = [&]<int kOperand>() {
    if constexpr ((Formula::kGradients >> kOperand & 1) != 0) {
      if (gradients[kOperand] == nullptr) return;
      RunGradientOf<kOperand>(formula, operands, n, scales, streams, gradients[kOperand]);
    }
  };
  run.template operator()<0>();
  run.template operator()<1>();
  run.template operator()<2>();
}

// The kernels of a formula, and of the one that adds its items in one pass where that is another:
// without an optional third operand.
template <template <class> class Formula, template <class> class OnePass = Formula>
constexpr Kernels Elementwise() {
  Kernels kernels;
  kernels.elementwise.f32 = RunElementwise<Formula<float>, float>;
  kernels.elementwise.f64 = RunElementwise<Formula<double>, double>;
  if constexpr (requires { OnePass<float>::kOnePass; }) {
    static_assert(OnePass<float>::kOperands == 2 && PartsOf<OnePass<float>>() == 1);
    kernels.elementwise.one_pass_f32 = RunOnePass<OnePass<float>>;
    kernels.elementwise.one_pass_checks_targets = requires { OnePass<float>::kOrdinaryPrediction; };
  }
  if constexpr (requires { Formula<float>::kGradients; }) {
    kernels.elementwise.gradient_f32 = RunElementwiseGradients<Formula<float>, float>;
    kernels.elementwise.gradient_f64 = RunElementwiseGradients<Formula<double>, double>;
    kernels.elementwise.gradients = Formula<float>::kGradients;
  }
  kernels.elementwise.operands = Formula<float>::kOperands;
  kernels.elementwise.parts = PartsOf<Formula<float>>();
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
