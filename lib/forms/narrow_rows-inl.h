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
inline constexpr size_t kNarrowWidth = 128;
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

// Vectors of classes that are worked on at a time: some of each vector of rows, so that one's long
// chain of operations does not wait for another's, and no more than half of L1.
inline constexpr size_t kNarrowBatch = 256;

// A vector of each class of a vector of rows: they become terms and then sums where they are.
template <class T>
class ClassesOfRows {
 public:
  using D = hn::ScalableTag<T>;
  using V = hn::Vec<D>;
  using DU = hn::RebindToUnsigned<D>;
  using VU = hn::Vec<DU>;

  ClassesOfRows(T* values, size_t width) : values_(values), width_(width) {}

  // Reads the rows at x; returns the largest logit of each.
  HWY_INLINE V Read(const T* x) {
    constexpr size_t kQuad = kClassQuad<T>;
    V max = hn::Set(D(), -std::numeric_limits<T>::infinity());
    for (size_t c = 0; c < width_; c += kQuad) {
      // The last classes together with some before them, which are there twice then.
      const size_t begin = c + kQuad <= width_ || width_ < kQuad ? c : width_ - kQuad;
      V quad[kQuad];
      TransposeQuad(D(), x + begin, width_, quad);
      for (size_t k = 0; k < kQuad && begin + k < width_; ++k) {
        PrefetchRow(x + (begin + k) * kVectorLanes<T>);  // a vector a class
        max = LargerUnlessNan(D(), quad[k], max);
        Set(begin + k, quad[k]);
      }
    }
    return max;
  }

  // Makes the logits terms; returns the number of those at the maximum. Without kEnds the terms are
  // right up to `farthest`, the largest distance from the maximum: see Distance.
  template <bool kEnds>
  HWY_INLINE V MakeTerms(V max, VU* farthest) {
    V at_max = hn::Zero(D());
    size_t c = 0;
    for (; c + 4 <= width_; c += 4) MakeTermsOf<kEnds, 4>(max, c, &at_max, farthest);
    if (width_ - c >= 2) {
      MakeTermsOf<kEnds, 2>(max, c, &at_max, farthest);
      c += 2;
    }
    if (c < width_) MakeTermsOf<kEnds, 1>(max, c, &at_max, farthest);
    return at_max;
  }

  // The bits without the sign, doubled: a distance rises with them, up to NaN.
  static HWY_INLINE VU Distance(V below) {
    const VU bits = hn::BitCast(DU(), below);
    return hn::Add(bits, bits);
  }

  // The sums of the terms, in the fixed layout.
  HWY_INLINE V AddTerms() const { return AddLanes<1>(0, HWY_MIN(width_, kVirtualLanes)); }

 private:
  HWY_INLINE V Get(size_t c) const { return hn::Load(D(), values_ + c * kVectorLanes<T>); }
  HWY_INLINE void Set(size_t c, V v) { hn::Store(v, D(), values_ + c * kVectorLanes<T>); }

  // What the tree makes of virtual lanes i, i + kStep, i + 2 kStep, ..., of `lanes` in all.
  template <size_t kStep>
  HWY_INLINE V AddLanes(size_t i, size_t lanes) const {
    if constexpr (kStep == kVirtualLanes) {
      V sum = Get(i);
      for (size_t c = i + kVirtualLanes; c < width_; c += kVirtualLanes) sum = hn::Add(sum, Get(c));
      return sum;
    } else {
      const V low = AddLanes<2 * kStep>(i, lanes);
      return i + kStep < lanes ? hn::Add(low, AddLanes<2 * kStep>(i + kStep, lanes)) : low;
    }
  }

  template <bool kEnds, size_t kCount>
  HWY_INLINE void MakeTermsOf(V max, size_t c, V* at_max, VU* farthest) {
    const D d;
    V below[kCount], terms[kCount];
    for (size_t k = 0; k < kCount; ++k) below[k] = hn::Sub(Get(c + k), max);
    ExpTerms(d, below, terms);
    for (size_t k = 0; k < kCount; ++k) {
      const auto is_max = hn::Eq(below[k], hn::Zero(d));
      *at_max = hn::IfThenElse(is_max, hn::Add(*at_max, hn::Set(d, T(1))), *at_max);
      Set(c + k, kEnds ? EndTerm(d, below[k], terms[k]) : hn::IfThenZeroElse(is_max, terms[k]));
      *farthest = hn::Max(*farthest, Distance(below[k]));
    }
  }

  T* const values_;
  const size_t width_;
};

// The sums of `vectors` vectors of rows at x, and all statistics but the logarithm to `out` from
// `row` on.
template <bool kEnds, class T>
HWY_INLINE bool SumBatch(const T* x, size_t vectors, size_t width, size_t row,
                         const SoftmaxRows<T>& out) {
  const hn::ScalableTag<T> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  constexpr size_t kLanes = kVectorLanes<T>;
  HWY_ALIGN T values[kNarrowBatch * kLanes];
  const auto classes = [&](size_t v) HWY_ATTR {
    return ClassesOfRows<T>(values + v * width * kLanes, width);
  };
  for (size_t v = 0; v < vectors; ++v) {
    const auto max = classes(v).Read(x + v * width * kLanes);
    hn::StoreU(max, d, out.max + row + v * kLanes);
  }
  auto farthest = hn::Zero(du);
  for (size_t v = 0; v < vectors; ++v) {
    const auto max = hn::LoadU(d, out.max + row + v * kLanes);
    const auto at_max = classes(v).template MakeTerms<kEnds>(max, &farthest);
    hn::StoreU(at_max, d, out.at_max + row + v * kLanes);
  }
  for (size_t v = 0; v < vectors; ++v) {
    hn::StoreU(classes(v).AddTerms(), d, out.rest + row + v * kLanes);
  }
  const auto low = hn::Set(d, MathConstants<T>::kExpNormalLow);
  return hn::AllTrue(du, hn::Lt(farthest, ClassesOfRows<T>::Distance(low)));
}

// The statistics but the logarithm of rows [0, rows) of x.
template <class T>
HWY_INLINE void LogSumExpNarrowRows(const T* x, size_t rows, size_t width,
                                    const SoftmaxRows<T>& out) {
  constexpr size_t kLanes = kVectorLanes<T>;
  // A last vector that is not full, and rows shorter than what is read at a time, with room behind.
  HWY_ALIGN T padded[kNarrowWidth * kLanes + kClassQuad<T>];
  const size_t most = kNarrowBatch / width;
  for (size_t row = 0; row < rows;) {
    const size_t whole = (rows - row) / kLanes;
    size_t vectors = HWY_MIN(whole, most);
    const T* from = x + row * width;
    if (whole == 0 || width < kClassQuad<T>) {
      vectors = 1;
      std::memset(padded, 0, (width * kLanes + kClassQuad<T>)*sizeof(T));
      std::memcpy(padded, from, HWY_MIN(rows - row, kLanes) * width * sizeof(T));
      from = padded;
    }
    const bool ordinary = SumBatch<false>(from, vectors, width, row, out);
    if (HWY_UNLIKELY(!ordinary)) SumBatch<true>(from, vectors, width, row, out);
    row += vectors * kLanes;
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
