#include "server/config/option_table.h"

#include <array>
#include <charconv>
#include <cmath>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"

namespace lossd {
namespace {

constexpr std::string_view kListening = "Listening";
constexpr std::string_view kSecurity = "Transport security";
constexpr std::string_view kLimits = "Work and limits";
constexpr std::string_view kOperation = "Operation";

constexpr double kMebibyte = 1 << 20;
constexpr double kTebibyte = kMebibyte * kMebibyte;
// gRPC takes the message limit as an int.
constexpr double kLargestMessage = 2047 * kMebibyte;

using Options = ServerOptions;

constexpr std::array kTable{
    OptionRow{"listen", OptionKind::kList, &Options::listen, kListening, 0, 0, "", false,
              "Address to serve on: HOST:PORT, [IPV6]:PORT or unix:/PATH; port 0 takes a free one. "
              "May be repeated (in LOSSD_LISTEN: separated by commas)"},
    OptionRow{"metrics-listen", OptionKind::kText, &Options::metrics_listen, kListening, 0, 0, "",
              false,
              "HOST:PORT that serves /metrics to Prometheus over HTTP; port 0 takes a free one; "
              "empty or 'off' serves none"},
    OptionRow{
        "ports-file", OptionKind::kText, &Options::ports_file, kListening, 0, 0, "", false,
        "File to write the bound addresses to, as JSON, once lossd serves; removed at the end"},
    OptionRow{
        "tls-certificate", OptionKind::kText, &Options::tls_certificate, kSecurity, 0, 0, "", false,
        "PEM file with the server's certificate chain. TCP listeners then speak TLS; unix sockets "
        "stay plain, guarded by the permissions of their folder"},
    OptionRow{"tls-key", OptionKind::kText, &Options::tls_key, kSecurity, 0, 0, "", false,
              "PEM file with the certificate's private key"},
    OptionRow{
        "tls-client-ca", OptionKind::kText, &Options::tls_client_ca, kSecurity, 0, 0, "", false,
        "PEM file with the authorities that clients' certificates must come from: mutual TLS"},
    OptionRow{"threads", OptionKind::kCount, &Options::threads, kLimits, 0, 1024, "", false,
              "Threads that compute; 0 is one a core"},
    OptionRow{"max-message-bytes", OptionKind::kBytes, &Options::max_message_bytes, kLimits, 1024,
              kLargestMessage, "", true,
              "Largest request message. gRPC itself refuses a larger one with RESOURCE_EXHAUSTED "
              "\"Received message larger than max\", before lossd sees it: no detail, no log line"},
    OptionRow{"max-inflight-bytes", OptionKind::kBytes, &Options::max_inflight_bytes, kLimits,
              kMebibyte, kTebibyte, "", true,
              "Bytes of requests and constants held at a time, all connections together; above it "
              "calls get UNAVAILABLE (INFLIGHT_BYTES) and should try again"},
    OptionRow{"max-streams", OptionKind::kCount, &Options::max_streams, kLimits, 1, 1e6, "", true,
              "Evaluate streams at a time, all connections together; above it UNAVAILABLE "
              "(STREAM_SLOTS)"},
    OptionRow{
        "max-concurrent-calls-per-connection", OptionKind::kCount,
        &Options::max_concurrent_calls_per_connection, kLimits, 1, 1e6, "", true,
        "Calls of one connection at a time; its further calls wait in the client. A message is "
        "held whole before lossd can count it, so memory is bounded by this times "
        "max-message-bytes times connections"},
    OptionRow{"max-state-bytes", OptionKind::kBytes, &Options::max_state_bytes, kLimits, 1024,
              1024 * kMebibyte, "", true, "Largest state of an evaluation"},
    OptionRow{"max-constant-bytes", OptionKind::kBytes, &Options::max_constant_bytes, kLimits, 0,
              kTebibyte, "", true, "Constants of one Evaluate stream, all together"},
    OptionRow{
        "max-metric-label-sets", OptionKind::kCount, &Options::max_metric_label_sets, kLimits, 1,
        1e6, "", true,
        "Sets of (model, dataset, loss) that the evaluation gauges keep; the one written longest "
        "ago makes room"},
    OptionRow{
        "drain-seconds", OptionKind::kSeconds, &Options::drain_seconds, kOperation, 0, 86400, "",
        false,
        "Time that SIGTERM or SIGINT leaves running calls; a second signal ends lossd at once"},
    OptionRow{"log-format", OptionKind::kChoice, &Options::log_format, kOperation, 0, 0,
              "text|json", false, "Log lines on standard error"},
    OptionRow{"log-level", OptionKind::kChoice, &Options::log_level, kOperation, 0, 0,
              "debug|info|warning|error", false,
              "Least severity logged: failed calls are warnings, successful ones debug"},
};

absl::Status Wrong(const OptionRow& row, std::string_view text, std::string_view expected) {
  return absl::InvalidArgumentError(absl::StrCat(
      "--", std::string(row.flag), ": '", std::string(text), "' is not ", std::string(expected)));
}

std::string NumberText(const OptionRow& row, double value) {
  if (row.kind == OptionKind::kSeconds) return absl::StrCat(value);
  return absl::StrCat(static_cast<int64_t>(value));
}

std::string RangeText(const OptionRow& row) {
  const std::string_view what = row.kind == OptionKind::kBytes     ? "a number of bytes"
                                : row.kind == OptionKind::kSeconds ? "a number of seconds"
                                                                   : "a whole number";
  return absl::StrCat(std::string(what), " from ", NumberText(row, row.minimum), " to ",
                      NumberText(row, row.maximum));
}

// A whole number and, for bytes, a suffix.
bool ParseWhole(std::string_view text, bool bytes, int64_t* value) {
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, *value);
  if (error != std::errc() || rest == text.data()) return false;
  const std::string_view suffix(rest, end - rest);
  if (suffix.empty()) return true;
  if (!bytes) return false;
  constexpr std::pair<std::string_view, int> kSuffixes[] = {{"KiB", 10}, {"MiB", 20}, {"GiB", 30}};
  for (const auto& [name, shift] : kSuffixes) {
    if (suffix == name) return !__builtin_mul_overflow(*value, int64_t{1} << shift, value);
  }
  return false;
}

absl::Status SetWhole(const OptionRow& row, std::string_view text, int64_t* field) {
  int64_t value = 0;
  if (!ParseWhole(text, row.kind == OptionKind::kBytes, &value) ||
      static_cast<double>(value) < row.minimum || static_cast<double>(value) > row.maximum) {
    return Wrong(row, text, RangeText(row));
  }
  *field = value;
  return absl::OkStatus();
}

absl::Status SetSeconds(const OptionRow& row, std::string_view text, double* field) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || rest != end || !(value >= row.minimum && value <= row.maximum)) {
    return Wrong(row, text, RangeText(row));
  }
  *field = value;
  return absl::OkStatus();
}

absl::Status SetText(const OptionRow& row, std::string_view text, std::string* field) {
  if (row.kind == OptionKind::kChoice) {
    const std::vector<std::string> choices = absl::StrSplit(std::string(row.choices), '|');
    bool known = false;
    for (const std::string& choice : choices) known = known || choice == text;
    if (!known) return Wrong(row, text, absl::StrCat("one of ", absl::StrJoin(choices, ", ")));
  }
  *field = std::string(text);
  return absl::OkStatus();
}

}  // namespace

std::span<const OptionRow> OptionTable() { return kTable; }

std::string EnvironmentName(std::string_view flag) {
  std::string name = "LOSSD_";
  for (const char c : flag) name += c == '-' ? '_' : absl::ascii_toupper(c);
  return name;
}

absl::Status SetOption(const OptionRow& row, const std::vector<std::string>& texts,
                       ServerOptions* options) {
  if (const auto* list = std::get_if<std::vector<std::string> ServerOptions::*>(&row.field)) {
    options->*(*list) = texts;
    return absl::OkStatus();
  }
  const std::string text = texts.empty() ? std::string() : texts.back();
  if (const auto* field = std::get_if<std::string ServerOptions::*>(&row.field)) {
    return SetText(row, text, &(options->*(*field)));
  }
  if (const auto* field = std::get_if<int64_t ServerOptions::*>(&row.field)) {
    return SetWhole(row, text, &(options->*(*field)));
  }
  return SetSeconds(row, text, &(options->*std::get<double ServerOptions::*>(row.field)));
}

std::string OptionText(const OptionRow& row, const ServerOptions& options) {
  if (const auto* list = std::get_if<std::vector<std::string> ServerOptions::*>(&row.field)) {
    return absl::StrJoin(options.*(*list), ",");
  }
  if (const auto* field = std::get_if<std::string ServerOptions::*>(&row.field)) {
    return options.*(*field);
  }
  if (const auto* field = std::get_if<int64_t ServerOptions::*>(&row.field)) {
    const int64_t value = options.*(*field);
    const bool mebibytes = row.kind == OptionKind::kBytes && value > 0 && value % (1 << 20) == 0;
    return mebibytes ? absl::StrCat(value >> 20, "MiB") : absl::StrCat(value);
  }
  return absl::StrCat(options.*std::get<double ServerOptions::*>(row.field));
}

absl::Status CheckOptions(const ServerOptions& options) {
  if (options.listen.empty()) return absl::InvalidArgumentError("--listen: at least one address");
  if (options.tls_certificate.empty() != options.tls_key.empty()) {
    return absl::InvalidArgumentError("--tls-certificate and --tls-key go together");
  }
  if (!options.tls_client_ca.empty() && options.tls_certificate.empty()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-certificate and --tls-key");
  }
  if (options.max_message_bytes > options.max_inflight_bytes) {
    return absl::InvalidArgumentError(
        "--max-message-bytes is above --max-inflight-bytes: such a message "
        "could never be admitted");
  }
  if (options.max_constant_bytes > options.max_inflight_bytes) {
    return absl::InvalidArgumentError(
        "--max-constant-bytes is above --max-inflight-bytes: such constants "
        "could never be admitted");
  }
  return absl::OkStatus();
}

}  // namespace lossd
