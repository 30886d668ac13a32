// The log-sum-exp of rows of few classes, one row a lane: the arithmetic of softmax-inl.h, class by
// class in place of lane by lane.
//
// With at most 256 classes the fixed layout is simple: virtual lane i adds up classes i, i + 32,
// i + 64, ... in that order (no group of 8 steps ends before), and the tree follows. Virtual lanes
// without a class hold 0, which changes no sum of terms that are at least 0.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_NARROW_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_NARROW_ROWS_INL_H_
#undef LOSSD_LIB_FORMS_NARROW_ROWS_INL_H_
#else
#define LOSSD_LIB_FORMS_NARROW_ROWS_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/rowwise-inl.h"
#include "lib/forms/softmax-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Beyond it the lanes of a row are full enough.
inline constexpr size_t kNarrowWidth = 64;
static_assert(kNarrowWidth <= kGroupSteps * kVirtualLanes);

// Classes that are transposed at a time: those of 16 bytes, the width within which processors
// interleave.
template <class T>
inline constexpr size_t kClassQuad = 16 / sizeof(T);

// The 16 bytes at p, at p + stride, ...: one after the other, a vector of D.
template <class D, class T>
HWY_INLINE hn::Vec<D> LoadQuads(D d, const T* p, size_t stride) {
  if constexpr (hn::MaxLanes(d) == kClassQuad<T>) {
    return hn::LoadU(d, p);
  } else {
    const hn::Half<D> half;
    constexpr size_t kQuads = hn::MaxLanes(half) / kClassQuad<T>;
    return hn::Combine(d, LoadQuads(half, p + kQuads * stride, stride), LoadQuads(half, p, stride));
  }
}

// A vector of each of the classes at p; row r is at p + r * width. Row 4 b + k is block b of vector
// k (of f64: 2 b + k), and then the blocks are transposed.
template <class D, class V, class T>
HWY_INLINE void TransposeQuad(D d, const T* p, size_t width, V (&out)[kClassQuad<T>]) {
  const size_t stride = kClassQuad<T> * width;
  V rows[kClassQuad<T>];
  for (size_t k = 0; k < kClassQuad<T>; ++k) rows[k] = LoadQuads(d, p + k * width, stride);
  if constexpr (sizeof(T) == 8) {
    out[0] = hn::InterleaveLower(d, rows[0], rows[1]);
    out[1] = hn::InterleaveUpper(d, rows[0], rows[1]);
  } else {
    const hn::RepartitionToWide<D> wide;
    const auto low01 = hn::BitCast(wide, hn::InterleaveLower(d, rows[0], rows[1]));
    const auto low23 = hn::BitCast(wide, hn::InterleaveLower(d, rows[2], rows[3]));
    const auto high01 = hn::BitCast(wide, hn::InterleaveUpper(d, rows[0], rows[1]));
    const auto high23 = hn::BitCast(wide, hn::InterleaveUpper(d, rows[2], rows[3]));
    out[0] = hn::BitCast(d, hn::InterleaveLower(wide, low01, low23));
    out[1] = hn::BitCast(d, hn::InterleaveUpper(wide, low01, low23));
    out[2] = hn::BitCast(d, hn::InterleaveLower(wide, high01, high23));
    out[3] = hn::BitCast(d, hn::InterleaveUpper(wide, high01, high23));
  }
}

// A vector of rows of kNarrowWidth classes at most: a vector a class.
template <class T>
class NarrowRows {
 public:
  // Reads a vector of rows from x on; where x has room for `rows` of them only, the others are 0.
  NarrowRows(const T* x, size_t rows, size_t width) : width_(width) {
    constexpr size_t kQuad = kClassQuad<T>;
    HWY_ALIGN T padded[kNarrowWidth * kLanes + kQuad];
    if (rows < kLanes || width < kQuad) {
      std::memset(padded, 0, (width * kLanes + kQuad) * sizeof(T));
      std::memcpy(padded, x, HWY_MIN(rows, kLanes) * width * sizeof(T));
      x = padded;
    }
    max_ = hn::Set(D(), -std::numeric_limits<T>::infinity());
    for (size_t c = 0; c < width; c += kQuad) {
      // The last classes together with some before them, which are there twice then.
      const size_t begin = c + kQuad <= width || width < kQuad ? c : width - kQuad;
      V quad[kQuad];
      TransposeQuad(D(), x + begin, width, quad);
      for (size_t k = 0; k < kQuad && begin + k < width; ++k) {
        max_ = LargerUnlessNan(D(), quad[k], max_);
        hn::Store(quad[k], D(), classes_ + (begin + k) * kLanes);
      }
    }
  }

  // Puts the statistics but the logarithm at rows `row`, `row + 1`, ... of `out`.
  void Sum(size_t row, size_t rows, const SoftmaxRows<T>& out) {
    at_max_ = hn::Zero(D());
    size_t c = 0;
    for (; c + 4 <= width_; c += 4) AddClasses<4>(c);
    for (; c < width_; ++c) AddClasses<1>(c);
    size_t lanes = HWY_MIN(width_, kVirtualLanes);
    for (size_t step = kVirtualLanes / 2; step > 0; step /= 2) {
      for (size_t i = 0; i + step < lanes; ++i) {
        const V sum = hn::Add(Class(i), Class(i + step));
        hn::Store(sum, D(), classes_ + i * kLanes);
      }
      lanes = HWY_MIN(lanes, step);
    }
    const size_t count = HWY_MIN(rows, kLanes);
    RowStore(out.max + row)(max_, 0, count);
    RowStore(out.at_max + row)(at_max_, 0, count);
    RowStore(out.rest + row)(Class(0), 0, count);
  }

 private:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  static constexpr size_t kLanes = kVectorLanes<T>;

  HWY_INLINE V Class(size_t c) const { return hn::Load(D(), classes_ + c * kLanes); }

  // Classes [c, c + kCount) become the terms of their virtual lanes.
  template <size_t kCount>
  HWY_INLINE void AddClasses(size_t c) {
    const D d;
    V below[kCount], terms[kCount];
    auto common = hn::FirstN(d, kLanes);
    for (size_t k = 0; k < kCount; ++k) {
      below[k] = hn::Sub(Class(c + k), max_);
      const auto is_max = hn::Eq(below[k], hn::Zero(d));
      at_max_ = hn::Add(at_max_, hn::IfThenElseZero(is_max, hn::Set(d, T(1))));
      common = hn::And(common, hn::Or(is_max, IsExpTerm(d, below[k])));
    }
    ExpTerms(d, below, terms);
    if (HWY_LIKELY(hn::AllTrue(d, common))) {
      for (size_t k = 0; k < kCount; ++k) {
        terms[k] = hn::IfThenZeroElse(hn::Eq(below[k], hn::Zero(d)), terms[k]);
      }
    } else {
      for (size_t k = 0; k < kCount; ++k) terms[k] = EndTerm(d, below[k], terms[k]);
    }
    for (size_t k = 0; k < kCount; ++k) {
      const size_t lane = (c + k) % kVirtualLanes;
      const V sum = lane == c + k ? terms[k] : hn::Add(Class(lane), terms[k]);
      hn::Store(sum, d, classes_ + lane * kLanes);
    }
  }

  const size_t width_;
  V max_, at_max_;
  HWY_ALIGN T classes_[kNarrowWidth * kLanes];
};

template <class T>
HWY_INLINE void LogSumExpNarrowRows(const T* x, size_t rows, size_t width,
                                    const SoftmaxRows<T>& out) {
  for (size_t row = 0; row < rows; row += kVectorLanes<T>) {
    NarrowRows<T>(x + row * width, rows - row, width).Sum(row, rows - row, out);
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
