#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/forms/operand_reader.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// binary16 to binary32, exact. `from` and `to` have room for whole vectors.
void WidenFloat16(const uint16_t* from, size_t n, float* to) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    const auto half = hn::LoadU(d16, reinterpret_cast<const hwy::float16_t*>(from) + i);
    hn::StoreU(hn::PromoteTo(d, half), d, to + i);
  }
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <bit>
#include <cstring>

#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

HWY_EXPORT(WidenFloat16);

// Elements converted at a time: their raw bytes fit the stack and L1.
constexpr size_t kPiece = 1024;

template <class Raw>
Raw LoadRaw(const std::byte* bytes, size_t i) {
  Raw value;
  std::memcpy(&value, bytes + i * sizeof(Raw), sizeof(Raw));
  return value;
}

// Integers to T; the index of the first that T cannot hold, or n.
template <class Raw, class T>
size_t ConvertIntegers(const std::byte* bytes, size_t n, T* to) {
  size_t inexact = n;
  for (size_t i = 0; i < n; ++i) {
    const Raw value = LoadRaw<Raw>(bytes, i);
    to[i] = static_cast<T>(value);
    if constexpr (sizeof(Raw) >= 4) {
      // 2^63 itself does not convert back.
      const bool exact =
          to[i] < T(0x1p63) && static_cast<int64_t>(to[i]) == static_cast<int64_t>(value);
      if (!exact && inexact == n) inexact = i;
    }
  }
  return inexact;
}

template <class T>
size_t ConvertPiece(DataType dtype, const std::byte* bytes, size_t n, T* to) {
  switch (dtype) {
    case DataType::kFloat32:
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(LoadRaw<float>(bytes, i));
      return n;
    case DataType::kFloat64:
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(LoadRaw<double>(bytes, i));
      return n;
    case DataType::kFloat16: {
      // Room for the whole vectors that the kernel reads and writes: 16 lanes at most.
      uint16_t halves[kPiece + 16];
      float floats[kPiece + 16];
      std::memcpy(halves, bytes, n * sizeof(uint16_t));
      std::fill_n(halves + n, 16, uint16_t{0});
      HWY_DYNAMIC_DISPATCH(WidenFloat16)(halves, n, floats);
      for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(floats[i]);
      return n;
    }
    case DataType::kBfloat16:
      for (size_t i = 0; i < n; ++i) {
        const uint32_t bits = static_cast<uint32_t>(LoadRaw<uint16_t>(bytes, i)) << 16;
        to[i] = static_cast<T>(std::bit_cast<float>(bits));
      }
      return n;
    case DataType::kInt32:
      return ConvertIntegers<int32_t>(bytes, n, to);
    case DataType::kInt64:
      return ConvertIntegers<int64_t>(bytes, n, to);
    case DataType::kUint8:
      return ConvertIntegers<uint8_t>(bytes, n, to);
    case DataType::kBool:
      for (size_t i = 0; i < n; ++i) to[i] = bytes[i] != std::byte{0} ? T(1) : T(0);
      return n;
  }
  return n;
}

template <class T>
constexpr DataType DataTypeOf() {
  return sizeof(T) == 4 ? DataType::kFloat32 : DataType::kFloat64;
}

}  // namespace

template <class T>
const T* ReadRun(const TensorView& view, int64_t first, size_t n, T* buffer, int64_t* inexact) {
  if (view.dtype() == DataTypeOf<T>()) {
    return reinterpret_cast<const T*>(
        view.Run(first, static_cast<int64_t>(n), reinterpret_cast<std::byte*>(buffer)));
  }
  std::byte raw[kPiece * sizeof(double)];
  for (size_t done = 0; done < n; done += kPiece) {
    const size_t count = std::min(kPiece, n - done);
    const std::byte* bytes =
        view.Run(first + static_cast<int64_t>(done), static_cast<int64_t>(count), raw);
    const size_t bad = ConvertPiece(view.dtype(), bytes, count, buffer + done);
    if (bad < count) {
      *inexact = static_cast<int64_t>(done + bad);
      return buffer;
    }
  }
  return buffer;
}

template const float* ReadRun(const TensorView&, int64_t, size_t, float*, int64_t*);
template const double* ReadRun(const TensorView&, int64_t, size_t, double*, int64_t*);

void ReadLabels(const TensorView& view, int64_t first, size_t n, int64_t* labels) {
  std::byte raw[kPiece * sizeof(int64_t)];
  for (size_t done = 0; done < n; done += kPiece) {
    const size_t count = std::min(kPiece, n - done);
    const std::byte* bytes =
        view.Run(first + static_cast<int64_t>(done), static_cast<int64_t>(count), raw);
    int64_t* to = labels + done;
    switch (view.dtype()) {
      case DataType::kInt64:
        std::memcpy(to, bytes, count * sizeof(int64_t));
        break;
      case DataType::kInt32:
        for (size_t i = 0; i < count; ++i) to[i] = LoadRaw<int32_t>(bytes, i);
        break;
      case DataType::kBool:
        for (size_t i = 0; i < count; ++i) to[i] = bytes[i] != std::byte{0} ? 1 : 0;
        break;
      default:
        for (size_t i = 0; i < count; ++i) to[i] = std::to_integer<int64_t>(bytes[i]);
        break;
    }
  }
}

double ReadElement(const TensorView& view, int64_t index) {
  double value = 0;
  int64_t inexact = -1;
  return LoadRaw<double>(
      reinterpret_cast<const std::byte*>(ReadRun<double>(view, index, 1, &value, &inexact)), 0);
}

}  // namespace lossd

#endif  // HWY_ONCE
