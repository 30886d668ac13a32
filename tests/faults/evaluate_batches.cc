// An evaluation through the C++ SDK that a test disturbs: batches made from their number, 4 MB
// each.
//
//   evaluate_batches ADDRESS BATCHES
//
// Writes a line for each event, at once: "batch N" (the SDK asks for it), "checkpoint N ITEMS",
// "retry", and last "result ITEMS SUM VALUE STATE" (the two doubles and the state in hexadecimal).
// Exits 1 with the error.
#include <array>
#include <bit>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "lossd/client.h"

namespace {

constexpr int64_t kElements = 500'000;

// Ends the program with what went wrong; of a StatusOr, gives the value.
template <class T>
T Check(absl::StatusOr<T> result) {
  if (result.ok()) return *std::move(result);
  std::fprintf(stderr, "%s\n", result.status().ToString().c_str());
  std::exit(1);
}

// Any sign and mantissa, exponents from 2^-20 to 2^19: sums round differently in every order.
void FillElements(uint64_t seed, std::vector<float>* elements) {
  uint64_t state = seed;
  for (float& element : *elements) {
    state = state * 6364136223846793005u + 1442695040888963407u;  // Knuth's MMIX
    const auto bits = static_cast<uint32_t>(state >> 32);
    const uint32_t exponent = 107 + (static_cast<uint32_t>(state >> 20) & 0xfff) % 40;
    element = std::bit_cast<float>((bits & 0x807fffff) | exponent << 23);
  }
}

// The memory of a batch stays until the one after the next is made.
class Batches {
 public:
  explicit Batches(int64_t count) : count_(count) {}

  absl::StatusOr<std::optional<lossd::Batch>> Get(int64_t sequence) {
    std::printf("batch %ld\n", static_cast<long>(sequence));
    if (sequence >= count_) return std::optional<lossd::Batch>();
    Memory& memory = memory_[static_cast<size_t>(sequence % 2)];
    FillElements(static_cast<uint64_t>(2 * sequence), &memory.predictions);
    FillElements(static_cast<uint64_t>(2 * sequence + 1), &memory.targets);
    lossd::Batch batch;
    batch.first_sample = sequence * kElements;
    batch.inputs = {{"predictions", Check(lossd::ViewOf(memory.predictions, {kElements}))},
                    {"targets", Check(lossd::ViewOf(memory.targets, {kElements}))}};
    return std::optional<lossd::Batch>(std::move(batch));
  }

 private:
  struct Memory {
    std::vector<float> predictions = std::vector<float>(kElements);
    std::vector<float> targets = std::vector<float>(kElements);
  };

  const int64_t count_;
  std::array<Memory, 2> memory_;
};

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: evaluate_batches ADDRESS BATCHES\n");
    return 2;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  lossd::ClientOptions options;
  options.endpoint = argv[1];
  // Servers die here faster than checkpoints come, and attempts are counted from one to the next:
  // what is tested is the result, not how soon a client gives up.
  options.retry.max_attempts = 10000;
  options.retry.max_elapsed = absl::Minutes(10);
  options.retry.initial_backoff = absl::Milliseconds(20);
  options.retry.max_backoff = absl::Milliseconds(200);
  lossd::Client client = Check(lossd::Client::Connect(options));

  lossd::v1::EvaluationSpec spec;
  *spec.add_losses() = Check(lossd::ParseLoss("mean_bias"));
  *spec.add_losses() = Check(lossd::ParseLoss("mse"));
  spec.mutable_checkpoint_cadence()->set_bytes(int64_t{12} << 20);
  lossd::EvaluationOptions events;
  events.on_progress = [](const lossd::v1::Progress& progress) {
    std::printf("checkpoint %ld %ld\n", static_cast<long>(progress.next_sequence()),
                static_cast<long>(progress.items()));
  };
  events.on_retry = [](const absl::Status&) { std::puts("retry"); };
  Batches batches(std::atoll(argv[2]));
  lossd::IndexedSource source([&](int64_t sequence) { return batches.Get(sequence); });
  const lossd::v1::EvaluationResult result = Check(client.Evaluate(spec, events).Run(source));

  const lossd::v1::LossResult& first = result.summaries(0).result();
  std::printf("result %ld %a %a ", static_cast<long>(first.items()), first.sum(), first.value());
  for (const char byte : result.state().value()) std::printf("%02x", byte & 0xff);
  std::printf("\n");
  return 0;
}
