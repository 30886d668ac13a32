#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/forms/operand_reader.cc"
#include <bit>
#include <cstddef>
#include <cstring>

#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/tensor/data_type.h"

#ifndef LOSSD_LIB_FORMS_OPERAND_READER_CC_
#define LOSSD_LIB_FORMS_OPERAND_READER_CC_

namespace lossd {

// Elements converted at a time: their raw bytes fit the stack and L1.
inline constexpr size_t kPiece = 1024;

template <class Raw>
inline Raw LoadRaw(const std::byte* bytes, size_t i) {
  Raw value;
  std::memcpy(&value, bytes + i * sizeof(Raw), sizeof(Raw));
  return value;
}

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_OPERAND_READER_CC_

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// binary16 to binary32, exact.
void WidenFloat16(const std::byte* bytes, size_t n, float* to) {
  const hn::ScalableTag<float> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> d16;
  constexpr size_t kLanes = hn::MaxLanes(d);
  const auto* from = reinterpret_cast<const hwy::float16_t*>(bytes);
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    hn::StoreU(hn::PromoteTo(d, hn::LoadU(d16, from + i)), d, to + i);
  }
  if (i == n) return;
  HWY_ALIGN hwy::float16_t halves[kLanes] = {};
  HWY_ALIGN float floats[kLanes];
  std::memcpy(halves, bytes + i * sizeof(uint16_t), (n - i) * sizeof(uint16_t));
  hn::Store(hn::PromoteTo(d, hn::Load(d16, halves)), d, floats);
  std::memcpy(to + i, floats, (n - i) * sizeof(float));
}

// Integers to T; the index of the first that T cannot hold, or n.
template <class Raw, class T>
size_t ConvertIntegers(const std::byte* bytes, size_t n, T* to) {
  if constexpr (sizeof(Raw) < 4) {
    for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(LoadRaw<Raw>(bytes, i));
    return n;
  } else {
    size_t inexact = n;
    for (size_t i = 0; i < n; ++i) {
      const Raw value = LoadRaw<Raw>(bytes, i);
      to[i] = static_cast<T>(value);
      // 2^63 itself does not convert back.
      const bool exact =
          to[i] < T(0x1p63) && static_cast<int64_t>(to[i]) == static_cast<int64_t>(value);
      if (!exact && inexact == n) inexact = i;
    }
    return inexact;
  }
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
    case DataType::kFloat16:
      if constexpr (sizeof(T) == 4) {
        WidenFloat16(bytes, n, to);
      } else {
        float floats[kPiece];
        WidenFloat16(bytes, n, floats);
        for (size_t i = 0; i < n; ++i) to[i] = static_cast<T>(floats[i]);
      }
      return n;
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

// n <= kPiece elements as the compute type; the index of the first that it cannot hold, or n.
size_t ConvertToF32(DataType dtype, const std::byte* bytes, size_t n, float* to) {
  return ConvertPiece(dtype, bytes, n, to);
}
size_t ConvertToF64(DataType dtype, const std::byte* bytes, size_t n, double* to) {
  return ConvertPiece(dtype, bytes, n, to);
}

// True if every label is in [0, classes) and none is `ignored`.
bool LabelsInRange(const int64_t* labels, size_t n, int64_t classes, int64_t ignored) {
  const hn::ScalableTag<int64_t> d;
  const size_t lanes = hn::Lanes(d);
  auto good = hn::FirstN(d, lanes);
  const auto is_good = [&](auto v) HWY_ATTR {
    const auto in_range = hn::And(hn::Not(hn::Lt(v, hn::Zero(d))), hn::Lt(v, hn::Set(d, classes)));
    return hn::AndNot(hn::Eq(v, hn::Set(d, ignored)), in_range);
  };
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) good = hn::And(good, is_good(hn::LoadU(d, labels + i)));
  for (; i < n; ++i) good = hn::And(good, is_good(hn::Set(d, labels[i])));
  return hn::AllTrue(d, good);
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>

#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

HWY_EXPORT(ConvertToF32);
HWY_EXPORT(ConvertToF64);
HWY_EXPORT(LabelsInRange);

size_t ConvertPiece(DataType dtype, const std::byte* bytes, size_t n, float* to) {
  return HWY_DYNAMIC_DISPATCH(ConvertToF32)(dtype, bytes, n, to);
}
size_t ConvertPiece(DataType dtype, const std::byte* bytes, size_t n, double* to) {
  return HWY_DYNAMIC_DISPATCH(ConvertToF64)(dtype, bytes, n, to);
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

const int64_t* LabelsInPlace(const TensorView& view, int64_t first) {
  if (view.dtype() != DataType::kInt64 || !view.contiguous()) return nullptr;
  const std::byte* at = view.Run(first, 1, nullptr);
  if (reinterpret_cast<uintptr_t>(at) % alignof(int64_t) != 0) return nullptr;
  return reinterpret_cast<const int64_t*>(at);
}

bool AreLabels(const int64_t* labels, size_t n, int64_t classes, std::optional<int64_t> ignored) {
  // -1 is no label anyway.
  return HWY_DYNAMIC_DISPATCH(LabelsInRange)(labels, n, classes, ignored.value_or(-1));
}

double ReadElement(const TensorView& view, int64_t index) {
  double value = 0;
  int64_t inexact = -1;
  return LoadRaw<double>(
      reinterpret_cast<const std::byte*>(ReadRun<double>(view, index, 1, &value, &inexact)), 0);
}

}  // namespace lossd

#endif  // HWY_ONCE
