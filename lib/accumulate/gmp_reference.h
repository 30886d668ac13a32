// Exact rational arithmetic by GMP, and the data that exact sums find hard; for tests only.
//
// Purpose: an oracle that shares no code and no method with what it checks.
// Thread-safety: pure functions.
// Ownership: values.

#ifndef LOSSD_LIB_ACCUMULATE_GMP_REFERENCE_H_
#define LOSSD_LIB_ACCUMULATE_GMP_REFERENCE_H_

#include <gmpxx.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

namespace lossd {

inline mpq_class PowerOfTwo(int exponent) {
  mpq_class result(1);
  if (exponent >= 0) {
    mpq_mul_2exp(result.get_mpq_t(), result.get_mpq_t(), static_cast<mp_bitcnt_t>(exponent));
  } else {
    mpq_div_2exp(result.get_mpq_t(), result.get_mpq_t(), static_cast<mp_bitcnt_t>(-exponent));
  }
  return result;
}

inline mpq_class Rational(double value) { return mpq_class(value); }

inline mpq_class RationalSum(const std::vector<double>& terms) {
  // In integers of 2^-1074: far faster than fractions.
  mpz_class sum = 0;
  for (const double term : terms) {
    const mpq_class scaled = mpq_class(term) * PowerOfTwo(1074);
    sum += scaled.get_num();
  }
  return mpq_class(sum) * PowerOfTwo(-1074);
}

// The double nearest to `value`, by comparing distances to neighbouring doubles.
inline double Nearest(const mpq_class& value) {
  if (value < 0) return -Nearest(-value);
  if (value == 0) return 0.0;
  const double largest = std::numeric_limits<double>::max();
  if (value >= PowerOfTwo(1024) - PowerOfTwo(970)) return std::numeric_limits<double>::infinity();
  if (value >= Rational(largest)) return largest;
  // The double at or below: bisection over the bit patterns, which are in the order of the values.
  uint64_t low = 0;
  uint64_t high = std::bit_cast<uint64_t>(largest);
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (Rational(std::bit_cast<double>(middle)) <= value ? low : high) = middle;
  }
  const mpq_class below = value - Rational(std::bit_cast<double>(low));
  const mpq_class above = Rational(std::bit_cast<double>(high)) - value;
  if (below != above) return std::bit_cast<double>(below < above ? low : high);
  return std::bit_cast<double>((low & 1) == 0 ? low : high);
}

// Kinds of hard data; every one is finite.
enum class Hard { kAllExponents, kCancelling, kSubnormal, kHugeAndTiny, kIntegers, kNormal, kTies };
inline constexpr Hard kAllHard[] = {Hard::kAllExponents, Hard::kCancelling, Hard::kSubnormal,
                                    Hard::kHugeAndTiny,  Hard::kIntegers,   Hard::kNormal,
                                    Hard::kTies};

inline double HardValue(Hard kind, std::mt19937_64& random) {
  std::normal_distribution<double> normal;
  switch (kind) {
    case Hard::kAllExponents:
    case Hard::kCancelling: {
      uint64_t bits = random();
      if (((bits >> 52) & 0x7ff) == 0x7ff) bits ^= uint64_t{1} << 60;
      return std::bit_cast<double>(bits);
    }
    case Hard::kSubnormal:
      return std::bit_cast<double>(random() & 0x801fffffffffffff);
    case Hard::kHugeAndTiny:
      return std::ldexp(normal(random), (random() & 1) != 0 ? 1010 : -1060);
    case Hard::kIntegers:
      return static_cast<double>(static_cast<int64_t>(random() % 2001) - 1000);
    case Hard::kNormal:
      return normal(random);
    case Hard::kTies:
      // One, half units in its last place, and now and then a crumb that breaks the tie.
      return (random() % 8 == 0 ? std::ldexp(1, -1074)
                                : std::ldexp(1, -static_cast<int>(random() % 2) * 53)) *
             ((random() & 1) != 0 ? 1 : -1);
  }
  return 0;
}

inline std::vector<double> HardTerms(Hard kind, size_t n, std::mt19937_64& random) {
  std::vector<double> terms(n);
  for (size_t i = 0; i < n; ++i) {
    terms[i] = kind == Hard::kCancelling && i % 2 == 1 ? -terms[i - 1] : HardValue(kind, random);
  }
  // What is left of a sum that cancels.
  if (kind == Hard::kCancelling && n > 2) terms[n / 2] = std::ldexp(1, -1074);
  return terms;
}

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_GMP_REFERENCE_H_
