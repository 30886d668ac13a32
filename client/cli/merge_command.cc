// lossctl merge: partial evaluations of disjoint samples become one.
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <memory>

#include "command.h"

namespace lossd::cli {
namespace {

struct MergeFlags {
  ServerFlags server;
  std::vector<std::string> files;
  v1::EvaluationLabels labels;
  std::string state_out;
  Format format = Format::kTable;
};

absl::StatusOr<v1::EvaluationState> ReadState(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::InvalidArgumentError(path + ": cannot open: " + std::strerror(errno));
  v1::EvaluationState state;
  state.mutable_value()->assign(std::istreambuf_iterator<char>(file),
                                std::istreambuf_iterator<char>());
  if (state.value().empty())
    return absl::InvalidArgumentError(path + ": is empty or cannot be read");
  return state;
}

int Merge(const MergeFlags& flags) {
  std::vector<v1::EvaluationState> states;
  for (const std::string& path : flags.files) {
    absl::StatusOr<v1::EvaluationState> state = ReadState(path);
    if (!state.ok()) return UsageError(state.status());
    states.push_back(*std::move(state));
  }
  absl::StatusOr<Client> client = flags.server.Connect();
  if (!client.ok()) return CallError(flags.server, client.status());
  const absl::StatusOr<v1::EvaluationResult> result =
      client->MergeEvaluations(states, flags.labels);
  if (!result.ok()) return CallError(flags.server, result.status());
  if (flags.format == Format::kJson) {
    PrintJson(*result, std::cout);
  } else {
    PrintEvaluation(*result, std::cout);
  }
  if (flags.state_out.empty()) return kExitOk;
  const absl::Status written = WriteState(flags.state_out, result->state());
  if (written.ok()) return kExitOk;
  UsageError(written);
  return kExitFailed;
}

}  // namespace

void AddMergeCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "merge", "Merge states of lossctl evaluate --state-out; they must be of disjoint samples");
  auto flags = std::make_shared<MergeFlags>();
  command->add_option("states", flags->files, "State files")->required()->option_text("FILE ...");
  command->add_option("--state-out", flags->state_out, "Write the merged state here")
      ->option_text("FILE");
  AddLabelFlags(command, &flags->labels);
  AddFormatFlag(command, &flags->format);
  flags->server.AddTo(command);
  command->callback([flags, exit_code] { *exit_code = Merge(*flags); });
}

}  // namespace lossd::cli
