#include "lossd/tensors.h"

#include <cstring>

namespace lossd {
namespace {

void CopyElements(const TensorView& tensor, int64_t first, int64_t count, std::string* data) {
  data->resize(static_cast<size_t>(count) * ByteSize(tensor.dtype()));
  if (count == 0) return;
  // In pieces, Run gathers into the message itself.
  auto* to = reinterpret_cast<std::byte*>(data->data());
  const std::byte* from = tensor.Run(first, count, to);
  if (from != to) std::memcpy(to, from, data->size());
}

}  // namespace

void ToProto(const TensorView& tensor, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  for (const int64_t size : tensor.shape().sizes()) message->add_shape(size);
  CopyElements(tensor, 0, tensor.elements(), message->mutable_data());
}

void PieceToProto(const TensorView& tensor, int64_t first, int64_t count, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  message->add_shape(count);
  CopyElements(tensor, first, count, message->mutable_data());
}

}  // namespace lossd
