// A NumPy .npy file as tensors, memory-mapped: nothing is read before it is looked at.
//
// In C order rows are views of the file itself; in Fortran order they are gathered a batch at a
// time, so that a file larger than memory works either way. Types: <f4 <f8 <f2 <i4 <i8 |u1 |b1
// (.npy has no bfloat16).
//
// Thread-safety: reading is thread-safe, each thread with its own scratch. Ownership: the file owns
// the mapping; views live no longer than the file and the scratch. A file that somebody truncates
// while it is mapped ends the process, as with every mapping.
#ifndef LOSSD_CLIENT_CLI_NPY_FILE_H_
#define LOSSD_CLIENT_CLI_NPY_FILE_H_

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tensor/tensor_view.h"

namespace lossd::cli {

class NpyFile {
 public:
  // INVALID_ARGUMENT (INPUT_FILE) naming the file and what is wrong with it.
  static absl::StatusOr<NpyFile> Open(const std::string& path);

  const std::string& path() const { return path_; }
  DataType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  // Size of the first dimension; the shape has one.
  int64_t rows() const { return shape_[0]; }
  // Bytes of one row.
  int64_t row_bytes() const;

  // All of it.
  absl::StatusOr<TensorView> All(std::vector<std::byte>* scratch) const;
  // `count` rows from row `first`; the shape has a first dimension, and they lie within.
  absl::StatusOr<TensorView> Rows(int64_t first, int64_t count,
                                  std::vector<std::byte>* scratch) const;

 private:
  struct Mapping;

  NpyFile() = default;
  absl::Status ReadHeader();
  absl::Status ReadDictionary(std::string_view dictionary);
  absl::Status Error(std::string_view message) const;
  void Gather(int64_t first, int64_t count, std::vector<std::byte>* scratch) const;

  std::string path_;
  std::shared_ptr<const Mapping> mapping_;
  std::span<const std::byte> data_;
  DataType dtype_ = DataType::kFloat32;
  Shape shape_;
  bool fortran_order_ = false;
};

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_NPY_FILE_H_
