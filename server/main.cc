// lossd: the server. Only lists the components, in the order in which they start.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "lib/base/cpu_target.h"
#include "server/config/parse_options.h"
#include "server/lifecycle/allocator.h"
#include "server/lifecycle/ports_file.h"
#include "server/lifecycle/server.h"
#include "server/lifecycle/signals.h"
#include "server/logging/logger.h"

namespace lossd {
namespace {

constexpr int kStartError = 1;

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "lossd: %s\n", std::string(status.message()).c_str());
  return kStartError;
}

void LogListening(const Server& server, Logger* logger) {
  const std::string addresses = absl::StrJoin(server.addresses(), ",");
  const std::string metrics = server.metrics_address();
  logger->Log(LogLevel::kInfo, "listening",
              {{"addresses", addresses}, {"metrics", metrics}, {"version", LOSSD_VERSION}});
}

int Serve(const ParsedOptions& parsed) {
  const ServerOptions& options = *parsed.options;
  Logger logger(LogFormatByName(options.log_format), LogLevelByName(options.log_level));
  logger.TakeGrpcLog();
  for (const std::string& variable : parsed.unknown_variables) {
    logger.Log(LogLevel::kWarning, "unknown environment variable", {{"name", variable}});
  }
  SignalThread signals;
  absl::StatusOr<std::unique_ptr<Server>> server = Server::Start(options, &logger);
  if (!server.ok()) return Fail(server.status());
  if (!options.ports_file.empty()) {
    const absl::Status written =
        WritePortsFile(options.ports_file, (*server)->addresses(), (*server)->metrics_address());
    if (!written.ok()) return Fail(written);
  }
  LogListening(**server, &logger);
  const int signal = signals.Wait();
  logger.Log(LogLevel::kInfo, "draining",
             {{"signal", int64_t{signal}}, {"seconds", options.drain_seconds}});
  (*server)->Drain(absl::Seconds(options.drain_seconds));
  server->reset();
  if (!options.ports_file.empty()) std::remove(options.ports_file.c_str());
  logger.Log(LogLevel::kInfo, "ended");
  return 0;
}

}  // namespace
}  // namespace lossd

int main(int argc, char** argv) {
  lossd::TuneAllocator();
  const absl::Status target = lossd::InitCpuTarget();
  if (!target.ok()) return lossd::Fail(target);
  const lossd::ParsedOptions parsed = lossd::ParseOptions(
      std::vector<std::string>(argv + 1, argv + argc), lossd::LossdEnvironment());
  if (!parsed.options.has_value()) {
    std::fputs(parsed.output.c_str(), parsed.exit_code == 0 ? stdout : stderr);
    return parsed.exit_code;
  }
  return lossd::Serve(parsed);
}
