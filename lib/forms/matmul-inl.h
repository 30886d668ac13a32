// Matrix products of fixed bits: every output is one chain of fused multiply-adds in the order of
// the summation index, whatever the tile, the blocks and the vector length. BLAS libraries differ
// in the last bits from kernel to kernel; this costs nothing against them.
//
// One factor stands in the lanes of vectors, the other is broadcast number by number; a tile of
// kRowTile by kPanelVectors vectors of outputs stays in registers. Where a panel has rows for one
// vector only, kThinTile of those do.
//
// Thread-safety: pure functions. Ownership: none; no pointer needs alignment.
#if defined(LOSSD_LIB_FORMS_MATMUL_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_MATMUL_INL_H_
#undef LOSSD_LIB_FORMS_MATMUL_INL_H_
#else
#define LOSSD_LIB_FORMS_MATMUL_INL_H_
#endif

#include <cstddef>

#include "hwy/highway.h"
#include "lib/forms/classifier_kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr size_t kPanelVectors = 2;
// Of 16 registers (AVX2) 12 hold outputs, of 32 (AVX-512, NEON) 24; two more take the vectors and
// one the broadcast number.
// kEvenRowTile divides a panel of rows.
#if HWY_TARGET == HWY_AVX2
inline constexpr size_t kRowTile = 6;
inline constexpr size_t kEvenRowTile = 4;
#else
inline constexpr size_t kRowTile = 12;
inline constexpr size_t kEvenRowTile = 8;
#endif
// Chains enough for the two times four cycles that multiply-adds take, and rows few enough that, a
// power of two apart, their lines fit one set of the first level cache.
inline constexpr size_t kThinTile = kThinClasses;

template <class T>
inline constexpr size_t kPanelRows = kPanelVectors* hn::MaxLanes(hn::ScalableTag<T>());

// The factor that is broadcast: number (row, k) is at numbers[row * row_step + k * k_step], but
// every `segment` of k begins segment_step after the one before.
template <class T>
struct BroadcastFactor {
  const T* numbers;
  size_t row_step;
  size_t k_step;
  size_t segment;
  size_t segment_step;
};

// out[row * out_stride + lane] (+)= sum over k < depth of a(row, k) x[k * x_stride + lane], for
// kRows rows and kVectors vectors of lanes. kAdd: the chain goes on from `out`. `fetch` prefetches
// what comes next, a little at a time: in one go it would hold up the loads of the product.
template <size_t kRows, size_t kVectors, bool kAdd, class T, class Fetch>
HWY_INLINE void MultiplyTile(const BroadcastFactor<T>& a, const T* HWY_RESTRICT x, size_t x_stride,
                             size_t depth, T* HWY_RESTRICT out, size_t out_stride, Fetch& fetch) {
  const hn::ScalableTag<T> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLanes = hn::MaxLanes(d);
  V sums[kRows][kVectors];
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      sums[r][v] = kAdd ? hn::LoadU(d, out + r * out_stride + v * kLanes) : hn::Zero(d);
    }
  }
  const T* HWY_RESTRICT segment = a.numbers;
  for (size_t start = 0; start < depth; start += a.segment, segment += a.segment_step) {
    const T* HWY_RESTRICT numbers = segment;
    const size_t end = HWY_MIN(depth - start, a.segment);
    for (size_t k = 0; k < end;) {
      fetch();
      for (const size_t stop = HWY_MIN(end, k + kAheadSteps); k < stop; ++k) {
        V lanes[kVectors];
        for (size_t v = 0; v < kVectors; ++v) lanes[v] = hn::LoadU(d, x + v * kLanes);
        for (size_t r = 0; r < kRows; ++r) {
          const V number = hn::Set(d, numbers[r * a.row_step]);
          for (size_t v = 0; v < kVectors; ++v) {
            sums[r][v] = hn::MulAdd(number, lanes[v], sums[r][v]);
          }
        }
        x += x_stride;
        numbers += a.k_step;
      }
    }
  }
  for (size_t r = 0; r < kRows; ++r) {
    for (size_t v = 0; v < kVectors; ++v) {
      hn::StoreU(sums[r][v], d, out + r * out_stride + v * kLanes);
    }
  }
}

// The same for any number of rows.
template <bool kAdd, size_t kRows, size_t kVectors, class T, class Fetch>
HWY_INLINE void MultiplyPanel(const BroadcastFactor<T>& a, size_t rows, const T* x, size_t x_stride,
                              size_t depth, T* out, size_t out_stride, Fetch& fetch) {
  size_t row = 0;
  for (; row + kRows <= rows; row += kRows) {
    BroadcastFactor<T> tile = a;
    tile.numbers += row * a.row_step;
    MultiplyTile<kRows, kVectors, kAdd>(tile, x, x_stride, depth, out + row * out_stride,
                                        out_stride, fetch);
  }
  if constexpr (kRows > 1) {
    if (row == rows) return;
    BroadcastFactor<T> rest = a;
    rest.numbers += row * a.row_step;
    MultiplyPanel<kAdd, kRows / 2, kVectors>(rest, rows - row, x, x_stride, depth,
                                             out + row * out_stride, out_stride, fetch);
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
