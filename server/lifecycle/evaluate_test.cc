// Evaluate of a real server over a real channel: progress, errors, cuts, slots and the drain.
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/lifecycle/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

// One stream and all that came back over it.
class Stream {
 public:
  explicit Stream(v1::LossService::Stub& stub,
                  std::chrono::milliseconds timeout = std::chrono::seconds(60))
      : context_(NewContext(timeout)), stream_(stub.Evaluate(context_.get())) {}

  bool Write(const v1::EvaluateRequest& step) { return stream_->Write(step); }
  bool Read(v1::EvaluateResponse* response) { return stream_->Read(response); }
  void Cancel() { context_->TryCancel(); }

  // Half-closes unless told otherwise, reads to the end, and answers the status.
  grpc::Status Finish(bool half_close = true) {
    if (half_close) stream_->WritesDone();
    v1::EvaluateResponse response;
    while (stream_->Read(&response)) {
      if (response.has_progress()) last_progress = response.progress();
      if (response.has_result()) result = response.result();
    }
    return stream_->Finish();
  }

  v1::Progress last_progress;
  v1::EvaluationResult result;

 private:
  std::unique_ptr<grpc::ClientContext> context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::EvaluateRequest, v1::EvaluateResponse>> stream_;
};

v1::EvaluateRequest EagerSpec() {
  v1::EvaluateRequest step = SpecStep();
  step.mutable_spec()->mutable_checkpoint_cadence()->set_seconds(0);
  return step;
}

// Waits for a Progress, so that the batches before it are known to have counted.
v1::Progress NextProgress(Stream& stream) {
  v1::EvaluateResponse response;
  EXPECT_TRUE(stream.Read(&response));
  EXPECT_TRUE(response.has_progress());
  return response.progress();
}

TEST(Evaluate, BatchesToAResult) {
  TestServer server;
  Stream stream(server.stub());
  ASSERT_TRUE(stream.Write(SpecStep()));
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(stream.Write(BatchStep({1, 2}, {1, double(i)})));
  ASSERT_TRUE(stream.Write(FinishStep()));
  const grpc::Status status = stream.Finish();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(stream.result.summaries_size(), 1);
  double sum = 0;
  for (int i = 0; i < 20; ++i) sum += (2.0 - i) * (2.0 - i);
  EXPECT_EQ(stream.result.summaries(0).result().items(), 40);
  EXPECT_EQ(stream.result.summaries(0).result().sum(), sum);
  EXPECT_FALSE(stream.result.state().value().empty());
}

TEST(Evaluate, TheResultComesWithoutAHalfClose) {
  TestServer server;
  Stream stream(server.stub());
  stream.Write(SpecStep());
  stream.Write(BatchStep({1}, {3}));
  stream.Write(FinishStep());
  EXPECT_TRUE(stream.Finish(/*half_close=*/false).ok());
  EXPECT_EQ(stream.result.summaries(0).result().sum(), 4);
}

TEST(Evaluate, ProgressOnItsCadenceResumesToTheSameBits) {
  TestServer server;
  Stream first(server.stub());
  first.Write(EagerSpec());
  first.Write(BatchStep({0.1, 0.2}, {1, 2}));
  const v1::Progress progress = NextProgress(first);
  EXPECT_EQ(progress.items(), 2);
  EXPECT_EQ(progress.next_sequence(), 1);
  first.Cancel();
  EXPECT_FALSE(first.Finish(false).ok());

  Stream second(server.stub());
  v1::EvaluateRequest resumed = EagerSpec();
  *resumed.mutable_spec()->mutable_resume_from() = progress.checkpoint();
  resumed.mutable_spec()->set_next_sequence(progress.next_sequence());
  second.Write(resumed);
  second.Write(BatchStep({0.3}, {3}));
  second.Write(FinishStep());
  ASSERT_TRUE(second.Finish().ok());

  Stream whole(server.stub());
  whole.Write(SpecStep());
  whole.Write(BatchStep({0.1, 0.2, 0.3}, {1, 2, 3}));
  whole.Write(FinishStep());
  ASSERT_TRUE(whole.Finish().ok());
  EXPECT_EQ(second.result.state().value(), whole.result.state().value());
}

TEST(Evaluate, MergedPartsAreTheWhole) {
  TestServer server;
  v1::MergeEvaluationsRequest merge;
  for (const double prediction : {1.0, 2.0, 4.0}) {
    Stream stream(server.stub());
    stream.Write(SpecStep());
    stream.Write(BatchStep({prediction}, {0}));
    stream.Write(FinishStep());
    ASSERT_TRUE(stream.Finish().ok());
    *merge.add_states() = stream.result.state();
  }
  v1::MergeEvaluationsResponse response;
  ASSERT_TRUE(server.stub().MergeEvaluations(NewContext().get(), merge, &response).ok());
  EXPECT_EQ(response.result().summaries(0).result().sum(), 21);
}

TEST(Evaluate, ABadBatchIsPrecededByACheckpoint) {
  TestServer server;
  Stream stream(server.stub());
  stream.Write(SpecStep());
  stream.Write(BatchStep({1, 2}, {1, 4}));
  stream.Write(BatchStep({1, 2}, {1}));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Detail(status).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(stream.last_progress.items(), 2);
  EXPECT_EQ(stream.last_progress.next_sequence(), 1);
  EXPECT_FALSE(stream.last_progress.checkpoint().value().empty());
}

TEST(Evaluate, ABatchBeforeTheSpecIsRefused) {
  TestServer server;
  Stream stream(server.stub());
  stream.Write(BatchStep({1}, {1}));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_FALSE(Detail(status).reason.empty());
}

TEST(Evaluate, AStreamWithoutFinishWasCut) {
  TestServer server;
  Stream stream(server.stub());
  stream.Write(SpecStep());
  stream.Write(BatchStep({1}, {1}));
  const grpc::Status status = stream.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Detail(status).reason, "MISSING_FINISH");
  EXPECT_EQ(stream.result.summaries_size(), 0);
  EXPECT_EQ(stream.last_progress.items(), 1);
}

TEST(Evaluate, SlotsComeBackFromCancelledExpiredAndFinishedStreams) {
  ServerOptions options = TestOptions();
  options.max_streams = 1;
  TestServer server(options);
  const auto works = [&] {
    Stream stream(server.stub());
    stream.Write(SpecStep());
    stream.Write(FinishStep());
    const grpc::Status status = stream.Finish();
    if (!status.ok()) {
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
      EXPECT_EQ(Detail(status).reason, "STREAM_SLOTS");
      EXPECT_GT(Detail(status).retry_delay, absl::ZeroDuration());
    }
    return status.ok();
  };
  {
    Stream holds(server.stub());
    holds.Write(EagerSpec());
    holds.Write(BatchStep({1}, {1}));
    NextProgress(holds);
    EXPECT_FALSE(works());
    holds.Cancel();
    EXPECT_EQ(holds.Finish(false).error_code(), grpc::StatusCode::CANCELLED);
  }
  EXPECT_TRUE(Eventually(works));
  Stream expires(server.stub(), std::chrono::milliseconds(200));
  expires.Write(SpecStep());
  EXPECT_EQ(expires.Finish(false).error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(Eventually(works));
  EXPECT_TRUE(Eventually(works));
}

// A client that writes and never reads cannot stop the reading of its batches.
TEST(Evaluate, ReadingDoesNotWaitForWriting) {
  TestServer server;
  Stream stream(server.stub());
  stream.Write(EagerSpec());
  for (int i = 0; i < 500; ++i) ASSERT_TRUE(stream.Write(BatchStep({1}, {0})));
  stream.Write(FinishStep());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_EQ(stream.result.summaries(0).result().items(), 500);
}

TEST(Evaluate, ConstantsAreHeldAgainstTheBytesInFlight) {
  ServerOptions options = TestOptions();
  options.max_inflight_bytes = 2 << 20;
  options.max_constant_bytes = 2 << 20;
  options.max_message_bytes = 1 << 20;
  options.metrics_listen = "127.0.0.1:0";
  TestServer server(options);
  v1::EvaluateRequest spec = EagerSpec();
  v1::ConstantSpec* constant = spec.mutable_spec()->add_constants();
  constant->set_name("class_weight");
  constant->set_dtype(v1::DATA_TYPE_FLOAT32);
  constant->add_shape(400'000);
  constant->set_sha256(std::string(32, 'x'));
  spec.mutable_spec()->mutable_losses(0)->mutable_cross_entropy();
  Stream holds(server.stub());
  holds.Write(spec);
  EXPECT_TRUE(Eventually([&] {
    return server.ScrapeMetrics().find("lossd_inflight_bytes 1600000\n") != std::string::npos;
  }));
  Stream refused(server.stub());
  refused.Write(spec);
  const grpc::Status status = refused.Finish(false);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Detail(status).reason, "INFLIGHT_BYTES");
  holds.Cancel();
  holds.Finish(false);
  EXPECT_TRUE(Eventually([&] {
    return server.ScrapeMetrics().find("lossd_inflight_bytes 0\n") != std::string::npos;
  }));
}

TEST(Evaluate, GaugesOfALabelledEvaluation) {
  ServerOptions options = TestOptions();
  options.metrics_listen = "127.0.0.1:0";
  TestServer server(options);
  Stream stream(server.stub());
  v1::EvaluateRequest spec = SpecStep();
  spec.mutable_spec()->mutable_labels()->set_model("m");
  spec.mutable_spec()->mutable_labels()->set_dataset("d");
  stream.Write(spec);
  stream.Write(BatchStep({1, 2}, {1, 4}));
  stream.Write(FinishStep());
  ASSERT_TRUE(stream.Finish().ok());
  EXPECT_THAT(server.ScrapeMetrics(),
              HasSubstr("lossd_evaluation_loss{dataset=\"d\",loss=\"mse\",model=\"m\"} 2\n"));
}

TEST(Drain, AnEvaluationGetsALastCheckpoint) {
  TestServer server;
  Stream stream(server.stub());
  v1::EvaluateRequest spec = SpecStep();
  // One progress after the first batch and then, by time, none for hours: the rest is left to the
  // drain.
  spec.mutable_spec()->mutable_checkpoint_cadence()->set_seconds(10'000);
  spec.mutable_spec()->mutable_checkpoint_cadence()->set_bytes(1'000);
  stream.Write(spec);
  const std::vector<double> many(100, 1.0);
  stream.Write(BatchStep(many, many));
  NextProgress(stream);
  stream.Write(BatchStep({1}, {3}));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  std::thread drain([&] { server.server().Drain(absl::Seconds(20)); });
  const grpc::Status status = stream.Finish(/*half_close=*/false);
  drain.join();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(Detail(status).reason, "DRAINING");
  EXPECT_GT(Detail(status).retry_delay, absl::ZeroDuration());
  EXPECT_EQ(stream.last_progress.items(), 101);
  EXPECT_EQ(stream.last_progress.next_sequence(), 2);
}

TEST(Drain, RunningCallsFinishAndNewOnesAreRefused) {
  ServerOptions options = TestOptions();
  options.metrics_listen = "127.0.0.1:0";
  TestServer server(options);
  const auto channel = server.NewChannel();
  ASSERT_EQ(HealthOf(channel, ""), 1);
  std::vector<std::future<grpc::Status>> running;
  const v1::ComputeLossRequest heavy = HeavyRequest(900'000);
  for (int i = 0; i < 4; ++i) {
    running.push_back(std::async(std::launch::async, [&] {
      v1::ComputeLossResponse response;
      return server.stub().ComputeLoss(NewContext().get(), heavy, &response);
    }));
  }
  ASSERT_TRUE(Eventually([&] {
    return server.ScrapeMetrics().find(
               "grpc_server_started_total{grpc_method=\"ComputeLoss\",grpc_service="
               "\"lossd.v1.LossService\"} 4\n") != std::string::npos;
  }));
  std::thread drain([&] { server.server().Drain(absl::Seconds(20)); });
  // While they run, others are refused; once they have ended, nobody listens any more.
  v1::ComputeLossResponse response;
  EXPECT_TRUE(Eventually([&] {
    const grpc::Status status =
        server.stub().ComputeLoss(NewContext().get(), MseRequest({1}, {1}), &response);
    return status.error_code() == grpc::StatusCode::UNAVAILABLE;
  }));
  EXPECT_NE(HealthOf(channel, ""), 1);
  for (auto& call : running) {
    const grpc::Status status = call.get();
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  drain.join();
}

TEST(Drain, EndsWithinItsTimeWhateverClientsDo) {
  TestServer server;
  Stream idle(server.stub());  // sends and reads nothing more
  idle.Write(EagerSpec());
  idle.Write(BatchStep({1}, {1}));
  NextProgress(idle);
  const auto start = std::chrono::steady_clock::now();
  server.server().Drain(absl::Seconds(1));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
  EXPECT_EQ(idle.Finish(false).error_code(), grpc::StatusCode::UNAVAILABLE);
}

}  // namespace
}  // namespace lossd
