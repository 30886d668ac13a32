// ComputeLoss, ListLosses and GetServerInfo at the level of messages: what they answer.
#include "lib/wire/loss_engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <mutex>

#include "lib/base/cpu_target.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/engine_testing.h"
#include "lib/wire/version.h"

namespace lossd {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using v1::ComputeLossRequest;

constexpr float kInf = std::numeric_limits<float>::infinity();
const float kNan = std::numeric_limits<float>::quiet_NaN();

LossEngine* Engine() {
  static LossEngine* const engine = MakeEngine().release();
  return engine;
}

v1::LossResult OnlyResult(const ComputeLossRequest& request) {
  const auto response = Call(Engine(), request);
  EXPECT_TRUE(response.ok()) << response.status();
  return response.ok() && response->results_size() == 1 ? response->results(0) : v1::LossResult();
}

TEST(ComputeLoss, ReducesAsAsked) {
  auto request = PairRequest("mae {} label: \"x\" weight: 2");
  auto response = *Call(Engine(), request);
  EXPECT_EQ(response.results(0).loss(), "mae");
  EXPECT_EQ(response.results(0).label(), "x");
  EXPECT_EQ(response.results(0).value(), 4.0 / 3);
  EXPECT_EQ(response.results(0).sum(), 4);
  EXPECT_EQ(response.results(0).sum_weight(), 3);
  EXPECT_EQ(response.results(0).items(), 3);
  EXPECT_EQ(response.total(), 2 * (4.0 / 3));
  EXPECT_EQ(response.arithmetic_revision(), kArithmeticRevision);
  EXPECT_FALSE(response.results(0).has_values());

  request.set_reduction(v1::REDUCTION_SUM);
  response = *Call(Engine(), request);
  EXPECT_EQ(response.results(0).value(), 4);
  EXPECT_EQ(response.total(), 8);

  request.set_reduction(v1::REDUCTION_NONE);
  response = *Call(Engine(), request);
  EXPECT_FALSE(response.has_total());
  EXPECT_EQ(response.results(0).value(), 4.0 / 3);
  EXPECT_EQ(response.results(0).values().dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(response.results(0).values().shape(), ElementsAre(3));
  EXPECT_THAT(ValuesOf<float>(response.results(0).values()), ElementsAre(0, 1, 3));
}

TEST(ComputeLoss, GradientsAreThoseOfTheReducedValue) {
  auto request = PairRequest("mse {}");
  request.add_gradients_of("predictions");
  // 2 (1 - 1) / 3, 2 (2 - 3) / 3, 2 (3 - 6) / 3.
  auto gradient = OnlyResult(request).gradients().at("predictions");
  EXPECT_EQ(gradient.dtype(), v1::DATA_TYPE_FLOAT32);
  EXPECT_THAT(gradient.shape(), ElementsAre(3));
  EXPECT_THAT(ValuesOf<float>(gradient), ElementsAre(0, -2.0f * float(1.0 / 3), -2));

  request.set_reduction(v1::REDUCTION_SUM);
  gradient = OnlyResult(request).gradients().at("predictions");
  EXPECT_THAT(ValuesOf<float>(gradient), ElementsAre(0, -2, -6));

  // The weight of the last item makes it half of the mean; one of weight 0 has no gradient, though
  // it be NaN.
  request.set_reduction(v1::REDUCTION_MEAN);
  (*request.mutable_inputs())["sample_weight"] = Floats({3}, {0, 1, 1});
  (*request.mutable_inputs())["predictions"] = Floats({3}, {kNan, 2, 3});
  gradient = OnlyResult(request).gradients().at("predictions");
  EXPECT_THAT(ValuesOf<float>(gradient), ElementsAre(0, -1, -3));
}

TEST(ComputeLoss, GradientsAreByTensorAndLoss) {
  auto request = PairRequest("mse {} inputs { key: \"predictions\" value: \"head\" }");
  *request.add_losses() = FromText<v1::Loss>("mae {}");
  (*request.mutable_inputs())["head"] = Floats({3}, {0, 0, 0});
  request.add_gradients_of("head");
  request.add_gradients_of("predictions");
  request.set_reduction(v1::REDUCTION_SUM);
  const auto response = *Call(Engine(), request);
  ASSERT_EQ(response.results(0).gradients_size(), 1);
  EXPECT_THAT(ValuesOf<float>(response.results(0).gradients().at("head")),
              ElementsAre(-2, -6, -12));
  ASSERT_EQ(response.results(1).gradients_size(), 1);
  EXPECT_THAT(ValuesOf<float>(response.results(1).gradients().at("predictions")),
              ElementsAre(0, -1, -1));
}

TEST(ComputeLoss, AFloat64InputMakesTheComputeTypeFloat64) {
  auto request = PairRequest("mean_bias {}");
  request.set_reduction(v1::REDUCTION_NONE);
  (*request.mutable_inputs())["targets"] = Doubles({3}, {1 + 0x1p-40, 3, 6});
  const v1::LossResult result = OnlyResult(request);
  EXPECT_EQ(result.values().dtype(), v1::DATA_TYPE_FLOAT64);
  EXPECT_THAT(ValuesOf<double>(result.values()), ElementsAre(-0x1p-40, -1, -3));
}

TEST(ComputeLoss, ManyLossesOverOneUploadBoundByName) {
  auto request = FromText<ComputeLossRequest>(R"pb(
    losses {
      mse {}
      inputs { key: "predictions" value: "head_a" }
    }
    losses {
      mse {}
      inputs { key: "predictions" value: "head_b" }
      weight: 0.5
    }
    losses {
      zero_one {}
      inputs { key: "predictions" value: "head_a" }
      label: "errors"
    }
  )pb");
  (*request.mutable_inputs())["head_a"] = Floats({2}, {1, 2});
  (*request.mutable_inputs())["head_b"] = Floats({2}, {3, 4});
  (*request.mutable_inputs())["targets"] = Floats({2}, {1, 1});
  const auto response = *Call(Engine(), request);
  EXPECT_EQ(response.results(0).value(), 0.5);
  EXPECT_EQ(response.results(1).value(), 6.5);
  EXPECT_EQ(response.results(2).value(), 0.5);
  EXPECT_EQ(response.results(2).label(), "errors");
  EXPECT_EQ(response.total(), 0.5 + 3.25 + 0.5);
}

TEST(ComputeLoss, SampleWeightIsNoPartOfTheItem) {
  auto request = PairRequest("mae {}");
  request.set_reduction(v1::REDUCTION_NONE);
  (*request.mutable_inputs())["sample_weight"] = Floats({3}, {0, 0.5, 2});
  const v1::LossResult result = OnlyResult(request);
  EXPECT_EQ(result.items(), 2);
  EXPECT_EQ(result.ignored_items(), 1);
  EXPECT_EQ(result.sum(), 6.5);
  EXPECT_EQ(result.sum_weight(), 2.5);
  EXPECT_EQ(result.value(), 2.6);
  EXPECT_THAT(ValuesOf<float>(result.values()), ElementsAre(0, 1, 3));
}

TEST(ComputeLoss, ClassWeightEntersTheDenominatorWithLabelsOnly) {
  auto request = RowRequest("cross_entropy {}");
  (*request.mutable_inputs())["logits"] = Floats({2, 2}, {0, 0, 0, 0});
  (*request.mutable_inputs())["labels"] = Int64s({2}, {0, 1});
  (*request.mutable_inputs())["class_weight"] = Floats({2}, {1, 3});
  v1::LossResult result = OnlyResult(request);
  EXPECT_EQ(result.sum_weight(), 4);
  EXPECT_NEAR(result.value(), std::log(2.0), 1e-7);

  request.mutable_inputs()->erase("labels");
  (*request.mutable_inputs())["target_probs"] = Floats({2, 2}, {1, 0, 0, 1});
  result = OnlyResult(request);
  EXPECT_EQ(result.sum_weight(), 2);
  EXPECT_NEAR(result.value(), 2 * std::log(2.0), 1e-7);
}

// A loss without the parameter ignore_index ignores no label, and label 0 least of all.
TEST(ComputeLoss, OnlyTheIgnoredLabelIsIgnored) {
  v1::LossResult result = OnlyResult(RowRequest("focal { gamma: 0 }"));
  EXPECT_EQ(result.items(), 2);
  EXPECT_EQ(result.ignored_items(), 0);
  result = OnlyResult(RowRequest("cross_entropy { ignore_index: 0 }"));
  EXPECT_EQ(result.items(), 1);
  EXPECT_EQ(result.ignored_items(), 1);
  auto request = RowRequest("cross_entropy {}");
  (*request.mutable_inputs())["labels"] = Int64s({2}, {2, -100});
  request.set_reduction(v1::REDUCTION_NONE);
  result = OnlyResult(request);
  EXPECT_EQ(result.ignored_items(), 1);
  EXPECT_EQ(ValuesOf<float>(result.values())[1], 0);
  EXPECT_GT(ValuesOf<float>(result.values())[0], 0.4f);
}

TEST(ComputeLoss, NonFiniteItemsByPolicy) {
  auto request = PairRequest("mse {}");
  (*request.mutable_inputs())["predictions"] = Floats({3}, {kNan, 2, kInf});
  v1::LossResult result = OnlyResult(request);
  EXPECT_TRUE(std::isnan(result.value()));
  EXPECT_EQ(result.items(), 3);
  EXPECT_EQ(result.nan_items(), 1);
  EXPECT_EQ(result.inf_items(), 1);

  request.set_non_finite(v1::NON_FINITE_POLICY_SKIP);
  result = OnlyResult(request);
  EXPECT_EQ(result.value(), 1);
  EXPECT_EQ(result.items(), 1);
  EXPECT_EQ(result.nan_items(), 1);
  EXPECT_EQ(result.inf_items(), 1);

  request.set_non_finite(v1::NON_FINITE_POLICY_REJECT);
  const absl::Status error = Call(Engine(), request).status();
  EXPECT_EQ(error.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(DetailOf(error).reason, "NON_FINITE_ITEM");
  EXPECT_THAT(std::string(error.message()), HasSubstr("0"));
  // A masked item never counts.
  (*request.mutable_inputs())["sample_weight"] = Floats({3}, {0, 1, 0});
  EXPECT_EQ(OnlyResult(request).value(), 1);
}

TEST(ComputeLoss, AnEmptyBatchIsNoError) {
  auto request = PairRequest("mse {}");
  (*request.mutable_inputs())["predictions"] = Floats({0}, {});
  (*request.mutable_inputs())["targets"] = Floats({0}, {});
  v1::LossResult result = OnlyResult(request);
  EXPECT_EQ(result.items(), 0);
  EXPECT_TRUE(std::isnan(result.value()));
  EXPECT_EQ(result.sum(), 0);
  request.set_reduction(v1::REDUCTION_SUM);
  EXPECT_EQ(OnlyResult(request).value(), 0);
  request.set_reduction(v1::REDUCTION_NONE);
  result = OnlyResult(request);
  EXPECT_EQ(result.values().data(), "");
  EXPECT_THAT(result.values().shape(), ElementsAre(0));
}

TEST(ComputeLoss, AllItemsIgnoredIsTheSame) {
  auto request = RowRequest("cross_entropy {}");
  (*request.mutable_inputs())["labels"] = Int64s({2}, {-100, -100});
  const v1::LossResult result = OnlyResult(request);
  EXPECT_EQ(result.items(), 0);
  EXPECT_EQ(result.ignored_items(), 2);
  EXPECT_TRUE(std::isnan(result.value()));
  EXPECT_EQ(result.sum(), 0);
}

// b = 1 - 1/4 of the request; an item under NONE takes it.
TEST(ComputeLoss, PooledLossGivesItemsOfTheRequestsBeta) {
  auto request = FromText<ComputeLossRequest>(
      "losses { balanced_binary_cross_entropy {} } losses { balanced_binary_cross_entropy { beta: "
      "0.75 } } "
      "reduction: REDUCTION_NONE");
  (*request.mutable_inputs())["logits"] = Floats({4}, {0, 0.5, -1, 3});
  (*request.mutable_inputs())["targets"] = Floats({4}, {1, 0, 0, 0});
  const auto response = *Call(Engine(), request);
  EXPECT_EQ(response.results(0).values().data(), response.results(1).values().data());
  EXPECT_NEAR(response.results(0).value(), response.results(1).value(), 1e-7);
}

TEST(ComputeLoss, HandWrittenValues) {
  const auto request = FromText<ComputeLossRequest>(R"pb(
    losses { mae {} }
    inputs {
      key: "predictions"
      value {
        dtype: DATA_TYPE_FLOAT16
        shape: 2
        float_values: [ 1.5, 2 ]
      }
    }
    inputs {
      key: "targets"
      value {
        dtype: DATA_TYPE_INT32
        shape: 2
        int_values: [ 1, 4 ]
      }
    }
  )pb");
  EXPECT_EQ(OnlyResult(request).value(), 1.25);
}

TEST(ComputeLoss, CancelledBeforeItStarts) {
  CancellationToken token;
  token.Cancel();
  EXPECT_EQ(Call(Engine(), PairRequest("mse {}"), &token).status().code(),
            absl::StatusCode::kCancelled);
}

TEST(ComputeLoss, TellsWhatItComputed) {
  std::mutex mutex;
  std::vector<LossObservation> seen;
  EngineOptions options;
  options.on_computed = [&](const LossObservation& observation) {
    std::lock_guard lock(mutex);
    seen.push_back(observation);
  };
  const auto engine = MakeEngine(std::move(options));
  auto request = PairRequest("mse {}");
  (*request.mutable_inputs())["predictions"] = Floats({3}, {kNan, 2, kInf});
  ASSERT_TRUE(Call(engine.get(), request).ok());
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].loss, "mse");
  EXPECT_EQ(Catalogue::Get().rows()[static_cast<size_t>(seen[0].loss_index)].name, seen[0].loss);
  EXPECT_EQ(seen[0].items, 3);
  EXPECT_EQ(seen[0].nan_items, 1);
  EXPECT_EQ(seen[0].inf_items, 1);
  EXPECT_GE(seen[0].seconds, 0);
}

// Fields that a tensor does not know are passed over, as they change no loss.
TEST(ComputeLoss, UnknownFieldsOfTensorsAreIgnored) {
  auto request = PairRequest("mae {}");
  AddUnknown(&(*request.mutable_inputs())["predictions"], 99);
  EXPECT_EQ(OnlyResult(request).sum(), 4);
}

TEST(ListLosses, GivesTheCatalogueOrTheNamed) {
  v1::ListLossesResponse all;
  ASSERT_TRUE(Engine()->ListLosses({}, &all).ok());
  ASSERT_EQ(all.losses_size(), static_cast<int>(Catalogue::Get().rows().size()));
  for (int i = 0; i < all.losses_size(); ++i) {
    EXPECT_EQ(all.losses(i).name(), Catalogue::Get().rows()[static_cast<size_t>(i)].name);
    EXPECT_EQ(all.losses(i).streams(), Catalogue::Get().rows()[static_cast<size_t>(i)].streams);
  }
  v1::ListLossesResponse one;
  ASSERT_TRUE(Engine()->ListLosses(FromText<v1::ListLossesRequest>("names: 'huber'"), &one).ok());
  ASSERT_EQ(one.losses_size(), 1);
  EXPECT_EQ(one.losses(0).parameters(0).name(), "delta");
  EXPECT_EQ(one.losses(0).parameters(0).type(), "double");
  EXPECT_EQ(one.losses(0).parameters(0).default_value(), "1");
  EXPECT_EQ(one.losses(0).parameters(0).bounds(), "finite, above 0");
  EXPECT_THAT(one.losses(0).signatures(0).inputs(0).dtypes(),
              ElementsAre(v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64, v1::DATA_TYPE_FLOAT16,
                          v1::DATA_TYPE_BFLOAT16));
  v1::ListLossesResponse none;
  ExpectError(
      Engine()->ListLosses(FromText<v1::ListLossesRequest>("names: 'mse' names: 'l2'"), &none),
      absl::StatusCode::kNotFound, "UNKNOWN_LOSS", "names[1]");
}

TEST(GetServerInfo, SaysWhatRuns) {
  EngineOptions options;
  v1::Limit limit;
  limit.set_flag("max-message-bytes");
  limit.set_value(16);
  options.reported_limits = {limit};
  v1::GetServerInfoResponse info;
  ASSERT_TRUE(MakeEngine(std::move(options))->GetServerInfo({}, &info).ok());
  EXPECT_EQ(info.version(), std::string(kVersion));
  EXPECT_EQ(info.arithmetic_revision(), kArithmeticRevision);
  EXPECT_EQ(info.simd_target(), std::string(ActiveCpuTarget()));
  EXPECT_THAT(info.state_formats(), ElementsAre(1));
  ASSERT_EQ(info.limits_size(), 1);
  EXPECT_EQ(info.limits(0).flag(), "max-message-bytes");
}

}  // namespace
}  // namespace lossd
