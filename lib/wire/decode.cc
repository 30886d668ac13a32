#include "lib/wire/decode.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <set>
#include <span>
#include <string_view>
#include <unordered_map>

#include "google/protobuf/descriptor.h"
#include "lib/base/status.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.17g", value);
  return text;
}

template <class T>
void Append(T value, std::vector<std::byte>* bytes) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes->insert(bytes->end(), begin, begin + sizeof(T));
}

// A hand-written value as an integer of [minimum, maximum]; `value` is a double or an int64.
template <class Raw, class T>
bool AppendInteger(T value, std::vector<std::byte>* bytes) {
  if constexpr (std::is_same_v<T, double>) {
    // The bounds of int64 are not both doubles: 2^63 is the first beyond.
    constexpr double kBeyond =
        sizeof(Raw) == 8 ? 0x1p63 : static_cast<double>(std::numeric_limits<Raw>::max()) + 1;
    if (!(value >= static_cast<double>(std::numeric_limits<Raw>::min()) && value < kBeyond) ||
        value != std::floor(value)) {
      return false;
    }
  } else {
    if (value < static_cast<T>(std::numeric_limits<Raw>::min()) ||
        value > static_cast<T>(std::numeric_limits<Raw>::max())) {
      return false;
    }
  }
  Append(static_cast<Raw>(value), bytes);
  return true;
}

// An int64 as a double that rounds to fewer than 53 bits as the integer itself does: beyond 2^53
// what is cut off leaves a one in the last place (rounding to odd), so that no tie is made up.
double ForRounding(int64_t value) {
  constexpr int64_t kExact = int64_t{1} << 53;
  if (value >= -kExact && value <= kExact) return static_cast<double>(value);
  constexpr int64_t kCut = 0x7FF;
  return static_cast<double>((value & ~kCut) | ((value & kCut) != 0 ? kCut + 1 : 0));
}
double ForRounding(double value) { return value; }

template <class T>
bool AppendValue(DataType dtype, T value, std::vector<std::byte>* bytes) {
  switch (dtype) {
    case DataType::kFloat32:
      Append(static_cast<float>(value), bytes);
      return true;
    case DataType::kFloat64:
      Append(static_cast<double>(value), bytes);
      return true;
    case DataType::kFloat16:
      Append(DoubleToFloat16(ForRounding(value)), bytes);
      return true;
    case DataType::kBfloat16:
      Append(DoubleToBfloat16(ForRounding(value)), bytes);
      return true;
    case DataType::kInt32:
      return AppendInteger<int32_t>(value, bytes);
    case DataType::kInt64:
      return AppendInteger<int64_t>(value, bytes);
    case DataType::kUint8:
      return AppendInteger<uint8_t>(value, bytes);
    case DataType::kBool:
      if (value != T(0) && value != T(1)) return false;
      Append(static_cast<uint8_t>(value), bytes);
      return true;
  }
  return false;
}

template <class Values>
absl::StatusOr<std::vector<std::byte>> Convert(DataType dtype, const Shape& shape,
                                               const Values& values, const char* field) {
  if (values.size() != shape.elements()) {
    return InvalidArgument("DATA_SIZE", field,
                           "expected " + std::to_string(shape.elements()) + " values for " +
                               shape.ToString() + ", got " + std::to_string(values.size()));
  }
  std::vector<std::byte> bytes;
  bytes.reserve(static_cast<size_t>(values.size()) * ByteSize(dtype));
  for (int i = 0; i < values.size(); ++i) {
    if (AppendValue(dtype, values[i], &bytes)) continue;
    return InvalidArgument("INVALID_VALUE", field,
                           "value " + std::to_string(i) + ", " +
                               Number(static_cast<double>(values[i])) + ", is no " +
                               std::string(Name(dtype)));
  }
  return bytes;
}

// The value of a parameter's field as the table wants it.
double FieldValue(const Message& message, const FieldDescriptor* field) {
  const Reflection* reflection = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return reflection->GetDouble(message, field);
    case FieldDescriptor::CPPTYPE_BOOL:
      return reflection->GetBool(message, field) ? 1 : 0;
    case FieldDescriptor::CPPTYPE_ENUM:
      return reflection->GetEnumValue(message, field);
    default:
      return static_cast<double>(reflection->GetInt64(message, field));
  }
}

bool InBounds(const Parameter& parameter, double value) {
  if (!(value >= parameter.minimum && value <= parameter.maximum)) return false;
  return !(parameter.above_minimum && value == parameter.minimum);
}

// A list of the messages of a repeated field.
absl::StatusOr<std::vector<const Message*>> Elements(const Message& message,
                                                     const FieldDescriptor* field, size_t most,
                                                     const std::string& path) {
  const Reflection* reflection = message.GetReflection();
  const int count = reflection->FieldSize(message, field);
  if (static_cast<size_t>(count) > most) {
    return InvalidArgument("INVALID_PARAMETER", path,
                           "expected at most " + std::to_string(most) + " " + field->name() +
                               ", got " + std::to_string(count));
  }
  std::vector<const Message*> elements;
  for (int i = 0; i < count; ++i)
    elements.push_back(&reflection->GetRepeatedMessage(message, field, i));
  return elements;
}

// The number of a pair: its field is required, for 0 is out of bounds.
absl::StatusOr<double> DecodePairNumber(const Message& pair, const Parameter& parameter, int number,
                                        const std::string& path) {
  const char* name = parameter.names[number];
  const double value =
      pair.GetReflection()->GetDouble(pair, pair.GetDescriptor()->FindFieldByName(name));
  if (InBounds(parameter, value)) return value;
  return InvalidArgument(
      "INVALID_PARAMETER", path + "." + name,
      std::string("expected ") + name + " " + DescribeBounds(parameter) + ", got " + Number(value));
}

absl::Status DecodePairGroups(const Message& kind, const FieldDescriptor* field,
                              const Parameter& parameter, LossSpec* spec) {
  const std::string path = spec->path + "." + spec->row->name + "." + parameter.name;
  const auto groups = Elements(kind, field, kMaxPairGroups, path);
  if (!groups.ok()) return groups.status();
  for (const Message* group : *groups) {
    const std::string list =
        path + "[" + std::to_string(spec->groups.size()) + "]." + parameter.names[0];
    const auto* pairs_field = group->GetDescriptor()->FindFieldByName(parameter.names[0]);
    const auto pairs = Elements(*group, pairs_field, kMaxPairsOfGroup, list);
    if (!pairs.ok()) return pairs.status();
    if (pairs->empty()) {
      return InvalidArgument("INVALID_PARAMETER", list,
                             std::string("expected at least one of ") + parameter.names[0]);
    }
    auto& to = spec->groups.emplace_back();
    for (const Message* pair : *pairs) {
      const std::string place = list + "[" + std::to_string(to.size()) + "]";
      const auto first = DecodePairNumber(*pair, parameter, 1, place);
      if (!first.ok()) return first.status();
      const auto second = DecodePairNumber(*pair, parameter, 2, place);
      if (!second.ok()) return second.status();
      to.push_back({*first, *second});
    }
  }
  return absl::OkStatus();
}

// A member of Loss.kind: its row, and the fields of the row's parameters.
struct KindOfLoss {
  const FieldDescriptor* member = nullptr;
  const LossRow* row = nullptr;
  std::vector<const FieldDescriptor*> parameters;
};

// By the member's number, with the names looked up once.
const KindOfLoss& FindKind(int number) {
  static const auto* const kinds = [] {
    auto* all = new std::unordered_map<int, KindOfLoss>;
    const auto* oneof = v1::Loss::descriptor()->FindOneofByName("kind");
    for (int i = 0; i < oneof->field_count(); ++i) {
      const FieldDescriptor* member = oneof->field(i);
      KindOfLoss& kind = (*all)[member->number()];
      kind.member = member;
      kind.row = Catalogue::Get().Find(member->name());
      for (const Parameter& parameter : kind.row->parameters)
        kind.parameters.push_back(member->message_type()->FindFieldByName(parameter.name));
    }
    return all;
  }();
  return kinds->at(number);
}

absl::Status DecodeParameters(const Message& kind,
                              const std::vector<const FieldDescriptor*>& fields, LossSpec* spec) {
  const LossRow& row = *spec->row;
  for (int i = 0; i < row.parameters.size; ++i) {
    const Parameter& parameter = row.parameters[i];
    spec->parameters[i] = parameter.default_value;
    const FieldDescriptor* field = fields[static_cast<size_t>(i)];
    if (parameter.type == ParameterType::kPairGroups) {
      absl::Status s = DecodePairGroups(kind, field, parameter, spec);
      if (!s.ok()) return s;
      if (!spec->groups.empty()) spec->parameters[i] = static_cast<double>(spec->groups.size());
      continue;
    }
    if (!kind.GetReflection()->HasField(kind, field)) continue;
    const double value = FieldValue(kind, field);
    if (!InBounds(parameter, value)) {
      return InvalidArgument("INVALID_PARAMETER",
                             spec->path + "." + row.name + "." + parameter.name,
                             std::string(row.name) + ": expected " + parameter.name + " " +
                                 DescribeBounds(parameter) + ", got " + Number(value));
    }
    spec->parameters[i] = value;
  }
  return absl::OkStatus();
}

absl::StatusOr<LossSpec> DecodeLoss(const v1::Loss& loss, const std::string& path) {
  if (loss.kind_case() == v1::Loss::KIND_NOT_SET) {
    return InvalidArgument("NO_LOSS", path + ".kind", "expected a loss, e.g. mse");
  }
  LossSpec spec;
  spec.path = path;
  const KindOfLoss& kind = FindKind(static_cast<int>(loss.kind_case()));
  spec.row = kind.row;
  const Message& parameters = loss.GetReflection()->GetMessage(loss, kind.member);
  if (absl::Status s = DecodeParameters(parameters, kind.parameters, &spec); !s.ok()) return s;
  if (loss.has_weight()) spec.weight = loss.weight();
  if (!std::isfinite(spec.weight)) {
    return InvalidArgument("INVALID_PARAMETER", path + ".weight",
                           "expected a finite weight, got " + Number(spec.weight));
  }
  if (loss.label().size() > kMaxLabelBytes) {
    return InvalidArgument("LABEL_TOO_LONG", path + ".label",
                           "expected at most " + std::to_string(kMaxLabelBytes) + " bytes, got " +
                               std::to_string(loss.label().size()));
  }
  spec.label = loss.label();
  for (const auto& [role, tensor] : loss.inputs()) {
    if (absl::Status s = CheckName(role, path + ".inputs"); !s.ok()) return s;
    if (absl::Status s = CheckName(tensor, path + ".inputs[\"" + role + "\"]"); !s.ok()) return s;
    spec.inputs.emplace(role, tensor);
  }
  return spec;
}

}  // namespace

absl::StatusOr<DataType> DecodeDataType(v1::DataType dtype) {
  if (dtype < v1::DATA_TYPE_FLOAT32 || dtype > v1::DATA_TYPE_BOOL) {
    return InvalidArgument("INVALID_DTYPE", ".dtype",
                           "expected a DataType, got " + std::to_string(static_cast<int>(dtype)));
  }
  return static_cast<DataType>(dtype);
}

const PiecewiseBytes* FindPayload(const Payloads& payloads, const std::string& name) {
  const auto found = payloads.find(name);
  return found == payloads.end() ? nullptr : &found->second;
}

absl::StatusOr<TensorView> DecodeTensor(const v1::Tensor& tensor, const PiecewiseBytes* payload,
                                        std::deque<std::vector<std::byte>>* converted) {
  const absl::StatusOr<DataType> dtype = DecodeDataType(tensor.dtype());
  if (!dtype.ok()) return dtype.status();
  const absl::StatusOr<Shape> shape =
      Shape::Create({tensor.shape().data(), static_cast<size_t>(tensor.shape_size())});
  if (!shape.ok()) return shape.status();
  const bool has_data = payload != nullptr || !tensor.data().empty();
  const int carriers = (has_data ? 1 : 0) + (tensor.float_values().empty() ? 0 : 1) +
                       (tensor.int_values().empty() ? 0 : 1);
  if (carriers > 1) {
    return InvalidArgument("AMBIGUOUS_DATA", ".data",
                           "expected one of data, float_values and int_values, got more");
  }
  if (!tensor.float_values().empty()) {
    auto bytes = Convert(*dtype, *shape, tensor.float_values(), ".float_values");
    if (!bytes.ok()) return bytes.status();
    converted->push_back(*std::move(bytes));
    return TensorView::Create(*dtype, *shape, converted->back());
  }
  if (!tensor.int_values().empty()) {
    auto bytes = Convert(*dtype, *shape, tensor.int_values(), ".int_values");
    if (!bytes.ok()) return bytes.status();
    converted->push_back(*std::move(bytes));
    return TensorView::Create(*dtype, *shape, converted->back());
  }
  if (payload == nullptr)
    return TensorView::Create(*dtype, *shape, std::as_bytes(std::span(tensor.data())));
  if (payload->pieces().size() == 1)
    return TensorView::Create(*dtype, *shape, payload->pieces().front());
  return TensorView::Create(*dtype, *shape, payload);
}

absl::Status CheckName(const std::string& name, const std::string& path) {
  if (name.size() <= kMaxNameBytes) return absl::OkStatus();
  return InvalidArgument("NAME_TOO_LONG", path,
                         "expected the name of a tensor of at most " +
                             std::to_string(kMaxNameBytes) + " bytes, got " +
                             std::to_string(name.size()));
}

absl::Status DecodeInputs(const google::protobuf::Map<std::string, v1::Tensor>& inputs,
                          const Payloads& payloads, DecodedTensors* decoded) {
  if (inputs.size() > kMaxInputsOfRequest) {
    return InvalidArgument("TOO_MANY_INPUTS", "inputs",
                           "expected at most " + std::to_string(kMaxInputsOfRequest) +
                               " tensors, got " + std::to_string(inputs.size()));
  }
  for (const auto& [name, tensor] : inputs) {
    if (absl::Status s = CheckName(name, "inputs"); !s.ok()) return s;
    absl::StatusOr<TensorView> view =
        DecodeTensor(tensor, FindPayload(payloads, name), &decoded->converted);
    if (!view.ok()) return WithFieldPrefix(view.status(), "inputs[\"" + name + "\"]");
    decoded->views.insert_or_assign(name, *view);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<LossSpec>> DecodeLosses(
    const google::protobuf::RepeatedPtrField<v1::Loss>& losses) {
  if (losses.empty()) return InvalidArgument("NO_LOSS", "losses", "expected at least one loss");
  if (losses.size() > kMaxLosses) {
    return InvalidArgument("TOO_MANY_LOSSES", "losses",
                           "expected at most " + std::to_string(kMaxLosses) + " losses, got " +
                               std::to_string(losses.size()));
  }
  std::vector<LossSpec> specs;
  for (int i = 0; i < losses.size(); ++i) {
    absl::StatusOr<LossSpec> spec = DecodeLoss(losses[i], "losses[" + std::to_string(i) + "]");
    if (!spec.ok()) return spec.status();
    specs.push_back(*std::move(spec));
  }
  return specs;
}

NonFinitePolicy DecodeNonFinite(v1::NonFinitePolicy policy) {
  switch (policy) {
    case v1::NON_FINITE_POLICY_SKIP:
      return NonFinitePolicy::kSkip;
    case v1::NON_FINITE_POLICY_REJECT:
      return NonFinitePolicy::kReject;
    default:
      return NonFinitePolicy::kPropagate;
  }
}

absl::Status CheckLabels(const v1::EvaluationLabels& labels) {
  const std::pair<const char*, const std::string*> fields[] = {
      {"labels.model", &labels.model()},
      {"labels.dataset", &labels.dataset()},
      {"labels.run", &labels.run()}};
  for (const auto& [path, text] : fields) {
    if (text->size() <= kMaxLabelBytes) continue;
    return InvalidArgument("LABEL_TOO_LONG", path,
                           "expected at most " + std::to_string(kMaxLabelBytes) + " bytes, got " +
                               std::to_string(text->size()));
  }
  return absl::OkStatus();
}

absl::Status CheckAllUsed(const std::vector<LossSpec>& losses, const NamedTensors& inputs) {
  for (const auto& [name, view] : inputs) {
    if (name == kSampleWeight) continue;
    const bool used = std::ranges::any_of(losses, [&name = name](const LossSpec& loss) {
      for (const auto& [role, tensor] : loss.inputs) {
        if (tensor == name) return true;
      }
      for (const Signature& signature : loss.row->signatures) {
        for (const Input& input : signature.inputs) {
          if (input.name == name) return true;
        }
      }
      return false;
    });
    if (used) continue;
    std::set<std::string_view> distinct;
    for (const LossSpec& loss : losses) distinct.insert(loss.row->name);
    std::string names;
    for (const std::string_view loss : distinct)
      names += (names.empty() ? "" : ", ") + std::string(loss);
    return InvalidArgument("UNKNOWN_INPUT", "inputs[\"" + name + "\"]",
                           "no loss of the request (" + names + ") reads " + name);
  }
  return absl::OkStatus();
}

absl::Status CheckOptionalUsed(const std::vector<const BoundLoss*>& losses,
                               const NamedTensors& inputs) {
  for (const auto& [name, view] : inputs) {
    const BoundLoss* knows = nullptr;
    bool used = false;
    for (const BoundLoss* loss : losses) {
      for (const Signature& signature : loss->row->signatures) {
        for (const Input& input : signature.inputs) {
          if (input.optional && input.name == name) knows = loss;
        }
      }
      used |= loss->call.class_weight.name == name || loss->call.labels.name == name;
      for (const Operand& operand : loss->call.operands) used |= operand.name == name;
      for (const Operand& operand : loss->call.whole) used |= operand.name == name;
    }
    if (used || knows == nullptr) continue;
    return InvalidArgument("UNKNOWN_INPUT", "inputs[\"" + name + "\"]",
                           std::string(knows->row->name) + " takes no " + name + " with " +
                               knows->signature->inputs[0].name);
  }
  return absl::OkStatus();
}

absl::Status CheckPools(const std::vector<const BoundLoss*>& losses) {
  size_t pools = 0;
  for (const BoundLoss* loss : losses) {
    pools += loss->pools();
    if (pools <= kMaxPools) continue;
    return ResourceExhausted("TOO_MANY_CLASSES", "inputs",
                             std::string(loss->row->name) + ": at most " +
                                 std::to_string(kMaxPools) +
                                 " sums by class are kept for all losses together");
  }
  return absl::OkStatus();
}

}  // namespace lossd
