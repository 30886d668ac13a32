// A fixed set of threads that take jobs chunk by chunk, jobs in turn: a small job waits for a chunk
// of a large one, never for the whole. Thread-safe.
#ifndef LOSSD_LIB_BASE_THREAD_POOL_H_
#define LOSSD_LIB_BASE_THREAD_POOL_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace lossd {

class ThreadPool {
 public:
  // threads <= 0: one a core.
  explicit ThreadPool(int threads);
  // Finishes the jobs that were submitted, then joins.
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  int threads() const { return static_cast<int>(workers_.size()); }

  // Calls body(0) .. body(chunks - 1), in increasing order of their start, on the threads; then
  // `done` on the thread that finished last. Neither may throw or wait for another job.
  void Submit(int64_t chunks, std::function<void(int64_t)> body, std::function<void()> done);

 private:
  struct Job;
  void Work();

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Job>>
      jobs_;  // those with chunks not yet started, the next in turn first
  bool stopping_ = false;
  std::vector<std::thread> workers_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_BASE_THREAD_POOL_H_
