// grpc.health.v1.Health.Check by hand: the messages are one field each, and a copy of health.proto
// would be registered twice in a program that links another one. Thread-safe.
#ifndef LOSSD_CLIENT_CPP_SRC_HEALTH_CHECK_H_
#define LOSSD_CLIENT_CPP_SRC_HEALTH_CHECK_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"
#include "lossd/connection.h"

namespace lossd {

absl::StatusOr<HealthStatus> CheckHealth(const std::shared_ptr<grpc::Channel>& channel,
                                         const std::string& service, absl::Time deadline);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_HEALTH_CHECK_H_
