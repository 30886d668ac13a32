// The gRPC connection over the generated mock of the stub: what is retried, what the caller sees.
#include "grpc_connection.h"

#include <fstream>

#include "gmock/gmock.h"
#include "grpcpp/create_channel.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"
#include "lib/wire/status_proto.h"
#include "lossd/client.h"
#include "lossd/mocks/mock_connection.h"
#include "lossd/v1/loss_service_mock.grpc.pb.h"

namespace lossd {
namespace {

using testing::DoAll;
using testing::Return;
using testing::SetArgPointee;

// As a server sends it.
grpc::Status ToGrpc(const absl::Status& status) {
  return grpc::Status(static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
                      StatusDetailsBytes(status));
}

class GrpcConnectionTest : public testing::Test {
 protected:
  GrpcConnectionTest() {
    ClientOptions options;
    options.sleeper = [this](absl::Duration wait) { waits_.push_back(wait); };
    auto stub = std::make_unique<testing::StrictMock<v1::MockLossServiceStub>>();
    stub_ = stub.get();
    connection_ = MakeGrpcConnection(options, nullptr, std::move(stub));
  }

  std::vector<absl::Duration> waits_;
  testing::StrictMock<v1::MockLossServiceStub>* stub_;
  std::shared_ptr<Connection> connection_;
};

TEST_F(GrpcConnectionTest, RetriesUnavailableAndHonoursRetryInfo) {
  v1::ListLossesResponse response;
  response.add_losses()->set_name("mse");
  EXPECT_CALL(*stub_, ListLosses)
      .WillOnce(Return(ToGrpc(Unavailable("INFLIGHT_BYTES", "busy", absl::Seconds(3)))))
      .WillOnce(DoAll(SetArgPointee<2>(response), Return(grpc::Status::OK)));
  const auto answer = Client(connection_).ListLosses();
  ASSERT_TRUE(answer.ok()) << answer.status();
  EXPECT_EQ(answer->losses(0).name(), "mse");
  EXPECT_EQ(waits_, std::vector<absl::Duration>({absl::Seconds(3)}));
}

TEST_F(GrpcConnectionTest, GivesTheDetailOfAnError) {
  EXPECT_CALL(*stub_, MergeEvaluations)
      .WillOnce(Return(ToGrpc(InvalidArgument("FINGERPRINT_MISMATCH", "states[1]", "no"))));
  const absl::Status status = Client(connection_).MergeEvaluations({}).status();
  EXPECT_TRUE(absl::IsInvalidArgument(status));
  EXPECT_EQ(status.message(), "no");
  EXPECT_EQ(DetailOf(status).reason, "FINGERPRINT_MISMATCH");
  EXPECT_EQ(DetailOf(status).field, "states[1]");
  EXPECT_TRUE(waits_.empty());
}

TEST_F(GrpcConnectionTest, SetsTheDeadlineOfEveryAttempt) {
  const auto latest = std::chrono::system_clock::now() + std::chrono::seconds(61);
  EXPECT_CALL(*stub_, GetServerInfo)
      .Times(2)
      .WillOnce([&](grpc::ClientContext* context, auto...) {
        EXPECT_LT(context->deadline(), latest);
        return grpc::Status(grpc::StatusCode::UNAVAILABLE, "down");
      })
      .WillOnce([&](grpc::ClientContext* context, auto...) {
        EXPECT_LT(context->deadline(), latest);
        return grpc::Status::OK;
      });
  EXPECT_TRUE(Client(connection_).GetServerInfo().ok());
}

TEST(MakeGrpcConnection, ChecksCredentials) {
  ClientOptions options;
  options.credentials.ca_file = "ca.pem";
  EXPECT_EQ(DetailOf(MakeGrpcConnection(options).status()).reason, "CREDENTIALS");
  options.credentials.tls = true;
  options.credentials.ca_file = "/no/such/file.pem";
  const absl::Status unreadable = MakeGrpcConnection(options).status();
  EXPECT_THAT(std::string(unreadable.message()), testing::HasSubstr("/no/such/file.pem"));
  options.credentials.ca_file.clear();
  options.credentials.key_file = "key.pem";
  EXPECT_EQ(DetailOf(MakeGrpcConnection(options).status()).reason, "CREDENTIALS");
}

TEST(MakeGrpcConnection, AnAbsentServerIsUnavailable) {
  ClientOptions options;
  options.endpoint = "unix:/no/such/socket";
  options.retry.max_attempts = 2;
  int waits = 0;
  options.sleeper = [&](absl::Duration) { ++waits; };
  absl::StatusOr<Client> client = Client::Connect(options);
  ASSERT_TRUE(client.ok());
  EXPECT_TRUE(absl::IsUnavailable(client->GetServerInfo().status()));
  EXPECT_EQ(waits, 1);
  EXPECT_TRUE(absl::IsUnavailable(client->Health().status()));
  IndexedSource nothing([](int64_t) { return std::optional<Batch>(); });
  EXPECT_TRUE(absl::IsUnavailable(client->Evaluate({}).Run(nothing).status()));
}

TEST(Client, SendsWhatItIsGiven) {
  auto connection = std::make_shared<testing::StrictMock<MockConnection>>();
  const std::vector<float> predictions = {1, 2};
  const std::vector<int64_t> targets = {1, 3};
  EXPECT_CALL(*connection, ComputeLoss)
      .WillOnce([&](const v1::ComputeLossRequest& request, const Inputs& inputs) {
        EXPECT_EQ(request.losses_size(), 1);
        EXPECT_EQ(request.reduction(), v1::REDUCTION_SUM);
        EXPECT_EQ(inputs.at("predictions").dtype(), DataType::kFloat32);
        EXPECT_EQ(inputs.at("predictions").shape(), Shape({2}));
        EXPECT_EQ(inputs.at("targets").dtype(), DataType::kInt64);
        EXPECT_FALSE(request.has_labels());
        return v1::ComputeLossResponse();
      });
  Client client(connection);
  ComputeOptions options;
  options.reduction = v1::REDUCTION_SUM;
  EXPECT_TRUE(client
                  .ComputeLoss({*ParseLoss("mse")},
                               {{"predictions", *ViewOf(predictions, {2})},
                                {"targets", *ViewOf(targets, {2})}},
                               options)
                  .ok());
}

}  // namespace
}  // namespace lossd
