// Streams at the level of messages: any split, order, interruption and merge gives the same result
// and the same bytes; sequences, constants, cadence.
#include "lib/wire/evaluation_session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "lib/wire/engine_testing.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using v1::EvaluateRequest;
using v1::EvaluateResponse;

LossEngine* Engine() {
  static LossEngine* const engine = MakeEngine().release();
  return engine;
}

// Samples whose losses span forty orders of magnitude, with ignored and non-finite ones, for losses
// that are summed plainly, by rows, with class weights, and pooled.
struct Samples {
  explicit Samples(int n, uint64_t seed) {
    std::mt19937_64 random(seed);
    std::uniform_real_distribution<float> exponent(-20, 19), unit(-1, 1);
    for (int i = 0; i < n; ++i) {
      predictions.push_back(unit(random) * std::pow(10.0f, exponent(random)));
      targets.push_back(unit(random) * std::pow(10.0f, exponent(random)));
      if (i == 5) predictions.back() = std::numeric_limits<float>::infinity();
      for (int c = 0; c < kClasses; ++c) logits.push_back(10 * unit(random));
      labels.push_back(i % 17 == 3 ? -100 : static_cast<int64_t>(random() % kClasses));
      binary_logits.push_back(10 * unit(random));
      binary_targets.push_back(static_cast<float>(random() % 2));
      weights.push_back(i % 11 == 4 ? 0.0f : std::abs(unit(random)));
    }
  }

  EvaluateRequest Batch(size_t begin, size_t end) const {
    const auto n = static_cast<int64_t>(end - begin);
    const auto cut = [&](const auto& values, size_t step) {
      return std::decay_t<decltype(values)>(values.begin() + static_cast<ptrdiff_t>(begin * step),
                                            values.begin() + static_cast<ptrdiff_t>(end * step));
    };
    EvaluateRequest step;
    auto& inputs = *step.mutable_batch()->mutable_inputs();
    inputs["predictions"] = Floats({n}, cut(predictions, 1));
    inputs["targets"] = Floats({n}, cut(targets, 1));
    inputs["logits"] = Floats({n, kClasses}, cut(logits, kClasses));
    inputs["labels"] = Int64s({n}, cut(labels, 1));
    inputs["binary_logits"] = Floats({n}, cut(binary_logits, 1));
    inputs["binary_targets"] = Floats({n}, cut(binary_targets, 1));
    inputs["sample_weight"] = Floats({n}, cut(weights, 1));
    inputs["class_weight"] = Floats({kClasses}, {1, 0.5, 2, 0.25, 3});
    return step;
  }

  static EvaluateRequest Spec() {
    return Step(R"pb(spec {
                       losses {
                         mse {}
                         inputs { key: "predictions" value: "predictions" }
                       }
                       losses {
                         cross_entropy { label_smoothing: 0.1 }
                         label: "ce"
                         weight: 0.5
                       }
                       losses {
                         balanced_binary_cross_entropy {}
                         inputs { key: "logits" value: "binary_logits" }
                         inputs { key: "targets" value: "binary_targets" }
                       }
                       losses {
                         zero_one { top_k: 2 }
                         inputs { key: "labels" value: "labels" }
                         inputs { key: "logits" value: "logits" }
                       }
                     })pb");
  }

  static constexpr int kClasses = 5;
  std::vector<float> predictions, targets, logits, binary_logits, binary_targets, weights;
  std::vector<int64_t> labels;
};

v1::Progress ProgressOf(EvaluationSession* session) {
  EvaluateResponse response;
  EXPECT_TRUE(session->MakeProgress(&response).ok());
  return response.progress();
}

// The batches [cuts[i], cuts[i + 1]), in the order given.
v1::EvaluationResult Evaluate(LossEngine* engine, const Samples& samples,
                              const std::vector<size_t>& cuts, const std::vector<size_t>& order) {
  const auto session = engine->Evaluate();
  EXPECT_TRUE(Take(session.get(), Samples::Spec()).ok());
  for (const size_t i : order) {
    const absl::Status status = Take(session.get(), samples.Batch(cuts[i], cuts[i + 1]));
    EXPECT_TRUE(status.ok()) << status;
  }
  return ResultOf(session.get());
}

std::vector<size_t> EvenCuts(size_t n, size_t step) {
  std::vector<size_t> cuts;
  for (size_t at = 0; at < n; at += step) cuts.push_back(at);
  cuts.push_back(n);
  return cuts;
}

std::vector<size_t> InOrder(size_t n) {
  std::vector<size_t> order(n);
  for (size_t i = 0; i < n; ++i) order[i] = i;
  return order;
}

TEST(Evaluate, CountsASmallOne) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), MseSpec()).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({1, 2}, {1, 4})).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({}, {})).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({3}, {0})).ok());
  const v1::EvaluationResult result = ResultOf(session.get());
  const v1::LossSummary& summary = result.summaries(0);
  EXPECT_EQ(summary.result().value(), 13.0 / 3);
  EXPECT_EQ(summary.result().items(), 3);
  EXPECT_EQ(summary.minimum(), 0);
  EXPECT_EQ(summary.maximum(), 9);
  // Items 0, 4, 9: variance (97 - 169 / 3) / 2 = 61 / 3.
  EXPECT_EQ(summary.standard_error(), std::sqrt(61.0 / 9));
  EXPECT_EQ(result.total(), 13.0 / 3);
  EXPECT_EQ(result.skipped_batches(), 0);
}

TEST(Evaluate, SplitOrderAndThreadsDoNotShow) {
  const Samples samples(700, 1);
  const std::string one = Evaluate(Engine(), samples, {0, 700}, {0}).SerializeAsString();
  for (const size_t step : {1, 7, 64, 333}) {
    const std::vector<size_t> cuts = EvenCuts(700, step);
    std::vector<size_t> order = InOrder(cuts.size() - 1);
    EXPECT_EQ(Evaluate(Engine(), samples, cuts, order).SerializeAsString(), one) << step;
    std::shuffle(order.begin(), order.end(), std::mt19937_64(step));
    EXPECT_EQ(Evaluate(Engine(), samples, cuts, order).SerializeAsString(), one) << step;
  }
  EngineOptions options;
  options.threads = 1;
  EXPECT_EQ(Evaluate(MakeEngine(std::move(options)).get(), samples, EvenCuts(700, 100), InOrder(7))
                .SerializeAsString(),
            one);
}

TEST(Evaluate, EqualsOneComputeLoss) {
  const Samples samples(500, 2);
  v1::ComputeLossRequest request;
  *request.mutable_losses() = Samples::Spec().spec().losses();
  *request.mutable_inputs() = samples.Batch(0, 500).batch().inputs();
  const auto unary = *Call(Engine(), request);
  const v1::EvaluationResult stream = Evaluate(Engine(), samples, EvenCuts(500, 77), InOrder(7));
  for (int i = 0; i < unary.results_size(); ++i) {
    EXPECT_EQ(stream.summaries(i).result().SerializeAsString(),
              unary.results(i).SerializeAsString());
  }
}

TEST(Evaluate, ResumedAnywhereOnAnotherServerItIsTheSame) {
  const Samples samples(300, 3);
  const std::vector<size_t> cuts = EvenCuts(300, 30);
  const std::string unbroken = Evaluate(Engine(), samples, cuts, InOrder(10)).SerializeAsString();
  for (size_t broken = 0; broken <= 10; ++broken) {
    const auto first = Engine()->Evaluate();
    ASSERT_TRUE(Take(first.get(), Samples::Spec()).ok());
    for (size_t i = 0; i < broken; ++i)
      ASSERT_TRUE(Take(first.get(), samples.Batch(cuts[i], cuts[i + 1])).ok());
    const v1::Progress progress = ProgressOf(first.get());
    EXPECT_EQ(progress.next_sequence(), static_cast<int64_t>(broken));

    const auto other = MakeEngine();
    const auto second = other->Evaluate();
    EvaluateRequest spec = Samples::Spec();
    *spec.mutable_spec()->mutable_resume_from() = progress.checkpoint();
    spec.mutable_spec()->set_next_sequence(progress.next_sequence());
    ASSERT_TRUE(Take(second.get(), spec).ok());
    EXPECT_TRUE(second->resumed());
    // Numbered, and those from before the checkpoint come once more.
    const size_t from = broken > 2 ? broken - 2 : 0;
    for (size_t i = from; i < 10; ++i) {
      EvaluateRequest batch = samples.Batch(cuts[i], cuts[i + 1]);
      batch.mutable_batch()->set_sequence(static_cast<int64_t>(i));
      ASSERT_TRUE(Take(second.get(), batch).ok());
    }
    v1::EvaluationResult result = ResultOf(second.get());
    EXPECT_EQ(result.skipped_batches(), static_cast<int64_t>(broken - from));
    result.set_skipped_batches(0);
    EXPECT_EQ(result.SerializeAsString(), unbroken) << broken;
  }
}

TEST(Evaluate, PartsMergeInAnyOrderAndGrouping) {
  const Samples samples(300, 4);
  const std::string whole = Evaluate(Engine(), samples, {0, 300}, {0}).SerializeAsString();
  std::vector<std::string> parts;
  for (const size_t begin : {0, 100, 200}) {
    parts.push_back(Evaluate(Engine(), samples, {begin, begin + 100}, {0}).state().value());
  }
  const auto merge = [](const std::vector<std::string>& states) {
    v1::MergeEvaluationsRequest request;
    for (const std::string& state : states) request.add_states()->set_value(state);
    v1::MergeEvaluationsResponse response;
    EXPECT_TRUE(Engine()->MergeEvaluations(request, &response).ok());
    return response.result();
  };
  std::vector<int> order = {0, 1, 2};
  do {
    const std::string &a = parts[static_cast<size_t>(order[0])],
                      &b = parts[static_cast<size_t>(order[1])],
                      &c = parts[static_cast<size_t>(order[2])];
    EXPECT_EQ(merge({a, b, c}).SerializeAsString(), whole);
    EXPECT_EQ(merge({merge({a, b}).state().value(), c}).SerializeAsString(), whole);
    EXPECT_EQ(merge({a, merge({b, c}).state().value()}).SerializeAsString(), whole);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST(Evaluate, MergingStatesOfOtherWeightsGivesNoTotal) {
  const auto state_of = [](const std::string& loss) {
    const auto session = Engine()->Evaluate();
    EXPECT_TRUE(Take(session.get(), Step("spec { losses { " + loss + " } }")).ok());
    EXPECT_TRUE(Take(session.get(), PairBatch({2}, {0})).ok());
    return ResultOf(session.get()).state();
  };
  v1::MergeEvaluationsRequest request;
  *request.add_states() = state_of("mse {} weight: 2 label: 'a'");
  *request.add_states() = state_of("mse {} weight: 3 label: 'b'");
  v1::MergeEvaluationsResponse response;
  ASSERT_TRUE(Engine()->MergeEvaluations(request, &response).ok());
  EXPECT_FALSE(response.result().has_total());
  EXPECT_EQ(response.result().summaries(0).result().value(), 4);
  EXPECT_EQ(response.result().summaries(0).result().label(), "");
  *request.mutable_states(1) = state_of("mse {} weight: 2 label: 'a'");
  response.Clear();
  ASSERT_TRUE(Engine()->MergeEvaluations(request, &response).ok());
  EXPECT_EQ(response.result().total(), 8);
  EXPECT_EQ(response.result().summaries(0).result().label(), "a");

  *request.mutable_states(1) = state_of("mae {}");
  ExpectInvalid(Engine()->MergeEvaluations(request, &response), "FINGERPRINT_MISMATCH",
                "states[1]");
}

TEST(Evaluate, SequencesSkipDuplicatesAndRefuseGaps) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), Step("spec { losses { mse {} } next_sequence: 7 }")).ok());
  for (const auto& [sequence, prediction] : std::vector<std::pair<int64_t, float>>{
           {6, 100}, {7, 1}, {7, 100}, {0, 100}, {8, 3}, {7, 100}}) {
    ASSERT_TRUE(Take(session.get(), NumberedBatch(sequence, prediction)).ok());
  }
  const v1::Progress progress = ProgressOf(session.get());
  EXPECT_EQ(progress.next_sequence(), 9);
  EXPECT_EQ(progress.skipped_batches(), 4);
  EXPECT_EQ(progress.items(), 2);
  EXPECT_EQ(progress.results(0).sum(), 10);
  ExpectError(Take(session.get(), NumberedBatch(10, 1)), absl::StatusCode::kFailedPrecondition,
              "SEQUENCE_GAP", "batch.sequence");
  // What came before is still there.
  EXPECT_EQ(ProgressOf(session.get()).results(0).sum(), 10);
  ExpectInvalid(Take(session.get(), NumberedBatch(9, 1)), "STREAM_ENDED", "step");
}

TEST(Evaluate, ABadBatchCountsNotAtAll) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), Step("spec { losses { mse {} } losses { huber {} } }")).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
  EvaluateRequest bad = PairBatch({1, 1, 1}, {0, 0, 0});
  (*bad.mutable_batch()->mutable_inputs())["sample_weight"] = Floats({3}, {1, 1, -1});
  ExpectInvalid(Take(session.get(), bad), "INVALID_VALUE", "batch.inputs[\"sample_weight\"]");
  EXPECT_TRUE(session->has_unreported_batches());
  const v1::Progress progress = ProgressOf(session.get());
  EXPECT_FALSE(session->has_unreported_batches());
  EXPECT_EQ(progress.items(), 1);
  EXPECT_EQ(progress.results(1).items(), 1);
  EXPECT_EQ(progress.next_sequence(), 1);
}

TEST(Evaluate, RejectedItemsAndCancellation) {
  auto session = Engine()->Evaluate();
  ASSERT_TRUE(
      Take(session.get(), Step("spec { losses { mse {} } non_finite: NON_FINITE_POLICY_REJECT }"))
          .ok());
  ExpectInvalid(Take(session.get(), PairBatch({1, std::numeric_limits<float>::infinity()}, {0, 0})),
                "NON_FINITE_ITEM", "batch");
  session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), MseSpec()).ok());
  CancellationToken token;
  token.Cancel();
  const absl::Status cancelled = Take(session.get(), PairBatch({1}, {0}), &token);
  EXPECT_EQ(cancelled.code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(DetailOf(cancelled).field, "");
}

TEST(Evaluate, CadenceByBytes) {
  const auto session = Engine()->Evaluate();
  EvaluateRequest spec = MseSpec();
  const size_t batch_bytes = PairBatch({1}, {0}).batch().ByteSizeLong();
  spec.mutable_spec()->mutable_checkpoint_cadence()->set_bytes(
      static_cast<int64_t>(2 * batch_bytes));
  spec.mutable_spec()->mutable_checkpoint_cadence()->set_seconds(1e9);
  spec.mutable_spec()->mutable_labels()->set_model("m");
  ASSERT_TRUE(Take(session.get(), spec).ok());
  EXPECT_EQ(session->labels().model(), "m");
  EXPECT_FALSE(session->resumed());
  for (int round = 0; round < 2; ++round) {
    EXPECT_FALSE(session->progress_due());
    ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
    EXPECT_FALSE(session->progress_due());
    ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
    EXPECT_TRUE(session->progress_due());
    ProgressOf(session.get());
  }
}

TEST(Evaluate, CadenceByTime) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(
      Take(session.get(), Step("spec { losses { mse {} } checkpoint_cadence { seconds: 0 } }"))
          .ok());
  EXPECT_FALSE(session->progress_due());  // nothing to report
  ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
  EXPECT_TRUE(session->progress_due());
}

TEST(Evaluate, AStateOverTheLimitIsRefused) {
  EngineOptions options;
  options.limits.max_state_bytes = 100;
  const auto engine = MakeEngine(std::move(options));
  const auto session = engine->Evaluate();
  ASSERT_TRUE(Take(session.get(), MseSpec()).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
  EvaluateResponse response;
  const absl::Status error = session->MakeProgress(&response);
  ExpectError(error, absl::StatusCode::kResourceExhausted, "STATE_TOO_LARGE", "");
  EXPECT_THAT(std::string(error.message()), HasSubstr("--max-state-bytes"));
  ASSERT_TRUE(Take(session.get(), Step("finish {}")).ok());
  ExpectError(session->MakeResult(&response), absl::StatusCode::kResourceExhausted,
              "STATE_TOO_LARGE", "");
}

TEST(EvaluateConstants, InAnyPiecesEqualTheSameInEveryBatch) {
  const auto plain = Engine()->Evaluate();
  ASSERT_TRUE(Take(plain.get(), Step("spec { losses { cross_entropy {} } }")).ok());
  EvaluateRequest batch = RowBatch();
  (*batch.mutable_batch()->mutable_inputs())["class_weight"] = Floats({5}, {1, 0.5, 2, 0.25, 3});
  ASSERT_TRUE(Take(plain.get(), batch).ok());
  const v1::EvaluationResult expected = ResultOf(plain.get());

  std::string state;
  for (const std::vector<size_t>& cuts :
       {std::vector<size_t>{0, 5}, {0, 1, 2, 3, 4, 5}, {0, 2, 2, 5}, {0, 4, 5}}) {
    const auto session = Engine()->Evaluate();
    ASSERT_TRUE(Take(session.get(), ConstantSpec()).ok());
    for (size_t i = 0; i + 1 < cuts.size(); ++i)
      ASSERT_TRUE(Take(session.get(), Piece(cuts[i], cuts[i + 1])).ok());
    ASSERT_TRUE(Take(session.get(), RowBatch()).ok());
    const v1::EvaluationResult result = ResultOf(session.get());
    EXPECT_EQ(result.summaries(0).SerializeAsString(), expected.summaries(0).SerializeAsString());
    // The constant's digest is in the fingerprint.
    EXPECT_NE(result.state().value(), expected.state().value());
    if (state.empty()) state = result.state().value();
    EXPECT_EQ(result.state().value(), state);
  }
}

}  // namespace
}  // namespace lossd
