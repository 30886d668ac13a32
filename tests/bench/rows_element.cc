// Element-wise losses of 64 million elements: far beyond every cache.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

constexpr int64_t kElements = int64_t{64} << 20;

Work ElementWork(const char* loss, const char* data, std::function<void(Dataset*)> make) {
  return {.name = std::string("element/") + loss + " f32 64M",
          .data = data,
          .make = std::move(make),
          .losses = {{loss}}};
}

}  // namespace

void RegisterElementRows() {
  const auto regression = [](Dataset* data) {
    data->AddNormal("predictions", DataType::kFloat32, {kElements});
    data->AddNormal("targets", DataType::kFloat32, {kElements});
  };
  for (const char* loss : {"mse", "mae", "huber", "smooth_l1", "quantile", "log_cosh"})
    Register(ElementWork(loss, "normal pairs", regression));
  Register(ElementWork("poisson_nll", "counts", [](Dataset* data) {
    data->AddNormal("predictions", DataType::kFloat32, {kElements});
    data->AddLabels("targets", {kElements}, 10, DataType::kFloat32);
  }));
  for (const char* loss : {"binary_cross_entropy", "focal"}) {
    Register(ElementWork(loss, "binary", [](Dataset* data) {
      data->AddNormal("logits", DataType::kFloat32, {kElements}, 0, 2);
      data->AddLabels("targets", {kElements}, 2, DataType::kFloat32);
    }));
  }
  const auto distributions = [](Dataset* data) {
    data->AddProbabilities("log_probs", DataType::kFloat32, {kElements / 1024, 1024}, true);
    data->AddProbabilities("target_probs", DataType::kFloat32, {kElements / 1024, 1024}, false);
  };
  Register({.name = "element/kl_divergence f32 [65536,1024]",
            .data = "distributions",
            .make = distributions,
            .losses = {{"kl_divergence"}}});
  Register({.name = "element/kl_divergence pointwise f32 [65536,1024]",
            .data = "distributions",
            .make = distributions,
            .losses = {{"kl_divergence", {{"pointwise", 1}}}}});
}

}  // namespace lossd::bench
