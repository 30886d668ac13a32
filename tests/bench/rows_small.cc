// Calls so small that what surrounds the arithmetic counts. Time is of one call.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

void Measure(benchmark::State& state, const std::function<void()>& call) {
  const double seconds = Medians({call})[0];
  for (auto _ : state) state.SetIterationTime(seconds);
}

void AddRow(const char* name, void (*run)(benchmark::State&)) {
  benchmark::RegisterBenchmark(name, run)->UseManualTime()->Iterations(1);
}

void AddPair(Dataset* data, const Shape& shape) {
  data->AddNormal("predictions", DataType::kFloat32, shape);
  data->AddNormal("targets", DataType::kFloat32, shape);
}

void BoundMse(benchmark::State& state) {
  Dataset data;
  AddPair(&data, {16});
  const BoundLoss loss = *Bind(Spec({"mse"}), data.tensors());
  Measure(state, [&] { benchmark::DoNotOptimize(*ComputeMean(loss)); });
}

void BindAndMse(benchmark::State& state) {
  Dataset data;
  AddPair(&data, {16});
  const LossSpec spec = Spec({"mse"});
  Measure(state, [&] { benchmark::DoNotOptimize(*ComputeMean(*Bind(spec, data.tensors()))); });
}

void BoundCrossEntropy(benchmark::State& state) {
  Dataset data;
  data.AddNormal("logits", DataType::kFloat32, {32, 10}, 0, 2);
  data.AddLabels("labels", {32}, 10);
  const BoundLoss loss = *Bind(Spec({"cross_entropy"}), data.tensors());
  Measure(state, [&] { benchmark::DoNotOptimize(*ComputeMean(loss)); });
}

}  // namespace

void RegisterSmallRows() {
  AddRow("small/mse f32 16, bound once/threads:1", BoundMse);
  AddRow("small/mse f32 16, bound each call/threads:1", BindAndMse);
  AddRow("small/cross_entropy f32 [32,10], bound once/threads:1", BoundCrossEntropy);
}

}  // namespace lossd::bench
