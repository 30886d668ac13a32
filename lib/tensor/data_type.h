// The element types of a tensor. Thread-safe.
#ifndef LOSSD_LIB_TENSOR_DATA_TYPE_H_
#define LOSSD_LIB_TENSOR_DATA_TYPE_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace lossd {

// The numbers are those of lossd.v1.DataType.
enum class DataType : uint8_t {
  kFloat32 = 1,
  kFloat64 = 2,
  kFloat16 = 3,
  kBfloat16 = 4,
  kInt32 = 5,
  kInt64 = 6,
  kUint8 = 7,
  kBool = 8,
};

constexpr bool IsFloating(DataType type) { return type <= DataType::kBfloat16; }

constexpr size_t ByteSize(DataType type) {
  switch (type) {
    case DataType::kFloat64:
    case DataType::kInt64:
      return 8;
    case DataType::kFloat32:
    case DataType::kInt32:
      return 4;
    case DataType::kFloat16:
    case DataType::kBfloat16:
      return 2;
    case DataType::kUint8:
    case DataType::kBool:
      return 1;
  }
  return 0;
}

// "FLOAT32" and so on: the contract's short names.
std::string_view Name(DataType type);

// The value of IEEE binary16 bits.
float Float16ToFloat(uint16_t bits);
// Rounded once from f64 (nearest, ties to even); what is too large becomes infinite.
uint16_t DoubleToFloat16(double value);
uint16_t DoubleToBfloat16(double value);

}  // namespace lossd

#endif  // LOSSD_LIB_TENSOR_DATA_TYPE_H_
