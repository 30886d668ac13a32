// The service without a transport: lossd.v1 messages in, lossd.v1 messages out. The server puts
// gRPC around it, the SDK's InProcess connection calls it directly, so both give the same bits and
// the same errors.
//
// Thread-safety: LossEngine is thread-safe. An EvaluationSession takes one step at a time. Heavy
// work runs on the engine's threads; small work runs on the calling thread, so `done` may be called
// before the call returns. Messages, payloads, tokens and callbacks' targets belong to the caller
// and live until `done` was called.
#ifndef LOSSD_LIB_WIRE_LOSS_ENGINE_H_
#define LOSSD_LIB_WIRE_LOSS_ENGINE_H_

#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/cancellation.h"
#include "lib/base/thread_pool.h"
#include "lib/wire/payloads.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

// What one loss did with one batch, for metrics.
struct LossObservation {
  int loss_index = 0;     // index in the catalogue (ListLosses' order)
  std::string_view loss;  // its name there
  int64_t items = 0;
  int64_t nan_items = 0;
  int64_t inf_items = 0;
  double seconds = 0;  // time that threads spent on it, added up
};

struct EngineLimits {
  int64_t max_state_bytes = int64_t{2} << 20;  // flag max-state-bytes
  // Flag max-message-bytes: the item values (NONE) of one response, which many losses over one
  // upload could multiply.
  int64_t max_response_bytes = std::numeric_limits<int64_t>::max();
  int64_t max_constant_bytes = int64_t{1}
                               << 30;  // flag max-constant-bytes: the constants of one stream
};

struct EngineOptions {
  int threads = 0;  // threads that compute; 0: one a core
  EngineLimits limits;
  std::vector<v1::Limit> reported_limits;                   // what GetServerInfo answers
  std::function<void(const LossObservation&)> on_computed;  // may be empty; called from any thread
};

class EvaluationSession;

class LossEngine {
 public:
  using Done = std::function<void(absl::Status)>;

  // FAILED_PRECONDITION where the processor lacks what the kernels need, or LOSSD_TARGET names no
  // target.
  static absl::StatusOr<std::unique_ptr<LossEngine>> Create(EngineOptions options);
  ~LossEngine();

  // LossService.ComputeLoss. A cancelled token ends it within a chunk with CANCELLED.
  // `payloads`: of inputs that stayed where they arrived.
  void ComputeLoss(const v1::ComputeLossRequest& request, const Payloads& payloads,
                   v1::ComputeLossResponse* response, const CancellationToken* token, Done done);
  void ComputeLoss(const v1::ComputeLossRequest& request, v1::ComputeLossResponse* response,
                   const CancellationToken* token, Done done) {
    ComputeLoss(request, NoPayloads(), response, token, std::move(done));
  }
  // LossService.Evaluate: a new stream. The engine outlives it.
  std::unique_ptr<EvaluationSession> Evaluate();
  absl::Status MergeEvaluations(const v1::MergeEvaluationsRequest& request,
                                v1::MergeEvaluationsResponse* response) const;
  absl::Status ListLosses(const v1::ListLossesRequest& request,
                          v1::ListLossesResponse* response) const;
  absl::Status GetServerInfo(const v1::GetServerInfoRequest& request,
                             v1::GetServerInfoResponse* response) const;

  const EngineOptions& options() const { return options_; }
  ThreadPool& pool() { return pool_; }

 private:
  explicit LossEngine(EngineOptions options);

  EngineOptions options_;
  ThreadPool pool_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_LOSS_ENGINE_H_
