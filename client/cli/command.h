// What the commands of lossctl share: exit codes, the flags that several have, how errors are told.
//
// Each command adds itself to the application with its flags; when it is the one that was called,
// it runs and leaves its exit code. Thread-safety: everything belongs to the main thread.
#ifndef LOSSD_CLIENT_CLI_COMMAND_H_
#define LOSSD_CLIENT_CLI_COMMAND_H_

#include <map>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "lossd/client.h"
#include "npy_file.h"
#include "report.h"

namespace lossd::cli {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;  // the call failed
inline constexpr int kExitUsage = 2;   // flags, texts or files are wrong: nothing was called

// Where the losses are computed.
struct ServerFlags {
  std::string server = "127.0.0.1:50051";
  bool local = false;
  double timeout_seconds = 0;  // 0: the command's own default
  Credentials credentials;

  void AddTo(CLI::App* command);
  // A client that gives up on a server that is not there within about a second.
  absl::StatusOr<Client> Connect() const;
  // A client that waits a minute for a server to come back.
  absl::StatusOr<Client> ConnectPatiently() const;

 private:
  absl::StatusOr<Client> Connect(const RetryPolicy& retry) const;
};

// What is computed, and how it is shown.
struct LossFlags {
  std::vector<std::string> losses;
  std::vector<std::string> inputs;  // NAME=FILE
  std::string non_finite = "propagate";
  v1::EvaluationLabels labels;

  void AddTo(CLI::App* command);
  // INVALID_ARGUMENT with the place in the text.
  absl::StatusOr<std::vector<v1::Loss>> ParseLosses() const;
  v1::NonFinitePolicy NonFinite() const;
};

void AddLabelFlags(CLI::App* command, v1::EvaluationLabels* labels);
void AddFormatFlag(CLI::App* command, Format* format);

// Files by name.
using NamedFiles = std::map<std::string, NpyFile>;
// Opens NAME=FILE for each of `flags`; `flag` is what they are called in errors.
absl::StatusOr<NamedFiles> OpenFiles(const std::string& flag,
                                     const std::vector<std::string>& flags);

// Writes a state so that the file is there whole or not at all.
absl::Status WriteState(const std::string& path, const v1::EvaluationState& state);

// Tells what is wrong on standard error, and gives the exit code.
int UsageError(const absl::Status& status);
int CallError(const ServerFlags& flags, const absl::Status& status);

void AddComputeCommand(CLI::App* app, int* exit_code);
void AddEvaluateCommand(CLI::App* app, int* exit_code);
void AddMergeCommand(CLI::App* app, int* exit_code);
void AddListCommand(CLI::App* app, int* exit_code);
void AddHealthCommand(CLI::App* app, int* exit_code);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_COMMAND_H_
