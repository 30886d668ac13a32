// Rational functions of exact sums, rounded once.
//
// Purpose: a report such as a mean, a variance (n Q - S^2) / (n (n - 1)) or a balanced mean
// ((W - Y) A + Y B) / W^2 is formed in integers of any size and rounded at the very end, so that it
// is the double nearest to the true value. Square roots are taken afterwards, by the caller.
//
// Non-finite operands follow IEEE: inf - inf, 0 * inf, 0 / 0 and inf / inf are NaN (the canonical
// one), x / 0 is an infinity with the sign of x, x / inf a zero with the sign of the quotient. An
// exact zero has no sign: it counts as +0, and a numerator of exactly zero gives +0.
//
// Thread-safety: const use from many threads is fine.
// Ownership: ExactNumber is a value; copies share an immutable integer on the heap.

#ifndef LOSSD_LIB_ACCUMULATE_RATIONAL_H_
#define LOSSD_LIB_ACCUMULATE_RATIONAL_H_

#include <cstdint>
#include <memory>

#include "lib/accumulate/exact_sum.h"

namespace lossd {

// An integer of any size times a power of two, or a NaN or infinity.
class ExactNumber {
 public:
  explicit ExactNumber(int64_t value);
  // Not a constructor from double: an int literal would be ambiguous.
  static ExactNumber FromDouble(double value);
  explicit ExactNumber(const ExactSum& sum);

  friend ExactNumber operator+(const ExactNumber& a, const ExactNumber& b);
  friend ExactNumber operator-(const ExactNumber& a, const ExactNumber& b);
  friend ExactNumber operator*(const ExactNumber& a, const ExactNumber& b);
  friend double RoundQuotient(const ExactNumber& numerator, const ExactNumber& denominator);

 private:
  struct Integer;
  struct NonFinite {
    double value;
  };

  explicit ExactNumber(NonFinite non_finite);
  ExactNumber(std::shared_ptr<const Integer> integer, int64_t exponent);

  bool finite() const { return integer_ != nullptr; }
  // A double that behaves in IEEE arithmetic with non-finite numbers as this number does.
  double Representative() const;

  std::shared_ptr<const Integer> integer_;  // Null for a NaN or an infinity.
  int64_t exponent_ = 0;
  double non_finite_ = 0;
};

// numerator / denominator, correctly rounded (ties to even), with subnormal results and overflow to
// infinity as IEEE has them.
double RoundQuotient(const ExactNumber& numerator, const ExactNumber& denominator);

// The same of two sums. A denominator whose set bits span at most 64 places (any count, any double)
// takes some 100 ns; others go by way of ExactNumber.
double Quotient(const ExactSum& numerator, const ExactSum& denominator);

// The same by an integer.
double QuotientByCount(const ExactSum& numerator, int64_t count);

}  // namespace lossd

#endif  // LOSSD_LIB_ACCUMULATE_RATIONAL_H_
