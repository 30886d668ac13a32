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
      return "[N,C]";
    case ShapeRule::kClassVector:
      return "[C]";
    case ShapeRule::kLastDimension:
      return "[last dimension]";
  }
  return "";
}

const char* Describe(ItemKind kind) {
  switch (kind) {
    case ItemKind::kElement:
      return "element";
    case ItemKind::kRow:
      return "row";
    case ItemKind::kPosition:
      return "position";
  }
  return "";
}

std::string DescribeBounds(const Parameter& parameter) {
  if (parameter.type == ParameterType::kBool) return "true or false";
  if (parameter.type == ParameterType::kUnit) return "NATS or BITS";
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

int FindParameter(const LossRow& row, const char* name) {
  for (int i = 0; i < row.parameters.size; ++i) {
    if (std::strcmp(row.parameters[i].name, name) == 0) return i;
  }
  return -1;
}

}  // namespace lossd
