#include "server/admission/admission.h"

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

// A batch takes milliseconds, so bytes come free soon; a slot lasts as long as an evaluation;
// another replica, or this one restarted, takes a second or two.
constexpr absl::Duration kBytesRetry = absl::Milliseconds(100);
constexpr absl::Duration kSlotRetry = absl::Seconds(1);
constexpr absl::Duration kDrainRetry = absl::Seconds(1);

}  // namespace

void Admission::Lease::Release() {
  if (admission_ == nullptr) return;
  std::exchange(admission_, nullptr)
      ->GiveBack(std::exchange(calls_, 0), std::exchange(streams_, 0), std::exchange(bytes_, 0));
}

void Admission::Lease::ReleaseSlot() {
  if (admission_ != nullptr) admission_->GiveBack(0, std::exchange(streams_, 0), 0);
}

void Admission::Lease::Swap(Lease& other) noexcept {
  std::swap(admission_, other.admission_);
  std::swap(calls_, other.calls_);
  std::swap(streams_, other.streams_);
  std::swap(bytes_, other.bytes_);
}

Admission::Admission(AdmissionLimits limits, std::function<void(int64_t)> on_inflight_change)
    : limits_(limits), on_inflight_change_(std::move(on_inflight_change)) {}

absl::StatusOr<Admission::Lease> Admission::Admit(int64_t streams, int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    if (draining_) return Unavailable(kDrainingReason, "lossd is shutting down", kDrainRetry);
    if (streams > 0 && streams_ >= limits_.max_streams) {
      return Unavailable(kStreamSlotsReason,
                         absl::StrCat("all ", limits_.max_streams,
                                      " Evaluate streams are taken (flag max-streams)"),
                         kSlotRetry);
    }
    const absl::Status taken = TakeBytes(bytes, 0);
    if (!taken.ok()) return taken;
    ++calls_;
    streams_ += streams;
  }
  if (bytes != 0) on_inflight_change_(bytes);
  return Lease(this, 1, streams, bytes);
}

absl::StatusOr<Admission::Lease> Admission::AdmitCall(int64_t bytes) { return Admit(0, bytes); }

absl::StatusOr<Admission::Lease> Admission::AdmitStream() { return Admit(1, 0); }

absl::Status Admission::TakeBytes(int64_t bytes, int64_t held) {
  if (bytes > limits_.max_inflight_bytes - held) {
    return ResourceExhausted(
        kInflightBytesReason, "",
        absl::StrCat("it would hold ", bytes + held, " bytes; the limit for all calls together is ",
                     limits_.max_inflight_bytes, " (flag max-inflight-bytes)"));
  }
  if (bytes > limits_.max_inflight_bytes - bytes_) {
    return Unavailable(kInflightBytesReason,
                       absl::StrCat(bytes_ - held, " of ", limits_.max_inflight_bytes,
                                    " bytes are held by other calls (flag max-inflight-bytes)"),
                       kBytesRetry);
  }
  bytes_ += bytes;
  return absl::OkStatus();
}

absl::StatusOr<Admission::Lease> Admission::AdmitBytes(int64_t bytes) {
  {
    std::lock_guard lock(mutex_);
    const absl::Status taken = TakeBytes(bytes, 0);
    if (!taken.ok()) return taken;
  }
  on_inflight_change_(bytes);
  return Lease(this, 0, 0, bytes);
}

absl::Status Admission::Grow(int64_t bytes, Lease* lease) {
  const int64_t more = bytes - lease->bytes_;
  if (more <= 0) return absl::OkStatus();
  {
    std::lock_guard lock(mutex_);
    const absl::Status taken = TakeBytes(more, lease->bytes_);
    if (!taken.ok()) return taken;
  }
  lease->bytes_ = bytes;
  on_inflight_change_(more);
  return absl::OkStatus();
}

bool Admission::HasRoom(int64_t bytes) const {
  std::lock_guard lock(mutex_);
  return bytes <= limits_.max_inflight_bytes - bytes_;
}

int64_t Admission::inflight_bytes() const {
  std::lock_guard lock(mutex_);
  return bytes_;
}

void Admission::GiveBack(int64_t calls, int64_t streams, int64_t bytes) {
  if (bytes != 0) on_inflight_change_(-bytes);
  std::lock_guard lock(mutex_);
  calls_ -= calls;
  streams_ -= streams;
  bytes_ -= bytes;
  // Told under the lock: the waiter may destroy this as soon as it sees no call.
  if (calls_ == 0) idle_.notify_all();
}

bool Admission::AddListener(const std::shared_ptr<DrainListener>& listener) {
  std::lock_guard lock(mutex_);
  if (draining_) return false;
  listeners_.emplace(listener.get(), listener);
  return true;
}

void Admission::RemoveListener(const DrainListener* listener) {
  std::lock_guard lock(mutex_);
  listeners_.erase(listener);
}

void Admission::BeginDrain() {
  std::vector<std::shared_ptr<DrainListener>> listeners;
  {
    std::lock_guard lock(mutex_);
    draining_ = true;
    for (const auto& [key, weak] : listeners_) {
      if (std::shared_ptr<DrainListener> listener = weak.lock())
        listeners.push_back(std::move(listener));
    }
    listeners_.clear();
  }
  for (const auto& listener : listeners) listener->OnDrain();
}

bool Admission::WaitIdle(absl::Time deadline) {
  std::unique_lock lock(mutex_);
  return idle_.wait_until(lock, absl::ToChronoTime(deadline), [this] { return calls_ == 0; });
}

}  // namespace lossd
