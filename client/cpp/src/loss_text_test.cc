#include "lossd/loss_text.h"

#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

v1::Loss FromProtobufText(const std::string& text) {
  v1::Loss loss;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &loss)) << text;
  return loss;
}

TEST(LossText, MeansWhatItsFullFormMeans) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"mse", "mse {}"},
      {" mse {} ", "mse {}"},
      {"huber { delta: 2 }", "huber { delta: 2 }"},
      {"huber{delta:2}", "huber { delta: 2 }"},
      {"huber: { delta: -1 }", "huber { delta: -1 }"},
      {"huber { delta: nan }", "huber { delta: nan }"},
      {"poisson_nll { log_input: false, eps: 1e-3 }", "poisson_nll { log_input: false eps: 1e-3 }"},
      {"entropy { unit: BITS }", "entropy { unit: UNIT_BITS }"},
      {"entropy { unit: UNIT_BITS }", "entropy { unit: UNIT_BITS }"},
      {"entropy { unit: 2 }", "entropy { unit: UNIT_BITS }"},
      {"cross_entropy { ignore_index: -1 }", "cross_entropy { ignore_index: -1 }"},
      {"weight: 0.5 mae", "weight: 0.5 mae {}"},
      {"mae {} weight: 0.5", "weight: 0.5 mae {}"},
      {"mae weight: 0.5", "weight: 0.5 mae {}"},
      {"label: head_a mae", "label: 'head_a' mae {}"},
      {"label: 'head a' mae", "label: 'head a' mae {}"},
      {"inputs { predictions: a, targets: \"b c\" } mae",
       "inputs { key: 'predictions' value: 'a' } inputs { key: 'targets' value: 'b c' } mae {}"},
      {"inputs { key: 'targets' value: 'b' } mae", "inputs { key: 'targets' value: 'b' } mae {}"},
      {"l1", "mae {}"},
      {"l2", "mse {}"},
      {"mbe", "mean_bias {}"},
      {"bce { unit: BITS }", "binary_cross_entropy { unit: UNIT_BITS }"},
      {"ce", "cross_entropy {}"},
      {"kl", "kl_divergence {}"},
      {"pinball { q: 0.9 }", "quantile { q: 0.9 }"},
      {"nll", "cross_entropy {} inputs { key: 'log_probs' value: 'log_probs' }"},
      {"nll inputs { log_probs: x }", "cross_entropy {} inputs { key: 'log_probs' value: 'x' }"},
      {"nll inputs { key: 'log_probs' value: 'x' }",
       "cross_entropy {} inputs { key: 'log_probs' value: 'x' }"},
      {"inputs { log_probs: x } nll", "cross_entropy {} inputs { key: 'log_probs' value: 'x' }"},
  };
  for (const auto& [text, full] : cases) {
    const absl::StatusOr<v1::Loss> loss = ParseLoss(text);
    ASSERT_TRUE(loss.ok()) << text << ": " << loss.status();
    EXPECT_EQ(loss->ShortDebugString(), FromProtobufText(full).ShortDebugString()) << text;
  }
}

TEST(LossText, MarksThePlaceOfAnError) {
  struct Case {
    std::string text;
    std::string message;
    size_t caret;
  };
  const std::vector<Case> cases = {
      {"", "no loss is named", 0},
      {"weight: 2", "no loss is named", 9},
      {"hubr { delta: 2 }", "unknown loss hubr", 0},
      {"huber { dleta: 2 }", "huber has no parameter dleta", 8},
      {"huber { delta: }", "expected a value for delta", 15},
      {"huber { delta: 2", "expected }", 16},
      {"huber { delta: two }", "Expected double", 15},
      {"huber { delta 2 }", "\":\"", 14},
      {"entropy { unit: BYTES }", "unit has no value BYTES: it is NATS or BITS", 16},
      {"mse {} mae {}", "a second loss: mae", 7},
      {"mse }", "expected a name", 4},
      {"mse { ! }", "expected a name", 6},
      {"label: 'a", "string", 9},
      {"inputs { predictions a } mse", "expected :", 21},
      {"inputs {} mse", "no input is named", 7},
      {"inputs mse", "expected {", 7},
      {"huber {\tdelta: x }", "Expected double", 15},
  };
  for (const Case& c : cases) {
    const absl::StatusOr<v1::Loss> loss = ParseLoss(c.text);
    ASSERT_FALSE(loss.ok()) << c.text;
    EXPECT_EQ(DetailOf(loss.status()).reason, "LOSS_TEXT");
    const std::string message(loss.status().message());
    EXPECT_THAT(message, testing::HasSubstr(c.message)) << c.text;
    EXPECT_THAT(message, testing::EndsWith("\n  " + std::string(c.caret, ' ') + "^")) << message;
  }
}

TEST(LossText, AnyBytesAreAnErrorNotACrash) {
  for (int c = 1; c < 256; ++c) {
    const std::string text = "huber { delta: " + std::string(1, static_cast<char>(c));
    EXPECT_FALSE(ParseLoss(text).ok()) << c;
  }
  EXPECT_FALSE(ParseLoss(std::string("mse\0", 4) + "x").ok());
}

}  // namespace
}  // namespace lossd
