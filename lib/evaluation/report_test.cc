// Reported numbers against exact fractions: each is the double nearest to the true value.
#include "lib/evaluation/report.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "lib/accumulate/gmp_reference.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

const LossRow& Mse() { return *Catalogue::Get().Find("mse"); }
const LossRow& Balanced() { return *Catalogue::Get().Find("balanced_binary_cross_entropy"); }

// Items with weights, and what they sum to in fractions.
struct Case {
  LossSums sums;
  mpq_class terms = 0, weights = 0, squares = 0;
};

Case RandomCase(Hard kind, bool weighted, std::mt19937_64* random) {
  Case made;
  const size_t n = 2 + (*random)() % 40;
  for (size_t i = 0; i < n; ++i) {
    // Items are floats, so that their squares are exact in f64.
    const double item = static_cast<float>(std::ldexp(HardValue(kind, *random), -1));
    if (!std::isfinite(item)) continue;
    const double weight =
        weighted ? std::ldexp(1.0 + static_cast<double>((*random)() % 1000), -10) : 1.0;
    const double term = item * weight;
    made.sums.parts[0].Add(term);
    made.sums.weight.Add(weight);
    made.sums.squares.Add(item * item);
    ++made.sums.items;
    made.terms += Rational(term);
    made.weights += Rational(weight);
    made.squares += Rational(item * item);
  }
  made.sums.weighted = weighted;
  return made;
}

TEST(Report, MeanAndSumAreTheNearestDoubles) {
  std::mt19937_64 random(1);
  for (const Hard kind : {Hard::kNormal, Hard::kIntegers, Hard::kTies, Hard::kCancelling}) {
    for (int round = 0; round < 40; ++round) {
      const Case made = RandomCase(kind, round % 2 == 0, &random);
      if (made.sums.items == 0) continue;
      EXPECT_EQ(ReportSum(Mse(), false, made.sums), Nearest(made.terms));
      EXPECT_EQ(ReportMean(Mse(), false, made.sums), Nearest(made.terms / made.weights));
    }
  }
}

TEST(Report, StandardErrorIsTheRootOfTheNearestDouble) {
  std::mt19937_64 random(2);
  for (const Hard kind : {Hard::kNormal, Hard::kIntegers, Hard::kTies}) {
    for (int round = 0; round < 40; ++round) {
      const Case made = RandomCase(kind, false, &random);
      const mpq_class n(static_cast<long>(made.sums.items));
      const mpq_class variance_of_mean =
          (n * made.squares - made.terms * made.terms) / (n * n * (n - 1));
      const auto error = ReportStandardError(false, made.sums);
      ASSERT_TRUE(error.has_value());
      EXPECT_EQ(*error, std::sqrt(Nearest(variance_of_mean)));
    }
  }
}

// Where a variance formed in doubles would cancel: mean 2^24, variance 1.
TEST(Report, StandardErrorDoesNotCancel) {
  LossSums sums;
  for (const double item : {16777214.0, 16777215.0, 16777216.0}) {
    sums.parts[0].Add(item);
    sums.squares.Add(item * item);
    sums.weight.Add(1);
    ++sums.items;
  }
  EXPECT_EQ(*ReportStandardError(false, sums), std::sqrt(1.0 / 3));
}

TEST(Report, StandardErrorIsUnsetWhereItMeansNothing) {
  LossSums sums;
  EXPECT_FALSE(ReportStandardError(false, sums).has_value());
  sums.items = 1;
  EXPECT_FALSE(ReportStandardError(false, sums).has_value());
  sums.items = 2;
  EXPECT_EQ(ReportStandardError(false, sums), 0.0);
  EXPECT_FALSE(ReportStandardError(true, sums).has_value());
  sums.weighted = true;
  EXPECT_FALSE(ReportStandardError(false, sums).has_value());
}

// Squares of f64 items are rounded: the variance of equal items may come out a hair below zero, and
// is zero then.
TEST(Report, StandardErrorIsNeverTheRootOfANegative) {
  LossSums sums;
  const double item = 1 + 0x1p-30 + 0x1p-52;
  for (int i = 0; i < 5; ++i) {
    sums.parts[0].Add(item);
    sums.squares.Add(std::nextafter(item * item, 0.0));
    sums.weight.Add(1);
    ++sums.items;
  }
  EXPECT_EQ(ReportStandardError(false, sums), 0.0);
}

TEST(Report, NothingCounted) {
  const LossSums none;
  for (const bool pooled : {false, true}) {
    EXPECT_TRUE(std::isnan(ReportMean(Balanced(), pooled, none)));
    EXPECT_EQ(ReportSum(Balanced(), pooled, none), 0);
    EXPECT_FALSE(std::signbit(ReportSum(Balanced(), pooled, none)));
  }
}

TEST(Report, AnExactZeroIsPositive) {
  LossSums sums;
  sums.items = 2;
  sums.weight.Add(2);
  sums.parts[0].Add(-1.5);
  sums.parts[0].Add(1.5);
  EXPECT_FALSE(std::signbit(ReportSum(Mse(), false, sums)));
  EXPECT_FALSE(std::signbit(ReportMean(Mse(), false, sums)));
}

TEST(Report, NonFiniteItemsPropagate) {
  const double infinity = std::numeric_limits<double>::infinity();
  LossSums sums;
  sums.items = 1;
  sums.weight.Add(1);
  sums.parts[0].Add(infinity);
  EXPECT_EQ(ReportMean(Mse(), false, sums), infinity);
  sums.parts[0].Add(-infinity);
  EXPECT_TRUE(std::isnan(ReportMean(Mse(), false, sums)));
  EXPECT_TRUE(std::isnan(ReportSum(Mse(), false, sums)));
}

// b = (W - Y) / W: the mean is ((W - Y) A + Y B) / W^2.
TEST(Report, ThePooledReportIsOneFraction) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 40; ++round) {
    LossSums sums;
    mpq_class a = 0, b = 0, y = 0, w = 0;
    for (int i = 0; i < 25; ++i) {
      const double weight = std::ldexp(1.0 + static_cast<double>(random() % 100), -5);
      const double parts[] = {std::abs(HardValue(Hard::kNormal, random)),
                              std::abs(HardValue(Hard::kNormal, random)),
                              random() % 2 == 0 ? 0 : weight};
      for (size_t part = 0; part < 3; ++part) sums.parts[part].Add(parts[part]);
      sums.weight.Add(weight);
      ++sums.items;
      a += Rational(parts[0]);
      b += Rational(parts[1]);
      y += Rational(parts[2]);
      w += Rational(weight);
    }
    const mpq_class numerator = (w - y) * a + y * b;
    EXPECT_EQ(ReportMean(Balanced(), true, sums), Nearest(numerator / (w * w)));
    EXPECT_EQ(ReportSum(Balanced(), true, sums), Nearest(numerator / w));
  }
}

}  // namespace
}  // namespace lossd
