#include "lib/accumulate/rational.h"

#include <boost/multiprecision/cpp_int.hpp>
#include <cmath>
#include <limits>
#include <utility>

#include "lib/accumulate/rounding.h"

namespace lossd {

using boost::multiprecision::cpp_int;

struct ExactNumber::Integer {
  cpp_int value;
};

namespace {

using internal::Uint128;

// The unit of an ExactSum is 2^-1074.
constexpr int kUnitExponent = -1074;

double Canonical(double value) { return std::isnan(value) ? internal::CanonicalNan() : value; }

int64_t BitWidthOf(const cpp_int& value) {
  return static_cast<int64_t>(boost::multiprecision::msb(value)) + 1;
}

// The top 128 bits of a magnitude that is not zero, shifted up until the highest is set.
struct Window {
  Uint128 bits;
  int64_t exponent;  // Of the lowest bit of `bits`.
  bool sticky;       // Whether bits were left out below.
};

Window TopWindow(const ExactSum::Magnitude& value) {
  const int top = value.last - 1;
  const auto limb = [&](int i) { return i >= 0 ? value.limbs[i] : 0; };
  const int shift = std::countl_zero(value.limbs[top]);
  Window window;
  window.bits = (Uint128{limb(top)} << 64) | limb(top - 1);
  uint64_t below = limb(top - 2);
  if (shift != 0) {
    window.bits = (window.bits << shift) | (below >> (64 - shift));
    below <<= shift;
  }
  window.exponent = 64 * (top - 1) - shift + kUnitExponent;
  window.sticky = below != 0 || value.first < top - 2;
  return window;
}

// A magnitude as odd * 2^exponent, if the odd factor has at most 64 bits.
struct Narrow {
  bool fits = false;
  uint64_t bits = 0;
  int64_t exponent = 0;
};

Narrow ToNarrow(const ExactSum::Magnitude& value) {
  Narrow narrow;
  if (value.last - value.first > 2) return narrow;
  Uint128 bits = value.limbs[value.first];
  if (value.last - value.first == 2) bits |= Uint128{value.limbs[value.first + 1]} << 64;
  const int zeros = std::countr_zero(value.limbs[value.first]);
  bits >>= zeros;
  if (static_cast<uint64_t>(bits >> 64) != 0) return narrow;
  narrow.fits = true;
  narrow.bits = static_cast<uint64_t>(bits);
  narrow.exponent = 64 * value.first + zeros + kUnitExponent;
  return narrow;
}

double QuotientByNarrow(const ExactSum::Magnitude& numerator, const Narrow& divisor,
                        bool negative) {
  const Window window = TopWindow(numerator);
  return internal::RoundWindowQuotient(negative, window.bits, window.exponent - divisor.exponent,
                                       window.sticky, divisor.bits);
}

// Sign, zero, NaN and infinity of a sum as a double that divides as the sum would.
double Representative(const ExactSum& sum, const ExactSum::Magnitude& magnitude) {
  if (!sum.IsFinite()) return sum.NonFiniteValue();
  if (magnitude.last == 0) return 0;
  return magnitude.negative ? -1 : 1;
}

}  // namespace

ExactNumber::ExactNumber(int64_t value)
    : integer_(std::make_shared<const Integer>(Integer{cpp_int(value)})) {}

ExactNumber::ExactNumber(NonFinite non_finite) : non_finite_(Canonical(non_finite.value)) {}

ExactNumber::ExactNumber(std::shared_ptr<const Integer> integer, int64_t exponent)
    : integer_(std::move(integer)), exponent_(exponent) {}

ExactNumber ExactNumber::FromDouble(double value) {
  ExactSum sum;
  sum.Add(value);
  return ExactNumber(sum);
}

ExactNumber::ExactNumber(const ExactSum& sum) {
  if (!sum.IsFinite()) {
    non_finite_ = sum.NonFiniteValue();
    return;
  }
  const ExactSum::Magnitude magnitude = sum.ToMagnitude();
  Integer integer;
  if (magnitude.last != 0) {
    boost::multiprecision::import_bits(integer.value, magnitude.limbs.begin() + magnitude.first,
                                       magnitude.limbs.begin() + magnitude.last, 64, false);
    if (magnitude.negative) integer.value.backend().negate();
    exponent_ = 64 * magnitude.first + kUnitExponent;
  }
  integer_ = std::make_shared<const Integer>(std::move(integer));
}

double ExactNumber::Representative() const {
  return finite() ? static_cast<double>(integer_->value.sign()) : non_finite_;
}

ExactNumber operator+(const ExactNumber& a, const ExactNumber& b) {
  if (!a.finite() || !b.finite()) {
    return ExactNumber(ExactNumber::NonFinite{a.Representative() + b.Representative()});
  }
  // Zero has no scale of its own.
  if (a.integer_->value.is_zero()) return b;
  if (b.integer_->value.is_zero()) return a;
  const bool a_is_finer = a.exponent_ < b.exponent_;
  const ExactNumber& fine = a_is_finer ? a : b;
  const ExactNumber& coarse = a_is_finer ? b : a;
  ExactNumber::Integer sum{coarse.integer_->value};
  sum.value <<= static_cast<size_t>(coarse.exponent_ - fine.exponent_);
  sum.value += fine.integer_->value;
  return ExactNumber(std::make_shared<const ExactNumber::Integer>(std::move(sum)), fine.exponent_);
}

ExactNumber operator-(const ExactNumber& a, const ExactNumber& b) {
  return a + ExactNumber(int64_t{-1}) * b;
}

ExactNumber operator*(const ExactNumber& a, const ExactNumber& b) {
  if (!a.finite() || !b.finite()) {
    return ExactNumber(ExactNumber::NonFinite{a.Representative() * b.Representative()});
  }
  ExactNumber::Integer product{a.integer_->value * b.integer_->value};
  return ExactNumber(std::make_shared<const ExactNumber::Integer>(std::move(product)),
                     a.exponent_ + b.exponent_);
}

double RoundQuotient(const ExactNumber& numerator, const ExactNumber& denominator) {
  const double n = numerator.Representative();
  const double d = denominator.Representative();
  if (!numerator.finite() || !denominator.finite() || d == 0) return Canonical(n / d);
  if (n == 0) return 0.0;
  cpp_int dividend = abs(numerator.integer_->value);
  cpp_int divisor = abs(denominator.integer_->value);
  int64_t exponent = numerator.exponent_ - denominator.exponent_;
  // Shift the one or the other, so that the quotient has 66 to 68 bits: enough for the 53 of the
  // result, the rounding bit, and a window with its highest bit set.
  const int64_t shift = 67 - (BitWidthOf(dividend) - BitWidthOf(divisor));
  if (shift >= 0) {
    dividend <<= static_cast<size_t>(shift);
  } else {
    divisor <<= static_cast<size_t>(-shift);
  }
  exponent -= shift;
  cpp_int quotient;
  cpp_int remainder;
  divide_qr(dividend, divisor, quotient, remainder);
  const uint64_t low = static_cast<uint64_t>(quotient & std::numeric_limits<uint64_t>::max());
  const uint64_t high = static_cast<uint64_t>(quotient >> 64);
  return internal::RoundWindow(n * d < 0, (Uint128{high} << 64) | low, exponent,
                               !remainder.is_zero());
}

double Quotient(const ExactSum& numerator, const ExactSum& denominator) {
  const ExactSum::Magnitude n = numerator.ToMagnitude();
  const ExactSum::Magnitude d = denominator.ToMagnitude();
  if (!numerator.IsFinite() || !denominator.IsFinite() || d.last == 0) {
    return Canonical(Representative(numerator, n) / Representative(denominator, d));
  }
  if (n.last == 0) return 0.0;
  const Narrow divisor = ToNarrow(d);
  if (divisor.fits) return QuotientByNarrow(n, divisor, n.negative != d.negative);
  return RoundQuotient(ExactNumber(numerator), ExactNumber(denominator));
}

double QuotientByCount(const ExactSum& numerator, int64_t count) {
  const ExactSum::Magnitude n = numerator.ToMagnitude();
  if (!numerator.IsFinite() || count == 0) {
    return Canonical(Representative(numerator, n) / static_cast<double>(count));
  }
  if (n.last == 0) return 0.0;
  Narrow divisor;
  divisor.bits = count < 0 ? ~static_cast<uint64_t>(count) + 1 : static_cast<uint64_t>(count);
  return QuotientByNarrow(n, divisor, n.negative != (count < 0));
}

}  // namespace lossd
