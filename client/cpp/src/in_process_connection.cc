// A Connection to the engine in this process. Nothing is retried: there is no server to lose.
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "absl/time/clock.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/loss_engine.h"
#include "lib/wire/payloads.h"
#include "lossd/connection.h"

namespace lossd {
namespace {

// Runs `start(token, done)` to its end; past the deadline it is told to stop and answers
// DEADLINE_EXCEEDED.
template <class Start>
absl::Status RunUntil(absl::Time deadline, CancellationToken* token, Start start) {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<absl::Status> result;
  start(token, [&](absl::Status status) {
    // Within the lock: the waiting thread takes all of this away as soon as it sees the result.
    const std::lock_guard lock(mutex);
    result = std::move(status);
    changed.notify_one();
  });
  const auto finished = [&] { return result.has_value(); };
  std::unique_lock lock(mutex);
  if (deadline == absl::InfiniteFuture()) {
    changed.wait(lock, finished);
    return *result;
  }
  if (changed.wait_until(lock, absl::ToChronoTime(deadline), finished)) return *result;
  token->Cancel();
  changed.wait(lock, finished);
  if (!absl::IsCancelled(*result)) return *result;
  return absl::DeadlineExceededError("the deadline expired");
}

// What a message says of a tensor whose elements stay where they are.
void Describe(const TensorView& tensor, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  for (const int64_t size : tensor.shape().sizes()) message->add_shape(size);
}

// The engine reads the caller's memory; only tensors in pieces, and without elements, are copied
// into the message.
void Place(const TensorView& tensor, const std::string& name, v1::Tensor* message,
           Payloads* payloads) {
  if (!tensor.contiguous() || tensor.byte_size() == 0) return ToProto(tensor, message);
  Describe(tensor, message);
  payloads->emplace(name, PiecewiseBytes({{tensor.Run(0, 0, nullptr), tensor.byte_size()}}));
}

void PlaceAll(const Inputs& inputs, google::protobuf::Map<std::string, v1::Tensor>* message,
              Payloads* payloads) {
  for (const auto& [name, tensor] : inputs) Place(tensor, name, &(*message)[name], payloads);
}

class InProcessStream : public EvaluateStream {
 public:
  InProcessStream(LossEngine* engine, absl::Time deadline)
      : session_(engine->Evaluate()), deadline_(deadline) {}

  bool Write(const v1::EvaluateRequest& step, const Inputs& tensors) override {
    v1::EvaluateRequest whole = step;
    Payloads payloads;
    if (whole.has_constant() && !tensors.empty()) {
      Place(tensors.begin()->second, "", whole.mutable_constant()->mutable_piece(), &payloads);
    } else if (whole.has_batch()) {
      PlaceAll(tensors, whole.mutable_batch()->mutable_inputs(), &payloads);
    }
    if (token_.cancelled()) return End(absl::CancelledError("the evaluation was cancelled"));
    if (absl::Now() >= deadline_) return End(absl::DeadlineExceededError("the deadline expired"));
    absl::Status status = RunUntil(deadline_, &token_, [&](CancellationToken* token, auto done) {
      session_->Step(whole, payloads, token, std::move(done));
    });
    if (!status.ok()) {
      // The checkpoint of what came before; where even that cannot be made, the first error says
      // why.
      if (session_->has_unreported_batches()) (void)Report();
      return End(std::move(status));
    }
    if (session_->finished()) {
      v1::EvaluateResponse result;
      status = session_->MakeResult(&result);
      if (status.ok()) Answer(std::move(result));
      return End(std::move(status));
    }
    if (!session_->progress_due()) return true;
    status = Report();
    return status.ok() || End(std::move(status));
  }

  // A stream that ends without `finish` was cut.
  void WritesDone() override { End(absl::CancelledError("the evaluation ended without finish")); }

  bool Read(v1::EvaluateResponse* response) override {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !answers_.empty(); });
    if (answers_.empty()) return false;
    *response = std::move(answers_.front());
    answers_.pop_front();
    return true;
  }

  void Cancel() override { token_.Cancel(); }

  absl::Status Finish() override {
    const std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  absl::Status Report() {
    v1::EvaluateResponse response;
    absl::Status status = session_->MakeProgress(&response);
    if (status.ok()) Answer(std::move(response));
    return status;
  }

  void Answer(v1::EvaluateResponse response) {
    const std::lock_guard lock(mutex_);
    // A newer checkpoint replaces one that was not read yet: a slow reader costs no memory.
    if (response.has_progress() && !answers_.empty()) answers_.pop_back();
    answers_.push_back(std::move(response));
    changed_.notify_one();
  }

  // Always false: no further step is taken. The first end counts.
  bool End(absl::Status status) {
    const std::lock_guard lock(mutex_);
    if (!ended_) status_ = std::move(status);
    ended_ = true;
    changed_.notify_one();
    return false;
  }

  std::unique_ptr<EvaluationSession> session_;  // written to by one thread
  const absl::Time deadline_;
  CancellationToken token_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<v1::EvaluateResponse> answers_;
  bool ended_ = false;
  absl::Status status_;
};

class InProcessConnection : public Connection {
 public:
  InProcessConnection(std::unique_ptr<LossEngine> engine, const InProcessOptions& options)
      : engine_(std::move(engine)) {
    options_.endpoint = "in process";
    options_.deadline = options.deadline;
    options_.retry.max_attempts = 1;
  }

  const ClientOptions& options() const override { return options_; }

  absl::StatusOr<v1::ComputeLossResponse> ComputeLoss(const v1::ComputeLossRequest& request,
                                                      const Inputs& inputs) override {
    v1::ComputeLossRequest whole = request;
    Payloads payloads;
    PlaceAll(inputs, whole.mutable_inputs(), &payloads);
    v1::ComputeLossResponse response;
    CancellationToken token;
    absl::Status status = RunUntil(
        absl::Now() + options_.deadline, &token, [&](CancellationToken* cancelled, auto done) {
          engine_->ComputeLoss(whole, payloads, &response, cancelled, std::move(done));
        });
    if (!status.ok()) return status;
    return response;
  }
  absl::StatusOr<v1::MergeEvaluationsResponse> MergeEvaluations(
      const v1::MergeEvaluationsRequest& request) override {
    return Answer<v1::MergeEvaluationsResponse>(&LossEngine::MergeEvaluations, request);
  }
  absl::StatusOr<v1::ListLossesResponse> ListLosses(const v1::ListLossesRequest& request) override {
    return Answer<v1::ListLossesResponse>(&LossEngine::ListLosses, request);
  }
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo(
      const v1::GetServerInfoRequest& request) override {
    return Answer<v1::GetServerInfoResponse>(&LossEngine::GetServerInfo, request);
  }
  absl::StatusOr<HealthStatus> CheckHealth(const std::string& service) override {
    const bool known = service.empty() || service == "lossd.v1.LossService";
    return known ? HealthStatus::kServing : HealthStatus::kServiceUnknown;
  }
  std::unique_ptr<EvaluateStream> Evaluate(absl::Time deadline) override {
    return std::make_unique<InProcessStream>(engine_.get(), deadline);
  }

 private:
  template <class Response, class Request>
  absl::StatusOr<Response> Answer(absl::Status (LossEngine::*method)(const Request&, Response*)
                                      const,
                                  const Request& request) {
    Response response;
    absl::Status status = (engine_.get()->*method)(request, &response);
    if (!status.ok()) return status;
    return response;
  }

  ClientOptions options_;
  std::unique_ptr<LossEngine> engine_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<Connection>> MakeInProcessConnection(InProcessOptions options) {
  EngineOptions engine_options;
  engine_options.threads = options.threads;
  absl::StatusOr<std::unique_ptr<LossEngine>> engine =
      LossEngine::Create(std::move(engine_options));
  if (!engine.ok()) return engine.status();
  return std::make_shared<InProcessConnection>(*std::move(engine), options);
}

}  // namespace lossd
