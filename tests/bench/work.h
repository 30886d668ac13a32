// What lossd_bench and the regression guard compute: losses of the catalogue over tensors made for
// it, by way of the library as the service goes.
//
// Thread-safety: for one caller at a time. Ownership: a BoundWork owns the memory of its gradients
// and views the tensors of its Dataset, which outlives it.
#ifndef LOSSD_TESTS_BENCH_WORK_H_
#define LOSSD_TESTS_BENCH_WORK_H_

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "lib/backends/cpu/compute.h"
#include "tests/bench/dataset.h"

namespace lossd::bench {

// A loss by its name in the catalogue and the parameters that are not at their defaults.
struct Loss {
  const char* name;
  std::vector<std::pair<const char*, double>> parameters = {};
};

LossSpec Spec(const Loss& loss);

struct Work {
  std::string name;  // group/what
  // Rows that follow each other and name the same data share the tensors, which are freed after.
  std::string data;
  std::function<void(Dataset*)> make;
  std::vector<Loss> losses;
  // Tensors that the gradient of the mean is wanted of.
  std::vector<std::string> gradients = {};
  // Counted in the row as GFLOPs; 0: not.
  double operations = 0;
  // At least so many samples, however long they take.
  int samples = 5;
};

// The losses of a work, bound to its tensors, and where their gradients go.
class BoundWork {
 public:
  BoundWork(const Work& work, const Dataset& data);

  size_t losses() const { return tasks_.size(); }
  // Computes all losses, or one of them, to the end. Returns the sum of the means.
  double Compute(ThreadPool* pool) const { return Compute(pool, tasks_); }
  double ComputeOne(size_t loss, ThreadPool* pool) const { return Compute(pool, {tasks_[loss]}); }

  // Bytes of all gradients.
  size_t written() const { return written_; }
  // As long as the tensor that it is the gradient of, and on a cache line. Null: there is none.
  std::byte* largest_output() const { return largest_output_; }

 private:
  static double Compute(ThreadPool* pool, std::vector<ComputeTask> tasks);

  std::vector<ComputeTask> tasks_;
  std::vector<std::unique_ptr<std::byte[]>> memory_;
  size_t written_ = 0;
  std::byte* largest_output_ = nullptr;
};

// Ends the program.
[[noreturn]] void Fail(const std::string& what);

}  // namespace lossd::bench

#endif  // LOSSD_TESTS_BENCH_WORK_H_
