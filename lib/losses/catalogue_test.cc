// The catalogue as data: every row is complete, and says of itself what the forms can compute.
#include "lib/losses/catalogue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <iterator>
#include <set>
#include <string>

#include "lib/base/cpu_target.h"
#include "lib/losses/bind.h"
#include "lib/losses/families.h"

namespace lossd {
namespace {

TEST(Catalogue, HasTheLossesOfItsFamilies) {
  std::set<std::string> names;
  for (const LossRow& row : Catalogue::Get().rows()) names.insert(row.name);
  EXPECT_THAT(names,
              ::testing::ElementsAre(
                  "a_softmax", "am_softmax", "arcface", "balanced_binary_cross_entropy",
                  "binary_cross_entropy", "center", "center_invariant", "ciou", "coco",
                  "contrastive", "cosface", "cosine_embedding", "cross_entropy", "ctc", "dice",
                  "diou", "entropy", "focal", "gaussian_nll", "giou", "hinge", "hinge_embedding",
                  "huber", "iou", "jaccard", "kl_divergence", "l2_softmax", "l_softmax", "log_cosh",
                  "mae", "margin_ranking", "mean_bias", "modified_softmax", "mse", "multi_margin",
                  "multilabel_margin", "multilabel_soft_margin", "normface", "poisson_nll",
                  "quantile", "range", "ring", "smooth_l1", "soft_margin", "softmax", "triplet",
                  "tversky", "weighted_binary_cross_entropy", "yolo", "zero_one"));
}

TEST(Catalogue, FindsByName) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    EXPECT_EQ(Catalogue::Get().Find(row.name), &row);
    EXPECT_EQ(&Catalogue::Get().rows()[static_cast<size_t>(Catalogue::Get().IndexOf(row))], &row);
  }
  EXPECT_EQ(Catalogue::Get().Find("l2"), nullptr);
  EXPECT_EQ(Catalogue::Get().Find(""), nullptr);
}

TEST(Catalogue, EveryRowDescribesItself) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    SCOPED_TRACE(row.name);
    for (const char* text : {row.name, row.family, row.help, row.formula, row.source}) {
      ASSERT_NE(text, nullptr);
      EXPECT_STRNE(text, "");
    }
    // One byte holds a name's length in a state.
    EXPECT_LT(std::strlen(row.name), 256u);
    EXPECT_GT(row.signatures.size, 0);
    EXPECT_LE(row.parameters.size, kMaxParameters);
    for (const Parameter& parameter : row.parameters) {
      SCOPED_TRACE(parameter.name);
      EXPECT_STRNE(parameter.help, "");
      EXPECT_NE(DescribeBounds(parameter), "");
      EXPECT_LE(parameter.minimum, parameter.maximum);
      const bool unset = parameter.default_value != parameter.default_value;
      EXPECT_TRUE(unset ||
                  (parameter.default_value >= parameter.minimum &&
                   parameter.default_value <= parameter.maximum &&
                   !(parameter.above_minimum && parameter.default_value == parameter.minimum)));
      EXPECT_EQ(FindParameter(row, parameter.name), &parameter - row.parameters.begin());
    }
    EXPECT_EQ(FindParameter(row, "no_such"), -1);
  }
}

int KindsOfKernels(const Kernels& kernels) {
  const bool kinds[] = {
      kernels.elementwise.f32 != nullptr, kernels.rows.f32 != nullptr,
      kernels.masks.loss != nullptr,      kernels.sequences.f32.advance != nullptr,
      kernels.whole.f32 != nullptr,       kernels.classifier.f32 != nullptr};
  return static_cast<int>(std::count(std::begin(kinds), std::end(kinds), true));
}

// What binding relies on when it places operands by the order of the inputs.
void ExpectFittingKernels(const Signature& signature) {
  ASSERT_GT(signature.inputs.size, 0);
  ASSERT_LE(signature.inputs.size, kMaxInputs);
  EXPECT_EQ(KindsOfKernels(signature.kernels), 1);
  const ElementwiseKernels& elementwise = signature.kernels.elementwise;
  EXPECT_EQ(elementwise.f32 != nullptr, elementwise.f64 != nullptr);
  EXPECT_EQ(signature.kernels.rows.f32 != nullptr, signature.kernels.rows.f64 != nullptr);
  int operands = 0;
  for (int i = 0; i < signature.inputs.size; ++i) {
    const Input& input = signature.inputs[i];
    EXPECT_STRNE(input.name, kSampleWeight);
    if (input.shape <= ShapeRule::kLastDimension) ++operands;
    // An optional operand is 1 where it is not given, so only what multiplies may be one; but for
    // the heads of a whole batch, which their kernel counts.
    if (input.optional && SlotOf(signature, i) >= 0 && signature.kernels.whole.f32 == nullptr) {
      EXPECT_NE(std::strstr(input.name, "weight"), nullptr) << input.name;
    }
  }
  if (elementwise.f32 != nullptr) {
    EXPECT_EQ(signature.item, ItemKind::kElement);
    EXPECT_EQ(elementwise.operands, operands);
  }
}

TEST(Catalogue, SignaturesFitTheirKernels) {
  for (const LossRow& row : Catalogue::Get().rows()) {
    EXPECT_LE(row.counts.size, LossSums::kKinds);
    for (const Signature& signature : row.signatures) {
      SCOPED_TRACE(std::string(row.name) + " " + signature.inputs[0].name);
      ExpectFittingKernels(signature);
      const Pooling& pooling = signature.pooling;
      EXPECT_EQ(pooling.wanted != nullptr, pooling.report != nullptr);
      // A state knows its row, not the signature: the report is that of the first.
      EXPECT_EQ(pooling.report, row.signatures[0].pooling.report);
      EXPECT_EQ(pooling.wanted, row.signatures[0].pooling.wanted);
      EXPECT_EQ(signature.pointwise_kernels.rows.f32 != nullptr,
                FindParameter(row, "pointwise") >= 0);
    }
  }
}

TEST(Catalogue, KernelsAreThoseOfTheActiveTarget) {
  for (const auto family : kFamilies) {
    EXPECT_EQ(CpuTargetName(family().target), ActiveCpuTarget());
  }
}

TEST(Catalogue, BoundsReadWell) {
  const auto bounds = [](const char* loss, const char* parameter) {
    const LossRow& row = *Catalogue::Get().Find(loss);
    return DescribeBounds(row.parameters[FindParameter(row, parameter)]);
  };
  EXPECT_EQ(bounds("huber", "delta"), "finite, above 0");
  EXPECT_EQ(bounds("smooth_l1", "beta"), "finite, at least 0");
  EXPECT_EQ(bounds("quantile", "q"), "0 to 1");
  EXPECT_EQ(bounds("hinge", "margin"), "finite");
  EXPECT_EQ(bounds("hinge", "squared"), "true or false");
  EXPECT_EQ(bounds("entropy", "unit"), "NATS or BITS");
  EXPECT_EQ(bounds("zero_one", "top_k"), "1 to 1000000");
}

TEST(Catalogue, TypeRules) {
  const auto accepted = [](TypeRule rule) {
    std::string types;
    for (int type = 1; type <= 8; ++type)
      types += Accepts(rule, static_cast<DataType>(type)) ? '1' : '0';
    return types;
  };
  // FLOAT32, FLOAT64, FLOAT16, BFLOAT16, INT32, INT64, UINT8, BOOL.
  EXPECT_EQ(accepted(TypeRule::kFloating), "11110000");
  EXPECT_EQ(accepted(TypeRule::kTarget), "11111111");
  EXPECT_EQ(accepted(TypeRule::kAny), "11111111");
  EXPECT_EQ(accepted(TypeRule::kLabel), "00001111");
}

}  // namespace
}  // namespace lossd
