// One line on the terminal that shows how far an evaluation is. Silent where standard error is no
// terminal. Thread-safe.
#ifndef LOSSD_CLIENT_CLI_PROGRESS_LINE_H_
#define LOSSD_CLIENT_CLI_PROGRESS_LINE_H_

#include <cstdint>
#include <mutex>
#include <string>

#include "absl/time/time.h"

namespace lossd::cli {

class ProgressLine {
 public:
  // `total` samples.
  explicit ProgressLine(int64_t total);
  // Ends the line.
  ~ProgressLine();

  // So many samples are counted.
  void Update(int64_t done);
  // Something to read, above the line; also where there is no terminal.
  void Note(const std::string& text);

 private:
  void Draw();   // with mutex_
  void Clear();  // with mutex_

  const bool terminal_;
  const int64_t total_;
  const absl::Time start_;
  std::mutex mutex_;
  int64_t done_ = 0;
  bool drawn_ = false;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_PROGRESS_LINE_H_
