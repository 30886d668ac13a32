#include "lossd/tensors.h"

#include <cstring>

namespace lossd {

void ToProto(const TensorView& tensor, v1::Tensor* message) {
  message->set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  for (const int64_t size : tensor.shape().sizes()) message->add_shape(size);
  std::string* data = message->mutable_data();
  data->resize(tensor.byte_size());
  if (data->empty()) return;
  // In pieces, Run gathers into the message itself.
  auto* to = reinterpret_cast<std::byte*>(data->data());
  const std::byte* from = tensor.Run(0, tensor.elements(), to);
  if (from != to) std::memcpy(to, from, data->size());
}

}  // namespace lossd
