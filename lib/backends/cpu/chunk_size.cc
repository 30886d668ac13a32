#include "lib/backends/cpu/chunk_size.h"

#include <algorithm>

#include "lib/backends/cpu/compute.h"

namespace lossd {
namespace {

// Elements of predictions in a chunk: large enough to hide its start, at most a fraction of a
// millisecond long, and several a thread, so that the threads end together.
constexpr int64_t kMinChunkElements = 32768;
constexpr int64_t kMaxChunkElements = 524288;
constexpr int64_t kChunksPerThread = 4;

// Units in a chunk of a classifier loss: each chunk reads the whole classifier, so there is one a
// thread, of whole panels of rows, up to what stays in the cache with a block of classes.
constexpr int64_t kMinClassifierUnits = 64;
constexpr int64_t kMaxClassifierUnits = 1024;
// With fewer a thread, threads take classes in place of rows.
constexpr int64_t kUnitsToGoRound = 512;

}  // namespace

bool IsClassifier(const FormCall& call) { return call.kernels.classifier.f32 != nullptr; }

int64_t UnitsPerChunk(const FormCall& call, int64_t threads) {
  if (IsClassifier(call)) {
    const int64_t share = (call.units + threads - 1) / threads;
    const int64_t panels = (share + kMinClassifierUnits - 1) / kMinClassifierUnits;
    return std::clamp(panels * kMinClassifierUnits, kMinClassifierUnits, kMaxClassifierUnits);
  }
  const int64_t width = std::max<int64_t>(call.width, 1);
  const int64_t share = call.units * width / (threads * kChunksPerThread);
  return std::max<int64_t>(1, std::clamp(share, kMinChunkElements, kMaxChunkElements) / width);
}

bool GoesByClasses(const FormCall& call, int64_t threads) {
  return IsClassifier(call) && threads > 1 && call.units < threads * kUnitsToGoRound &&
         ElementsOf(call) > kInlineElements;
}

int64_t RangeSize(int64_t size, int64_t threads) {
  const int64_t ranges = threads * kChunksPerThread;
  return std::max<int64_t>(1, (size + ranges - 1) / ranges);
}

int64_t ElementsOf(const FormCall& call) {
  const int64_t elements = call.units * std::max<int64_t>(call.width, 1);
  // Beyond the limit only that it is beyond counts, so that no product overflows.
  const auto times = [](int64_t a, int64_t b) { return a * std::min(b, kInlineElements + 1); };
  if (IsClassifier(call)) return times(elements, call.classes);
  // Pairs: of rows, or of boxes and anchors.
  if (!call.whole.empty()) return times(elements, elements);
  // Pairs of a class and a label of its row.
  if (call.kernels.rows.f32 != nullptr && call.label_rows.view) return times(elements, call.width);
  if (const TensorView& labels = call.sequence.labels.view) {
    const int64_t states = times(call.units * call.sequence.frames, labels.shape()[1]);
    return elements + states;
  }
  return elements;
}

}  // namespace lossd
