// The sizes of a tensor's dimensions: a small value, checked when it is made. Thread-safe as a
// value.
#ifndef LOSSD_LIB_TENSOR_SHAPE_H_
#define LOSSD_LIB_TENSOR_SHAPE_H_

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace lossd {

class Shape {
 public:
  static constexpr int kMaxRank = 8;

  // A scalar.
  Shape() = default;
  // For sizes that are known to be right.
  Shape(std::initializer_list<int64_t> sizes);

  // INVALID_ARGUMENT (INVALID_SHAPE) for more than kMaxRank dimensions, a negative size, or a
  // number of bytes (at 8 an element) that overflows.
  static absl::StatusOr<Shape> Create(std::span<const int64_t> sizes);

  int rank() const { return rank_; }
  int64_t operator[](int dimension) const { return sizes_[dimension]; }
  // Product of the sizes.
  int64_t elements() const { return elements_; }
  std::span<const int64_t> sizes() const { return {sizes_.data(), static_cast<size_t>(rank_)}; }

  // Without one dimension: [N,C,H,W] without 1 is [N,H,W].
  Shape Without(int dimension) const;

  bool operator==(const Shape& other) const;
  // "[2,3]"; a scalar is "[]".
  std::string ToString() const;
  // The place of an element, by its row-major index: "[1,2]".
  std::string PlaceOf(int64_t index) const;

 private:
  int rank_ = 0;
  std::array<int64_t, kMaxRank> sizes_{};
  int64_t elements_ = 1;
};

}  // namespace lossd

#endif  // LOSSD_LIB_TENSOR_SHAPE_H_
