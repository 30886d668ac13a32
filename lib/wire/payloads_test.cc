// Messages of a little over kMinSplitBytes, so that they are taken apart and every place in them
// can be a boundary.
#include "lib/wire/payloads.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

#include "google/protobuf/stubs/logging.h"
#include "google/protobuf/unknown_field_set.h"
#include "lib/wire/engine_testing.h"
#include "lib/wire/payloads_testing.h"

namespace lossd {
namespace {

constexpr size_t kPayload = 8500;

v1::Tensor Bytes(size_t size, char fill) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_UINT8);
  tensor.add_shape(static_cast<int64_t>(size));
  tensor.set_data(std::string(size, fill));
  return tensor;
}

v1::ComputeLossRequest Request() {
  auto request = FromText<v1::ComputeLossRequest>(
      "losses { huber { delta: 2 } label: 'h' } reduction: REDUCTION_SUM gradients_of: 'a'");
  (*request.mutable_inputs())["a"] = Bytes(kPayload, '\1');
  (*request.mutable_inputs())["long name"] = Bytes(kPayload, '\x8A');
  (*request.mutable_inputs())["small"] = Bytes(40, '\3');
  (*request.mutable_inputs())["by hand"] =
      FromText<v1::Tensor>("dtype: 1 shape: 2 float_values: [1, 2.5]");
  return request;
}

v1::EvaluateRequest Batch() {
  v1::EvaluateRequest step;
  *step.mutable_batch()->mutable_inputs() = Request().inputs();
  step.mutable_batch()->set_sequence(300);
  step.mutable_batch()->add_sample_ids(7);
  return step;
}

v1::EvaluateRequest Constant() {
  v1::EvaluateRequest step;
  step.mutable_constant()->set_name("class_weight");
  step.mutable_constant()->set_offset(12);
  *step.mutable_constant()->mutable_piece() = Bytes(2 * kPayload, '\4');
  return step;
}

// A length-delimited field as bytes.
std::string Field(int number, const std::string& bytes) {
  std::string field(1, static_cast<char>(number << 3 | 2));
  size_t length = bytes.size();
  for (; length >= 0x80; length >>= 7) field += static_cast<char>((length & 0x7F) | 0x80);
  return field + static_cast<char>(length) + bytes;
}

std::string Entry(const std::string& name, const std::string& tensor) {
  return Field(2, Field(1, name) + Field(2, tensor));
}

template <class Message>
size_t PayloadsOf(const std::string& bytes) {
  Message message;
  Payloads payloads;
  EXPECT_TRUE(ParseInPlace(CutInPieces(bytes, 100, 4000), &message, &payloads));
  return payloads.size();
}

template <class Message>
void ExpectAlike(const std::string& bytes, const std::string& what) {
  for (const size_t size : {size_t{1}, size_t{13}, size_t{4096}, bytes.size()})
    EXPECT_TRUE(ParsesAlike<Message>(bytes, CutInPieces(bytes, size, size))) << what;
}

TEST(ParseInPlace, LargeDataStaysWhereItIs) {
  EXPECT_EQ(PayloadsOf<v1::ComputeLossRequest>(Request().SerializeAsString()), 2u);
  EXPECT_EQ(PayloadsOf<v1::EvaluateRequest>(Batch().SerializeAsString()), 2u);
  EXPECT_EQ(PayloadsOf<v1::EvaluateRequest>(Constant().SerializeAsString()), 1u);
}

TEST(ParseInPlace, EveryBoundary) {
  for (const std::string& bytes : {Batch().SerializeAsString(), Constant().SerializeAsString()}) {
    ASSERT_GE(bytes.size(), kMinSplitBytes);
    for (size_t at = 1; at < bytes.size(); ++at)
      ASSERT_TRUE(ParsesAlike<v1::EvaluateRequest>(bytes, CutInPieces(bytes, at, bytes.size())))
          << at;
  }
  const std::string bytes = Request().SerializeAsString();
  for (size_t size = 1; size < 200; ++size)
    ASSERT_TRUE(ParsesAlike<v1::ComputeLossRequest>(bytes, CutInPieces(bytes, size, size))) << size;
}

TEST(ParseInPlace, EmptyPiecesAndMessages) {
  Pieces pieces = CutInPieces("", 1, 1);
  EXPECT_TRUE(ParsesAlike<v1::EvaluateRequest>("", pieces));
  const std::string bytes = Request().SerializeAsString();
  for (const auto& piece : CutInPieces(bytes, 5, 3000)) {
    pieces.emplace_back();
    pieces.push_back(piece);
    pieces.emplace_back();
  }
  EXPECT_TRUE(ParsesAlike<v1::ComputeLossRequest>(bytes, pieces));
}

TEST(ParseInPlace, EveryTruncationIsRefusedAlike) {
  const std::string bytes = Request().SerializeAsString();
  for (size_t size = bytes.size(); size-- > kMinSplitBytes;) {
    const std::string cut = bytes.substr(0, size);
    ASSERT_TRUE(ParsesAlike<v1::ComputeLossRequest>(cut, CutInPieces(cut, 999, 999))) << size;
  }
}

TEST(ParseInPlace, UnusualMessagesMeanWhatProtobufSays) {
  const std::string large(2 * kPayload, 'x');
  const std::string data = Field(3, large);
  const std::string shorter = Field(3, std::string(2000, 'y'));
  const std::string tiny = Field(3, "y");
  const std::string group = "\x7B\x7C";  // of number 15, empty
  const std::pair<const char*, std::string> requests[] = {
      {"data twice", Entry("a", data + shorter)},
      {"data twice, the second small", Entry("a", data + tiny)},
      {"a name twice", Entry("a", data) + Entry("a", shorter)},
      {"a name twice, the second small", Entry("a", data) + Entry("a", tiny)},
      {"a name twice, the first small", Entry("a", tiny) + Entry("a", data)},
      {"a value twice", Field(2, Field(1, "a") + Field(2, data) + Field(2, tiny))},
      {"a key twice", Field(2, Field(1, "a") + Field(2, data) + Field(1, "b"))},
      {"the key last", Field(2, Field(2, data) + Field(1, "a"))},
      {"no key", Field(2, Field(2, data))},
      {"no value", Field(2, Field(1, "a")) + Entry("b", data)},
      {"a field of the tensor that nobody knows", Entry("a", Field(9, "??") + data + "\x58\x07")},
      {"a field of the request that nobody knows", Field(14, large) + Entry("a", data)},
      {"data of another wire type", Entry("a", data + "\x18\x01" +
                                                   "\x1D"
                                                   "abcd")},
      {"a group", Entry("a", data + group)},
      {"a group that does not end", Entry("a", data) + "\x7B"},
      {"a group's end alone", Entry("a", data) + "\x7C"},
      {"a field number of 0", Entry("a", data) + std::string("\x02\x00", 2)},
      {"a tag in more bytes than it needs", Entry("a", data) + "\x98\x00\x02"},
      {"a length in more bytes than it needs", Entry("a", data) + "\x2A\x81\x80\x00z"},
      {"a length beyond the end", Entry("a", data) + "\x12\xFF\xFF\x03zz"},
      {"a length beyond all", Entry("a", data) + "\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x01"},
      {"a number that does not end", Entry("a", data) + "\x18\xFF\xFF"},
      {"a name that is no UTF-8", Entry("\xFF\xFE", data)},
      {"shape packed and not", Entry("a", "\x10\x05" + Field(2, "\x06\x07") + data)},
  };
  const google::protobuf::LogSilencer quiet;
  for (const auto& [what, bytes] : requests) ExpectAlike<v1::ComputeLossRequest>(bytes, what);
}

TEST(ParseInPlace, StepsThatReplaceOneAnother) {
  const std::string batch = Batch().SerializeAsString();
  const std::string constant = Constant().SerializeAsString();
  const auto spec = FromText<v1::EvaluateRequest>("spec { worst_samples: 1 }").SerializeAsString();
  const std::string other = Field(3, Entry("b", Field(3, std::string(kPayload, 'z'))));
  for (const std::string& bytes :
       {batch + batch, batch + constant, constant + batch, constant + constant, batch + spec,
        spec + batch, batch + spec + batch, batch + other, other + batch})
    ExpectAlike<v1::EvaluateRequest>(bytes, "steps");
}

TEST(ParseInPlace, MoreInputsThanALimitAllows) {
  v1::ComputeLossRequest request;
  for (int i = 0; i < 300; ++i)
    (*request.mutable_inputs())["input " + std::to_string(i)] = Bytes(1100, '\1');
  ExpectAlike<v1::ComputeLossRequest>(request.SerializeAsString(), "300 inputs");
}

TEST(ParseInPlace, ChangedBytes) {
  const google::protobuf::LogSilencer quiet;
  const std::string bytes = Batch().SerializeAsString();
  std::mt19937 random(1);
  for (int round = 0; round < 20000; ++round) {
    std::string changed = bytes;
    // Mostly near a boundary of fields, which the data hides otherwise.
    const size_t places[] = {0, changed.find(std::string(40, '\1')), changed.find("\x8A\x8A\x8A"),
                             changed.size() - 64};
    const size_t at = places[random() % 4] + random() % 64;
    changed[(at < 32 ? at : at - 32) % changed.size()] = static_cast<char>(random());
    const size_t size = 1 + random() % 5000;
    ASSERT_TRUE(ParsesAlike<v1::EvaluateRequest>(changed, CutInPieces(changed, 7, size))) << round;
  }
}

}  // namespace
}  // namespace lossd
