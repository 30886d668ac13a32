// lossctl list and lossctl health: what a server can do, and whether it serves.
#include <iostream>
#include <memory>

#include "command.h"

namespace lossd::cli {
namespace {

struct ListFlags {
  ServerFlags server;
  std::vector<std::string> names;
  Format format = Format::kTable;
};

int List(const ListFlags& flags) {
  std::vector<std::string> names;
  for (const std::string& name : flags.names) names.emplace_back(LossName(name));
  absl::StatusOr<Client> client = flags.server.Connect();
  if (!client.ok()) return CallError(flags.server, client.status());
  const absl::StatusOr<v1::ListLossesResponse> response = client->ListLosses(names);
  if (!response.ok()) return CallError(flags.server, response.status());
  if (flags.format == Format::kJson) {
    PrintJson(*response, std::cout);
  } else if (names.empty()) {
    PrintCatalogue(*response, std::cout);
  } else {
    bool first = true;
    for (const v1::LossDescription& loss : response->losses()) {
      if (!first) std::cout << '\n';
      first = false;
      PrintLoss(loss, std::cout);
    }
  }
  return kExitOk;
}

struct HealthFlags {
  ServerFlags server;
  std::string service;
};

int Health(HealthFlags flags) {
  // A probe that hangs says nothing.
  if (flags.server.timeout_seconds == 0) flags.server.timeout_seconds = 5;
  absl::StatusOr<Client> client = flags.server.Connect();
  if (!client.ok()) return CallError(flags.server, client.status());
  const absl::StatusOr<HealthStatus> health = client->Health(flags.service);
  if (!health.ok()) return CallError(flags.server, health.status());
  switch (*health) {
    case HealthStatus::kServing:
      std::cout << "SERVING\n";
      return kExitOk;
    case HealthStatus::kNotServing:
      std::cout << "NOT_SERVING\n";
      return kExitFailed;
    case HealthStatus::kServiceUnknown:
      std::cout << "SERVICE_UNKNOWN\n";
      return kExitFailed;
    case HealthStatus::kUnknown:
      break;
  }
  std::cout << "UNKNOWN\n";
  return kExitFailed;
}

}  // namespace

void AddListCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "list", "List the losses, or describe some: lossctl's own, or with --server a server's");
  auto flags = std::make_shared<ListFlags>();
  command
      ->add_option("losses", flags->names,
                   "Losses to describe, with inputs, parameters and formula")
      ->option_text("LOSS ...");
  AddFormatFlag(command, &flags->format);
  flags->server.AddTo(command);
  command->callback([flags, exit_code, command] {
    if (command->count("--server") == 0) flags->server.local = true;  // the catalogue is built in
    *exit_code = List(*flags);
  });
}

void AddHealthCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand("health", "Exit 0 if the server is serving, else 1");
  auto flags = std::make_shared<HealthFlags>();
  command
      ->add_option("service", flags->service,
                   "A service, e.g. lossd.v1.LossService (default: the server)")
      ->option_text("SERVICE");
  flags->server.AddTo(command);
  command->callback([flags, exit_code] { *exit_code = Health(*flags); });
}

}  // namespace lossd::cli
