#include "server/metrics/metrics.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "prometheus/text_serializer.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class MetricsTest : public testing::Test {
 protected:
  std::string Text() const {
    return prometheus::TextSerializer().Serialize(metrics_.registry()->Collect());
  }
  void Write(const std::string& model, const std::vector<EvaluationReading>& readings) {
    metrics_.evaluations().Write(model, "d", readings, 1000.5);
  }

  Metrics metrics_{{"mse", "huber"}, {"1.2.3", 4, "avx2"}, /*max_label_sets=*/2};
};

TEST_F(MetricsTest, EveryNameIsThereFromTheStart) {
  const std::string text = Text();
  for (const char* name :
       {"grpc_server_started_total", "grpc_server_handled_total", "grpc_server_handling_seconds",
        "lossd_items_total", "lossd_compute_seconds", "lossd_received_bytes_total",
        "lossd_inflight_bytes", "lossd_nonfinite_items_total", "lossd_rejected_total",
        "lossd_stream_resumes_total", "lossd_evaluation_label_sets_evicted_total"}) {
    EXPECT_THAT(text, HasSubstr("# HELP " + std::string(name) + " "));
  }
  EXPECT_THAT(
      text,
      HasSubstr(
          "lossd_build_info{arithmetic_revision=\"4\",simd_target=\"avx2\",version=\"1.2.3\"} 1"));
}

TEST_F(MetricsTest, CallsAreCountedByMethodAndCode) {
  metrics_.CallStarted(Method::kEvaluate);
  metrics_.CallHandled(Method::kEvaluate, 3, 0.5);
  metrics_.CallHandled(Method::kEvaluate, 99, 0.5);
  const std::string labels = "grpc_method=\"Evaluate\",grpc_service=\"lossd.v1.LossService\"";
  EXPECT_THAT(Text(), HasSubstr("grpc_server_started_total{" + labels + "} 1"));
  EXPECT_THAT(Text(), HasSubstr("grpc_server_handled_total{grpc_code=\"InvalidArgument\"," +
                                labels + "} 1"));
  EXPECT_THAT(Text(),
              HasSubstr("grpc_server_handled_total{grpc_code=\"Unknown\"," + labels + "} 1"));
  EXPECT_THAT(Text(), HasSubstr("grpc_server_handling_seconds_count{" + labels + "} 2"));
}

TEST_F(MetricsTest, LossesAreCountedByTheirIndex) {
  metrics_.Computed(1, 10, 2, 3, 0.01);
  metrics_.Computed(7, 10, 2, 3, 0.01);  // no such loss: ignored
  EXPECT_THAT(Text(), HasSubstr("lossd_items_total{loss=\"huber\"} 10"));
  EXPECT_THAT(Text(), HasSubstr("lossd_nonfinite_items_total{kind=\"nan\",loss=\"huber\"} 2"));
  EXPECT_THAT(Text(), HasSubstr("lossd_nonfinite_items_total{kind=\"inf\",loss=\"huber\"} 3"));
  EXPECT_THAT(Text(), HasSubstr("lossd_items_total{loss=\"mse\"} 0"));
}

TEST_F(MetricsTest, BytesAndRejections) {
  metrics_.Received(5);
  metrics_.InflightChanged(7);
  metrics_.InflightChanged(-4);
  metrics_.Rejected("DRAINING");
  metrics_.Rejected("SOMETHING_NEW");
  metrics_.StreamResumed();
  EXPECT_THAT(Text(), HasSubstr("lossd_received_bytes_total 5"));
  EXPECT_THAT(Text(), HasSubstr("lossd_inflight_bytes 3"));
  EXPECT_THAT(Text(), HasSubstr("lossd_rejected_total{reason=\"DRAINING\"} 1"));
  EXPECT_THAT(Text(), HasSubstr("lossd_rejected_total{reason=\"OTHER\"} 1"));
  EXPECT_THAT(Text(), HasSubstr("lossd_stream_resumes_total 1"));
}

TEST_F(MetricsTest, AnEvaluationWritesItsGauges) {
  Write("m", {{"mse", 0.25, 0.125, 40}});
  const std::string labels = "{dataset=\"d\",loss=\"mse\",model=\"m\"} ";
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_loss" + labels + "0.25"));
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_standard_error" + labels + "0.125"));
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_items" + labels + "40"));
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_finished_timestamp_seconds" + labels + "1000.5"));
}

TEST_F(MetricsTest, AStandardErrorThatIsGoneLeavesNoOldValue) {
  Write("m", {{"mse", 0.25, 0.125, 40}});
  Write("m", {{"mse", 0.5, std::nullopt, 40}});
  EXPECT_THAT(Text(), Not(HasSubstr("lossd_evaluation_standard_error{")));
  Write("m", {{"mse", 0.5, 0.0625, 40}});
  EXPECT_THAT(
      Text(),
      HasSubstr("lossd_evaluation_standard_error{dataset=\"d\",loss=\"mse\",model=\"m\"} 0.0625"));
}

TEST_F(MetricsTest, OfTheSameLossTwiceTheFirstCounts) {
  Write("m", {{"huber", 1, std::nullopt, 4}, {"huber", 2, std::nullopt, 4}});
  EXPECT_THAT(Text(),
              HasSubstr("lossd_evaluation_loss{dataset=\"d\",loss=\"huber\",model=\"m\"} 1"));
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_label_sets_evicted_total 0"));
}

TEST_F(MetricsTest, TheSetWrittenLongestAgoMakesRoom) {
  Write("a", {{"mse", 1, 1.0, 4}});
  Write("b", {{"mse", 2, 1.0, 4}});
  Write("a", {{"mse", 3, 1.0, 4}});
  Write("c", {{"mse", 4, 1.0, 4}});
  EXPECT_THAT(Text(), HasSubstr("model=\"a\"} 3"));
  EXPECT_THAT(Text(), HasSubstr("model=\"c\"} 4"));
  EXPECT_THAT(Text(), Not(HasSubstr("model=\"b\"")));
  EXPECT_THAT(Text(), HasSubstr("lossd_evaluation_label_sets_evicted_total 1"));
}

TEST_F(MetricsTest, LabelsThatLookAlikeJoinedStayApart) {
  metrics_.evaluations().Write("a", "bc",
                               std::vector<EvaluationReading>{{"mse", 1, std::nullopt, 1}}, 1);
  metrics_.evaluations().Write("ab", "c",
                               std::vector<EvaluationReading>{{"mse", 2, std::nullopt, 1}}, 1);
  EXPECT_THAT(Text(), HasSubstr("{dataset=\"bc\",loss=\"mse\",model=\"a\"} 1"));
  EXPECT_THAT(Text(), HasSubstr("{dataset=\"c\",loss=\"mse\",model=\"ab\"} 2"));
}

TEST_F(MetricsTest, LabelsAreEscaped) {
  Write("a\"\n\\", {{"mse", 1, std::nullopt, 1}});
  EXPECT_THAT(Text(), HasSubstr("model=\"a\\\"\\n\\\\\"} 1"));
}

}  // namespace
}  // namespace lossd
