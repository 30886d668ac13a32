// Fuzzes everything between the bytes of a request and its answer: a ComputeLossRequest, the steps
// of an evaluation, or a MergeEvaluationsRequest (framing.h), on an engine with one thread.
//
// Whatever comes: no crash, no memory beyond -malloc_limit_mb, and a status that blames the caller.
// INTERNAL and UNKNOWN would be lossd's own mistake. A failed step ends a stream, as it does for
// the server.
#include <cstdio>
#include <cstdlib>
#include <future>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "google/protobuf/stubs/logging.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/loss_engine.h"
#include "tests/fuzz/framing.h"

namespace lossd::fuzz {
namespace {

LossEngine& Engine() {
  static LossEngine* const engine = [] {
    EngineOptions options;
    options.threads = 1;
    return LossEngine::Create(std::move(options))->release();
  }();
  return *engine;
}

void CheckStatus(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kResourceExhausted:
    case absl::StatusCode::kUnimplemented:
      return;
    default:
      std::fprintf(stderr, "answered %s\n", status.ToString().c_str());
      std::abort();
  }
}

void Compute(std::string_view bytes) {
  v1::ComputeLossRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  v1::ComputeLossResponse response;
  std::promise<absl::Status> done;
  Engine().ComputeLoss(request, &response, nullptr, [&done](absl::Status s) { done.set_value(s); });
  const absl::Status status = done.get_future().get();
  CheckStatus(status);
  if (status.ok() && response.results_size() != request.losses_size()) std::abort();
}

void Evaluate(std::string_view bytes) {
  const std::unique_ptr<EvaluationSession> session = Engine().Evaluate();
  for (std::string_view framed; TakeFramed(&bytes, &framed);) {
    v1::EvaluateRequest step;
    if (!step.ParseFromArray(framed.data(), static_cast<int>(framed.size()))) return;
    std::promise<absl::Status> done;
    session->Step(step, nullptr, [&done](absl::Status s) { done.set_value(s); });
    const absl::Status status = done.get_future().get();
    CheckStatus(status);
    if (session->progress_due() || !status.ok()) {
      v1::EvaluateResponse response;
      CheckStatus(session->MakeProgress(&response));
    }
    if (!status.ok()) return;
  }
  if (!session->finished()) return;
  v1::EvaluateResponse response;
  CheckStatus(session->MakeResult(&response));
}

void Merge(std::string_view bytes) {
  v1::MergeEvaluationsRequest request;
  if (!request.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) return;
  v1::MergeEvaluationsResponse response;
  CheckStatus(Engine().MergeEvaluations(request, &response));
}

}  // namespace
}  // namespace lossd::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);  // it tells of every malformed string
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using lossd::fuzz::Kind;
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (lossd::fuzz::KindOf(data[0])) {
    case Kind::kCompute:
      lossd::fuzz::Compute(bytes);
      break;
    case Kind::kEvaluate:
      lossd::fuzz::Evaluate(bytes);
      break;
    default:
      lossd::fuzz::Merge(bytes);
  }
  return 0;
}
