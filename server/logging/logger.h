// Structured log lines on standard error: an event and its fields, as text or as one JSON object a
// line.
//
// Thread-safe; a line is written whole. Payloads of calls never go here.
#ifndef LOSSD_SERVER_LOGGING_LOGGER_H_
#define LOSSD_SERVER_LOGGING_LOGGER_H_

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

namespace spdlog {
class logger;
}

namespace lossd {

enum class LogLevel { kDebug, kInfo, kWarning, kError };
enum class LogFormat { kText, kJson };

struct LogField {
  std::string_view key;
  std::variant<std::string_view, int64_t, double> value;
};

// One line, without its end. `time` is what it says when; text in fields may be any bytes, the line
// is UTF-8.
std::string FormatLogLine(LogFormat format, std::string_view time, LogLevel level,
                          std::string_view event, std::initializer_list<LogField> fields);

class Logger {
 public:
  Logger(LogFormat format, LogLevel level);
  ~Logger();
  Logger(const Logger&) = delete;
  Logger& operator=(const Logger&) = delete;

  bool enabled(LogLevel level) const { return level >= level_; }
  void Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields = {});

  // Lines of the gRPC library come through this logger too, until it is destroyed. One logger at a
  // time.
  void TakeGrpcLog();

 private:
  const LogFormat format_;
  const LogLevel level_;
  std::shared_ptr<spdlog::logger> sink_;
};

// By the names of the flags log-level and log-format, which the option table has checked.
LogLevel LogLevelByName(std::string_view name);
LogFormat LogFormatByName(std::string_view name);

}  // namespace lossd

#endif  // LOSSD_SERVER_LOGGING_LOGGER_H_
