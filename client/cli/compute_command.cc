// lossctl compute: one batch, many losses.
#include <iostream>
#include <memory>

#include "command.h"

namespace lossd::cli {
namespace {

struct ComputeFlags {
  ServerFlags server;
  LossFlags loss;
  std::string reduction = "mean";
  std::vector<std::string> gradients_of;
  Format format = Format::kTable;
};

v1::Reduction ParseReduction(const std::string& text) {
  if (text == "sum") return v1::REDUCTION_SUM;
  if (text == "none") return v1::REDUCTION_NONE;
  return v1::REDUCTION_MEAN;
}

int Compute(const ComputeFlags& flags) {
  const absl::StatusOr<std::vector<v1::Loss>> losses = flags.loss.ParseLosses();
  if (!losses.ok()) return UsageError(losses.status());
  const absl::StatusOr<NamedFiles> files = OpenFiles("--input", flags.loss.inputs);
  if (!files.ok()) return UsageError(files.status());
  Inputs inputs;
  std::map<std::string, std::vector<std::byte>> gathered;  // of Fortran-ordered files
  for (const auto& [name, file] : *files) {
    absl::StatusOr<TensorView> view = file.All(&gathered[name]);
    if (!view.ok()) return UsageError(view.status());
    inputs[name] = *view;
  }
  ComputeOptions options;
  options.reduction = ParseReduction(flags.reduction);
  options.non_finite = flags.loss.NonFinite();
  options.gradients_of = flags.gradients_of;
  options.labels = flags.loss.labels;
  absl::StatusOr<Client> client = flags.server.Connect();
  if (!client.ok()) return CallError(flags.server, client.status());
  const absl::StatusOr<v1::ComputeLossResponse> response =
      client->ComputeLoss(*losses, inputs, options);
  if (!response.ok()) return CallError(flags.server, response.status());
  if (flags.format == Format::kJson) {
    PrintJson(*response, std::cout);
  } else {
    PrintCompute(*response, std::cout);
  }
  return kExitOk;
}

}  // namespace

void AddComputeCommand(CLI::App* app, int* exit_code) {
  CLI::App* command =
      app->add_subcommand("compute", "Compute losses of one batch, sent in one message");
  auto flags = std::make_shared<ComputeFlags>();
  flags->loss.AddTo(command);
  command
      ->add_option("--reduction", flags->reduction,
                   "mean, sum, or none: the items themselves (default: mean)")
      ->check(CLI::IsMember({"mean", "sum", "none"}).description(""))
      ->option_text("REDUCTION");
  command
      ->add_option("--gradients-of", flags->gradients_of,
                   "An input to give the gradient of the reduced value for. Repeat for more")
      ->allow_extra_args(false)
      ->option_text("NAME");
  AddFormatFlag(command, &flags->format);
  flags->server.AddTo(command);
  command->callback([flags, exit_code] { *exit_code = Compute(*flags); });
}

}  // namespace lossd::cli
