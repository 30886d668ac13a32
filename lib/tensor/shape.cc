#include "lib/tensor/shape.h"

#include <algorithm>

#include "lib/base/checked.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

std::string Join(std::span<const int64_t> sizes) {
  std::string text = "[";
  for (size_t i = 0; i < sizes.size(); ++i) {
    if (i > 0) text += ",";
    text += std::to_string(sizes[i]);
  }
  return text + "]";
}

}  // namespace

Shape::Shape(std::initializer_list<int64_t> sizes) {
  for (const int64_t size : sizes) {
    sizes_[rank_++] = size;
    elements_ *= size;
  }
}

absl::StatusOr<Shape> Shape::Create(std::span<const int64_t> sizes) {
  if (sizes.size() > kMaxRank) {
    return InvalidArgument("INVALID_SHAPE", ".shape",
                           "expected at most " + std::to_string(kMaxRank) + " dimensions, got " +
                               std::to_string(sizes.size()));
  }
  Shape shape;
  int64_t bytes = 8;
  bool overflows = false;
  for (const int64_t size : sizes) {
    if (size < 0) {
      return InvalidArgument("INVALID_SHAPE", ".shape",
                             "expected sizes of at least 0, got " + Join(sizes));
    }
    // A size of zero hides no overflow of the others: they are multiplied as if it were one.
    overflows |= !CheckedMultiply(bytes, std::max<int64_t>(size, 1), &bytes);
    shape.sizes_[shape.rank_++] = size;
  }
  if (overflows) {
    return InvalidArgument("INVALID_SHAPE", ".shape",
                           "the number of elements of " + Join(sizes) + " overflows");
  }
  for (const int64_t size : sizes) shape.elements_ *= size;
  return shape;
}

Shape Shape::Without(int dimension) const {
  Shape shape;
  for (int i = 0; i < rank_; ++i) {
    if (i == dimension) continue;
    shape.sizes_[shape.rank_++] = sizes_[i];
    shape.elements_ *= sizes_[i];
  }
  return shape;
}

bool Shape::operator==(const Shape& other) const {
  return std::ranges::equal(sizes(), other.sizes());
}

std::string Shape::ToString() const { return Join(sizes()); }

std::string Shape::PlaceOf(int64_t index) const {
  std::array<int64_t, kMaxRank> place{};
  for (int i = rank_ - 1; i >= 0; --i) {
    place[i] = index % sizes_[i];
    index /= sizes_[i];
  }
  return Join({place.data(), static_cast<size_t>(rank_)});
}

}  // namespace lossd
