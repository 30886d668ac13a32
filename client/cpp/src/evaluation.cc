#include "lossd/evaluation.h"

#include <algorithm>
#include <cstddef>
#include <optional>
#include <thread>

#include "absl/time/clock.h"
#include "lib/base/status.h"
#include "openssl/evp.h"
#include "retry.h"

namespace lossd {
namespace {

// Small enough for any server's message limit, large enough that a message's cost does not show.
constexpr int64_t kPieceBytes = int64_t{1} << 20;

int64_t PieceElements(const TensorView& tensor) {
  return std::max<int64_t>(1, kPieceBytes / static_cast<int64_t>(ByteSize(tensor.dtype())));
}

std::string Sha256(const TensorView& tensor) {
  std::vector<std::byte> scratch(tensor.contiguous() ? 0 : kPieceBytes);
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  EVP_DigestInit_ex(context, EVP_sha256(), nullptr);
  const int64_t step = PieceElements(tensor);
  for (int64_t first = 0; first < tensor.elements(); first += step) {
    const int64_t count = std::min(step, tensor.elements() - first);
    EVP_DigestUpdate(context, tensor.Run(first, count, scratch.data()),
                     static_cast<size_t>(count) * ByteSize(tensor.dtype()));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(context, digest, &size);
  EVP_MD_CTX_free(context);
  return std::string(reinterpret_cast<const char*>(digest), size);
}

}  // namespace

// The checkpoint lives in the spec, where the next attempt sends it from.
struct Evaluation::State {
  // What one attempt came to.
  struct Outcome {
    absl::Status status;
    std::optional<v1::EvaluationResult> result;
    bool source_failed = false;  // then `status` is the source's
  };

  Outcome Attempt(BatchSource& source, absl::Time deadline);
  void ReadAnswers(EvaluateStream& stream, std::optional<v1::EvaluationResult>* result);
  // The status of the source; a stream that broke off shows in its Finish.
  absl::Status Send(EvaluateStream& stream, BatchSource& source);
  bool SendConstants(EvaluateStream& stream);
  int64_t NextSequence();
  bool Cancelled();

  std::shared_ptr<Connection> connection;
  EvaluationOptions options;
  std::vector<TensorView> constants;  // in the order of spec.constants
  std::vector<std::byte> scratch;     // a piece of one that is not contiguous; outlives the stream

  std::mutex mutex;
  v1::EvaluationSpec spec;           // by mutex
  EvaluateStream* stream = nullptr;  // by mutex; the attempt under way
  bool cancelled = false;            // by mutex
};

int64_t Evaluation::State::NextSequence() {
  const std::lock_guard lock(mutex);
  return spec.next_sequence();
}

bool Evaluation::State::Cancelled() {
  const std::lock_guard lock(mutex);
  return cancelled;
}

void Evaluation::State::ReadAnswers(EvaluateStream& from,
                                    std::optional<v1::EvaluationResult>* result) {
  v1::EvaluateResponse response;
  while (from.Read(&response)) {
    if (response.has_result()) {
      *result = std::move(*response.mutable_result());
    } else if (response.has_progress()) {
      const v1::Progress& progress = response.progress();
      if (progress.has_checkpoint()) {
        const std::lock_guard lock(mutex);
        *spec.mutable_resume_from() = progress.checkpoint();
        spec.set_next_sequence(progress.next_sequence());
      }
      if (options.on_progress) options.on_progress(progress);
    }
    response.Clear();
  }
}

bool Evaluation::State::SendConstants(EvaluateStream& to) {
  for (size_t i = 0; i < constants.size(); ++i) {
    const TensorView& tensor = constants[i];
    if (!tensor.contiguous()) scratch.resize(kPieceBytes);
    const int64_t step = PieceElements(tensor);
    for (int64_t first = 0; first < tensor.elements(); first += step) {
      const std::string& name = spec.constants(static_cast<int>(i)).name();
      v1::EvaluateRequest request;
      request.mutable_constant()->set_name(name);
      request.mutable_constant()->set_offset(first);
      const int64_t count = std::min(step, tensor.elements() - first);
      const absl::StatusOr<TensorView> piece =
          TensorView::Create(tensor.dtype(), {count},
                             {tensor.Run(first, count, scratch.data()),
                              static_cast<size_t>(count) * ByteSize(tensor.dtype())});
      if (!to.Write(request, {{name, *piece}})) return false;
    }
  }
  return true;
}

absl::Status Evaluation::State::Send(EvaluateStream& to, BatchSource& source) {
  v1::EvaluateRequest request;
  {
    const std::lock_guard lock(mutex);
    *request.mutable_spec() = spec;
  }
  int64_t sequence = request.spec().next_sequence();
  if (!to.Write(request, {}) || !SendConstants(to)) return absl::OkStatus();
  for (;; ++sequence) {
    source.Release(NextSequence());
    absl::StatusOr<std::optional<Batch>> batch = source.Get(sequence);
    if (!batch.ok()) return batch.status();
    if (!batch->has_value()) break;
    request.Clear();
    v1::Batch* message = request.mutable_batch();
    message->set_sequence(sequence);
    message->set_first_sample((*batch)->first_sample);
    for (const int64_t id : (*batch)->sample_ids) message->add_sample_ids(id);
    if (!to.Write(request, (*batch)->inputs)) return absl::OkStatus();
  }
  request.Clear();
  request.mutable_finish();
  if (to.Write(request, {})) to.WritesDone();
  return absl::OkStatus();
}

Evaluation::State::Outcome Evaluation::State::Attempt(BatchSource& source, absl::Time deadline) {
  const std::unique_ptr<EvaluateStream> attempt = connection->Evaluate(deadline);
  {
    const std::lock_guard lock(mutex);
    stream = attempt.get();
    if (cancelled) stream->Cancel();
  }
  Outcome outcome;
  std::thread reader([&] { ReadAnswers(*attempt, &outcome.result); });
  outcome.status = Send(*attempt, source);
  outcome.source_failed = !outcome.status.ok();
  if (outcome.source_failed) attempt->Cancel();
  reader.join();
  {
    const std::lock_guard lock(mutex);
    stream = nullptr;
  }
  absl::Status ended = attempt->Finish();
  if (!outcome.source_failed) outcome.status = std::move(ended);
  return outcome;
}

Evaluation::Evaluation(std::shared_ptr<Connection> connection, v1::EvaluationSpec spec,
                       EvaluationOptions options)
    : state_(std::make_unique<State>()) {
  state_->connection = std::move(connection);
  state_->options = std::move(options);
  state_->spec = std::move(spec);
}

Evaluation::Evaluation(Evaluation&&) noexcept = default;
Evaluation::~Evaluation() = default;

void Evaluation::AddConstant(const std::string& name, const TensorView& tensor) {
  v1::ConstantSpec* constant = state_->spec.add_constants();
  constant->set_name(name);
  constant->set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  for (const int64_t size : tensor.shape().sizes()) constant->add_shape(size);
  constant->set_sha256(Sha256(tensor));
  state_->constants.push_back(tensor);
}

absl::StatusOr<v1::EvaluationResult> Evaluation::Run(BatchSource& source) {
  if (static_cast<size_t>(state_->spec.constants_size()) != state_->constants.size()) {
    return InvalidArgument("CONSTANT_WITHOUT_TENSOR", "constants",
                           "constants are given by AddConstant, which writes them into the spec");
  }
  const absl::Time deadline = absl::Now() + state_->options.deadline;
  Backoff backoff(state_->connection->options(), deadline);
  while (true) {
    const int64_t before = state_->NextSequence();
    State::Outcome outcome = state_->Attempt(source, deadline);
    if (outcome.source_failed) return outcome.status;
    // A result is whole: what happens to the stream after it does not matter.
    if (outcome.result.has_value()) return *std::move(outcome.result);
    if (outcome.status.ok())
      return absl::InternalError("the server ended the evaluation without a result");
    if (state_->NextSequence() > before) backoff.Reset();
    const absl::Duration wait = backoff.Next(outcome.status);
    if (wait == absl::ZeroDuration() || state_->Cancelled()) return outcome.status;
    if (state_->options.on_retry) state_->options.on_retry(outcome.status);
    backoff.Sleep(wait);
    if (state_->Cancelled()) return absl::CancelledError("the evaluation was cancelled");
  }
}

void Evaluation::Cancel() {
  const std::lock_guard lock(state_->mutex);
  state_->cancelled = true;
  if (state_->stream != nullptr) state_->stream->Cancel();
}

v1::EvaluationState Evaluation::checkpoint() const {
  const std::lock_guard lock(state_->mutex);
  return state_->spec.resume_from();
}

int64_t Evaluation::next_sequence() const { return state_->NextSequence(); }

}  // namespace lossd
