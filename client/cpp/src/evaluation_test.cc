// A fake server that counts as the contract says, and that breaks at chosen places: the evaluation
// must count every batch once wherever that happens.
#include "lossd/evaluation.h"

#include <condition_variable>
#include <cstring>
#include <deque>
#include <set>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"
#include "lossd/mocks/mock_connection.h"

namespace lossd {
namespace {

constexpr int kBatches = 7;

// What happens over all attempts.
struct FakeServer {
  std::set<int> breaks;  // steps, counted over all attempts, at which a stream breaks
  absl::Status broken = absl::UnavailableError("socket closed");
  int checkpoint_every = 2;  // batches
  int steps = 0;
  int streams = 0;
  int resumed = 0;                     // streams that came with a checkpoint
  std::vector<std::string> constants;  // complete ones, one a stream
  std::string trouble;                 // a breach of the contract by the client
};

// Its state is the list of the samples it counted.
class FakeStream : public EvaluateStream {
 public:
  explicit FakeStream(FakeServer* server) : server_(server) { ++server->streams; }

  bool Write(const v1::EvaluateRequest& step, const Inputs& tensors) override {
    const std::lock_guard lock(mutex_);
    if (ended_) return false;
    if (server_->breaks.contains(server_->steps++)) return End(server_->broken);
    if (step.has_spec()) {
      if (spec_) server_->trouble = "a second spec";
      spec_ = true;
      counted_ = step.spec().resume_from().value();
      next_ = step.spec().next_sequence();
      server_->resumed += step.spec().has_resume_from();
    } else if (step.has_constant()) {
      if (batch_) server_->trouble = "a constant after a batch";
      const TensorView& piece = tensors.at(step.constant().name());
      if (piece.byte_size() > (1u << 20)) server_->trouble = "a large piece";
      constant_.append(reinterpret_cast<const char*>(piece.Run(0, 0, nullptr)), piece.byte_size());
    } else if (step.has_batch()) {
      if (!batch_) server_->constants.push_back(constant_);
      batch_ = true;
      Count(step.batch(), tensors);
    } else {
      v1::EvaluateResponse response;
      response.mutable_result()->mutable_state()->set_value(counted_);
      Answer(response);
      return End(absl::OkStatus());
    }
    return true;
  }
  void WritesDone() override {}
  bool Read(v1::EvaluateResponse* response) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !answers_.empty(); });
    if (answers_.empty()) return false;
    *response = answers_.front();
    answers_.pop_front();
    return true;
  }
  void Cancel() override {
    const std::lock_guard lock(mutex_);
    End(absl::CancelledError("cancelled"));
  }
  absl::Status Finish() override { return status_; }

 private:
  void Count(const v1::Batch& batch, const Inputs& inputs) {
    if (!batch.has_sequence() || batch.sequence() != next_) server_->trouble = "a wrong sequence";
    ++next_;
    float sample = 0;
    std::memcpy(&sample, inputs.at("predictions").Run(0, 1, nullptr), sizeof(sample));
    counted_ += std::to_string(static_cast<int>(sample)) + " ";
    if (next_ % server_->checkpoint_every != 0) return;
    v1::EvaluateResponse response;
    response.mutable_progress()->mutable_checkpoint()->set_value(counted_);
    response.mutable_progress()->set_next_sequence(next_);
    Answer(response);
  }
  void Answer(const v1::EvaluateResponse& response) {
    answers_.push_back(response);
    changed_.notify_one();
  }
  bool End(absl::Status status) {
    if (!ended_) status_ = std::move(status);
    ended_ = true;
    changed_.notify_one();
    return false;
  }

  FakeServer* server_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::EvaluateResponse> answers_;
  bool ended_ = false;
  absl::Status status_;
  bool spec_ = false;
  bool batch_ = false;
  int64_t next_ = 0;
  std::string counted_;
  std::string constant_;
};

class EvaluationTest : public testing::Test {
 protected:
  EvaluationTest() {
    options_.sleeper = [this](absl::Duration) { ++sleeps_; };
    ON_CALL(*connection_, options).WillByDefault(testing::ReturnRef(options_));
    ON_CALL(*connection_, Evaluate).WillByDefault([this](absl::Time) {
      return std::make_unique<FakeStream>(&server_);
    });
  }

  static absl::StatusOr<std::optional<Batch>> BatchOf(const float* sample) {
    absl::StatusOr<TensorView> view = ViewOf(std::span<const float>(sample, 1), {1});
    if (!view.ok()) return view.status();
    Batch batch;
    batch.inputs["predictions"] = *view;
    return std::optional<Batch>(batch);
  }

  IndexedSource Indexed() {
    return IndexedSource([this](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
      if (sequence >= kBatches) return std::optional<Batch>();
      return BatchOf(&samples_[static_cast<size_t>(sequence)]);
    });
  }

  // Gives each batch once, always in the same memory.
  GeneratorSource Generator() {
    return GeneratorSource([this, next = 0]() mutable -> absl::StatusOr<std::optional<Batch>> {
      if (next >= kBatches) return std::optional<Batch>();
      generated_ = samples_[static_cast<size_t>(next++)];
      return BatchOf(&generated_);
    });
  }

  absl::StatusOr<v1::EvaluationResult> Run(BatchSource& source) {
    Evaluation evaluation(connection_, v1::EvaluationSpec());
    return evaluation.Run(source);
  }

  static constexpr char kAll[] = "10 11 12 13 14 15 16 ";
  const std::vector<float> samples_ = {10, 11, 12, 13, 14, 15, 16};
  float generated_ = 0;
  FakeServer server_;
  ClientOptions options_;
  int sleeps_ = 0;
  std::shared_ptr<testing::NiceMock<MockConnection>> connection_ =
      std::make_shared<testing::NiceMock<MockConnection>>();
};

TEST_F(EvaluationTest, CountsEveryBatchOnce) {
  IndexedSource source = Indexed();
  const absl::StatusOr<v1::EvaluationResult> result = Run(source);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->state().value(), kAll);
  EXPECT_EQ(server_.streams, 1);
}

TEST_F(EvaluationTest, CountsEveryBatchOnceWhereverTheStreamBreaks) {
  // Spec, batches, finish: every step, and pairs of steps.
  for (int first = 0; first < kBatches + 2; ++first) {
    for (int second = first + 1; second < 2 * kBatches; ++second) {
      for (const bool generator : {false, true}) {
        server_ = FakeServer();
        server_.breaks = {first, second};
        IndexedSource indexed = Indexed();
        GeneratorSource generated = Generator();
        const auto result = generator ? Run(generated) : Run(indexed);
        ASSERT_TRUE(result.ok()) << result.status();
        EXPECT_EQ(result->state().value(), kAll) << first << " " << second;
        EXPECT_EQ(server_.trouble, "") << first << " " << second;
        EXPECT_GE(server_.streams, 2);
        // Step 3 comes after the spec and two batches, which a checkpoint covers.
        EXPECT_TRUE(server_.resumed > 0 || first < 3) << first << " " << second;
      }
    }
  }
}

TEST_F(EvaluationTest, AnEvaluationThatGetsOnNeverRunsOutOfAttempts) {
  options_.retry.max_attempts = 2;
  server_.checkpoint_every = 1;
  // Spec and one batch are taken, then the stream breaks.
  for (int step = 2; step < 3 * kBatches; step += 3) server_.breaks.insert(step);
  IndexedSource source = Indexed();
  const absl::StatusOr<v1::EvaluationResult> result = Run(source);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->state().value(), kAll);
  EXPECT_EQ(server_.streams, kBatches + 1);
}

TEST_F(EvaluationTest, AnEvaluationThatDoesNotGetOnEnds) {
  options_.retry.max_attempts = 4;
  for (int step = 0; step < 100; ++step) server_.breaks.insert(step);
  int retries = 0;
  EvaluationOptions options;
  options.on_retry = [&](const absl::Status&) { ++retries; };
  Evaluation evaluation(connection_, v1::EvaluationSpec(), options);
  IndexedSource source = Indexed();
  EXPECT_TRUE(absl::IsUnavailable(evaluation.Run(source).status()));
  EXPECT_EQ(server_.streams, 4);
  EXPECT_EQ(retries, 3);
  EXPECT_EQ(sleeps_, 3);
}

TEST_F(EvaluationTest, AMistakeIsNotTriedAgainAndLeavesTheCheckpoint) {
  server_.breaks = {6};
  server_.broken = InvalidArgument("SHAPE_MISMATCH", "batch.inputs", "no");
  Evaluation evaluation(connection_, v1::EvaluationSpec());
  IndexedSource source = Indexed();
  const absl::Status status = evaluation.Run(source).status();
  EXPECT_EQ(DetailOf(status).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(server_.streams, 1);
  EXPECT_EQ(evaluation.next_sequence(), 4);
  EXPECT_EQ(evaluation.checkpoint().value(), "10 11 12 13 ");
}

TEST_F(EvaluationTest, GoesOnFromACheckpointOfAnotherProcess) {
  v1::EvaluationSpec spec;
  spec.mutable_resume_from()->set_value("10 11 12 ");
  spec.set_next_sequence(3);
  Evaluation evaluation(connection_, spec);
  IndexedSource source = Indexed();
  const absl::StatusOr<v1::EvaluationResult> result = evaluation.Run(source);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->state().value(), kAll);
}

TEST_F(EvaluationTest, SendsConstantsAgainOnResume) {
  std::vector<double> constant((1 << 17) * 2 + 5);
  for (size_t i = 0; i < constant.size(); ++i) constant[i] = static_cast<double>(i);
  server_.breaks = {6};  // spec, 3 pieces, 2 batches
  Evaluation evaluation(connection_, v1::EvaluationSpec());
  evaluation.AddConstant("class_weight",
                         *ViewOf(constant, {static_cast<int64_t>(constant.size())}));
  IndexedSource source = Indexed();
  const absl::StatusOr<v1::EvaluationResult> result = evaluation.Run(source);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(server_.trouble, "");
  const std::string bytes(reinterpret_cast<const char*>(constant.data()),
                          constant.size() * sizeof(double));
  EXPECT_EQ(server_.constants, std::vector<std::string>({bytes, bytes}));
}

TEST_F(EvaluationTest, ASourceThatFailsEndsTheEvaluation) {
  // Even with the one status that a server's stream is retried for.
  IndexedSource source([](int64_t) -> absl::StatusOr<std::optional<Batch>> {
    return absl::UnavailableError("the file is gone");
  });
  EXPECT_EQ(Run(source).status(), absl::UnavailableError("the file is gone"));
  EXPECT_EQ(server_.streams, 1);
}

TEST_F(EvaluationTest, CancelEndsIt) {
  Evaluation evaluation(connection_, v1::EvaluationSpec());
  IndexedSource source([&](int64_t sequence) {
    if (sequence == 3) evaluation.Cancel();
    return BatchOf(&samples_[0]);
  });
  EXPECT_TRUE(absl::IsCancelled(evaluation.Run(source).status()));
}

TEST_F(EvaluationTest, AnEndWithoutAResultIsAnError) {
  server_.breaks = {3};
  server_.broken = absl::OkStatus();
  IndexedSource source = Indexed();
  EXPECT_TRUE(absl::IsInternal(Run(source).status()));
}

TEST_F(EvaluationTest, ConstantsComeWithTheirTensor) {
  v1::EvaluationSpec spec;
  spec.add_constants()->set_name("class_weight");
  Evaluation evaluation(connection_, spec);
  IndexedSource source = Indexed();
  EXPECT_EQ(DetailOf(evaluation.Run(source).status()).reason, "CONSTANT_WITHOUT_TENSOR");
}

TEST(GeneratorSource, KeepsWhatNoCheckpointCovers) {
  std::vector<float> values(4);
  int generated = 0;
  GeneratorSource source([&]() -> absl::StatusOr<std::optional<Batch>> {
    if (generated == 5) return std::optional<Batch>();
    std::fill(values.begin(), values.end(), static_cast<float>(generated++));
    Batch batch;
    batch.inputs["x"] = *ViewOf(values, {4});
    return std::optional<Batch>(batch);
  });
  const auto first_value = [&](int64_t sequence) {
    const auto batch = source.Get(sequence);
    float value = -1;
    if (batch.ok() && batch->has_value()) {
      std::memcpy(&value, (*batch)->inputs.at("x").Run(0, 1, nullptr), sizeof(value));
    }
    return value;
  };
  for (int i = 0; i < 4; ++i) EXPECT_EQ(first_value(i), static_cast<float>(i));
  EXPECT_EQ(source.kept_bytes(), 64);
  source.Release(2);
  EXPECT_EQ(source.kept_bytes(), 32);
  EXPECT_EQ(first_value(2), 2.0f);
  EXPECT_EQ(first_value(3), 3.0f);
  EXPECT_EQ(DetailOf(source.Get(1).status()).reason, "BATCH_RELEASED");
  EXPECT_EQ(first_value(4), 4.0f);
  EXPECT_EQ(first_value(5), -1.0f);
  EXPECT_EQ(generated, 5);
}

}  // namespace
}  // namespace lossd
