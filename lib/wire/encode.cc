#include "lib/wire/encode.h"

#include <cstdio>

#include "lib/evaluation/report.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

std::string TypeName(const Parameter& parameter) {
  switch (parameter.type) {
    case ParameterType::kDouble:
      return "double";
    case ParameterType::kInt64:
      return "int64";
    case ParameterType::kBool:
      return "bool";
    case ParameterType::kEnum:
      return EnumNames(parameter, "|");
    case ParameterType::kPairGroups:
      return std::string("list of { ") + parameter.names[0] + " { " + parameter.names[1] + " " +
             parameter.names[2] + " } ... }";
  }
  return "";
}

std::string DefaultText(const Parameter& parameter) {
  if (parameter.type == ParameterType::kPairGroups) return "required";
  if (parameter.default_value != parameter.default_value) return "unset";
  switch (parameter.type) {
    case ParameterType::kBool:
      return parameter.default_value != 0 ? "true" : "false";
    case ParameterType::kEnum:
      return parameter.names[static_cast<int>(parameter.default_value) - 1];
    default:
      char text[32];
      std::snprintf(text, sizeof(text), "%.15g", parameter.default_value);
      return text;
  }
}

void DescribeInput(const LossRow& row, const Signature& signature, int index,
                   v1::InputDescription* description) {
  const Input& input = signature.inputs[index];
  description->set_name(input.name);
  description->set_shape(DescribeShape(signature, input));
  for (int type = v1::DATA_TYPE_FLOAT32; type <= v1::DATA_TYPE_BOOL; ++type) {
    if (Accepts(input.type, static_cast<DataType>(type))) {
      description->add_dtypes(static_cast<v1::DataType>(type));
    }
  }
  description->set_optional(input.optional);
  description->set_values(Describe(input.values));
  if (input.values == ValueRule::kLabel && FindParameter(row, "ignore_index") >= 0) {
    description->mutable_values()->append(", or ignore_index");
  }
  description->set_gradient(HasGradient(signature, index));
}

}  // namespace

void EncodeResult(const LossState& loss, bool mean, v1::LossResult* result) {
  const LossSums& sums = loss.sums;
  result->set_loss(loss.row->name);
  result->set_label(loss.label);
  const double sum = ReportSum(*loss.row, loss.pooled, sums);
  result->set_value(mean ? ReportMean(*loss.row, loss.pooled, sums) : sum);
  result->set_sum(sum);
  result->set_sum_weight(sums.weight.Round());
  result->set_items(sums.items);
  result->set_ignored_items(sums.ignored_items);
  result->set_nan_items(sums.nan_items);
  result->set_inf_items(sums.inf_items);
  for (int kind = 0; kind < loss.row->counts.size; ++kind) {
    (*result->mutable_counts())[loss.row->counts[kind]] = sums.kinds[kind];
  }
}

bool Total(const EvaluationState& state, bool mean, double* total) {
  *total = 0;
  for (const LossState& loss : state.losses) {
    if (!loss.weight.has_value()) return false;
    const double value = mean ? ReportMean(*loss.row, loss.pooled, loss.sums)
                              : ReportSum(*loss.row, loss.pooled, loss.sums);
    *total += *loss.weight * value;
  }
  return true;
}

void EncodeEvaluation(const EvaluationState& state, v1::EvaluationResult* result) {
  for (const LossState& loss : state.losses) {
    v1::LossSummary* summary = result->add_summaries();
    EncodeResult(loss, /*mean=*/true, summary->mutable_result());
    if (const auto error = ReportStandardError(loss.pooled, loss.sums))
      summary->set_standard_error(*error);
    if (!loss.pooled && loss.sums.minimum <= loss.sums.maximum) {
      summary->set_minimum(loss.sums.minimum);
      summary->set_maximum(loss.sums.maximum);
    }
  }
  double total = 0;
  if (Total(state, /*mean=*/true, &total)) result->set_total(total);
  result->mutable_state()->set_value(state.Serialize());
  result->set_arithmetic_revision(kArithmeticRevision);
}

void EncodeShape(const Shape& shape, v1::Tensor* tensor) {
  for (const int64_t size : shape.sizes()) tensor->add_shape(size);
}

void DescribeLoss(const LossRow& row, v1::LossDescription* description) {
  description->set_name(row.name);
  description->set_family(row.family);
  description->set_help(row.help);
  description->set_formula(row.formula);
  description->set_source(row.source);
  for (const Signature& signature : row.signatures) {
    v1::InputSignature* out = description->add_signatures();
    for (int i = 0; i < signature.inputs.size; ++i)
      DescribeInput(row, signature, i, out->add_inputs());
    out->set_item(Describe(signature.item));
  }
  for (const Parameter& parameter : row.parameters) {
    v1::ParameterDescription* out = description->add_parameters();
    out->set_name(parameter.name);
    out->set_type(TypeName(parameter));
    out->set_default_value(DefaultText(parameter));
    out->set_bounds(DescribeBounds(parameter));
    out->set_help(parameter.help);
  }
  description->set_streams(row.streams);
}

}  // namespace lossd
