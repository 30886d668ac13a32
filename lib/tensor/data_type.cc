#include "lib/tensor/data_type.h"

#include <bit>
#include <cmath>

namespace lossd {
namespace {

// Rounds a finite f64 to a binary format with `mantissa_bits` stored bits and exponents from
// `minimum_exponent` (of the smallest normal number) up; the result is a value that the format
// holds, or beyond its largest.
double RoundToFormat(double value, int mantissa_bits, int minimum_exponent) {
  if (value == 0 || !std::isfinite(value)) return value;
  int exponent = std::ilogb(value);
  if (exponent < minimum_exponent) exponent = minimum_exponent;
  const double unit = std::ldexp(1.0, exponent - mantissa_bits);
  return std::nearbyint(value / unit) *
         unit;  // both steps exact but for the rounding to a whole number
}

}  // namespace

std::string_view Name(DataType type) {
  switch (type) {
    case DataType::kFloat32:
      return "FLOAT32";
    case DataType::kFloat64:
      return "FLOAT64";
    case DataType::kFloat16:
      return "FLOAT16";
    case DataType::kBfloat16:
      return "BFLOAT16";
    case DataType::kInt32:
      return "INT32";
    case DataType::kInt64:
      return "INT64";
    case DataType::kUint8:
      return "UINT8";
    case DataType::kBool:
      return "BOOL";
  }
  return "UNKNOWN";
}

float Float16ToFloat(uint16_t bits) {
  const uint32_t sign = static_cast<uint32_t>(bits & 0x8000) << 16;
  const uint32_t exponent = (bits >> 10) & 0x1F;
  const uint32_t mantissa = bits & 0x3FF;
  if (exponent == 0x1F) {
    return std::bit_cast<float>(sign | 0x7F800000u | (mantissa != 0 ? 0x400000u : 0u));
  }
  if (exponent == 0) {
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
  }
  return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (mantissa << 13));
}

uint16_t DoubleToFloat16(double value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  if (std::isnan(value)) return 0x7E00;
  const double rounded = std::fabs(RoundToFormat(value, 10, -14));
  if (rounded > 65504.0) return sign | 0x7C00;
  if (rounded < 0x1p-14) return sign | static_cast<uint16_t>(rounded * 0x1p24);
  const int exponent = std::ilogb(rounded);
  const auto mantissa = static_cast<uint16_t>(std::ldexp(rounded, 10 - exponent)) & 0x3FF;
  return static_cast<uint16_t>(sign | ((exponent + 15) << 10) | mantissa);
}

uint16_t DoubleToBfloat16(double value) {
  if (std::isnan(value)) return 0x7FC0;
  // bfloat16 has the exponents of binary32, so the rounded value converts without a second
  // rounding.
  const double rounded = RoundToFormat(value, 7, -126);
  return static_cast<uint16_t>(std::bit_cast<uint32_t>(static_cast<float>(rounded)) >> 16);
}

}  // namespace lossd
