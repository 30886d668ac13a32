// Tensors and losses from messages: hand-written values rounded once, no copy of bytes, limits.
#include "lib/wire/decode.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "lib/forms/operand_reader.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/engine_testing.h"

namespace lossd {
namespace {

absl::StatusOr<TensorView> DecodeWhole(const v1::Tensor& tensor,
                                       std::deque<std::vector<std::byte>>* converted) {
  return DecodeTensor(tensor, nullptr, converted);
}

using ::testing::ElementsAre;

constexpr v1::DataType kIntegerTypes[] = {v1::DATA_TYPE_INT32, v1::DATA_TYPE_INT64,
                                          v1::DATA_TYPE_UINT8, v1::DATA_TYPE_BOOL};

template <class Values>
v1::Tensor Written(v1::DataType dtype, const Values& floats, const std::vector<int64_t>& ints) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  tensor.add_shape(static_cast<int64_t>(floats.size() + ints.size()));
  for (const double value : floats) tensor.add_float_values(value);
  for (const int64_t value : ints) tensor.add_int_values(value);
  return tensor;
}
v1::Tensor Floating(v1::DataType dtype, double value) {
  return Written(dtype, std::vector<double>{value}, {});
}
v1::Tensor Whole(v1::DataType dtype, int64_t value) {
  return Written(dtype, std::vector<double>(), {value});
}

// The element as the library reads it.
double Element(const v1::Tensor& tensor) {
  std::deque<std::vector<std::byte>> converted;
  const auto view = DecodeWhole(tensor, &converted);
  EXPECT_TRUE(view.ok()) << view.status();
  return view.ok() ? ReadElement(*view, 0) : std::nan("");
}

TEST(DecodeTensor, BytesAreNotCopied) {
  const v1::Tensor tensor = Floats({2}, {1, 2});
  std::deque<std::vector<std::byte>> converted;
  const auto view = DecodeWhole(tensor, &converted);
  ASSERT_TRUE(view.ok());
  EXPECT_TRUE(converted.empty());
  EXPECT_EQ(static_cast<const void*>(view->Run(0, 2, nullptr)), tensor.data().data());
}

TEST(DecodeTensor, WrittenValuesAreRoundedOnceToNearestEven) {
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT64, 0.1)), 0.1);
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT32, 0.1)), 0.1f);
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT32, 1 + 0x1p-24)), 1);  // a tie, to even
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT32, 1 + 3 * 0x1p-24)), 1 + 0x1p-22);
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT16, 1 + 0x1p-11 + 0x1p-40)), 1 + 0x1p-10);
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_BFLOAT16, 1 + 0x1p-8 + 0x1p-40)), 1 + 0x1p-7);
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT16, 65520)),
            std::numeric_limits<double>::infinity());
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_FLOAT32, 1e300)),
            std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(Element(Floating(v1::DATA_TYPE_BFLOAT16, std::nan("")))));
  EXPECT_TRUE(std::signbit(Element(Floating(v1::DATA_TYPE_FLOAT32, -0.0))));
}

// An int64 beyond 2^53 is no double: by way of one it would be rounded twice.
TEST(DecodeTensor, WrittenIntegersAreRoundedOnce) {
  for (const int64_t sign : {1, -1}) {
    // Just above the middle between 2^62 and the next bfloat16, 2^62 + 2^55: up. The double is the
    // middle itself: to even.
    const int64_t above = (int64_t{1} << 62) + (int64_t{1} << 54) + 1;
    EXPECT_EQ(Element(Whole(v1::DATA_TYPE_BFLOAT16, sign * above)),
              static_cast<double>(sign) * (0x1p62 + 0x1p55));
    EXPECT_EQ(Element(Whole(v1::DATA_TYPE_BFLOAT16, sign * (above - 1))),
              static_cast<double>(sign) * 0x1p62);
    EXPECT_EQ(Element(Whole(v1::DATA_TYPE_BFLOAT16, sign * (above - 2))),
              static_cast<double>(sign) * 0x1p62);
    const int64_t single = (int64_t{1} << 62) + (int64_t{1} << 38) + 1;
    EXPECT_EQ(Element(Whole(v1::DATA_TYPE_FLOAT32, sign * single)),
              static_cast<double>(sign) * (0x1p62 + 0x1p39));
  }
  EXPECT_EQ(Element(Whole(v1::DATA_TYPE_FLOAT64, (int64_t{1} << 53) + 1)), 0x1p53);
  EXPECT_EQ(Element(Whole(v1::DATA_TYPE_FLOAT16, 2049)), 2048);
  EXPECT_EQ(Element(Whole(v1::DATA_TYPE_FLOAT16, 65520)), std::numeric_limits<double>::infinity());
}

TEST(DecodeTensor, IntegersWithinTheirRange) {
  constexpr int64_t kMax64 = std::numeric_limits<int64_t>::max(),
                    kMin64 = std::numeric_limits<int64_t>::min();
  const struct {
    v1::DataType dtype;
    int64_t minimum, maximum;
  } ranges[] = {{v1::DATA_TYPE_INT32, -2147483648, 2147483647},
                {v1::DATA_TYPE_INT64, kMin64, kMax64},
                {v1::DATA_TYPE_UINT8, 0, 255},
                {v1::DATA_TYPE_BOOL, 0, 1}};
  std::deque<std::vector<std::byte>> converted;
  for (const auto& range : ranges) {
    for (const int64_t value : {range.minimum, range.maximum}) {
      EXPECT_TRUE(DecodeWhole(Whole(range.dtype, value), &converted).ok()) << value;
    }
    if (range.maximum == kMax64) continue;
    for (const int64_t value : {range.minimum - 1, range.maximum + 1}) {
      ExpectInvalid(DecodeWhole(Whole(range.dtype, value), &converted).status(), "INVALID_VALUE",
                    ".int_values");
      ExpectInvalid(
          DecodeWhole(Floating(range.dtype, static_cast<double>(value)), &converted).status(),
          "INVALID_VALUE", ".float_values");
    }
  }
  // Doubles at the ends of int64: -2^63 is one, 2^63 is not.
  EXPECT_EQ(Element(Floating(v1::DATA_TYPE_INT64, -0x1p63)), -0x1p63);
  ExpectInvalid(DecodeWhole(Floating(v1::DATA_TYPE_INT64, 0x1p63), &converted).status(),
                "INVALID_VALUE", ".float_values");
  for (const v1::DataType dtype : kIntegerTypes) {
    EXPECT_EQ(Element(Floating(dtype, 1)), 1);
    for (const double value :
         {0.5, std::nan(""), std::numeric_limits<double>::infinity(), 1e30, -1e30}) {
      ExpectInvalid(DecodeWhole(Floating(dtype, value), &converted).status(), "INVALID_VALUE",
                    ".float_values");
    }
  }
}

TEST(DecodeTensor, AScalarAndNothing) {
  v1::Tensor scalar;
  scalar.set_dtype(v1::DATA_TYPE_FLOAT32);
  scalar.add_float_values(2);
  EXPECT_EQ(Element(scalar), 2);
  std::deque<std::vector<std::byte>> converted;
  v1::Tensor empty;
  empty.set_dtype(v1::DATA_TYPE_FLOAT32);
  empty.add_shape(0);
  ASSERT_TRUE(DecodeWhole(empty, &converted).ok());
  empty.add_float_values(1);
  ExpectInvalid(DecodeWhole(empty, &converted).status(), "DATA_SIZE", ".float_values");
}

TEST(DecodeDataType, RefusesWhatIsNone) {
  for (const int number : {0, -1, 9, 255, 257}) {
    ExpectInvalid(DecodeDataType(v1::DataType(number)).status(), "INVALID_DTYPE", ".dtype");
  }
  EXPECT_EQ(*DecodeDataType(v1::DATA_TYPE_BOOL), DataType::kBool);
}

std::vector<LossSpec> Losses(const std::string& text) {
  const auto decoded = DecodeLosses(FromText<v1::ComputeLossRequest>(text).losses());
  EXPECT_TRUE(decoded.ok()) << decoded.status();
  return decoded.ok() ? *decoded : std::vector<LossSpec>();
}

TEST(DecodeLosses, DefaultsWhereNothingIsSet) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    SCOPED_TRACE(row.name);
    const std::vector<LossSpec> specs = Losses("losses { " + std::string(row.name) + " {} }");
    ASSERT_EQ(specs.size(), 1u);
    EXPECT_EQ(specs[0].row, &row);
    EXPECT_EQ(specs[0].weight, 1);
    EXPECT_EQ(specs[0].path, "losses[0]");
    for (int i = 0; i < row.parameters.size; ++i) {
      const double value = specs[0].parameters[static_cast<size_t>(i)];
      const double expected = row.parameters[i].default_value;
      EXPECT_TRUE(value == expected || (std::isnan(value) && std::isnan(expected)))
          << row.parameters[i].name;
    }
  }
}

TEST(DecodeLosses, ValuesOfEveryType) {
  const std::vector<LossSpec> specs = Losses(R"pb(
    losses {
      smooth_l1 { beta: 0 }
      weight: -0.5
      label: "a"
    }
    losses { poisson_nll { log_input: false full: true } }
    losses { zero_one { top_k: 3 ignore_index: -9007199254740991 } }
    losses {
      entropy { unit: UNIT_BITS }
      inputs { key: "logits" value: "head" }
      weight: 0
    }
  )pb");
  ASSERT_EQ(specs.size(), 4u);
  EXPECT_EQ(specs[0].parameters[0], 0);
  EXPECT_EQ(specs[0].weight, -0.5);
  EXPECT_EQ(specs[0].label, "a");
  EXPECT_EQ(specs[1].parameters[0], 0);
  EXPECT_EQ(specs[1].parameters[1], 1);
  EXPECT_EQ(specs[2].parameters[0], 3);
  EXPECT_EQ(specs[2].parameters[1], -9007199254740991.0);
  EXPECT_EQ(specs[3].parameters[0], kUnitBits);
  EXPECT_EQ(specs[3].inputs.at("logits"), "head");
  EXPECT_EQ(specs[3].weight, 0);
  EXPECT_EQ(specs[3].path, "losses[3]");
}

TEST(CheckAllUsed, TakesBoundAndOwnNamesAndSampleWeight) {
  const std::vector<LossSpec> specs =
      Losses("losses { mse {} inputs { key: 'predictions' value: 'head' } }");
  NamedTensors tensors;
  for (const char* name : {"head", "targets", "sample_weight"}) tensors[name] = TensorView();
  EXPECT_TRUE(CheckAllUsed(specs, tensors).ok());
  tensors["tragets"] = TensorView();
  ExpectInvalid(CheckAllUsed(specs, tensors), "UNKNOWN_INPUT", "inputs[\"tragets\"]");
}

TEST(DecodeNonFinite, UnspecifiedIsPropagate) {
  EXPECT_EQ(DecodeNonFinite(v1::NON_FINITE_POLICY_UNSPECIFIED), NonFinitePolicy::kPropagate);
  EXPECT_EQ(DecodeNonFinite(v1::NON_FINITE_POLICY_PROPAGATE), NonFinitePolicy::kPropagate);
  EXPECT_EQ(DecodeNonFinite(v1::NON_FINITE_POLICY_SKIP), NonFinitePolicy::kSkip);
  EXPECT_EQ(DecodeNonFinite(v1::NON_FINITE_POLICY_REJECT), NonFinitePolicy::kReject);
}

TEST(CheckLabels, UpToTheLimit) {
  v1::EvaluationLabels labels;
  labels.set_model(std::string(kMaxLabelBytes, 'm'));
  EXPECT_TRUE(CheckLabels(labels).ok());
  labels.set_dataset(std::string(kMaxLabelBytes + 1, 'd'));
  ExpectInvalid(CheckLabels(labels), "LABEL_TOO_LONG", "labels.dataset");
}

}  // namespace
}  // namespace lossd
