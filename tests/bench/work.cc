#include "tests/bench/work.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <latch>

#include "lib/evaluation/report.h"
#include "lib/losses/catalogue.h"

namespace lossd::bench {
namespace {

constexpr size_t kLineBytes = 64;

}  // namespace

void Fail(const std::string& what) {
  std::fprintf(stderr, "%s\n", what.c_str());
  std::exit(1);
}

LossSpec Spec(const Loss& loss) {
  LossSpec spec;
  spec.row = Catalogue::Get().Find(loss.name);
  if (spec.row == nullptr) Fail(std::string("no loss ") + loss.name);
  for (int i = 0; i < spec.row->parameters.size; ++i)
    spec.parameters[static_cast<size_t>(i)] = spec.row->parameters[i].default_value;
  for (const auto& [name, value] : loss.parameters) {
    const int parameter = FindParameter(*spec.row, name);
    if (parameter < 0) Fail(std::string(loss.name) + " has no parameter " + name);
    spec.parameters[static_cast<size_t>(parameter)] = value;
  }
  spec.path = "losses[0]";
  return spec;
}

BoundWork::BoundWork(const Work& work, const Dataset& data) {
  size_t most = 0;
  for (const Loss& loss : work.losses) {
    const absl::StatusOr<BoundLoss> bound = Bind(Spec(loss), data.tensors());
    if (!bound.ok()) Fail(work.name + ": " + std::string(bound.status().message()));
    ComputeTask& task = tasks_.emplace_back(ComputeTask{*bound});
    for (const GradientSlot& slot : GradientSlots(*bound)) {
      if (std::ranges::find(work.gradients, slot.tensor) == work.gradients.end()) continue;
      const size_t bytes =
          static_cast<size_t>(slot.shape.elements()) * ByteSize(bound->compute_type);
      memory_.push_back(std::make_unique<std::byte[]>(bytes + kLineBytes));
      std::byte* const start = memory_.back().get();
      const size_t over = reinterpret_cast<uintptr_t>(start) % kLineBytes;
      std::byte* const output = start + (kLineBytes - over) % kLineBytes;
      task.gradients[static_cast<size_t>(slot.slot)] = output;
      written_ += bytes;
      if (bytes <= most) continue;
      most = bytes;
      largest_output_ = output;
    }
  }
}

double BoundWork::Compute(ThreadPool* pool, std::vector<ComputeTask> tasks) {
  std::latch latch(1);
  double sum = 0;
  lossd::Compute(pool, tasks, CollectOptions(), nullptr,
                 [&](absl::Status status, std::vector<ComputeOutcome> outcomes) {
                   if (!status.ok()) Fail(std::string(status.message()));
                   for (size_t i = 0; i < tasks.size(); ++i) {
                     const BoundLoss& loss = tasks[i].loss;
                     sum += ReportMean(*loss.row, loss.pooled, outcomes[i].sums);
                   }
                   latch.count_down();
                 });
  latch.wait();
  return sum;
}

}  // namespace lossd::bench
