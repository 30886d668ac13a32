// Works that live in the caches: what the arithmetic costs where memory does not count. The call
// runs on the caller's thread.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

constexpr int64_t kElements = 16384;

void AddRow(const std::string& what, const Loss& loss, std::function<void(Dataset*)> make) {
  RegisterOnOneThread({.name = "cache/" + what,
                       .data = "cache " + what,
                       .make = std::move(make),
                       .losses = {loss}});
}

void AddClasses(int64_t classes) {
  const int64_t rows = kElements / classes;
  AddRow("cross_entropy f32 " + Shape{rows, classes}.ToString(), {"cross_entropy"},
         [=](Dataset* data) {
           data->AddNormal("logits", DataType::kFloat32, {rows, classes}, 0, 2);
           data->AddLabels("labels", {rows}, classes);
         });
}

}  // namespace

void RegisterCacheRows() {
  for (const char* loss :
       {"mse", "mae", "huber", "smooth_l1", "quantile", "log_cosh", "poisson_nll"}) {
    AddRow(std::string(loss) + " f32 16K", {loss}, [](Dataset* data) {
      data->AddNormal("predictions", DataType::kFloat32, {kElements});
      data->AddNormal("targets", DataType::kFloat32, {kElements});
    });
  }
  for (const char* loss : {"binary_cross_entropy", "focal"}) {
    AddRow(std::string(loss) + " f32 16K", {loss}, [](Dataset* data) {
      data->AddNormal("logits", DataType::kFloat32, {kElements}, 0, 2);
      data->AddLabels("targets", {kElements}, 2, DataType::kFloat32);
    });
  }
  AddRow("kl_divergence f32 [16,1024]", {"kl_divergence"}, [](Dataset* data) {
    data->AddProbabilities("log_probs", DataType::kFloat32, {16, 1024}, true);
    data->AddProbabilities("target_probs", DataType::kFloat32, {16, 1024}, false);
  });
  for (const int64_t classes : {10, 1000, 8192}) AddClasses(classes);
}

}  // namespace lossd::bench
