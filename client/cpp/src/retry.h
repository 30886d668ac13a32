// The retry loop: UNAVAILABLE is tried again after a wait, within the policy and the deadline.
//
// Thread-safety: a Backoff belongs to one thread; CallWithRetry is thread-safe.
#ifndef LOSSD_CLIENT_CPP_SRC_RETRY_H_
#define LOSSD_CLIENT_CPP_SRC_RETRY_H_

#include <functional>
#include <random>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lossd/options.h"

namespace lossd {

// The attempts at one thing.
class Backoff {
 public:
  Backoff(const ClientOptions& options, absl::Time deadline);

  // How long to wait before another attempt after `status`. Zero: there is to be none, because the
  // status is not retried, the attempts are used up, or the wait would end past the deadline or
  // past max_elapsed.
  absl::Duration Next(const absl::Status& status);
  // Waits that long.
  void Sleep(absl::Duration wait);
  // There was progress: the attempts count from here.
  void Reset();

 private:
  RetryPolicy policy_;
  std::function<void(absl::Duration)> sleeper_;
  absl::Time deadline_;
  absl::Time start_;
  absl::Duration waited_;  // what the sleeper was told: a sleeper of a test takes no time
  absl::Duration backoff_;
  int attempts_ = 1;
  std::minstd_rand random_;
};

// Calls `attempt` with the deadline of the whole until it is done or not to be retried; the last
// status.
absl::Status CallWithRetry(const ClientOptions& options,
                           const std::function<absl::Status(absl::Time deadline)>& attempt);

}  // namespace lossd

#endif  // LOSSD_CLIENT_CPP_SRC_RETRY_H_
