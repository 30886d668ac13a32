#include "server/lifecycle/ports_file.h"

#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace lossd {
namespace {

std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

absl::Status Failed(const std::string& path) {
  return absl::InvalidArgumentError(
      absl::StrCat("--ports-file: cannot write ", path, ": ", std::strerror(errno)));
}

}  // namespace

absl::Status WritePortsFile(const std::string& path, const std::vector<std::string>& listen,
                            const std::string& metrics) {
  std::string json = "{\"listen\":[";
  for (size_t i = 0; i < listen.size(); ++i)
    absl::StrAppend(&json, i == 0 ? "" : ",", Quoted(listen[i]));
  absl::StrAppend(&json, "],\"metrics_listen\":", Quoted(metrics), ",\"pid\":", getpid(), "}\n");
  const std::string temporary = absl::StrCat(path, ".", getpid(), ".tmp");
  {
    std::ofstream file(temporary, std::ios::trunc);
    file << json;
    file.close();
    if (!file) return Failed(temporary);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    const absl::Status failed = Failed(path);
    std::remove(temporary.c_str());
    return failed;
  }
  return absl::OkStatus();
}

}  // namespace lossd
