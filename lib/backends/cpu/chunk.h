// A chunk of a job: a range of the units of one loss, or of several that read the same tensors and
// go over them together, block by block, so that what one has read is in the cache for the next.
//
// Thread-safety: RunChunk may run on many threads, with results of their own. Ownership: all that a
// part points to lives as long as its chunks run.
#ifndef LOSSD_LIB_BACKENDS_CPU_CHUNK_H_
#define LOSSD_LIB_BACKENDS_CPU_CHUNK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "lib/accumulate/collector.h"
#include "lib/base/cancellation.h"
#include "lib/losses/bind.h"

namespace lossd {

enum class Work { kUnits, kClassSums, kTableGradients, kTableUpdate };

// One loss of a chunk, and what is wanted of it.
struct ChunkPart {
  const BoundLoss* loss = nullptr;
  const FormCall* call = nullptr;
  Work work = Work::kUnits;
  bool sums = false;                        // of kUnits: the items are collected
  std::byte* values = nullptr;              // of kUnits: where the items go; null: nowhere
  const GradientCall* gradients = nullptr;  // null: none are wanted
};

struct ChunkResult {
  absl::Status status;
  LossSums* sums = nullptr;                         // added to, if the part wants sums
  std::array<double, kMaxComponents> components{};  // of the one item of a whole-batch loss
  double seconds = 0;
};

// Whether two losses may be parts of one chunk: they read the same first operand, and element by
// element the same second one.
bool MayRunTogether(const BoundLoss& a, const BoundLoss& b);

// Runs units [begin, end) of all parts, or of class sums chunks, of the table's gradient or update
// rows [begin, end) of the one part; result i is that of
// part i. What comes after a part that fails need not be computed: of an earlier part what follows
// is, of a later one nothing, and its status may be OK.
void RunChunk(std::span<const ChunkPart> parts, int64_t begin, int64_t end,
              const CollectOptions& options, const CancellationToken* token,
              std::span<ChunkResult> results);

// The kernels of this processor.
const SumKernels& ActiveSumKernels();

}  // namespace lossd

#endif  // LOSSD_LIB_BACKENDS_CPU_CHUNK_H_
