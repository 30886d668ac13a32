#include "report.h"

#include <cstring>
#include <limits>
#include <sstream>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "table.h"

namespace lossd::cli {
namespace {

TEST(FormatNumber, IsTheShortestThatReadsBack) {
  EXPECT_EQ(FormatNumber(0.1), "0.1");
  EXPECT_EQ(FormatNumber(0.1f), "0.1");
  EXPECT_EQ(FormatNumber(1.0 / 3), "0.3333333333333333");
  EXPECT_EQ(FormatNumber(0.0), "0");
  EXPECT_EQ(FormatNumber(300000.0), "300000");
  EXPECT_EQ(FormatNumber(0.00025), "0.00025");
  EXPECT_EQ(FormatNumber(9.4e-14), "9.4e-14");
  EXPECT_EQ(FormatNumber(-1e300), "-1e+300");
  EXPECT_EQ(FormatNumber(1e300), "1e+300");
  EXPECT_EQ(FormatNumber(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(FormatNumber(-std::numeric_limits<double>::quiet_NaN()), "nan");
}

TEST(Table, AlignsItsColumns) {
  Table table({{"loss"}, {"value", Table::Align::kRight}, {"what"}});
  table.AddRow({"mse", "10.25", "x"});
  table.AddRow({"cross_entropy", "3", ""});
  table.AddRow({"größe", "-1", "y"});
  std::ostringstream out;
  table.Print(out);
  EXPECT_EQ(out.str(),
            "loss           value  what\n"
            "mse            10.25  x\n"
            "cross_entropy      3\n"
            "größe             -1  y\n");
}

v1::LossResult Result() {
  v1::LossResult result;
  result.set_loss("mse");
  result.set_value(0.5);
  result.set_sum(1);
  result.set_sum_weight(2);
  result.set_items(2);
  return result;
}

TEST(PrintCompute, LeavesOutWhatSaysNothing) {
  v1::ComputeLossResponse response;
  *response.add_results() = Result();
  response.set_total(0.5);
  std::ostringstream out;
  PrintCompute(response, out);
  EXPECT_EQ(out.str(),
            "loss  value  sum  sum_weight  items\n"
            "mse     0.5    1           2      2\n");
}

TEST(PrintCompute, ShowsWhatThereIs) {
  v1::ComputeLossResponse response;
  *response.add_results() = Result();
  v1::LossResult* second = response.add_results();
  *second = Result();
  second->set_label("b");
  second->set_ignored_items(1);
  second->set_nan_items(2);
  second->set_inf_items(3);
  (*second->mutable_components())["box"] = 0.25;
  const std::vector<float> values(25, 0.1f);
  second->mutable_values()->set_dtype(v1::DATA_TYPE_FLOAT32);
  second->mutable_values()->add_shape(25);
  second->mutable_values()->set_data(values.data(), values.size() * sizeof(float));
  response.set_total(1);
  std::ostringstream out;
  PrintCompute(response, out);
  EXPECT_THAT(out.str(), testing::StartsWith(
                             "loss  label  value  sum  sum_weight  items  ignored  nan  inf\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("\ntotal  1\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("mse component box  0.25\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("values of mse  FLOAT32 [25]\n  0.1\n"));
  EXPECT_THAT(out.str(), testing::HasSubstr("... and 5 more"));
}

TEST(PrintEvaluation, MarksWhatIsUnset) {
  v1::EvaluationResult evaluation;
  v1::LossSummary* summary = evaluation.add_summaries();
  *summary->mutable_result() = Result();
  summary->set_minimum(0.25);
  std::ostringstream out;
  PrintEvaluation(evaluation, out);
  EXPECT_EQ(out.str(),
            "loss  value  sum  sum_weight  items  standard_error  minimum  maximum\n"
            "mse     0.5    1           2      2               -     0.25        -\n");
}

TEST(PrintLoss, ShowsEachInputOnce) {
  v1::LossDescription loss;
  loss.set_name("focal");
  for (const char* prediction : {"logits", "probs"}) {
    v1::InputSignature* signature = loss.add_signatures();
    signature->set_item("row");
    signature->add_inputs()->set_name(prediction);
    signature->add_inputs()->set_name("class_weight");
    signature->mutable_inputs(1)->set_optional(true);
  }
  std::ostringstream out;
  PrintLoss(loss, out);
  EXPECT_THAT(out.str(), testing::HasSubstr("inputs (one item: row), one of\n"
                                            "  logits, [class_weight]\n"
                                            "  probs, [class_weight]\n"
                                            "    name          shape  gradient  values  types\n"
                                            "    logits               no        any\n"
                                            "    class_weight         no        any\n"
                                            "    probs                no        any\n"));
}

TEST(PrintJson, HasProtoNamesAndDefaults) {
  std::ostringstream out;
  PrintJson(Result(), out);
  EXPECT_THAT(out.str(), testing::HasSubstr("\"sum_weight\": 2"));
  EXPECT_THAT(out.str(), testing::HasSubstr("\"nan_items\": \"0\""));
}

}  // namespace
}  // namespace lossd::cli
