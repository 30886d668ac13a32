// Tells scripts where lossd listens, where ports were chosen by the system. Thread-safe.
#ifndef LOSSD_SERVER_LIFECYCLE_PORTS_FILE_H_
#define LOSSD_SERVER_LIFECYCLE_PORTS_FILE_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace lossd {

// Writes {"listen":["127.0.0.1:41234"],"metrics_listen":"127.0.0.1:41235","pid":7} to `path`, whole
// or not at all: a file beside it is renamed. `metrics` is empty where no metrics are served.
absl::Status WritePortsFile(const std::string& path, const std::vector<std::string>& listen,
                            const std::string& metrics);

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_PORTS_FILE_H_
