// Reads lossd's options from flags, LOSSD_* variables and a configuration file, in this order of
// precedence, by the table in option_table.h. Unknown flags and unknown keys of a file are errors.
//
// Thread-safety: pure but for reading the configuration file.
#ifndef LOSSD_SERVER_CONFIG_PARSE_OPTIONS_H_
#define LOSSD_SERVER_CONFIG_PARSE_OPTIONS_H_

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "server/config/server_options.h"

namespace lossd {

using Environment = std::map<std::string, std::string>;

struct ParsedOptions {
  std::optional<ServerOptions> options;  // unset: end with exit_code
  int exit_code = 0;                     // 0 after --help and --version, 2 for wrong usage
  std::string output;  // then: what to print, on standard error unless exit_code is 0
  // LOSSD_* variables that name no option, worth a warning: not an error, because Kubernetes sets
  // LOSSD_PORT and LOSSD_SERVICE_HOST beside a service of that name.
  std::vector<std::string> unknown_variables;
};

// `arguments` without the program's name.
ParsedOptions ParseOptions(const std::vector<std::string>& arguments,
                           const Environment& environment);

// The LOSSD_* variables of this process.
Environment LossdEnvironment();

}  // namespace lossd

#endif  // LOSSD_SERVER_CONFIG_PARSE_OPTIONS_H_
