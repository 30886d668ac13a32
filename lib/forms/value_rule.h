// What the elements of an input must be, and the check of a block. Thread-safe.
#ifndef LOSSD_LIB_FORMS_VALUE_RULE_H_
#define LOSSD_LIB_FORMS_VALUE_RULE_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// A NaN passes kAny, kUnitInterval and boxes: there the item is NaN, and the non-finite policy
// rules.
enum class ValueRule {
  kAny,
  kUnitInterval,  // 0 to 1
  kZeroOrOne,
  kPlusMinusOne,       // -1 or +1
  kSimilarity,         // 1; or -1 or 0
  kNonNegative,        // 0 or above; NaN is neither
  kFiniteNonNegative,  // weights
  kLabel,              // 0 to C - 1, or ignore_index
  kLabelList,          // 0 to C - 1, up to the first -1
  kClass,              // 0 or above: the classes are the labels that occur
  kBox,                // in a table: one of the next two, by the loss's parameter `format`
  kBoxCorners,         // rows x1, y1, x2, y2: x2 at least x1, y2 at least y1
  kBoxSizes,           // rows of a point and a size: width and height at least 0
  kSequenceLabel,      // 0 to C - 1 without the blank
  kLength,             // 0 to the size of the dimension that it cuts
};

// For people, e.g. "-1 or +1"; empty for kAny.
const char* Describe(ValueRule rule);

// Index of the first value that breaks the rule, or n. Not for integers and kBox; of boxes whole
// ones, and the index is that of the upper edge or of the size.
size_t FirstInvalid(ValueRule rule, const float* values, size_t n);
size_t FirstInvalid(ValueRule rule, const double* values, size_t n);

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_VALUE_RULE_H_
