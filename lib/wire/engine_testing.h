// What the tests of the engine share: messages from text, tensors from values, calls that block,
// and errors compared.
//
// For tests only. Thread-safety: pure functions on the caller's objects.
#ifndef LOSSD_LIB_WIRE_ENGINE_TESTING_H_
#define LOSSD_LIB_WIRE_ENGINE_TESTING_H_

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/unknown_field_set.h"
#include "lib/base/status.h"
#include "lib/evaluation/fingerprint.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/loss_engine.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

template <class M>
M FromText(const std::string& text) {
  M message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

template <class T>
v1::Tensor MakeTensor(v1::DataType dtype, const std::vector<int64_t>& shape,
                      const std::vector<T>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(dtype);
  for (const int64_t size : shape) tensor.add_shape(size);
  tensor.set_data(
      std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T)));
  return tensor;
}
inline v1::Tensor Floats(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  return MakeTensor(v1::DATA_TYPE_FLOAT32, shape, values);
}
inline v1::Tensor Doubles(const std::vector<int64_t>& shape, const std::vector<double>& values) {
  return MakeTensor(v1::DATA_TYPE_FLOAT64, shape, values);
}
inline v1::Tensor Int64s(const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
  return MakeTensor(v1::DATA_TYPE_INT64, shape, values);
}

template <class T>
std::vector<T> ValuesOf(const v1::Tensor& tensor) {
  std::vector<T> values(tensor.data().size() / sizeof(T));
  std::memcpy(values.data(), tensor.data().data(), values.size() * sizeof(T));
  return values;
}

inline std::unique_ptr<LossEngine> MakeEngine(EngineOptions options = {}) {
  if (options.threads == 0) options.threads = 2;
  auto engine = LossEngine::Create(std::move(options));
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

inline absl::StatusOr<v1::ComputeLossResponse> Call(LossEngine* engine,
                                                    const v1::ComputeLossRequest& request,
                                                    const CancellationToken* token = nullptr) {
  v1::ComputeLossResponse response;
  std::promise<absl::Status> done;
  engine->ComputeLoss(request, &response, token,
                      [&](absl::Status status) { done.set_value(std::move(status)); });
  absl::Status status = done.get_future().get();
  if (!status.ok()) return status;
  return response;
}

inline absl::Status Take(EvaluationSession* session, const v1::EvaluateRequest& step,
                         const CancellationToken* token = nullptr) {
  std::promise<absl::Status> done;
  session->Step(step, token, [&](absl::Status status) { done.set_value(std::move(status)); });
  return done.get_future().get();
}

// The code, the reason and the path; a message that is not empty.
inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::string& reason, const std::string& field) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_EQ(DetailOf(status).reason, reason) << status;
  EXPECT_EQ(DetailOf(status).field, field) << status;
  EXPECT_FALSE(status.message().empty());
}
inline void ExpectInvalid(const absl::Status& status, const std::string& reason,
                          const std::string& field) {
  ExpectError(status, absl::StatusCode::kInvalidArgument, reason, field);
}

// predictions 1, 2, 3 and targets 1, 3, 6.
inline v1::ComputeLossRequest PairRequest(const std::string& loss) {
  auto request = FromText<v1::ComputeLossRequest>("losses { " + loss + " }");
  (*request.mutable_inputs())["predictions"] = Floats({3}, {1, 2, 3});
  (*request.mutable_inputs())["targets"] = Floats({3}, {1, 3, 6});
  return request;
}

// Two rows of three classes, labels 2 and 0.
inline v1::ComputeLossRequest RowRequest(const std::string& loss) {
  auto request = FromText<v1::ComputeLossRequest>("losses { " + loss + " }");
  (*request.mutable_inputs())["logits"] = Floats({2, 3}, {1, 2, 3, 0, 0, 0});
  (*request.mutable_inputs())["labels"] = Int64s({2}, {2, 0});
  return request;
}

inline void AddUnknown(google::protobuf::Message* message, int number) {
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(number, 1);
}

inline v1::EvaluateRequest Step(const std::string& text) {
  return FromText<v1::EvaluateRequest>(text);
}
inline v1::EvaluateRequest MseSpec() { return Step("spec { losses { mse {} } }"); }

// predictions and targets of an mse.
inline v1::EvaluateRequest PairBatch(const std::vector<float>& predictions,
                                     const std::vector<float>& targets) {
  v1::EvaluateRequest step;
  auto& inputs = *step.mutable_batch()->mutable_inputs();
  const auto n = static_cast<int64_t>(predictions.size());
  inputs["predictions"] = Floats({n}, predictions);
  inputs["targets"] = Floats({n}, targets);
  return step;
}
inline v1::EvaluateRequest NumberedBatch(int64_t sequence, float prediction) {
  v1::EvaluateRequest step = PairBatch({prediction}, {0});
  step.mutable_batch()->set_sequence(sequence);
  return step;
}

inline v1::EvaluationResult ResultOf(EvaluationSession* session) {
  EXPECT_TRUE(Take(session, Step("finish {}")).ok());
  EXPECT_TRUE(session->finished());
  v1::EvaluateResponse response;
  EXPECT_TRUE(session->MakeResult(&response).ok());
  return response.result();
}

// Constants: class weights of five classes, as bytes and in pieces.
inline constexpr float kWeights[5] = {1, 0.5, 2, 0.25, 3};

inline v1::EvaluateRequest ConstantSpec(const std::string& digest_of) {
  v1::EvaluateRequest step = Step(R"pb(spec {
                                         losses {
                                           cross_entropy {}
                                           inputs { key: "class_weight" value: "w" }
                                         }
                                         constants { name: "w" dtype: DATA_TYPE_FLOAT32 shape: 5 }
                                       })pb");
  const Sha256Digest digest = Sha256(digest_of);
  step.mutable_spec()->mutable_constants(0)->set_sha256(std::string(digest.begin(), digest.end()));
  return step;
}
inline v1::EvaluateRequest ConstantSpec() {
  return ConstantSpec(std::string(reinterpret_cast<const char*>(kWeights), sizeof(kWeights)));
}
inline v1::EvaluateRequest Piece(size_t begin, size_t end) {
  v1::EvaluateRequest step;
  step.mutable_constant()->set_name("w");
  step.mutable_constant()->set_offset(static_cast<int64_t>(begin));
  *step.mutable_constant()->mutable_piece() = Floats(
      {static_cast<int64_t>(end - begin)}, std::vector<float>(kWeights + begin, kWeights + end));
  return step;
}
inline v1::EvaluateRequest RowBatch() {
  v1::EvaluateRequest step;
  auto& inputs = *step.mutable_batch()->mutable_inputs();
  inputs["logits"] = Floats({2, 5}, {1, 2, 3, 4, 5, 5, 4, 3, 2, 1});
  inputs["labels"] = Int64s({2}, {4, 1});
  return step;
}

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_ENGINE_TESTING_H_
