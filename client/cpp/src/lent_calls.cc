#include "lent_calls.h"

#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "google/protobuf/message_lite.h"
#include "grpc_status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/completion_queue.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "lent_message.h"

namespace lossd {
namespace {

using grpc::ByteBuffer;

constexpr char kComputeLoss[] = "/lossd.v1.LossService/ComputeLoss";
constexpr char kEvaluate[] = "/lossd.v1.LossService/Evaluate";

absl::Status Parse(ByteBuffer* bytes, google::protobuf::MessageLite* message) {
  grpc::ProtoBufferReader reader(bytes);
  if (reader.status().ok() && message->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  return absl::InternalError("the server's answer is malformed");
}

// Calls from the threads of the stream's user, answers from gRPC's: each operation is started and
// waited for.
class LentStream : public EvaluateStream, private grpc::ClientBidiReactor<ByteBuffer, ByteBuffer> {
 public:
  LentStream(const std::shared_ptr<grpc::Channel>& channel, absl::Time deadline) : stub_(channel) {
    SetDeadline(&context_, deadline);
    stub_.PrepareBidiStreamingCall(&context_, kEvaluate, grpc::StubOptions(), this);
    AddHold();  // operations come from outside of reactions, until End
    StartCall();
  }
  ~LentStream() override {
    context_.TryCancel();
    End();
  }

  bool Write(const v1::EvaluateRequest& step, const Inputs& tensors) override {
    absl::StatusOr<ByteBuffer> message = LendMessage(step, tensors, &loan_);
    if (!message.ok()) {
      failure_ = message.status();
      context_.TryCancel();
      return false;
    }
    StartWrite(&*message);
    const bool accepted = Await(&written_);
    message->Clear();
    return accepted && loan_.WaitReturned();
  }
  void WritesDone() override {
    StartWritesDone();
    Await(&written_);
  }
  bool Read(v1::EvaluateResponse* response) override {
    ByteBuffer answer;
    StartRead(&answer);
    if (!Await(&read_)) return false;
    const absl::Status parsed = Parse(&answer, response);
    if (parsed.ok()) return true;
    context_.TryCancel();
    return false;
  }
  void Cancel() override { context_.TryCancel(); }
  absl::Status Finish() override {
    const absl::Status ended = FromGrpc(End());
    return failure_.ok() ? ended : failure_;
  }

 private:
  void OnWriteDone(bool ok) override { Report(ok, &written_); }
  void OnWritesDoneDone(bool ok) override { Report(ok, &written_); }
  void OnReadDone(bool ok) override {
    if (!ok) loan_.Interrupt();
    Report(ok, &read_);
  }
  void OnDone(const grpc::Status& status) override { Report(status, &ended_); }

  template <class T>
  void Report(const T& outcome, std::optional<T>* place) {
    // Within the lock: a waiting thread may take all of this away as soon as it sees the outcome.
    const std::lock_guard lock(mutex_);
    *place = outcome;
    changed_.notify_all();
  }
  bool Await(std::optional<bool>* outcome) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return outcome->has_value(); });
    const bool ok = **outcome;
    outcome->reset();
    return ok;
  }
  grpc::Status End() {
    if (!std::exchange(released_, true)) RemoveHold();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return ended_.has_value(); });
    return *ended_;
  }

  Loan loan_;  // outlives the call
  grpc::GenericStub stub_;
  grpc::ClientContext context_;
  absl::Status failure_;   // of the client, for Finish
  bool released_ = false;  // the hold was removed

  std::mutex mutex_;
  std::condition_variable changed_;
  // By mutex; outcomes that nobody has taken yet.
  std::optional<bool> written_;
  std::optional<bool> read_;
  std::optional<grpc::Status> ended_;
};

}  // namespace

absl::Status ComputeLoss(const std::shared_ptr<grpc::Channel>& channel, absl::Time deadline,
                         const v1::ComputeLossRequest& request, const Inputs& inputs,
                         v1::ComputeLossResponse* response) {
  Loan loan;  // outlives message and call, which hold its slices
  absl::StatusOr<ByteBuffer> message = LendMessage(request, inputs, &loan);
  if (!message.ok()) return message.status();
  grpc::GenericStub stub(channel);
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  SetDeadline(&context, deadline);
  const auto call = stub.PrepareUnaryCall(&context, kComputeLoss, *message, &queue);
  ByteBuffer answer;
  grpc::Status status;
  call->StartCall();
  call->Finish(&answer, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  queue.Shutdown();
  while (queue.Next(&tag, &ok)) {
  }
  if (!status.ok()) return FromGrpc(status);
  return Parse(&answer, response);
}

std::unique_ptr<EvaluateStream> StartEvaluate(const std::shared_ptr<grpc::Channel>& channel,
                                              absl::Time deadline) {
  return std::make_unique<LentStream>(channel, deadline);
}

}  // namespace lossd
