// Gradients of the mean, with the mean beside: input is read and as much is written.
#include "tests/bench/rows.h"

namespace lossd::bench {

void RegisterGradientRows() {
  constexpr int64_t kElements = int64_t{64} << 20;
  Register({.name = "gradients/mse f32 64M",
            .data = "normal pairs",
            .make =
                [](Dataset* data) {
                  data->AddNormal("predictions", DataType::kFloat32, {kElements});
                  data->AddNormal("targets", DataType::kFloat32, {kElements});
                },
            .losses = {{"mse"}},
            .gradients = {"predictions"}});
  for (const int64_t classes : {1000, 32000}) {
    const int64_t rows = 65536 * 1000 / classes;
    const std::string size = Shape{rows, classes}.ToString();
    Register({.name = "gradients/cross_entropy f32 " + size,
              .data = "classes f32 " + size,
              .make =
                  [=](Dataset* data) {
                    data->AddNormal("logits", DataType::kFloat32, {rows, classes}, 0, 2);
                    data->AddLabels("labels", {rows}, classes);
                  },
              .losses = {{"cross_entropy"}},
              .gradients = {"logits"}});
  }
}

}  // namespace lossd::bench
