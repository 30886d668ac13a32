// The program itself, as a process: how it starts, what it says, how it ends.
#include <fcntl.h>
#include <grpc/grpc.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/lifecycle/test_server.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

// One run of lossd, with its standard error in a file.
class Process {
 public:
  explicit Process(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), LOSSD_BINARY);
    std::vector<char*> argv;
    for (std::string& argument : arguments) argv.push_back(argument.data());
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors_.c_str(),
                                     O_CREAT | O_TRUNC | O_WRONLY, 0600);
    EXPECT_EQ(posix_spawn(&pid_, LOSSD_BINARY, &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      Wait();
    }
    std::remove(errors_.c_str());
  }

  void Signal(int number) const { kill(pid_, number); }
  std::string errors() const { return ReadAll(errors_); }

  // Its exit code; 1000 and more if a signal killed it.
  int Wait() {
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
  }

 private:
  const std::string errors_ =
      testing::TempDir() + "/lossd_main_" + std::to_string(getpid()) + ".err";
  pid_t pid_ = -1;
};

std::string PortsPath() {
  return testing::TempDir() + "/lossd_main_" + std::to_string(getpid()) + ".json";
}

std::vector<std::string> Arguments(std::vector<std::string> more = {}) {
  std::vector<std::string> arguments{"--listen",    "127.0.0.1:0",  "--metrics-listen",
                                     "127.0.0.1:0", "--ports-file", PortsPath()};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

// The first address of the ports file, once it is there.
std::string Address() {
  EXPECT_TRUE(Eventually([] { return !ReadAll(PortsPath()).empty(); }));
  const std::string json = ReadAll(PortsPath());
  const size_t begin = json.find("[\"") + 2;
  return json.substr(begin, json.find('"', begin) - begin);
}

class Main : public testing::Test {
 protected:
  // gRPC stays up between the tests: with no channel left it would shut down, and its shutdown can
  // wait ten seconds for a poll of its own.
  static void SetUpTestSuite() { grpc_init(); }
};

TEST_F(Main, ServesUntilTheSignalAndEndsWell) {
  Process process(Arguments({"--log-format", "json"}));
  const auto stub =
      v1::LossService::NewStub(grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials()));
  v1::ComputeLossResponse response;
  v1::ComputeLossRequest request = MseRequest({1}, {3});
  EXPECT_TRUE(stub->ComputeLoss(NewContext().get(), request, &response).ok());
  EXPECT_THAT(process.errors(), ::testing::Not(HasSubstr("\"method\"")));
  request.mutable_inputs()->erase("targets");
  request.mutable_labels()->set_run("run \"7\"");
  EXPECT_FALSE(stub->ComputeLoss(NewContext().get(), request, &response).ok());
  process.Signal(SIGTERM);
  EXPECT_EQ(process.Wait(), 0);
  const std::string errors = process.errors();
  EXPECT_THAT(errors, HasSubstr("\"event\":\"listening\""));
  EXPECT_THAT(errors, HasSubstr("\"event\":\"call failed\",\"method\":\"ComputeLoss\","
                                "\"code\":\"INVALID_ARGUMENT\",\"reason\":\"MISSING_INPUT\""));
  EXPECT_THAT(errors, HasSubstr("\"peer\":\"ipv4:127.0.0.1:"));
  EXPECT_THAT(errors, HasSubstr("\"run\":\"run \\\"7\\\"\""));
  EXPECT_THAT(errors, HasSubstr("\"event\":\"ended\""));
  EXPECT_EQ(ReadAll(PortsPath()), "");
}

TEST_F(Main, ASecondSignalEndsItAtOnce) {
  Process process(Arguments());
  const auto stub =
      v1::LossService::NewStub(grpc::CreateChannel(Address(), grpc::InsecureChannelCredentials()));
  v1::ComputeLossResponse connects;
  EXPECT_TRUE(stub->ComputeLoss(NewContext().get(), MseRequest({1}, {1}), &connects).ok());
  // Heavy calls keep the drain waiting.
  const v1::ComputeLossRequest heavy = HeavyRequest(900'000);
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&] {
      v1::ComputeLossResponse response;
      stub->ComputeLoss(NewContext().get(), heavy, &response);
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  process.Signal(SIGINT);
  EXPECT_TRUE(Eventually([&] { return process.errors().find("draining") != std::string::npos; }));
  process.Signal(SIGINT);
  const int code = process.Wait();
  for (std::thread& caller : callers) caller.join();
  // 128 + SIGINT; on a fast machine the drain may have ended before.
  EXPECT_THAT(code, ::testing::AnyOf(130, 0));
  std::remove(PortsPath().c_str());
}

TEST_F(Main, WrongUsageAndFailedStartsSaySo) {
  Process usage({"--max-streamz", "1"});
  EXPECT_EQ(usage.Wait(), 2);
  EXPECT_THAT(usage.errors(), HasSubstr("--max-streamz"));
  Process start({"--listen", "nowhere", "--metrics-listen", "off"});
  EXPECT_EQ(start.Wait(), 1);
  EXPECT_THAT(start.errors(), HasSubstr("lossd: --listen: 'nowhere'"));
  Process file({"--listen", "127.0.0.1:0", "--metrics-listen", "off", "--ports-file",
                "/nonexistent/folder/ports"});
  EXPECT_EQ(file.Wait(), 1);
  EXPECT_THAT(file.errors(), HasSubstr("--ports-file"));
}

TEST_F(Main, AnUnknownTargetIsRefused) {
  setenv("LOSSD_TARGET", "abacus", 1);
  Process process(Arguments());
  unsetenv("LOSSD_TARGET");
  EXPECT_EQ(process.Wait(), 1);
  EXPECT_THAT(process.errors(), HasSubstr("LOSSD_TARGET"));
}

}  // namespace
}  // namespace lossd
