// The softmax statistics of rows, whichever kernel computes them. Widths go from 1 over the limits
// of a transposed quad, of 32 virtual lanes and of narrow rows to more than a chunk.
#include "lib/forms/softmax_rows.h"

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/cpu_target.h"

namespace lossd {
namespace {

template <class T>
struct Statistics {
  explicit Statistics(size_t rows) : room((rows + kMultiple - 1) / kMultiple * kMultiple) {
    values.resize(4 * room);
  }
  static constexpr size_t kMultiple = SoftmaxRows<T>::kMultiple;
  SoftmaxRows<T> columns() {
    T* const p = values.data();
    return {p, p + room, p + 2 * room, p + 3 * room};
  }
  size_t room;
  std::vector<T> values;
};

template <class T>
void ExpectSameBits(T a, T b) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  if (std::isnan(a) && std::isnan(b)) return;
  EXPECT_EQ(std::bit_cast<Bits>(a), std::bit_cast<Bits>(b)) << a << " and " << b;
}

// Row by row, [rows, width], ordinary logits with some special ones among them.
template <class T>
std::vector<T> Logits(size_t rows, size_t width, bool special) {
  std::mt19937 random(static_cast<unsigned>(rows * 1000 + width));
  std::normal_distribution<T> normal(0, 3);
  std::vector<T> x(rows * width);
  for (T& v : x) v = normal(random);
  if (!special) return x;
  constexpr T kInf = std::numeric_limits<T>::infinity();
  constexpr T kNan = std::numeric_limits<T>::quiet_NaN();
  const T specials[] = {T(-200), -kInf, kNan, kInf, T(8), T(8), T(-1e30), -kNan};
  for (size_t i = 0; i < x.size(); i += 7) x[i] = specials[(i / 7) % std::size(specials)];
  for (size_t c = 0; c < width; ++c) x[c] = -kInf;
  return x;
}

template <class T>
class SoftmaxRowsTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(InitCpuTarget().ok()); }
};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(SoftmaxRowsTest, Types);

// Classes at -inf behind a row change neither the layout (up to 288 classes) nor a sum, and make it
// a wide row.
TYPED_TEST(SoftmaxRowsTest, NarrowRowsHaveTheBitsOfWideOnes) {
  using T = TypeParam;
  constexpr size_t kWide = 250, kRows = 37;
  for (const bool special : {false, true}) {
    for (size_t width = 1; width <= 130; ++width) {
      const std::vector<T> x = Logits<T>(kRows, width, special);
      std::vector<T> padded(kRows * kWide, -std::numeric_limits<T>::infinity());
      for (size_t i = 0; i < x.size(); ++i) padded[i / width * kWide + i % width] = x[i];
      Statistics<T> narrow(kRows), wide(kRows);
      ComputeSoftmaxRows(x.data(), kRows, width, narrow.columns());
      ComputeSoftmaxRows(padded.data(), kRows, kWide, wide.columns());
      for (size_t row = 0; row < kRows; ++row) {
        SCOPED_TRACE(testing::Message() << "width " << width << " row " << row);
        ExpectSameBits(narrow.columns().max[row], wide.columns().max[row]);
        ExpectSameBits(narrow.columns().log_total[row], wide.columns().log_total[row]);
        if (std::isnan(wide.columns().log_total[row])) continue;
        ExpectSameBits(narrow.columns().at_max[row], wide.columns().at_max[row]);
        ExpectSameBits(narrow.columns().rest[row], wide.columns().rest[row]);
      }
    }
  }
}

TYPED_TEST(SoftmaxRowsTest, ARowDoesNotDependOnItsNeighbours) {
  using T = TypeParam;
  constexpr size_t kRows = 19;
  for (const size_t width : {3, 10, 33, 128, 129, 1000, 4096, 9000}) {
    const std::vector<T> x = Logits<T>(kRows, width, true);
    Statistics<T> all(kRows);
    ComputeSoftmaxRows(x.data(), kRows, width, all.columns());
    for (size_t row = 0; row < kRows; ++row) {
      SCOPED_TRACE(testing::Message() << "width " << width << " row " << row);
      Statistics<T> one(1);
      ComputeSoftmaxRows(x.data() + row * width, 1, width, one.columns());
      ExpectSameBits(all.columns().max[row], one.columns().max[0]);
      ExpectSameBits(all.columns().rest[row], one.columns().rest[0]);
      ExpectSameBits(all.columns().log_total[row], one.columns().log_total[0]);
    }
  }
}

TYPED_TEST(SoftmaxRowsTest, IsTheLogOfTheSumOfExponentials) {
  using T = TypeParam;
  constexpr size_t kRows = 5;
  for (const size_t width : {1, 2, 10, 100, 1000, 5000}) {
    const std::vector<T> x = Logits<T>(kRows, width, false);
    Statistics<T> s(kRows);
    ComputeSoftmaxRows(x.data(), kRows, width, s.columns());
    for (size_t row = 0; row < kRows; ++row) {
      long double sum = 0;
      for (size_t c = 0; c < width; ++c) {
        const long double above = static_cast<long double>(x[row * width + c]) -
                                  static_cast<long double>(s.columns().max[row]);
        sum += std::exp(above);
      }
      const double expected = static_cast<double>(std::log(sum));
      EXPECT_NEAR(s.columns().log_total[row], expected,
                  8 * std::numeric_limits<T>::epsilon() * std::fmax(1.0, expected));
    }
  }
}

}  // namespace
}  // namespace lossd
