// The golden-bits test: the bits of every loss are those that the committed file says.
//
//   golden_bits FILE           compares; exits 1 naming each case whose bits differ
//   golden_bits --write FILE   writes the file anew: after a release only together with a new
//   kArithmeticRevision
//                              (lib/losses/catalogue.h), because results and states of other
//                              versions then differ
//
// LOSSD_TARGET forces an instruction set; the test fails if another one ran. It needs no transport,
// so that it also runs cross-built under an emulator.
//
// A line of the file is a case: its name, then
//   few        the items of a few samples, each little-endian in hexadecimal
//   items      SHA-256 (the first half) of the items of many samples in several shapes
//   gradients  the same of the gradients of the means of those shapes, where the loss has one
//   state      the same of the state of one evaluation of all of them
//   mean       the value that the evaluation reports, in hexadecimal
// A loss of a whole batch has no state and no mean. The state is computed in one batch a shape, in
// small batches in another order with two threads, and merged from two evaluations; the three must
// agree to begin with.
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <future>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/cpu_target.h"
#include "lib/evaluation/fingerprint.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/loss_engine.h"
#include "tests/golden/cases.h"

namespace lossd::golden {
namespace {

std::string Hex(std::string_view bytes) {
  std::string text;
  for (const char byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", static_cast<unsigned char>(byte));
    text += digits;
  }
  return text;
}

std::string HalfOfSha256(std::string_view bytes) {
  const Sha256Digest digest = Sha256(bytes);
  return Hex({reinterpret_cast<const char*>(digest.data()), digest.size() / 2});
}

// "0x1.8p+1": unlike %a the same in every C library.
std::string HexFloat(double value) {
  std::ostringstream text;
  text << std::hexfloat << value;
  return text.str();
}

v1::ComputeLossRequest Request(const Case& c, const DatasetSpec& spec, v1::Reduction reduction) {
  v1::ComputeLossRequest request;
  *request.add_losses() = c.loss;
  request.set_reduction(reduction);
  request.set_non_finite(c.non_finite);
  MakeDataset(*c.signature, spec).Fill(0, spec.shape[0], request.mutable_inputs());
  return request;
}

absl::StatusOr<v1::LossResult> Compute(LossEngine* engine, const v1::ComputeLossRequest& request) {
  v1::ComputeLossResponse response;
  std::promise<absl::Status> done;
  engine->ComputeLoss(request, &response, nullptr,
                      [&done](absl::Status s) { done.set_value(std::move(s)); });
  if (absl::Status s = done.get_future().get(); !s.ok()) return s;
  return response.results(0);
}

absl::StatusOr<std::string> Items(LossEngine* engine, const Case& c, const DatasetSpec& spec) {
  const auto result = Compute(engine, Request(c, spec, v1::REDUCTION_NONE));
  if (!result.ok()) return result.status();
  return result->values().data();
}

// The gradients of the mean, one input after the other; empty where the loss has none.
absl::StatusOr<std::string> Gradients(LossEngine* engine, const Case& c, const DatasetSpec& spec) {
  v1::ComputeLossRequest request = Request(c, spec, v1::REDUCTION_MEAN);
  for (int i = 0; i < c.signature->inputs.size; ++i) {
    const char* name = c.signature->inputs[i].name;
    if (HasGradient(*c.signature, i) && request.inputs().contains(name)) {
      request.add_gradients_of(name);
    }
  }
  std::string bytes;
  if (request.gradients_of().empty()) return bytes;
  const auto result = Compute(engine, request);
  if (!result.ok()) return result.status();
  for (const std::string& name : request.gradients_of()) {
    bytes += result->gradients().at(name).data();
  }
  return bytes;
}

// Those of the shapes that take no time, which must not depend on the threads to begin with.
absl::StatusOr<std::string> GradientBits(LossEngine* one_thread, LossEngine* two_threads,
                                         const Case& c) {
  constexpr int64_t kMostSamples = 10000;
  std::string all;
  for (const DatasetSpec& spec : c.many) {
    if (spec.shape[0] > kMostSamples) continue;
    const auto one = Gradients(one_thread, c, spec);
    if (!one.ok()) return one.status();
    const auto two = Gradients(two_threads, c, spec);
    if (!two.ok()) return two.status();
    if (*one != *two) return absl::InternalError("two threads give other gradients");
    all += *one;
  }
  return all.empty() ? "" : " gradients " + HalfOfSha256(all);
}

// A stream of one case.
class Stream {
 public:
  Stream(LossEngine* engine, const Case& c) : session_(engine->Evaluate()) {
    v1::EvaluateRequest step;
    *step.mutable_spec()->add_losses() = c.loss;
    step.mutable_spec()->set_non_finite(c.non_finite);
    Take(step);
  }

  void Add(const Dataset& dataset, int64_t begin, int64_t end) {
    v1::EvaluateRequest step;
    dataset.Fill(begin, end, step.mutable_batch()->mutable_inputs());
    Take(step);
  }

  absl::StatusOr<v1::EvaluationResult> Finish() {
    v1::EvaluateRequest step;
    step.mutable_finish();
    Take(step);
    if (!status_.ok()) return status_;
    v1::EvaluateResponse response;
    if (absl::Status s = session_->MakeResult(&response); !s.ok()) return s;
    return response.result();
  }

 private:
  void Take(const v1::EvaluateRequest& step) {
    if (!status_.ok()) return;
    std::promise<absl::Status> done;
    session_->Step(step, nullptr, [&done](absl::Status s) { done.set_value(std::move(s)); });
    status_ = done.get_future().get();
  }

  std::unique_ptr<EvaluationSession> session_;
  absl::Status status_;
};

absl::StatusOr<v1::EvaluationResult> WholeBatches(LossEngine* engine, const Case& c,
                                                  const std::vector<Dataset>& datasets) {
  Stream stream(engine, c);
  for (const Dataset& dataset : datasets) stream.Add(dataset, 0, dataset.samples);
  return stream.Finish();
}

absl::StatusOr<v1::EvaluationResult> SmallBatches(LossEngine* engine, const Case& c,
                                                  const std::vector<Dataset>& datasets) {
  Stream stream(engine, c);
  for (auto dataset = datasets.rbegin(); dataset != datasets.rend(); ++dataset) {
    const int64_t size = dataset->samples > 1000 ? dataset->samples / 2 + 1 : 7;
    for (int64_t begin = 0; begin < dataset->samples; begin += size) {
      stream.Add(*dataset, begin, std::min(dataset->samples, begin + size));
    }
  }
  return stream.Finish();
}

absl::StatusOr<v1::EvaluationResult> Merged(LossEngine* engine, const Case& c,
                                            const std::vector<Dataset>& datasets) {
  Stream first(engine, c), second(engine, c);
  for (const Dataset& dataset : datasets) {
    const int64_t cut = dataset.samples / 3;
    first.Add(dataset, 0, cut);
    second.Add(dataset, cut, dataset.samples);
  }
  v1::MergeEvaluationsRequest request;
  for (Stream* stream : {&second, &first}) {
    auto result = stream->Finish();
    if (!result.ok()) return result.status();
    *request.add_states() = result->state();
  }
  v1::MergeEvaluationsResponse response;
  if (absl::Status s = engine->MergeEvaluations(request, &response); !s.ok()) return s;
  return response.result();
}

absl::StatusOr<std::string> Bits(LossEngine* one_thread, LossEngine* two_threads, const Case& c) {
  const auto few = Items(one_thread, c, c.few);
  if (!few.ok()) return few.status();
  std::string items;
  std::vector<Dataset> datasets = {MakeDataset(*c.signature, c.few)};
  for (const DatasetSpec& spec : c.many) {
    const auto more = Items(two_threads, c, spec);
    if (!more.ok()) return more.status();
    items += *more;
    datasets.push_back(MakeDataset(*c.signature, spec));
  }
  const auto gradients = GradientBits(one_thread, two_threads, c);
  if (!gradients.ok()) return gradients.status();
  const std::string bits = "few " + Hex(*few) + " items " + HalfOfSha256(items) + *gradients;
  if (!c.streams) return bits;  // a loss of a whole batch has no state
  const auto whole = WholeBatches(one_thread, c, datasets);
  if (!whole.ok()) return whole.status();
  const auto small = SmallBatches(two_threads, c, datasets);
  if (!small.ok()) return small.status();
  const auto merged = Merged(two_threads, c, datasets);
  if (!merged.ok()) return merged.status();
  const std::string& state = whole->state().value();
  if (state != small->state().value()) {
    return absl::InternalError("small batches and two threads give another state");
  }
  if (state != merged->state().value()) {
    return absl::InternalError("merged evaluations give another state");
  }
  return bits + " state " + HalfOfSha256(state) + " mean " +
         HexFloat(whole->summaries(0).result().value());
}

std::string RevisionLine() { return "revision " + std::to_string(kArithmeticRevision); }

// The lines of the golden file by name; the revision is a line of its own.
bool Read(const char* path, std::map<std::string, std::string>* lines) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t cut = line.find(": few ");
    (*lines)[line.substr(0, cut)] = cut == std::string::npos ? "" : line.substr(cut + 2);
  }
  return !lines->empty();
}

int Compare(const char* path, const std::vector<std::pair<std::string, std::string>>& computed) {
  std::map<std::string, std::string> golden;
  if (!Read(path, &golden)) {
    std::fprintf(stderr, "cannot read %s\n", path);
    return 1;
  }
  int wrong = 0;
  const auto report = [&wrong](const char* what, const std::string& name) {
    if (++wrong <= 20) std::fprintf(stderr, "%s: %s\n", what, name.c_str());
  };
  if (golden.erase(RevisionLine()) == 0)
    report("the golden file is of another one than", RevisionLine());
  for (const auto& [name, bits] : computed) {
    const auto line = golden.find(name);
    if (line == golden.end()) {
      report("not in the golden file", name);
      continue;
    }
    if (line->second != bits) {
      report("other bits", name + "\n  golden   " + line->second + "\n  computed " + bits);
    }
    golden.erase(line);
  }
  for (const auto& [name, bits] : golden) report("only in the golden file", name);
  if (wrong == 0) return 0;
  std::fprintf(stderr,
               "%d differences. Bits may change only with kArithmeticRevision; then write the file "
               "anew (--write).\n",
               wrong);
  return 1;
}

int Write(const char* path, const std::vector<std::pair<std::string, std::string>>& computed) {
  std::ofstream file(path);
  file << "# Written by golden_bits --write; its source says what the columns are.\n"
       << RevisionLine() << "\n";
  for (const auto& [name, bits] : computed) file << name << ": " << bits << "\n";
  file.close();
  if (file) return 0;
  std::fprintf(stderr, "cannot write %s\n", path);
  return 1;
}

// The forced instruction set must be the one that runs.
bool TargetIsForced() {
  const char* forced = std::getenv("LOSSD_TARGET");
  if (forced == nullptr || *forced == '\0' || ActiveCpuTarget() == forced) return true;
  std::fprintf(stderr, "LOSSD_TARGET is %s, but %s runs\n", forced,
               std::string(ActiveCpuTarget()).c_str());
  return false;
}

absl::StatusOr<std::unique_ptr<LossEngine>> MakeEngine(int threads) {
  EngineOptions options;
  options.threads = threads;
  return LossEngine::Create(std::move(options));
}

absl::StatusOr<std::vector<std::pair<std::string, std::string>>> ComputeAll() {
  auto one_thread = MakeEngine(1);
  if (!one_thread.ok()) return one_thread.status();
  auto two_threads = MakeEngine(2);
  if (!two_threads.ok()) return two_threads.status();
  const auto cases = AllCases();
  if (!cases.ok()) return cases.status();
  std::vector<std::pair<std::string, std::string>> computed;
  for (const Case& c : *cases) {
    const auto bits = Bits(one_thread->get(), two_threads->get(), c);
    if (!bits.ok())
      return absl::Status(bits.status().code(),
                          c.name + ": " + std::string(bits.status().message()));
    computed.emplace_back(c.name, *bits);
  }
  return computed;
}

int Main(int argc, char** argv) {
  const bool write = argc == 3 && std::string_view(argv[1]) == "--write";
  if (argc != 2 && !write) {
    std::fprintf(stderr, "usage: golden_bits [--write] FILE\n");
    return 2;
  }
  const auto computed = ComputeAll();
  if (!computed.ok()) {
    std::fprintf(stderr, "%s\n", std::string(computed.status().message()).c_str());
    return 1;
  }
  if (!TargetIsForced()) return 1;
  const int result = write ? Write(argv[2], *computed) : Compare(argv[1], *computed);
  std::printf("%zu cases on %s\n", computed->size(), std::string(ActiveCpuTarget()).c_str());
  return result;
}

}  // namespace
}  // namespace lossd::golden

int main(int argc, char** argv) { return lossd::golden::Main(argc, argv); }
