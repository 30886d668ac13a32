// Losses of one batch, and an evaluation over many, in process and, given an address, by a server.
//
//   evaluate [ADDRESS]
#include <cstdint>
#include <cstdlib>
#include <iostream>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lossd/client.h"

namespace {

// Ends the program with what went wrong; of a StatusOr, gives the value.
void Check(const absl::Status& status) {
  if (status.ok()) return;
  const lossd::ErrorDetail detail = lossd::DetailOf(status);
  std::cerr << status << ' ' << detail.reason << ' ' << detail.field << '\n';
  std::exit(1);
}
template <class T>
T Check(absl::StatusOr<T> result) {
  Check(result.status());
  return *std::move(result);
}

// One batch: predictions and targets lie in the caller's memory.
void ComputeHuber(lossd::Client& client) {
  const std::vector<float> predictions = {4, 2, 1};
  const std::vector<float> targets = {1, 2, 3};
  const lossd::v1::ComputeLossResponse response =
      Check(client.ComputeLoss({Check(lossd::ParseLoss("huber { delta: 2 }"))},
                               {{"predictions", Check(lossd::ViewOf(predictions, {3}))},
                                {"targets", Check(lossd::ViewOf(targets, {3}))}}));
  std::cout << "huber " << response.results(0).value() << '\n';
}

// A data set larger than a message, in batches of `rows`; the result does not depend on it.
lossd::v1::EvaluationResult EvaluateMany(lossd::Client& client, size_t rows) {
  std::vector<float> predictions(100'000);
  std::vector<float> targets(predictions.size());
  for (size_t i = 0; i < predictions.size(); ++i) {
    predictions[i] = 1.0f / static_cast<float>(i + 1);
    targets[i] = static_cast<float>(i % 7);
  }

  lossd::v1::EvaluationSpec spec;
  *spec.add_losses() = Check(lossd::ParseLoss("mse"));
  *spec.add_losses() = Check(lossd::ParseLoss("weight: 0.5 mae"));

  // Asked for by number, so that it can go back to where a lost server's checkpoint left off.
  lossd::IndexedSource source([&](int64_t sequence) -> absl::StatusOr<std::optional<lossd::Batch>> {
    const size_t first = static_cast<size_t>(sequence) * rows;
    if (first >= predictions.size()) return std::optional<lossd::Batch>();
    const size_t count = std::min(rows, predictions.size() - first);
    const lossd::Shape shape = {static_cast<int64_t>(count)};
    lossd::Batch batch;
    batch.first_sample = static_cast<int64_t>(first);
    batch.inputs["predictions"] =
        Check(lossd::ViewOf(std::span<const float>(&predictions[first], count), shape));
    batch.inputs["targets"] =
        Check(lossd::ViewOf(std::span<const float>(&targets[first], count), shape));
    return batch;
  });
  lossd::Evaluation evaluation = client.Evaluate(spec);
  return Check(evaluation.Run(source));
}

}  // namespace

int main(int argc, char** argv) {
  lossd::Client local = Check(lossd::Client::InProcess());
  ComputeHuber(local);
  const lossd::v1::EvaluationResult result = EvaluateMany(local, 4096);
  for (const lossd::v1::LossSummary& summary : result.summaries()) {
    std::cout << summary.result().loss() << ' ' << summary.result().value() << '\n';
  }
  bool equal = EvaluateMany(local, 777).SerializeAsString() == result.SerializeAsString();
  if (argc > 1) {
    lossd::ClientOptions options;
    options.endpoint = argv[1];
    lossd::Client remote = Check(lossd::Client::Connect(options));
    ComputeHuber(remote);
    equal = equal && EvaluateMany(remote, 1000).state().value() == result.state().value();
  }
  std::cout << (equal ? "equal to the bit\n" : "different bits\n");
  return equal ? 0 : 1;
}
