// Inputs of the golden-bits test: a loss's tensors, made from a seed by integer arithmetic and
// exact IEEE operations alone, so that every machine makes the same bytes.
//
// Thread-safety: pure functions. A Dataset owns its bytes.
#ifndef LOSSD_TESTS_GOLDEN_INPUTS_H_
#define LOSSD_TESTS_GOLDEN_INPUTS_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/losses/descriptor.h"
#include "lossd/v1/evaluation.pb.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd::golden {

// One tensor, and whether it has a row for each sample.
struct NamedTensor {
  std::string name;
  v1::Tensor tensor;
  bool per_sample = true;
  int sample_axis = 0;
};

struct Dataset {
  int64_t samples = 0;
  std::vector<NamedTensor> tensors;

  // Samples [begin, end) as the inputs of a request.
  void Fill(int64_t begin, int64_t end,
            google::protobuf::Map<std::string, v1::Tensor>* inputs) const;
};

struct DatasetSpec {
  uint64_t seed = 0;
  v1::DataType dtype = v1::DATA_TYPE_FLOAT32;  // of the value inputs
  std::vector<int64_t> shape;                  // of predictions; with classes, of the class inputs;
                                               // of sequences samples and classes
  bool optional_inputs = false;                // also class_weight and the like
  bool sample_weight = false;
  std::optional<int64_t> ignored_label;  // every seventh sample has it
  // Of sequences.
  int64_t blank = 0;
  bool time_major = false;
  // Of whole batches, which one special value would turn into NaN.
  bool whole_batch = false;
  size_t heads = 0;  // of a detection head: scales
};

// The inputs of a signature. A quarter of the samples holds special values: infinities, NaN, zeros
// of both signs, subnormals, limits of exp, every exponent of the type.
Dataset MakeDataset(const Signature& signature, const DatasetSpec& spec);

}  // namespace lossd::golden

#endif  // LOSSD_TESTS_GOLDEN_INPUTS_H_
