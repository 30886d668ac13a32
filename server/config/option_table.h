// The one table of lossd's options. Flags, configuration keys, LOSSD_* variables, help and the
// limits that GetServerInfo answers are all read from it.
//
// Thread-safety: everything here is constant or pure. Ownership: rows live as long as the program.
#ifndef LOSSD_SERVER_CONFIG_OPTION_TABLE_H_
#define LOSSD_SERVER_CONFIG_OPTION_TABLE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "server/config/server_options.h"

namespace lossd {

enum class OptionKind { kText, kList, kChoice, kCount, kBytes, kSeconds };

using OptionField =
    std::variant<std::string ServerOptions::*, std::vector<std::string> ServerOptions::*,
                 int64_t ServerOptions::*, double ServerOptions::*>;

struct OptionRow {
  std::string_view flag;  // without dashes; also the key in a file
  OptionKind kind;
  OptionField field;
  std::string_view group;    // heading in the help
  double minimum;            // kCount, kBytes and kSeconds only
  double maximum;            // inclusive
  std::string_view choices;  // kChoice only, separated by '|'
  bool limit;                // GetServerInfo reports it
  std::string_view help;
};

std::span<const OptionRow> OptionTable();

// LOSSD_MAX_MESSAGE_BYTES for max-message-bytes.
std::string EnvironmentName(std::string_view flag);

// Sets the row's field from text; bytes take the suffixes KiB, MiB and GiB. The error names the
// flag.
absl::Status SetOption(const OptionRow& row, const std::vector<std::string>& texts,
                       ServerOptions* options);

// The field as text that SetOption takes; a list is joined by commas.
std::string OptionText(const OptionRow& row, const ServerOptions& options);

// What no single row can check: values that contradict one another.
absl::Status CheckOptions(const ServerOptions& options);

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_OPTION_TABLE_H_
