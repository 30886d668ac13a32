// Binding: which tensors a loss takes, in what type and shape it computes, and every error by its
// reason and path.
#include "lib/losses/bind.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "lib/base/status.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

constexpr DataType kF32 = DataType::kFloat32, kF64 = DataType::kFloat64, kI64 = DataType::kInt64;

// Tensors of a type and shape; binding reads no value.
NamedTensors Tensors(const std::vector<std::tuple<std::string, DataType, Shape>>& tensors) {
  static const std::vector<std::byte> zeros(1 << 16);
  NamedTensors views;
  for (const auto& [name, dtype, shape] : tensors) {
    const size_t size = static_cast<size_t>(shape.elements()) * ByteSize(dtype);
    views.emplace(name, *TensorView::Create(dtype, shape, std::span(zeros).first(size)));
  }
  return views;
}

LossSpec Spec(const char* name, const std::map<std::string, std::string>& inputs = {}) {
  LossSpec spec;
  spec.row = Catalogue::Get().Find(name);
  spec.path = "losses[0]";
  spec.inputs = inputs;
  for (int i = 0; i < spec.row->parameters.size; ++i) {
    spec.parameters[static_cast<size_t>(i)] = spec.row->parameters[i].default_value;
  }
  return spec;
}
LossSpec SpecWith(const char* name, const char* parameter, double value) {
  LossSpec spec = Spec(name);
  spec.parameters[static_cast<size_t>(FindParameter(*spec.row, parameter))] = value;
  return spec;
}

TEST(Bind, Elements) {
  const auto bound =
      Bind(Spec("mse"), Tensors({{"predictions", kF32, {2, 3}}, {"targets", kF32, {2, 3}}}));
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->item_shape, (Shape{2, 3}));
  EXPECT_EQ(bound->samples, 2);
  EXPECT_EQ(bound->call.units, 6);
  EXPECT_EQ(bound->call.units_per_sample, 3);
  EXPECT_EQ(bound->call.classes, 1);
  EXPECT_EQ(bound->compute_type, kF32);
  EXPECT_FALSE(bound->call.ignore_index.has_value());
}

TEST(Bind, RowsAndPixels) {
  const auto bound = Bind(Spec("cross_entropy"),
                          Tensors({{"logits", kF32, {2, 5, 3, 7}}, {"labels", kI64, {2, 3, 7}}}));
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->item_shape, (Shape{2, 3, 7}));
  EXPECT_EQ(bound->call.classes, 5);
  EXPECT_EQ(bound->call.units, 42);
  EXPECT_EQ(bound->call.units_per_sample, 21);
  EXPECT_EQ(bound->call.items_per_unit(), 1);
  EXPECT_EQ(bound->call.ignore_index, -100);
  const auto points =
      Bind(SpecWith("kl_divergence", "pointwise", 1),
           Tensors({{"logits", kF32, {2, 5, 3}}, {"target_probs", kF32, {2, 5, 3}}}));
  ASSERT_TRUE(points.ok()) << points.status();
  EXPECT_EQ(points->item_shape, (Shape{2, 5, 3}));
  EXPECT_EQ(points->call.units, 6);
  EXPECT_EQ(points->call.items_per_unit(), 5);
}

TEST(Bind, EmptyBatchesOfAnyShape) {
  for (const Shape& shape : {Shape{0}, Shape{0, 3}, Shape{4, 0}, Shape{0, 0}}) {
    const auto bound =
        Bind(Spec("mse"), Tensors({{"predictions", kF32, shape}, {"targets", kF32, shape}}));
    ASSERT_TRUE(bound.ok());
    EXPECT_EQ(bound->call.units, 0);
    EXPECT_EQ(bound->samples, shape[0]);
  }
  EXPECT_TRUE(
      Bind(Spec("cross_entropy"), Tensors({{"logits", kF32, {0, 5}}, {"labels", kI64, {0}}})).ok());
}

TEST(Bind, ComputeTypeFollowsTheValueInputs) {
  const auto type_of = [](const LossSpec& spec, const NamedTensors& tensors) {
    const auto bound = Bind(spec, tensors);
    EXPECT_TRUE(bound.ok()) << bound.status();
    return bound.ok() ? bound->compute_type : DataType::kBool;
  };
  const Shape n = {4};
  for (const DataType type : {kF32, DataType::kFloat16, DataType::kBfloat16}) {
    EXPECT_EQ(type_of(Spec("mse"), Tensors({{"predictions", type, n}, {"targets", kI64, n}})),
              kF32);
  }
  EXPECT_EQ(type_of(Spec("mse"), Tensors({{"predictions", kF64, n}, {"targets", kF32, n}})), kF64);
  EXPECT_EQ(type_of(Spec("mse"), Tensors({{"predictions", kF32, n}, {"targets", kF64, n}})), kF64);
  // Weights of samples are no value input; those of classes are.
  EXPECT_EQ(
      type_of(
          Spec("mse"),
          Tensors({{"predictions", kF32, n}, {"targets", kF32, n}, {"sample_weight", kF64, n}})),
      kF32);
  EXPECT_EQ(
      type_of(
          Spec("cross_entropy"),
          Tensors({{"logits", kF32, {4, 2}}, {"labels", kI64, n}, {"class_weight", kF64, {2}}})),
      kF64);
  // Whole numbers are compared as they are.
  EXPECT_EQ(type_of(Spec("zero_one"), Tensors({{"predictions", kI64, n}, {"targets", kI64, n}})),
            kF64);
  EXPECT_EQ(type_of(Spec("zero_one"), Tensors({{"predictions", DataType::kUint8, n},
                                               {"targets", DataType::kBool, n}})),
            kF32);
}

TEST(Bind, SampleWeightIsOfSamplesOrItems) {
  const auto bind = [](const Shape& weights) {
    return Bind(Spec("mse"), Tensors({{"predictions", kF32, {2, 3}},
                                      {"targets", kF32, {2, 3}},
                                      {"sample_weight", kF32, weights}}));
  };
  EXPECT_TRUE(bind({2})->call.weight_per_sample);
  EXPECT_FALSE(bind({2, 3})->call.weight_per_sample);
  for (const Shape& wrong : {Shape{3}, Shape{3, 2}, Shape{2, 1}, Shape()}) {
    EXPECT_EQ(DetailOf(bind(wrong).status()).field, "inputs[\"sample_weight\"].shape");
    EXPECT_EQ(DetailOf(bind(wrong).status()).reason, "SHAPE_MISMATCH");
    EXPECT_THAT(std::string(bind(wrong).status().message()),
                HasSubstr("expected [2] or [2,3], got " + wrong.ToString()));
  }
}

TEST(Bind, RolesTakeTensorsOfOtherNames) {
  const auto bound =
      Bind(Spec("mse", {{"predictions", "head"}, {"sample_weight", "mask"}}),
           Tensors({{"head", kF32, {2}}, {"targets", kF32, {2}}, {"mask", kF32, {2}}}));
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->call.operands[0].name, "head");
  EXPECT_EQ(bound->call.sample_weight.name, "mask");
}

TEST(Bind, AnAlternativeIsChosenByWhatIsThere) {
  const Shape n = {4}, rows = {4, 3};
  const auto first_input = [](const LossSpec& spec, const NamedTensors& tensors) {
    const auto bound = Bind(spec, tensors);
    return bound.ok() ? std::string(bound->signature->inputs[0].name) + " " +
                            bound->signature->inputs[1].name
                      : DetailOf(bound.status()).reason;
  };
  EXPECT_EQ(
      first_input(Spec("cross_entropy"), Tensors({{"log_probs", kF32, rows}, {"labels", kI64, n}})),
      "log_probs labels");
  const NamedTensors both =
      Tensors({{"logits", kF32, rows}, {"probs", kF32, rows}, {"labels", kI64, n}});
  EXPECT_EQ(first_input(Spec("cross_entropy"), both), "AMBIGUOUS_INPUT");
  EXPECT_EQ(first_input(Spec("cross_entropy", {{"probs", "probs"}}), both), "probs labels");
  const NamedTensors either =
      Tensors({{"logits", kF32, rows}, {"targets", kF32, rows}, {"labels", kI64, n}});
  EXPECT_EQ(first_input(Spec("focal"), either), "AMBIGUOUS_INPUT");
  EXPECT_EQ(first_input(Spec("focal", {{"labels", "labels"}}), either), "logits labels");
  EXPECT_EQ(first_input(Spec("focal", {{"targets", "targets"}}), either), "logits targets");
  EXPECT_EQ(first_input(Spec("focal", {{"targets", "targets"}, {"labels", "labels"}}), either),
            "AMBIGUOUS_INPUT");
}

TEST(Bind, PooledUntilBetaIsGiven) {
  const NamedTensors tensors = Tensors({{"logits", kF32, {4}}, {"targets", kF32, {4}}});
  const auto pooled = Bind(Spec("balanced_binary_cross_entropy"), tensors);
  ASSERT_TRUE(pooled.ok());
  EXPECT_TRUE(pooled->pooled);
  EXPECT_EQ(pooled->call.kernels.elementwise.parts, 3);
  LossSums sums;
  sums.weight.Add(4);
  sums.parts[2].Add(1);
  EXPECT_EQ(pooled->ItemCall(sums).parameters[0], 0.75);
  EXPECT_EQ(pooled->ItemCall(sums).kernels.elementwise.parts, 1);
  const auto given = Bind(SpecWith("balanced_binary_cross_entropy", "beta", 0.5), tensors);
  EXPECT_FALSE(given->pooled);
  EXPECT_EQ(given->ItemCall(sums).parameters[0], 0.5);
}

TEST(BindErrors, ByReasonAndPath) {
  const Shape n = {4}, rows = {4, 3};
  const struct {
    LossSpec spec;
    NamedTensors tensors;
    const char* reason;
    const char* field;
  } cases[] = {
      {Spec("mse", {{"logits", "targets"}}),
       Tensors({{"predictions", kF32, n}, {"targets", kF32, n}}), "UNKNOWN_INPUT",
       "losses[0].inputs[\"logits\"]"},
      {Spec("mse", {{"targets", "t"}}), Tensors({{"predictions", kF32, n}, {"targets", kF32, n}}),
       "MISSING_INPUT", "losses[0].inputs[\"targets\"]"},
      {Spec("mse"), Tensors({{"predictions", kF32, n}}), "MISSING_INPUT", "inputs[\"targets\"]"},
      {Spec("mse"), Tensors({}), "MISSING_INPUT", "inputs[\"predictions\"]"},
      {Spec("cross_entropy"), Tensors({{"logits", kF32, rows}}), "MISSING_INPUT",
       "inputs[\"labels\"]"},
      {Spec("mse"), Tensors({{"predictions", kI64, n}, {"targets", kF32, n}}), "DTYPE_MISMATCH",
       "inputs[\"predictions\"].dtype"},
      {Spec("cross_entropy"), Tensors({{"logits", kF32, rows}, {"labels", kF64, n}}),
       "DTYPE_MISMATCH", "inputs[\"labels\"].dtype"},
      {Spec("mse"), Tensors({{"predictions", kF32, {}}, {"targets", kF32, {}}}), "SHAPE_MISMATCH",
       "inputs[\"predictions\"].shape"},
      {Spec("mse"), Tensors({{"predictions", kF32, rows}, {"targets", kF32, n}}), "SHAPE_MISMATCH",
       "inputs[\"targets\"].shape"},
      {Spec("entropy"), Tensors({{"logits", kF32, {4, 3, 1}}}), "SHAPE_MISMATCH",
       "inputs[\"logits\"].shape"},
      {Spec("entropy"), Tensors({{"logits", kF32, {4}}}), "SHAPE_MISMATCH",
       "inputs[\"logits\"].shape"},
      {Spec("cross_entropy"), Tensors({{"logits", kF32, {4, 0}}, {"labels", kI64, n}}),
       "SHAPE_MISMATCH", "inputs[\"logits\"].shape"},
      {Spec("cross_entropy"), Tensors({{"logits", kF32, rows}, {"labels", kI64, {4, 1}}}),
       "SHAPE_MISMATCH", "inputs[\"labels\"].shape"},
      {Spec("cross_entropy"), Tensors({{"logits", kF32, rows}, {"target_probs", kF32, {4, 2}}}),
       "SHAPE_MISMATCH", "inputs[\"target_probs\"].shape"},
      {Spec("cross_entropy"),
       Tensors({{"logits", kF32, rows}, {"labels", kI64, n}, {"class_weight", kF32, {4}}}),
       "SHAPE_MISMATCH", "inputs[\"class_weight\"].shape"},
      {Spec("binary_cross_entropy"),
       Tensors({{"logits", kF32, rows}, {"targets", kF32, rows}, {"pos_weight", kF32, {4}}}),
       "SHAPE_MISMATCH", "inputs[\"pos_weight\"].shape"},
      {SpecWith("focal", "alpha", 0.5), Tensors({{"logits", kF32, rows}, {"labels", kI64, n}}),
       "UNUSED_PARAMETER", "losses[0].focal.alpha"},
      {SpecWith("zero_one", "top_k", 2), Tensors({{"predictions", kF32, n}, {"targets", kF32, n}}),
       "UNUSED_PARAMETER", "losses[0].zero_one.top_k"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(std::string(c.spec.row->name) + " " + c.reason + " " + c.field);
    const absl::Status status = Bind(c.spec, c.tensors).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(status).reason, c.reason);
    EXPECT_EQ(DetailOf(status).field, c.field);
    EXPECT_THAT(std::string(status.message()), HasSubstr(c.spec.row->name));
  }
}

TEST(BindErrors, SayWhatWasExpectedAndWhatCame) {
  const absl::Status shape =
      Bind(Spec("mse"), Tensors({{"predictions", kF32, {2, 3}}, {"targets", kF32, {3, 2}}}))
          .status();
  EXPECT_THAT(std::string(shape.message()), HasSubstr("mse: targets: expected [2,3], got [3,2]"));
  const absl::Status type =
      Bind(Spec("mse"), Tensors({{"predictions", kI64, {2}}, {"targets", kF32, {2}}})).status();
  EXPECT_THAT(std::string(type.message()),
              HasSubstr("expected FLOAT32, FLOAT64, FLOAT16 or BFLOAT16, got INT64"));
  const absl::Status missing = Bind(Spec("entropy"), Tensors({})).status();
  EXPECT_THAT(std::string(missing.message()),
              HasSubstr("expected logits [N,C]; or log_probs [N,C]; or probs [N,C]"));
}

TEST(IsConstantInput, OnlyWhatIsOneForAllSamples) {
  const LossRow& row = *Catalogue::Get().Find("cross_entropy");
  EXPECT_TRUE(IsConstantInput(row, "class_weight"));
  EXPECT_FALSE(IsConstantInput(row, "logits"));
  EXPECT_FALSE(IsConstantInput(row, "labels"));
  EXPECT_FALSE(IsConstantInput(row, "other"));
  EXPECT_TRUE(IsConstantInput(*Catalogue::Get().Find("binary_cross_entropy"), "pos_weight"));
}

}  // namespace
}  // namespace lossd
