#include "lib/wire/unknown_fields.h"

#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "lib/base/status.h"
#include "lib/wire/version.h"
#include "lossd/v1/tensor.pb.h"

namespace lossd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

std::string Join(const std::string& path, const std::string& name) {
  return path.empty() ? name : path + "." + name;
}

absl::Status UnknownError(const std::string& path, const std::string& what) {
  return InvalidArgument("UNKNOWN_FIELD", path,
                         "lossd " + std::string(kVersion) + " does not know " + what +
                             (path.empty() ? "" : " of " + path));
}

absl::Status CheckEnum(const Message& message, const FieldDescriptor* field,
                       const std::string& path) {
  const Reflection* reflection = message.GetReflection();
  const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
  for (int i = 0; i < count; ++i) {
    const int number = field->is_repeated() ? reflection->GetRepeatedEnumValue(message, field, i)
                                            : reflection->GetEnumValue(message, field);
    if (field->enum_type()->FindValueByNumber(number) == nullptr) {
      return UnknownError(
          path, "value " + std::to_string(number) + " of enum " + field->enum_type()->name());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMessageField(const Message& message, const FieldDescriptor* field,
                               const std::string& path) {
  // Values of a map of tensors, and the tensors in a constant's piece.
  if (field->is_map()) {
    const FieldDescriptor* value = field->message_type()->map_value();
    if (value->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE ||
        value->message_type() == v1::Tensor::descriptor()) {
      return absl::OkStatus();
    }
  }
  const Reflection* reflection = message.GetReflection();
  if (!field->is_repeated()) return RefuseUnknown(reflection->GetMessage(message, field), path);
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    absl::Status s = RefuseUnknown(reflection->GetRepeatedMessage(message, field, i),
                                   path + "[" + std::to_string(i) + "]");
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RefuseUnknown(const Message& message, const std::string& path) {
  if (message.GetDescriptor() == v1::Tensor::descriptor()) return absl::OkStatus();
  const Reflection* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    return UnknownError(path, "field " + std::to_string(unknown.field(0).number()));
  }
  std::vector<const FieldDescriptor*> fields;
  reflection->ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string field_path = Join(path, field->name());
    absl::Status s;
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) {
      s = CheckEnum(message, field, field_path);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      s = CheckMessageField(message, field, field_path);
    }
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace lossd
