#include "report.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/util/json_util.h"
#include "table.h"

namespace lossd::cli {
namespace {

constexpr Table::Align kRight = Table::Align::kRight;

// A table prints so many elements of a tensor; JSON has them all.
constexpr int64_t kShownElements = 20;

std::string Element(const v1::Tensor& tensor, int64_t index) {
  if (tensor.dtype() == v1::DATA_TYPE_FLOAT64) {
    double value = 0;
    std::memcpy(&value, tensor.data().data() + static_cast<size_t>(index) * sizeof(value),
                sizeof(value));
    return FormatNumber(value);
  }
  float value = 0;
  std::memcpy(&value, tensor.data().data() + static_cast<size_t>(index) * sizeof(value),
              sizeof(value));
  return FormatNumber(value);
}

// Results come as FLOAT32 or FLOAT64 bytes; anything else is only named.
void PrintTensor(const std::string& title, const v1::Tensor& tensor, std::ostream& out) {
  out << title << "  " << v1::DataType_Name(tensor.dtype()).substr(std::strlen("DATA_TYPE_"))
      << " [" << absl::StrJoin(tensor.shape(), ",") << "]\n";
  const bool wide = tensor.dtype() == v1::DATA_TYPE_FLOAT64;
  if (!wide && tensor.dtype() != v1::DATA_TYPE_FLOAT32) return;
  const auto elements = static_cast<int64_t>(tensor.data().size() / (wide ? 8 : 4));
  for (int64_t i = 0; i < std::min(elements, kShownElements); ++i)
    out << "  " << Element(tensor, i) << '\n';
  if (elements > kShownElements) {
    out << "  ... and " << elements - kShownElements << " more (--format json has them all)\n";
  }
}

struct ResultColumn {
  Table::Column column;
  std::function<std::string(const v1::LossResult&)> cell;
};

// Columns that say nothing about any of these results are left out.
std::vector<ResultColumn> ResultColumns(const std::vector<const v1::LossResult*>& results) {
  const auto any = [&](auto has) {
    return std::any_of(results.begin(), results.end(),
                       [&](const auto* result) { return has(*result); });
  };
  std::vector<ResultColumn> columns;
  const auto add = [&](bool shown, const char* title, Table::Align align, auto cell) {
    if (shown) columns.push_back({{title, align}, cell});
  };
  const auto count = [](int64_t value) { return std::to_string(value); };
  add(true, "loss", Table::Align::kLeft, [](const auto& r) { return r.loss(); });
  add(any([](const auto& r) { return !r.label().empty(); }), "label", Table::Align::kLeft,
      [](const auto& r) { return r.label(); });
  add(true, "value", kRight, [](const auto& r) { return FormatNumber(r.value()); });
  add(true, "sum", kRight, [](const auto& r) { return FormatNumber(r.sum()); });
  add(true, "sum_weight", kRight, [](const auto& r) { return FormatNumber(r.sum_weight()); });
  add(true, "items", kRight, [=](const auto& r) { return count(r.items()); });
  add(any([](const auto& r) { return r.ignored_items() != 0; }), "ignored", kRight,
      [=](const auto& r) { return count(r.ignored_items()); });
  add(any([](const auto& r) { return r.nan_items() != 0; }), "nan", kRight,
      [=](const auto& r) { return count(r.nan_items()); });
  add(any([](const auto& r) { return r.inf_items() != 0; }), "inf", kRight,
      [=](const auto& r) { return count(r.inf_items()); });
  return columns;
}

// By name: a protobuf map has another order in every process.
template <class Map>
auto Sorted(const Map& map) {
  return std::map<std::string, typename Map::mapped_type>(map.begin(), map.end());
}

void PrintParts(const v1::LossResult& result, std::ostream& out) {
  for (const auto& [name, value] : Sorted(result.components())) {
    out << result.loss() << " component " << name << "  " << FormatNumber(value) << '\n';
  }
  for (const auto& [name, value] : Sorted(result.counts())) {
    out << result.loss() << " count " << name << "  " << value << '\n';
  }
  if (result.has_values()) PrintTensor("values of " + result.loss(), result.values(), out);
  for (const auto& [name, tensor] : Sorted(result.gradients())) {
    PrintTensor("gradient of " + result.loss() + " for " + name, tensor, out);
  }
  for (const auto& [name, tensor] : Sorted(result.outputs())) {
    PrintTensor("output " + name + " of " + result.loss(), tensor, out);
  }
}

void PrintTotal(bool has_total, double total, int losses, std::ostream& out) {
  if (has_total && losses > 1) out << "total  " << FormatNumber(total) << '\n';
}

std::string Types(const v1::InputDescription& input) {
  return absl::StrJoin(input.dtypes(), " ", [](std::string* out, int dtype) {
    absl::StrAppend(
        out, v1::DataType_Name(static_cast<v1::DataType>(dtype)).substr(std::strlen("DATA_TYPE_")));
  });
}

// The alternatives with the same kind of item: first which inputs go together, then each input
// once.
void PrintSignatures(const std::string& item,
                     const std::vector<const v1::InputSignature*>& signatures, std::ostream& out) {
  out << "\ninputs (one item: " << item << (signatures.size() > 1 ? "), one of" : ")") << '\n';
  std::vector<std::string> seen;
  Table table({{"    name"}, {"shape"}, {"gradient"}, {"values"}, {"types"}});
  for (const v1::InputSignature* signature : signatures) {
    out << "  "
        << absl::StrJoin(signature->inputs(), ", ",
                         [](std::string* text, const auto& input) {
                           absl::StrAppend(text, input.optional() ? "[" : "", input.name(),
                                           input.optional() ? "]" : "");
                         })
        << '\n';
    for (const v1::InputDescription& input : signature->inputs()) {
      const std::string description = input.SerializeAsString();
      if (std::find(seen.begin(), seen.end(), description) != seen.end()) continue;
      seen.push_back(description);
      table.AddRow({"    " + input.name(), input.shape(), input.gradient() ? "yes" : "no",
                    input.values().empty() ? "any" : input.values(), Types(input)});
    }
  }
  table.Print(out);
}

}  // namespace

void PrintJson(const google::protobuf::Message& message, std::ostream& out) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  // Fails for malformed Any messages only, which the contract has none of.
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  out << json;
}

void PrintCompute(const v1::ComputeLossResponse& response, std::ostream& out) {
  std::vector<const v1::LossResult*> results;
  for (const v1::LossResult& result : response.results()) results.push_back(&result);
  const std::vector<ResultColumn> columns = ResultColumns(results);
  std::vector<Table::Column> titles;
  for (const ResultColumn& column : columns) titles.push_back(column.column);
  Table table(titles);
  for (const v1::LossResult* result : results) {
    std::vector<std::string> cells;
    for (const ResultColumn& column : columns) cells.push_back(column.cell(*result));
    table.AddRow(cells);
  }
  table.Print(out);
  PrintTotal(response.has_total(), response.total(), response.results_size(), out);
  for (const v1::LossResult* result : results) PrintParts(*result, out);
}

void PrintEvaluation(const v1::EvaluationResult& evaluation, std::ostream& out) {
  std::vector<const v1::LossResult*> results;
  for (const v1::LossSummary& summary : evaluation.summaries())
    results.push_back(&summary.result());
  const std::vector<ResultColumn> columns = ResultColumns(results);
  std::vector<Table::Column> titles;
  for (const ResultColumn& column : columns) titles.push_back(column.column);
  for (const char* title : {"standard_error", "minimum", "maximum"})
    titles.push_back({title, kRight});
  Table table(titles);
  for (const v1::LossSummary& summary : evaluation.summaries()) {
    std::vector<std::string> cells;
    for (const ResultColumn& column : columns) cells.push_back(column.cell(summary.result()));
    cells.push_back(summary.has_standard_error() ? FormatNumber(summary.standard_error()) : "-");
    cells.push_back(summary.has_minimum() ? FormatNumber(summary.minimum()) : "-");
    cells.push_back(summary.has_maximum() ? FormatNumber(summary.maximum()) : "-");
    table.AddRow(cells);
  }
  table.Print(out);
  PrintTotal(evaluation.has_total(), evaluation.total(), evaluation.summaries_size(), out);
  for (const v1::LossResult* result : results) PrintParts(*result, out);
  if (evaluation.skipped_batches() > 0)
    out << "skipped batches  " << evaluation.skipped_batches() << '\n';
}

void PrintCatalogue(const v1::ListLossesResponse& response, std::ostream& out) {
  Table table({{"loss"}, {"family"}, {"streams"}, {"what"}});
  for (const v1::LossDescription& loss : response.losses()) {
    table.AddRow({loss.name(), loss.family(), loss.streams() ? "yes" : "no", loss.help()});
  }
  table.Print(out);
}

void PrintLoss(const v1::LossDescription& loss, std::ostream& out) {
  out << loss.name() << ": " << loss.help() << "\n\n";
  out << "family   " << loss.family() << '\n';
  out << "formula  " << loss.formula() << '\n';
  out << "source   " << loss.source() << '\n';
  out << "streams  " << (loss.streams() ? "yes" : "no") << '\n';
  std::vector<std::string> items;
  for (const v1::InputSignature& signature : loss.signatures()) {
    if (std::find(items.begin(), items.end(), signature.item()) == items.end())
      items.push_back(signature.item());
  }
  for (const std::string& item : items) {
    std::vector<const v1::InputSignature*> alternatives;
    for (const v1::InputSignature& signature : loss.signatures()) {
      if (signature.item() == item) alternatives.push_back(&signature);
    }
    PrintSignatures(item, alternatives, out);
  }
  // A loss that does not stream has one item, the batch.
  out << "\nevery loss also takes sample_weight, "
      << (loss.streams() ? "[N] or shaped as its items" : "here [1], the weight of the batch")
      << "\n\nparameters\n";
  if (loss.parameters().empty()) {
    out << "  none\n";
    return;
  }
  Table table({{"  name"}, {"type"}, {"default"}, {"bounds"}, {"what"}});
  for (const v1::ParameterDescription& parameter : loss.parameters()) {
    table.AddRow({"  " + parameter.name(), parameter.type(), parameter.default_value(),
                  parameter.bounds(), parameter.help()});
  }
  table.Print(out);
}

}  // namespace lossd::cli
