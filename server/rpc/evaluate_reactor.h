// The reactor of Evaluate: one stream around one EvaluationSession.
//
// Reads go on while one batch computes (one batch ahead, if memory allows) and never wait for a
// write. At most one Progress is being written; a newer one replaces the one that waits. Before the
// stream fails, or ends because lossd drains, a checkpoint of the batches that counted is sent.
//
// Thread-safety: gRPC's reactions, the engine's callback and the drain come from any thread; each
// only notes what happened and calls Drive, which one thread at a time runs. Ownership: the reactor
// holds itself until OnDone, and whoever calls back holds it meanwhile.
#ifndef LOSSD_SERVER_RPC_EVALUATE_REACTOR_H_
#define LOSSD_SERVER_RPC_EVALUATE_REACTOR_H_

#include <grpcpp/alarm.h>
#include <grpcpp/server_context.h>
#include <grpcpp/support/server_callback.h>

#include <memory>
#include <mutex>
#include <optional>

#include "lib/base/cancellation.h"
#include "lib/wire/evaluation_session.h"
#include "lib/wire/payloads.h"
#include "server/rpc/call_record.h"
#include "server/rpc/service_parts.h"

namespace lossd {

class EvaluateReactor final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                              public DrainListener,
                              public std::enable_shared_from_this<EvaluateReactor> {
 public:
  // The reactor of a new stream, for gRPC.
  static EvaluateReactor* Start(const grpc::CallbackServerContext* context,
                                const ServiceParts& parts);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;
  void OnDrain() override;

 private:
  EvaluateReactor(const grpc::CallbackServerContext* context, const ServiceParts& parts);

  using Lock = std::unique_lock<std::mutex>;

  // A step of the stream: its bytes, and what was parsed of them.
  struct Step {
    grpc::ByteBuffer bytes;
    v1::EvaluateRequest message;
    Payloads payloads;  // in `bytes`
    Admission::Lease lease;

    void Swap(Step* other);
    // Memory goes before the lease that stands for it.
    void Clear();
  };

  // Does whatever can be done, until nothing can.
  void Drive();
  // One action, if there is one. These are called by the driving thread, hold the lock on entry and
  // exit, and release it around calls into gRPC and the session.
  bool ActOnce(Lock& lock);
  bool TakeStepResult(Lock& lock);
  bool DecideEnding(Lock& lock);
  bool EndWithoutFinish(Lock& lock);
  bool StartStep(Lock& lock);
  bool StartReading(Lock& lock);
  bool StartWriting(Lock& lock);
  bool SendStatus(Lock& lock);

  // Admits the bytes of `incoming_`, parses them, and admits what they stand for. *parsed is false
  // where they are no step.
  absl::Status TakeIncoming(bool* parsed);
  // After a step that counted.
  absl::Status AfterStep();
  absl::Status QueueProgress();
  absl::Status QueueResult();
  // Ends the stream with `status`, after a checkpoint of what was counted.
  void EndWith(Lock& lock, absl::Status status);
  // Nothing runs any more: gives back what the evaluation held.
  void ReleaseWork();
  void OnStepDone(absl::Status status);
  void OnCutAlarm();

  const ServiceParts& parts_;
  CallRecord record_;
  CancellationToken token_;
  std::shared_ptr<EvaluateReactor> self_;  // until OnDone

  // Used by the driving thread alone, and by the engine while a step runs.
  std::unique_ptr<EvaluationSession> session_;
  Step current_;  // the one that runs
  Admission::Lease stream_lease_;
  Admission::Lease constants_lease_;
  grpc::ByteBuffer writing_bytes_;
  bool resume_counted_ = false;
  bool cut_alarm_set_ = false;
  grpc::Alarm cut_alarm_;

  std::mutex mutex_;  // guards what follows
  bool driving_ = false;
  // What is read, while reading_; then the next step, while arrived_.
  Step incoming_;
  bool reading_ = false;
  bool arrived_ = false;
  bool input_ended_ = false;
  bool finish_read_ = false;
  absl::Status incoming_status_;  // not OK: the step that arrived was not admitted
  bool stepping_ = false;
  std::optional<absl::Status> step_result_;
  bool writing_ = false;
  std::unique_ptr<v1::EvaluateResponse> pending_;
  bool pending_is_result_ = false;
  bool cut_alarm_rang_ = false;
  bool cancelled_ = false;
  bool draining_ = false;
  bool closed_ = false;                 // the status was given to gRPC
  std::optional<absl::Status> ending_;  // the stream ends with this, once what is under way is done
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_EVALUATE_REACTOR_H_
