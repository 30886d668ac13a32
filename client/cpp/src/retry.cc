#include "retry.h"

#include <algorithm>

#include "absl/time/clock.h"
#include "lib/base/status.h"

namespace lossd {

Backoff::Backoff(const ClientOptions& options, absl::Time deadline)
    : policy_(options.retry),
      sleeper_(options.sleeper),
      deadline_(deadline),
      random_(std::random_device()()) {
  Reset();
}

void Backoff::Reset() {
  start_ = absl::Now();
  waited_ = absl::ZeroDuration();
  backoff_ = policy_.initial_backoff;
  attempts_ = 1;
}

absl::Duration Backoff::Next(const absl::Status& status) {
  if (status.code() != absl::StatusCode::kUnavailable) return absl::ZeroDuration();
  if (attempts_ >= policy_.max_attempts) return absl::ZeroDuration();
  const double share = std::uniform_real_distribution<double>(0.5, 1)(random_);
  // Never zero, which says that there is to be no attempt.
  absl::Duration wait = std::max(absl::Nanoseconds(1), share * backoff_);
  wait = std::max(wait, DetailOf(status).retry_delay);
  const absl::Time now = std::max(absl::Now(), start_ + waited_);
  if (now + wait > deadline_ || now + wait > start_ + policy_.max_elapsed)
    return absl::ZeroDuration();
  backoff_ = std::min(policy_.max_backoff, policy_.backoff_multiplier * backoff_);
  ++attempts_;
  return wait;
}

void Backoff::Sleep(absl::Duration wait) {
  waited_ += wait;
  if (sleeper_) {
    sleeper_(wait);
  } else {
    absl::SleepFor(wait);
  }
}

absl::Status CallWithRetry(const ClientOptions& options,
                           const std::function<absl::Status(absl::Time deadline)>& attempt) {
  const absl::Time deadline = absl::Now() + options.deadline;
  Backoff backoff(options, deadline);
  while (true) {
    absl::Status status = attempt(deadline);
    if (status.ok()) return status;
    const absl::Duration wait = backoff.Next(status);
    if (wait == absl::ZeroDuration()) return status;
    backoff.Sleep(wait);
  }
}

}  // namespace lossd
