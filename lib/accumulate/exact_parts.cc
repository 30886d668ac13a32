// The part of block_sum.h that needs no SIMD: what becomes of the exact parts of a block. Kept out
// of the kernels' unit, so that no function shared with other units is compiled there.

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "lib/accumulate/block_plan.h"
#include "lib/accumulate/block_sum.h"
#include "lib/accumulate/rational.h"
#include "lib/accumulate/rounding.h"

namespace lossd {

const double internal::kOne = 1;

namespace {

using internal::Uint128;

// a + b = sum + error, exactly (Knuth), while nothing overflows.
struct TwoSum {
  double sum;
  double error;
};

TwoSum AddExactly(double a, double b) {
  const double sum = a + b;
  const double b_rounded = sum - a;
  return {sum, (a - (sum - b_rounded)) + (b - b_rounded)};
}

// a + b rounded to odd: where inexact, the neighbour whose last bit is set.
double AddToOdd(double a, double b) {
  const TwoSum exact = AddExactly(a, b);
  uint64_t bits = std::bit_cast<uint64_t>(exact.sum);
  if (exact.error == 0 || (bits & 1) != 0) return exact.sum;
  bits += (exact.error > 0) == (exact.sum > 0) ? uint64_t{1} : ~uint64_t{0};
  return std::bit_cast<double>(bits);
}

ExactSum ToSum(const ExactParts& parts) {
  ExactSum sum;
  Add(parts, &sum);
  return sum;
}

// The parts as one integer times a power of two, if it fits.
struct Window {
  bool fits = false;
  bool negative = false;
  Uint128 bits = 0;
  int exponent = 0;
};

Window ToWindow(const ExactParts& parts) {
  int64_t mantissa[3] = {0, 0, 0};
  int exponent[3] = {0, 0, 0};
  int low = 2000;
  int high = -2000;
  for (int i = 0; i < 3; ++i) {
    const uint64_t bits = std::bit_cast<uint64_t>(parts.part[i]);
    const uint64_t fraction = bits & 0xfffffffffffff;
    const int field = static_cast<int>((bits >> 52) & 0x7ff);
    uint64_t magnitude = field != 0 ? fraction | (uint64_t{1} << 52) : fraction;
    if (magnitude == 0) continue;
    const int zeros = std::countr_zero(magnitude);
    magnitude >>= zeros;
    mantissa[i] = static_cast<int64_t>(bits >> 63 != 0 ? ~magnitude + 1 : magnitude);
    exponent[i] = (field != 0 ? field : 1) - 1075 + zeros;
    low = std::min(low, exponent[i]);
    high = std::max(high, exponent[i] + static_cast<int>(std::bit_width(magnitude)));
  }
  Window window;
  // Three magnitudes below 2^(high - low) add up to less than four times that, and a sign.
  if (high - low > 125) return window;
  window.fits = true;
  if (high == -2000) return window;  // All zero.
  Uint128 sum = 0;
  for (int i = 0; i < 3; ++i) {
    if (mantissa[i] == 0) continue;
    // Sign-extended, then two's complement arithmetic modulo 2^128.
    const Uint128 sign = mantissa[i] < 0 ? ~Uint128{0} << 64 : 0;
    sum += (sign | static_cast<uint64_t>(mantissa[i])) << (exponent[i] - low);
  }
  window.negative = static_cast<uint64_t>(sum >> 127) != 0;
  window.bits = window.negative ? ~sum + 1 : sum;
  window.exponent = low;
  return window;
}

template <class T>
double LoadItem(const T* x, size_t i) {
  T value;  // The item may lie at any address.
  std::memcpy(&value, reinterpret_cast<const char*>(x) + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

template <class T>
const T* Advance(const T* x, size_t items) {
  return reinterpret_cast<const T*>(reinterpret_cast<const char*>(x) + items * sizeof(T));
}

// kernel(offset, items) gives the parts of a piece, term(i) the term of one item.
template <class Kernel, class TermAt>
void AddPieces(size_t n, ExactSum* sum, const Kernel& kernel, const TermAt& term) {
  for (size_t start = 0; start < n; start += kBlockItems) {
    const size_t items = std::min(kBlockItems, n - start);
    const ExactParts parts = kernel(start, items);
    if (parts.exact) {
      Add(parts, sum);
    } else {
      for (size_t i = start; i < start + items; ++i) sum->Add(term(i));
    }
  }
}

template <class T>
void AddItems(ExactParts (*kernel)(const T*, size_t, const Upcoming&), const T* x, size_t n,
              ExactSum* sum) {
  AddPieces(
      n, sum,
      [&](size_t start, size_t items) { return kernel(Advance(x, start), items, Upcoming()); },
      [&](size_t i) { return LoadItem(x, i); });
}

template <class T>
void AddProducts(ExactParts (*kernel)(const T*, const T*, size_t), const T* x, const T* w, size_t n,
                 ExactSum* sum) {
  AddPieces(
      n, sum,
      [&](size_t start, size_t items) {
        return kernel(Advance(x, start), Advance(w, start), items);
      },
      [&](size_t i) { return LoadItem(x, i) * LoadItem(w, i); });
}

template <class T>
void AddSquares(ExactParts (*kernel)(const T*, size_t), const T* x, size_t n, ExactSum* sum) {
  AddPieces(
      n, sum, [&](size_t start, size_t items) { return kernel(Advance(x, start), items); },
      [&](size_t i) {
        const double value = LoadItem(x, i);
        return value * value;
      });
}

}  // namespace

void Add(const ExactParts& parts, ExactSum* sum) {
  for (const double part : parts.part) {
    if (part != 0) sum->Add(part);
  }
}

void AddBlock(const SumKernels& kernels, const float* x, size_t n, ExactSum* sum) {
  AddItems(kernels.sum_f32, x, n, sum);
}
void AddBlock(const SumKernels& kernels, const double* x, size_t n, ExactSum* sum) {
  AddItems(kernels.sum_f64, x, n, sum);
}
void AddProductBlock(const SumKernels& kernels, const float* x, const float* w, size_t n,
                     ExactSum* sum) {
  AddProducts(kernels.product_f32, x, w, n, sum);
}
void AddProductBlock(const SumKernels& kernels, const double* x, const double* w, size_t n,
                     ExactSum* sum) {
  AddProducts(kernels.product_f64, x, w, n, sum);
}
void AddSquareBlock(const SumKernels& kernels, const float* x, size_t n, ExactSum* sum) {
  AddSquares(kernels.square_f32, x, n, sum);
}
void AddSquareBlock(const SumKernels& kernels, const double* x, size_t n, ExactSum* sum) {
  AddSquares(kernels.square_f64, x, n, sum);
}
double Round(const ExactParts& parts) {
  // + 0.0 turns a zero of either sign into +0.
  if (parts.part[2] == 0) return parts.part[0] + parts.part[1] + 0.0;
  // Boldo and Melquiond, "Emulation of FMA and correctly rounded sums" (2008): exact but for the
  // last two additions, of which the first, rounded to odd, leaves the second what it needs to
  // round as the true sum would.
  const TwoSum low = AddExactly(parts.part[1], parts.part[2]);
  const TwoSum high = AddExactly(parts.part[0], low.sum);
  return high.sum + AddToOdd(high.error, low.error) + 0.0;
}

double QuotientByCount(const ExactParts& numerator, int64_t count) {
  // Both operands are exact, so the processor's division rounds the true quotient.
  constexpr int64_t kExactInteger = int64_t{1} << 53;
  if (numerator.part[1] == 0 && numerator.part[2] == 0 && count > 0 && count <= kExactInteger) {
    return (numerator.part[0] + 0.0) / static_cast<double>(count);
  }
  const Window window = ToWindow(numerator);
  if (!window.fits || count <= 0) return QuotientByCount(ToSum(numerator), count);
  if (window.bits == 0) return 0.0;
  return internal::RoundWindowQuotient(window.negative, window.bits, window.exponent, false,
                                       static_cast<uint64_t>(count));
}

double Quotient(const ExactParts& numerator, const ExactParts& denominator) {
  const Window n = ToWindow(numerator);
  Window d = ToWindow(denominator);
  if (!n.fits || !d.fits || n.bits == 0 || d.bits == 0) {
    return Quotient(ToSum(numerator), ToSum(denominator));
  }
  const uint64_t low = static_cast<uint64_t>(d.bits);
  const int zeros =
      low != 0 ? std::countr_zero(low) : 64 + std::countr_zero(static_cast<uint64_t>(d.bits >> 64));
  d.bits >>= zeros;
  if (static_cast<uint64_t>(d.bits >> 64) != 0)
    return Quotient(ToSum(numerator), ToSum(denominator));
  return internal::RoundWindowQuotient(n.negative != d.negative, n.bits,
                                       n.exponent - d.exponent - zeros, false,
                                       static_cast<uint64_t>(d.bits));
}

}  // namespace lossd
