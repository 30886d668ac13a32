// Every loss gives the same bits from tensors that lie in pieces at odd addresses, as the network
// delivers them.
#include <gtest/gtest.h>

#include <map>
#include <string>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "lib/wire/engine_testing.h"
#include "lib/wire/payloads_testing.h"
#include "tests/golden/cases.h"

namespace lossd::golden {
namespace {

// Beyond this the shapes differ in the number of chunks alone.
constexpr int64_t kMostSamples = 2000;
// No multiple of an element, of a vector or of a block.
constexpr size_t kFirstPiece = 3;
constexpr size_t kPiece = 1021;

v1::ComputeLossRequest Request(const Case& c, const DatasetSpec& spec, v1::Reduction reduction) {
  v1::ComputeLossRequest request;
  *request.add_losses() = c.loss;
  request.set_reduction(reduction);
  request.set_non_finite(c.non_finite);
  MakeDataset(*c.signature, spec).Fill(0, spec.shape[0], request.mutable_inputs());
  return request;
}

// Maps in the order of their keys.
std::string BytesOf(const v1::ComputeLossResponse& response) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  response.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

// The answer to the same request with every tensor's data in pieces.
std::string InPieces(LossEngine* engine, v1::ComputeLossRequest request) {
  std::map<std::string, std::string> data;
  Payloads payloads;
  for (auto& [name, tensor] : *request.mutable_inputs()) {
    // One byte before the first: data() is aligned.
    const std::string& moved = data[name] = "." + tensor.data();
    if (tensor.data().empty()) continue;
    payloads.emplace(
        name, PiecewiseBytes(CutInPieces(std::string_view(moved).substr(1), kFirstPiece, kPiece)));
    tensor.clear_data();
  }
  v1::ComputeLossResponse response;
  std::promise<absl::Status> done;
  engine->ComputeLoss(request, payloads, &response, nullptr,
                      [&](absl::Status status) { done.set_value(std::move(status)); });
  const absl::Status status = done.get_future().get();
  return status.ok() ? BytesOf(response) : status.ToString();
}

std::string Whole(LossEngine* engine, const v1::ComputeLossRequest& request) {
  const auto response = Call(engine, request);
  return response.ok() ? BytesOf(*response) : response.status().ToString();
}

TEST(Pieces, EveryLossGivesTheSameBits) {
  const auto engine = MakeEngine();
  const auto cases = AllCases();
  ASSERT_TRUE(cases.ok()) << cases.status();
  for (const Case& c : *cases) {
    for (const DatasetSpec& spec : c.many) {
      if (spec.shape[0] > kMostSamples) continue;
      const v1::ComputeLossRequest items = Request(c, spec, v1::REDUCTION_NONE);
      ASSERT_EQ(InPieces(engine.get(), items), Whole(engine.get(), items)) << c.name;
      v1::ComputeLossRequest mean = Request(c, spec, v1::REDUCTION_MEAN);
      for (int i = 0; i < c.signature->inputs.size; ++i) {
        const char* name = c.signature->inputs[i].name;
        if (HasGradient(*c.signature, i) && mean.inputs().contains(name)) {
          mean.add_gradients_of(name);
          break;
        }
      }
      ASSERT_EQ(InPieces(engine.get(), mean), Whole(engine.get(), mean)) << c.name;
    }
  }
}

}  // namespace
}  // namespace lossd::golden
