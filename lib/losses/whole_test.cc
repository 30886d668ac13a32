// Whole-batch losses in the library: their one item and its gradients have the same bits on every
// target, at any address, in any pieces; a cancelled call ends; the numbers that a batch of a few
// rows must give. tests/losses compares them with references.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "hwy/targets.h"
#include "lib/base/cancellation.h"
#include "lib/base/cpu_target.h"
#include "lib/forms/whole_form.h"
#include "lib/losses/families.h"
#include "lib/losses/loss_testing.h"

namespace lossd {
namespace {

LossRow RowOf(const LossTable& table) { return table.rows[0]; }

// The item, the components and the gradients of all inputs that have one, as bytes.
template <class T>
std::vector<std::byte> Everything(const BoundLoss& bound) {
  WholeForm<T> form(bound.call);
  ItemBlock<T> block;
  EXPECT_TRUE(form.Run(0, 1, &block).ok());
  std::vector<std::byte> all;
  AppendBytes(block.items[0][0], &all);
  for (const double part : form.components()) AppendBytes(part, &all);
  GradientCall gradients;
  std::vector<std::vector<T>> memory;
  memory.reserve(kMaxGradients);
  for (const GradientSlot& slot : GradientSlots(bound)) {
    memory.emplace_back(static_cast<size_t>(slot.shape.elements()));
    gradients.outputs[static_cast<size_t>(slot.slot)] =
        reinterpret_cast<std::byte*>(memory.back().data());
  }
  EXPECT_FALSE(memory.empty());
  EXPECT_TRUE(form.RunGradients(0, 1, gradients).ok());
  for (const std::vector<T>& gradient : memory) {
    for (const T value : gradient) AppendBytes(value, &all);
  }
  return all;
}

std::vector<std::byte> EverythingOf(const LossRow& row, const TestValuesByName& values,
                                    const TestLayout& layout) {
  const TestInputs inputs(values, layout);
  const absl::StatusOr<BoundLoss> bound = Bind(SpecOf(row, values), inputs.views());
  EXPECT_TRUE(bound.ok()) << bound.status();
  if (!bound.ok()) return {};
  return bound->compute_type == DataType::kFloat32 ? Everything<float>(*bound)
                                                   : Everything<double>(*bound);
}

void ForEveryLoss(const std::function<void(const LossRow&)>& test) {
  for (const LossRow& row : {RowOf(RangeTable()), RowOf(YoloTable())}) {
    SCOPED_TRACE(row.name);
    test(row);
  }
}

TEST(Whole, EveryTargetGivesTheSameBits) {
  const int64_t available = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<std::vector<std::byte>> first;
  for (int64_t rest = available; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    SCOPED_TRACE(std::string(CpuTargetName(target)));
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    EXPECT_EQ(RangeTable().target, target);
    EXPECT_EQ(YoloTable().target, target);
    std::vector<std::vector<std::byte>> all;
    ForEveryLoss([&](const LossRow& row) {
      for (const int64_t width : {1, 2, 7, 33, 130}) {
        const TestValuesByName values = MakeTestInputs(row.signatures[0], 40, width, 21);
        for (const DataType type : {DataType::kFloat32, DataType::kFloat64})
          all.push_back(EverythingOf(row, values, {type, 0, 0}));
      }
    });
    if (first.empty()) first = all;
    EXPECT_EQ(all, first);
  }
  hwy::SetSupportedTargetsForTest(available);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(Whole, LayoutChangesNothing) {
  ForEveryLoss([](const LossRow& row) {
    const TestValuesByName values = MakeTestInputs(row.signatures[0], 30, 5, 22);
    for (const DataType type : {DataType::kFloat32, DataType::kFloat64}) {
      const std::vector<std::byte> plain = EverythingOf(row, values, {type, 0, 0});
      for (const size_t misaligned_by : {1, 2, 4, 7})
        EXPECT_EQ(EverythingOf(row, values, {type, misaligned_by, 0}), plain);
      for (const size_t piece_bytes : {13, 64, 1000})
        EXPECT_EQ(EverythingOf(row, values, {type, 3, piece_bytes}), plain);
    }
  });
}

TEST(Whole, NarrowTypesAreWidened) {
  ForEveryLoss([](const LossRow& row) {
    // Exact in bfloat16; the sizes of boxes would round to 0 and above 1 else.
    const TestValuesByName values = MakeTestInputs(row.signatures[0], 30, 5, 23, /*coarse=*/true);
    const std::vector<std::byte> wide = EverythingOf(row, values, {DataType::kFloat32, 0, 0});
    EXPECT_EQ(EverythingOf(row, values, {DataType::kFloat16, 0, 0}), wide);
    EXPECT_EQ(EverythingOf(row, values, {DataType::kBfloat16, 1, 50}), wide);
  });
}

TEST(Whole, CancelledCallsEnd) {
  CancellationToken token;
  token.Cancel();
  ForEveryLoss([&](const LossRow& row) {
    const TestValuesByName values = MakeTestInputs(row.signatures[0], 30, 5, 24);
    const TestInputs inputs(values, {});
    const absl::StatusOr<BoundLoss> bound = Bind(SpecOf(row, values), inputs.views());
    ASSERT_TRUE(bound.ok()) << bound.status();
    WholeForm<float> form(bound->call);
    form.CancelBy(&token);
    ItemBlock<float> block;
    EXPECT_EQ(form.Run(0, 1, &block).code(), absl::StatusCode::kCancelled);
  });
}

TEST(Whole, RangeOfAFewRows) {
  // Class 3: squared distances 1, 9 and 4, of which 9 and 4 count. Class 8 has no pair. The means
  // are 4/3 and 2.
  const TestValuesByName values = {{"embeddings", {{4, 1}, {0, 1, 3, 2}, true}},
                                   {"labels", {{4}, {3, 3, 3, 8}, false}}};
  const TestInputs inputs(values, {DataType::kFloat64, 0, 0});
  const absl::StatusOr<BoundLoss> bound = Bind(SpecOf(RowOf(RangeTable()), values), inputs.views());
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->item_shape, Shape{1});
  WholeForm<double> form(bound->call);
  ItemBlock<double> block;
  ASSERT_TRUE(form.Run(0, 1, &block).ok());
  EXPECT_EQ(block.n, 1u);
  EXPECT_NEAR(block.items[0][0], 2 / (1.0 / 9 + 1.0 / 4) + 1 - 4.0 / 9, 1e-14);
}

TEST(Whole, AnEmptyBatchHasNoItem) {
  const TestValuesByName values = {{"embeddings", {{0, 3}, {}, true}},
                                   {"labels", {{0}, {}, false}}};
  const TestInputs inputs(values, {});
  const absl::StatusOr<BoundLoss> bound = Bind(SpecOf(RowOf(RangeTable()), values), inputs.views());
  ASSERT_TRUE(bound.ok()) << bound.status();
  EXPECT_EQ(bound->call.units, 0);
  EXPECT_EQ(bound->item_shape, Shape{0});
}

}  // namespace
}  // namespace lossd
