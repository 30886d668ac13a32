// A flag that tells running work to stop. Thread-safe. Work polls it between chunks.
#ifndef LOSSD_LIB_BASE_CANCELLATION_H_
#define LOSSD_LIB_BASE_CANCELLATION_H_

#include <atomic>

namespace lossd {

class CancellationToken {
 public:
  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

 private:
  std::atomic<bool> cancelled_{false};
};

}  // namespace lossd

#endif  // LOSSD_LIB_BASE_CANCELLATION_H_
