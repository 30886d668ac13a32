#include "command.h"

#include <cstdio>
#include <fstream>
#include <iostream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace lossd::cli {
namespace {

// CLI11 otherwise takes further words after the flag as values.
CLI::Option* AddRepeated(CLI::App* command, const std::string& name,
                         std::vector<std::string>* values, const std::string& help) {
  return command->add_option(name, *values, help)->allow_extra_args(false);
}

}  // namespace

void ServerFlags::AddTo(CLI::App* command) {
  const std::string group = "Server";
  auto* address =
      command->add_option("--server", server, "Address of the server: host:port or unix:/path")
          ->capture_default_str()
          ->group(group);
  command->add_flag("--local", local, "Compute in this process, without a server: the same bits")
      ->excludes(address)
      ->group(group);
  command
      ->add_option("--timeout", timeout_seconds,
                   "Seconds until the command gives up (default: 60; evaluate: none)")
      ->check(CLI::PositiveNumber)
      ->group(group);
  auto* tls =
      command->add_flag("--tls", credentials.tls, "Encrypt, and check the server's certificate")
          ->group(group);
  command
      ->add_option("--tls-ca", credentials.ca_file,
                   "PEM file of who signs server certificates (default: the system's)")
      ->needs(tls)
      ->group(group);
  command
      ->add_option("--tls-certificate", credentials.certificate_file,
                   "PEM file of the client's certificate (mutual TLS)")
      ->needs(tls)
      ->group(group);
  command->add_option("--tls-key", credentials.key_file, "PEM file of its private key")
      ->needs(tls)
      ->group(group);
  command
      ->add_option("--tls-server-name", credentials.server_name,
                   "Name to expect in the server's certificate (default: that of --server)")
      ->needs(tls)
      ->group(group);
}

absl::StatusOr<Client> ServerFlags::Connect() const {
  RetryPolicy retry;
  retry.max_attempts = 4;
  return Connect(retry);
}

absl::StatusOr<Client> ServerFlags::ConnectPatiently() const {
  RetryPolicy retry;
  retry.max_attempts = 1000;  // max_elapsed ends it
  return Connect(retry);
}

absl::StatusOr<Client> ServerFlags::Connect(const RetryPolicy& retry) const {
  if (local) {
    InProcessOptions options;
    if (timeout_seconds > 0) options.deadline = absl::Seconds(timeout_seconds);
    return Client::InProcess(options);
  }
  ClientOptions options;
  options.endpoint = server;
  options.credentials = credentials;
  options.retry = retry;
  if (timeout_seconds > 0) options.deadline = absl::Seconds(timeout_seconds);
  return Client::Connect(std::move(options));
}

void AddLabelFlags(CLI::App* command, v1::EvaluationLabels* labels) {
  const std::string group = "Labels (with one, the server's evaluation gauges are set)";
  command->add_option("--model", *labels->mutable_model(), "The model evaluated")->group(group);
  command->add_option("--dataset", *labels->mutable_dataset(), "The data set evaluated on")
      ->group(group);
  command->add_option("--run", *labels->mutable_run(), "The run; for the server's log")
      ->group(group);
}

void AddFormatFlag(CLI::App* command, Format* format) {
  const std::map<std::string, Format> formats = {{"table", Format::kTable},
                                                 {"json", Format::kJson}};
  command
      ->add_option("--format", *format,
                   "table, or json: the protobuf JSON of the response (default: table)")
      ->transform(CLI::CheckedTransformer(formats).description(""))
      ->option_text("table|json");
}

void LossFlags::AddTo(CLI::App* command) {
  AddRepeated(
      command, "--loss", &losses,
      "A loss, e.g. 'mse', 'huber { delta: 2 }', 'bce { unit: BITS }', 'weight: 0.5 label: a mae', "
      "'inputs { predictions: head_a } mse'. Repeat for more")
      ->required()
      ->option_text("TEXT");
  AddRepeated(command, "--input", &inputs,
              "A tensor of the losses, from a .npy file. Repeat for more")
      ->option_text("NAME=FILE");
  command
      ->add_option("--non-finite", non_finite,
                   "What NaN and infinite items do: propagate, skip or reject (default: propagate)")
      ->check(CLI::IsMember({"propagate", "skip", "reject"}).description(""))
      ->option_text("POLICY");
  AddLabelFlags(command, &labels);
}

absl::StatusOr<std::vector<v1::Loss>> LossFlags::ParseLosses() const {
  std::vector<v1::Loss> parsed;
  for (const std::string& text : losses) {
    absl::StatusOr<v1::Loss> loss = ParseLoss(text);
    if (!loss.ok())
      return absl::InvalidArgumentError(absl::StrCat("--loss: ", loss.status().message()));
    parsed.push_back(*std::move(loss));
  }
  return parsed;
}

v1::NonFinitePolicy LossFlags::NonFinite() const {
  if (non_finite == "skip") return v1::NON_FINITE_POLICY_SKIP;
  if (non_finite == "reject") return v1::NON_FINITE_POLICY_REJECT;
  return v1::NON_FINITE_POLICY_PROPAGATE;
}

absl::StatusOr<NamedFiles> OpenFiles(const std::string& flag,
                                     const std::vector<std::string>& flags) {
  NamedFiles files;
  for (const std::string& value : flags) {
    const size_t equals = value.find('=');
    if (equals == std::string::npos || equals == 0 || equals + 1 == value.size()) {
      return absl::InvalidArgumentError(absl::StrCat(flag, " ", value, ": expected NAME=FILE"));
    }
    const std::string name = value.substr(0, equals);
    absl::StatusOr<NpyFile> file = NpyFile::Open(value.substr(equals + 1));
    if (!file.ok())
      return absl::InvalidArgumentError(
          absl::StrCat(flag, " ", name, ": ", file.status().message()));
    if (!files.emplace(name, *std::move(file)).second) {
      return absl::InvalidArgumentError(absl::StrCat(flag, " ", name, " is given twice"));
    }
  }
  return files;
}

absl::Status WriteState(const std::string& path, const v1::EvaluationState& state) {
  const std::string part = path + ".part";
  std::ofstream file(part, std::ios::binary | std::ios::trunc);
  file << state.value();
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    return absl::InvalidArgumentError("cannot write " + path);
  }
  return absl::OkStatus();
}

int UsageError(const absl::Status& status) {
  std::cerr << "lossctl: " << std::string(status.message()) << '\n';
  return kExitUsage;
}

int CallError(const ServerFlags& flags, const absl::Status& status) {
  const ErrorDetail detail = DetailOf(status);
  std::cerr << "lossctl: ";
  if (detail.reason == "CREDENTIALS") {
    std::cerr << std::string(status.message()) << '\n';
    return kExitUsage;
  }
  if (absl::IsUnavailable(status) && detail.reason.empty()) {
    std::cerr
        << "cannot reach a server at " << flags.server << ": " << std::string(status.message())
        << "\n  (start lossd, name another address by --server, or compute here by --local)\n";
    return kExitFailed;
  }
  std::cerr << absl::StatusCodeToString(status.code());
  if (!detail.reason.empty()) std::cerr << ' ' << detail.reason;
  if (!detail.field.empty()) std::cerr << " at " << detail.field;
  std::cerr << ": " << std::string(status.message()) << '\n';
  // gRPC's own refusal, which names no flag.
  if (absl::IsResourceExhausted(status) && absl::StrContains(status.message(), "larger than max")) {
    std::cerr << "  (a message is over the server's --max-message-bytes: send large data by "
                 "lossctl evaluate, "
                 "with a smaller --batch)\n";
  }
  return kExitFailed;
}

}  // namespace lossd::cli
