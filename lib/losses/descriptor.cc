#include "lib/losses/descriptor.h"

#include <cstdio>
#include <cstring>

namespace lossd {
namespace {

constexpr double kLargest = 1.7976931348623157e308;

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

}  // namespace

const char* Describe(ShapeRule rule) {
  switch (rule) {
    case ShapeRule::kElements:
    case ShapeRule::kPositions:
      return "[N,...]";
    case ShapeRule::kClasses:
      return "[N,C,...]";
    case ShapeRule::kRows:
    case ShapeRule::kLabelRows:
      return "[N,C]";
    case ShapeRule::kEmbeddings:
      return "[N,D]";
    case ShapeRule::kBoxes:
      return "[N,4]";
    case ShapeRule::kFrames:
      return "[N,T,C]";
    case ShapeRule::kSequences:
      return "[N,S]";
    case ShapeRule::kRowValues:
    case ShapeRule::kInputLengths:
    case ShapeRule::kLabelLengths:
      return "[N]";
    case ShapeRule::kTable:
      return "[C,D]";
    case ShapeRule::kClassVector:
    case ShapeRule::kTableVector:
      return "[C]";
    case ShapeRule::kLastDimension:
      return "[last dimension]";
    case ShapeRule::kHead:
      return "[N,A,H,W,5+K]";
    case ShapeRule::kHeadBoxes:
      return "[M,6]";
  }
  return "";
}

const char* DescribeShape(const Signature& signature, const Input& input) {
  const bool of_rows =
      input.shape == ShapeRule::kPositions && (signature.inputs[0].shape == ShapeRule::kRows ||
                                               signature.inputs[0].shape == ShapeRule::kEmbeddings);
  return of_rows ? Describe(ShapeRule::kRowValues) : Describe(input.shape);
}

const char* Describe(ItemKind kind) {
  switch (kind) {
    case ItemKind::kElement:
      return "element";
    case ItemKind::kRow:
      return "row";
    case ItemKind::kPosition:
      return "position";
    case ItemKind::kBox:
      return "box";
    case ItemKind::kSample:
      return "sample";
    case ItemKind::kBatch:
      return "batch";
  }
  return "";
}

std::string EnumNames(const Parameter& parameter, const char* separator) {
  std::string text;
  for (const char* name : parameter.names)
    text += (text.empty() ? "" : separator) + std::string(name);
  return text;
}

std::string DescribeBounds(const Parameter& parameter) {
  if (parameter.type == ParameterType::kBool) return "true or false";
  if (parameter.type == ParameterType::kEnum) return EnumNames(parameter, " or ");
  const bool below = parameter.minimum <= -kLargest;
  const bool above = parameter.maximum >= kLargest;
  if (below && above) return "finite";
  const std::string minimum =
      (parameter.above_minimum ? "above " : "at least ") + Number(parameter.minimum);
  if (above) return "finite, " + minimum;
  if (!parameter.above_minimum)
    return Number(parameter.minimum) + " to " + Number(parameter.maximum);
  return minimum + ", at most " + Number(parameter.maximum);
}

bool Accepts(TypeRule rule, DataType type) {
  switch (rule) {
    case TypeRule::kFloating:
      return IsFloating(type);
    case TypeRule::kLabel:
      return !IsFloating(type);
    case TypeRule::kTarget:
    case TypeRule::kAny:
      return true;
  }
  return false;
}

std::string DescribeTypes(TypeRule rule) {
  switch (rule) {
    case TypeRule::kFloating:
      return "FLOAT32, FLOAT64, FLOAT16 or BFLOAT16";
    case TypeRule::kLabel:
      return "INT32, INT64, UINT8 or BOOL";
    case TypeRule::kTarget:
    case TypeRule::kAny:
      return "any type";
  }
  return "";
}

int SlotOf(const Signature& signature, int input) {
  // A whole-batch loss keeps all of its inputs in one list.
  if (signature.kernels.whole.f32 != nullptr) return input;
  int operands = 0;
  for (int i = 0; i <= input; ++i) {
    const ShapeRule shape = signature.inputs[i].shape;
    const bool operand = shape <= ShapeRule::kLastDimension;
    if (i == input) return operand ? operands : shape == ShapeRule::kTable ? kTableGradient : -1;
    if (operand) ++operands;
  }
  return -1;
}

bool HasGradient(const Signature& signature, int input) {
  const int slot = SlotOf(signature, input);
  return slot >= 0 && (signature.kernels.gradients() >> slot & 1) != 0;
}

int FindParameter(const LossRow& row, const char* name) {
  for (int i = 0; i < row.parameters.size; ++i) {
    if (std::strcmp(row.parameters[i].name, name) == 0) return i;
  }
  return -1;
}

}  // namespace lossd
