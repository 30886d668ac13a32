#include "lib/wire/unknown_fields.h"

#include <unordered_map>
#include <vector>

#include "google/protobuf/descriptor.h"
#include "google/protobuf/unknown_field_set.h"
#include "lib/base/status.h"
#include "lib/wire/version.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::FileDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;
using google::protobuf::Reflection;

// What of a message has to be looked into: enums and messages. A oneof is asked for the field that
// is set, of which there may be fifty.
struct Plan {
  std::vector<const FieldDescriptor*> fields;
  std::vector<const OneofDescriptor*> oneofs;
};

bool LooksInto(const FieldDescriptor* field) {
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return true;
  if (field->cpp_type() != FieldDescriptor::CPPTYPE_MESSAGE) return false;
  // Tensors skip what they do not know.
  if (!field->is_map()) return field->message_type() != v1::Tensor::descriptor();
  const FieldDescriptor* value = field->message_type()->map_value();
  return value->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE &&
         value->message_type() != v1::Tensor::descriptor();
}

Plan MakePlan(const Descriptor* message) {
  Plan plan;
  for (int i = 0; i < message->field_count(); ++i) {
    const FieldDescriptor* field = message->field(i);
    if (field->real_containing_oneof() == nullptr && LooksInto(field)) plan.fields.push_back(field);
  }
  for (int i = 0; i < message->real_oneof_decl_count(); ++i)
    plan.oneofs.push_back(message->oneof_decl(i));
  return plan;
}

using Plans = std::unordered_map<const Descriptor*, Plan>;

void AddPlans(const Descriptor* message, Plans* plans) {
  plans->emplace(message, MakePlan(message));
  for (int i = 0; i < message->nested_type_count(); ++i) AddPlans(message->nested_type(i), plans);
}

void AddPlans(const FileDescriptor* file, Plans* plans) {
  for (int i = 0; i < file->message_type_count(); ++i) AddPlans(file->message_type(i), plans);
  for (int i = 0; i < file->dependency_count(); ++i) AddPlans(file->dependency(i), plans);
}

// Of all messages of the contract.
const Plan& PlanOf(const Descriptor* message) {
  static const Plans* const plans = [] {
    auto* all = new Plans;
    AddPlans(v1::ComputeLossRequest::descriptor()->file(), all);
    return all;
  }();
  return plans->at(message);
}

// Where a message stands in the request; it becomes text for an error only.
struct Place {
  const Place* within;  // null: `root` is the path
  const FieldDescriptor* field;
  int index;  // in a repeated field; -1: the field itself
  const std::string* root;
};

std::string PathOf(const Place& place) {
  if (place.within == nullptr) return *place.root;
  std::string path = PathOf(*place.within);
  if (!path.empty()) path += ".";
  path += place.field->name();
  return place.index < 0 ? path : path + "[" + std::to_string(place.index) + "]";
}

absl::Status UnknownError(const Place& place, const std::string& what) {
  const std::string path = PathOf(place);
  return InvalidArgument("UNKNOWN_FIELD", path,
                         "lossd " + std::string(kVersion) + " does not know " + what +
                             (path.empty() ? "" : " of " + path));
}

absl::Status CheckEnum(const Message& message, const FieldDescriptor* field, const Place& place) {
  const Reflection* reflection = message.GetReflection();
  const int count = field->is_repeated() ? reflection->FieldSize(message, field) : 1;
  for (int i = 0; i < count; ++i) {
    const int number = field->is_repeated() ? reflection->GetRepeatedEnumValue(message, field, i)
                                            : reflection->GetEnumValue(message, field);
    if (field->enum_type()->FindValueByNumber(number) == nullptr) {
      return UnknownError(
          place, "value " + std::to_string(number) + " of enum " + field->enum_type()->name());
    }
  }
  return absl::OkStatus();
}

absl::Status CheckMessage(const Message& message, const Place& place);

absl::Status CheckField(const Message& message, const FieldDescriptor* field, const Place& within) {
  Place place{&within, field, -1, nullptr};
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_ENUM) return CheckEnum(message, field, place);
  const Reflection* reflection = message.GetReflection();
  if (!field->is_repeated()) {
    if (!reflection->HasField(message, field)) return absl::OkStatus();
    return CheckMessage(reflection->GetMessage(message, field), place);
  }
  const int count = reflection->FieldSize(message, field);
  for (place.index = 0; place.index < count; ++place.index) {
    absl::Status s =
        CheckMessage(reflection->GetRepeatedMessage(message, field, place.index), place);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

absl::Status CheckMessage(const Message& message, const Place& place) {
  const Reflection* reflection = message.GetReflection();
  const auto& unknown = reflection->GetUnknownFields(message);
  if (!unknown.empty()) {
    return UnknownError(place, "field " + std::to_string(unknown.field(0).number()));
  }
  const Plan& plan = PlanOf(message.GetDescriptor());
  for (const FieldDescriptor* field : plan.fields) {
    if (absl::Status s = CheckField(message, field, place); !s.ok()) return s;
  }
  for (const OneofDescriptor* oneof : plan.oneofs) {
    const FieldDescriptor* field = reflection->GetOneofFieldDescriptor(message, oneof);
    if (field == nullptr || !LooksInto(field)) continue;
    if (absl::Status s = CheckField(message, field, place); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status RefuseUnknown(const Message& message, const std::string& path) {
  return CheckMessage(message, {nullptr, nullptr, -1, &path});
}

}  // namespace lossd
