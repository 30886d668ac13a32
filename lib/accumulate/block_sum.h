// Exact sums of one block of values by SIMD.
//
// Purpose: the kernels add a block of at most kMaxBlockItems values without any rounding and return
// the exact sum as up to three doubles, so that a small block never needs an ExactSum and a large
// sum pays for one addition of three doubles a block. AddBlock and the Quotient functions below are
// what callers use. The sum is exact, hence the same for every target, order and block split.
//
// A kernel first scans its block for the largest magnitude and the lowest bit set, then picks the
// cheapest way that provably does not round; it keeps no state from block to block. Where nothing
// is provable (a spread of more than about 2^75 in one block, values near overflow, NaN, infinity)
// it says so and AddBlock adds item by item.
//
// Assumes round-to-nearest-even, no flush-to-zero and no denormals-are-zero.
//
// Thread-safety: pure functions. hwy::SetSupportedTargetsForTest makes earlier tables stale.
// Ownership: none; inputs need no alignment and are not read beyond n items.

#ifndef LOSSD_LIB_ACCUMULATE_BLOCK_SUM_H_
#define LOSSD_LIB_ACCUMULATE_BLOCK_SUM_H_

#include <cstddef>
#include <cstdint>

#include "lib/accumulate/exact_sum.h"

namespace lossd {

// The block that callers use: 4 KiB of floats leave L1 to what produces them.
inline constexpr size_t kBlockItems = 1024;
// Kernels take blocks up to this; more is not provable as often.
inline constexpr size_t kMaxBlockItems = 4096;

// part[0] + part[1] + part[2] is the sum, exactly, if `exact`; else the parts mean nothing. Exact
// implies that every item, weight and term was finite.
struct ExactParts {
  double part[3] = {0, 0, 0};
  bool exact = true;
};

// Sums of the items and of their squares.
struct MomentParts {
  ExactParts sum;
  ExactParts square;
};

// Memory that the caller reads after this block, as many bytes of each stream as the block has: a
// kernel fetches it into the cache in step with its own work, so that memory is not idle meanwhile.
// Null: nothing to fetch.
struct Upcoming {
  const std::byte* streams[2] = {nullptr, nullptr};
};

// All kernels want n <= kMaxBlockItems; n = 0 gives zero.
struct SumKernels {
  int64_t target;  // The HWY_ bit of the instruction set that runs.
  ExactParts (*sum_f32)(const float* x, size_t n, const Upcoming& next);
  ExactParts (*product_f32)(const float* x, const float* w, size_t n);  // x * w as f64, exact.
  ExactParts (*square_f32)(const float* x, size_t n);                   // x * x as f64, exact.
  // sum_f32 and square_f32 in one pass.
  MomentParts (*moments_f32)(const float* x, size_t n, const Upcoming& next);
  ExactParts (*sum_f64)(const double* x, size_t n, const Upcoming& next);
  ExactParts (*product_f64)(const double* x, const double* w, size_t n);  // x * w rounded to f64.
  ExactParts (*square_f64)(const double* x, size_t n);                    // x * x rounded to f64.
  MomentParts (*moments_f64)(const double* x, size_t n, const Upcoming& next);
};

// The table of the best target of this processor; 4 ns, so fetch it once.
const SumKernels& GetSumKernels();

// Adds the parts. Requires parts.exact.
void Add(const ExactParts& parts, ExactSum* sum);

// Adds a block of any length and any values: in pieces of kBlockItems by the kernels, item by item
// where those decline.
void AddBlock(const SumKernels& kernels, const float* x, size_t n, ExactSum* sum);
void AddBlock(const SumKernels& kernels, const double* x, size_t n, ExactSum* sum);
// Terms f64(x * w).
void AddProductBlock(const SumKernels& kernels, const float* x, const float* w, size_t n,
                     ExactSum* sum);
void AddProductBlock(const SumKernels& kernels, const double* x, const double* w, size_t n,
                     ExactSum* sum);
// Terms f64(x * x).
void AddSquareBlock(const SumKernels& kernels, const float* x, size_t n, ExactSum* sum);
void AddSquareBlock(const SumKernels& kernels, const double* x, size_t n, ExactSum* sum);

// The correctly rounded sum, as ExactSum::Round. Requires parts.exact.
double Round(const ExactParts& parts);

// Correctly rounded quotients, as those of rational.h. Require `exact`.
double QuotientByCount(const ExactParts& numerator, int64_t count);
double Quotient(const ExactParts& numerator, const ExactParts& denominator);

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_BLOCK_SUM_H_
