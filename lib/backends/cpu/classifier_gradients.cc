#include "lib/backends/cpu/classifier_gradients.h"

#include <chrono>
#include <memory>
#include <mutex>
#include <utility>

#include "lib/forms/classifier_gradient_form.h"

namespace lossd {
namespace {

template <class T>
class PhasedJob : public std::enable_shared_from_this<PhasedJob<T>> {
 public:
  PhasedJob(ThreadPool* pool, const FormCall& call, const GradientCall& gradients,
            const CancellationToken* token, GradientsDone done)
      : pool_(pool), form_(call, gradients), done_(std::move(done)) {
    form_.CancelBy(token);
  }

  // Runs phases of one chunk here, since handing them over takes time, and the first of more on the
  // threads, whose last goes on.
  void Continue() {
    while (error_.ok()) {
      const int64_t chunks = form_.NextPhase();
      if (chunks == 0) break;
      if (pool_ != nullptr && chunks > 1) {
        pool_->Submit(
            chunks, [self = this->shared_from_this()](int64_t chunk) { self->RunChunk(chunk); },
            [self = this->shared_from_this()] { self->Continue(); });
        return;
      }
      for (int64_t chunk = 0; chunk < chunks; ++chunk) RunChunk(chunk);
    }
    done_(error_, seconds_);
  }

 private:
  void RunChunk(int64_t chunk) {
    {
      std::lock_guard lock(mutex_);
      if (!error_.ok()) return;
    }
    const auto start = std::chrono::steady_clock::now();
    absl::Status status = form_.RunChunk(chunk);
    const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
    std::lock_guard lock(mutex_);
    seconds_ += elapsed.count();
    if (error_.ok()) error_ = std::move(status);
  }

  ThreadPool* const pool_;
  ClassifierGradientForm<T> form_;
  const GradientsDone done_;
  std::mutex mutex_;
  absl::Status error_;
  double seconds_ = 0;
};

}  // namespace

void ComputeClassifierGradients(ThreadPool* pool, DataType compute_type, const FormCall& call,
                                const GradientCall& gradients, const CancellationToken* token,
                                GradientsDone done) {
  if (compute_type == DataType::kFloat32) {
    std::make_shared<PhasedJob<float>>(pool, call, gradients, token, std::move(done))->Continue();
  } else {
    std::make_shared<PhasedJob<double>>(pool, call, gradients, token, std::move(done))->Continue();
  }
}

}  // namespace lossd
