#include "server_process.h"

#include <netinet/in.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <utility>

#include "grpcpp/create_channel.h"

namespace lossd::bench {
namespace {

constexpr std::chrono::seconds kStartTime(30);  // importing PyTorch takes some

[[noreturn]] void Fail(const std::string& name, const std::string& what) {
  std::fprintf(stderr, "service_bench: %s %s\n", name.c_str(), what.c_str());
  std::exit(1);
}

// Servers that run; an exit in the middle of a measurement ends them, too.
std::set<pid_t>& Running() {
  static auto* running = [] {
    std::atexit([] {
      for (const pid_t pid : Running()) kill(pid, SIGKILL);
    });
    return new std::set<pid_t>;
  }();
  return *running;
}

void AwaitConnection(const std::string& name, const std::string& address, pid_t pid) {
  const std::shared_ptr<grpc::Channel> channel =
      grpc::CreateChannel(address, grpc::InsecureChannelCredentials());
  const auto deadline = std::chrono::system_clock::now() + kStartTime;
  while (!channel->WaitForConnected(std::chrono::system_clock::now() +
                                    std::chrono::milliseconds(200))) {
    if (waitpid(pid, nullptr, WNOHANG) == pid) Fail(name, "did not start");
    if (std::chrono::system_clock::now() > deadline) Fail(name, "does not answer at " + address);
  }
}

}  // namespace

Addresses FreshAddresses(const std::string& folder, const std::string& name) {
  sockaddr_in any{};
  any.sin_family = AF_INET;
  any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int probe = socket(AF_INET, SOCK_STREAM, 0);
  socklen_t size = sizeof(any);
  if (bind(probe, reinterpret_cast<const sockaddr*>(&any), size) != 0 ||
      getsockname(probe, reinterpret_cast<sockaddr*>(&any), &size) != 0) {
    Fail(name, "finds no free port");
  }
  close(probe);
  return {"127.0.0.1:" + std::to_string(ntohs(any.sin_port)),
          "unix:" + folder + "/" + name + ".sock"};
}

ServerProcess::ServerProcess(const std::string& name, const std::vector<std::string>& command,
                             Addresses addresses)
    : addresses_(std::move(addresses)) {
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  // Not fork: this process has gRPC's threads.
  if (posix_spawnp(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ) != 0) {
    Fail(name, "cannot be started: " + command[0]);
  }
  Running().insert(pid_);
  AwaitConnection(name, addresses_.tcp, pid_);
  AwaitConnection(name, addresses_.unix_socket, pid_);
}

ServerProcess::~ServerProcess() {
  Running().erase(pid_);
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

Memory ServerProcess::memory() const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  Memory memory;
  std::string word;
  double kibibytes = 0;
  while (status >> word) {
    if (word == "VmRSS:" && status >> kibibytes) memory.resident_mb = kibibytes * 1024 / 1e6;
    if (word == "VmHWM:" && status >> kibibytes) memory.peak_mb = kibibytes * 1024 / 1e6;
  }
  return memory;
}

}  // namespace lossd::bench
