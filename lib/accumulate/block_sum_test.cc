// Every kernel on every target that the processor has, against ExactSum item by item (which
// exact_sum_test.cc holds against GMP) and against GMP directly.
//
// Lengths straddle the lane counts (2 to 16) and the unrolled steps (up to 64 floats); pointers are
// odd addresses; the block ends at a page that may not be read. Spans of bits sweep across the
// bounds of block_plan.h (53, 81 to 105, 121 to 157), with all terms at the top of their binade and
// of one sign, which is the worst case of the chains.

#include "lib/accumulate/block_sum.h"

#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "lib/accumulate/block_plan.h"
#include "lib/accumulate/gmp_reference.h"
#include "lib/accumulate/rational.h"

namespace lossd {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

uint64_t Bits(double value) { return std::bit_cast<uint64_t>(value); }

std::string BytesOf(const ExactSum& sum) {
  std::string bytes;
  sum.Serialize(&bytes);
  return bytes;
}

// Memory whose last byte is followed by a page without access. Items put there end at that byte,
// less `gap` bytes.
class GuardedMemory {
 public:
  GuardedMemory() : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))), size_(16 * page_) {
    base_ = static_cast<char*>(
        mmap(nullptr, size_ + page_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(base_, MAP_FAILED);
    EXPECT_EQ(mprotect(base_ + size_, page_, PROT_NONE), 0);
  }
  GuardedMemory(const GuardedMemory&) = delete;
  GuardedMemory& operator=(const GuardedMemory&) = delete;
  ~GuardedMemory() { munmap(base_, size_ + page_); }

  template <class T>
  const T* Put(const std::vector<T>& items, size_t gap) {
    char* const to = base_ + size_ - gap - items.size() * sizeof(T);
    if (!items.empty()) std::memcpy(to, items.data(), items.size() * sizeof(T));
    return reinterpret_cast<const T*>(to);
  }

 private:
  size_t page_;
  size_t size_;
  char* base_;
};

// Everything that must hold of the parts, given the terms that they sum. Returns whether the kernel
// found a proof.
bool Check(const ExactParts& parts, const std::vector<double>& terms) {
  if (!parts.exact) return false;
  ExactSum expected;
  for (const double term : terms) expected.Add(term);
  ExactSum actual;
  Add(parts, &actual);
  EXPECT_EQ(BytesOf(actual), BytesOf(expected)) << terms.size();
  EXPECT_EQ(Bits(Round(parts)), Bits(expected.Round()));
  for (const int64_t count : {int64_t{1}, int64_t{3}, static_cast<int64_t>(terms.size()) + 1,
                              int64_t{1} << 60, int64_t{0}, int64_t{-7}}) {
    EXPECT_EQ(Bits(QuotientByCount(parts, count)), Bits(QuotientByCount(expected, count)));
  }
  return true;
}

class BlockSumTest : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override {
    hwy::SetSupportedTargetsForTest(GetParam());
    kernels_ = &GetSumKernels();
    // The forced target is the one that runs.
    ASSERT_EQ(kernels_->target, GetParam());
  }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }

  // All kernels for one pair of arrays; counts the proofs.
  template <class T>
  void CheckAll(const std::vector<T>& x, const std::vector<T>& w) {
    std::vector<double> items(x.begin(), x.end());
    std::vector<double> products(x.size());
    std::vector<double> squares(x.size());
    for (size_t i = 0; i < x.size(); ++i) {
      products[i] = static_cast<double>(x[i]) * static_cast<double>(w[i]);
      squares[i] = items[i] * items[i];
    }
    // Odd addresses and, with a gap of 0, the very end of the readable page.
    const size_t gap = x.size() % 3;
    const T* const px = x_memory_.Put(x, gap);
    const T* const pw = w_memory_.Put(w, 2 - gap);
    const size_t n = x.size();
    if constexpr (sizeof(T) == 4) {
      item_proofs_ += Check(kernels_->sum_f32(px, n, Upcoming()), items);
      product_proofs_ += Check(kernels_->product_f32(px, pw, n), products);
      square_proofs_ += Check(kernels_->square_f32(px, n), squares);
      const MomentParts moments = kernels_->moments_f32(px, n, Upcoming());
      Check(moments.sum, items);
      Check(moments.square, squares);
    } else {
      item_proofs_ += Check(kernels_->sum_f64(px, n, Upcoming()), items);
      product_proofs_ += Check(kernels_->product_f64(px, pw, n), products);
      square_proofs_ += Check(kernels_->square_f64(px, n), squares);
      const MomentParts moments = kernels_->moments_f64(px, n, Upcoming());
      Check(moments.sum, items);
      Check(moments.square, squares);
    }
    ++blocks_;
    CheckAddBlock(px, pw, n, items, products, squares);
  }

  template <class T>
  void CheckAddBlock(const T* x, const T* w, size_t n, const std::vector<double>& items,
                     const std::vector<double>& products, const std::vector<double>& squares) {
    const auto bytes = [](const std::vector<double>& terms) {
      ExactSum sum;
      for (const double term : terms) sum.Add(term);
      return BytesOf(sum);
    };
    ExactSum sum, product, square;
    AddBlock(*kernels_, x, n, &sum);
    AddProductBlock(*kernels_, x, w, n, &product);
    AddSquareBlock(*kernels_, x, n, &square);
    EXPECT_EQ(BytesOf(sum), bytes(items));
    EXPECT_EQ(BytesOf(product), bytes(products));
    EXPECT_EQ(BytesOf(square), bytes(squares));
  }

  const SumKernels* kernels_ = nullptr;
  std::mt19937_64 random_{21};
  GuardedMemory x_memory_;
  GuardedMemory w_memory_;
  int blocks_ = 0;
  int item_proofs_ = 0;
  int product_proofs_ = 0;
  int square_proofs_ = 0;
};

std::vector<size_t> Lengths() {
  std::vector<size_t> lengths;
  for (size_t n = 0; n <= 70; ++n) lengths.push_back(n);
  for (const size_t n : {127, 128, 129, 255, 511, 1000, 1023, 1024, 2047, 4095, 4096}) {
    lengths.push_back(n);
  }
  return lengths;
}

TEST_P(BlockSumTest, OrdinaryFloatsAreAlwaysProvable) {
  for (const size_t n : Lengths()) {
    std::vector<float> x(n);
    std::vector<float> w(n);
    for (size_t i = 0; i < n; ++i) {
      x[i] = static_cast<float>(HardValue(Hard::kNormal, random_));
      w[i] = static_cast<float>(std::abs(HardValue(Hard::kNormal, random_)));
    }
    CheckAll(x, w);
    std::vector<double> dx(x.begin(), x.end());
    std::vector<double> dw(n);
    for (double& value : dw) value = std::exp(HardValue(Hard::kNormal, random_));
    CheckAll(dw, dx);
  }
  EXPECT_EQ(item_proofs_, blocks_);
  EXPECT_EQ(product_proofs_, blocks_);
  EXPECT_EQ(square_proofs_, blocks_);
}

TEST_P(BlockSumTest, HardDataIsExactOrDeclined) {
  for (const Hard kind : kAllHard) {
    for (const size_t n : Lengths()) {
      if (n > 70 && n % 2 == 0) continue;
      CheckAll(HardTerms(kind, n, random_), HardTerms(Hard::kNormal, n, random_));
      std::vector<float> x(n);
      std::vector<float> w(n);
      for (size_t i = 0; i < n; ++i) {
        // Floats of every exponent, subnormal ones too, and weights that are often 0 or 1.
        const uint32_t bits = static_cast<uint32_t>(random_());
        x[i] = std::bit_cast<float>((bits >> 23 & 0xff) == 0xff ? bits ^ 0x40000000 : bits);
        if (kind == Hard::kSubnormal) x[i] = std::bit_cast<float>(bits & 0x80ffffff);
        if (kind == Hard::kIntegers) x[i] = static_cast<float>(bits % 3);
        if (kind == Hard::kCancelling && i % 2 == 1) x[i] = -x[i - 1];
        w[i] = kind == Hard::kIntegers ? static_cast<float>(bits >> 8 & 1)
                                       : std::ldexp(1.0f, static_cast<int>(bits % 20));
      }
      CheckAll(x, w);
    }
  }
  EXPECT_GT(item_proofs_, blocks_ / 4);
}

// Multiples of 2^(top - span) below 2^top that use all of the span, and no exponent so low that the
// scan, which knows only the least exponent and the common trailing zeros, would see a wider one.
std::vector<double> SpanTerms(int top, int span, size_t n, int pattern, std::mt19937_64& random) {
  const int width = std::min(span, 53);  // Of a full mantissa.
  const uint64_t full = (uint64_t{1} << width) - 1;
  const int steps = span - width + 1;  // Exponents that a full mantissa may have.
  std::vector<double> terms(n);
  for (double& term : terms) {
    const int exponent = top - width - static_cast<int>(random() % static_cast<unsigned>(steps));
    switch (pattern) {
      case 0:  // As large as allowed.
        term = std::ldexp(static_cast<double>(full), top - width);
        break;
      case 1:  // Powers of two: exact halves of the unit of every level, so that rests are largest.
        term = std::ldexp(1, exponent + width - 1);
        break;
      default:
        term = std::ldexp(static_cast<double>((random() & full) | 1), exponent);
        break;
    }
    if (pattern == 3 && (random() & 1) != 0) term = -term;
  }
  if (n > 1) terms[n - 1] = std::ldexp(static_cast<double>(full), top - span);
  terms[0] = std::ldexp(static_cast<double>(full), top - width);
  return terms;
}

TEST_P(BlockSumTest, SpansAcrossEveryBound) {
  bool seen[5] = {};
  for (const size_t n :
       {size_t{2}, size_t{3}, size_t{5}, size_t{1024}, size_t{4095}, size_t{4096}}) {
    for (int span = 40; span<165; span += n> 1000 ? 3 : 1) {
      for (int pattern = 0; pattern < 4; ++pattern) {
        const std::vector<double> x = SpanTerms(7, span, n, pattern, random_);
        ExactParts parts = kernels_->sum_f64(x_memory_.Put(x, 0), n, Upcoming());
        Check(parts, x);
        internal::Extent extent;
        extent.top = 7;
        extent.unit = 7 - span;
        const internal::BlockPlan plan = internal::PlanBlock(extent, n);
        seen[static_cast<int>(plan.way)] = true;
        // In the other patterns the least term may be a power of two, where the scan gives up a
        // bit, or have fewer bits and so a lower exponent.
        if (pattern == 0 && span > 53) {
          EXPECT_EQ(parts.exact, plan.way != internal::BlockWay::kUnprovable) << n << " " << span;
        }
      }
    }
  }
  EXPECT_TRUE(seen[static_cast<int>(internal::BlockWay::kPlain)]);
  EXPECT_TRUE(seen[static_cast<int>(internal::BlockWay::kChain2)]);
  EXPECT_TRUE(seen[static_cast<int>(internal::BlockWay::kChain3)]);
  EXPECT_TRUE(seen[static_cast<int>(internal::BlockWay::kUnprovable)]);
}

TEST_P(BlockSumTest, SpansOfFloatsAndOfTheirProducts) {
  for (const size_t n : {size_t{2}, size_t{64}, size_t{1024}, size_t{4096}}) {
    for (int span = 24; span < 100; span += 2) {
      for (int pattern = 0; pattern < 4; ++pattern) {
        const std::vector<double> terms = SpanTerms(20, span, n, pattern, random_);
        std::vector<float> x(terms.begin(), terms.end());
        std::vector<float> w(n, 0.99999994f);
        if (pattern == 3) w.assign(x.rbegin(), x.rend());
        CheckAll(x, w);
      }
    }
  }
  EXPECT_GT(product_proofs_, blocks_ / 2);
  EXPECT_GT(square_proofs_, blocks_ / 2);
}

TEST_P(BlockSumTest, ExtremesOfTheRange) {
  // Near overflow and at the smallest subnormals, where the units of the chains are clamped.
  for (const int top :
       {1024, 1023, 1013, 1012, 1011, 1010, -900, -950, -1000, -1021, -1022, -1060}) {
    for (const size_t n : {1, 2, 17, 1024, 4096}) {
      std::vector<double> x(n);
      for (double& value : x) {
        value = std::ldexp(static_cast<double>(random_() >> 11), top - 53);
        if ((random_() & 1) != 0) value = std::ldexp(value, -static_cast<int>(random_() % 100));
        if (random_() % 8 == 0) value = -value;
      }
      CheckAll(x, std::vector<double>(n, 1.0));
    }
  }
}

TEST_P(BlockSumTest, NonFiniteIsDeclinedWhereverItStands) {
  for (const size_t n : {1, 16, 33, 1024}) {
    for (size_t i = 0; i < n; i += 1 + n / 20) {
      for (const double bad : {kInfinity, -kInfinity, std::nan("")}) {
        std::vector<float> x(n, 0.0f);
        x[i] = static_cast<float>(bad);
        EXPECT_FALSE(kernels_->sum_f32(x.data(), n, Upcoming()).exact);
        EXPECT_FALSE(kernels_->square_f32(x.data(), n).exact);
        EXPECT_FALSE(kernels_->moments_f32(x.data(), n, Upcoming()).sum.exact);
        std::vector<float> w(n, 0.0f);  // 0 * infinity is NaN.
        EXPECT_FALSE(kernels_->product_f32(x.data(), w.data(), n).exact);
        EXPECT_FALSE(kernels_->product_f32(w.data(), x.data(), n).exact);
        CheckAll(x, w);
        std::vector<double> dx(x.begin(), x.end());
        EXPECT_FALSE(kernels_->sum_f64(dx.data(), n, Upcoming()).exact);
        CheckAll(dx, std::vector<double>(n, 2.0));
      }
    }
  }
  // Finite factors whose rounded product overflows.
  const std::vector<double> huge(5, 1e300);
  EXPECT_FALSE(kernels_->square_f64(huge.data(), 5).exact);
  CheckAll(huge, huge);
}

TEST_P(BlockSumTest, ZerosOfEitherSignGivePositiveZero) {
  for (const size_t n : {1, 5, 64, 1000}) {
    std::vector<float> x(n, -0.0f);
    const ExactParts parts = kernels_->sum_f32(x.data(), n, Upcoming());
    EXPECT_EQ(Bits(Round(parts)), Bits(0.0));
    EXPECT_EQ(Bits(QuotientByCount(parts, 3)), Bits(0.0));
    x[0] = 1;
    x[n / 2] -= 1;
    EXPECT_EQ(Bits(Round(kernels_->sum_f32(x.data(), n, Upcoming()))), Bits(n == 1 ? 0.0 : 0.0));
  }
}

TEST_P(BlockSumTest, AgreesWithRationalArithmetic) {
  for (int i = 0; i < 60; ++i) {
    const std::vector<double> x = SpanTerms(3, 40 + i, 1 + random_() % 200, 3, random_);
    const ExactParts parts = kernels_->sum_f64(x.data(), x.size(), Upcoming());
    ASSERT_TRUE(parts.exact || i >= 40);
    if (!parts.exact) continue;
    EXPECT_EQ(RationalSum({parts.part[0], parts.part[1], parts.part[2]}), RationalSum(x));
    EXPECT_EQ(Bits(Round(parts)), Bits(Nearest(RationalSum(x))));
    EXPECT_EQ(Bits(QuotientByCount(parts, 7)), Bits(Nearest(RationalSum(x) / 7) + 0.0));
  }
}

TEST_P(BlockSumTest, BlockSplitAndOrderDoNotMatter) {
  std::vector<float> x(20000);
  for (float& value : x) {
    value = static_cast<float>(
        std::ldexp(HardValue(Hard::kNormal, random_), static_cast<int>(random_() % 130) - 60));
  }
  ExactSum expected;
  for (const float value : x) expected.Add(value);
  for (int round = 0; round < 6; ++round) {
    std::shuffle(x.begin(), x.end(), random_);
    ExactSum sum;
    for (size_t start = 0; start < x.size();) {
      const size_t n = std::min<size_t>(x.size() - start, 1 + random_() % 5555);
      AddBlock(*kernels_, x.data() + start, n, &sum);
      start += n;
    }
    EXPECT_EQ(BytesOf(sum), BytesOf(expected));
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, BlockSumTest,
                         testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const testing::TestParamInfo<int64_t>& info) {
                           return std::string(hwy::TargetName(info.param));
                         });

TEST(ExactPartsTest, RoundsAnyThreeParts) {
  std::mt19937_64 random(22);
  for (int i = 0; i < 100000; ++i) {
    ExactParts parts;
    int exponent = static_cast<int>(random() % 60);
    for (double& part : parts.part) {
      // Sparse mantissas and gaps of about 53 bits: ties, near ties, cancellation.
      const double mantissa =
          random() % 2 == 0 ? 1 : static_cast<double>((random() >> 11) & ~(random() % 4));
      part = std::ldexp(random() % 2 == 0 ? mantissa : -mantissa, exponent);
      exponent -= static_cast<int>(random() % 58);
    }
    ExactSum sum;
    Add(parts, &sum);
    EXPECT_EQ(Bits(Round(parts)), Bits(sum.Round()));
    EXPECT_EQ(Bits(QuotientByCount(parts, 48)), Bits(QuotientByCount(sum, 48)));
    ExactParts divisor;
    divisor.part[0] = HardValue(i % 2 == 0 ? Hard::kIntegers : Hard::kNormal, random);
    divisor.part[1] = i % 4 == 0 ? std::ldexp(1, -70) : 0;
    ExactSum divisor_sum;
    Add(divisor, &divisor_sum);
    EXPECT_EQ(Bits(Quotient(parts, divisor)), Bits(Quotient(sum, divisor_sum)));
  }
}

TEST(ExactPartsTest, RemainderDecidesNextToATie) {
  std::mt19937_64 random(23);
  for (int i = 0; i < 10000; ++i) {
    // (count * tie + offset) / count, in two parts of at most 53 bits.
    const int64_t count = static_cast<int64_t>((random() >> (24 + random() % 30)) | 1);
    const mpz_class tie(static_cast<unsigned long>((random() >> 10) | (uint64_t{1} << 53) | 1));
    const mpz_class numerator = tie * count + (static_cast<int>(random() % 3) - 1);
    const mpz_class low = numerator % (mpz_class(1) << 48);
    ExactParts parts;
    parts.part[0] = mpz_class(numerator - low).get_d();
    parts.part[1] = low.get_d();
    ExactParts divisor;
    divisor.part[0] = static_cast<double>(count);
    const uint64_t expected = Bits(Nearest(mpq_class(numerator) / mpq_class(mpz_class(count))));
    EXPECT_EQ(Bits(QuotientByCount(parts, count)), expected);
    EXPECT_EQ(Bits(Quotient(parts, divisor)), expected);
  }
}

}  // namespace
}  // namespace lossd
