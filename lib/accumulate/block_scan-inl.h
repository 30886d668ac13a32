// How large and how fine the terms of a block are, for one SIMD target.
//
// Purpose: the scan that block_sum-inl.h plans by, and the folding of a vector to one value.
// Thread-safety: pure functions.
// Ownership: none.

#if defined(LOSSD_LIB_ACCUMULATE_BLOCK_SCAN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_ACCUMULATE_BLOCK_SCAN_INL_H_
#undef LOSSD_LIB_ACCUMULATE_BLOCK_SCAN_INL_H_
#else
#define LOSSD_LIB_ACCUMULATE_BLOCK_SCAN_INL_H_
#endif

#include <hwy/highway.h>

#include <limits>

#include "lib/accumulate/block_plan.h"

HWY_BEFORE_NAMESPACE();
namespace lossd {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F64 = hn::ScalableTag<double>;
using F32 = hn::ScalableTag<float>;
using U64 = hn::ScalableTag<uint64_t>;
using U32 = hn::ScalableTag<uint32_t>;
using I64 = hn::ScalableTag<int64_t>;
using V64 = hn::Vec<F64>;
using internal::Extent;

// Folds a vector to one value by an associative and commutative operation.
template <class D, class V, class Op>
HWY_INLINE hn::TFromD<D> Fold(D d, V v, Op op) {
  if constexpr (hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) > 16) {
    const hn::Half<D> half;
    return Fold(half, op(half, hn::LowerHalf(half, v), hn::UpperHalf(half, v)), op);
  } else {
    constexpr size_t kLanes = 16 / sizeof(hn::TFromD<D>);
    HWY_ALIGN hn::TFromD<D> lanes[kLanes];
    hn::Store(v, d, lanes);
    const hn::CappedTag<hn::TFromD<D>, 1> one;
    auto result = hn::Load(one, lanes);
    for (size_t i = 1; i < kLanes; ++i) result = op(one, result, hn::LoadU(one, lanes + i));
    return hn::GetLane(result);
  }
}

struct AddOp {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Add(a, b);
  }
};
struct MaxOp {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Max(a, b);
  }
};
struct MinOp {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Min(a, b);
  }
};
struct OrOp {
  template <class D, class V>
  HWY_INLINE V operator()(D, V a, V b) const {
    return hn::Or(a, b);
  }
};

// Largest, least non-zero and, if asked, united bits of the magnitudes of floats. Integers
// throughout: NaN and infinity are just the largest. The union is one operation of five, and tells
// how short the mantissas are: worth it for weights, which often are 1 or small integers.
template <bool kUnited>
class Scan32 {
 public:
  // Written out: an implicit constructor is not compiled for the target.
  HWY_INLINE Scan32()
      : max_(hn::Zero(U32())), min_(hn::Set(U32(), ~uint32_t{0})), united_(hn::Zero(U32())) {}
  HWY_INLINE void Update(const float* x) { UpdateVector(hn::LoadU(F32(), x)); }
  HWY_INLINE void UpdateVector(hn::Vec<F32> x) {
    const U32 d;
    const auto magnitude = hn::And(hn::BitCast(d, x), hn::Set(d, uint32_t{0x7fffffff}));
    max_ = hn::Max(max_, magnitude);
    // Zero becomes the largest of all.
    min_ = hn::Min(min_, hn::Sub(magnitude, hn::Set(d, uint32_t{1})));
    if constexpr (kUnited) united_ = hn::Or(united_, magnitude);
  }
  HWY_INLINE void Merge(const Scan32& other) {
    max_ = hn::Max(max_, other.max_);
    min_ = hn::Min(min_, other.min_);
    united_ = hn::Or(united_, other.united_);
  }
  HWY_INLINE Extent Result() const {
    const U32 d;
    const uint32_t united = kUnited ? Fold(d, united_, OrOp()) : 1;
    return internal::Extent32(Fold(d, max_, MaxOp()), Fold(d, min_, MinOp()), united);
  }

 private:
  hn::Vec<U32> max_;
  hn::Vec<U32> min_;
  hn::Vec<U32> united_;
};

// The same of doubles. Signed comparisons, as AVX2 has no others for 64 bits.
class Scan64 {
 public:
  HWY_INLINE Scan64()
      : max_(hn::Zero(I64())),
        min_(hn::Set(I64(), std::numeric_limits<int64_t>::max())),
        united_(hn::Zero(I64())) {}
  HWY_INLINE void Update(V64 x) {
    const I64 d;
    const auto magnitude =
        hn::And(hn::BitCast(d, x), hn::Set(d, std::numeric_limits<int64_t>::max()));
    max_ = hn::Max(max_, magnitude);
    // Zero becomes the largest of all, at the price of the lowest bit of the others.
    const U64 u;
    const auto less = hn::Sub(hn::BitCast(u, magnitude), hn::Set(u, uint64_t{1}));
    min_ = hn::Min(min_, hn::BitCast(d, hn::ShiftRight<1>(less)));
    united_ = hn::Or(united_, magnitude);
  }
  HWY_INLINE void Merge(const Scan64& other) {
    max_ = hn::Max(max_, other.max_);
    min_ = hn::Min(min_, other.min_);
    united_ = hn::Or(united_, other.united_);
  }
  HWY_INLINE Extent Result() const {
    const I64 d;
    return internal::Extent64(static_cast<uint64_t>(Fold(d, max_, MaxOp())),
                              static_cast<uint64_t>(Fold(d, min_, MinOp())),
                              static_cast<uint64_t>(Fold(d, united_, OrOp())));
  }

 private:
  hn::Vec<I64> max_;
  hn::Vec<I64> min_;
  hn::Vec<I64> united_;
};

}  // namespace HWY_NAMESPACE
}  // namespace lossd
HWY_AFTER_NAMESPACE();

#endif
