// What the elements of an input must be, and the check of a block. Thread-safe.
#ifndef LOSSD_LIB_FORMS_VALUE_RULE_H_
#define LOSSD_LIB_FORMS_VALUE_RULE_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// A NaN passes kAny and kUnitInterval: there the item is NaN, and the non-finite policy rules.
enum class ValueRule {
  kAny,
  kUnitInterval,  // 0 to 1
  kZeroOrOne,
  kPlusMinusOne,       // -1 or +1
  kNonNegative,        // 0 or above; NaN is neither
  kFiniteNonNegative,  // weights
  kLabel,              // 0 to C - 1, or ignore_index
};

// For people, e.g. "-1 or +1"; empty for kAny.
const char* Describe(ValueRule rule);

// Index of the first value that breaks the rule, or n. Not for kLabel.
size_t FirstInvalid(ValueRule rule, const float* values, size_t n);
size_t FirstInvalid(ValueRule rule, const double* values, size_t n);

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_VALUE_RULE_H_
