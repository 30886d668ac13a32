// Addresses and credentials of the gRPC listeners. Everything that can be wrong with them is found
// here, before gRPC, which would only say that a port could not be added. Pure but for reading
// files and probing sockets.
#ifndef LOSSD_SERVER_LIFECYCLE_LISTENERS_H_
#define LOSSD_SERVER_LIFECYCLE_LISTENERS_H_

#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/config/server_options.h"

namespace lossd {

bool IsUnixAddress(const std::string& address);
// The path of a unix address.
std::string UnixPath(const std::string& address);

// HOST:PORT, [IPV6]:PORT or unix:/PATH; the error names `flag`.
absl::Status CheckAddress(const std::string& flag, const std::string& address);

// `address` with its port replaced by the one that was bound.
std::string WithPort(const std::string& address, int port);

// A socket file that nobody serves is in the way of nobody; one that somebody serves is an error.
absl::Status CheckUnixSocketFree(const std::string& address);

// Of the TCP listeners: plain, TLS or mutual TLS.
absl::StatusOr<std::shared_ptr<grpc::ServerCredentials>> TcpCredentials(
    const ServerOptions& options);

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_LISTENERS_H_
