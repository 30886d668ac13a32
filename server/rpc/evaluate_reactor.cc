#include "server/rpc/evaluate_reactor.h"

#include <chrono>
#include <utility>

#include "lib/base/status.h"
#include "server/rpc/decode.h"
#include "server/rpc/evaluation_readings.h"

namespace lossd {
namespace {

// A client that died and a deadline that passed look like the end of the input first, and like a
// cancellation soon after. So the end of an input without a finish waits for this long.
constexpr std::chrono::milliseconds kCancellationDelay{50};

}  // namespace

EvaluateReactor* EvaluateReactor::Start(const grpc::CallbackServerContext* context,
                                        const ServiceParts& parts) {
  std::shared_ptr<EvaluateReactor> reactor(new EvaluateReactor(context, parts));
  reactor->self_ = reactor;
  absl::StatusOr<Admission::Lease> admitted = parts.admission->AdmitStream();
  if (admitted.ok()) {
    reactor->stream_lease_ = *std::move(admitted);
    reactor->draining_ = !parts.admission->AddListener(reactor);
  } else {
    reactor->ending_ = admitted.status();
  }
  reactor->Drive();
  return reactor.get();  // still alive: OnDone comes after gRPC has it
}

EvaluateReactor::EvaluateReactor(const grpc::CallbackServerContext* context,
                                 const ServiceParts& parts)
    : parts_(parts),
      record_(Method::kEvaluate, context, parts),
      session_(parts.engine->Evaluate()) {}

void EvaluateReactor::Step::Swap(Step* other) {
  bytes.Swap(&other->bytes);
  message.Swap(&other->message);
  payloads.swap(other->payloads);
  std::swap(lease, other->lease);
}

void EvaluateReactor::Step::Clear() {
  payloads.clear();
  message.Clear();
  bytes.Clear();
  lease.Release();
}

absl::Status EvaluateReactor::TakeIncoming(bool* parsed) {
  const int64_t received = ReceivedBytes(incoming_.bytes);
  parts_.metrics->Received(received);
  absl::StatusOr<Admission::Lease> admitted = parts_.admission->AdmitBytes(received);
  if (!admitted.ok()) return admitted.status();
  incoming_.lease = *std::move(admitted);
  *parsed = ParseInPlace(PiecesOf(incoming_.bytes), &incoming_.message, &incoming_.payloads);
  if (!*parsed) return absl::OkStatus();
  return parts_.admission->Grow(HeldBytes(received, incoming_.message), &incoming_.lease);
}

void EvaluateReactor::OnReadDone(bool ok) {
  absl::Status taken;
  if (ok) taken = TakeIncoming(&ok);
  {
    Lock lock(mutex_);
    reading_ = false;
    arrived_ = ok;
    // Bytes that are no step end the input: for gRPC too they are no message.
    input_ended_ = !ok;
    if (ok) finish_read_ = incoming_.message.has_finish();
    incoming_status_ = std::move(taken);
  }
  Drive();
}

void EvaluateReactor::OnWriteDone(bool ok) {
  {
    Lock lock(mutex_);
    writing_ = false;
    // Nobody receives any more: the client is gone, although its cancellation may not have come
    // yet.
    if (!ok) cancelled_ = true;
  }
  Drive();
}

void EvaluateReactor::OnCancel() {
  token_.Cancel();
  {
    Lock lock(mutex_);
    cancelled_ = true;
  }
  Drive();
}

void EvaluateReactor::OnDrain() {
  {
    Lock lock(mutex_);
    draining_ = true;
  }
  Drive();
}

void EvaluateReactor::OnDone() {
  parts_.admission->RemoveListener(this);
  incoming_.Clear();
  stream_lease_.Release();
  self_.reset();
}

void EvaluateReactor::ReleaseWork() {
  session_.reset();
  constants_lease_.Release();
  current_.Clear();
  stream_lease_.ReleaseSlot();
}

void EvaluateReactor::OnStepDone(absl::Status status) {
  {
    Lock lock(mutex_);
    stepping_ = false;
    step_result_ = std::move(status);
  }
  Drive();
}

void EvaluateReactor::Drive() {
  const std::shared_ptr<EvaluateReactor> alive = shared_from_this();
  Lock lock(mutex_);
  if (driving_) return;  // the driving thread sees what was noted before it stops
  driving_ = true;
  while (ActOnce(lock)) {
  }
  driving_ = false;
}

bool EvaluateReactor::ActOnce(Lock& lock) {
  if (closed_) return false;
  return TakeStepResult(lock) || DecideEnding(lock) || StartStep(lock) || StartReading(lock) ||
         StartWriting(lock) || SendStatus(lock);
}

bool EvaluateReactor::TakeStepResult(Lock& lock) {
  if (!step_result_.has_value()) return false;
  absl::Status status = *std::exchange(step_result_, std::nullopt);
  const bool wanted = !cancelled_;
  lock.unlock();
  if (status.ok() && wanted) status = AfterStep();
  current_.Clear();
  lock.lock();
  if (!status.ok()) EndWith(lock, std::move(status));
  return true;
}

absl::Status EvaluateReactor::AfterStep() {
  if (current_.message.has_spec()) {
    record_.set_run(session_->labels().run());
    // Taken whole at once, so that a stream does not fail in the middle of a gigabyte.
    absl::StatusOr<Admission::Lease> constants =
        parts_.admission->AdmitBytes(AnnouncedConstantBytes(current_.message.spec()));
    if (!constants.ok()) return constants.status();
    constants_lease_ = *std::move(constants);
  }
  if (session_->resumed() && !std::exchange(resume_counted_, true)) parts_.metrics->StreamResumed();
  if (session_->finished()) return QueueResult();
  return session_->progress_due() ? QueueProgress() : absl::OkStatus();
}

absl::Status EvaluateReactor::QueueProgress() {
  auto response = std::make_unique<v1::EvaluateResponse>();
  const absl::Status made = session_->MakeProgress(response.get());
  if (!made.ok()) return made;
  Lock lock(mutex_);
  pending_ = std::move(response);
  return absl::OkStatus();
}

absl::Status EvaluateReactor::QueueResult() {
  auto response = std::make_unique<v1::EvaluateResponse>();
  const absl::Status made = session_->MakeResult(response.get());
  if (!made.ok()) return made;
  WriteGauges(session_->labels(), response->result(), &parts_.metrics->evaluations());
  Lock lock(mutex_);
  pending_ = std::move(response);
  pending_is_result_ = true;
  if (!ending_.has_value()) ending_ = absl::OkStatus();
  return absl::OkStatus();
}

void EvaluateReactor::EndWith(Lock& lock, absl::Status status) {
  if (!cancelled_ && session_->has_unreported_batches()) {
    lock.unlock();
    // Where the state is over its limit the status has to do without a checkpoint.
    QueueProgress().IgnoreError();
    lock.lock();
  }
  if (!ending_.has_value()) ending_ = std::move(status);
}

bool EvaluateReactor::DecideEnding(Lock& lock) {
  if (cancelled_) {
    pending_.reset();
    // Also where the stream had failed: whoever cancels, or goes away, causes the failures that
    // follow.
    if (ending_.has_value() && absl::IsCancelled(*ending_)) return false;
    ending_ = absl::CancelledError("the call was cancelled, or the client went away");
    return true;
  }
  if (ending_.has_value() || stepping_) return false;
  if (draining_) {
    // Of what waits, only a finish is still taken.
    if (arrived_ && incoming_.message.has_finish()) return false;
    EndWith(lock,
            Unavailable(kDrainingReason, "lossd is shutting down; resume from the last checkpoint",
                        absl::Seconds(1)));
    return true;
  }
  return input_ended_ && EndWithoutFinish(lock);
}

bool EvaluateReactor::EndWithoutFinish(Lock& lock) {
  if (!cut_alarm_set_) {
    cut_alarm_set_ = true;
    lock.unlock();
    cut_alarm_.Set(std::chrono::system_clock::now() + kCancellationDelay,
                   // The alarm keeps this function as long as it lives, and it lives in the
                   // reactor: holding the reactor here would keep both forever.
                   [reactor = weak_from_this()](bool) {
                     if (const auto self = reactor.lock()) self->OnCutAlarm();
                   });
    lock.lock();
    return true;
  }
  if (!cut_alarm_rang_) return false;
  EndWith(lock, InvalidArgument(
                    "MISSING_FINISH", "finish",
                    "the stream ended without a finish step: it was cut and gives no result"));
  return true;
}

void EvaluateReactor::OnCutAlarm() {
  {
    Lock lock(mutex_);
    cut_alarm_rang_ = true;
  }
  Drive();
}

bool EvaluateReactor::StartStep(Lock& lock) {
  if (!arrived_ || stepping_ || ending_.has_value()) return false;
  arrived_ = false;
  if (!incoming_status_.ok()) {
    EndWith(lock, std::exchange(incoming_status_, absl::OkStatus()));
    return true;
  }
  current_.Swap(&incoming_);
  stepping_ = true;
  lock.unlock();
  session_->Step(
      current_.message, current_.payloads, &token_,
      [self = shared_from_this()](absl::Status status) { self->OnStepDone(std::move(status)); });
  lock.lock();
  return true;
}

bool EvaluateReactor::StartReading(Lock& lock) {
  if (reading_ || arrived_ || input_ended_ || finish_read_ || draining_ || ending_.has_value())
    return false;
  // A batch is read ahead only where there is room for it; else the stream waits for its own batch
  // first.
  if (stepping_ && !parts_.admission->HasRoom(parts_.max_message_bytes)) return false;
  reading_ = true;
  lock.unlock();
  StartRead(&incoming_.bytes);
  lock.lock();
  return true;
}

bool EvaluateReactor::StartWriting(Lock& lock) {
  if (pending_ == nullptr || writing_ || pending_is_result_)
    return false;  // a result goes with the status
  writing_ = true;
  const std::unique_ptr<v1::EvaluateResponse> message = std::move(pending_);
  lock.unlock();
  writing_bytes_ = Serialize(*message);
  StartWrite(&writing_bytes_);
  lock.lock();
  return true;
}

bool EvaluateReactor::SendStatus(Lock& lock) {
  if (!ending_.has_value() || stepping_ || writing_) return false;
  closed_ = true;
  const grpc::Status grpc_status = record_.End(*ending_);
  const std::unique_ptr<v1::EvaluateResponse> message = std::move(pending_);
  const bool with_result = pending_is_result_ && message != nullptr;
  lock.unlock();
  // Before the status leaves, so that a client that sees it finds the place free.
  ReleaseWork();
  if (with_result) {
    writing_bytes_ = Serialize(*message);
    StartWriteAndFinish(&writing_bytes_, grpc::WriteOptions(), grpc_status);
  } else {
    Finish(grpc_status);
  }
  lock.lock();
  return false;
}

}  // namespace lossd
