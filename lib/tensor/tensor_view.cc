#include "lib/tensor/tensor_view.h"

#include <algorithm>
#include <string>
#include <utility>

#include "lib/base/status.h"

namespace lossd {
namespace {

absl::Status CheckSize(DataType dtype, const Shape& shape, size_t size) {
  const size_t expected = static_cast<size_t>(shape.elements()) * ByteSize(dtype);
  if (size == expected) return absl::OkStatus();
  return InvalidArgument("DATA_SIZE", ".data",
                         "expected " + std::to_string(expected) + " bytes for " + shape.ToString() +
                             " of " + std::string(Name(dtype)) + ", got " + std::to_string(size));
}

}  // namespace

PiecewiseBytes::PiecewiseBytes(std::vector<std::span<const std::byte>> pieces)
    : pieces_(std::move(pieces)) {
  std::erase_if(pieces_, [](const auto& piece) { return piece.empty(); });
  starts_.reserve(pieces_.size() + 1);
  size_t start = 0;
  for (const auto& piece : pieces_) {
    starts_.push_back(start);
    start += piece.size();
  }
  starts_.push_back(start);
}

const std::byte* PiecewiseBytes::Run(size_t offset, size_t size, std::byte* scratch) const {
  if (size == 0) return scratch;
  // The piece that holds `offset`: the last that starts at or before it.
  size_t piece = std::upper_bound(starts_.begin(), starts_.end() - 1, offset) - starts_.begin() - 1;
  size_t within = offset - starts_[piece];
  if (within + size <= pieces_[piece].size()) return pieces_[piece].data() + within;
  for (size_t copied = 0; copied < size; ++piece, within = 0) {
    const size_t count = std::min(size - copied, pieces_[piece].size() - within);
    std::memcpy(scratch + copied, pieces_[piece].data() + within, count);
    copied += count;
  }
  return scratch;
}

absl::StatusOr<TensorView> TensorView::Create(DataType dtype, const Shape& shape,
                                              std::span<const std::byte> data) {
  if (absl::Status status = CheckSize(dtype, shape, data.size()); !status.ok()) return status;
  TensorView view;
  view.present_ = true;
  view.dtype_ = dtype;
  view.shape_ = shape;
  view.data_ = data.data();
  return view;
}

absl::StatusOr<TensorView> TensorView::Create(DataType dtype, const Shape& shape,
                                              const PiecewiseBytes* data) {
  if (absl::Status status = CheckSize(dtype, shape, data->size()); !status.ok()) return status;
  TensorView view;
  view.present_ = true;
  view.dtype_ = dtype;
  view.shape_ = shape;
  view.pieces_ = data;
  return view;
}

}  // namespace lossd
