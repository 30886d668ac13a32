// The limit: gRPC with nothing behind it. It takes the calls of LossService, does nothing with
// their bytes, and answers as many bytes as lossd would.
#ifndef LOSSD_TESTS_BENCH_SERVICE_LIMIT_SERVER_H_
#define LOSSD_TESTS_BENCH_SERVICE_LIMIT_SERVER_H_

#include <string>

#include "server_process.h"

namespace lossd::bench {

// Serves until the process is killed. `style`:
//   raw       callback API, messages as raw bytes
//   queue     completion queues, a thread and a queue a core, messages as raw bytes; unary only
//   ordinary  callback API, messages as generated protobuf classes
// False: there is no such style, or the addresses cannot be listened on.
bool RunLimitServer(const std::string& style, const Addresses& addresses);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_SERVICE_LIMIT_SERVER_H_
