// Holds the contract and the catalogue together: every member of Loss.kind is a row and every row a
// member; every field of a loss's message is a parameter of its row, of the same type, and every
// parameter a field.
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "google/protobuf/descriptor.h"
#include "lib/forms/value_rule.h"
#include "lib/losses/catalogue.h"
#include "lib/tensor/data_type.h"
#include "lib/wire/engine_testing.h"
#include "lossd/v1/losses.pb.h"

namespace lossd {
namespace {

// The values of the enum after UNSPECIFIED, without their common prefix, are the parameter's names.
void ExpectNames(const google::protobuf::EnumDescriptor& type, const Parameter& parameter) {
  ASSERT_EQ(type.value_count(), parameter.names.size + 1);
  const std::string unspecified = type.FindValueByNumber(0)->name();
  const std::string prefix = unspecified.substr(0, unspecified.rfind("UNSPECIFIED"));
  for (int i = 0; i < parameter.names.size; ++i) {
    EXPECT_EQ(type.FindValueByNumber(i + 1)->name(), prefix + parameter.names[i]);
  }
  EXPECT_EQ(parameter.minimum, 1);
  EXPECT_EQ(parameter.maximum, parameter.names.size);
}

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

const google::protobuf::OneofDescriptor& Kind() {
  return *v1::Loss::descriptor()->FindOneofByName("kind");
}

TEST(Contract, MembersAreRowsAndRowsAreMembers) {
  std::set<std::string> members, rows;
  for (int i = 0; i < Kind().field_count(); ++i) members.insert(Kind().field(i)->name());
  for (const LossRow& row : Catalogue::Get().rows())
    EXPECT_TRUE(rows.insert(row.name).second) << row.name;
  EXPECT_EQ(members, rows);
}

TEST(Contract, FieldsAreParametersAndParametersAreFields) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    SCOPED_TRACE(row.name);
    const FieldDescriptor* member = v1::Loss::descriptor()->FindFieldByName(row.name);
    ASSERT_NE(member, nullptr);
    const Descriptor& message = *member->message_type();
    std::set<std::string> fields, parameters;
    for (int i = 0; i < message.field_count(); ++i) fields.insert(message.field(i)->name());
    for (const Parameter& parameter : row.parameters)
      EXPECT_TRUE(parameters.insert(parameter.name).second);
    EXPECT_EQ(fields, parameters);
  }
}

// A list of messages with a list of messages with two numbers.
void ExpectPairs(const FieldDescriptor& field, const Parameter& parameter) {
  ASSERT_EQ(field.type(), FieldDescriptor::TYPE_MESSAGE);
  ASSERT_EQ(field.message_type()->field_count(), 1);
  const FieldDescriptor& pairs = *field.message_type()->field(0);
  EXPECT_EQ(pairs.name(), parameter.names[0]);
  EXPECT_TRUE(pairs.is_repeated());
  ASSERT_EQ(pairs.type(), FieldDescriptor::TYPE_MESSAGE);
  ASSERT_EQ(pairs.message_type()->field_count(), 2);
  for (int i = 0; i < 2; ++i) {
    EXPECT_EQ(pairs.message_type()->field(i)->name(), parameter.names[1 + i]);
    EXPECT_EQ(pairs.message_type()->field(i)->type(), FieldDescriptor::TYPE_DOUBLE);
    EXPECT_FALSE(pairs.message_type()->field(i)->is_repeated());
  }
}

TEST(Contract, TypesAgree) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    const Descriptor& message = *v1::Loss::descriptor()->FindFieldByName(row.name)->message_type();
    for (const Parameter& parameter : row.parameters) {
      SCOPED_TRACE(std::string(row.name) + "." + parameter.name);
      const FieldDescriptor* field = message.FindFieldByName(parameter.name);
      ASSERT_NE(field, nullptr);
      EXPECT_EQ(field->is_repeated(), parameter.type == ParameterType::kPairGroups);
      switch (parameter.type) {
        case ParameterType::kDouble:
          EXPECT_EQ(field->type(), FieldDescriptor::TYPE_DOUBLE);
          break;
        case ParameterType::kInt64:
          EXPECT_EQ(field->type(), FieldDescriptor::TYPE_INT64);
          break;
        case ParameterType::kBool:
          EXPECT_EQ(field->type(), FieldDescriptor::TYPE_BOOL);
          break;
        case ParameterType::kEnum:
          ASSERT_EQ(field->type(), FieldDescriptor::TYPE_ENUM);
          ExpectNames(*field->enum_type(), parameter);
          break;
        case ParameterType::kPairGroups:
          ExpectPairs(*field, parameter);
          break;
      }
    }
  }
}

// A field without presence cannot tell its default from 0, so only a default of 0 may go without;
// for an enum 0 is unspecified, and that reads as unset.
TEST(Contract, ADefaultThatIsNotZeroIsOptional) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    const Descriptor& message = *v1::Loss::descriptor()->FindFieldByName(row.name)->message_type();
    for (const Parameter& parameter : row.parameters) {
      if (parameter.type == ParameterType::kEnum || parameter.type == ParameterType::kPairGroups)
        continue;
      SCOPED_TRACE(std::string(row.name) + "." + parameter.name);
      const bool is_zero = parameter.default_value == 0;
      EXPECT_EQ(message.FindFieldByName(parameter.name)->has_presence(), !is_zero);
    }
  }
}

TEST(Contract, EnumsHaveTheLibrarysNumbers) {
  EXPECT_EQ(static_cast<double>(v1::UNIT_NATS), kUnitNats);
  EXPECT_EQ(static_cast<double>(v1::UNIT_BITS), kUnitBits);
  EXPECT_EQ(static_cast<int>(v1::NON_FINITE_POLICY_PROPAGATE),
            static_cast<int>(NonFinitePolicy::kPropagate));
  EXPECT_EQ(static_cast<int>(v1::NON_FINITE_POLICY_SKIP), static_cast<int>(NonFinitePolicy::kSkip));
  EXPECT_EQ(static_cast<int>(v1::NON_FINITE_POLICY_REJECT),
            static_cast<int>(NonFinitePolicy::kReject));
  const auto* types = v1::DataType_descriptor();
  EXPECT_EQ(types->value_count(), 9);
  for (int number = 1; number <= 8; ++number) {
    EXPECT_EQ(types->FindValueByNumber(number)->name(),
              "DATA_TYPE_" + std::string(Name(static_cast<DataType>(number))));
  }
}

// What ListLosses says of a parameter is what the service does: its bounds are taken, and what is
// beyond is refused.
TEST(Contract, BoundsAreInclusiveUnlessTheySayAbove) {
  const auto engine = MakeEngine();
  const auto reason_of = [&](const LossRow& row, const Parameter& parameter, double value) {
    v1::ComputeLossRequest request;
    v1::Loss* loss = request.add_losses();
    const FieldDescriptor* member = v1::Loss::descriptor()->FindFieldByName(row.name);
    google::protobuf::Message* kind = loss->GetReflection()->MutableMessage(loss, member);
    const FieldDescriptor* field = kind->GetDescriptor()->FindFieldByName(parameter.name);
    if (parameter.type == ParameterType::kDouble) {
      kind->GetReflection()->SetDouble(kind, field, value);
    } else {
      kind->GetReflection()->SetInt64(kind, field, static_cast<int64_t>(value));
    }
    return DetailOf(Call(engine.get(), request).status()).reason;
  };
  for (const LossRow& row : Catalogue::Get().rows()) {
    for (const Parameter& parameter : row.parameters) {
      if (parameter.type != ParameterType::kDouble && parameter.type != ParameterType::kInt64)
        continue;
      SCOPED_TRACE(std::string(row.name) + "." + parameter.name);
      // Without inputs, a request whose parameters are fine fails for the inputs it lacks.
      const std::string fine = "MISSING_INPUT", refused = "INVALID_PARAMETER";
      EXPECT_EQ(reason_of(row, parameter, parameter.maximum), fine);
      EXPECT_EQ(reason_of(row, parameter, parameter.minimum),
                parameter.above_minimum ? refused : fine);
      if (parameter.type == ParameterType::kInt64) {
        EXPECT_EQ(reason_of(row, parameter, parameter.minimum - 1), refused);
        EXPECT_EQ(reason_of(row, parameter, parameter.maximum + 1), refused);
        continue;
      }
      const double infinity = std::numeric_limits<double>::infinity();
      EXPECT_EQ(reason_of(row, parameter, std::nextafter(parameter.minimum, -infinity)), refused);
      EXPECT_EQ(reason_of(row, parameter, std::nextafter(parameter.maximum, infinity)), refused);
      EXPECT_EQ(reason_of(row, parameter, std::nan("")), refused);
      EXPECT_EQ(reason_of(row, parameter, -infinity), refused);
      EXPECT_EQ(reason_of(row, parameter, infinity), refused);
    }
  }
}

}  // namespace
}  // namespace lossd
