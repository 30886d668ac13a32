// Every error of ComputeLoss and MergeEvaluations by its code, reason and path.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "lib/wire/engine_testing.h"
#include "lib/wire/loss_engine.h"
#include "lib/wire/version.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using v1::ComputeLossRequest;

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

LossEngine* Engine() {
  static LossEngine* const engine = MakeEngine().release();
  return engine;
}

absl::Status ErrorOf(const ComputeLossRequest& request) { return Call(Engine(), request).status(); }

struct ErrorCase {
  std::string name;
  std::string reason;
  std::string field;
  std::function<ComputeLossRequest()> request;
};

ComputeLossRequest With(ComputeLossRequest request, const std::string& name,
                        const v1::Tensor& tensor) {
  (*request.mutable_inputs())[name] = tensor;
  return request;
}
ComputeLossRequest Without(ComputeLossRequest request, const std::string& name) {
  request.mutable_inputs()->erase(name);
  return request;
}
v1::Tensor Text(const std::string& text) { return FromText<v1::Tensor>(text); }

std::vector<ErrorCase> NameErrors() {
  return {
      {"unknown input", "UNKNOWN_INPUT", "inputs[\"pos_wieght\"]",
       [] { return With(PairRequest("mse {}"), "pos_wieght", Floats({1}, {1})); }},
      {"unknown role", "UNKNOWN_INPUT", "losses[0].inputs[\"logits\"]",
       [] { return PairRequest("mse {} inputs { key: \"logits\" value: \"predictions\" }"); }},
      {"missing input", "MISSING_INPUT", "inputs[\"targets\"]",
       [] { return Without(PairRequest("mse {}"), "targets"); }},
      {"bound to nothing", "MISSING_INPUT", "losses[0].inputs[\"predictions\"]",
       [] { return PairRequest("mse {} inputs { key: \"predictions\" value: \"head\" }"); }},
      {"ambiguous input", "AMBIGUOUS_INPUT", "losses[0].inputs",
       [] {
         return With(RowRequest("cross_entropy {}"), "probs", Floats({2, 3}, {1, 0, 0, 1, 0, 0}));
       }},
  };
}

std::vector<ErrorCase> TypeAndShapeErrors() {
  return {
      {"integer predictions", "DTYPE_MISMATCH", "inputs[\"predictions\"].dtype",
       [] {
         return With(PairRequest("mse {}"), "predictions", Int64s({3}, {1, 2, 3}));
       }},
      {"float labels", "DTYPE_MISMATCH", "inputs[\"labels\"].dtype",
       [] {
         return With(RowRequest("cross_entropy {}"), "labels", Floats({2}, {1, 2}));
       }},
      {"no dtype", "INVALID_DTYPE", "inputs[\"predictions\"].dtype",
       [] { return With(PairRequest("mse {}"), "predictions", Text("shape: 3 data: 'abc'")); }},
      {"unknown dtype", "INVALID_DTYPE", "inputs[\"predictions\"].dtype",
       [] {
         return With(PairRequest("mse {}"), "predictions",
                     MakeTensor<float>(v1::DataType(99), {0}, {}));
       }},
      {"shapes that differ", "SHAPE_MISMATCH", "inputs[\"targets\"].shape",
       [] {
         return With(PairRequest("mse {}"), "targets", Floats({1, 3}, {1, 2, 3}));
       }},
      {"scalar", "SHAPE_MISMATCH", "inputs[\"predictions\"].shape",
       [] { return With(PairRequest("mse {}"), "predictions", Floats({}, {1})); }},
      {"labels of another N", "SHAPE_MISMATCH", "inputs[\"labels\"].shape",
       [] {
         return With(RowRequest("cross_entropy {}"), "labels", Int64s({3}, {0, 1, 2}));
       }},
      {"no classes", "SHAPE_MISMATCH", "inputs[\"logits\"].shape",
       [] {
         return With(RowRequest("cross_entropy {}"), "logits", Floats({2, 0}, {}));
       }},
      {"class_weight of another C", "SHAPE_MISMATCH", "inputs[\"class_weight\"].shape",
       [] {
         return With(RowRequest("cross_entropy {}"), "class_weight", Floats({2}, {1, 1}));
       }},
      {"sample_weight of another shape", "SHAPE_MISMATCH", "inputs[\"sample_weight\"].shape",
       [] {
         return With(PairRequest("mse {}"), "sample_weight", Floats({2}, {1, 1}));
       }},
  };
}

std::vector<ErrorCase> DataErrors() {
  return {
      {"data too short", "DATA_SIZE", "inputs[\"predictions\"].data",
       [] {
         return With(PairRequest("mse {}"), "predictions", Floats({3}, {1, 2}));
       }},
      {"data too long", "DATA_SIZE", "inputs[\"predictions\"].data",
       [] {
         return With(PairRequest("mse {}"), "predictions", Floats({3}, {1, 2, 3, 4}));
       }},
      {"no data", "DATA_SIZE", "inputs[\"predictions\"].data",
       [] { return With(PairRequest("mse {}"), "predictions", Floats({3}, {})); }},
      {"too few values", "DATA_SIZE", "inputs[\"predictions\"].float_values",
       [] {
         return With(PairRequest("mse {}"), "predictions",
                     Text("dtype: DATA_TYPE_FLOAT32 shape: 3 float_values: [ 1, 2 ]"));
       }},
      {"data and values", "AMBIGUOUS_DATA", "inputs[\"predictions\"].data",
       [] {
         return With(PairRequest("mse {}"), "predictions",
                     Text("dtype: DATA_TYPE_UINT8 shape: 1 data: 'a' int_values: 1"));
       }},
      {"negative dimension", "INVALID_SHAPE", "inputs[\"predictions\"].shape",
       [] {
         return With(PairRequest("mse {}"), "predictions", Floats({-3}, {1, 2, 3}));
       }},
      {"overflowing dimensions", "INVALID_SHAPE", "inputs[\"predictions\"].shape",
       [] {
         return With(PairRequest("mse {}"), "predictions",
                     Floats({int64_t{1} << 40, int64_t{1} << 40}, {}));
       }},
      {"overflow behind a zero", "INVALID_SHAPE", "inputs[\"predictions\"].shape",
       [] {
         return With(PairRequest("mse {}"), "predictions", Floats({0, int64_t{1} << 62}, {}));
       }},
      {"nine dimensions", "INVALID_SHAPE", "inputs[\"predictions\"].shape",
       [] {
         return With(PairRequest("mse {}"), "predictions",
                     Floats({1, 1, 1, 1, 1, 1, 1, 1, 1}, {1}));
       }},
      {"name too long", "NAME_TOO_LONG", "inputs",
       [] { return With(PairRequest("mse {}"), std::string(129, 'x'), Floats({1}, {1})); }},
      {"too many inputs", "TOO_MANY_INPUTS", "inputs",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         for (int i = 0; i < 255; ++i)
           request = With(std::move(request), std::to_string(i), Floats({1}, {1}));
         return request;
       }},
  };
}

std::vector<ErrorCase> ValueErrors() {
  return {
      {"label C", "LABEL_OUT_OF_RANGE", "inputs[\"labels\"]",
       [] {
         return With(RowRequest("cross_entropy {}"), "labels", Int64s({2}, {0, 3}));
       }},
      {"negative label", "LABEL_OUT_OF_RANGE", "inputs[\"labels\"]",
       [] {
         return With(RowRequest("zero_one {}"), "labels", Int64s({2}, {-1, 0}));
       }},
      {"another loss's ignored label", "LABEL_OUT_OF_RANGE", "inputs[\"labels\"]",
       [] {
         return With(RowRequest("focal {}"), "labels", Int64s({2}, {-100, 0}));
       }},
      {"target of neither sign", "INVALID_VALUE", "inputs[\"targets\"]",
       [] { return PairRequest("hinge {}"); }},
      {"target over 1", "INVALID_VALUE", "inputs[\"targets\"]",
       [] {
         ComputeLossRequest request = PairRequest("binary_cross_entropy {}");
         (*request.mutable_inputs())["logits"] = request.inputs().at("predictions");
         return Without(std::move(request), "predictions");
       }},
      {"negative variance", "INVALID_VALUE", "inputs[\"variance\"]",
       [] {
         return With(PairRequest("gaussian_nll {}"), "variance", Floats({3}, {1, -1, 1}));
       }},
      {"negative sample weight", "INVALID_VALUE", "inputs[\"sample_weight\"]",
       [] {
         return With(PairRequest("mse {}"), "sample_weight", Floats({3}, {1, -1, 1}));
       }},
      {"NaN sample weight", "INVALID_VALUE", "inputs[\"sample_weight\"]",
       [] {
         return With(PairRequest("mse {}"), "sample_weight", Floats({3}, {1, kNan, 1}));
       }},
      {"infinite sample weight", "INVALID_VALUE", "inputs[\"sample_weight\"]",
       [] {
         return With(PairRequest("mse {}"), "sample_weight", Floats({3}, {1, kInf, 1}));
       }},
      {"integer target that f32 cannot hold", "INVALID_VALUE", "inputs[\"targets\"]",
       [] {
         return With(PairRequest("mse {}"), "targets", Int64s({3}, {0, 16777217, 0}));
       }},
      {"value out of its type's range", "INVALID_VALUE", "inputs[\"labels\"].int_values",
       [] {
         return With(RowRequest("cross_entropy {}"), "labels",
                     Text("dtype: DATA_TYPE_UINT8 shape: 2 int_values: [ 1, 256 ]"));
       }},
      {"no whole number", "INVALID_VALUE", "inputs[\"labels\"].float_values",
       [] {
         return With(RowRequest("cross_entropy {}"), "labels",
                     Text("dtype: DATA_TYPE_INT32 shape: 2 float_values: [ 1, 0.5 ]"));
       }},
  };
}

ComputeLossRequest LossesOf(int count) {
  ComputeLossRequest request = PairRequest("mse {}");
  while (request.losses_size() < count) *request.add_losses() = request.losses(0);
  return request;
}

std::vector<ErrorCase> LossErrors() {
  return {
      {"delta -1", "INVALID_PARAMETER", "losses[0].huber.delta",
       [] { return PairRequest("huber { delta: -1 }"); }},
      {"delta 0", "INVALID_PARAMETER", "losses[0].huber.delta",
       [] { return PairRequest("huber { delta: 0 }"); }},
      {"delta inf", "INVALID_PARAMETER", "losses[0].huber.delta",
       [] { return PairRequest("huber { delta: inf }"); }},
      {"beta NaN", "INVALID_PARAMETER", "losses[0].smooth_l1.beta",
       [] { return PairRequest("smooth_l1 { beta: nan }"); }},
      {"q 1.5", "INVALID_PARAMETER", "losses[0].quantile.q",
       [] { return PairRequest("quantile { q: 1.5 }"); }},
      {"beta NaN that would read as unset", "INVALID_PARAMETER",
       "losses[0].balanced_binary_cross_entropy.beta",
       [] { return PairRequest("balanced_binary_cross_entropy { beta: nan }"); }},
      {"top_k 0", "INVALID_PARAMETER", "losses[0].zero_one.top_k",
       [] { return RowRequest("zero_one { top_k: 0 }"); }},
      {"weight NaN", "INVALID_PARAMETER", "losses[0].weight",
       [] { return PairRequest("mse {} weight: nan"); }},
      {"parameter without a meaning here", "UNUSED_PARAMETER", "losses[0].focal.alpha",
       [] { return RowRequest("focal { alpha: 0.5 }"); }},
      {"no loss", "NO_LOSS", "losses",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.clear_losses();
         return request;
       }},
      {"an empty loss", "NO_LOSS", "losses[0].kind", [] { return PairRequest("weight: 1"); }},
      {"10,000 losses", "TOO_MANY_LOSSES", "losses", [] { return LossesOf(10000); }},
      {"65 losses", "TOO_MANY_LOSSES", "losses", [] { return LossesOf(65); }},
      {"label too long", "LABEL_TOO_LONG", "losses[0].label",
       [] { return PairRequest("mse {} label: \"" + std::string(129, 'x') + "\""); }},
      {"role too long", "NAME_TOO_LONG", "losses[0].inputs",
       [] {
         return PairRequest("mse {} inputs { key: \"" + std::string(129, 'x') +
                            "\" value: \"a\" }");
       }},
      {"tensor too long", "NAME_TOO_LONG", "losses[0].inputs[\"targets\"]",
       [] {
         return PairRequest("mse {} inputs { key: \"targets\" value: \"" + std::string(129, 'x') +
                            "\" }");
       }},
      {"model too long", "LABEL_TOO_LONG", "labels.model",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.mutable_labels()->set_model(std::string(129, 'x'));
         return request;
       }},
      {"gradient of targets", "NO_GRADIENT", "gradients_of[0]",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.add_gradients_of("targets");
         return request;
       }},
      {"gradient of nothing", "NO_GRADIENT", "gradients_of[1]",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.add_gradients_of("predictions");
         request.add_gradients_of("logits");
         return request;
       }},
      {"gradient asked for twice", "DUPLICATE_NAME", "gradients_of[1]",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.add_gradients_of("predictions");
         request.add_gradients_of("predictions");
         return request;
       }},
      {"gradient of NONE", "GRADIENT_OF_NONE", "reduction",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.add_gradients_of("predictions");
         request.set_reduction(v1::REDUCTION_NONE);
         return request;
       }},
  };
}

std::vector<ErrorCase> UnknownErrors() {
  return {
      {"field of the request", "UNKNOWN_FIELD", "",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         AddUnknown(&request, 77);
         return request;
       }},
      {"field of the labels", "UNKNOWN_FIELD", "labels",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         AddUnknown(request.mutable_labels(), 77);
         return request;
       }},
      {"field of a loss: also a loss that this version does not have", "UNKNOWN_FIELD", "losses[1]",
       [] {
         ComputeLossRequest request = LossesOf(2);
         request.mutable_losses(1)->clear_kind();
         AddUnknown(request.mutable_losses(1), 70);
         return request;
       }},
      {"field of a loss's parameters", "UNKNOWN_FIELD", "losses[0].huber",
       [] {
         ComputeLossRequest request = PairRequest("huber {}");
         AddUnknown(request.mutable_losses(0)->mutable_huber(), 9);
         return request;
       }},
      {"reduction", "UNKNOWN_FIELD", "reduction",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.set_reduction(v1::Reduction(9));
         return request;
       }},
      {"policy", "UNKNOWN_FIELD", "non_finite",
       [] {
         ComputeLossRequest request = PairRequest("mse {}");
         request.set_non_finite(v1::NonFinitePolicy(-1));
         return request;
       }},
      {"unit", "UNKNOWN_FIELD", "losses[0].entropy.unit",
       [] {
         ComputeLossRequest request = RowRequest("entropy {}");
         request.mutable_losses(0)->mutable_entropy()->set_unit(v1::Unit(3));
         return request;
       }},
  };
}

void ExpectEach(const std::vector<ErrorCase>& cases) {
  for (const ErrorCase& c : cases) {
    SCOPED_TRACE(c.name);
    ExpectInvalid(ErrorOf(c.request()), c.reason, c.field);
  }
}

TEST(ComputeLossErrors, OfNames) { ExpectEach(NameErrors()); }
TEST(ComputeLossErrors, OfTypesAndShapes) { ExpectEach(TypeAndShapeErrors()); }
TEST(ComputeLossErrors, OfData) { ExpectEach(DataErrors()); }
TEST(ComputeLossErrors, OfValues) { ExpectEach(ValueErrors()); }
TEST(ComputeLossErrors, OfLosses) { ExpectEach(LossErrors()); }
TEST(ComputeLossErrors, OfUnknowns) { ExpectEach(UnknownErrors()); }

TEST(ComputeLossErrors, SayWhereTheValueIs) {
  auto request = With(PairRequest("mse {}"), "sample_weight", Floats({3}, {1, -2.5, 1}));
  EXPECT_THAT(std::string(ErrorOf(request).message()), HasSubstr("got -2.5 at [1]"));
  request = With(RowRequest("cross_entropy {}"), "labels", Int64s({2}, {0, 1234567890123}));
  EXPECT_THAT(std::string(ErrorOf(request).message()), HasSubstr("got 1234567890123 at [1]"));
}

TEST(ComputeLossErrors, UnknownFieldNamesNumberAndVersion) {
  auto request = PairRequest("huber {}");
  AddUnknown(request.mutable_losses(0)->mutable_huber(), 9);
  const std::string message(ErrorOf(request).message());
  EXPECT_THAT(message, HasSubstr("field 9"));
  EXPECT_THAT(message, HasSubstr(std::string(kVersion)));
}

// Errors travel in HTTP/2 trailers, of which gRPC takes 8 KB by default; the message goes there
// three times.
TEST(ComputeLossErrors, StayShort) {
  ComputeLossRequest request = LossesOf(64);
  for (v1::Loss& loss : *request.mutable_losses()) loss.mutable_weighted_binary_cross_entropy();
  request = With(std::move(request), std::string(128, 'x'), Floats({1}, {1}));
  const absl::Status error = ErrorOf(request);
  EXPECT_EQ(DetailOf(error).reason, "UNKNOWN_INPUT");
  EXPECT_LT(error.message().size(), 1000u);
}

// Every pair of a label and a class is looked at: minutes for one row within a message.
TEST(ComputeLossErrors, OfTooManyLabels) {
  constexpr int64_t kClasses = (1 << 16) + 1;
  auto request = FromText<ComputeLossRequest>("losses { multilabel_margin {} }");
  (*request.mutable_inputs())["logits"] = Floats({1, kClasses}, std::vector<float>(kClasses));
  std::vector<int64_t> labels(kClasses, 1);
  (*request.mutable_inputs())["labels"] = Int64s({1, kClasses}, labels);
  const absl::Status error = ErrorOf(request);
  ExpectError(error, absl::StatusCode::kResourceExhausted, "TOO_MANY_LABELS", "inputs[\"labels\"]");
  EXPECT_THAT(std::string(error.message()), HasSubstr("row 0 has 65537 labels"));
  labels[1] = -1;
  (*request.mutable_inputs())["labels"] = Int64s({1, kClasses}, labels);
  EXPECT_TRUE(Call(Engine(), request).ok());
}

TEST(MergeEvaluationsErrors, OfStates) {
  const auto merge = [](const v1::MergeEvaluationsRequest& request) {
    v1::MergeEvaluationsResponse response;
    return Engine()->MergeEvaluations(request, &response);
  };
  v1::MergeEvaluationsRequest request;
  ExpectInvalid(merge(request), "NO_STATE", "states");
  request.add_states()->set_value("LSSD");
  ExpectInvalid(merge(request), "INVALID_STATE", "states[0].value");
  request.clear_states();
  for (int i = 0; i < 4097; ++i) request.add_states();
  ExpectInvalid(merge(request), "TOO_MANY_STATES", "states");
  v1::MergeEvaluationsRequest unknown;
  AddUnknown(unknown.add_states(), 5);
  ExpectInvalid(merge(unknown), "UNKNOWN_FIELD", "states[0]");
}

}  // namespace
}  // namespace lossd
