// An item's loss is a function of the item alone: for every loss of the catalogue, every set of
// inputs, f32 and f64, its bits do not depend on the instruction set, its place in the batch, the
// batch's length, the addresses, the pieces, nor on which dimension the classes lie along.
//
// Lengths: element-wise 1 to 200 pass every tail of a 64-byte line; rows of classes stand around
// the vector (32 virtual lanes), the group of eight steps (256) and the chunk (4,096).
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <limits>

#include "hwy/targets.h"
#include "lib/base/cpu_target.h"
#include "lib/losses/catalogue.h"
#include "lib/losses/families.h"
#include "lib/losses/loss_testing.h"

namespace lossd {
namespace {

constexpr int64_t kClassCounts[] = {1,   2,   3,   31,   32,   33,   63,  65,
                                    255, 256, 257, 4095, 4096, 4097, 8193};
constexpr DataType kComputeTypes[] = {DataType::kFloat32, DataType::kFloat64};

template <class Test>
void ForEverySignature(const std::vector<LossRow>& rows, const Test& test) {
  for (const LossRow& row : rows) {
    if (!row.streams) continue;  // their one item is a function of the batch: whole_test.cc
    for (const Signature& signature : row.signatures) {
      std::string names = row.name;
      for (const Input& input : signature.inputs) names += std::string(" ") + input.name;
      SCOPED_TRACE(names);
      test(row, signature);
    }
  }
}

const std::vector<LossRow>& Rows() { return Catalogue::Get().rows(); }

// The rows with kernels of one target; goes back to the target before when it ends.
class OnTarget {
 public:
  explicit OnTarget(int64_t target) : before_(hwy::SupportedTargets()) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    for (const auto family : kFamilies) {
      const LossTable table = family();
      EXPECT_EQ(table.target, target);
      rows_.insert(rows_.end(), table.rows.begin(), table.rows.end());
    }
  }
  ~OnTarget() {
    hwy::SetSupportedTargetsForTest(before_);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  const std::vector<LossRow>& rows() const { return rows_; }

 private:
  int64_t before_;
  std::vector<LossRow> rows_;
};

// Values where instruction sets are known to differ, put in the first places of every floating
// input that may have them.
void AddSpecials(const Signature& signature, TestValuesByName* inputs) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  const double specials[] = {std::nan(""), -std::nan(""), kInf,  -kInf, 0.0,    -0.0, 1e-45, -1e-45,
                             1e-40,        3e38,          -3e38, 88.8,  -104.0, 1.0,  0.5};
  for (const Input& input : signature.inputs) {
    if (input.values != ValueRule::kAny || input.shape == ShapeRule::kClassVector) continue;
    std::vector<double>& values = inputs->at(input.name).values;
    // Another phase for each input, so that they meet in many pairs.
    const size_t phase = 7 * std::strlen(input.name);
    for (size_t i = 0; i < std::size(specials) && 3 * i < values.size(); ++i) {
      values[3 * i] = specials[(i + phase) % std::size(specials)];
    }
  }
}

// The items of all losses, one after the other.
std::vector<std::vector<std::byte>> AllItems(const std::vector<LossRow>& rows) {
  std::vector<std::vector<std::byte>> all;
  for (const DataType type : kComputeTypes) {
    ForEverySignature(rows, [&](const LossRow& row, const Signature& signature) {
      for (const int64_t classes : {1, 5, 33, 257, 4097}) {
        if (!IsRowwise(signature) && classes != 5) continue;
        const int64_t samples = !IsRowwise(signature) ? 600 : classes > 1000 ? 6 : 60;
        for (const bool special : {false, true}) {
          TestValuesByName values = MakeTestInputs(signature, samples, classes, 7);
          if (special) AddSpecials(signature, &values);
          const TestInputs inputs(values, {type, 0, 0});
          for (const LossSpec& spec : SpecsOf(row, values))
            all.push_back(ItemsOf(spec, inputs.views()));
        }
      }
    });
  }
  return all;
}

TEST(Items, EveryTargetGivesTheSameBits) {
  const int64_t available = hwy::SupportedTargets() & HWY_TARGETS;
  std::vector<std::vector<std::byte>> first;
  for (int64_t rest = available; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    SCOPED_TRACE(std::string(CpuTargetName(target)));
    const OnTarget on_target(target);
    std::vector<std::vector<std::byte>> items = AllItems(on_target.rows());
    if (first.empty()) first = items;
    ASSERT_EQ(items.size(), first.size());
    for (size_t i = 0; i < items.size(); ++i) ASSERT_EQ(items[i], first[i]) << i;
  }
  EXPECT_FALSE(first.empty());
}

// The choice of the environment is what runs: CTest runs this binary once a target.
TEST(Items, TheForcedTargetRuns) {
  ASSERT_TRUE(InitCpuTarget().ok());
  const char* forced = std::getenv("LOSSD_TARGET");
  if (forced == nullptr || *forced == '\0') return;
  EXPECT_EQ(ActiveCpuTarget(), forced);
  EXPECT_EQ(CpuTargetName(RegressionTable().target), forced);
}

template <class T, class Bits>
bool IsNumberOrQuietNan(const std::byte* item, Bits quiet_nan) {
  T value;
  std::memcpy(&value, item, sizeof(value));
  return value == value || std::bit_cast<Bits>(value) == quiet_nan;
}

TEST(Items, OnlyOneNanIsWritten) {
  for (const DataType type : kComputeTypes) {
    ForEverySignature(Rows(), [&](const LossRow& row, const Signature& signature) {
      TestValuesByName values = MakeTestInputs(signature, 120, 5, 11);
      AddSpecials(signature, &values);
      const TestInputs inputs(values, {type, 0, 0});
      for (const LossSpec& spec : SpecsOf(row, values)) {
        const std::vector<std::byte> items = ItemsOf(spec, inputs.views());
        for (size_t at = 0; at < items.size(); at += ByteSize(type)) {
          if (type == DataType::kFloat32) {
            ASSERT_TRUE(IsNumberOrQuietNan<float>(items.data() + at, 0x7FC00000u));
          } else {
            ASSERT_TRUE(IsNumberOrQuietNan<double>(items.data() + at, 0x7FF8000000000000u));
          }
        }
      }
    });
  }
}

// The first `count` samples of each input.
TestValuesByName Prefix(const Signature& signature, TestValuesByName values, int64_t count) {
  for (const Input& input : signature.inputs) {
    if (input.shape == ShapeRule::kClassVector || input.shape == ShapeRule::kTable ||
        input.shape == ShapeRule::kTableVector) {
      continue;
    }
    TestValues& cut = values.at(input.name);
    const auto per_sample = static_cast<int64_t>(cut.values.size()) / cut.shape[0];
    cut.shape[0] = count;
    cut.values.resize(static_cast<size_t>(count * per_sample));
  }
  return values;
}

TEST(Items, LengthAndAddressDoNotShow) {
  for (const DataType type : kComputeTypes) {
    ForEverySignature(Rows(), [&](const LossRow& row, const Signature& signature) {
      const int64_t longest = IsRowwise(signature) ? 20 : 200;
      const TestValuesByName values = MakeTestInputs(signature, longest, 37, 3);
      const std::vector<LossSpec> specs = SpecsOf(row, values);
      std::vector<std::vector<std::byte>> whole;
      const TestInputs inputs(values, {type, 0, 0});
      for (const LossSpec& spec : specs) whole.push_back(ItemsOf(spec, inputs.views()));
      for (int64_t n = 1; n <= longest; ++n) {
        const size_t misaligned = static_cast<size_t>(n) % 8;
        const TestInputs cut(Prefix(signature, values, n), {type, misaligned, 0});
        for (size_t s = 0; s < specs.size(); ++s) {
          const std::vector<std::byte> items = ItemsOf(specs[s], cut.views());
          ASSERT_TRUE(std::equal(items.begin(), items.end(), whole[s].begin())) << n;
          ASSERT_EQ(items.size() * static_cast<size_t>(longest),
                    whole[s].size() * static_cast<size_t>(n));
        }
      }
    });
  }
}

TEST(Items, PiecesAndRunsDoNotShow) {
  for (const DataType type :
       {DataType::kFloat32, DataType::kFloat64, DataType::kFloat16, DataType::kBfloat16}) {
    ForEverySignature(Rows(), [&](const LossRow& row, const Signature& signature) {
      const int64_t samples = IsRowwise(signature) ? 70 : 2500;
      const TestValuesByName values = MakeTestInputs(signature, samples, 37, 5, /*coarse=*/true);
      const TestInputs contiguous(values, {type, 0, 0});
      const TestInputs odd(values, {type, 3, 0});
      const TestInputs pieces(values, {type, 0, 1001});
      const TestInputs crumbs(values, {type, 0, 13});
      for (const LossSpec& spec : SpecsOf(row, values)) {
        const std::vector<std::byte> items = ItemsOf(spec, contiguous.views());
        EXPECT_EQ(ItemsOf(spec, odd.views()), items);
        EXPECT_EQ(ItemsOf(spec, pieces.views()), items);
        EXPECT_EQ(ItemsOf(spec, crumbs.views()), items);
        EXPECT_EQ(ItemsOf(spec, pieces.views(), 1), items);
        EXPECT_EQ(ItemsOf(spec, contiguous.views(), 23), items);
      }
    });
  }
}

// f16 and bf16 are widened, which changes nothing.
TEST(Items, HalfTypesEqualTheirWidenedValues) {
  ForEverySignature(Rows(), [&](const LossRow& row, const Signature& signature) {
    const TestValuesByName values = MakeTestInputs(signature, 100, 6, 9, /*coarse=*/true);
    const TestInputs single(values, {DataType::kFloat32, 0, 0});
    for (const DataType type : {DataType::kFloat16, DataType::kBfloat16}) {
      const TestInputs half(values, {type, 0, 0});
      for (const LossSpec& spec : SpecsOf(row, values)) {
        EXPECT_EQ(ItemsOf(spec, half.views()), ItemsOf(spec, single.views()));
      }
    }
  });
}

// Rows [N,C] as the pixels of one image, [1,C,H,W] with H W = N: classes a pixel apart.
TestValuesByName AsPixels(const Signature& signature, const TestValuesByName& rows,
                          int64_t height) {
  TestValuesByName pixels = rows;
  for (const Input& input : signature.inputs) {
    TestValues& values = pixels.at(input.name);
    const int64_t width = rows.at(input.name).shape[0] / height;
    if (input.shape == ShapeRule::kPositions) {
      values.shape = {1, height, width};
    } else if (input.shape == ShapeRule::kClasses) {
      const int64_t samples = values.shape[0], classes = values.shape[1];
      values.shape = {1, classes, height, width};
      for (int64_t n = 0; n < samples; ++n) {
        for (int64_t c = 0; c < classes; ++c) {
          values.values[static_cast<size_t>(c * samples + n)] =
              rows.at(input.name).values[static_cast<size_t>(n * classes + c)];
        }
      }
    }
  }
  return pixels;
}

// Point-wise items lie as the classes do: [N,C] to [1,C,N].
std::vector<std::byte> Transposed(const std::vector<std::byte>& items, int64_t samples,
                                  int64_t classes, size_t size) {
  std::vector<std::byte> result(items.size());
  for (int64_t n = 0; n < samples; ++n) {
    for (int64_t c = 0; c < classes; ++c) {
      std::memcpy(result.data() + static_cast<size_t>(c * samples + n) * size,
                  items.data() + static_cast<size_t>(n * classes + c) * size, size);
    }
  }
  return result;
}

TEST(Items, RowsAndPixelsHaveTheSameBits) {
  constexpr int64_t kSamples = 6;
  for (const DataType type : kComputeTypes) {
    ForEverySignature(Rows(), [&](const LossRow& row, const Signature& signature) {
      if (signature.inputs[0].shape != ShapeRule::kClasses) return;
      if (signature.item == ItemKind::kSample) return;  // its positions are one item
      for (const int64_t classes : kClassCounts) {
        const TestValuesByName rows =
            MakeTestInputs(signature, kSamples, classes, static_cast<uint64_t>(classes));
        TestValuesByName with_one = rows;
        for (const Input& input : signature.inputs) {
          if (input.shape != ShapeRule::kClassVector) with_one.at(input.name).shape.push_back(1);
        }
        const TestInputs plain(rows, {type, 0, 0});
        const TestInputs one(with_one, {type, 1, 0});
        const TestInputs pixels(AsPixels(signature, rows, 2), {type, 0, 0});
        const TestInputs pixel_pieces(AsPixels(signature, rows, 3), {type, 0, 509});
        for (const LossSpec& spec : SpecsOf(row, rows)) {
          const std::vector<std::byte> items = ItemsOf(spec, plain.views());
          const bool pointwise = items.size() != kSamples * ByteSize(type);
          const std::vector<std::byte> as_pixels =
              pointwise ? Transposed(items, kSamples, classes, ByteSize(type)) : items;
          ASSERT_EQ(ItemsOf(spec, one.views()), items) << classes;
          ASSERT_EQ(ItemsOf(spec, pixels.views()), as_pixels) << classes;
          ASSERT_EQ(ItemsOf(spec, pixel_pieces.views(), 4), as_pixels) << classes;
        }
      }
    });
  }
}

}  // namespace
}  // namespace lossd
