// Pools against the plain definition: one position at a time.
//
// Lengths pass the block of 1,024; rows of terms are farther apart than they are long.
#include "lib/accumulate/pools.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace lossd {
namespace {

constexpr double kConstants[] = {0.25, 3};

template <class T>
struct Positions {
  size_t n = 0;
  std::vector<std::vector<T>> pools;
  std::vector<T> weights;
  std::vector<uint8_t> ignored;

  // Positions [begin, end), their terms copied to rows of their own.
  LossSums Collected(size_t begin, size_t end, const CollectOptions& options,
                     int64_t* rejected) const {
    const size_t row = end - begin + 7;
    std::vector<T> terms(pools.size() * row, std::numeric_limits<T>::quiet_NaN());
    for (size_t pool = 0; pool < pools.size(); ++pool) {
      std::copy_n(pools[pool].begin() + static_cast<int64_t>(begin), end - begin,
                  terms.begin() + static_cast<int64_t>(pool * row));
    }
    const PoolTerms<T> pool_terms = {terms.data(), row, pools.size(), kConstants, 2};
    ItemBlock<T> block;
    block.n = end - begin;
    block.pools = &pool_terms;
    if (!weights.empty()) block.weights = weights.data() + begin;
    if (!ignored.empty()) block.ignored = ignored.data() + begin;
    LossSums sums;
    *rejected = Collect(GetSumKernels(), block, options, &sums);
    return sums;
  }
};

template <class T>
LossSums Expected(const Positions<T>& positions, bool skip) {
  LossSums sums;
  sums.pools.resize(positions.pools.size());
  for (size_t i = 0; i < positions.n; ++i) {
    const T weight = positions.weights.empty() ? T(1) : positions.weights[i];
    if (weight == 0 || (!positions.ignored.empty() && positions.ignored[i] != 0)) {
      ++sums.ignored_items;
      continue;
    }
    bool is_nan = false, is_inf = false;
    for (const std::vector<T>& pool : positions.pools) {
      is_nan |= std::isnan(pool[i]);
      is_inf |= std::isinf(pool[i]);
    }
    if (is_nan || is_inf) {
      ++(is_nan ? sums.nan_items : sums.inf_items);
      if (skip) continue;
    }
    for (size_t pool = 0; pool < positions.pools.size(); ++pool) {
      sums.pools[pool].Add(static_cast<double>(positions.pools[pool][i]) *
                           static_cast<double>(weight));
    }
    sums.weight.Add(static_cast<double>(weight));
    sums.weighted |= weight != T(1);
    ++sums.items;
  }
  return sums;
}

void ExpectEqual(const LossSums& a, const LossSums& b) {
  ASSERT_EQ(a.pools.size(), b.pools.size());
  for (size_t pool = 0; pool < a.pools.size(); ++pool) EXPECT_EQ(a.pools[pool], b.pools[pool]);
  EXPECT_EQ(a.weight, b.weight);
  EXPECT_EQ(a.items, b.items);
  EXPECT_EQ(a.ignored_items, b.ignored_items);
  EXPECT_EQ(a.nan_items, b.nan_items);
  EXPECT_EQ(a.inf_items, b.inf_items);
  EXPECT_EQ(a.weighted, b.weighted);
}

template <class T>
Positions<T> RandomPositions(size_t n, size_t pools, int extras, std::mt19937_64* random) {
  Positions<T> made;
  made.n = n;
  constexpr T kInfinity = std::numeric_limits<T>::infinity();
  const T specials[] = {std::numeric_limits<T>::quiet_NaN(), kInfinity, -kInfinity};
  made.pools.resize(pools, std::vector<T>(n));
  for (std::vector<T>& pool : made.pools) {
    for (T& term : pool) {
      term = std::ldexp(static_cast<T>((*random)() % 1000), -static_cast<int>((*random)() % 60));
      if ((extras & 4) != 0 && (*random)() % 200 == 0) term = specials[(*random)() % 3];
    }
  }
  for (size_t i = 0; i < n; ++i) {
    if ((extras & 1) != 0) made.weights.push_back(static_cast<T>((*random)() % 8) / 4);
    if ((extras & 2) != 0) made.ignored.push_back((*random)() % 5 == 0 ? 1 : 0);
  }
  return made;
}

template <class T>
class PoolsTest : public testing::Test {};
using Types = testing::Types<float, double>;
TYPED_TEST_SUITE(PoolsTest, Types);

TYPED_TEST(PoolsTest, AreTheSumsOfTheDefinitionHoweverTheyAreCut) {
  std::mt19937_64 random(3);
  for (const size_t n : {0, 1, 5, 1023, 1024, 1025, 3000}) {
    for (int extras = 0; extras < 8; ++extras) {
      const auto positions = RandomPositions<TypeParam>(n, 1 + n % 6, extras, &random);
      for (const bool skip : {false, true}) {
        const CollectOptions options = {skip ? NonFinitePolicy::kSkip : NonFinitePolicy::kPropagate,
                                        true};
        const LossSums expected = Expected(positions, skip);
        LossSums merged;
        const size_t cut = n == 0 ? 0 : random() % n;
        int64_t rejected = 0;
        merged.Merge(positions.Collected(0, cut, options, &rejected));
        merged.Merge(positions.Collected(cut, n, options, &rejected));
        ExpectEqual(merged, expected);
        EXPECT_EQ(rejected, -1);
        EXPECT_EQ(merged.constants, std::vector<double>(kConstants, kConstants + 2));
      }
    }
  }
}

TYPED_TEST(PoolsTest, RejectNamesTheFirstThatCounts) {
  std::mt19937_64 random(4);
  auto positions = RandomPositions<TypeParam>(2000, 3, 3, &random);
  const CollectOptions reject = {NonFinitePolicy::kReject, false};
  positions.pools[1][100] = std::numeric_limits<TypeParam>::quiet_NaN();
  positions.ignored[100] = 1;
  positions.pools[2][1500] = std::numeric_limits<TypeParam>::infinity();
  positions.ignored[1500] = 0;
  positions.weights[1500] = 1;
  int64_t rejected = 0;
  positions.Collected(0, 2000, reject, &rejected);
  EXPECT_EQ(rejected, 1500);
  positions.Collected(50, 2000, reject, &rejected);
  EXPECT_EQ(rejected, 1450);
}

}  // namespace
}  // namespace lossd
