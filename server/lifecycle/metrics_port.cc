#include "server/lifecycle/metrics_port.h"

#include <netdb.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <exception>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/lifecycle/listeners.h"

namespace lossd {
namespace {

absl::Status Wrong(const std::string& what) {
  return absl::InvalidArgumentError(absl::StrCat("--metrics-listen: ", what));
}

// Connects to the port and hangs up.
void Knock(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &found) != 0) return;
  const int knocker = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (knocker >= 0) {
    // Refused, or under way: either is fine.
    [[maybe_unused]] const int connected = connect(knocker, found->ai_addr, found->ai_addrlen);
    close(knocker);
  }
  freeaddrinfo(found);
}

std::string HostOf(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() >= 2 && host.front() == '[') host = host.substr(1, host.size() - 2);
  return host;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MetricsPort>> MetricsPort::Open(
    const std::string& address, std::shared_ptr<prometheus::Registry> registry) {
  const absl::Status checked = CheckAddress("metrics-listen", address);
  if (!checked.ok()) return checked;
  if (IsUnixAddress(address)) return Wrong("Prometheus does not scrape unix sockets");
  std::unique_ptr<prometheus::Exposer> exposer;
  try {
    exposer = std::make_unique<prometheus::Exposer>(address);
  } catch (const std::exception& error) {
    return Wrong(
        absl::StrCat("cannot listen on ", address, ", which may be taken: ", error.what()));
  }
  const std::vector<int> ports = exposer->GetListeningPorts();
  if (ports.empty()) return Wrong(absl::StrCat("cannot listen on ", address));
  exposer->RegisterCollectable(registry);
  return std::unique_ptr<MetricsPort>(new MetricsPort(
      std::move(registry), std::move(exposer), WithPort(address, ports.front()), ports.front()));
}

MetricsPort::MetricsPort(std::shared_ptr<prometheus::Registry> registry,
                         std::unique_ptr<prometheus::Exposer> exposer, std::string address,
                         int port)
    : registry_(std::move(registry)),
      exposer_(std::move(exposer)),
      address_(std::move(address)),
      port_(port) {}

MetricsPort::~MetricsPort() {
  // The HTTP server looks whether it is to stop when somebody connects, else every two seconds,
  // which a drain may not have. So somebody connects until it has stopped.
  std::atomic<bool> stopped{false};
  std::thread knocker([&] {
    while (!stopped.load()) {
      Knock(HostOf(address_), port_);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  });
  exposer_.reset();
  stopped.store(true);
  knocker.join();
}

}  // namespace lossd
