// Writes the seed corpora of the fuzzers: real requests, streams, states and .npy files of every
// loss.
//
//   write_corpus_files FOLDER    one folder a fuzzer below it; what is there is written over
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <future>
#include <map>
#include <set>
#include <string>

#include "lib/evaluation/fingerprint.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/loss_engine.h"
#include "tests/fuzz/framing.h"
#include "tests/golden/cases.h"

namespace lossd::fuzz {
namespace {

using golden::Case;
using golden::Dataset;

// A state behind its header and before its checksum, as state_parser takes it.
constexpr size_t kHeaderBytes = 16, kChecksumBytes = 4;

class Writer {
 public:
  explicit Writer(const char* folder) : folder_(folder) {}

  void Write(const std::string& fuzzer, const std::string& name, const std::string& bytes) {
    std::filesystem::create_directories(folder_ / fuzzer);
    std::ofstream file(folder_ / fuzzer / name, std::ios::binary);
    file << bytes;
    good_ = good_ && file.good();
  }
  bool good() const { return good_; }

 private:
  std::filesystem::path folder_;
  bool good_ = true;
};

void Put(Kind kind, const google::protobuf::Message& message, const std::string& name,
         Writer* writer) {
  writer->Write("request_decoder", name, static_cast<char>(kind) + message.SerializeAsString());
}

// A stream, run as it is written down.
class Stream {
 public:
  explicit Stream(LossEngine* engine) : session_(engine->Evaluate()) {}

  bool Add(const v1::EvaluateRequest& step) {
    PutFramed(step.SerializeAsString(), &bytes_);
    std::promise<absl::Status> done;
    session_->Step(step, nullptr, [&done](absl::Status s) { done.set_value(s); });
    const absl::Status status = done.get_future().get();
    if (!status.ok()) std::fprintf(stderr, "%s\n", status.ToString().c_str());
    return status.ok();
  }
  v1::EvaluationResult Finish() {
    v1::EvaluateRequest step;
    step.mutable_finish();
    Add(step);
    v1::EvaluateResponse response;
    (void)session_->MakeResult(&response);
    return response.result();
  }
  std::string bytes() const { return static_cast<char>(Kind::kEvaluate) + bytes_; }

 private:
  std::unique_ptr<EvaluationSession> session_;
  std::string bytes_;
};

v1::EvaluateRequest SpecStep(const Case& c) {
  v1::EvaluateRequest step;
  *step.mutable_spec()->add_losses() = c.loss;
  step.mutable_spec()->mutable_checkpoint_cadence()->set_bytes(1);
  step.mutable_spec()->mutable_labels()->set_model("m");
  return step;
}

// Inputs that are no sample's own go as constants.
void AddConstants(const Dataset& dataset, v1::EvaluateRequest* spec,
                  std::vector<v1::EvaluateRequest>* pieces) {
  for (const golden::NamedTensor& tensor : dataset.tensors) {
    if (tensor.per_sample) continue;
    v1::ConstantSpec* constant = spec->mutable_spec()->add_constants();
    constant->set_name(tensor.name);
    constant->set_dtype(tensor.tensor.dtype());
    *constant->mutable_shape() = tensor.tensor.shape();
    const Sha256Digest digest = Sha256(tensor.tensor.data());
    constant->set_sha256(digest.data(), digest.size());
    v1::EvaluateRequest& piece = pieces->emplace_back();
    piece.mutable_constant()->set_name(tensor.name);
    v1::Tensor* const whole = piece.mutable_constant()->mutable_piece();
    *whole = tensor.tensor;
    int64_t elements = 1;
    for (const int64_t size : tensor.tensor.shape()) elements *= size;
    whole->clear_shape();
    whole->add_shape(elements);  // pieces are flat
  }
}

v1::EvaluateRequest BatchStep(const Dataset& dataset, int64_t sequence) {
  v1::EvaluateRequest step;
  v1::Batch* batch = step.mutable_batch();
  batch->set_sequence(sequence);
  const int64_t half = dataset.samples / 2;
  Dataset samples = dataset;
  std::erase_if(samples.tensors, [](const auto& tensor) { return !tensor.per_sample; });
  samples.Fill(sequence == 0 ? 0 : half, sequence == 0 ? half : dataset.samples,
               batch->mutable_inputs());
  return step;
}

void WriteEvaluations(LossEngine* engine, const Case& c, const std::string& name, Writer* writer) {
  const Dataset dataset = MakeDataset(*c.signature, c.few);
  v1::EvaluateRequest spec = SpecStep(c);
  std::vector<v1::EvaluateRequest> pieces;
  AddConstants(dataset, &spec, &pieces);
  Stream stream(engine);
  stream.Add(spec);
  for (const auto& piece : pieces) stream.Add(piece);
  for (const int64_t sequence : {0, 1}) stream.Add(BatchStep(dataset, sequence));
  const v1::EvaluationState state = stream.Finish().state();
  writer->Write("request_decoder", "evaluate_" + name, stream.bytes());
  writer->Write(
      "state_parser", name,
      state.value().substr(kHeaderBytes, state.value().size() - kHeaderBytes - kChecksumBytes));

  Stream resumed(engine);
  *spec.mutable_spec()->mutable_resume_from() = state;
  spec.mutable_spec()->set_next_sequence(1);
  resumed.Add(spec);
  for (const auto& piece : pieces) resumed.Add(piece);
  for (const int64_t sequence : {0, 1}) resumed.Add(BatchStep(dataset, sequence));
  const v1::EvaluationState longer = resumed.Finish().state();
  if (name.starts_with("cross"))
    writer->Write("request_decoder", "resume_" + name, resumed.bytes());

  v1::MergeEvaluationsRequest merge;
  *merge.add_states() = state;
  *merge.add_states() = longer;
  if (name.starts_with("b")) Put(Kind::kMerge, merge, "merge_" + name, writer);
}

void WriteCompute(const Case& c, const std::string& name, v1::Reduction reduction, Writer* writer) {
  v1::ComputeLossRequest request;
  *request.add_losses() = c.loss;
  request.set_reduction(reduction);
  MakeDataset(*c.signature, c.few).Fill(0, c.few.shape[0], request.mutable_inputs());
  Put(Kind::kCompute, request, "compute_" + name, writer);
}

// Two losses over bound, hand-written tensors.
void WriteHandWritten(Writer* writer) {
  v1::ComputeLossRequest request;
  v1::Loss* huber = request.add_losses();
  huber->mutable_huber()->set_delta(2);
  huber->set_weight(0.5);
  huber->set_label("first");
  (*huber->mutable_inputs())["predictions"] = "head";
  (*request.add_losses()->mutable_inputs())["predictions"] = "head";
  request.mutable_losses(1)->mutable_zero_one();
  v1::Tensor& head = (*request.mutable_inputs())["head"];
  v1::Tensor& targets = (*request.mutable_inputs())["targets"];
  head.set_dtype(v1::DATA_TYPE_FLOAT16);
  targets.set_dtype(v1::DATA_TYPE_UINT8);
  for (v1::Tensor* tensor : {&head, &targets}) tensor->add_shape(3);
  for (const double value : {0.25, -1.0, 3.0}) head.add_float_values(value);
  for (const int64_t value : {0, 1, 3}) targets.add_int_values(value);
  Put(Kind::kCompute, request, "compute_hand_written", writer);
}

// Tensors just large enough to stay where they arrive, in pieces of 65 bytes.
void WriteInPlace(Writer* writer) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_UINT8);
  tensor.add_shape(kMinPayloadBytes);
  tensor.set_data(std::string(kMinPayloadBytes, '\1'));
  v1::ComputeLossRequest request;
  request.add_losses()->mutable_mse();
  (*request.mutable_inputs())["a"] = tensor;
  v1::EvaluateRequest batch, constant;
  *batch.mutable_batch()->mutable_inputs() = request.inputs();
  constant.mutable_constant()->set_name("a");
  *constant.mutable_constant()->mutable_piece() = tensor;
  const auto put = [writer](Kind kind, const char* name, const google::protobuf::Message& message) {
    writer->Write("request_in_place", name,
                  static_cast<char>(kind) + ("\x40" + message.SerializeAsString()));
  };
  put(Kind::kCompute, "compute", request);
  put(Kind::kEvaluate, "batch", batch);
  put(Kind::kEvaluate, "constant", constant);
}

void WriteNpy(Writer* writer) {
  const std::pair<const char*, const char*> headers[] = {
      {"f4", "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }"},
      {"f8_fortran", "{'descr': '<f8', 'fortran_order': True, 'shape': (3, 2, 1), }"},
      {"f8_fortran_no_rows",
       "{'descr': '<f8', 'fortran_order': True, 'shape': (0, 1000000000000000), }"},
      {"i8_vector", "{'descr': '<i8', 'fortran_order': False, 'shape': (4,), }"},
      {"b1_scalar", "{'descr': '|b1', 'fortran_order': False, 'shape': (), }"},
      {"u1_empty", "{'descr': '|u1', 'fortran_order': False, 'shape': (0, 5), }"}};
  for (const auto& [name, dictionary] : headers) {
    std::string header = dictionary;
    while ((header.size() + 11) % 64 != 0) header += ' ';
    header += '\n';
    std::string bytes("\x93NUMPY\x01\x00", 8);
    bytes += static_cast<char>(header.size());
    bytes += '\0';
    bytes += header + std::string(48, '\x3f');
    writer->Write("npy_parser", name, bytes);
  }
}

int Main(const char* folder) {
  auto engine = LossEngine::Create(EngineOptions());
  const auto cases = golden::AllCases();
  if (!engine.ok() || !cases.ok()) return 1;
  Writer writer(folder);
  std::map<std::string, std::set<const Signature*>> seen;
  for (const Case& c : *cases) {
    if (!c.few.sample_weight || c.dtype != v1::DATA_TYPE_FLOAT32) continue;
    const std::string loss =
        c.loss.GetDescriptor()->FindFieldByNumber(static_cast<int>(c.loss.kind_case()))->name();
    std::set<const Signature*>& signatures = seen[loss];
    if (!signatures.insert(c.signature).second) continue;
    const std::string name = loss + "_" + std::to_string(signatures.size() - 1);
    WriteCompute(c, name, static_cast<v1::Reduction>(1 + signatures.size() % 3), &writer);
    if (signatures.size() == 1 && c.streams) WriteEvaluations(engine->get(), c, name, &writer);
  }
  WriteHandWritten(&writer);
  WriteInPlace(&writer);
  WriteNpy(&writer);
  return writer.good() ? 0 : 1;
}

}  // namespace
}  // namespace lossd::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: write_corpus_files FOLDER\n");
    return 2;
  }
  return lossd::fuzz::Main(argv[1]);
}
