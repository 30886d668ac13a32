// One evaluation stream: spec, constants, batches, finish; checkpoints and the result in between
// and after.
//
// Thread-safety: one call at a time; a Step has ended when its `done` was called. Memory: the
// constants, the state, and one batch for the time of its step.
#ifndef LOSSD_LIB_WIRE_EVALUATION_SESSION_H_
#define LOSSD_LIB_WIRE_EVALUATION_SESSION_H_

#include <functional>
#include <memory>
#include <utility>

#include "absl/status/status.h"
#include "lib/base/cancellation.h"
#include "lib/wire/payloads.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

class LossEngine;

class EvaluationSession {
 public:
  using Done = std::function<void(absl::Status)>;

  explicit EvaluationSession(LossEngine* engine);
  ~EvaluationSession();

  // Takes the next step of the stream. A batch counts wholly or, when `done` gets an error, not at
  // all. After an error the session takes no more steps, but still gives the checkpoint of what
  // came before.
  // `payloads`: of the batch's inputs, or the constant's piece, that stayed where they arrived.
  void Step(const v1::EvaluateRequest& step, const Payloads& payloads,
            const CancellationToken* token, Done done);
  void Step(const v1::EvaluateRequest& step, const CancellationToken* token, Done done) {
    Step(step, NoPayloads(), token, std::move(done));
  }

  // The cadence asks for a checkpoint since the last MakeProgress.
  bool progress_due() const;
  // Batches were counted that no checkpoint has covered yet.
  bool has_unreported_batches() const;
  // A checkpoint of all batches counted so far. RESOURCE_EXHAUSTED when the state is over its
  // limit.
  absl::Status MakeProgress(v1::EvaluateResponse* response);

  // The finish step was taken.
  bool finished() const;
  // The result; only when finished.
  absl::Status MakeResult(v1::EvaluateResponse* response) const;

  // The labels of the spec; empty before it came.
  const v1::EvaluationLabels& labels() const;
  // The spec resumed from a checkpoint.
  bool resumed() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_EVALUATION_SESSION_H_
