// SIGTERM and SIGINT, taken by a thread of their own.
//
// Made in main before any other thread starts, so that every thread inherits the blocked mask. The
// first signal ends Wait; the second ends the process at once.
#ifndef LOSSD_SERVER_LIFECYCLE_SIGNALS_H_
#define LOSSD_SERVER_LIFECYCLE_SIGNALS_H_

#include <future>

namespace lossd {

class SignalThread {
 public:
  SignalThread();
  SignalThread(const SignalThread&) = delete;
  SignalThread& operator=(const SignalThread&) = delete;

  // Blocks until the first signal, and answers its number.
  int Wait() { return first_.get(); }

 private:
  std::future<int> first_;
};

}  // namespace lossd

#endif  // LOSSD_SERVER_LIFECYCLE_SIGNALS_H_
