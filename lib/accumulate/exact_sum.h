// Sums of doubles without rounding.
//
// Purpose: ExactSum is a fixed-point number that spans every finite double, from 2^-1074 to 2^1024,
// with 64 bits more for carries. Adding is therefore associative and commutative: the same terms
// give the same value, the same rounded double and the same bytes in any order and any grouping.
// The carry bits cannot overflow below 2^64 additions. NaN and the two infinities are counted
// apart.
//
// Thread-safety: many threads may read one ExactSum; writing needs exclusion by the caller.
// Ownership: a plain value of about 600 bytes, no heap.

#ifndef LOSSD_LIB_ACCUMULATE_EXACT_SUM_H_
#define LOSSD_LIB_ACCUMULATE_EXACT_SUM_H_

#include <array>
#include <bit>
#include <cstdint>
#include <string>
#include <string_view>

namespace lossd {

class ExactSum {
 public:
  // One 64-bit limb more than the 2,162 bits of range and carries and their sign.
  static constexpr int kLimbs = 35;

  // The finite part as sign and magnitude, in units of 2^-1074, little-endian limbs.
  struct Magnitude {
    bool negative = false;
    int first = 0;  // Limbs [first, last) hold all bits that are set; both 0 for zero.
    int last = 0;
    std::array<uint64_t, kLimbs> limbs;
  };

  void Add(double value);
  void Merge(const ExactSum& other);
  ExactSum& operator+=(const ExactSum& other) {
    Merge(other);
    return *this;
  }

  // True if every term cancelled and none was NaN or infinite.
  bool IsZero() const;
  bool IsFinite() const { return (nan_ | positive_infinity_ | negative_infinity_) == 0; }
  uint64_t nan_count() const { return nan_; }
  uint64_t positive_infinity_count() const { return positive_infinity_; }
  uint64_t negative_infinity_count() const { return negative_infinity_; }

  // The nearest double, ties to even; overflow gives an infinity, exact zero is +0. With non-finite
  // terms: the canonical NaN for a NaN or both infinities, else the infinity that was there.
  double Round() const;

  // NaN or an infinity, as Round gives it. Requires !IsFinite().
  double NonFiniteValue() const;

  Magnitude ToMagnitude() const;

  // Appends the canonical bytes, drawn in the .cc: equal values give equal bytes. At most 306.
  void Serialize(std::string* out) const;

  // Takes one number off the front of `in`. False, with `in` and the sum as they were, unless the
  // bytes are complete, canonical and within the range. Allocates nothing.
  bool Parse(std::string_view* in);

  bool operator==(const ExactSum& other) const;

 private:
  // 32 bits a chunk, weight 2^(32 i - 1074), and room in the int64 for carries not yet passed on.
  static constexpr int kChunks = 2 * kLimbs;
  static constexpr uint32_t kMaxPending = uint32_t{1} << 30;

  using Chunks = std::array<int64_t, kChunks>;

  void AddNonFinite(uint64_t bits);
  static void Carry(Chunks* chunks);
  // The finite part as a two's complement number.
  std::array<uint64_t, kLimbs> TwosComplement() const;

  Chunks chunks_{};
  // No chunk exceeds pending_ * 2^32 in magnitude: each addition puts less than that into it.
  uint32_t pending_ = 0;
  uint64_t nan_ = 0;
  uint64_t positive_infinity_ = 0;
  uint64_t negative_infinity_ = 0;
};

inline void ExactSum::Add(double value) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint64_t exponent = (bits >> 52) & 0x7ff;
  if (exponent == 0x7ff) return AddNonFinite(bits);
  const uint64_t normal = exponent != 0 ? 1 : 0;
  const uint64_t mantissa = (bits & 0xfffffffffffff) | (normal << 52);
  const uint64_t shift = exponent - normal;  // At most 2045, so at most chunk 63 + 2.
  const uint64_t place = shift & 31;
  const uint64_t low = mantissa << place;
  const uint64_t high = (mantissa >> 1) >> (63 - place);
  const uint64_t sign = ~(bits >> 63) + 1;  // 0 or all ones: (a ^ sign) - sign negates.
  int64_t* const chunk = chunks_.data() + (shift >> 5);
  chunk[0] += static_cast<int64_t>(((low & 0xffffffff) ^ sign) - sign);
  chunk[1] += static_cast<int64_t>(((low >> 32) ^ sign) - sign);
  chunk[2] += static_cast<int64_t>((high ^ sign) - sign);
  if (++pending_ == kMaxPending) {
    Carry(&chunks_);
    pending_ = 1;
  }
}

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_EXACT_SUM_H_
