#include "lib/forms/value_rule.h"

#include <cstring>
#include <limits>

namespace lossd {
namespace {

// The values may lie at any address.
template <class T>
T Load(const T* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Blocks of 64 are judged without a branch a value, which vectorises; the first bad block is then
// searched.
template <class T, class Valid>
size_t FirstWhereNot(const T* values, size_t n, const Valid& valid) {
  constexpr size_t kBlock = 64;
  size_t i = 0;
  for (; i + kBlock <= n; i += kBlock) {
    unsigned bad = 0;
    for (size_t j = 0; j < kBlock; ++j) bad |= valid(Load(values + i + j)) ? 0u : 1u;
    if (bad != 0) break;
  }
  while (i < n && valid(Load(values + i))) ++i;
  return i;
}

// The first of the last two numbers of a box that is below the first two (kCorners) or below 0.
// Blocks of 16 boxes are judged without a branch a box, as above.
template <bool kCorners, class T>
size_t FirstBelow(const T* values, size_t n) {
  constexpr size_t kBlock = 64;
  const auto below = [values](size_t i) {
    return Load(values + i) < (kCorners ? Load(values + i - 2) : T(0));
  };
  size_t box = 0;
  for (; box + kBlock <= n; box += kBlock) {
    int bad = 0;
    for (size_t i = box; i < box + kBlock; i += 4) {
      bad |= static_cast<int>(below(i + 2)) | static_cast<int>(below(i + 3));
    }
    if (bad != 0) break;
  }
  for (; box + 4 <= n; box += 4) {
    if (below(box + 2)) return box + 2;
    if (below(box + 3)) return box + 3;
  }
  return n;
}

template <class T>
size_t FirstInvalidOf(ValueRule rule, const T* values, size_t n) {
  switch (rule) {
    case ValueRule::kAny:
    case ValueRule::kLabel:
    case ValueRule::kBox:
    case ValueRule::kLabelList:
    case ValueRule::kClass:
    case ValueRule::kSequenceLabel:
    case ValueRule::kLength:
      return n;
    case ValueRule::kUnitInterval:
      return FirstWhereNot(values, n, [](T v) { return !(v < T(0)) & !(v > T(1)); });
    case ValueRule::kZeroOrOne:
      return FirstWhereNot(values, n, [](T v) { return (v == T(0)) | (v == T(1)); });
    case ValueRule::kPlusMinusOne:
      return FirstWhereNot(values, n, [](T v) { return (v == T(-1)) | (v == T(1)); });
    case ValueRule::kSimilarity:
      return FirstWhereNot(values, n, [](T v) { return (v == T(-1)) | (v == T(0)) | (v == T(1)); });
    case ValueRule::kNonNegative:
      return FirstWhereNot(values, n, [](T v) { return v >= T(0); });
    case ValueRule::kFiniteNonNegative:
      return FirstWhereNot(values, n,
                           [](T v) { return (v >= T(0)) & (v <= std::numeric_limits<T>::max()); });
    case ValueRule::kBoxCorners:
      return FirstBelow<true>(values, n);
    case ValueRule::kBoxSizes:
      return FirstBelow<false>(values, n);
  }
  return n;
}

}  // namespace

const char* Describe(ValueRule rule) {
  switch (rule) {
    case ValueRule::kAny:
      return "";
    case ValueRule::kUnitInterval:
      return "0 to 1";
    case ValueRule::kZeroOrOne:
      return "0 or 1";
    case ValueRule::kPlusMinusOne:
      return "-1 or +1";
    case ValueRule::kSimilarity:
      return "-1, 0 or 1";
    case ValueRule::kNonNegative:
      return "at least 0";
    case ValueRule::kFiniteNonNegative:
      return "finite and at least 0";
    case ValueRule::kLabel:
      return "0 to C - 1";
    case ValueRule::kBox:
      return "boxes, no width or height negative";
    case ValueRule::kBoxCorners:
      return "x2 of at least x1 and y2 of at least y1";
    case ValueRule::kBoxSizes:
      return "width and height of at least 0";
    case ValueRule::kLabelList:
      return "0 to C - 1, up to the first -1";
    case ValueRule::kClass:
      return "at least 0";
    case ValueRule::kSequenceLabel:
      return "0 to C - 1, but not the blank";
    case ValueRule::kLength:
      return "0 to the size of the dimension";
  }
  return "";
}

size_t FirstInvalid(ValueRule rule, const float* values, size_t n) {
  return FirstInvalidOf(rule, values, n);
}
size_t FirstInvalid(ValueRule rule, const double* values, size_t n) {
  return FirstInvalidOf(rule, values, n);
}

}  // namespace lossd
