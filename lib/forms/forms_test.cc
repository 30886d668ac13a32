// The ordinary code around the kernels: operands of every type widened exactly, value rules,
// weights, labels and places. The kernels here are plain loops, so that what is tested is the
// driver; items_test of lib/losses tests the real ones.
#include "lib/forms/forms.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"
#include "lib/forms/value_rule.h"

namespace lossd {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// A tensor that owns its bytes, at an odd address or in pieces.
template <class T>
class Owned {
 public:
  Owned(DataType dtype, const Shape& shape, const std::vector<T>& values, size_t piece_bytes = 0)
      : bytes_(1 + values.size() * sizeof(T)) {
    std::memcpy(bytes_.data() + 1, values.data(), values.size() * sizeof(T));
    const auto span = std::span<const std::byte>(bytes_).subspan(1);
    if (piece_bytes == 0) {
      view_ = *TensorView::Create(dtype, shape, span);
      return;
    }
    std::vector<std::span<const std::byte>> spans;
    for (size_t at = 0; at < span.size(); at += piece_bytes) {
      spans.push_back(span.subspan(at, std::min(piece_bytes, span.size() - at)));
    }
    pieces_ = std::make_unique<PiecewiseBytes>(std::move(spans));
    view_ = *TensorView::Create(dtype, shape, pieces_.get());
  }
  const TensorView& view() const { return view_; }

 private:
  std::vector<std::byte> bytes_;
  std::unique_ptr<PiecewiseBytes> pieces_;
  TensorView view_;
};

template <class T>
std::vector<T> ReadAll(const TensorView& view, int64_t first, size_t n, int64_t* inexact) {
  std::vector<T> buffer(n);
  *inexact = -1;
  const T* values = ReadRun<T>(view, first, n, buffer.data(), inexact);
  std::vector<T> read(n);
  std::memcpy(read.data(), values, n * sizeof(T));
  return read;
}

// Every value of `values` as f32 and f64, whole and from the middle, contiguous and in pieces of 13
// bytes.
template <class T>
void ExpectReads(DataType dtype, const std::vector<T>& values,
                 const std::vector<double>& expected) {
  const Shape shape = {static_cast<int64_t>(values.size())};
  for (const size_t piece_bytes : {0, 13}) {
    const Owned<T> tensor(dtype, shape, values, piece_bytes);
    for (const size_t first : {size_t{0}, size_t{1}, values.size() / 2}) {
      int64_t inexact;
      const size_t n = values.size() - first;
      const auto singles = ReadAll<float>(tensor.view(), static_cast<int64_t>(first), n, &inexact);
      EXPECT_EQ(inexact, -1);
      const auto doubles = ReadAll<double>(tensor.view(), static_cast<int64_t>(first), n, &inexact);
      EXPECT_EQ(inexact, -1);
      for (size_t i = 0; i < n; ++i) {
        ASSERT_EQ(singles[i], expected[first + i]) << Name(dtype) << i;
        ASSERT_EQ(doubles[i], expected[first + i]) << Name(dtype) << i;
      }
    }
  }
}

// 2,500 values: more than two of the reader's pieces of 1,024.
template <class T>
void ExpectReadsNumbers(DataType dtype, const std::vector<double>& pattern) {
  std::vector<T> values;
  std::vector<double> expected;
  for (size_t i = 0; i < 2500; ++i) {
    expected.push_back(pattern[i % pattern.size()]);
    values.push_back(static_cast<T>(expected.back()));
  }
  ExpectReads(dtype, values, expected);
}

TEST(OperandReader, EveryType) {
  ExpectReadsNumbers<float>(DataType::kFloat32, {0, 1.5, -2.25, 1e30f, 0x1p-149, -3});
  ExpectReadsNumbers<double>(DataType::kFloat64, {0, 1.5, -2.25, 0x1p100, -3});
  ExpectReadsNumbers<int32_t>(DataType::kInt32, {0, -1, 16777216, -16777216, 7, -2147483648.0});
  ExpectReadsNumbers<int64_t>(DataType::kInt64, {0, -1, 16777216, -0x1p63, 0x1p62, 5});
  ExpectReadsNumbers<uint8_t>(DataType::kUint8, {0, 1, 255, 128});
}

TEST(OperandReader, AnyByteButZeroIsTrue) {
  std::vector<uint8_t> bytes;
  std::vector<double> expected;
  for (int i = 0; i < 256; ++i) {
    bytes.push_back(static_cast<uint8_t>(i));
    expected.push_back(i == 0 ? 0 : 1);
  }
  ExpectReads(DataType::kBool, bytes, expected);
}

// All 65,536 patterns, signed zeros and subnormals among them, and every length of the last vector.
TEST(OperandReader, HalfTypesOfEveryPattern) {
  std::vector<uint16_t> patterns(65536);
  for (uint32_t i = 0; i < 65536; ++i) patterns[i] = static_cast<uint16_t>(i);
  const Owned<uint16_t> half(DataType::kFloat16, {65536}, patterns);
  const Owned<uint16_t> brain(DataType::kBfloat16, {65536}, patterns);
  int64_t inexact;
  const auto halves = ReadAll<float>(half.view(), 0, 65536, &inexact);
  const auto brains = ReadAll<float>(brain.view(), 0, 65536, &inexact);
  const auto wide = ReadAll<double>(half.view(), 0, 65536, &inexact);
  for (uint32_t i = 0; i < 65536; ++i) {
    const float expected = Float16ToFloat(patterns[i]);
    if (std::isnan(expected)) {
      ASSERT_TRUE(std::isnan(halves[i]) && std::isnan(wide[i])) << i;
    } else {
      ASSERT_EQ(std::bit_cast<uint32_t>(halves[i]), std::bit_cast<uint32_t>(expected)) << i;
      ASSERT_EQ(wide[i], static_cast<double>(expected)) << i;
    }
    ASSERT_EQ(std::bit_cast<uint32_t>(brains[i]), i << 16) << i;
  }
  for (size_t n = 1; n <= 40; ++n) {
    const auto few = ReadAll<float>(half.view(), 0x3C00, n, &inexact);
    for (size_t i = 0; i < n; ++i) ASSERT_EQ(few[i], halves[0x3C00 + i]);
  }
}

TEST(OperandReader, NamesTheFirstIntegerThatIsNotExact) {
  std::vector<int64_t> values(2500, 3);
  values[2100] = 16777217;
  values[2200] = std::numeric_limits<int64_t>::max();
  const Owned<int64_t> tensor(DataType::kInt64, {2500}, values);
  int64_t inexact;
  ReadAll<float>(tensor.view(), 0, 2500, &inexact);
  EXPECT_EQ(inexact, 2100);
  ReadAll<float>(tensor.view(), 2000, 500, &inexact);
  EXPECT_EQ(inexact, 100);  // in the run
  ReadAll<double>(tensor.view(), 0, 2500, &inexact);
  EXPECT_EQ(inexact, 2200);
  ReadAll<double>(tensor.view(), 0, 2200, &inexact);
  EXPECT_EQ(inexact, -1);
  const Owned<int32_t> small(DataType::kInt32, {2}, {16777217, 2147483647});
  ReadAll<float>(small.view(), 1, 1, &inexact);
  EXPECT_EQ(inexact, 0);
  ReadAll<double>(small.view(), 0, 2, &inexact);
  EXPECT_EQ(inexact, -1);
}

TEST(OperandReader, ItsOwnTypeIsReadWhereItLies) {
  const Owned<float> tensor(DataType::kFloat32, {4}, {1, 2, 3, 4});
  float buffer[4];
  int64_t inexact = -1;
  EXPECT_NE(ReadRun<float>(tensor.view(), 0, 4, buffer, &inexact), buffer);
}

TEST(OperandReader, Labels) {
  const auto read = [](const TensorView& view, int64_t first, size_t n) {
    std::vector<int64_t> labels(n);
    ReadLabels(view, first, n, labels.data());
    return labels;
  };
  const int64_t big = std::numeric_limits<int64_t>::min();
  EXPECT_THAT(read(Owned<int64_t>(DataType::kInt64, {3}, {5, -100, big}, 5).view(), 1, 2),
              ElementsAre(-100, big));
  EXPECT_THAT(read(Owned<int32_t>(DataType::kInt32, {3}, {5, -100, 7}).view(), 0, 3),
              ElementsAre(5, -100, 7));
  EXPECT_THAT(read(Owned<uint8_t>(DataType::kUint8, {2}, {200, 3}).view(), 0, 2),
              ElementsAre(200, 3));
  EXPECT_THAT(read(Owned<uint8_t>(DataType::kBool, {3}, {2, 0, 255}).view(), 0, 3),
              ElementsAre(1, 0, 1));
  EXPECT_THAT(
      read(Owned<int32_t>(DataType::kInt32, {3000}, std::vector<int32_t>(3000, -7), 999).view(), 0,
           3000),
      Each(-7));
}

template <class T>
void ExpectValueRules() {
  const T kNan = std::numeric_limits<T>::quiet_NaN(), kInf = std::numeric_limits<T>::infinity();
  const T kAbove = std::nextafter(T(1), T(2)), kBelow = -std::numeric_limits<T>::denorm_min();
  const struct {
    ValueRule rule;
    std::vector<T> right, wrong;
  } rules[] = {
      {ValueRule::kAny, {0, -1, kNan, kInf, -kInf}, {}},
      {ValueRule::kUnitInterval, {0, T(-0.0), 1, T(0.5), kNan}, {kBelow, kAbove, kInf, -kInf}},
      {ValueRule::kZeroOrOne, {0, T(-0.0), 1}, {T(0.5), -1, kNan, kInf, kAbove}},
      {ValueRule::kPlusMinusOne, {1, -1}, {0, kNan, kAbove, 2}},
      {ValueRule::kSimilarity, {1, -1, 0, -0.0}, {kNan, kAbove, 2, 0.5}},
      {ValueRule::kNonNegative, {0, T(-0.0), 5, kInf}, {kBelow, kNan, -kInf}},
      {ValueRule::kFiniteNonNegative,
       {0, T(-0.0), std::numeric_limits<T>::max()},
       {kBelow, kNan, kInf, -kInf}},
  };
  for (const auto& rule : rules) {
    std::vector<T> values(200, rule.right[0]);
    for (size_t i = 0; i < values.size(); ++i) values[i] = rule.right[i % rule.right.size()];
    for (size_t n = 0; n <= values.size(); ++n)
      ASSERT_EQ(FirstInvalid(rule.rule, values.data(), n), n);
    for (const T wrong : rule.wrong) {
      for (size_t at = 0; at < values.size(); ++at) {
        std::vector<T> bad = values;
        bad[at] = wrong;
        if (at + 9 < bad.size()) bad[at + 9] = wrong;
        ASSERT_EQ(FirstInvalid(rule.rule, bad.data(), bad.size()), at)
            << Describe(rule.rule) << " " << wrong;
        ASSERT_EQ(FirstInvalid(rule.rule, bad.data(), at), at);
      }
    }
  }
}
TEST(ValueRule, FirstInvalidAtEveryPlace) {
  ExpectValueRules<float>();
  ExpectValueRules<double>();
}

// Boxes that are right in every format, one of them spoilt at its third or fourth number.
template <class T>
void ExpectBoxRules() {
  const T kNan = std::numeric_limits<T>::quiet_NaN();
  constexpr size_t kBoxes = 37;
  std::vector<T> values;
  for (size_t i = 0; i < kBoxes; ++i) values.insert(values.end(), {1, T(0.5), 1, T(i)});
  values[3] = kNan;
  values[7] = T(0.5);
  for (const ValueRule rule : {ValueRule::kBoxCorners, ValueRule::kBoxSizes}) {
    const bool corners = rule == ValueRule::kBoxCorners;
    for (size_t boxes = 2; boxes <= kBoxes; ++boxes) {
      ASSERT_EQ(FirstInvalid(rule, values.data(), 4 * boxes), 4 * boxes);
      for (size_t at = 4 * boxes - 2; at < 4 * boxes; ++at) {
        std::vector<T> bad(values.begin(), values.begin() + static_cast<ptrdiff_t>(4 * boxes));
        bad[at] =
            corners ? std::nextafter(bad[at - 2], T(0)) : -std::numeric_limits<T>::denorm_min();
        ASSERT_EQ(FirstInvalid(rule, bad.data(), bad.size()), at) << Describe(rule);
      }
    }
  }
}
TEST(ValueRule, FirstInvalidBox) {
  ExpectBoxRules<float>();
  ExpectBoxRules<double>();
}

// Plain kernels: a + 10 b (times c); and of a row its label's prediction, or the weighted sum with
// targets.
void SumElements(const double*, const float* const* operands, size_t n, float* const* items) {
  for (size_t i = 0; i < n; ++i) {
    float a, b, c;
    std::memcpy(&a, operands[0] + i, sizeof(a));
    std::memcpy(&b, operands[1] + i, sizeof(b));
    std::memcpy(&c, operands[2] + i, sizeof(c));
    items[0][i] = (a + 10 * b) * c;
  }
}
void LabelRows(const double*, const RowBlock<float>& block, float* items, uint8_t*) {
  for (size_t row = 0; row < block.rows; ++row) {
    const auto label = static_cast<size_t>(block.labels[row]);
    std::memcpy(items + row, block.operands[0] + row * block.width + label, sizeof(float));
    if (block.class_weights != nullptr) items[row] *= block.class_weights[label];
  }
}

FormCall ElementCall(int64_t units) {
  FormCall call;
  call.loss = "test";
  call.kernels.elementwise.f32 = SumElements;
  call.kernels.elementwise.operands = 3;
  call.kernels.elementwise.parts = 1;
  call.units = units;
  return call;
}

// All items of a call, in runs of `step` units.
absl::Status RunAll(const FormCall& call, int64_t step, std::vector<float>* items,
                    std::vector<float>* weights) {
  return WithForm<float>(call, [&](auto& form) -> absl::Status {
    items->assign(static_cast<size_t>(call.units * call.items_per_unit()), -1);
    weights->clear();
    for (int64_t first = 0; first < call.units;) {
      const int64_t n = std::min({step, form.max_units(), call.units - first});
      ItemBlock<float> block;
      if (absl::Status s = form.Run(first, n, &block); !s.ok()) return s;
      if (block.weights != nullptr)
        weights->insert(weights->end(), block.weights, block.weights + block.n);
      form.StoreItems(reinterpret_cast<std::byte*>(items->data()));
      first += n;
    }
    return absl::OkStatus();
  });
}

std::vector<float> Range(size_t n) {
  std::vector<float> values(n);
  for (size_t i = 0; i < n; ++i) values[i] = static_cast<float>(i);
  return values;
}

TEST(ElementForm, AnOperandThatWasNotGivenIsOneAndARepeatedOneRepeats) {
  constexpr int64_t kUnits = 3000;  // [1000,3]
  const Owned<float> a(DataType::kFloat32, {1000, 3}, Range(3000));
  const Owned<uint8_t> b(DataType::kUint8, {1000, 3}, std::vector<uint8_t>(3000, 2));
  const Owned<float> c(DataType::kFloat32, {3}, {1, 2, 4});
  FormCall call = ElementCall(kUnits);
  call.operands[0] = {"a", a.view(), ValueRule::kAny, false};
  call.operands[1] = {"b", b.view(), ValueRule::kAny, false};
  std::vector<float> items, weights;
  for (const int64_t step : {1, 7, 1000, 5000}) {
    call.operands[2] = {"c", TensorView(), ValueRule::kAny, false};
    ASSERT_TRUE(RunAll(call, step, &items, &weights).ok());
    for (size_t i = 0; i < 3000; ++i) ASSERT_EQ(items[i], static_cast<float>(i) + 20);
    call.operands[2] = {"c", c.view(), ValueRule::kAny, true};
    ASSERT_TRUE(RunAll(call, step, &items, &weights).ok());
    for (size_t i = 0; i < 3000; ++i)
      ASSERT_EQ(items[i], (static_cast<float>(i) + 20) * (1 << (i % 3)));
  }
}

TEST(ElementForm, WeightsOfSamplesSpreadAndIgnoredItemsAreZero) {
  const Owned<float> a(DataType::kFloat32, {700, 3}, std::vector<float>(2100, 5));
  std::vector<double> of_samples(700);
  for (size_t i = 0; i < 700; ++i) of_samples[i] = static_cast<double>(i % 4);
  const Owned<double> w(DataType::kFloat64, {700}, of_samples);
  FormCall call = ElementCall(2100);
  call.operands[0] = call.operands[1] = {"a", a.view(), ValueRule::kAny, false};
  call.sample_weight = {"w", w.view(), ValueRule::kFiniteNonNegative, false};
  call.weight_per_sample = true;
  call.units_per_sample = 3;
  std::vector<float> items, weights;
  for (const int64_t step : {1, 2, 500, 5000}) {
    ASSERT_TRUE(RunAll(call, step, &items, &weights).ok());
    for (size_t i = 0; i < 2100; ++i) {
      ASSERT_EQ(weights[i], static_cast<float>(i / 3 % 4)) << step;
      ASSERT_EQ(items[i], i / 3 % 4 == 0 ? 0 : 55) << step;
    }
  }
}

TEST(ElementForm, AValueIsCheckedUnlessItsWeightIsZero) {
  std::vector<float> values(2000, 1);
  values[1500] = 3;
  values[1700] = 2;
  std::vector<float> ones(2000, 1);
  const Owned<float> a(DataType::kFloat32, {20, 100}, values);
  FormCall call = ElementCall(2000);
  call.operands[0] = {"a", a.view(), ValueRule::kZeroOrOne, false};
  call.operands[1] = {"a", a.view(), ValueRule::kAny, false};
  std::vector<float> items, weights;
  absl::Status status = RunAll(call, 5000, &items, &weights);
  EXPECT_EQ(DetailOf(status).reason, "INVALID_VALUE");
  EXPECT_EQ(DetailOf(status).field, "inputs[\"a\"]");
  EXPECT_THAT(std::string(status.message()),
              HasSubstr("test: a: expected 0 or 1, got 3 at [15,0]"));

  ones[1500] = 0;
  const Owned<float> masked(DataType::kFloat32, {20, 100}, ones);
  call.sample_weight = {"w", masked.view(), ValueRule::kFiniteNonNegative, false};
  status = RunAll(call, 5000, &items, &weights);
  EXPECT_THAT(std::string(status.message()), HasSubstr("got 2 at [17,0]"));
  ones[1700] = 0;
  const Owned<float> both(DataType::kFloat32, {20, 100}, ones);
  call.sample_weight.view = both.view();
  EXPECT_TRUE(RunAll(call, 5000, &items, &weights).ok());
}

// [2,3,4]: two samples, three classes, four pixels; the value of sample n, class c, pixel p is 100
// n + 10 c + p.
TEST(RowForm, PixelsAreRowsOfTheirClasses) {
  std::vector<float> values;
  for (int n = 0; n < 2; ++n) {
    for (int c = 0; c < 3; ++c) {
      for (int p = 0; p < 4; ++p) values.push_back(static_cast<float>(100 * n + 10 * c + p));
    }
  }
  const Owned<int64_t> labels(DataType::kInt64, {2, 4}, {0, 1, 2, -1, 2, 7, 0, 1});
  const Owned<float> class_weights(DataType::kFloat32, {3}, {1, 2, 3});
  const Owned<float> masks(DataType::kFloat32, {2, 4}, {1, 1, 1, 1, 1, 0, 1, 1});
  for (const size_t piece_bytes : {0, 7}) {
    const Owned<float> logits(DataType::kFloat32, {2, 3, 4}, values, piece_bytes);
    FormCall call;
    call.loss = "test";
    call.kernels.rows.f32 = LabelRows;
    call.units = 8;
    call.units_per_sample = 4;
    call.width = call.classes = 3;
    call.operands[0] = {"logits", logits.view(), ValueRule::kAny, false};
    call.labels = {"labels", labels.view(), ValueRule::kLabel, false};
    call.class_weight = {"class_weight", class_weights.view(), ValueRule::kAny, false};
    call.ignore_index = -1;
    // The label 7 stands where the weight is 0, so that nobody reads it.
    call.sample_weight = {"w", masks.view(), ValueRule::kFiniteNonNegative, false};
    std::vector<float> items, weights;
    for (const int64_t step : {1, 3, 8}) {
      ASSERT_TRUE(RunAll(call, step, &items, &weights).ok());
      EXPECT_THAT(items, ElementsAre(0, 22, 66, 0, 360, 0, 102, 226));
    }
    call.sample_weight = Operand();
    const absl::Status status = RunAll(call, 8, &items, &weights);
    EXPECT_EQ(DetailOf(status).reason, "LABEL_OUT_OF_RANGE");
    EXPECT_THAT(std::string(status.message()),
                HasSubstr("a label from 0 to 2 or ignore_index -1, got 7 at [1,1]"));
    call.ignore_index.reset();
    EXPECT_THAT(std::string(RunAll(call, 8, &items, &weights).message()),
                HasSubstr("a label from 0 to 2, got -1 at [0,3]"));
  }
}

TEST(RowForm, ClassWeightsInTheDenominatorAreThoseOfTheLabels) {
  const Owned<float> logits(DataType::kFloat32, {3, 2}, Range(6));
  const Owned<int32_t> labels(DataType::kInt32, {3}, {1, 0, 9});
  const Owned<float> class_weights(DataType::kFloat32, {2}, {0.5, 4});
  FormCall call;
  call.loss = "test";
  call.kernels.rows.f32 = LabelRows;
  call.units = 3;
  call.width = call.classes = 2;
  call.operands[0] = {"logits", logits.view(), ValueRule::kAny, false};
  call.labels = {"labels", labels.view(), ValueRule::kLabel, false};
  call.ignore_index = 9;
  call.class_weight = {"class_weight", class_weights.view(), ValueRule::kAny, false};
  call.class_weight_in_denominator = true;
  RowForm<float> form(call);
  ItemBlock<float> block;
  ASSERT_TRUE(form.Run(0, 3, &block).ok());
  ASSERT_NE(block.class_weights, nullptr);
  EXPECT_EQ(block.class_weights[0], 4);
  EXPECT_EQ(block.class_weights[1], 0.5);
  ASSERT_NE(block.ignored, nullptr);
  EXPECT_EQ(block.ignored[0], 0);
  EXPECT_EQ(block.ignored[2], 1);
  // A run without an ignored label says so.
  ASSERT_TRUE(form.Run(0, 2, &block).ok());
  EXPECT_EQ(block.ignored, nullptr);
}

}  // namespace
}  // namespace lossd
