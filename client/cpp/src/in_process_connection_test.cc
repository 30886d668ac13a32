// The client over the real engine: the same code and bits as a server, without one.
#include <cmath>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lossd/client.h"

namespace lossd {
namespace {

constexpr size_t kSamples = 1000;

class InProcessTest : public testing::Test {
 protected:
  InProcessTest() : client_(*Client::InProcess({.threads = 2})) {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    for (size_t i = 0; i < kSamples; ++i) {
      predictions_.push_back(std::ldexp(normal(random), static_cast<int>(random() % 60) - 30));
      targets_.push_back(normal(random));
    }
  }

  static v1::EvaluationSpec Spec() {
    v1::EvaluationSpec spec;
    *spec.add_losses() = *ParseLoss("mse");
    *spec.add_losses() = *ParseLoss("weight: 2 mean_bias");
    spec.mutable_checkpoint_cadence()->set_bytes(1);  // after every batch
    return spec;
  }

  static Inputs Rows(const std::vector<float>& predictions, const std::vector<float>& targets,
                     size_t first, size_t count) {
    const Shape shape = {static_cast<int64_t>(count)};
    return {
        {"predictions", *ViewOf(std::span<const float>(predictions).subspan(first, count), shape)},
        {"targets", *ViewOf(std::span<const float>(targets).subspan(first, count), shape)}};
  }

  IndexedSource Batches(size_t rows) const {
    return IndexedSource([this, rows](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
      const size_t first = static_cast<size_t>(sequence) * rows;
      if (first >= kSamples) return std::optional<Batch>();
      Batch batch;
      batch.inputs = Rows(predictions_, targets_, first, std::min(rows, kSamples - first));
      return std::optional<Batch>(batch);
    });
  }

  v1::EvaluationResult Evaluate(size_t rows) {
    IndexedSource source = Batches(rows);
    absl::StatusOr<v1::EvaluationResult> result = client_.Evaluate(Spec()).Run(source);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : v1::EvaluationResult();
  }

  Client client_;
  std::vector<float> predictions_;
  std::vector<float> targets_;
};

TEST_F(InProcessTest, ComputesALoss) {
  const std::vector<float> predictions = {4, 2, 1};
  const std::vector<float> targets = {1, 2, 3};
  const auto response =
      client_.ComputeLoss({*ParseLoss("huber { delta: 2 }")}, Rows(predictions, targets, 0, 3));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results(0).value(), 2);
  EXPECT_EQ(response->total(), 2);
}

TEST_F(InProcessTest, TellsReasonAndField) {
  Inputs inputs = Rows(predictions_, targets_, 0, 3);
  inputs.erase("targets");
  const ErrorDetail detail = DetailOf(client_.ComputeLoss({*ParseLoss("mse")}, inputs).status());
  EXPECT_EQ(detail.reason, "MISSING_INPUT");
  EXPECT_THAT(detail.field, testing::HasSubstr("targets"));
}

TEST_F(InProcessTest, EvaluatesToTheSameBitsInAnyBatches) {
  const v1::EvaluationResult whole = Evaluate(kSamples);
  const auto response =
      client_.ComputeLoss({*ParseLoss("mse")}, Rows(predictions_, targets_, 0, kSamples));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(whole.summaries(0).result().value(), response->results(0).value());
  for (const size_t rows : {1, 7, 64, 999}) {
    EXPECT_EQ(Evaluate(rows).SerializeAsString(), whole.SerializeAsString()) << rows;
  }
}

TEST_F(InProcessTest, GoesOnFromEveryCheckpoint) {
  const v1::EvaluationResult whole = Evaluate(100);
  std::vector<v1::Progress> checkpoints;
  EvaluationOptions options;
  options.on_progress = [&](const v1::Progress& progress) { checkpoints.push_back(progress); };
  IndexedSource source = Batches(100);
  ASSERT_TRUE(client_.Evaluate(Spec(), options).Run(source).ok());
  ASSERT_FALSE(checkpoints.empty());
  for (const v1::Progress& checkpoint : checkpoints) {
    v1::EvaluationSpec spec = Spec();
    *spec.mutable_resume_from() = checkpoint.checkpoint();
    spec.set_next_sequence(checkpoint.next_sequence());
    const auto result = client_.Evaluate(spec).Run(source);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->SerializeAsString(), whole.SerializeAsString()) << checkpoint.next_sequence();
  }
}

TEST_F(InProcessTest, ABadBatchLeavesTheCheckpointOfWhatCameBefore) {
  const std::vector<float> short_targets(99);
  IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
    Batch batch;
    batch.inputs = Rows(predictions_, targets_, static_cast<size_t>(sequence) * 100, 100);
    if (sequence == 3) batch.inputs["targets"] = *ViewOf(short_targets, {99});
    return std::optional<Batch>(batch);
  });
  Evaluation evaluation = client_.Evaluate(Spec());
  EXPECT_EQ(DetailOf(evaluation.Run(source).status()).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(evaluation.next_sequence(), 3);
}

TEST_F(InProcessTest, TakesConstants) {
  const std::vector<float> logits = {1, 2, 3, 3, 2, 1};
  const std::vector<int32_t> labels = {0, 1};
  const std::vector<float> class_weight = {0.5, 1, 2};
  Inputs inputs = {{"logits", *ViewOf(logits, {2, 3})}, {"labels", *ViewOf(labels, {2})}};
  IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
    if (sequence > 0) return std::optional<Batch>();
    Batch batch;
    batch.inputs = inputs;
    return std::optional<Batch>(batch);
  });
  v1::EvaluationSpec spec;
  *spec.add_losses() = *ParseLoss("ce");
  Evaluation evaluation = client_.Evaluate(spec);
  evaluation.AddConstant("class_weight", *ViewOf(class_weight, {3}));
  const auto result = evaluation.Run(source);
  ASSERT_TRUE(result.ok()) << result.status();
  inputs["class_weight"] = *ViewOf(class_weight, {3});
  const auto response = client_.ComputeLoss({*ParseLoss("ce")}, inputs);
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(result->summaries(0).result().value(), response->results(0).value());
}

TEST_F(InProcessTest, MergesPartsToTheBitsOfTheWhole) {
  std::vector<v1::EvaluationState> parts;
  for (const auto& [first, count] :
       std::vector<std::pair<size_t, size_t>>{{0, 1}, {1, 600}, {601, 399}}) {
    IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
      if (sequence > 0) return std::optional<Batch>();
      Batch batch;
      batch.inputs = Rows(predictions_, targets_, first, count);
      return std::optional<Batch>(batch);
    });
    const auto part = client_.Evaluate(Spec()).Run(source);
    ASSERT_TRUE(part.ok()) << part.status();
    parts.insert(parts.begin(), part->state());
  }
  const auto merged = client_.MergeEvaluations(parts);
  ASSERT_TRUE(merged.ok()) << merged.status();
  EXPECT_EQ(merged->state().value(), Evaluate(10).state().value());
}

TEST_F(InProcessTest, EndsByTheDeadline) {
  IndexedSource source = Batches(1);
  EvaluationOptions options;
  options.deadline = absl::Nanoseconds(1);
  EXPECT_TRUE(absl::IsDeadlineExceeded(client_.Evaluate(Spec(), options).Run(source).status()));
}

TEST_F(InProcessTest, EndsWhenCancelled) {
  Evaluation evaluation = client_.Evaluate(Spec());
  IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
    if (sequence == 3) evaluation.Cancel();
    Batch batch;
    batch.inputs = Rows(predictions_, targets_, 0, 1);
    return std::optional<Batch>(batch);
  });
  EXPECT_TRUE(absl::IsCancelled(evaluation.Run(source).status()));
}

TEST_F(InProcessTest, AnswersWhatItIs) {
  EXPECT_EQ(*client_.Health(), HealthStatus::kServing);
  EXPECT_EQ(*client_.Health("lossd.v1.LossService"), HealthStatus::kServing);
  EXPECT_EQ(*client_.Health("other"), HealthStatus::kServiceUnknown);
  EXPECT_EQ(client_.ListLosses({"mse"})->losses(0).name(), "mse");
  EXPECT_GT(client_.ListLosses()->losses_size(), 10);
  EXPECT_GE(client_.GetServerInfo()->arithmetic_revision(), 1);
}

}  // namespace
}  // namespace lossd
