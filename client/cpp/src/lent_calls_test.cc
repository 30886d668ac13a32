// The client against gRPC servers that answer, wait, or do not read: what arrives, what the caller
// sees, and that its memory is its own again when a call has returned.
#include "lent_calls.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <functional>
#include <future>
#include <thread>

#include "grpcpp/server.h"
#include "grpcpp/server_builder.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"
#include "lib/wire/status_proto.h"
#include "lossd/client.h"
#include "lossd/v1/loss_service.grpc.pb.h"

namespace lossd {
namespace {

// Larger than what a socket and its flow control take up: whoever writes it waits for a reader.
constexpr int64_t kLarge = int64_t{8} << 20;

grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      StatusDetailsBytes(status));
}

class FakeService : public v1::LossService::Service {
 public:
  using Stream = grpc::ServerReaderWriter<v1::EvaluateResponse, v1::EvaluateRequest>;

  std::function<grpc::Status(const v1::ComputeLossRequest&, v1::ComputeLossResponse*)> compute;
  std::function<grpc::Status(grpc::ServerContext*, Stream*)> evaluate;

  grpc::Status ComputeLoss(grpc::ServerContext*, const v1::ComputeLossRequest* request,
                           v1::ComputeLossResponse* response) override {
    return compute(*request, response);
  }
  grpc::Status Evaluate(grpc::ServerContext* context, Stream* stream) override {
    return evaluate(context, stream);
  }
};

class LentCallsTest : public testing::Test {
 protected:
  LentCallsTest() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.SetMaxReceiveMessageSize(-1);
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    options_.endpoint = "127.0.0.1:" + std::to_string(port);
    options_.sleeper = [this](absl::Duration) { ++waits_; };
  }

  Client Connect() { return *Client::Connect(options_); }
  static std::vector<v1::Loss> Mse() { return {*ParseLoss("mse")}; }

  FakeService service_;
  std::unique_ptr<grpc::Server> server_;
  ClientOptions options_;
  int waits_ = 0;
};

Inputs OneInput(const std::vector<float>& numbers) {
  return {{"predictions", *ViewOf(numbers, {static_cast<int64_t>(numbers.size())})}};
}

bool HoldsOnly(const v1::Tensor& tensor, float number, size_t count) {
  if (tensor.data().size() != count * sizeof(float)) return false;
  const auto* begin = reinterpret_cast<const float*>(tensor.data().data());
  return std::all_of(begin, begin + count, [&](float element) { return element == number; });
}

// Until the client has gone; false: it has not in a minute.
bool WaitCancelled(const grpc::ServerContext* context) {
  for (int i = 0; i < 60'000 && !context->IsCancelled(); ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return context->IsCancelled();
}

TEST_F(LentCallsTest, ComputeLossSendsTheCallersMemory) {
  const std::vector<float> numbers(kLarge / sizeof(float), 1.5f);
  service_.compute = [&](const v1::ComputeLossRequest& request, v1::ComputeLossResponse* response) {
    EXPECT_TRUE(request.losses(0).has_mse());
    EXPECT_TRUE(HoldsOnly(request.inputs().at("predictions"), 1.5f, numbers.size()));
    response->add_results()->set_value(0.5);
    return grpc::Status::OK;
  };
  const auto response = Connect().ComputeLoss(Mse(), OneInput(numbers));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results(0).value(), 0.5);
}

TEST_F(LentCallsTest, ComputeLossSendsAgainAfterUnavailable) {
  const std::vector<float> numbers(kLarge / sizeof(float), 1.5f);
  int calls = 0;
  service_.compute = [&](const v1::ComputeLossRequest& request, v1::ComputeLossResponse* response) {
    EXPECT_TRUE(HoldsOnly(request.inputs().at("predictions"), 1.5f, numbers.size()));
    if (++calls < 3) return ToGrpc(Unavailable("INFLIGHT_BYTES", "busy", absl::Seconds(3)));
    response->add_results()->set_value(0.5);
    return grpc::Status::OK;
  };
  const auto response = Connect().ComputeLoss(Mse(), OneInput(numbers));
  ASSERT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(response->results_size(), 1);
  EXPECT_EQ(waits_, 2);
}

TEST_F(LentCallsTest, ComputeLossGivesTheDetailOfAnError) {
  service_.compute = [](const v1::ComputeLossRequest&, v1::ComputeLossResponse*) {
    return ToGrpc(InvalidArgument("LABEL_OUT_OF_RANGE", "inputs[\"labels\"]", "label 10"));
  };
  const absl::Status status = Connect().ComputeLoss(Mse(), {}).status();
  EXPECT_EQ(status.message(), "label 10");
  EXPECT_EQ(DetailOf(status).reason, "LABEL_OUT_OF_RANGE");
  EXPECT_EQ(DetailOf(status).field, "inputs[\"labels\"]");
  EXPECT_EQ(waits_, 0);
}

TEST_F(LentCallsTest, ComputeLossEndsByTheDeadlineWithItsMemoryBack) {
  std::promise<void> over;
  service_.compute = [&](const v1::ComputeLossRequest&, v1::ComputeLossResponse*) {
    over.get_future().wait();
    return grpc::Status::OK;
  };
  options_.deadline = absl::Milliseconds(300);
  auto numbers = std::make_unique<std::vector<float>>(kLarge / sizeof(float), 1.5f);
  const absl::Status status = Connect().ComputeLoss(Mse(), OneInput(*numbers)).status();
  numbers.reset();  // a sanitizer sees whoever reads it now
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
  over.set_value();
}

TEST_F(LentCallsTest, AnAnswerThatIsNoneIsAnError) {
  // protobuf writes text that is not UTF-8, and does not read it.
  service_.compute = [](const v1::ComputeLossRequest&, v1::ComputeLossResponse* response) {
    response->add_results()->set_loss("\xff");
    return grpc::Status::OK;
  };
  EXPECT_TRUE(absl::IsInternal(Connect().ComputeLoss(Mse(), {}).status()));
}

TEST_F(LentCallsTest, EvaluateReadsEachBatchBeforeTheNextTakesItsPlace) {
  constexpr int kBatches = 50;
  for (const size_t count : {1000u, 2000u, 300'000u}) {  // copied, lent in one slice, in many
    std::vector<float> numbers(count);
    int batches = 0;
    service_.evaluate = [&](grpc::ServerContext*, FakeService::Stream* stream) {
      v1::EvaluateRequest request;
      while (stream->Read(&request)) {
        if (!request.has_batch()) continue;
        EXPECT_EQ(request.batch().sequence(), batches);
        EXPECT_TRUE(HoldsOnly(request.batch().inputs().at("predictions"),
                              static_cast<float>(batches), count));
        ++batches;
      }
      v1::EvaluateResponse response;
      response.mutable_result()->mutable_state()->set_value("done");
      stream->Write(response);
      return grpc::Status::OK;
    };
    IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<Batch>> {
      std::fill(numbers.begin(), numbers.end(), static_cast<float>(sequence));
      if (sequence == kBatches) return std::optional<Batch>();
      return Batch{.inputs = OneInput(numbers), .first_sample = 0, .sample_ids = {}};
    });
    const auto result = Connect().Evaluate({}).Run(source);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->state().value(), "done");
    EXPECT_EQ(batches, kBatches);
  }
}

TEST_F(LentCallsTest, EvaluateEndsByTheDeadlineWhereNobodyReads) {
  service_.evaluate = [](grpc::ServerContext* context, FakeService::Stream*) {
    EXPECT_TRUE(WaitCancelled(context));
    return grpc::Status::CANCELLED;
  };
  auto numbers = std::make_unique<std::vector<float>>(kLarge / sizeof(float), 1.5f);
  IndexedSource source([&](int64_t) -> absl::StatusOr<std::optional<Batch>> {
    return Batch{.inputs = OneInput(*numbers), .first_sample = 0, .sample_ids = {}};
  });
  EvaluationOptions options;
  options.deadline = absl::Milliseconds(300);
  const absl::Status status = Connect().Evaluate({}, options).Run(source).status();
  numbers.reset();
  EXPECT_TRUE(absl::IsDeadlineExceeded(status)) << status;
}

TEST_F(LentCallsTest, CancelEndsAnEvaluationWhereNobodyReads) {
  service_.evaluate = [](grpc::ServerContext* context, FakeService::Stream*) {
    EXPECT_TRUE(WaitCancelled(context));
    return grpc::Status::CANCELLED;
  };
  auto numbers = std::make_unique<std::vector<float>>(kLarge / sizeof(float), 1.5f);
  std::atomic<int> batches = 0;
  IndexedSource source([&](int64_t) -> absl::StatusOr<std::optional<Batch>> {
    ++batches;
    return Batch{.inputs = OneInput(*numbers), .first_sample = 0, .sample_ids = {}};
  });
  Evaluation evaluation = Connect().Evaluate({});
  std::thread canceller([&] {
    while (batches == 0) std::this_thread::yield();
    std::this_thread::sleep_for(std::chrono::milliseconds(100));  // the write waits by now
    evaluation.Cancel();
  });
  const absl::Status status = evaluation.Run(source).status();
  numbers.reset();
  canceller.join();
  EXPECT_TRUE(absl::IsCancelled(status)) << status;
}

TEST_F(LentCallsTest, AStreamThatIsDroppedEnds) {
  std::promise<bool> cancelled;
  service_.evaluate = [&](grpc::ServerContext* context, FakeService::Stream*) {
    cancelled.set_value(WaitCancelled(context));
    return grpc::Status::CANCELLED;
  };
  auto connection = *MakeGrpcConnection(options_);
  {
    const auto stream = connection->Evaluate(absl::InfiniteFuture());
    EXPECT_TRUE(stream->Write(v1::EvaluateRequest(), {}));
  }
  EXPECT_TRUE(cancelled.get_future().get());
}

}  // namespace
}  // namespace lossd
