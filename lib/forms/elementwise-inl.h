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
// A cheap one with two operands says `static constexpr bool kOnePass = true`: its items are added
// as they are computed. It may have an `OrdinaryItem` beside Item, which equals it but for the sign
// of zero wherever it is finite: what is not takes the other way. One with kParts > 1 has
// `void Items(D d, V..., V* parts) const` instead.
// The result of a lane depends on that lane's operands alone; the tail runs the same code on a
// padded copy.
#if defined(LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#undef LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#else
#define LOSSD_LIB_FORMS_ELEMENTWISE_INL_H_
#endif

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

template <class Formula, class T>
void RunElementwise(const double* parameters, const T* const* operands, size_t n, T* const* items) {
  constexpr int kOperands = Formula::kOperands;
  constexpr int kParts = PartsOf<Formula>();
  const Formula formula(parameters);
  const hn::ScalableTag<T> d;
  const size_t lanes = hn::Lanes(d);
  constexpr size_t kLine = 64 / sizeof(T);  // a cache line, at least a vector
  size_t i = 0;
  for (; i + kLine <= n; i += kLine) {
    for (int o = 0; o < kOperands; ++o) {
      hwy::Prefetch(reinterpret_cast<const char*>(operands[o] + i) + kPrefetchBytes);
    }
    for (size_t j = 0; j < kLine; j += lanes) StoreItems(formula, d, operands, i + j, items);
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
  for (size_t j = 0; j < rest; j += lanes) StoreItems(formula, d, tail_operands, j, tail_items);
  for (int part = 0; part < kParts; ++part) {
    std::memcpy(items[part] + i, padded_items[part], rest * sizeof(T));
  }
}

template <class Formula, class D, class V>
HWY_INLINE V OrdinaryItem(const Formula& formula, D d, V a, V b) {
  if constexpr (requires { formula.OrdinaryItem(d, a, b); }) {
    return formula.OrdinaryItem(d, a, b);
  } else {
    return formula.Item(d, a, b);
  }
}

// Sums the items in one pass: a cheap formula is bound by memory, which would be idle while a
// second pass added the items. The chains start from an assumed largest item; the scan on the side
// proves afterwards that they did not round.
template <class Formula>
void RunOnePass(const double* parameters, const float* const* operands, size_t n, OnePassSum* sum) {
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<float>());
  constexpr size_t kStep = 2 * kLanes;  // four vectors of f64, one a chain
  const Formula formula(parameters);
  const hn::ScalableTag<float> d;
  const hn::Half<decltype(d)> half;
  const F64 wide;
  const V64 one = hn::Set(wide, internal::kOne);
  BlockPlan plan;
  plan.start[0] = internal::AssumedStart(sum->top, n);
  FourChains<2> chains(plan);
  Scan32<false> scan;
  for (size_t i = 0; i < n; i += kStep) {
    for (size_t byte = 0; byte < kStep * sizeof(float); byte += 64) {
      for (int o = 0; o < Formula::kOperands; ++o) {
        hwy::Prefetch(reinterpret_cast<const char*>(operands[o] + i) + byte + kPrefetchBytes);
      }
    }
    const auto item = [&](size_t at) HWY_ATTR {
      const auto prediction = hn::LoadU(d, operands[0] + at);
      return OrdinaryItem(formula, d, prediction, hn::LoadU(d, operands[1] + at));
    };
    const auto a = item(i);
    const auto b = item(i + kLanes);
    scan.UpdateVector(a);
    scan.UpdateVector(b);
    chains.a.template Add<true, true>({hn::PromoteTo(wide, hn::LowerHalf(half, a)), one}, one);
    chains.b.template Add<true, true>({hn::PromoteTo(wide, hn::UpperHalf(half, a)), one}, one);
    chains.c.template Add<true, true>({hn::PromoteTo(wide, hn::LowerHalf(half, b)), one}, one);
    chains.e.template Add<true, true>({hn::PromoteTo(wide, hn::UpperHalf(half, b)), one}, one);
  }
  const internal::Extent extent = scan.Result();
  sum->parts = chains.Result(plan);
  sum->parts.exact = internal::IsProven(sum->top, extent, n);
  sum->measured_top = extent.zero ? sum->top : extent.top;
}

// One vector of the gradient of one operand.
template <int kOperand, class Formula, class D, class T>
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
  hn::StoreU(hn::IfThenZeroElse(hn::Eq(scale, hn::Zero(d)), scaled), d, gradient + i);
}

template <int kOperand, class Formula, class T>
void RunGradientOf(const Formula& formula, const T* const* operands, size_t n, const T* scales,
                   T* gradient) {
  constexpr int kOperands = Formula::kOperands;
  const hn::ScalableTag<T> d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    StoreGradient<kOperand>(formula, d, operands, i, scales, gradient);
  }
  if (i == n) return;
  HWY_ALIGN T padded[kOperands + 2][kLanes] = {};
  const T* tail_operands[kOperands];
  for (int o = 0; o < kOperands; ++o) {
    std::memcpy(padded[o], operands[o] + i, (n - i) * sizeof(T));
    tail_operands[o] = padded[o];
  }
  std::memcpy(padded[kOperands], scales + i, (n - i) * sizeof(T));
  StoreGradient<kOperand>(formula, d, tail_operands, 0, padded[kOperands], padded[kOperands + 1]);
  std::memcpy(gradient + i, padded[kOperands + 1], (n - i) * sizeof(T));
}

template <class Formula, class T>
void RunElementwiseGradients(const double* parameters, const T* const* operands, size_t n,
                             const T* scales, T* const* gradients) {
  const Formula formula(parameters);
  if constexpr ((Formula::kGradients & 1) != 0) {
    if (gradients[0] != nullptr) RunGradientOf<0>(formula, operands, n, scales, gradients[0]);
  }
  if constexpr ((Formula::kGradients & 2) != 0) {
    if (gradients[1] != nullptr) RunGradientOf<1>(formula, operands, n, scales, gradients[1]);
  }
  if constexpr ((Formula::kGradients & 4) != 0) {
    if (gradients[2] != nullptr) RunGradientOf<2>(formula, operands, n, scales, gradients[2]);
  }
}

// The kernels of a formula.
template <template <class> class Formula>
constexpr Kernels Elementwise() {
  Kernels kernels;
  kernels.elementwise.f32 = RunElementwise<Formula<float>, float>;
  kernels.elementwise.f64 = RunElementwise<Formula<double>, double>;
  if constexpr (requires { Formula<float>::kOnePass; }) {
    static_assert(Formula<float>::kOperands == 2 && PartsOf<Formula<float>>() == 1);
    kernels.elementwise.one_pass_f32 = RunOnePass<Formula<float>>;
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
