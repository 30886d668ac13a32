#include "progress_line.h"

#include <unistd.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace lossd::cli {
namespace {

constexpr int kBarWidth = 30;

}  // namespace

ProgressLine::ProgressLine(int64_t total)
    : terminal_(isatty(STDERR_FILENO) != 0), total_(total), start_(absl::Now()) {
  const std::lock_guard lock(mutex_);
  Draw();
}

ProgressLine::~ProgressLine() {
  const std::lock_guard lock(mutex_);
  Clear();
}

void ProgressLine::Update(int64_t done) {
  const std::lock_guard lock(mutex_);
  done_ = std::min(done, total_);
  Draw();
}

void ProgressLine::Note(const std::string& text) {
  const std::lock_guard lock(mutex_);
  Clear();
  std::cerr << text << std::endl;
  Draw();
}

void ProgressLine::Draw() {
  if (!terminal_ || total_ == 0) return;
  const double share = static_cast<double>(done_) / static_cast<double>(total_);
  const int filled = static_cast<int>(share * kBarWidth);
  const double seconds = absl::ToDoubleSeconds(absl::Now() - start_);
  const double rate = seconds > 0 ? static_cast<double>(done_) / seconds : 0;
  std::cerr << '\r'
            << absl::StrFormat("[%s%s] %3.0f%%  %d of %d samples, %.0f a second",
                               std::string(filled, '='), std::string(kBarWidth - filled, ' '),
                               100 * share, done_, total_, rate)
            << "\x1b[K" << std::flush;
  drawn_ = true;
}

void ProgressLine::Clear() {
  if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace lossd::cli
