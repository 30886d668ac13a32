// Where an Evaluation takes its batches from.
//
// An evaluation that lost its server goes on from its last checkpoint, so it asks for some batches
// again. A source that can be positioned (files, arrays, an index into a data set) answers from
// where the data lie and holds nothing; a source that cannot (a generator) keeps a copy of what no
// checkpoint covers yet.
//
// Thread-safety: none is needed; an evaluation calls its source from the thread that called Run.
// Ownership: the source outlives Run; the memory of a batch outlives the next call of the source.
#ifndef LOSSD_BATCH_SOURCE_H_
#define LOSSD_BATCH_SOURCE_H_

#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "lossd/tensors.h"
#include "lossd/v1/evaluation.pb.h"

namespace lossd {

// Some samples.
struct Batch {
  Inputs inputs;
  int64_t first_sample = 0;         // number of the first sample; the others follow
  std::vector<int64_t> sample_ids;  // names of the samples; instead of first_sample
};

class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // The batch of that place in the evaluation: the same samples whenever it is asked for. nullopt:
  // it lies past the last one. The evaluation asks in order, and steps back to its checkpoint when
  // it resumes. An error ends the evaluation.
  virtual absl::StatusOr<std::optional<Batch>> Get(int64_t sequence) = 0;

  // No batch below `next_sequence` will be asked for any more.
  virtual void Release(int64_t next_sequence) { (void)next_sequence; }
};

// A source that can be positioned, as a function of the sequence.
class IndexedSource : public BatchSource {
 public:
  using Function = std::function<absl::StatusOr<std::optional<Batch>>(int64_t sequence)>;
  explicit IndexedSource(Function function) : function_(std::move(function)) {}
  absl::StatusOr<std::optional<Batch>> Get(int64_t sequence) override {
    return function_(sequence);
  }

 private:
  Function function_;
};

// A source that gives each batch once. Memory: a copy of the batches since the last checkpoint. By
// default that is 64 MiB, or what a second brings if that is less, and in both cases about 10 MiB
// that are on the way; the spec's checkpoint_cadence sets it.
class GeneratorSource : public BatchSource {
 public:
  using Function = std::function<absl::StatusOr<std::optional<Batch>>()>;
  // `first_sequence`: the spec's next_sequence, where it is not 0.
  explicit GeneratorSource(Function function, int64_t first_sequence = 0);
  absl::StatusOr<std::optional<Batch>> Get(int64_t sequence) override;
  void Release(int64_t next_sequence) override;

  // Bytes of tensors that it keeps.
  int64_t kept_bytes() const { return kept_bytes_; }

 private:
  struct Kept {
    std::map<std::string, std::vector<std::byte>> bytes;
    Batch batch;  // views of `bytes`
  };

  Function function_;
  std::deque<Kept> kept_;
  int64_t first_kept_;  // sequence of kept_.front()
  bool ended_ = false;
  int64_t kept_bytes_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_BATCH_SOURCE_H_
