// The state as a value: merging is associative and commutative to the bit, bytes are canonical, and
// no other bytes pass.
#include "lib/evaluation/state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <cmath>
#include <cstring>
#include <random>

#include "lib/base/status.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

LossSpec SpecOf(const char* name) {
  LossSpec spec;
  spec.row = Catalogue::Get().Find(name);
  for (int i = 0; i < spec.row->parameters.size; ++i) {
    spec.parameters[static_cast<size_t>(i)] = spec.row->parameters[i].default_value;
  }
  return spec;
}

double AnyDouble(std::mt19937_64* random) {
  std::uniform_real_distribution<double> exponent(-300, 300), unit(-1, 1);
  return unit(*random) * std::pow(10.0, exponent(*random));
}

// A state of two losses, one pooled, with sums of random terms.
EvaluationState RandomState(uint64_t seed) {
  std::mt19937_64 random(seed);
  EvaluationState state;
  state.fingerprint = Sha256("the same for all");
  for (const char* name : {"mse", "balanced_binary_cross_entropy"}) {
    LossState loss;
    loss.row = Catalogue::Get().Find(name);
    loss.pooled = std::strcmp(name, "mse") != 0;
    loss.label = "label";
    loss.weight = 0.25;
    loss.compute_type = DataType::kFloat32;
    for (int i = 0; i < 50; ++i) {
      for (ExactSum& part : loss.sums.parts) part.Add(AnyDouble(&random));
      loss.sums.weight.Add(std::abs(AnyDouble(&random)));
      loss.sums.squares.Add(std::abs(AnyDouble(&random)));
    }
    loss.sums.items = static_cast<int64_t>(random() % 1000);
    loss.sums.ignored_items = static_cast<int64_t>(random() % 1000);
    loss.sums.nan_items = static_cast<int64_t>(random() % 2);
    loss.sums.inf_items = static_cast<int64_t>(random() % 2);
    for (int64_t& kind : loss.sums.kinds) kind = static_cast<int64_t>(random() % 1000);
    if (loss.sums.nan_items != 0) loss.sums.parts[0].Add(std::nan(""));
    loss.sums.minimum = -std::abs(AnyDouble(&random));
    loss.sums.maximum = std::abs(AnyDouble(&random));
    loss.sums.weighted = random() % 2 == 0;
    state.losses.push_back(std::move(loss));
  }
  return state;
}

EvaluationState Merged(EvaluationState a, const EvaluationState& b) {
  EXPECT_TRUE(a.Merge(b).ok());
  return a;
}

TEST(State, MergeIsCommutativeAndAssociative) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const EvaluationState a = RandomState(3 * seed), b = RandomState(3 * seed + 1),
                          c = RandomState(3 * seed + 2);
    EXPECT_EQ(Merged(a, b).Serialize(), Merged(b, a).Serialize());
    EXPECT_EQ(Merged(Merged(a, b), c).Serialize(), Merged(a, Merged(b, c)).Serialize());
  }
}

TEST(State, AnEmptyOneIsNeutral) {
  const EvaluationState a = RandomState(1);
  EvaluationState empty = a;
  for (LossState& loss : empty.losses) {
    loss.sums = LossSums();
    loss.compute_type.reset();
  }
  EXPECT_EQ(Merged(a, empty).Serialize(), a.Serialize());
  EXPECT_EQ(Merged(empty, a).Serialize(), a.Serialize());
}

TEST(State, BytesAreCanonicalAndComeBack) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const std::string bytes = RandomState(seed).Serialize();
    const auto parsed = EvaluationState::Parse(bytes);
    ASSERT_TRUE(parsed.ok()) << parsed.status();
    EXPECT_EQ(parsed->Serialize(), bytes);
    EXPECT_EQ(parsed->losses[0].label, "label");
    EXPECT_EQ(parsed->losses[0].weight, 0.25);
    EXPECT_TRUE(parsed->losses[1].pooled);
  }
  EvaluationState unset = RandomState(1);
  unset.losses[0].weight.reset();
  unset.losses[0].compute_type.reset();
  const auto parsed = EvaluationState::Parse(unset.Serialize());
  ASSERT_TRUE(parsed.ok());
  EXPECT_FALSE(parsed->losses[0].weight.has_value());
  EXPECT_FALSE(parsed->losses[0].compute_type.has_value());
}

// The same terms in another order and grouping are the same bytes, though carries lie elsewhere.
TEST(State, EqualEvaluationsAreEqualBytes) {
  std::mt19937_64 random(5);
  std::vector<double> terms(2000);
  for (double& term : terms) term = AnyDouble(&random);
  EvaluationState one = RandomState(1);
  one.losses.resize(1);
  one.losses[0].sums = LossSums();
  EvaluationState other = one;
  for (const double term : terms) one.losses[0].sums.parts[0].Add(term);
  std::shuffle(terms.begin(), terms.end(), random);
  const EvaluationState empty = other;
  EvaluationState part = empty;
  for (size_t i = 0; i < terms.size(); ++i) {
    part.losses[0].sums.parts[0].Add(terms[i]);
    if (i % 77 == 0 || i + 1 == terms.size()) {
      ASSERT_TRUE(other.Merge(part).ok());
      part = empty;
    }
  }
  EXPECT_EQ(one.Serialize(), other.Serialize());
}

TEST(State, RefusesToMergeWhatDoesNotBelong) {
  const EvaluationState state = RandomState(1);
  const auto expect_refused = [&](const EvaluationState& other, const std::string& reason) {
    EvaluationState mine = state;
    const absl::Status status = mine.Merge(other);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(status).reason, reason);
    EXPECT_EQ(mine.Serialize(), state.Serialize());  // as it was
  };
  EvaluationState other = RandomState(2);
  other.fingerprint = Sha256("another");
  expect_refused(other, "FINGERPRINT_MISMATCH");
  other = RandomState(2);
  other.losses.pop_back();
  expect_refused(other, "FINGERPRINT_MISMATCH");
  other = RandomState(2);
  std::swap(other.losses[0], other.losses[1]);
  expect_refused(other, "FINGERPRINT_MISMATCH");
  other = RandomState(2);
  other.losses[1].compute_type = DataType::kFloat64;
  expect_refused(other, "DTYPE_MISMATCH");
}

TEST(State, CountsSaturate) {
  EvaluationState state = RandomState(1);
  state.losses[0].sums.items = std::numeric_limits<int64_t>::max() - 1;
  EXPECT_EQ(Merged(state, state).losses[0].sums.items, std::numeric_limits<int64_t>::max());
}

void ExpectRefused(const std::string& bytes, absl::StatusCode code, const std::string& reason) {
  const auto parsed = EvaluationState::Parse(bytes);
  EXPECT_EQ(parsed.status().code(), code) << parsed.status();
  EXPECT_EQ(DetailOf(parsed.status()).reason, reason);
}
void ExpectInvalid(const std::string& bytes) {
  ExpectRefused(bytes, absl::StatusCode::kInvalidArgument, "INVALID_STATE");
}

TEST(State, EveryTruncationIsRefused) {
  const std::string bytes = RandomState(1).Serialize();
  for (size_t size = 0; size < bytes.size(); ++size) ExpectInvalid(bytes.substr(0, size));
  ExpectInvalid(bytes + '\0');
}

TEST(State, EveryBitFlipIsRefused) {
  const std::string bytes = RandomState(1).Serialize();
  for (size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    std::string flipped = bytes;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    ASSERT_FALSE(EvaluationState::Parse(flipped).ok()) << bit;
  }
}

// A state of a loss that keeps sums by class.
EvaluationState PooledState(uint64_t seed, size_t pools) {
  std::mt19937_64 random(seed);
  EvaluationState state = RandomState(seed);
  state.losses.resize(1);
  state.losses[0].row = Catalogue::Get().Find("dice");
  state.losses[0].pooled = true;
  state.losses[0].sums.pools.resize(pools);
  for (ExactSum& pool : state.losses[0].sums.pools) pool.Add(AnyDouble(&random));
  state.losses[0].sums.constants = {0.5};
  return state;
}

TEST(State, SumsByClassMerge) {
  const EvaluationState a = PooledState(1, 6), b = PooledState(2, 6);
  EvaluationState none = PooledState(3, 0);
  none.losses[0].sums = LossSums();
  EXPECT_EQ(Merged(a, b).Serialize(), Merged(b, a).Serialize());
  EXPECT_EQ(Merged(a, none).Serialize(), a.Serialize());
  EXPECT_EQ(Merged(none, a).Serialize(), a.Serialize());
  const auto parsed = EvaluationState::Parse(a.Serialize());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->Serialize(), a.Serialize());
  EvaluationState mine = a;
  EXPECT_EQ(DetailOf(mine.Merge(PooledState(2, 9))).reason, "SHAPE_MISMATCH");
  EXPECT_EQ(mine.Serialize(), a.Serialize());
  ExpectInvalid(PooledState(1, kMaxPools + 3).Serialize());
}

// Changes bytes and makes the checksum right again: what somebody could write who knows the layout.
std::string Forged(std::string bytes, size_t at, const std::string& with) {
  bytes.replace(at, with.size(), with);
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size() - 4);
  const uint32_t checksum = crc.checksum();
  std::memcpy(bytes.data() + bytes.size() - 4, &checksum, 4);
  return bytes;
}
template <class T>
std::string BytesOf(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
}

// Offsets of the layout drawn in state.cc, for a first loss "mse" with the label "label".
constexpr size_t kFormatAt = 4, kRevisionAt = 8, kLengthAt = 12, kCountAt = 48, kNameAt = 53,
                 kFlagsAt = 62, kWeightAt = 63, kTypeAt = 71, kItemsAt = 72, kKindsAt = 104,
                 kMinimumAt = 128;

TEST(State, ForgedBytesAreRefusedWithoutHarm) {
  const std::string bytes = RandomState(1).Serialize();
  ASSERT_EQ(bytes.substr(kNameAt, 3), "mse");
  ASSERT_EQ(bytes.substr(kMinimumAt, 8), BytesOf(RandomState(1).losses[0].sums.minimum));
  ASSERT_TRUE(EvaluationState::Parse(Forged(bytes, kNameAt, "mse")).ok());
  ASSERT_TRUE(EvaluationState::Parse(Forged(bytes, kNameAt, "mae")).ok());
  const std::vector<std::pair<size_t, std::string>> forgeries = {
      {0, "LSSE"},
      {kLengthAt, BytesOf(uint32_t{0})},
      {kLengthAt, BytesOf(uint32_t{0xFFFFFFFF})},
      {kCountAt, BytesOf(uint32_t{1})},
      {kCountAt, BytesOf(uint32_t{3})},
      {kCountAt, BytesOf(uint32_t{0xFFFFFFFF})},
      {kNameAt, "msx"},
      {kNameAt - 1, "\xFF"},
      {kFlagsAt, "\x08"},
      {kFlagsAt, "\x03"},                // mse is never pooled
      {kFlagsAt, std::string(1, '\0')},  // a weight that is not set, and is not 0
      {kWeightAt, BytesOf(std::nan(""))},
      {kWeightAt, BytesOf(std::numeric_limits<double>::infinity())},
      {kTypeAt, "\x03"},
      {kItemsAt, BytesOf(int64_t{-1})},
      {kKindsAt, BytesOf(int64_t{-1})},
      {kMinimumAt, BytesOf(std::nan(""))},
      {kMinimumAt, BytesOf(-0.0)},
  };
  for (const auto& [at, with] : forgeries) {
    SCOPED_TRACE(std::to_string(at) + " " + ::testing::PrintToString(with));
    ExpectInvalid(Forged(bytes, at, with));
  }
}

TEST(State, OtherFormatsAndRevisionsArePreconditions) {
  const std::string bytes = RandomState(1).Serialize();
  const auto code = absl::StatusCode::kFailedPrecondition;
  ExpectRefused(Forged(bytes, kFormatAt, BytesOf(kStateFormat + 1)), code, "STATE_FORMAT");
  ExpectRefused(Forged(bytes, kFormatAt, BytesOf(uint32_t{0})), code, "STATE_FORMAT");
  ExpectRefused(Forged(bytes, kRevisionAt, BytesOf(uint32_t{kArithmeticRevision + 1})), code,
                "ARITHMETIC_REVISION");
}

// A loss takes kilobytes in memory and may take a hundred bytes in the state.
TEST(State, HasABoundedNumberOfLosses) {
  EvaluationState state = RandomState(1);
  state.losses.resize(1);
  state.losses.resize(kMaxLosses, state.losses[0]);
  EXPECT_TRUE(EvaluationState::Parse(state.Serialize()).ok());
  state.losses.resize(kMaxLosses + 1, state.losses[0]);
  ExpectInvalid(state.Serialize());
}

TEST(Fingerprint, CoversWhatChangesTheNumbersAndNothingElse) {
  const NonFinitePolicy policy = NonFinitePolicy::kPropagate;
  const auto print = [&](const std::vector<LossSpec>& losses,
                         const std::vector<ConstantIdentity>& constants = {}) {
    return Fingerprint(losses, constants, policy);
  };
  const LossSpec mse = SpecOf("mse"), huber = SpecOf("huber");
  LossSpec changed = huber;
  changed.parameters[0] = 2;
  LossSpec labelled = huber;
  labelled.label = "x";
  labelled.weight = 3;
  labelled.inputs["targets"] = "t";
  EXPECT_EQ(print({mse, huber}), print({mse, labelled}));
  EXPECT_NE(print({mse, huber}), print({huber, mse}));
  EXPECT_NE(print({huber}), print({changed}));
  EXPECT_NE(print({mse}), print({mse, mse}));
  EXPECT_NE(print({mse}), Fingerprint(std::vector<LossSpec>{mse}, {}, NonFinitePolicy::kSkip));
  LossSpec unset = SpecOf("focal"), zero = unset;
  zero.parameters[1] = 0;
  EXPECT_EQ(print({unset}), print({SpecOf("focal")}));
  EXPECT_NE(print({unset}), print({zero}));

  const ConstantIdentity a = {"a", DataType::kFloat32, Shape{4}, Sha256("1")};
  ConstantIdentity b = {"b", DataType::kFloat32, Shape{4}, Sha256("1")};
  EXPECT_EQ(print({mse}, {a, b}), print({mse}, {b, a}));
  EXPECT_NE(print({mse}, {a}), print({mse}, {b}));
  ConstantIdentity other = a;
  other.sha256 = Sha256("2");
  EXPECT_NE(print({mse}, {a}), print({mse}, {other}));
  other = a;
  other.shape = Shape{2, 2};
  EXPECT_NE(print({mse}, {a}), print({mse}, {other}));
  other = a;
  other.dtype = DataType::kFloat64;
  EXPECT_NE(print({mse}, {a}), print({mse}, {other}));
}

TEST(Sha256, OfTheStandardsExample) {
  const Sha256Digest digest = Sha256("abc");
  std::string hex;
  for (const uint8_t byte : digest) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", byte);
    hex += text;
  }
  EXPECT_EQ(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace lossd
