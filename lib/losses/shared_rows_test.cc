// Forms that share the rows of their logits compute what each computes alone.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <span>
#include <vector>

#include "lib/base/cpu_target.h"
#include "lib/forms/row_form.h"
#include "lib/losses/bind.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

constexpr int64_t kRows = 300;
constexpr int64_t kClasses = 37;

template <class T>
TensorView View(DataType dtype, const Shape& shape, const std::vector<T>& values) {
  return *TensorView::Create(dtype, shape, std::as_bytes(std::span(values)));
}

class SharedRows : public testing::Test {
 protected:
  SharedRows() : logits_(kRows * kClasses), labels_(kRows) {
    EXPECT_TRUE(InitCpuTarget().ok());
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 2);
    for (float& x : logits_) x = normal(random);
    for (int64_t& label : labels_) label = static_cast<int64_t>(random() % kClasses);
    inputs_ = {{"logits", View(DataType::kFloat32, Shape{kRows, kClasses}, logits_)},
               {"labels", View(DataType::kInt64, Shape{kRows}, labels_)}};
  }

  BoundLoss BindLoss(const char* name) const {
    LossSpec spec;
    spec.row = Catalogue::Get().Find(name);
    for (int i = 0; i < spec.row->parameters.size; ++i)
      spec.parameters[i] = spec.row->parameters[i].default_value;
    NamedTensors inputs = inputs_;
    if (std::strcmp(name, "entropy") == 0) inputs.erase(inputs.find("labels"));
    absl::StatusOr<BoundLoss> loss = Bind(spec, inputs);
    EXPECT_TRUE(loss.ok()) << loss.status();
    return *loss;
  }

  static std::vector<float> ItemsOf(RowForm<float>& form, int64_t first, int64_t n) {
    ItemBlock<float> block;
    EXPECT_TRUE(form.Run(first, n, &block).ok());
    return std::vector<float>(block.items[0], block.items[0] + block.n);
  }

  std::vector<float> logits_;
  std::vector<int64_t> labels_;
  NamedTensors inputs_;
};

TEST_F(SharedRows, ItemsAreThoseOfFormsThatReadThemselves) {
  // The leader needs no softmax itself; the first follower does.
  const BoundLoss leading = BindLoss("zero_one");
  for (const char* name : {"cross_entropy", "focal", "entropy", "zero_one"}) {
    SCOPED_TRACE(name);
    const BoundLoss following = BindLoss(name);
    ASSERT_TRUE(HaveSameRows(leading.call, following.call));
    RowForm<float> leader(leading.call), follower(following.call), alone(following.call);
    follower.ShareRowsWith(&leader);
    for (int64_t first = 0; first < kRows; first += 70) {
      const int64_t n = std::min<int64_t>(70, kRows - first);
      ItemsOf(leader, first, n);
      EXPECT_EQ(ItemsOf(follower, first, n), ItemsOf(alone, first, n));
    }
    // Units that the leader has not run.
    EXPECT_EQ(ItemsOf(follower, 5, 20), ItemsOf(alone, 5, 20));
  }
}

TEST_F(SharedRows, AFollowerOutlivesTheErrorOfItsLeader) {
  const BoundLoss leading = BindLoss("cross_entropy");
  const BoundLoss following = BindLoss("entropy");
  RowForm<float> leader(leading.call), follower(following.call), alone(following.call);
  follower.ShareRowsWith(&leader);
  ItemsOf(leader, 0, 50);
  labels_[60] = kClasses;
  ItemBlock<float> block;
  EXPECT_FALSE(leader.Run(50, 50, &block).ok());
  EXPECT_EQ(ItemsOf(follower, 50, 50), ItemsOf(alone, 50, 50));
}

TEST_F(SharedRows, OtherRowsAreNotShared) {
  const BoundLoss loss = BindLoss("cross_entropy");
  const std::vector<float> copy = logits_;
  inputs_ = {{"logits", View(DataType::kFloat32, Shape{kRows, kClasses}, copy)},
             {"labels", View(DataType::kInt64, Shape{kRows}, labels_)}};
  EXPECT_FALSE(HaveSameRows(loss.call, BindLoss("cross_entropy").call));
}

TEST_F(SharedRows, GradientsComeWithTheirItems) {
  const BoundLoss loss = BindLoss("cross_entropy");
  RowForm<float> form(loss.call), alone(loss.call);
  std::vector<float> gradient(logits_.size());
  GradientCall call;
  call.outputs[0] = reinterpret_cast<std::byte*>(gradient.data());
  ItemBlock<float> block;
  ASSERT_TRUE(form.RunGradients(10, 40, call, &block).ok());
  EXPECT_EQ(std::vector<float>(block.items[0], block.items[0] + block.n), ItemsOf(alone, 10, 40));
}

}  // namespace
}  // namespace lossd
