#include "lib/accumulate/rational.h"

#include <gtest/gtest.h>

#include "lib/accumulate/gmp_reference.h"

namespace lossd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kSmallest = std::numeric_limits<double>::denorm_min();
constexpr uint64_t kCanonicalNan = 0x7ff8000000000000;

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

ExactSum SumOf(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.Add(term);
  return sum;
}

// IEEE's quotient of rationals; a zero numerator gives +0.
double NearestQuotient(const mpq_class& n, const mpq_class& d) {
  if (d == 0) return n == 0 ? std::nan("") : (n > 0 ? kInfinity : -kInfinity);
  if (n == 0) return 0.0;
  const double result = Nearest(n / d);
  return n < 0 && result == 0 ? -0.0 : result;
}

void ExpectQuotient(const std::vector<double>& n, const std::vector<double>& d) {
  const ExactSum a = SumOf(n);
  const ExactSum b = SumOf(d);
  const mpq_class denominator = RationalSum(d);
  if (denominator == 0) return;
  mpq_class numerator = RationalSum(n);
  double expected = NearestQuotient(denominator < 0 ? mpq_class(-numerator) : numerator,
                                    denominator < 0 ? mpq_class(-denominator) : denominator);
  EXPECT_EQ(Bits(Quotient(a, b)), Bits(expected));
  EXPECT_EQ(Bits(RoundQuotient(ExactNumber(a), ExactNumber(b))), Bits(expected));
}

TEST(RationalTest, QuotientsRoundAsRationalArithmetic) {
  std::mt19937_64 random(11);
  for (const Hard a : kAllHard) {
    for (const Hard b : kAllHard) {
      for (const size_t n : {1, 2, 40}) {
        ExpectQuotient(HardTerms(a, n, random), HardTerms(b, 1 + random() % 3, random));
        ExpectQuotient(HardTerms(a, n, random), HardTerms(b, n, random));
      }
    }
  }
}

TEST(RationalTest, QuotientsOfTwoDoublesAreTheProcessors) {
  std::mt19937_64 random(12);
  for (int i = 0; i < 20000; ++i) {
    const double a = HardValue(Hard::kAllExponents, random);
    // Every third quotient near or under the smallest normal number.
    double b = HardValue(Hard::kAllExponents, random);
    if (i % 3 == 0)
      b = std::ldexp(1 + std::abs(HardValue(Hard::kNormal, random)), std::ilogb(a) + 1040);
    if (i % 3 == 1) b = std::ldexp(std::round(100 * HardValue(Hard::kNormal, random)), 3);
    if (a == 0 || b == 0 || !std::isfinite(b)) continue;
    EXPECT_EQ(Bits(Quotient(SumOf({a}), SumOf({b}))), Bits(a / b)) << a << " / " << b;
  }
}

TEST(RationalTest, CountsRoundAsRationalArithmetic) {
  std::mt19937_64 random(13);
  for (const Hard kind : kAllHard) {
    for (int i = 0; i < 60; ++i) {
      const std::vector<double> terms = HardTerms(kind, 1 + random() % 9, random);
      const int64_t count = static_cast<int64_t>(random() >> (1 + random() % 62)) + 1;
      const double expected =
          NearestQuotient(RationalSum(terms), mpq_class(mpz_class(std::to_string(count))));
      EXPECT_EQ(Bits(QuotientByCount(SumOf(terms), count)), Bits(expected)) << count;
    }
  }
}

ExactSum SumOfInteger(const mpz_class& value) {
  ExactSum sum;
  mpz_class rest = abs(value);
  for (int place = 0; rest != 0; place += 32) {
    const mpz_class digit = rest % (mpz_class(1) << 32);
    sum.Add(std::ldexp(value < 0 ? -digit.get_d() : digit.get_d(), place));
    rest /= mpz_class(1) << 32;
  }
  return sum;
}

TEST(RationalTest, RemainderDecidesNextToATie) {
  std::mt19937_64 random(16);
  for (int width = 1; width < 200; ++width) {
    for (int i = 0; i < 4; ++i) {
      mpz_class divisor = 1;
      while (mpz_sizeinbase(divisor.get_mpz_t(), 2) < static_cast<size_t>(width)) {
        divisor = 2 * divisor + static_cast<unsigned long>(random() & 1);
      }
      // Half way between two doubles, then one unit of the numerator to either side.
      const mpz_class tie(static_cast<unsigned long>((random() >> 10) | (uint64_t{1} << 53) | 1));
      for (const int offset : {-1, 0, 1}) {
        const mpz_class numerator = (i % 2 == 0 ? 1 : -1) * (divisor * tie + offset);
        const uint64_t expected = Bits(Nearest(mpq_class(numerator) / mpq_class(divisor)));
        const ExactSum n = SumOfInteger(numerator);
        const ExactSum d = SumOfInteger(divisor);
        EXPECT_EQ(Bits(Quotient(n, d)), expected) << width;
        EXPECT_EQ(Bits(RoundQuotient(ExactNumber(n), ExactNumber(d))), expected) << width;
        if (width < 64) {
          EXPECT_EQ(Bits(QuotientByCount(n, static_cast<int64_t>(divisor.get_ui()))), expected);
        }
      }
    }
  }
}

TEST(RationalTest, TiesSubnormalsAndOverflow) {
  const double ulp = std::ldexp(1, -52);
  // (2 + ulp) / 2 lies half way between 1 and 1 + ulp.
  EXPECT_EQ(QuotientByCount(SumOf({2, ulp}), 2), 1);
  EXPECT_EQ(QuotientByCount(SumOf({2, ulp, kSmallest}), 2), 1 + ulp);
  EXPECT_EQ(QuotientByCount(SumOf({2, 3 * ulp}), 2), 1 + 2 * ulp);
  EXPECT_EQ(QuotientByCount(SumOf({2, 3 * ulp, -kSmallest}), 2), 1 + ulp);
  EXPECT_EQ(Bits(QuotientByCount(SumOf({kSmallest}), 2)), Bits(0.0));
  EXPECT_EQ(Bits(QuotientByCount(SumOf({-kSmallest}), 2)), Bits(-0.0));
  EXPECT_EQ(QuotientByCount(SumOf({kSmallest, kSmallest, kSmallest}), 2), 2 * kSmallest);
  EXPECT_EQ(QuotientByCount(SumOf({kSmallest}), 1), kSmallest);
  EXPECT_EQ(QuotientByCount(SumOf({kLargest, kLargest}), 2), kLargest);
  EXPECT_EQ(QuotientByCount(SumOf({kLargest, kLargest, kLargest}), 2), kInfinity);
  EXPECT_EQ(QuotientByCount(SumOf({6}), -4), -1.5);
  EXPECT_EQ(QuotientByCount(SumOf({-1}), std::numeric_limits<int64_t>::min()), std::ldexp(1, -63));
}

TEST(RationalTest, NonFiniteFollowsIeee) {
  const double nan = std::nan("");
  const auto bits = [](double n, double d) { return Bits(Quotient(SumOf({n}), SumOf({d}))); };
  EXPECT_EQ(bits(0, 0), kCanonicalNan);
  EXPECT_EQ(bits(nan, 1), kCanonicalNan);
  EXPECT_EQ(bits(1, -nan), kCanonicalNan);
  EXPECT_EQ(bits(kInfinity, -kInfinity), kCanonicalNan);
  EXPECT_EQ(bits(3, 0), Bits(kInfinity));
  EXPECT_EQ(bits(-3, 0), Bits(-kInfinity));
  EXPECT_EQ(bits(kInfinity, -2), Bits(-kInfinity));
  EXPECT_EQ(bits(kInfinity, 0), Bits(kInfinity));
  EXPECT_EQ(bits(2, kInfinity), Bits(0.0));
  EXPECT_EQ(bits(-2, kInfinity), Bits(-0.0));
  EXPECT_EQ(bits(-0.0, 5), Bits(0.0));
  EXPECT_EQ(bits(0, -5), Bits(0.0));
  EXPECT_EQ(Bits(QuotientByCount(SumOf({0}), 0)), kCanonicalNan);
  EXPECT_EQ(QuotientByCount(SumOf({1}), 0), kInfinity);
  EXPECT_EQ(QuotientByCount(SumOf({-kInfinity}), 3), -kInfinity);
  for (const double n : {0.0, 1.0, -2.0, kInfinity, -kInfinity, nan}) {
    for (const double d : {0.0, 1.0, -2.0, kInfinity, -kInfinity, nan}) {
      EXPECT_EQ(bits(n, d),
                Bits(RoundQuotient(ExactNumber::FromDouble(n), ExactNumber::FromDouble(d))));
    }
  }
}

TEST(RationalTest, ArithmeticKeepsNonFinite) {
  const ExactNumber infinity = ExactNumber::FromDouble(kInfinity);
  const ExactNumber zero(0);
  const ExactNumber one(1);
  EXPECT_EQ(Bits(RoundQuotient(infinity - infinity, one)), kCanonicalNan);
  EXPECT_EQ(Bits(RoundQuotient(infinity * zero, one)), kCanonicalNan);
  EXPECT_EQ(RoundQuotient(one - infinity, one), -kInfinity);
  EXPECT_EQ(RoundQuotient(infinity * ExactNumber(-3), one), -kInfinity);
  EXPECT_EQ(RoundQuotient(one + zero, ExactNumber(4)), 0.25);
}

TEST(RationalTest, VarianceRoundsOnce) {
  std::mt19937_64 random(14);
  for (const Hard kind : kAllHard) {
    for (int i = 0; i < 8; ++i) {
      const std::vector<double> items = HardTerms(kind, 2 + random() % 50, random);
      std::vector<double> squares;
      for (const double item : items) squares.push_back(item * item);
      const ExactSum q_sum = SumOf(squares);
      if (!q_sum.IsFinite()) continue;
      const int64_t count = static_cast<int64_t>(items.size());
      const ExactNumber n(count);
      const ExactNumber s(SumOf(items));
      const double variance =
          RoundQuotient(n * ExactNumber(q_sum) - s * s, n * (n - ExactNumber(1)));
      const mpq_class rational_n(static_cast<long>(count));
      const mpq_class rational_s = RationalSum(items);
      EXPECT_EQ(Bits(variance),
                Bits(NearestQuotient(rational_n * RationalSum(squares) - rational_s * rational_s,
                                     rational_n * (rational_n - 1))));
    }
  }
  // Equal items have no variance, however large they are.
  const ExactNumber n(1000);
  ExactSum s;
  ExactSum q;
  for (int i = 0; i < 1000; ++i) {
    s.Add(12345.0);
    q.Add(12345.0 * 12345.0);
  }
  EXPECT_EQ(Bits(RoundQuotient(n * ExactNumber(q) - ExactNumber(s) * ExactNumber(s),
                               n * (n - ExactNumber(1)))),
            Bits(0.0));
}

TEST(RationalTest, BalancedMeanRoundsOnce) {
  std::mt19937_64 random(15);
  for (int i = 0; i < 40; ++i) {
    const Hard kind = i % 2 == 0 ? Hard::kNormal : Hard::kAllExponents;
    const std::vector<double> a = HardTerms(kind, 20, random);
    const std::vector<double> b = HardTerms(kind, 20, random);
    const std::vector<double> w = HardTerms(Hard::kNormal, 30, random);
    const std::vector<double> y(w.begin(), w.begin() + 11);
    const ExactNumber sum_w(SumOf(w));
    const ExactNumber sum_y(SumOf(y));
    const double result = RoundQuotient(
        (sum_w - sum_y) * ExactNumber(SumOf(a)) + sum_y * ExactNumber(SumOf(b)), sum_w * sum_w);
    const mpq_class rw = RationalSum(w);
    const mpq_class ry = RationalSum(y);
    EXPECT_EQ(Bits(result),
              Bits(NearestQuotient((rw - ry) * RationalSum(a) + ry * RationalSum(b), rw * rw)));
  }
}

}  // namespace
}  // namespace lossd
