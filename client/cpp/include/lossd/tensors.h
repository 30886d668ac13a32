// TensorViews of the caller's memory.
//
// A view owns nothing: the memory outlives the call it is given to. Everything here is thread-safe.
#ifndef LOSSD_TENSORS_H_
#define LOSSD_TENSORS_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <type_traits>

#include "absl/status/statusor.h"
#include "lib/tensor/data_type.h"
#include "lib/tensor/shape.h"
#include "lib/tensor/tensor_view.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {

// Tensors by input name.
using Inputs = std::map<std::string, TensorView>;

// The element type of a C++ type.
template <class T>
constexpr DataType DataTypeOf() {
  if constexpr (std::is_same_v<T, float>) {
    return DataType::kFloat32;
  } else if constexpr (std::is_same_v<T, double>) {
    return DataType::kFloat64;
  } else if constexpr (std::is_same_v<T, int32_t>) {
    return DataType::kInt32;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return DataType::kInt64;
  } else if constexpr (std::is_same_v<T, uint8_t>) {
    return DataType::kUint8;
  } else {
    static_assert(std::is_same_v<T, bool>, "an element type of lossd.v1.DataType");
    return DataType::kBool;
  }
}

// A view of elements in row-major order. INVALID_ARGUMENT unless they are as many as the shape
// says. For f16 and bf16, which C++20 has no types for, call TensorView::Create with the bytes.
template <class T>
absl::StatusOr<TensorView> ViewOf(std::span<const T> elements, const Shape& shape) {
  return TensorView::Create(DataTypeOf<T>(), shape, std::as_bytes(elements));
}
template <class Container>
absl::StatusOr<TensorView> ViewOf(const Container& elements, const Shape& shape) {
  return ViewOf(std::span<const typename Container::value_type>(elements), shape);
}

// Copies the tensor into a message.
void ToProto(const TensorView& tensor, v1::Tensor* message);

}  // namespace lossd

#endif  // LOSSD_TENSORS_H_
