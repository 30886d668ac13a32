// The unary methods, health, reflection and metrics of a real server over a real channel.
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/config/option_table.h"
#include "server/lifecycle/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

ServerOptions WithMetrics() {
  ServerOptions options = TestOptions();
  options.metrics_listen = "127.0.0.1:0";
  return options;
}

TEST(Service, ComputeLoss) {
  TestServer server;
  ASSERT_TRUE(server.status().ok()) << server.status();
  v1::ComputeLossResponse response;
  const auto context = NewContext();
  const grpc::Status status =
      server.stub().ComputeLoss(context.get(), MseRequest({1, 2}, {1, 4}), &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.results_size(), 1);
  EXPECT_EQ(response.results(0).loss(), "mse");
  EXPECT_EQ(response.results(0).value(), 2);
  EXPECT_EQ(response.results(0).items(), 2);
}

TEST(Service, ManyCallsAtATime) {
  TestServer server;
  std::vector<std::thread> callers;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&server, t] {
      for (int i = 0; i < 50; ++i) {
        v1::ComputeLossResponse response;
        const auto context = NewContext();
        const grpc::Status status = server.stub().ComputeLoss(
            context.get(), MseRequest({double(t), double(i)}, {0, 0}), &response);
        ASSERT_TRUE(status.ok()) << status.error_message();
        EXPECT_EQ(response.results(0).sum(), t * t + i * i);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
}

TEST(Service, ListLosses) {
  TestServer server;
  v1::ListLossesRequest request;
  request.add_names("mse");
  v1::ListLossesResponse response;
  EXPECT_TRUE(server.stub().ListLosses(NewContext().get(), request, &response).ok());
  ASSERT_EQ(response.losses_size(), 1);
  EXPECT_EQ(response.losses(0).name(), "mse");
  request.add_names("nothing");
  EXPECT_EQ(server.stub().ListLosses(NewContext().get(), request, &response).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(Service, GetServerInfoReportsEveryLimit) {
  ServerOptions options = TestOptions();
  options.max_streams = 3;
  TestServer server(options);
  v1::GetServerInfoResponse response;
  ASSERT_TRUE(
      server.stub().GetServerInfo(NewContext().get(), v1::GetServerInfoRequest(), &response).ok());
  EXPECT_FALSE(response.version().empty());
  std::map<std::string, int64_t> limits;
  for (const v1::Limit& limit : response.limits()) limits[limit.flag()] = limit.value();
  for (const OptionRow& row : OptionTable())
    EXPECT_EQ(limits.count(std::string(row.flag)), row.limit);
  EXPECT_EQ(limits["max-streams"], 3);
  EXPECT_EQ(limits["max-message-bytes"], 16 << 20);
}

TEST(Service, AnErrorCarriesItsDetails) {
  TestServer server;
  v1::ComputeLossRequest request = MseRequest({1, 2}, {1, 4});
  request.mutable_inputs()->erase("targets");
  v1::ComputeLossResponse response;
  const grpc::Status status = server.stub().ComputeLoss(NewContext().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Detail(status).reason, "MISSING_INPUT");
  EXPECT_FALSE(Detail(status).field.empty());
  EXPECT_EQ(Detail(status).retry_delay, absl::ZeroDuration());
}

TEST(Service, AMalformedStateIsRefused) {
  TestServer server;
  v1::MergeEvaluationsRequest request;
  request.add_states()->set_value("no state");
  v1::MergeEvaluationsResponse response;
  const grpc::Status status =
      server.stub().MergeEvaluations(NewContext().get(), request, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(Detail(status).reason, "INVALID_STATE");
}

TEST(Service, AMessageOverTheLimitIsRefusedAndTheServerLives) {
  ServerOptions options = TestOptions();
  options.max_message_bytes = 10'000;
  TestServer server(options);
  v1::ComputeLossResponse response;
  const std::vector<double> many(1000, 1.0);  // 16 kB on the wire
  const grpc::Status status =
      server.stub().ComputeLoss(NewContext().get(), MseRequest(many, many), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(server.stub().ComputeLoss(NewContext().get(), MseRequest({1}, {1}), &response).ok());
}

TEST(Service, ACallThatCouldNeverBeHeldIsRefusedForGood) {
  ServerOptions options = TestOptions();
  options.max_inflight_bytes = 1000;
  TestServer server(options);
  v1::ComputeLossResponse response;
  const std::vector<double> many(100, 1.0);
  const grpc::Status status =
      server.stub().ComputeLoss(NewContext().get(), MseRequest(many, many), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(Detail(status).reason, "INFLIGHT_BYTES");
  EXPECT_THAT(status.error_message(), HasSubstr("max-inflight-bytes"));
}

TEST(Service, CallsBeyondTheBytesHeldAreToldToRetry) {
  ServerOptions options = TestOptions();
  options.max_inflight_bytes = int64_t{9} << 20;  // one heavy call of 8 MiB, not two
  TestServer server(options);
  const v1::ComputeLossRequest heavy = HeavyRequest(500'000);
  int refused = 0;
  std::vector<std::thread> callers;
  std::mutex mutex;
  for (int t = 0; t < 4; ++t) {
    callers.emplace_back([&] {
      v1::ComputeLossResponse response;
      const grpc::Status status = server.stub().ComputeLoss(NewContext().get(), heavy, &response);
      if (status.ok()) return;
      std::lock_guard lock(mutex);
      ++refused;
      EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
      EXPECT_EQ(Detail(status).reason, "INFLIGHT_BYTES");
      EXPECT_GT(Detail(status).retry_delay, absl::ZeroDuration());
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_LT(refused, 4);
}

TEST(Service, AnExpiredDeadlineEndsTheCall) {
  TestServer server(WithMetrics());
  v1::ComputeLossResponse response;
  const auto context = NewContext(std::chrono::milliseconds(1));
  const grpc::Status status =
      server.stub().ComputeLoss(context.get(), HeavyRequest(500'000), &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(server.stub().ComputeLoss(NewContext().get(), MseRequest({1}, {1}), &response).ok());
  EXPECT_TRUE(Eventually([&] {
    return server.ScrapeMetrics().find("lossd_inflight_bytes 0\n") != std::string::npos;
  }));
}

TEST(Service, HealthPerService) {
  TestServer server;
  const auto channel = server.NewChannel();
  EXPECT_EQ(HealthOf(channel, ""), 1);
  EXPECT_EQ(HealthOf(channel, "lossd.v1.LossService"), 1);
  EXPECT_EQ(HealthOf(channel, "nobody"), 0);
}

TEST(Service, ReflectionListsTheService) {
  TestServer server;
  std::string answer;
  // ServerReflectionRequest { string list_services = 7; }
  CallByName(server.NewChannel(), "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
             "\x3a\x01*", &answer);
  EXPECT_THAT(answer, HasSubstr("lossd.v1.LossService"));
  EXPECT_THAT(answer, HasSubstr("grpc.health.v1.Health"));
}

TEST(Service, MetricsOfLabelledCalls) {
  TestServer server(WithMetrics());
  v1::ComputeLossRequest request = MseRequest({1, 2}, {1, 4});
  v1::ComputeLossResponse response;
  EXPECT_TRUE(server.stub().ComputeLoss(NewContext().get(), request, &response).ok());
  request.mutable_labels()->set_run("run 7");
  EXPECT_TRUE(server.stub().ComputeLoss(NewContext().get(), request, &response).ok());
  EXPECT_THAT(server.ScrapeMetrics(), Not(HasSubstr("lossd_evaluation_loss{")));

  request.mutable_labels()->set_model("m");
  request.mutable_labels()->set_dataset("d");
  EXPECT_TRUE(server.stub().ComputeLoss(NewContext().get(), request, &response).ok());
  request.clear_losses();
  EXPECT_FALSE(server.stub().ComputeLoss(NewContext().get(), request, &response).ok());
  const std::string text = server.ScrapeMetrics();
  EXPECT_THAT(text, HasSubstr("lossd_evaluation_loss{dataset=\"d\",loss=\"mse\",model=\"m\"} 2\n"));
  EXPECT_THAT(text,
              HasSubstr("lossd_evaluation_items{dataset=\"d\",loss=\"mse\",model=\"m\"} 2\n"));
  EXPECT_THAT(text, Not(HasSubstr("run 7")));
  const std::string labels = "grpc_method=\"ComputeLoss\",grpc_service=\"lossd.v1.LossService\"} ";
  EXPECT_THAT(text, HasSubstr("grpc_server_started_total{" + labels + "4\n"));
  EXPECT_THAT(text, HasSubstr("grpc_server_handled_total{grpc_code=\"OK\"," + labels + "3\n"));
  EXPECT_THAT(
      text, HasSubstr("grpc_server_handled_total{grpc_code=\"InvalidArgument\"," + labels + "1\n"));
  EXPECT_THAT(text, HasSubstr("lossd_items_total{loss=\"mse\"} 6\n"));
}

}  // namespace
}  // namespace lossd
