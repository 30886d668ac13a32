// What is sent, against what protobuf would make of the whole message; and who holds the memory.
#include "lent_message.h"

#include <numeric>
#include <thread>

#include "gtest/gtest.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

// Below and above what is copied; 1 MB is many slices of a transport.
constexpr int64_t kSizes[] = {0, 1, 1023, 1024, 1025, 262144};

template <class Message>
Message Parsed(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(bytes.Dump(&slices).ok());
  std::string whole;
  for (const grpc::Slice& slice : slices) {
    whole.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  Message message;
  EXPECT_TRUE(message.ParseFromString(whole));
  return message;
}

std::vector<float> Numbers(int64_t size) {
  std::vector<float> numbers(static_cast<size_t>(size));
  std::iota(numbers.begin(), numbers.end(), 0.5f);
  return numbers;
}

v1::Tensor TensorOf(const TensorView& view) {
  v1::Tensor tensor;
  ToProto(view, &tensor);
  return tensor;
}

TEST(LendMessage, IsTheRequestWithItsInputs) {
  for (const int64_t size : kSizes) {
    const std::vector<float> predictions = Numbers(size);
    const std::vector<double> targets(static_cast<size_t>(size), 2.5);
    const float scalar = 3;
    const Inputs inputs = {{"predictions", *ViewOf(predictions, {size, 1})},
                           {"scalar", *ViewOf(std::span<const float>(&scalar, 1), {})},
                           {"targets", *ViewOf(targets, {1, size})}};
    v1::ComputeLossRequest request;
    request.add_losses()->mutable_huber()->set_delta(2);
    request.set_reduction(v1::REDUCTION_SUM);
    Loan loan;
    const auto lent = LendMessage(request, inputs, &loan);
    ASSERT_TRUE(lent.ok()) << lent.status();
    for (const auto& [name, view] : inputs) {
      (*request.mutable_inputs())[name] = TensorOf(view);
    }
    EXPECT_EQ(Parsed<v1::ComputeLossRequest>(*lent).DebugString(), request.DebugString()) << size;
  }
}

TEST(LendMessage, IsTheStepWithItsTensors) {
  for (const int64_t size : kSizes) {
    const std::vector<float> numbers = Numbers(size);
    const TensorView view = *ViewOf(numbers, {size});
    v1::EvaluateRequest batch;
    batch.mutable_batch()->set_sequence(0);
    batch.mutable_batch()->set_first_sample(7);
    batch.mutable_batch()->add_sample_ids(-1);
    v1::EvaluateRequest constant;
    constant.mutable_constant()->set_name("class_weight");
    constant.mutable_constant()->set_offset(1 << 20);
    Loan loan;
    const auto lent_batch = LendMessage(batch, {{"logits", view}, {"other", view}}, &loan);
    const auto lent_constant = LendMessage(constant, {{"class_weight", view}}, &loan);
    ASSERT_TRUE(lent_batch.ok() && lent_constant.ok());
    (*batch.mutable_batch()->mutable_inputs())["logits"] = TensorOf(view);
    (*batch.mutable_batch()->mutable_inputs())["other"] = TensorOf(view);
    *constant.mutable_constant()->mutable_piece() = TensorOf(view);
    EXPECT_EQ(Parsed<v1::EvaluateRequest>(*lent_batch).DebugString(), batch.DebugString()) << size;
    EXPECT_EQ(Parsed<v1::EvaluateRequest>(*lent_constant).DebugString(), constant.DebugString())
        << size;
  }
}

TEST(LendMessage, IsTheStepAsItIsWithoutTensors) {
  v1::EvaluateRequest spec;
  spec.mutable_spec()->add_losses()->mutable_mse();
  v1::EvaluateRequest finish;
  finish.mutable_finish();
  v1::EvaluateRequest empty_batch;
  empty_batch.mutable_batch();
  Loan loan;
  for (const v1::EvaluateRequest& step : {spec, finish, empty_batch, v1::EvaluateRequest()}) {
    const auto lent = LendMessage(step, {}, &loan);
    ASSERT_TRUE(lent.ok()) << lent.status();
    EXPECT_EQ(Parsed<v1::EvaluateRequest>(*lent).SerializeAsString(), step.SerializeAsString());
  }
}

TEST(LendMessage, GathersATensorInPieces) {
  const std::vector<float> numbers = Numbers(5000);
  const auto bytes = std::as_bytes(std::span(numbers));
  const PiecewiseBytes pieces({bytes.first(4999), bytes.subspan(4999)});
  const TensorView view = *TensorView::Create(DataType::kFloat32, {5000}, &pieces);
  Loan loan;
  const auto lent = LendMessage(v1::ComputeLossRequest(), {{"x", view}}, &loan);
  ASSERT_TRUE(lent.ok()) << lent.status();
  EXPECT_EQ(Parsed<v1::ComputeLossRequest>(*lent).inputs().at("x").SerializeAsString(),
            TensorOf(*ViewOf(numbers, {5000})).SerializeAsString());
}

TEST(LendMessage, RefusesWhatProtobufCannotHold) {
  // Never read: only the size counts.
  const float element = 0;
  const Shape shape = {int64_t{1} << 29};
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(&element),
                                         size_t{1} << 31);
  Loan loan;
  const auto lent =
      LendMessage(v1::ComputeLossRequest(),
                  {{"x", *TensorView::Create(DataType::kFloat32, shape, bytes)}}, &loan);
  EXPECT_EQ(DetailOf(lent.status()).reason, "MESSAGE_SIZE");
}

TEST(Loan, SendsFromTheCallersMemory) {
  const std::vector<float> numbers = Numbers(100000);
  Loan loan;
  const auto lent =
      LendMessage(v1::ComputeLossRequest(), {{"x", *ViewOf(numbers, {100000})}}, &loan);
  std::vector<grpc::Slice> slices;
  ASSERT_TRUE(lent.ok() && lent->Dump(&slices).ok());
  ASSERT_EQ(slices.size(), 2u);
  EXPECT_EQ(static_cast<const void*>(slices[1].begin()), static_cast<const void*>(numbers.data()));
}

TEST(Loan, WaitsNoLongerThanTheCall) {
  const std::vector<float> numbers = Numbers(100000);
  Loan loan;
  auto lent = LendMessage(v1::ComputeLossRequest(), {{"x", *ViewOf(numbers, {100000})}}, &loan);
  ASSERT_TRUE(lent.ok());
  std::thread end([&] { loan.Interrupt(); });
  EXPECT_FALSE(loan.WaitReturned());
  end.join();
  lent->Clear();
  EXPECT_TRUE(loan.WaitReturned());
}

TEST(Loan, WaitsForTheLastHolder) {
  const std::vector<float> numbers = Numbers(100000);
  std::thread holder;
  {
    Loan loan;
    auto lent = LendMessage(v1::ComputeLossRequest(), {{"x", *ViewOf(numbers, {100000})}}, &loan);
    ASSERT_TRUE(lent.ok());
    holder = std::thread([held = *lent]() mutable { held.Clear(); });
    lent->Clear();
  }
  holder.join();
}

}  // namespace
}  // namespace lossd
