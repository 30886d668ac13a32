// The collector against the plain definition: one item at a time, every sum in fractions of its
// own.
//
// Lengths pass the block of 1,024; data is chosen so that some blocks go by the exact kernels and
// some item by item.
#include "lib/accumulate/collector.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "lib/accumulate/gmp_reference.h"

namespace lossd {
namespace {

// Items and what belongs to them; empty vectors: not given.
template <class T>
struct Items {
  std::vector<std::vector<T>> parts;
  std::vector<T> weights, class_weights;
  std::vector<uint8_t> ignored;

  size_t size() const { return parts[0].size(); }
  ItemBlock<T> Block(size_t begin, size_t end) const {
    ItemBlock<T> block;
    block.parts = static_cast<int>(parts.size());
    for (size_t part = 0; part < parts.size(); ++part)
      block.items[part] = parts[part].data() + begin;
    block.n = end - begin;
    if (!weights.empty()) block.weights = weights.data() + begin;
    if (!class_weights.empty()) block.class_weights = class_weights.data() + begin;
    if (!ignored.empty()) block.ignored = ignored.data() + begin;
    return block;
  }
};

// The definition.
template <class T>
LossSums Expected(const Items<T>& items, const CollectOptions& options) {
  LossSums sums;
  for (size_t i = 0; i < items.size(); ++i) {
    const double weight = items.weights.empty() ? 1 : items.weights[i];
    if (weight == 0 || (!items.ignored.empty() && items.ignored[i] != 0)) {
      ++sums.ignored_items;
      continue;
    }
    bool is_nan = false, is_inf = false;
    for (const auto& part : items.parts) {
      is_nan |= std::isnan(part[i]);
      is_inf |= std::isinf(part[i]);
    }
    if (is_nan) ++sums.nan_items;
    if (is_inf && !is_nan) ++sums.inf_items;
    if ((is_nan || is_inf) && options.non_finite == NonFinitePolicy::kSkip) continue;
    for (size_t part = 0; part < items.parts.size(); ++part)
      sums.parts[part].Add(items.parts[part][i] * weight);
    const double class_weight = items.class_weights.empty() ? 1 : items.class_weights[i];
    sums.weight.Add(weight * class_weight);
    sums.weighted |= weight != 1 || class_weight != 1;
    ++sums.items;
    if (!options.statistics) continue;
    const double item = items.parts[0][i];
    sums.squares.Add(item * item);
    if (item < sums.minimum) sums.minimum = item + 0.0;
    if (item > sums.maximum) sums.maximum = item + 0.0;
  }
  return sums;
}

void ExpectEqual(const LossSums& a, const LossSums& b) {
  for (size_t part = 0; part < a.parts.size(); ++part)
    EXPECT_EQ(a.parts[part], b.parts[part]) << part;
  EXPECT_EQ(a.weight, b.weight);
  EXPECT_EQ(a.squares, b.squares);
  EXPECT_EQ(a.items, b.items);
  EXPECT_EQ(a.ignored_items, b.ignored_items);
  EXPECT_EQ(a.nan_items, b.nan_items);
  EXPECT_EQ(a.inf_items, b.inf_items);
  EXPECT_EQ(std::bit_cast<uint64_t>(a.minimum), std::bit_cast<uint64_t>(b.minimum));
  EXPECT_EQ(std::bit_cast<uint64_t>(a.maximum), std::bit_cast<uint64_t>(b.maximum));
  EXPECT_EQ(a.weighted, b.weighted);
}

enum class Data { kNormal, kHard, kNonFinite };

template <class T>
Items<T> RandomItems(size_t n, int parts, Data data, int extras, std::mt19937_64* random) {
  Items<T> items;
  for (int part = 0; part < parts; ++part) {
    std::vector<T>& values = items.parts.emplace_back(n);
    for (T& value : values) {
      value = static_cast<T>(HardValue(Hard::kNormal, *random));
      // Forty orders of magnitude, both zeros.
      if (data == Data::kHard) value = std::ldexp(value, static_cast<int>((*random)() % 130) - 65);
      if ((*random)() % 50 == 0) value = (*random)() % 2 == 0 ? T(0) : T(-0.0);
      if (data == Data::kNonFinite && (*random)() % 300 == 0) {
        const T specials[] = {std::numeric_limits<T>::quiet_NaN(),
                              std::numeric_limits<T>::infinity(),
                              -std::numeric_limits<T>::infinity()};
        value = specials[(*random)() % 3];
      }
    }
  }
  const auto weight = [&] { return static_cast<T>((*random)() % 8) / 4; };
  for (size_t i = 0; i < n; ++i) {
    if ((extras & 1) != 0) items.weights.push_back(weight());
    if ((extras & 2) != 0) items.class_weights.push_back(weight());
    if ((extras & 4) != 0) items.ignored.push_back((*random)() % 5 == 0 ? 1 : 0);
  }
  return items;
}

template <class T>
void ExpectTheDefinition() {
  std::mt19937_64 random(7);
  const SumKernels& kernels = GetSumKernels();
  for (const size_t n : {1, 15, 16, 17, 1023, 1024, 1025, 3000}) {
    for (const Data data : {Data::kNormal, Data::kHard, Data::kNonFinite}) {
      for (int extras = 0; extras < 8; ++extras) {
        for (const int parts : {1, 3}) {
          const Items<T> items = RandomItems<T>(n, parts, data, extras, &random);
          for (const bool statistics : {false, true}) {
            for (const NonFinitePolicy policy :
                 {NonFinitePolicy::kPropagate, NonFinitePolicy::kSkip}) {
              const CollectOptions options = {policy, statistics};
              const LossSums expected = Expected(items, options);
              LossSums whole;
              EXPECT_EQ(Collect(kernels, items.Block(0, n), options, &whole), -1);
              ExpectEqual(whole, expected);
              // In two blocks cut anywhere: the same.
              LossSums cut;
              const size_t middle = random() % (n + 1);
              Collect(kernels, items.Block(0, middle), options, &cut);
              Collect(kernels, items.Block(middle, n), options, &cut);
              ExpectEqual(cut, expected);
              if (::testing::Test::HasFailure()) return;
            }
          }
        }
      }
    }
  }
}
TEST(Collector, IsTheDefinitionForFloat) { ExpectTheDefinition<float>(); }
TEST(Collector, IsTheDefinitionForDouble) { ExpectTheDefinition<double>(); }

TEST(Collector, RejectNamesTheFirstThatCounts) {
  const SumKernels& kernels = GetSumKernels();
  const CollectOptions options = {NonFinitePolicy::kReject, true};
  Items<float> items;
  items.parts.push_back(std::vector<float>(3000, 1));
  LossSums sums;
  EXPECT_EQ(Collect(kernels, items.Block(0, 3000), options, &sums), -1);
  EXPECT_EQ(sums.items, 3000);
  items.parts[0][2500] = std::numeric_limits<float>::infinity();
  items.parts[0][2600] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Collect(kernels, items.Block(0, 3000), options, &sums), 2500);
  items.weights.assign(3000, 1);
  items.weights[2500] = 0;
  EXPECT_EQ(Collect(kernels, items.Block(0, 3000), options, &sums), 2600);
  items.ignored.assign(3000, 0);
  items.ignored[2600] = 1;
  EXPECT_EQ(Collect(kernels, items.Block(0, 3000), options, &sums), -1);
}

// A value that overflows as a square still counts where only the sum is wanted, and as infinity
// where both are.
TEST(Collector, SquaresMayOverflowWhereTheSumDoesNot) {
  Items<double> items;
  items.parts.push_back({1e200, 1, -1e200});
  LossSums sums;
  EXPECT_EQ(Collect(GetSumKernels(), items.Block(0, 3), {NonFinitePolicy::kReject, true}, &sums),
            -1);
  EXPECT_EQ(sums.parts[0].Round(), 1);
  EXPECT_EQ(sums.squares.positive_infinity_count(), 2u);
  EXPECT_EQ(sums.items, 3);
  EXPECT_EQ(sums.inf_items, 0);
}

}  // namespace
}  // namespace lossd
