// Shapes, 16-bit floats and views, against references that share no code with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/tensor/data_type.h"
#include "lib/tensor/shape.h"
#include "lib/tensor/tensor_view.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<Shape> Make(const std::vector<int64_t>& sizes) { return Shape::Create(sizes); }

TEST(Shape, KnowsItsSizes) {
  const Shape shape = *Make({2, 3, 5});
  EXPECT_EQ(shape.rank(), 3);
  EXPECT_EQ(shape[1], 3);
  EXPECT_EQ(shape.elements(), 30);
  EXPECT_EQ(shape.ToString(), "[2,3,5]");
  EXPECT_EQ(shape, (Shape{2, 3, 5}));
  EXPECT_FALSE((shape == Shape{2, 3}));
  EXPECT_FALSE((shape == Shape{2, 3, 6}));
}

TEST(Shape, AScalarHasOneElement) {
  EXPECT_EQ(Make({})->elements(), 1);
  EXPECT_EQ(Make({})->ToString(), "[]");
  EXPECT_EQ(*Make({}), Shape());
}

TEST(Shape, WithoutADimension) {
  const Shape shape = {2, 3, 5, 7};
  EXPECT_EQ(shape.Without(1), (Shape{2, 5, 7}));
  EXPECT_EQ(shape.Without(1).elements(), 70);
  EXPECT_EQ((Shape{4}).Without(0), Shape());
}

TEST(Shape, ZeroSizesAreFine) {
  EXPECT_EQ(Make({0})->elements(), 0);
  EXPECT_EQ(Make({5, 0, 7})->elements(), 0);
  EXPECT_EQ(Make({0, 0, 0, 0, 0, 0, 0, 0})->elements(), 0);
}

TEST(Shape, RefusesWhatCannotBe) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  const std::vector<std::vector<int64_t>> wrong = {
      {-1},
      {3, -1},
      {0, -1},
      {std::numeric_limits<int64_t>::min()},
      {kMax},              // at 8 bytes an element
      {int64_t{1} << 60},  // 2^63 bytes
      {kMax, kMax},
      {int64_t{1} << 32, int64_t{1} << 32},
      {0, kMax, kMax},  // a zero hides no overflow
      {kMax, kMax, 0},
      {int64_t{1} << 31, 0, int64_t{1} << 31},
      {1, 1, 1, 1, 1, 1, 1, 1, 1},  // nine dimensions
  };
  for (const auto& sizes : wrong) {
    const absl::StatusOr<Shape> shape = Make(sizes);
    EXPECT_EQ(shape.status().code(), absl::StatusCode::kInvalidArgument)
        << ::testing::PrintToString(sizes);
    EXPECT_EQ(DetailOf(shape.status()).reason, "INVALID_SHAPE");
    EXPECT_EQ(DetailOf(shape.status()).field, ".shape");
  }
  EXPECT_THAT(std::string(Make({3, -1}).status().message()), HasSubstr("[3,-1]"));
}

TEST(Shape, TheLargestThatFits) {
  EXPECT_EQ(Make({(int64_t{1} << 60) - 1})->elements(), (int64_t{1} << 60) - 1);
  EXPECT_EQ(Make({int64_t{1} << 59, 0})->elements(), 0);
}

// An independent definition: sign, then 2^exponent times the mantissa, from the bits as the
// standards draw them.
double ValueOf16(uint16_t bits, int exponent_bits, int mantissa_bits) {
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const int exponent = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
  const int mantissa = bits & ((1 << mantissa_bits) - 1);
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) {
    return mantissa != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (exponent == 0) return sign * std::ldexp(mantissa, 1 - bias - mantissa_bits);
  return sign * std::ldexp((1 << mantissa_bits) + mantissa, exponent - bias - mantissa_bits);
}

TEST(Float16, EveryPatternHasItsValue) {
  for (uint32_t bits = 0; bits < 65536; ++bits) {
    const double expected = ValueOf16(static_cast<uint16_t>(bits), 5, 10);
    const float value = Float16ToFloat(static_cast<uint16_t>(bits));
    if (std::isnan(expected)) {
      EXPECT_TRUE(std::isnan(value)) << bits;
    } else {
      ASSERT_EQ(std::bit_cast<uint64_t>(static_cast<double>(value)),
                std::bit_cast<uint64_t>(expected))
          << bits;
    }
  }
}

struct Format16 {
  int exponent_bits, mantissa_bits;
  uint16_t (*round)(double);
  uint16_t nan;
  uint16_t infinity;
};
constexpr Format16 kFormats16[] = {{5, 10, DoubleToFloat16, 0x7E00, 0x7C00},
                                   {8, 7, DoubleToBfloat16, 0x7FC0, 0x7F80}};

// Every value of the format, what lies exactly between it and the next, and the doubles around
// that.
TEST(RoundingTo16Bits, EveryValueAndEveryTie) {
  for (const Format16& format : kFormats16) {
    const auto value = [&](uint16_t bits) {
      return ValueOf16(bits, format.exponent_bits, format.mantissa_bits);
    };
    for (uint32_t magnitude = 0; magnitude < format.infinity; ++magnitude) {
      for (const uint16_t sign : {0x0000, 0x8000}) {
        const auto low = static_cast<uint16_t>(magnitude | sign);
        const auto high =
            static_cast<uint16_t>((magnitude + 1) | sign);  // the last one's is infinity
        ASSERT_EQ(format.round(value(low)), low) << low;
        // The value that would follow the largest finite one, were there another exponent.
        const double after =
            magnitude + 1 == format.infinity
                ? 2 * value(static_cast<uint16_t>(low & ~((1 << format.mantissa_bits) - 1)))
                : value(high);
        const double tie = value(low) / 2 + after / 2;
        const uint16_t even = (magnitude & 1) == 0 ? low : high;
        ASSERT_EQ(format.round(tie), even) << low;
        ASSERT_EQ(format.round(std::nextafter(tie, 0.0)), low) << low;
        ASSERT_EQ(format.round(std::nextafter(tie, 4 * after)), high) << low;
      }
    }
  }
}

TEST(RoundingTo16Bits, ExtremesOfDouble) {
  for (const Format16& format : kFormats16) {
    const double infinity = std::numeric_limits<double>::infinity();
    EXPECT_EQ(format.round(infinity), format.infinity);
    EXPECT_EQ(format.round(-infinity), format.infinity | 0x8000);
    EXPECT_EQ(format.round(std::numeric_limits<double>::max()), format.infinity);
    EXPECT_EQ(format.round(-std::numeric_limits<double>::max()), format.infinity | 0x8000);
    EXPECT_EQ(format.round(std::numeric_limits<double>::denorm_min()), 0);
    EXPECT_EQ(format.round(-std::numeric_limits<double>::denorm_min()), 0x8000);
    EXPECT_EQ(format.round(-0.0), 0x8000);
    EXPECT_EQ(format.round(std::nan("")), format.nan);
    EXPECT_EQ(format.round(-std::nan("")), format.nan);
  }
}

// Rounded once: by way of binary32 these would be ties and go the other way.
TEST(RoundingTo16Bits, NotByWayOfFloat) {
  EXPECT_EQ(DoubleToFloat16(1 + 0x1p-11 + 0x1p-40), 0x3C01);
  EXPECT_EQ(DoubleToFloat16(1 + 3 * 0x1p-11 - 0x1p-40), 0x3C01);
  EXPECT_EQ(DoubleToBfloat16(1 + 0x1p-8 + 0x1p-40), 0x3F81);
  EXPECT_EQ(DoubleToBfloat16(1 + 3 * 0x1p-8 - 0x1p-40), 0x3F81);
}

TEST(DataType, SizesAndNames) {
  const struct {
    DataType type;
    const char* name;
    size_t size;
    bool floating;
  } cases[] = {{DataType::kFloat32, "FLOAT32", 4, true}, {DataType::kFloat64, "FLOAT64", 8, true},
               {DataType::kFloat16, "FLOAT16", 2, true}, {DataType::kBfloat16, "BFLOAT16", 2, true},
               {DataType::kInt32, "INT32", 4, false},    {DataType::kInt64, "INT64", 8, false},
               {DataType::kUint8, "UINT8", 1, false},    {DataType::kBool, "BOOL", 1, false}};
  for (const auto& c : cases) {
    EXPECT_EQ(Name(c.type), c.name);
    EXPECT_EQ(ByteSize(c.type), c.size);
    EXPECT_EQ(IsFloating(c.type), c.floating);
  }
}

// Bytes 0, 1, 2, ... cut into pieces of these sizes, each with memory of its own, so that a read
// beyond shows.
class Pieces {
 public:
  explicit Pieces(const std::vector<size_t>& sizes) {
    uint8_t next = 0;
    for (const size_t size : sizes) {
      std::vector<std::byte> piece(size);
      for (std::byte& byte : piece) byte = std::byte{next++};
      memory_.push_back(std::move(piece));
    }
  }
  PiecewiseBytes View() const {
    std::vector<std::span<const std::byte>> spans(memory_.begin(), memory_.end());
    return PiecewiseBytes(std::move(spans));
  }
  const std::vector<std::byte>& piece(size_t i) const { return memory_[i]; }

 private:
  std::vector<std::vector<std::byte>> memory_;
};

TEST(PiecewiseBytes, EveryRunOfEveryCut) {
  const std::vector<std::vector<size_t>> cuts = {
      {23},          {0, 23, 0},          {1, 22},         {22, 1}, {7, 9, 7},
      {3, 0, 0, 20}, {1, 1, 1, 1, 1, 18}, {11, 0, 5, 0, 7}};
  for (const auto& sizes : cuts) {
    const Pieces pieces(sizes);
    const PiecewiseBytes bytes = pieces.View();
    ASSERT_EQ(bytes.size(), 23u);
    for (size_t offset = 0; offset <= 23; ++offset) {
      for (size_t size = 0; offset + size <= 23; ++size) {
        std::vector<std::byte> scratch(size);
        const std::byte* run = bytes.Run(offset, size, scratch.data());
        for (size_t i = 0; i < size; ++i) {
          ASSERT_EQ(std::to_integer<size_t>(run[i]), offset + i) << ::testing::PrintToString(sizes);
        }
      }
    }
  }
}

TEST(PiecewiseBytes, CopiesOnlyWhatStraddles) {
  const Pieces pieces({8, 8});
  const PiecewiseBytes bytes = pieces.View();
  std::byte scratch[8];
  EXPECT_EQ(bytes.Run(0, 8, scratch), pieces.piece(0).data());
  EXPECT_EQ(bytes.Run(3, 5, scratch), pieces.piece(0).data() + 3);
  EXPECT_EQ(bytes.Run(8, 8, scratch), pieces.piece(1).data());
  EXPECT_EQ(bytes.Run(7, 2, scratch), scratch);
}

TEST(PiecewiseBytes, NoneAtAll) {
  EXPECT_EQ(PiecewiseBytes({}).size(), 0u);
  std::byte scratch[1];
  EXPECT_EQ(PiecewiseBytes({}).Run(0, 0, scratch), scratch);
}

TEST(TensorView, WantsTheRightNumberOfBytes) {
  std::vector<std::byte> memory(25);
  for (const size_t size : {23, 25, 0}) {
    const auto view =
        TensorView::Create(DataType::kFloat32, Shape{2, 3}, std::span(memory).first(size));
    EXPECT_EQ(view.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(view.status()).reason, "DATA_SIZE");
    EXPECT_EQ(DetailOf(view.status()).field, ".data");
    EXPECT_THAT(std::string(view.status().message()),
                HasSubstr("expected 24 bytes for [2,3] of FLOAT32, got " + std::to_string(size)));
  }
  const Pieces pieces({20, 3});
  const PiecewiseBytes bytes = pieces.View();
  EXPECT_EQ(DetailOf(TensorView::Create(DataType::kFloat32, Shape{2, 3}, &bytes).status()).reason,
            "DATA_SIZE");
}

TEST(TensorView, ReadsWhereTheBytesLie) {
  std::vector<std::byte> memory(1 + 24);
  const std::span<const std::byte> odd = std::span(memory).subspan(1);
  const TensorView view = *TensorView::Create(DataType::kFloat32, Shape{2, 3}, odd);
  EXPECT_TRUE(view);
  EXPECT_TRUE(view.contiguous());
  EXPECT_EQ(view.dtype(), DataType::kFloat32);
  EXPECT_EQ(view.elements(), 6);
  EXPECT_EQ(view.byte_size(), 24u);
  EXPECT_EQ(view.Run(0, 6, nullptr), odd.data());
  EXPECT_EQ(view.Run(4, 2, nullptr), odd.data() + 16);
  EXPECT_FALSE(TensorView());
}

TEST(TensorView, ReadsElementsThatStraddlePieces) {
  const Pieces pieces({3, 10, 11});  // of 4-byte elements
  const PiecewiseBytes bytes = pieces.View();
  const TensorView view = *TensorView::Create(DataType::kInt32, Shape{6}, &bytes);
  EXPECT_FALSE(view.contiguous());
  for (int64_t first = 0; first < 6; ++first) {
    for (int64_t count = 1; first + count <= 6; ++count) {
      std::vector<std::byte> scratch(static_cast<size_t>(count) * 4);
      const std::byte* run = view.Run(first, count, scratch.data());
      for (int64_t i = 0; i < count * 4; ++i)
        EXPECT_EQ(std::to_integer<int64_t>(run[i]), first * 4 + i);
    }
  }
}

TEST(TensorView, NoElementsNeedNoBytes) {
  const auto view =
      TensorView::Create(DataType::kFloat64, Shape{0, 3}, std::span<const std::byte>());
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(*view);
  EXPECT_EQ(view->elements(), 0);
}

}  // namespace
}  // namespace lossd
