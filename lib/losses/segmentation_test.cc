// The item of a sample of many positions is a function of the sample alone, and so are the sums
// that are pooled: neither the batch around it, the addresses, the pieces, the types nor the
// instruction set show. items_test.cc has samples of one position.
//
// Numbers of positions stand around the group (256), the chunk that is read (4,096) and a vector.
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <random>

#include "hwy/targets.h"
#include "lib/base/cpu_target.h"
#include "lib/losses/catalogue.h"
#include "lib/losses/families.h"
#include "lib/losses/loss_testing.h"

namespace lossd {
namespace {

constexpr int64_t kPositions[] = {1, 7, 31, 33, 255, 256, 257, 4095, 4097, 9000};
constexpr int64_t kClasses = 3;

// A batch of masks; `coarse` values are exact in bfloat16.
TestValuesByName MakeMasks(const Signature& signature, int64_t samples, int64_t positions,
                           bool coarse = false) {
  std::mt19937_64 random(11);
  TestValuesByName inputs;
  for (const Input& input : signature.inputs) {
    TestValues& made = inputs[input.name];
    made.floating = input.type != TypeRule::kLabel;
    made.shape = {samples, positions};
    if (input.shape == ShapeRule::kClasses) made.shape = {samples, kClasses, positions};
    int64_t count = samples * positions * (input.shape == ShapeRule::kClasses ? kClasses : 1);
    while (count-- > 0) made.values.push_back(TestValue(input, kClasses, coarse, &random));
  }
  return inputs;
}

// One sample of a batch.
TestValuesByName Sample(const TestValuesByName& batch, int64_t sample) {
  TestValuesByName one = batch;
  for (auto& [name, input] : one) {
    const int64_t size = static_cast<int64_t>(input.values.size()) / input.shape[0];
    const auto begin = input.values.begin() + sample * size;
    input.values = std::vector<double>(begin, begin + size);
    input.shape[0] = 1;
  }
  return one;
}

const std::vector<std::string>& Names() {
  static const auto* names = new std::vector<std::string>{"dice", "jaccard", "tversky"};
  return *names;
}

template <class Test>
void ForEveryMask(const Test& test) {
  for (const std::string& name : Names()) {
    const LossRow& row = *Catalogue::Get().Find(name);
    for (const Signature& signature : row.signatures) {
      SCOPED_TRACE(name + " " + signature.inputs[0].name + " " + signature.inputs[1].name);
      test(row, signature);
    }
  }
}

LossSpec PooledSpec(const LossRow& row, const TestValuesByName& inputs) {
  LossSpec spec = SpecOf(row, inputs);
  spec.parameters[static_cast<size_t>(FindParameter(row, "pooling"))] = 2;  // WHOLE
  return spec;
}

// The pools of units in runs of at most `step`.
template <class T>
LossSums RunPools(const BoundLoss& bound, int64_t step) {
  LossSums sums;
  WithForm<T>(bound.call, [&](auto& form) {
    for (int64_t first = 0; first < bound.call.units;) {
      const int64_t n = std::min({step, form.max_units(), bound.call.units - first});
      ItemBlock<T> block;
      const absl::Status status = form.Run(first, n, &block);
      EXPECT_TRUE(status.ok()) << status;
      EXPECT_EQ(Collect(GetSumKernels(), block, CollectOptions(), &sums), -1);
      first += n;
    }
  });
  return sums;
}

LossSums PoolsOf(const LossSpec& spec, const NamedTensors& inputs,
                 int64_t step = std::numeric_limits<int64_t>::max()) {
  const absl::StatusOr<BoundLoss> bound = Bind(spec, inputs);
  EXPECT_TRUE(bound.ok()) << bound.status();
  if (!bound.ok()) return {};
  return bound->compute_type == DataType::kFloat32 ? RunPools<float>(*bound, step)
                                                   : RunPools<double>(*bound, step);
}

TEST(Segmentation, AnItemIsThatOfItsSampleAlone) {
  ForEveryMask([](const LossRow& row, const Signature& signature) {
    for (const int64_t positions : kPositions) {
      const TestValuesByName batch = MakeMasks(signature, 3, positions);
      for (const DataType type : {DataType::kFloat32, DataType::kFloat64}) {
        const size_t size = ByteSize(type);
        const TestInputs inputs(batch, {type, 0, 0});
        const auto items = ItemsOf(SpecOf(row, batch), inputs.views());
        for (int64_t sample = 0; sample < 3; ++sample) {
          const TestValuesByName one = Sample(batch, sample);
          const TestInputs alone(one, {type, 0, 0});
          const auto item = ItemsOf(SpecOf(row, one), alone.views());
          EXPECT_EQ(
              std::memcmp(items.data() + static_cast<size_t>(sample) * size, item.data(), size), 0)
              << positions;
        }
        EXPECT_EQ(ItemsOf(SpecOf(row, batch), inputs.views(), /*step=*/1), items);
      }
    }
  });
}

TEST(Segmentation, LayoutsDoNotShow) {
  ForEveryMask([](const LossRow& row, const Signature& signature) {
    for (const int64_t positions : {1, 257, 5000}) {
      const TestValuesByName batch = MakeMasks(signature, 2, positions);
      for (const DataType type : {DataType::kFloat32, DataType::kFloat64}) {
        const TestInputs inputs(batch, {type, 0, 0});
        const auto items = ItemsOf(SpecOf(row, batch), inputs.views());
        const LossSums pools = PoolsOf(PooledSpec(row, batch), inputs.views());
        for (const size_t piece : {0, 37, 4096}) {
          const TestInputs laid(batch, {type, piece == 0 ? size_t{3} : 1, piece});
          EXPECT_EQ(ItemsOf(SpecOf(row, batch), laid.views()), items) << positions << " " << piece;
          EXPECT_EQ(PoolsOf(PooledSpec(row, batch), laid.views()).pools, pools.pools);
        }
      }
    }
  });
}

TEST(Segmentation, NarrowTypesAreWidened) {
  ForEveryMask([](const LossRow& row, const Signature& signature) {
    const TestValuesByName batch = MakeMasks(signature, 2, 600, /*coarse=*/true);
    const TestInputs wide(batch, {DataType::kFloat32, 0, 0});
    const auto items = ItemsOf(SpecOf(row, batch), wide.views());
    const LossSums pools = PoolsOf(PooledSpec(row, batch), wide.views());
    for (const DataType type : {DataType::kFloat16, DataType::kBfloat16}) {
      const TestInputs narrow(batch, {type, 0, 0});
      EXPECT_EQ(ItemsOf(SpecOf(row, batch), narrow.views()), items);
      EXPECT_EQ(PoolsOf(PooledSpec(row, batch), narrow.views()).pools, pools.pools);
    }
  });
}

TEST(Segmentation, PoolsDoNotDependOnHowPositionsAreCut) {
  ForEveryMask([](const LossRow& row, const Signature& signature) {
    for (const int64_t positions : {1, 5, 700}) {
      const int64_t samples = positions == 700 ? 4 : 300;
      const TestValuesByName batch = MakeMasks(signature, samples, positions);
      const TestInputs inputs(batch, {DataType::kFloat32, 0, 0});
      const LossSpec spec = PooledSpec(row, batch);
      const LossSums whole = PoolsOf(spec, inputs.views());
      EXPECT_EQ(whole.items, samples * positions);
      EXPECT_FALSE(whole.constants.empty());
      for (const int64_t step : {1, 7, 256, 701}) {
        EXPECT_EQ(PoolsOf(spec, inputs.views(), step).pools, whole.pools) << step;
      }
    }
  });
}

TEST(Segmentation, EveryTargetGivesTheSameBits) {
  ASSERT_TRUE(InitCpuTarget().ok());
  const int64_t before = hwy::SupportedTargets();
  const int64_t available = before & HWY_TARGETS;
  std::vector<std::vector<std::byte>> first_items;
  std::vector<std::vector<ExactSum>> first_pools;
  for (int64_t rest = available; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    std::vector<std::vector<std::byte>> items;
    std::vector<std::vector<ExactSum>> pools;
    for (const LossRow& row : SegmentationTable().rows) {
      for (const Signature& signature : row.signatures) {
        for (const int64_t positions : kPositions) {
          for (const DataType type : {DataType::kFloat32, DataType::kFloat64}) {
            const TestValuesByName batch = MakeMasks(signature, 2, positions);
            const TestInputs inputs(batch, {type, 0, 0});
            items.push_back(ItemsOf(SpecOf(row, batch), inputs.views()));
            pools.push_back(PoolsOf(PooledSpec(row, batch), inputs.views()).pools);
          }
        }
      }
    }
    if (first_items.empty()) {
      first_items = items;
      first_pools = pools;
    }
    EXPECT_EQ(items, first_items);
    EXPECT_EQ(pools, first_pools);
  }
  hwy::SetSupportedTargetsForTest(before);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

}  // namespace
}  // namespace lossd
