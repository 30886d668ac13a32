#include "server/rpc/decode.h"

#include <limits>

#include "gtest/gtest.h"

namespace lossd {
namespace {

v1::Tensor Floats(int n) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::DATA_TYPE_FLOAT32);
  tensor.add_shape(n);
  tensor.set_data(std::string(4 * n, '\0'));
  return tensor;
}

TEST(HeldBytes, OfABatchIsAboutItsData) {
  v1::EvaluateRequest request;
  (*request.mutable_batch()->mutable_inputs())["predictions"] = Floats(1000);
  EXPECT_GE(HeldBytes(ReceivedBytes(request), request), 4000);
  EXPECT_LT(HeldBytes(ReceivedBytes(request), request), 4100);
}

TEST(HeldBytes, CountsHandWrittenElementsAtTheirSizeInMemory) {
  v1::EvaluateRequest request;
  v1::Tensor& tensor = (*request.mutable_batch()->mutable_inputs())["predictions"];
  for (int i = 0; i < 1000; ++i) tensor.add_int_values(1);
  EXPECT_LT(ReceivedBytes(request), 1100);
  EXPECT_GE(HeldBytes(ReceivedBytes(request), request), 8000);
}

TEST(HeldBytes, LeavesRoomForTheAnswer) {
  v1::ComputeLossRequest request;
  (*request.mutable_inputs())["predictions"] = Floats(1000);
  for (int i = 0; i < 3; ++i) request.add_losses()->mutable_mse();
  const int64_t mean = HeldBytes(ReceivedBytes(request), request);
  EXPECT_LT(mean, 4200);
  request.set_reduction(v1::REDUCTION_NONE);
  EXPECT_GE(HeldBytes(ReceivedBytes(request), request), 4 * 4000);
  request.add_gradients_of("predictions");
  EXPECT_GE(HeldBytes(ReceivedBytes(request), request), 7 * 4000);
}

TEST(AnnouncedConstantBytes, AddsUpAndSaturates) {
  v1::EvaluationSpec spec;
  EXPECT_EQ(AnnouncedConstantBytes(spec), 0);
  v1::ConstantSpec* weight = spec.add_constants();
  weight->set_dtype(v1::DATA_TYPE_BFLOAT16);
  weight->add_shape(10);
  weight->add_shape(3);
  v1::ConstantSpec* scale = spec.add_constants();
  scale->set_dtype(v1::DATA_TYPE_FLOAT64);
  EXPECT_EQ(AnnouncedConstantBytes(spec), 68);
  weight->add_shape(int64_t{1} << 62);
  EXPECT_EQ(AnnouncedConstantBytes(spec), std::numeric_limits<int64_t>::max());
}

}  // namespace
}  // namespace lossd
