// The one place where an exact value becomes a double.
//
// Purpose: integer arithmetic that exact sums and their quotients share; internal to this folder.
// Thread-safety: pure functions.
// Ownership: none.

#ifndef LOSSD_LIB_ACCUMULATE_ROUNDING_H_
#define LOSSD_LIB_ACCUMULATE_ROUNDING_H_

#include <bit>
#include <cstdint>
#include <limits>

namespace lossd::internal {

__extension__ typedef unsigned __int128 Uint128;

// The quiet NaN that every result carries: positive, with no payload.
inline double CanonicalNan() { return std::bit_cast<double>(uint64_t{0x7ff8000000000000}); }

inline double SignedInfinity(bool negative) {
  const double infinity = std::numeric_limits<double>::infinity();
  return negative ? -infinity : infinity;
}

inline double SignedZero(bool negative) { return negative ? -0.0 : 0.0; }

inline int BitWidth(Uint128 value) {
  const uint64_t high = static_cast<uint64_t>(value >> 64);
  return high != 0 ? 64 + std::bit_width(high) : std::bit_width(static_cast<uint64_t>(value));
}

// (top + f) * 2^exponent to the nearest double, ties to even, overflow to infinity. The highest bit
// of `top` is set; f lies in (0, 1) if `sticky`, else it is 0.
inline double RoundScaled(bool negative, uint64_t top, int64_t exponent, bool sticky) {
  const int64_t leading = exponent + 63;  // The value lies in [2^leading, 2^(leading + 1)).
  if (leading > 1023) return SignedInfinity(negative);
  if (leading < -1075) return SignedZero(negative);  // Under half of the smallest subnormal.
  // 53 bits are kept of a normal number; below 2^-1022 one fewer for every binary place.
  const bool normal = leading >= -1022;
  const int dropped = normal ? 11 : static_cast<int>(11 + (-1022 - leading));
  const uint64_t kept = dropped == 64 ? 0 : top >> dropped;
  const uint64_t rest = dropped == 64 ? top : top << (64 - dropped);
  constexpr uint64_t kHalf = uint64_t{1} << 63;
  const bool up = rest > kHalf || (rest == kHalf && (sticky || (kept & 1) != 0));
  // A carry out of the mantissa runs into the exponent field, which is the next binade (or
  // infinity).
  uint64_t bits = kept + (up ? 1 : 0);
  if (normal) bits += static_cast<uint64_t>(leading + 1022) << 52;
  return std::bit_cast<double>(bits | (negative ? kHalf : 0));
}

// (window + f) * 2^exponent; `window` is not 0.
inline double RoundWindow(bool negative, Uint128 window, int64_t exponent, bool sticky) {
  const int shift = BitWidth(window) - 64;
  if (shift <= 0) {
    // The bits under `top` are zero but for f, which stays below one unit of `window`.
    const uint64_t top = static_cast<uint64_t>(window) << -shift;
    return RoundScaled(negative, top, exponent + shift, sticky);
  }
  const Uint128 below = window & ((Uint128{1} << shift) - 1);
  return RoundScaled(negative, static_cast<uint64_t>(window >> shift), exponent + shift,
                     sticky || below != 0);
}

// ((window + f) * 2^exponent) / divisor. Neither `window` nor `divisor` is 0. If `sticky`, the
// highest bit of `window` must be set. Always correctly rounded: with 128 bits over at most 64 the
// quotient has 64 bits or more, and f < 1 cannot carry floor(window / divisor) to the next integer.
inline double RoundWindowQuotient(bool negative, Uint128 window, int64_t exponent, bool sticky,
                                  uint64_t divisor) {
  const int shift = 128 - BitWidth(window);
  window <<= shift;
  const Uint128 quotient = window / divisor;
  const Uint128 remainder = window - quotient * divisor;
  return RoundWindow(negative, quotient, exponent - shift, sticky || remainder != 0);
}

}  // namespace lossd::internal

#endif  // LOSSD_LIB_ACCUMULATE_ROUNDING_H_
