// An evaluation of any size that survives the loss of its server.
//
// It streams batches, keeps the last checkpoint that the server sent, and when the server goes away
// (UNAVAILABLE) connects again, waits as the retry policy says, sends the constants again and goes
// on from the checkpoint, with the `sequence` of every batch set. No batch is counted twice and
// none is left out, so the result has the bits of an unbroken run, on whichever server it ends.
// Attempts are counted from the last checkpoint: an evaluation that gets on never runs out of them.
//
// Thread-safety: one thread calls Run; Cancel may come from another. Ownership: shares the
// connection; the memory of constants, and the source, belong to the caller and live until Run has
// returned. Memory: the checkpoint. Batches and constants are sent from where they lie.
#ifndef LOSSD_EVALUATION_H_
#define LOSSD_EVALUATION_H_

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/batch_source.h"
#include "lossd/connection.h"
#include "lossd/tensors.h"
#include "lossd/v1/evaluation.pb.h"

namespace lossd {

struct EvaluationOptions {
  // Of the whole evaluation.
  absl::Duration deadline = absl::InfiniteDuration();
  // Called for every checkpoint, on a thread of the evaluation, one at a time. It may keep the
  // checkpoint, to go on in another process: spec.resume_from and spec.next_sequence.
  std::function<void(const v1::Progress&)> on_progress;
  // Called on the thread of Run when the server went away, before the wait.
  std::function<void(const absl::Status&)> on_retry;
};

class Evaluation {
 public:
  Evaluation(std::shared_ptr<Connection> connection, v1::EvaluationSpec spec,
             EvaluationOptions options = {});
  Evaluation(Evaluation&&) noexcept;
  ~Evaluation();

  // An input that is sent once and kept for the stream. Its SHA-256, which is taken here, belongs
  // to the fingerprint of the state; the order of the constants does not.
  void AddConstant(const std::string& name, const TensorView& tensor);

  // Evaluates all batches of the source. The result is the v1 message: value, sums and counts of
  // each loss, `total`, and the state, which merges with others. Errors of the service carry their
  // detail (DetailOf).
  absl::StatusOr<v1::EvaluationResult> Run(BatchSource& source);

  // Ends Run with CANCELLED.
  void Cancel();

  // Where the evaluation stood last; also after Run failed.
  v1::EvaluationState checkpoint() const;
  int64_t next_sequence() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lossd

#endif  // LOSSD_EVALUATION_H_
