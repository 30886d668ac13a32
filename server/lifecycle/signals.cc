#include "server/lifecycle/signals.h"

#include <unistd.h>

#include <csignal>
#include <thread>
#include <utility>

namespace lossd {
namespace {

constexpr int kSignalExitBase = 128;  // as shells report a death by signal

sigset_t StopSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  return signals;
}

int NextSignal() {
  const sigset_t signals = StopSignals();
  int number = 0;
  while (sigwait(&signals, &number) != 0) {
  }
  return number;
}

}  // namespace

SignalThread::SignalThread() {
  const sigset_t signals = StopSignals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A client that closes while it is written to is no reason to die.
  std::signal(SIGPIPE, SIG_IGN);
  std::promise<int> first;
  first_ = first.get_future();
  // Detached: it waits until the process ends, and owns all that it touches.
  std::thread([promise = std::move(first)]() mutable {
    promise.set_value(NextSignal());
    _exit(kSignalExitBase + NextSignal());
  }).detach();
}

}  // namespace lossd
