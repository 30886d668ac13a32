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

template <class T>
size_t FirstInvalidOf(ValueRule rule, const T* values, size_t n) {
  switch (rule) {
    case ValueRule::kAny:
    case ValueRule::kLabel:
      return n;
    case ValueRule::kUnitInterval:
      return FirstWhereNot(values, n, [](T v) { return !(v < T(0)) & !(v > T(1)); });
    case ValueRule::kZeroOrOne:
      return FirstWhereNot(values, n, [](T v) { return (v == T(0)) | (v == T(1)); });
    case ValueRule::kPlusMinusOne:
      return FirstWhereNot(values, n, [](T v) { return (v == T(-1)) | (v == T(1)); });
    case ValueRule::kNonNegative:
      return FirstWhereNot(values, n, [](T v) { return v >= T(0); });
    case ValueRule::kFiniteNonNegative:
      return FirstWhereNot(values, n,
                           [](T v) { return (v >= T(0)) & (v <= std::numeric_limits<T>::max()); });
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
    case ValueRule::kNonNegative:
      return "at least 0";
    case ValueRule::kFiniteNonNegative:
      return "finite and at least 0";
    case ValueRule::kLabel:
      return "0 to C - 1, or ignore_index";
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
