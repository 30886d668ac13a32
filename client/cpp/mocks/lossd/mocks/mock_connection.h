// GoogleMock doubles of a connection and of its streams, for the tests of programs that use the
// SDK.
//
//   auto connection = std::make_shared<lossd::MockConnection>();
//   EXPECT_CALL(*connection, ComputeLoss).WillOnce(Return(response));
//   lossd::Client client(connection);
//
// Thread-safety: that of GoogleMock. Ownership: the test and its clients share the connection.
#ifndef LOSSD_MOCKS_MOCK_CONNECTION_H_
#define LOSSD_MOCKS_MOCK_CONNECTION_H_

#include <memory>
#include <string>

#include "gmock/gmock.h"
#include "lossd/connection.h"

namespace lossd {

class MockEvaluateStream : public EvaluateStream {
 public:
  MOCK_METHOD(bool, Write, (const v1::EvaluateRequest&, const Inputs&), (override));
  MOCK_METHOD(void, WritesDone, (), (override));
  MOCK_METHOD(bool, Read, (v1::EvaluateResponse*), (override));
  MOCK_METHOD(void, Cancel, (), (override));
  MOCK_METHOD(absl::Status, Finish, (), (override));
};

class MockConnection : public Connection {
 public:
  MOCK_METHOD(const ClientOptions&, options, (), (const, override));
  MOCK_METHOD(absl::StatusOr<v1::ComputeLossResponse>, ComputeLoss,
              (const v1::ComputeLossRequest&, const Inputs&), (override));
  MOCK_METHOD(absl::StatusOr<v1::MergeEvaluationsResponse>, MergeEvaluations,
              (const v1::MergeEvaluationsRequest&), (override));
  MOCK_METHOD(absl::StatusOr<v1::ListLossesResponse>, ListLosses, (const v1::ListLossesRequest&),
              (override));
  MOCK_METHOD(absl::StatusOr<v1::GetServerInfoResponse>, GetServerInfo,
              (const v1::GetServerInfoRequest&), (override));
  MOCK_METHOD(absl::StatusOr<HealthStatus>, CheckHealth, (const std::string&), (override));
  MOCK_METHOD(std::unique_ptr<EvaluateStream>, Evaluate, (absl::Time), (override));
};

}  // namespace lossd

#endif  // LOSSD_MOCKS_MOCK_CONNECTION_H_
