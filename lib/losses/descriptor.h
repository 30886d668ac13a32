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
inline constexpr int kMaxInputs = 9;

enum class ParameterType {
  kDouble,
  kInt64,
  kBool,
  kEnum,
  // A list of lists of pairs of doubles: LossSpec::groups. Its value is the number of lists.
  kPairGroups,
};

// Values of the parameter unit: those of lossd.v1.Unit.
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
  // kEnum: the names of the values 1, 2, ..., without the prefix that they have on the wire.
  // kPairGroups: of the inner list, and of the first and the second number of a pair.
  TableSpan<const char*> names = {};
};

inline constexpr const char* kUnitNames[] = {"NATS", "BITS"};
inline constexpr Parameter kUnitParameter = {
    "unit", ParameterType::kEnum,     kUnitNats, kUnitNats, kUnitBits,
    false,  "unit of the logarithms", kUnitNames};

// The shape of an input, and so its place in the call. N is the leading dimension; the class axis
// is the second. The first five are operands.
enum class ShapeRule {
  kElements,       // [N,...], the same for all inputs with this rule
  kClasses,        // [N,C,...], the same for all inputs with this rule
  kRows,           // [N,C], the same for all inputs with this rule
  kEmbeddings,     // [N,D], the same for all inputs with this rule
  kBoxes,          // [N,4], the same for all inputs with this rule
  kFrames,         // [N,T,C], or [T,N,C] with the parameter time_major
  kLastDimension,  // [size of the last dimension of kElements]; an operand too
  kPositions,      // [N,...]: that of the operands without the second axis; labels
  kLabelRows,      // [N,C]: that of kRows; labels
  kRowValues,      // [N]: a value a row
  kClassVector,    // [C]
  kTable,          // [C,D]: a row a class, of the width of kEmbeddings
  kTableVector,    // [C]: a value a row of the table
  kSequences,      // [N,S]: a sequence of labels a sample of kFrames
  kInputLengths,   // [N]: frames of a sample that count
  kLabelLengths,   // [N]: labels of a sample that count
  kHead,           // [N,A,H,W,5+K]: predictions of A anchors a cell, the same N and K for all
  kHeadBoxes,      // [M,6]: boxes of all images
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

enum class ItemKind { kElement, kRow, kPosition, kBox, kSample, kBatch };

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
  // Where what the input `targets` may be hangs on the parameters; null: it does not.
  ValueRule (*target_values)(const double* parameters) = nullptr;
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
  // Kinds of items that the result counts: the names of LossSums::kinds.
  TableSpan<const char*> counts = {};
  // Its items do not depend on how samples are batched.
  bool streams = true;
  // Parts of an item that the result has beside it: the names of WholeItem::components.
  TableSpan<const char*> components = {};
  // A bool parameter that asks for the update of the table (RowForm::RunTableUpdate), unary calls
  // only, and the update's name among the outputs; null: there is none.
  const char* update_parameter = nullptr;
  const char* update_output = nullptr;
};

// The rows of a family, and the target whose kernels they hold.
struct LossTable {
  int64_t target;
  TableSpan<LossRow> rows;
};

// For people: "[N,C,...]", "> 0", "element", the types.
const char* Describe(ShapeRule rule);
// The same of an input: labels of rows are [N].
const char* DescribeShape(const Signature& signature, const Input& input);
const char* Describe(ItemKind kind);
std::string DescribeBounds(const Parameter& parameter);
// The names of a kEnum parameter, e.g. "NATS|BITS".
std::string EnumNames(const Parameter& parameter, const char* separator);
// Whether a tensor of this type may be the input.
bool Accepts(TypeRule rule, DataType type);
std::string DescribeTypes(TypeRule rule);

// Index among the call's operands of an input, kTableGradient for the table, -1 for another.
int SlotOf(const Signature& signature, int input);
// Whether the loss has a gradient with respect to an input.
bool HasGradient(const Signature& signature, int input);

// Index of a parameter of the row, or -1.
int FindParameter(const LossRow& row, const char* name);

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_DESCRIPTOR_H_
