#include "lib/base/thread_pool.h"

#include <algorithm>
#include <atomic>
#include <utility>

namespace lossd {

struct ThreadPool::Job {
  int64_t chunks;
  std::function<void(int64_t)> body;
  std::function<void()> done;
  int64_t started = 0;  // guarded by the pool's mutex
  std::atomic<int64_t> finished{0};
};

ThreadPool::ThreadPool(int threads) {
  if (threads <= 0) threads = std::max(1u, std::thread::hardware_concurrency());
  workers_.reserve(threads);
  for (int i = 0; i < threads; ++i) workers_.emplace_back([this] { Work(); });
}

ThreadPool::~ThreadPool() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadPool::Submit(int64_t chunks, std::function<void(int64_t)> body,
                        std::function<void()> done) {
  if (chunks <= 0) {
    done();
    return;
  }
  auto job = std::make_shared<Job>();
  job->chunks = chunks;
  job->body = std::move(body);
  job->done = std::move(done);
  {
    std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
  }
  if (chunks == 1) {
    wake_.notify_one();
  } else {
    wake_.notify_all();
  }
}

void ThreadPool::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    wake_.wait(lock, [this] { return stopping_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    std::shared_ptr<Job> job = std::move(jobs_.front());
    jobs_.pop_front();
    const int64_t chunk = job->started++;
    if (job->started < job->chunks) jobs_.push_back(job);
    lock.unlock();
    job->body(chunk);
    if (job->finished.fetch_add(1, std::memory_order_acq_rel) + 1 == job->chunks) job->done();
    job.reset();
    lock.lock();
  }
}

}  // namespace lossd
