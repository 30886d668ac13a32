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

TEST(Contract, TypesAgree) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    const Descriptor& message = *v1::Loss::descriptor()->FindFieldByName(row.name)->message_type();
    for (const Parameter& parameter : row.parameters) {
      SCOPED_TRACE(std::string(row.name) + "." + parameter.name);
      const FieldDescriptor* field = message.FindFieldByName(parameter.name);
      ASSERT_NE(field, nullptr);
      EXPECT_FALSE(field->is_repeated());
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
        case ParameterType::kUnit:
          ASSERT_EQ(field->type(), FieldDescriptor::TYPE_ENUM);
          EXPECT_EQ(field->enum_type(), v1::Unit_descriptor());
          break;
      }
    }
  }
}

// A field without presence cannot tell its default from 0, so only a default of 0 may go without;
// for a unit 0 is unspecified, and that reads as unset.
TEST(Contract, ADefaultThatIsNotZeroIsOptional) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    const Descriptor& message = *v1::Loss::descriptor()->FindFieldByName(row.name)->message_type();
    for (const Parameter& parameter : row.parameters) {
      if (parameter.type == ParameterType::kUnit) continue;
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
