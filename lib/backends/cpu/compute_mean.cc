#include <optional>

#include "lib/backends/cpu/chunk.h"
#include "lib/backends/cpu/compute.h"
#include "lib/evaluation/report.h"
#include "lib/forms/forms.h"

namespace lossd {
namespace {

ExactParts SumOf(const float* items, size_t n) {
  return ActiveSumKernels().sum_f32(items, n, Upcoming());
}
ExactParts SumOf(const double* items, size_t n) {
  return ActiveSumKernels().sum_f64(items, n, Upcoming());
}

void RunKernel(const FormCall& call, const float* const* values, float* const* items) {
  call.kernels.elementwise.f32(call.parameters.data(), values, static_cast<size_t>(call.units),
                               items);
}
void RunKernel(const FormCall& call, const double* const* values, double* const* items) {
  call.kernels.elementwise.f64(call.parameters.data(), values, static_cast<size_t>(call.units),
                               items);
}

template <class T>
bool ReadsAsItLies(const Operand& operand) {
  return operand.view && !operand.repeats && operand.view.contiguous() &&
         operand.view.dtype() == DataTypeOf<T>() && operand.values == ValueRule::kAny;
}

// The sum of a few items of an element-wise loss of two tensors whose values may be anything and
// lie as the kernel takes them: what a form sees to is not there, and making one takes three times
// as long as 16 items. Nothing where it is not so.
template <class T>
std::optional<ExactParts> SumWithoutForm(const FormCall& call) {
  const ElementwiseKernels& kernels = call.kernels.elementwise;
  if (kernels.f32 == nullptr || kernels.operands != 2 || kernels.parts != 1) return std::nullopt;
  if (call.units > static_cast<int64_t>(kBlockItems) || call.sample_weight.view)
    return std::nullopt;
  const T* values[kMaxOperands] = {};
  for (int i = 0; i < 2; ++i) {
    const Operand& operand = call.operands[static_cast<size_t>(i)];
    if (!ReadsAsItLies<T>(operand)) return std::nullopt;
    values[i] = reinterpret_cast<const T*>(operand.view.Run(0, call.units, nullptr));
  }
  T items[kBlockItems];
  T* const parts[kMaxParts] = {items};
  RunKernel(call, values, parts);
  return SumOf(items, static_cast<size_t>(call.units));
}

// The mean where one block holds all items and its sum is exact in two doubles; else nothing.
template <class T>
absl::StatusOr<std::optional<double>> MeanOfOneBlock(const FormCall& call) {
  using Mean = std::optional<double>;
  return WithForm<T>(call, [&](auto& form) -> absl::StatusOr<Mean> {
    if (call.units > form.max_units()) return Mean();
    ItemBlock<T> block;
    if (absl::Status s = form.Run(0, call.units, &block); !s.ok()) return s;
    if (!block.plain()) return Mean();
    const ExactParts parts = SumOf(block.items[0], block.n);
    if (!parts.exact) return Mean();
    return Mean(QuotientByCount(parts, static_cast<int64_t>(block.n)));
  });
}

template <class T>
absl::StatusOr<double> ComputeMeanOf(const BoundLoss& loss) {
  if (!loss.pooled && loss.call.units > 0) {
    const std::optional<ExactParts> sum = SumWithoutForm<T>(loss.call);
    if (sum.has_value() && sum->exact) return QuotientByCount(*sum, loss.call.units);
    absl::StatusOr<std::optional<double>> mean = MeanOfOneBlock<T>(loss.call);
    if (!mean.ok()) return mean.status();
    if (mean->has_value()) return **mean;
  }
  LossSums sums;
  ChunkPart all = {&loss, &loss.call};
  all.sums = true;
  ChunkResult result;
  result.sums = &sums;
  RunChunk({&all, 1}, 0, loss.call.units, CollectOptions(), nullptr, {&result, 1});
  if (!result.status.ok()) return result.status;
  return ReportMean(*loss.row, loss.pooled, sums);
}

}  // namespace

absl::StatusOr<double> ComputeMean(const BoundLoss& loss) {
  return loss.compute_type == DataType::kFloat32 ? ComputeMeanOf<float>(loss)
                                                 : ComputeMeanOf<double>(loss);
}

}  // namespace lossd
