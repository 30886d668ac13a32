// A checked view of a tensor's bytes: no copy, no alignment assumed, contiguous or in pieces.
//
// Payloads of the network arrive in pieces of 8 to 64 KB at odd addresses. A kernel never sees
// that: it asks for a run of elements and gets a pointer to them where they lie, or, when the run
// straddles two pieces, to a copy in the scratch memory that it brings.
//
// A view owns nothing: the bytes, and for a tensor in pieces the PiecewiseBytes, outlive it.
// Reading is thread-safe.
#ifndef LOSSD_LIB_TENSOR_TENSOR_VIEW_H_
#define LOSSD_LIB_TENSOR_TENSOR_VIEW_H_

#include <cstddef>
#include <cstring>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/tensor/data_type.h"
#include "lib/tensor/shape.h"

namespace lossd {

// Bytes in pieces, in order. The pieces' memory belongs to somebody else.
class PiecewiseBytes {
 public:
  explicit PiecewiseBytes(std::vector<std::span<const std::byte>> pieces);

  size_t size() const { return starts_.back(); }
  // None is empty.
  std::span<const std::span<const std::byte>> pieces() const { return pieces_; }
  // `size` bytes from `offset`: a pointer into a piece, or `scratch`, filled.
  const std::byte* Run(size_t offset, size_t size, std::byte* scratch) const;

 private:
  std::vector<std::span<const std::byte>> pieces_;
  std::vector<size_t> starts_;  // of each piece, then the size of all
};

class TensorView {
 public:
  // No tensor.
  TensorView() = default;

  // INVALID_ARGUMENT (DATA_SIZE) unless `data` is as long as dtype and shape say.
  static absl::StatusOr<TensorView> Create(DataType dtype, const Shape& shape,
                                           std::span<const std::byte> data);
  static absl::StatusOr<TensorView> Create(DataType dtype, const Shape& shape,
                                           const PiecewiseBytes* data);

  explicit operator bool() const { return present_; }
  DataType dtype() const { return dtype_; }
  const Shape& shape() const { return shape_; }
  int64_t elements() const { return shape_.elements(); }
  size_t byte_size() const { return static_cast<size_t>(shape_.elements()) * ByteSize(dtype_); }

  // The bytes of `count` elements from element `first`: where they lie, or in `scratch` (as long as
  // they).
  const std::byte* Run(int64_t first, int64_t count, std::byte* scratch) const {
    const size_t size = ByteSize(dtype_);
    if (pieces_ == nullptr) return data_ + static_cast<size_t>(first) * size;
    return pieces_->Run(static_cast<size_t>(first) * size, static_cast<size_t>(count) * size,
                        scratch);
  }
  // True for another view of the same elements in the same memory.
  bool SameAs(const TensorView& other) const {
    return dtype_ == other.dtype_ && shape_ == other.shape_ && data_ == other.data_ &&
           pieces_ == other.pieces_;
  }
  // The bytes lie in one run.
  bool contiguous() const { return pieces_ == nullptr; }

 private:
  bool present_ = false;
  DataType dtype_ = DataType::kFloat32;
  Shape shape_;
  const std::byte* data_ = nullptr;
  const PiecewiseBytes* pieces_ = nullptr;
};

}  // namespace lossd

#endif  // LOSSD_LIB_TENSOR_TENSOR_VIEW_H_
