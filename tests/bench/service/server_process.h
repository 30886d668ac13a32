// A server in a process of its own: lossd, a bare gRPC server, or a Python peer.
//
// Thread-safety: none. Ownership: the process ends with the object, and with the benchmark.
#ifndef LOSSD_TESTS_BENCH_SERVICE_SERVER_PROCESS_H_
#define LOSSD_TESTS_BENCH_SERVICE_SERVER_PROCESS_H_

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace lossd::bench {

enum class Transport { kTcp, kUnix };

// Where a server listens: each takes both.
struct Addresses {
  std::string tcp;
  std::string unix_socket;

  const std::string& Of(Transport transport) const {
    return transport == Transport::kTcp ? tcp : unix_socket;
  }
};

// A free TCP port and an unused socket path in `folder`.
Addresses FreshAddresses(const std::string& folder, const std::string& name);

struct Memory {
  double resident_mb = 0;
  double peak_mb = 0;
};

class ServerProcess {
 public:
  // Starts `command` and waits until it takes connections at `addresses`. Ends the benchmark with
  // `name` and what is wrong if it does not.
  ServerProcess(const std::string& name, const std::vector<std::string>& command,
                Addresses addresses);
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;
  ~ServerProcess();

  const Addresses& addresses() const { return addresses_; }
  // VmRSS and VmHWM, 10^6 bytes.
  Memory memory() const;

 private:
  Addresses addresses_;
  pid_t pid_ = -1;
};

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_SERVICE_SERVER_PROCESS_H_
