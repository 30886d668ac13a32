// What the catalogue says of a loss. One row describes it to everything that walks the catalogue:
// validation, computing, streams, ListLosses, metrics, the command line and the tests.
//
// Rows are constants of the program: plain data, shared by all threads.
#ifndef LOSSD_LIB_LOSSES_DESCRIPTOR_H_
#define LOSSD_LIB_LOSSES_DESCRIPTOR_H_

#include <cstdint>
#include <string>

#include "lib/accumulate/loss_sums.h"
#include "lib/forms/form.h"
#include "lib/forms/kernels.h"
#include "lib/forms/value_rule.h"
#include "lib/tensor/data_type.h"

namespace lossd {

// A constant array of a table.
template <class T>
struct TableSpan {
  const T* data = nullptr;
  int size = 0;

  constexpr TableSpan() = default;
  template <int kSize>
  constexpr TableSpan(const T (&array)[kSize]) : data(array), size(kSize) {}
  constexpr const T* begin() const { return data; }
  constexpr const T* end() const { return data + size; }
  constexpr const T& operator[](int i) const { return data[i]; }
};

// Inputs of a signature, without sample_weight.
inline constexpr int kMaxInputs = 4;

enum class ParameterType { kDouble, kInt64, kBool, kUnit };

// Values of a kUnit parameter: those of lossd.v1.Unit.
inline constexpr double kUnitNats = 1;
inline constexpr double kUnitBits = 2;
// 1, or 1 / ln 2.
constexpr double UnitsPerNat(double unit) {
  return unit == kUnitBits ? 1.442695040888963407360 : 1.0;
}

// A parameter: a field of the loss's message. Its value travels as a double (an int64 of these
// bounds is exact).
struct Parameter {
  const char* name;
  ParameterType type;
  double default_value;  // NaN: unset
  double minimum;
  double maximum;
  bool above_minimum;  // the minimum itself is out of bounds
  const char* help;
};

// The shape of an input. N is the leading dimension; the class axis is the second.
enum class ShapeRule {
  kElements,       // [N,...], the same for all inputs with this rule
  kClasses,        // [N,C,...], the same for all inputs with this rule
  kRows,           // [N,C], the same for all inputs with this rule
  kPositions,      // [N,...]: that of kClasses or kRows without the class axis
  kClassVector,    // [C]
  kLastDimension,  // [size of the last dimension of kElements]
};

enum class TypeRule {
  kFloating,  // FLOAT32, FLOAT64, FLOAT16, BFLOAT16
  kTarget,    // floating, or INT32, INT64, UINT8, BOOL where the value is exact in the compute type
  kAny,       // the same; INT32 and INT64 make the compute type f64
  kLabel,     // INT32, INT64, UINT8, BOOL
};

struct Input {
  const char* name;
  ShapeRule shape;
  TypeRule type;
  ValueRule values;
  bool optional;
};

enum class ItemKind { kElement, kRow, kPosition };

// A loss whose report needs more than the sum of its items: its kernels give parts, and the report
// is a rational function of their exact sums.
struct Pooling {
  // The parameters ask for it.
  bool (*wanted)(const double* parameters) = nullptr;
  Kernels kernels = {};
  // MEAN or SUM, rounded once.
  double (*report)(const LossSums& sums, bool mean) = nullptr;
  // Sets the parameters with which the plain kernels give the items of these sums.
  void (*resolve)(const LossSums& sums, double* parameters) = nullptr;
};

// One set of inputs that a loss takes, and the kernels for it.
struct Signature {
  TableSpan<Input> inputs = {};
  ItemKind item = ItemKind::kElement;
  Kernels kernels = {};
  Pooling pooling = {};
  // With labels, the class weight of the label also counts in the denominator of the mean.
  bool class_weight_in_denominator = false;
  // With the parameter `pointwise` set: an item a class, by these kernels.
  Kernels pointwise_kernels = {};
  // Bit i: parameter i means nothing with these inputs, and must keep its default.
  uint32_t unused_parameters = 0;
};

// A row of the catalogue.
struct LossRow {
  const char* name;
  const char* family;
  const char* help;
  const char* formula;
  const char* source;
  TableSpan<Parameter> parameters;
  TableSpan<Signature> signatures;
};

// The rows of a family, and the target whose kernels they hold.
struct LossTable {
  int64_t target;
  TableSpan<LossRow> rows;
};

// For people: "[N,C,...]", "> 0", "element", the types.
const char* Describe(ShapeRule rule);
const char* Describe(ItemKind kind);
std::string DescribeBounds(const Parameter& parameter);
// Whether a tensor of this type may be the input.
bool Accepts(TypeRule rule, DataType type);
std::string DescribeTypes(TypeRule rule);

// Index of a parameter of the row, or -1.
int FindParameter(const LossRow& row, const char* name);

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_DESCRIPTOR_H_
