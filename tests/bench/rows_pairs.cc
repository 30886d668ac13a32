// Losses of embeddings.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

constexpr int64_t kRows = 65536;
constexpr int64_t kWidth = 512;
constexpr int64_t kCenters = 1000;

void AddRows(Dataset* data, std::initializer_list<const char*> names) {
  for (const char* name : names) data->AddNormal(name, DataType::kFloat32, {kRows, kWidth});
}

}  // namespace

void RegisterPairRows() {
  const auto add = [](const char* loss, std::function<void(Dataset*)> make) {
    Register({.name = std::string("pairs/") + loss + " f32 [65536,512]",
              .data = loss,
              .make = std::move(make),
              .losses = {{loss}}});
  };
  add("cosine_embedding", [](Dataset* data) {
    AddRows(data, {"first", "second"});
    data->Add("targets", DataType::kFloat32, {kRows}, {1, -1, -1});
  });
  add("contrastive", [](Dataset* data) {
    AddRows(data, {"first", "second"});
    data->AddLabels("targets", {kRows}, 2, DataType::kFloat32);
  });
  add("triplet", [](Dataset* data) { AddRows(data, {"anchor", "positive", "negative"}); });
  add("center", [](Dataset* data) {
    AddRows(data, {"embeddings"});
    data->AddNormal("centers", DataType::kFloat32, {kCenters, kWidth});
    data->AddLabels("labels", {kRows}, kCenters);
  });
}

}  // namespace lossd::bench
