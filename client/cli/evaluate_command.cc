// lossctl evaluate: one evaluation of any size, in batches of rows.
#include <algorithm>
#include <iostream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "command.h"
#include "progress_line.h"

namespace lossd::cli {
namespace {

// A message of this size costs little beside its bytes, and fits every server.
constexpr int64_t kMessageBytes = int64_t{1} << 20;

struct EvaluateFlags {
  ServerFlags server;
  LossFlags loss;
  std::vector<std::string> constants;
  int64_t batch_rows = 0;  // 0: so many that a message is about kMessageBytes
  std::string state_out;
  Format format = Format::kTable;
};

// The rows of files, cut into batches. Holds one batch of each Fortran-ordered file.
class FileBatches : public BatchSource {
 public:
  FileBatches(const NamedFiles* files, int64_t rows, int64_t batch_rows)
      : files_(files), rows_(rows), batch_rows_(batch_rows) {}

  absl::StatusOr<std::optional<Batch>> Get(int64_t sequence) override {
    const int64_t first = std::min(sequence, rows_ / batch_rows_ + 1) * batch_rows_;
    // Files without rows make one empty batch, so that the inputs are checked all the same.
    if (first >= rows_ && sequence > 0) return std::optional<Batch>();
    Batch batch;
    batch.first_sample = first;
    for (const auto& [name, file] : *files_) {
      absl::StatusOr<TensorView> view =
          file.Rows(first, std::min(batch_rows_, rows_ - first), &gathered_[name]);
      if (!view.ok()) return view.status();
      batch.inputs[name] = *view;
    }
    return std::optional<Batch>(std::move(batch));
  }

 private:
  const NamedFiles* files_;
  const int64_t rows_;
  const int64_t batch_rows_;
  std::map<std::string, std::vector<std::byte>> gathered_;
};

// The number of rows that all files have.
absl::StatusOr<int64_t> CommonRows(const NamedFiles& files) {
  if (files.empty())
    return absl::InvalidArgumentError("evaluate needs at least one --input NAME=FILE");
  const auto& [first_name, first] = *files.begin();
  for (const auto& [name, file] : files) {
    if (file.shape().rank() == 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("--input ", name, ": ", file.path(), " is a scalar and has no rows"));
    }
    if (file.rows() == first.rows()) continue;
    return absl::InvalidArgumentError(absl::StrCat(
        "--input ", first_name, " has ", first.rows(), " rows and --input ", name, " has ",
        file.rows(), ": inputs that all batches share go by --constant NAME=FILE"));
  }
  return first.rows();
}

int64_t DefaultBatchRows(const NamedFiles& files) {
  int64_t row_bytes = 0;
  for (const auto& [name, file] : files) row_bytes += file.row_bytes();
  return std::max<int64_t>(1, kMessageBytes / std::max<int64_t>(1, row_bytes));
}

int Show(const EvaluateFlags& flags, const v1::EvaluationResult& result) {
  if (flags.format == Format::kJson) {
    PrintJson(result, std::cout);
  } else {
    PrintEvaluation(result, std::cout);
  }
  if (flags.state_out.empty()) return kExitOk;
  const absl::Status written = WriteState(flags.state_out, result.state());
  if (written.ok()) return kExitOk;
  UsageError(written);
  return kExitFailed;
}

// An error if no server answers: only one that has answered is waited for.
absl::Status FindServer(const ServerFlags& flags) {
  absl::StatusOr<Client> client = flags.Connect();
  if (!client.ok()) return client.status();
  return client->GetServerInfo().status();
}

int Evaluate(const EvaluateFlags& flags) {
  const absl::StatusOr<std::vector<v1::Loss>> losses = flags.loss.ParseLosses();
  if (!losses.ok()) return UsageError(losses.status());
  const absl::StatusOr<NamedFiles> inputs = OpenFiles("--input", flags.loss.inputs);
  if (!inputs.ok()) return UsageError(inputs.status());
  const absl::StatusOr<NamedFiles> constants = OpenFiles("--constant", flags.constants);
  if (!constants.ok()) return UsageError(constants.status());
  const absl::StatusOr<int64_t> rows = CommonRows(*inputs);
  if (!rows.ok()) return UsageError(rows.status());

  if (!flags.server.local) {
    if (absl::Status found = FindServer(flags.server); !found.ok())
      return CallError(flags.server, found);
  }
  absl::StatusOr<Client> client = flags.server.ConnectPatiently();
  if (!client.ok()) return CallError(flags.server, client.status());

  v1::EvaluationSpec spec;
  for (const v1::Loss& loss : *losses) *spec.add_losses() = loss;
  spec.set_non_finite(flags.loss.NonFinite());
  if (flags.loss.labels.ByteSizeLong() > 0) *spec.mutable_labels() = flags.loss.labels;

  const int64_t batch_rows = flags.batch_rows > 0 ? flags.batch_rows : DefaultBatchRows(*inputs);
  absl::StatusOr<v1::EvaluationResult> result;
  {
    ProgressLine line(*rows);
    EvaluationOptions options;
    if (flags.server.timeout_seconds > 0)
      options.deadline = absl::Seconds(flags.server.timeout_seconds);
    bool told = false;  // of this outage: one line each, however often it is tried again
    options.on_progress = [&](const v1::Progress& progress) {
      told = false;
      line.Update(std::min(progress.next_sequence(), *rows / batch_rows + 1) * batch_rows);
    };
    options.on_retry = [&](const absl::Status& status) {
      if (!told)
        line.Note(absl::StrCat("lossctl: the server went away, resuming (", status.message(), ")"));
      told = true;
    };
    Evaluation evaluation = client->Evaluate(std::move(spec), std::move(options));
    std::map<std::string, std::vector<std::byte>> gathered;
    for (const auto& [name, file] : *constants) {
      const absl::StatusOr<TensorView> view = file.All(&gathered[name]);
      if (!view.ok()) return UsageError(view.status());
      evaluation.AddConstant(name, *view);
    }
    FileBatches batches(&*inputs, *rows, batch_rows);
    result = evaluation.Run(batches);
  }
  if (!result.ok()) return CallError(flags.server, result.status());
  return Show(flags, *result);
}

}  // namespace

void AddEvaluateCommand(CLI::App* app, int* exit_code) {
  CLI::App* command = app->add_subcommand(
      "evaluate",
      "Evaluate files of any size in batches of rows; resumes when the server goes away");
  auto flags = std::make_shared<EvaluateFlags>();
  flags->loss.AddTo(command);
  command
      ->add_option("--constant", flags->constants,
                   "A tensor that all batches share, such as class_weight, from a .npy file. "
                   "Repeat for more")
      ->allow_extra_args(false)
      ->option_text("NAME=FILE");
  command
      ->add_option("--batch", flags->batch_rows,
                   "Rows a batch (default: about 1 MiB). The result does not depend on it")
      ->check(CLI::PositiveNumber)
      ->option_text("ROWS");
  command
      ->add_option("--state-out", flags->state_out, "Write the final state here, for lossctl merge")
      ->option_text("FILE");
  AddFormatFlag(command, &flags->format);
  flags->server.AddTo(command);
  command->callback([flags, exit_code] { *exit_code = Evaluate(*flags); });
}

}  // namespace lossd::cli
