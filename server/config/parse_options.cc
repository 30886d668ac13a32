#include "server/config/parse_options.h"

#include <unistd.h>

#include <algorithm>
#include <sstream>
#include <string_view>
#include <utility>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "server/config/option_table.h"

namespace lossd {
namespace {

constexpr int kUsageError = 2;
constexpr char kConfig[] = "config";

// Read by the library, so known although no row has it.
constexpr std::string_view kLibraryVariables[] = {"LOSSD_TARGET"};
// Kubernetes sets these beside a service named lossd.
constexpr std::string_view kServicePrefixes[] = {"LOSSD_PORT", "LOSSD_SERVICE_"};

// The texts that CLI11 found for each row, in the table's order, and the parser that finds them.
struct CommandLine {
  CLI::App app{
      "lossd computes loss functions over batched tensors, exactly, by gRPC.\n"
      "Every option can also be set by a LOSSD_* variable (--max-streams: LOSSD_MAX_STREAMS) and "
      "by its name in "
      "a configuration file; flags come before variables, variables before the file.",
      "lossd"};
  std::vector<std::vector<std::string>> texts;

  explicit CommandLine(bool reads_file) {
    const std::span<const OptionRow> table = OptionTable();
    const ServerOptions defaults;
    texts.resize(table.size());
    for (size_t i = 0; i < table.size(); ++i) Add(table[i], defaults, &texts[i]);
    if (reads_file) {
      app.set_config("--config", "",
                     "File of options, `key = value` lines (INI or TOML); LOSSD_CONFIG")
          ->group("Operation");
      app.allow_config_extras(CLI::config_extras_mode::error);
    } else {
      app.add_option(std::string("--") + kConfig, config);
    }
    app.set_version_flag("--version", std::string("lossd ") + LOSSD_VERSION,
                         "Print the version and end");
    app.set_help_flag("--help,-h", "Print this help and end");
    app.get_formatter()->column_width(44);
  }

  // Parses; CLI11 wants the arguments last first.
  void Parse(std::vector<std::string> arguments) {
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  }

 private:
  std::string config;

  void Add(const OptionRow& row, const ServerOptions& defaults, std::vector<std::string>* text) {
    CLI::Option* option =
        app.add_option(absl::StrCat("--", std::string(row.flag)), *text, std::string(row.help));
    option->group(std::string(row.group))->expected(1)->allow_extra_args(false);
    if (row.kind == OptionKind::kList) {
      option->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
    } else {
      option->multi_option_policy(CLI::MultiOptionPolicy::Throw);
    }
    option->default_str(OptionText(row, defaults));
    switch (row.kind) {
      case OptionKind::kText:
        option->type_name("TEXT");
        break;
      case OptionKind::kList:
        option->type_name("ADDRESS");
        break;
      case OptionKind::kChoice:
        option->type_name(std::string(row.choices));
        break;
      case OptionKind::kCount:
        option->type_name("N");
        break;
      case OptionKind::kBytes:
        option->type_name("BYTES");
        break;
      case OptionKind::kSeconds:
        option->type_name("SECONDS");
        break;
    }
  }
};

ParsedOptions Failed(std::string_view message) {
  ParsedOptions parsed;
  parsed.exit_code = kUsageError;
  parsed.output =
      absl::StrCat("lossd: ", std::string(message), "\nRun lossd --help for the options.\n");
  return parsed;
}

// CLI11 says of a key that names no option only that it could not parse it.
std::string ConfigMessage(const std::string& message) {
  constexpr std::string_view kPrefix = "INI was not able to parse ";
  if (!message.starts_with(kPrefix)) return message;
  return absl::StrCat("--config: no option is called '", message.substr(kPrefix.size()), "'");
}

// Variables of options that no flag sets, as flags: CLI11 puts flags before the file, and of itself
// would put the file before the variables.
std::vector<std::string> VariablesAsFlags(CommandLine& flags, const Environment& environment) {
  std::vector<std::string> arguments;
  const auto add = [&](std::string_view flag, bool list) {
    const auto variable = environment.find(EnvironmentName(flag));
    if (variable == environment.end()) return;
    if (flags.app.get_option(absl::StrCat("--", std::string(flag)))->count() > 0) return;
    std::vector<std::string> values{variable->second};
    if (list) values = absl::StrSplit(variable->second, ',', absl::SkipWhitespace());
    for (std::string& value : values) {
      arguments.push_back(absl::StrCat("--", std::string(flag)));
      arguments.push_back(std::move(value));
    }
  };
  for (const OptionRow& row : OptionTable()) add(row.flag, row.kind == OptionKind::kList);
  add(kConfig, false);
  return arguments;
}

std::vector<std::string> UnknownVariables(const Environment& environment) {
  std::vector<std::string> unknown;
  for (const auto& [name, value] : environment) {
    bool known = name == EnvironmentName(kConfig);
    for (const OptionRow& row : OptionTable()) known = known || name == EnvironmentName(row.flag);
    for (const std::string_view variable : kLibraryVariables) known = known || name == variable;
    for (const std::string_view prefix : kServicePrefixes)
      known = known || name.starts_with(prefix);
    if (!known) unknown.push_back(name);
  }
  return unknown;
}

// `--flag=` is an empty value, which CLI11 takes for a missing one.
std::vector<std::string> SplitEmptyValues(const std::vector<std::string>& arguments) {
  std::vector<std::string> split;
  for (const std::string& argument : arguments) {
    if (argument.starts_with("--") && argument.ends_with('=')) {
      split.push_back(argument.substr(0, argument.size() - 1));
      split.emplace_back();
    } else {
      split.push_back(argument);
    }
  }
  return split;
}

}  // namespace

ParsedOptions ParseOptions(const std::vector<std::string>& raw_arguments,
                           const Environment& environment) {
  std::vector<std::string> arguments = SplitEmptyValues(raw_arguments);
  CommandLine flags(/*reads_file=*/false);
  CommandLine all(/*reads_file=*/true);
  try {
    flags.Parse(arguments);
    const std::vector<std::string> variables = VariablesAsFlags(flags, environment);
    arguments.insert(arguments.end(), variables.begin(), variables.end());
    all.Parse(arguments);
  } catch (const CLI::CallForHelp&) {
    return {std::nullopt, 0, all.app.help(), {}};
  } catch (const CLI::CallForVersion& version) {
    return {std::nullopt, 0, absl::StrCat(version.what(), "\n"), {}};
  } catch (const CLI::ConfigError& error) {
    return Failed(ConfigMessage(error.what()));
  } catch (const CLI::ParseError& error) {
    return Failed(error.what());
  }
  ParsedOptions parsed;
  ServerOptions options;
  const std::span<const OptionRow> table = OptionTable();
  for (size_t i = 0; i < table.size(); ++i) {
    if (all.app.get_option(absl::StrCat("--", std::string(table[i].flag)))->count() == 0) continue;
    const absl::Status set = SetOption(table[i], all.texts[i], &options);
    if (!set.ok()) return Failed(std::string(set.message()));
  }
  if (options.metrics_listen == "off") options.metrics_listen.clear();
  const absl::Status checked = CheckOptions(options);
  if (!checked.ok()) return Failed(std::string(checked.message()));
  parsed.options = std::move(options);
  parsed.unknown_variables = UnknownVariables(environment);
  return parsed;
}

Environment LossdEnvironment() {
  Environment environment;
  for (char** entry = environ; entry != nullptr && *entry != nullptr; ++entry) {
    const std::string_view text(*entry);
    const size_t equals = text.find('=');
    if (!text.starts_with("LOSSD_") || equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

}  // namespace lossd
