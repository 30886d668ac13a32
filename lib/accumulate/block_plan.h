// How a block of terms is added without rounding: the bounds of block_sum-inl.h in one place.
//
// Purpose: ordinary integer code that every SIMD target shares; internal to lib/accumulate.
// Thread-safety: pure functions.
// Ownership: none.

#ifndef LOSSD_LIB_ACCUMULATE_BLOCK_PLAN_H_
#define LOSSD_LIB_ACCUMULATE_BLOCK_PLAN_H_

#include <bit>
#include <cstddef>
#include <cstdint>

namespace lossd::internal {

// 1, in another unit: a compiler that saw its value would turn a multiplier's MulAdd(x, 1, y) into
// an addition for the adders.
extern const double kOne;

// Every term is a multiple of 2^unit, and below 2^top in magnitude.
struct Extent {
  bool finite = true;
  bool zero = false;  // All terms are zero; `top` and `unit` mean nothing.
  int top = 0;
  int unit = 0;
};

// From the magnitude bits of floats: the largest, the least non-zero one less 1, and the union.
inline Extent Extent32(uint32_t largest, uint32_t least_less_one, uint32_t united) {
  constexpr uint32_t kImplicit = uint32_t{1} << 23;
  Extent extent;
  extent.finite = largest < 0x7f800000;
  extent.zero = largest == 0;
  const int high = static_cast<int>(largest >> 23);
  const int low = static_cast<int>((least_less_one + 1) >> 23);
  // Exponent field 0 has the scale of field 1. Trailing zeros of the union are zeros of every
  // mantissa, and no mantissa has more than the leading bit's 23.
  extent.top = (high != 0 ? high : 1) - 126;
  extent.unit =
      (low != 0 ? low : 1) - 150 + std::countr_zero((united & (kImplicit - 1)) | kImplicit);
  return extent;
}

// From the magnitude bits of doubles: the largest, (the least non-zero one less 1) / 2 rounded
// down, and the union.
inline Extent Extent64(uint64_t largest, uint64_t halved, uint64_t united) {
  constexpr uint64_t kImplicit = uint64_t{1} << 52;
  Extent extent;
  extent.finite = largest < (uint64_t{0x7ff} << 52);
  extent.zero = largest == 0;
  const int high = static_cast<int>(largest >> 52);
  const int low = static_cast<int>((2 * halved + 1) >> 52);
  extent.top = (high != 0 ? high : 1) - 1022;
  extent.unit =
      (low != 0 ? low : 1) - 1075 + std::countr_zero((united & (kImplicit - 1)) | kImplicit);
  return extent;
}

// Of the exact products of two sets of factors.
inline Extent ExtentOfProducts(const Extent& a, const Extent& b) {
  Extent extent;
  extent.finite = a.finite && b.finite;
  extent.zero = a.zero || b.zero;
  extent.top = a.top + b.top;
  extent.unit = a.unit + b.unit;
  return extent;
}

enum class BlockWay { kZero, kPlain, kChain2, kChain3, kUnprovable };

struct BlockPlan {
  BlockWay way = BlockWay::kUnprovable;
  size_t run =
      1;  // Vectors that may be added plainly before they enter the chain: a power of 2, or n.
  double start[2] = {0, 0};  // M of the first and of the second chain.
};

// 1.5 * 2^(52 + exponent), for an exponent of -1074 to 971.
inline double ChainStart(int exponent) {
  return std::bit_cast<double>((static_cast<uint64_t>(exponent + 52 + 1023) << 52) |
                               (uint64_t{1} << 51));
}

// n <= 2^LogTerms(n).
inline int LogTerms(size_t n) { return n > 2 ? static_cast<int>(std::bit_width(n - 1)) : 1; }

// The start of a chain of two for n terms that are taken to be below 2^top, before they are known.
inline double AssumedStart(int top, size_t n) {
  const int u = top + LogTerms(n) - 51;
  return ChainStart(u < -1074 ? -1074 : u);
}

// Whether that chain did not round, now that the extent of its terms is known.
inline bool IsProven(int top, const Extent& extent, size_t n) {
  if (!extent.finite || top > 1000 || (!extent.zero && extent.top > top)) return false;
  const int b = LogTerms(n);
  const int u = top + b - 51;
  return extent.zero || (u < -1074 ? -1074 : u) + b - 1 <= 53 + extent.unit;
}

// Vectors whose items a one-pass sum adds plainly before they enter the chain, if they are fine
// enough.
inline constexpr int kLogRun = 3;
inline bool AreExactInRuns(const Extent& extent) {
  return extent.zero || extent.top - extent.unit + kLogRun <= 53;
}

inline BlockPlan PlanBlock(const Extent& extent, size_t n) {
  constexpr int kLowest = -1074;
  BlockPlan plan;
  if (!extent.finite) return plan;
  if (extent.zero) {
    plan.way = BlockWay::kZero;
    return plan;
  }
  const int b = LogTerms(n);
  if (extent.top + b > 1022) return plan;  // Nor may any sum or M overflow.
  const int span = extent.top - extent.unit;
  int u = extent.top + b - 51;
  if (u < kLowest) u = kLowest;
  plan.start[0] = ChainStart(u);
  if (span + b <= 53) {  // A chain of two would do as well: its rests are zero or as small.
    plan.way = BlockWay::kPlain;
    plan.run = n;
    return plan;
  }
  if (u + b - 1 <= 53 + extent.unit) {
    plan.way = BlockWay::kChain2;
    if (span < 53) plan.run = size_t{1} << (53 - span);
    return plan;
  }
  int u2 = u + b - 52;
  if (u2 < kLowest) u2 = kLowest;
  if (u2 + b - 1 > 53 + extent.unit) return plan;
  plan.start[1] = ChainStart(u2);
  plan.way = BlockWay::kChain3;
  return plan;
}

}  // namespace lossd::internal

#endif  // LOSSD_LIB_ACCUMULATE_BLOCK_PLAN_H_
