// What lossd takes on at a time: bytes of messages held, evaluation streams, and nothing new while
// it drains.
//
// Pressure that passes is UNAVAILABLE with RetryInfo; what could never be admitted is
// RESOURCE_EXHAUSTED and names its flag. Thread-safe. A Lease gives back what it holds when it is
// destroyed, and must not outlive its Admission.
#ifndef LOSSD_SERVER_ADMISSION_ADMISSION_H_
#define LOSSD_SERVER_ADMISSION_ADMISSION_H_

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string_view>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lossd {

inline constexpr std::string_view kInflightBytesReason = "INFLIGHT_BYTES";
inline constexpr std::string_view kStreamSlotsReason = "STREAM_SLOTS";
inline constexpr std::string_view kDrainingReason = "DRAINING";

struct AdmissionLimits {
  int64_t max_inflight_bytes;  // flag max-inflight-bytes
  int64_t max_streams;         // flag max-streams
};

// A running evaluation that wants to end early, with a checkpoint, when lossd drains.
class DrainListener {
 public:
  virtual ~DrainListener() = default;
  // Called once at most, on the draining thread; must not block.
  virtual void OnDrain() = 0;
};

class Admission {
 public:
  // A share of the limits. Move-only.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept { Swap(other); }
    Lease& operator=(Lease&& other) noexcept {
      Lease(std::move(other)).Swap(*this);
      return *this;
    }
    ~Lease() { Release(); }

    int64_t bytes() const { return bytes_; }
    void Release();
    // Gives back the stream slot alone: a call that has its status still runs, but takes nobody's
    // place.
    void ReleaseSlot();

   private:
    friend class Admission;
    Lease(Admission* admission, int64_t calls, int64_t streams, int64_t bytes)
        : admission_(admission), calls_(calls), streams_(streams), bytes_(bytes) {}
    void Swap(Lease& other) noexcept;

    Admission* admission_ = nullptr;
    int64_t calls_ = 0;
    int64_t streams_ = 0;
    int64_t bytes_ = 0;
  };

  // `on_inflight_change` is told by how much the bytes held have changed, from any thread.
  Admission(AdmissionLimits limits, std::function<void(int64_t delta)> on_inflight_change);

  // A call that runs until the lease goes, and the bytes of its message.
  absl::StatusOr<Lease> AdmitCall(int64_t bytes = 0);
  // The same for an Evaluate stream, which also takes one of the slots.
  absl::StatusOr<Lease> AdmitStream();
  // Bytes of messages or constants. A call that was admitted may take them even while lossd drains.
  absl::StatusOr<Lease> AdmitBytes(int64_t bytes);
  // The same for a lease that there is: it holds `bytes` from now on, if they are more.
  absl::Status Grow(int64_t bytes, Lease* lease);
  // So many bytes would be admitted now.
  bool HasRoom(int64_t bytes) const;
  int64_t inflight_bytes() const;

  // False if lossd drains already: then OnDrain will not be called.
  bool AddListener(const std::shared_ptr<DrainListener>& listener);
  void RemoveListener(const DrainListener* listener);

  // Admits no further call, and tells the listeners.
  void BeginDrain();
  // Waits until no admitted call runs; false if some still do at `deadline`.
  bool WaitIdle(absl::Time deadline);

 private:
  absl::StatusOr<Lease> Admit(int64_t streams, int64_t bytes);
  // Takes `bytes` more for a lease that holds `held`. mutex_ is held.
  absl::Status TakeBytes(int64_t bytes, int64_t held);
  void GiveBack(int64_t calls, int64_t streams, int64_t bytes);

  const AdmissionLimits limits_;
  const std::function<void(int64_t)> on_inflight_change_;

  mutable std::mutex mutex_;
  std::condition_variable idle_;
  bool draining_ = false;
  int64_t calls_ = 0;
  int64_t streams_ = 0;
  int64_t bytes_ = 0;
  std::unordered_map<const DrainListener*, std::weak_ptr<DrainListener>> listeners_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_ADMISSION_ADMISSION_H_
