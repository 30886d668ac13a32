// Arithmetic on sizes that come from outside: false in place of overflow. Thread-safe, allocates
// nothing.
#ifndef LOSSD_LIB_BASE_CHECKED_H_
#define LOSSD_LIB_BASE_CHECKED_H_

#include <cstdint>

namespace lossd {

inline bool CheckedMultiply(int64_t a, int64_t b, int64_t* product) {
  return !__builtin_mul_overflow(a, b, product);
}

inline bool CheckedAdd(int64_t a, int64_t b, int64_t* sum) {
  return !__builtin_add_overflow(a, b, sum);
}

}  // namespace lossd

#endif  // LOSSD_LIB_BASE_CHECKED_H_
