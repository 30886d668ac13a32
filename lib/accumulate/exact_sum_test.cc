#include "lib/accumulate/exact_sum.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "lib/accumulate/gmp_reference.h"

namespace lossd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kLargest = std::numeric_limits<double>::max();
constexpr double kSmallest = std::numeric_limits<double>::denorm_min();

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

ExactSum SumOf(const std::vector<double>& terms) {
  ExactSum sum;
  for (const double term : terms) sum.Add(term);
  return sum;
}

std::string BytesOf(const ExactSum& sum) {
  std::string bytes;
  sum.Serialize(&bytes);
  return bytes;
}

double RoundedSum(const std::vector<double>& terms) { return SumOf(terms).Round(); }

TEST(ExactSumTest, RoundsAsRationalArithmetic) {
  std::mt19937_64 random(1);
  for (const Hard kind : kAllHard) {
    for (const size_t n : {1, 2, 3, 10, 100, 1000}) {
      const std::vector<double> terms = HardTerms(kind, n, random);
      EXPECT_EQ(Bits(RoundedSum(terms)), Bits(Nearest(RationalSum(terms))))
          << static_cast<int>(kind) << " " << n;
    }
  }
}

TEST(ExactSumTest, PairsOfAllExponentsRoundAsTheProcessorAdds) {
  std::mt19937_64 random(2);
  for (int i = 0; i < 20000; ++i) {
    const double a = HardValue(Hard::kAllExponents, random);
    // Near in exponent, so that ties and cancellation occur.
    double b = std::ldexp(HardValue(Hard::kNormal, random),
                          std::ilogb(a) - static_cast<int>(random() % 60));
    if (!std::isfinite(b)) b = a;
    EXPECT_EQ(Bits(RoundedSum({a, b})), Bits(a + b + 0.0)) << a << " " << b;
  }
}

TEST(ExactSumTest, OrderAndChunksDoNotMatter) {
  std::mt19937_64 random(3);
  for (const Hard kind : kAllHard) {
    std::vector<double> terms = HardTerms(kind, 5555, random);
    const std::string expected = BytesOf(SumOf(terms));
    for (int round = 0; round < 6; ++round) {
      std::shuffle(terms.begin(), terms.end(), random);
      std::vector<ExactSum> parts;
      for (size_t start = 0; start < terms.size();) {
        const size_t limit = round % 2 == 0 ? 5555 : 50;
        const size_t end = std::min(terms.size(), start + 1 + random() % limit);
        parts.push_back(SumOf({terms.begin() + static_cast<std::ptrdiff_t>(start),
                               terms.begin() + static_cast<std::ptrdiff_t>(end)}));
        start = end;
      }
      while (parts.size() > 1) {  // Merge two at random, by way of bytes now and then.
        std::swap(parts[random() % parts.size()], parts.back());
        ExactSum taken = parts.back();
        parts.pop_back();
        if (random() % 4 == 0) {
          const std::string bytes = BytesOf(taken);
          std::string_view view(bytes);
          ASSERT_TRUE(taken.Parse(&view));
        }
        parts[random() % parts.size()].Merge(taken);
      }
      EXPECT_EQ(BytesOf(parts[0]), expected);
    }
  }
}

TEST(ExactSumTest, CancelsToTheSmallestSubnormal) {
  EXPECT_EQ(RoundedSum({kLargest, 1, kSmallest, -kLargest, -1}), kSmallest);
  EXPECT_EQ(RoundedSum({-kLargest, 1, -kSmallest, kLargest, -1}), -kSmallest);
}

TEST(ExactSumTest, ExactZeroIsPositive) {
  for (const std::vector<double>& terms :
       std::vector<std::vector<double>>{{}, {-0.0}, {-0.0, -0.0}, {1, -1}, {-kLargest, kLargest}}) {
    const ExactSum sum = SumOf(terms);
    EXPECT_TRUE(sum.IsZero());
    EXPECT_EQ(Bits(sum.Round()), Bits(0.0));
    EXPECT_EQ(BytesOf(sum), std::string(2, '\0'));
  }
  EXPECT_FALSE(SumOf({kSmallest}).IsZero());
  EXPECT_FALSE(SumOf({kInfinity}).IsZero());
}

TEST(ExactSumTest, TiesGoToEven) {
  const double half = std::ldexp(1, -53);
  const double ulp = std::ldexp(1, -52);
  EXPECT_EQ(RoundedSum({1, half}), 1);
  EXPECT_EQ(RoundedSum({1, half, kSmallest}), 1 + ulp);
  EXPECT_EQ(RoundedSum({1, half, -kSmallest}), 1);
  EXPECT_EQ(RoundedSum({1 + ulp, half}), 1 + 2 * ulp);
  EXPECT_EQ(RoundedSum({1 + ulp, half, -kSmallest}), 1 + ulp);
  EXPECT_EQ(RoundedSum({-1, -half}), -1);
  EXPECT_EQ(RoundedSum({-1, -half, -kSmallest}), -1 - ulp);
}

TEST(ExactSumTest, OverflowsAsIeee) {
  const double half = std::ldexp(1, 970);
  EXPECT_EQ(RoundedSum({kLargest, std::nextafter(half, 0)}), kLargest);
  EXPECT_EQ(RoundedSum({kLargest, half}), kInfinity);
  EXPECT_EQ(RoundedSum({kLargest, half, -kSmallest}), kLargest);
  EXPECT_EQ(RoundedSum({-kLargest, -kLargest}), -kInfinity);
  EXPECT_EQ(RoundedSum({-kLargest, -kLargest, kLargest}), -kLargest);
}

TEST(ExactSumTest, CarriesSurviveManyDoublings) {
  for (const double start : {kLargest, -kLargest, 1.5, -kSmallest}) {
    ExactSum sum = SumOf({start});
    for (int i = 0; i < 62; ++i) sum.Merge(ExactSum(sum));
    ExactSum back = sum;
    const mpq_class expected = Rational(start) * PowerOfTwo(62);
    EXPECT_EQ(Bits(sum.Round()), Bits(Nearest(expected)));
    const std::string bytes = BytesOf(sum);
    std::string_view view(bytes);
    ASSERT_TRUE(back.Parse(&view));
    EXPECT_EQ(back, sum);
    back.Add(-start);
    EXPECT_EQ(Bits(back.Round()), Bits(Nearest(expected - Rational(start))));
  }
}

TEST(ExactSumTest, SelfMergeDoubles) {
  ExactSum sum = SumOf({3, kInfinity});
  sum.Merge(sum);
  EXPECT_EQ(sum, SumOf({6, kInfinity, kInfinity}));
}

TEST(ExactSumTest, NonFiniteTermsAreCountedApart) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const ExactSum sum = SumOf({1, nan, -nan, kInfinity, kInfinity, kInfinity, -kInfinity});
  EXPECT_EQ(sum.nan_count(), 2u);
  EXPECT_EQ(sum.positive_infinity_count(), 3u);
  EXPECT_EQ(sum.negative_infinity_count(), 1u);
  const uint64_t canonical = 0x7ff8000000000000;
  EXPECT_EQ(Bits(sum.Round()), canonical);
  EXPECT_EQ(Bits(RoundedSum({-nan, kInfinity})), canonical);
  EXPECT_EQ(Bits(RoundedSum({-kInfinity, kInfinity})), canonical);
  EXPECT_EQ(RoundedSum({kInfinity, -kLargest}), kInfinity);
  EXPECT_EQ(RoundedSum({-kInfinity, kLargest}), -kInfinity);
}

std::vector<ExactSum> Samples() {
  std::mt19937_64 random(4);
  std::vector<ExactSum> samples = {ExactSum(),        SumOf({kSmallest}), SumOf({-kSmallest}),
                                   SumOf({kLargest}), SumOf({-kLargest}), SumOf({kInfinity})};
  for (const int exponent : {-1011, -1010, -947, -946, 0, 13, 14, 1023}) {
    samples.push_back(SumOf({std::ldexp(1, exponent)}));
    samples.push_back(SumOf({-std::ldexp(1, exponent)}));
  }
  for (const Hard kind : kAllHard) {
    for (const size_t n : {1, 20}) samples.push_back(SumOf(HardTerms(kind, n, random)));
  }
  samples.push_back(SumOf({2, kInfinity, -kInfinity, std::nan("")}));
  return samples;
}

TEST(ExactSumTest, ParseRestoresAndLeavesWhatFollows) {
  for (const ExactSum& sample : Samples()) {
    const std::string bytes = BytesOf(sample) + "rest";
    std::string_view view(bytes);
    ExactSum parsed = SumOf({7});
    ASSERT_TRUE(parsed.Parse(&view));
    EXPECT_EQ(view, "rest");
    EXPECT_EQ(parsed, sample);
    EXPECT_EQ(Bits(parsed.Round()), Bits(sample.Round()));
    EXPECT_LE(bytes.size() - 4, 306u);
  }
}

TEST(ExactSumTest, ParseRefusesEveryTruncation) {
  for (const ExactSum& sample : Samples()) {
    const std::string bytes = BytesOf(sample);
    for (size_t size = 0; size < bytes.size(); ++size) {
      // A copy of its own, so that a sanitizer sees any read past the end.
      const std::vector<char> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
      std::string_view view(cut.data(), cut.size());
      ExactSum parsed = SumOf({7});
      EXPECT_FALSE(parsed.Parse(&view));
      EXPECT_EQ(view.size(), size);
      EXPECT_EQ(parsed, SumOf({7}));
    }
  }
}

TEST(ExactSumTest, WhatParsesIsCanonical) {
  std::mt19937_64 random(5);
  const auto check = [](const std::string& bytes) {
    std::string_view view(bytes);
    ExactSum parsed;
    if (parsed.Parse(&view)) {
      EXPECT_EQ(BytesOf(parsed), bytes.substr(0, bytes.size() - view.size()));
    }
  };
  for (const ExactSum& sample : Samples()) {
    const std::string bytes = BytesOf(sample);
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      std::string flipped = bytes;
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
      check(flipped);
    }
  }
  for (int i = 0; i < 20000; ++i) {  // Few distinct bytes, to hit 00 and ff limbs.
    std::string bytes(2 + random() % 60, '\0');
    bytes[0] = static_cast<char>((random() % 6) | (random() & 0x80));
    bytes[1] = static_cast<char>(random() % 36);
    for (size_t k = 2; k < bytes.size(); k += 8) {
      const char fill = static_cast<char>((random() & 1) != 0 ? 0xff : 0);
      for (size_t j = k; j < std::min(bytes.size(), k + 8); ++j) bytes[j] = fill;
      if (random() % 3 == 0) bytes[k] = static_cast<char>(random());
    }
    check(bytes);
  }
}

TEST(ExactSumTest, ParseRefusesWhatIsNotCanonical) {
  const std::string one("\x01\0\0\0\0\0\0\0", 8);
  const std::string zero(8, '\0');
  const std::string ones(8, '\xff');
  const std::string sign = std::string(7, '\0') + "\x80";
  const auto parses = [](const std::string& bytes) {
    std::string_view view(bytes);
    return ExactSum().Parse(&view);
  };
  const auto header = [](int count, int first) {
    return std::string{static_cast<char>(count), static_cast<char>(first)};
  };
  EXPECT_TRUE(parses(header(1, 0) + one));
  EXPECT_TRUE(parses(header(1, 0) + ones));         // -1 unit.
  EXPECT_FALSE(parses(header(0, 1)));               // Zero has one form.
  EXPECT_FALSE(parses(header(1, 0) + zero));        // A window that opens with zero.
  EXPECT_FALSE(parses(header(2, 0) + one + zero));  // A repeated sign.
  EXPECT_FALSE(parses(header(2, 0) + ones + ones));
  EXPECT_TRUE(parses(header(2, 0) + sign + zero));  // Needed: the limb below looks negative.
  EXPECT_TRUE(parses(header(2, 0) + one + ones));
  EXPECT_FALSE(parses(header(1, 34) + one));  // Beyond the last limb.
  EXPECT_FALSE(parses(header(0x7f, 0) + std::string(2000, '\x11')));
  EXPECT_FALSE(parses(header(0x80, 0) + zero + zero + zero));  // Flag without counts.
  EXPECT_TRUE(parses(header(0x80, 0) + zero + one + zero));
  const std::string below("\xff\xff\xff\xff\xff\xff\x01\0",
                          8);  // 2^49 - 1, 2^50, -2^50, -2^50 - 1.
  EXPECT_TRUE(parses(header(1, 33) + below));
  EXPECT_FALSE(parses(header(1, 33) + std::string("\0\0\0\0\0\0\x04\0", 8)));
  EXPECT_TRUE(parses(header(1, 33) + std::string("\0\0\0\0\0\0\xfc\xff", 8)));
  EXPECT_FALSE(parses(header(1, 33) + std::string("\xff\xff\xff\xff\xff\xff\xfb\xff", 8)));
}

TEST(ExactSumTest, ForgedCountsCannotWrap) {
  const std::string bytes =
      std::string("\x80\0", 2) + std::string(8, '\xff') + std::string(16, '\0');
  std::string_view view(bytes);
  ExactSum sum;
  ASSERT_TRUE(sum.Parse(&view));
  sum.Add(std::nan(""));
  sum.Merge(sum);
  EXPECT_FALSE(sum.IsFinite());
}

}  // namespace
}  // namespace lossd
