// Tensors to measure on: their values vary as those of a model's outputs do, and are the same in
// every run.
//
// Thread-safety: for one caller. Ownership: a Dataset owns the memory of its tensors.
#ifndef LOSSD_TESTS_BENCH_DATASET_H_
#define LOSSD_TESTS_BENCH_DATASET_H_

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "lib/losses/bind.h"

namespace lossd::bench {

using Random = std::mt19937_64;

class Dataset {
 public:
  const NamedTensors& tensors() const { return tensors_; }
  size_t bytes() const;
  const TensorView& largest() const;
  // The memory of a tensor.
  const std::byte* DataOf(const TensorView& tensor) const;

  // A tensor that repeats `period` over its elements.
  void Add(const std::string& name, DataType dtype, const Shape& shape,
           const std::vector<double>& period);

  // The usual tensors, each of a seed of its own.
  void AddNormal(const std::string& name, DataType dtype, const Shape& shape, double mean = 0,
                 double deviation = 1);
  void AddUniform(const std::string& name, DataType dtype, const Shape& shape, double low,
                  double high);
  // 0 to count - 1, each as often.
  void AddLabels(const std::string& name, const Shape& shape, int64_t count,
                 DataType dtype = DataType::kInt64, int64_t first = 0);
  // Rows of the last dimension are softmax of normal logits, or the logarithms of that.
  void AddProbabilities(const std::string& name, DataType dtype, const Shape& shape,
                        bool logarithms);

 private:
  void Add(const std::string& name, DataType dtype, const Shape& shape,
           const std::function<double(Random&)>& draw);

  NamedTensors tensors_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
};

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_DATASET_H_
