// Several losses over one upload: of_dearest is their time in that of the dearest of them alone.
#include "tests/bench/rows.h"

namespace lossd::bench {

void RegisterSeveralRows() {
  Register({.name = "several/cross_entropy + zero_one + entropy + focal f32 [65536,1000]",
            .data = "classes f32 [65536,1000]",
            .make =
                [](Dataset* data) {
                  data->AddNormal("logits", DataType::kFloat32, {65536, 1000}, 0, 2);
                  data->AddLabels("labels", {65536}, 1000);
                },
            .losses = {{"cross_entropy"}, {"zero_one"}, {"entropy"}, {"focal"}}});
  constexpr int64_t kFrames = 200, kSamples = 64, kClasses = 64, kLabels = 50;
  Register({.name = "sequences/ctc f32 T=200 N=64 C=64 S=50",
            .data = "sequences",
            .make =
                [](Dataset* data) {
                  data->AddProbabilities("log_probs", DataType::kFloat32,
                                         {kSamples, kFrames, kClasses}, true);
                  data->AddLabels("labels", {kSamples, kLabels}, kClasses, DataType::kInt64, 1);
                  data->Add("input_lengths", DataType::kInt64, {kSamples}, {kFrames});
                  data->Add("label_lengths", DataType::kInt64, {kSamples}, {kLabels});
                },
            .losses = {{"ctc"}}});
}

}  // namespace lossd::bench
