#include "server/logging/logger.h"

#include <grpc/support/log.h>

#include <atomic>
#include <cmath>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "spdlog/logger.h"
#include "spdlog/sinks/stdout_sinks.h"

namespace lossd {
namespace {

std::atomic<Logger*> grpc_logger{nullptr};

std::string_view LevelName(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return "debug";
    case LogLevel::kInfo:
      return "info";
    case LogLevel::kWarning:
      return "warning";
    case LogLevel::kError:
      return "error";
  }
  return "error";
}

spdlog::level::level_enum SpdlogLevel(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarning:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// The length of the well-formed UTF-8 sequence at `text`, 0 if there is none (overlong forms and
// surrogates are none).
size_t Utf8Length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  const size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < length) return 0;
  for (size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  if (first == 0xE0 && byte(1) < 0xA0) return 0;
  if (first == 0xED && byte(1) > 0x9F) return 0;
  if (first == 0xF0 && byte(1) < 0x90) return 0;
  if (first == 0xF4 && byte(1) > 0x8F) return 0;
  return length;
}

// A JSON string; also how text lines quote, so that a value never ends a line or a quotation.
void AppendQuoted(std::string_view text, std::string* line) {
  line->push_back('"');
  while (!text.empty()) {
    const size_t length = Utf8Length(text);
    const char c = text.front();
    if (length == 0) {
      line->append("\\ufffd");
    } else if (length == 1 && (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)) {
      char escape[8];
      std::snprintf(escape, sizeof escape, "\\u%04x", static_cast<unsigned>(c));
      line->append(escape);
    } else {
      if (c == '"' || c == '\\') line->push_back('\\');
      line->append(text.substr(0, length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  line->push_back('"');
}

bool IsBare(std::string_view text) {
  if (text.empty()) return false;
  for (const char c : text) {
    if (c <= ' ' || c >= 0x7F || c == '"' || c == '=' || c == '\\') return false;
  }
  return true;
}

void AppendValue(LogFormat format, const LogField& field, std::string* line) {
  if (const auto* text = std::get_if<std::string_view>(&field.value)) {
    if (format == LogFormat::kText && IsBare(*text)) {
      line->append(*text);
    } else {
      AppendQuoted(*text, line);
    }
  } else if (const auto* whole = std::get_if<int64_t>(&field.value)) {
    absl::StrAppend(line, *whole);
  } else {
    // JSON has no NaN.
    const double number = std::get<double>(field.value);
    absl::StrAppend(line, std::isfinite(number) ? absl::StrCat(number) : "null");
  }
}

void LogFromGrpc(gpr_log_func_args* args) {
  Logger* logger = grpc_logger.load();
  if (logger == nullptr) return;
  // gRPC's errors are mostly a peer's doing (a broken handshake, a reset): no error of lossd.
  const LogLevel level =
      args->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarning : LogLevel::kDebug;
  logger->Log(level, "grpc",
              {{"message", args->message}, {"file", args->file}, {"line", int64_t{args->line}}});
}

}  // namespace

std::string FormatLogLine(LogFormat format, std::string_view time, LogLevel level,
                          std::string_view event, std::initializer_list<LogField> fields) {
  std::string line;
  if (format == LogFormat::kJson) {
    line.append("{\"time\":");
    AppendQuoted(time, &line);
    line.append(",\"level\":");
    AppendQuoted(LevelName(level), &line);
    line.append(",\"event\":");
    AppendQuoted(event, &line);
  } else {
    line.append(time).append(" ").append(LevelName(level)).append(" ").append(event);
  }
  for (const LogField& field : fields) {
    if (format == LogFormat::kJson) {
      line.push_back(',');
      AppendQuoted(field.key, &line);
      line.push_back(':');
    } else {
      line.append(" ").append(field.key).append("=");
    }
    AppendValue(format, field, &line);
  }
  if (format == LogFormat::kJson) line.push_back('}');
  return line;
}

Logger::Logger(LogFormat format, LogLevel level) : format_(format), level_(level) {
  sink_ =
      std::make_shared<spdlog::logger>("lossd", std::make_shared<spdlog::sinks::stderr_sink_mt>());
  sink_->set_pattern("%v");
  sink_->set_level(SpdlogLevel(level));
}

Logger::~Logger() {
  Logger* self = this;
  grpc_logger.compare_exchange_strong(self, nullptr);
}

void Logger::Log(LogLevel level, std::string_view event, std::initializer_list<LogField> fields) {
  if (!enabled(level)) return;
  const std::string time =
      absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
  const std::string line = FormatLogLine(format_, time, level, event, fields);
  sink_->log(SpdlogLevel(level), spdlog::string_view_t(line.data(), line.size()));
}

void Logger::TakeGrpcLog() {
  grpc_logger.store(this);
  gpr_set_log_function(LogFromGrpc);
}

LogLevel LogLevelByName(std::string_view name) {
  for (const LogLevel level : {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarning}) {
    if (LevelName(level) == name) return level;
  }
  return LogLevel::kError;
}

LogFormat LogFormatByName(std::string_view name) {
  return name == "json" ? LogFormat::kJson : LogFormat::kText;
}

}  // namespace lossd
