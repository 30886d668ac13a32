// Computes bound losses on the processor: cuts the work into chunks, spreads them over the threads,
// and merges their exact sums, whose bits do not depend on any of this.
//
// Thread-safety: functions may be called from any thread. The losses' tensors, the values' memory
// and the token live until `done` was called.
#ifndef LOSSD_LIB_BACKENDS_CPU_COMPUTE_H_
#define LOSSD_LIB_BACKENDS_CPU_COMPUTE_H_

#include <array>
#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/accumulate/collector.h"
#include "lib/base/cancellation.h"
#include "lib/base/thread_pool.h"
#include "lib/losses/bind.h"

namespace lossd {

struct ComputeTask {
  BoundLoss loss;
  // Where to put the items, in item shape and compute type; null: nowhere.
  std::byte* values = nullptr;
  // Where to put the gradients of the mean, or of the sum; null: nowhere.
  std::array<std::byte*, kMaxGradients> gradients{};
  bool gradients_of_mean = true;
  // Where to put the table's update; null: nowhere.
  std::byte* table_update = nullptr;
};

struct ComputeOutcome {
  LossSums sums;
  std::array<double, kMaxComponents> components{};  // of the one item of a whole-batch loss
  double seconds = 0;                               // of all threads together
};

using ComputeDone = std::function<void(absl::Status, std::vector<ComputeOutcome>)>;

// Work of at most so many elements runs on the calling thread: it takes less time than handing it
// over does.
inline constexpr int64_t kInlineElements = 16384;

// Runs the tasks: the sums first, then what depends on them. Calls `done` with an outcome for each,
// or with the error of the first bad item; in order of the tasks and their blocks of items,
// whatever ran first; within a block weights are checked first, then labels, then the other inputs.
// A cancelled token (null: none) stops the work within a chunk: CANCELLED.
void Compute(ThreadPool* pool, std::vector<ComputeTask> tasks, const CollectOptions& options,
             const CancellationToken* token, ComputeDone done);

// The mean of one loss, computed on the calling thread: the bits that Compute and ReportMean give,
// without a superaccumulator where one block holds all items. For callers in process whose batches
// are small.
absl::StatusOr<double> ComputeMean(const BoundLoss& loss);

}  // namespace lossd

#endif  // LOSSD_LIB_BACKENDS_CPU_COMPUTE_H_
