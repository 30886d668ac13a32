#include "lib/forms/element_form.h"

#include <algorithm>
#include <cstring>

namespace lossd {
namespace {

// A gradient of this size does not stay in a cache until it is read.
constexpr int64_t kStreamedBytes = int64_t{16} << 20;

// No more than there are: small buffers cost less to allocate.
int64_t UnitsPerBlock(const FormCall& call) {
  return std::clamp<int64_t>(call.units, 1, kBlockItems);
}

}  // namespace

template <class T>
ElementForm<T>::ElementForm(const FormCall& call)
    : FormBase<T>(call, UnitsPerBlock(call), call.kernels.elementwise.parts) {}

template <class T>
absl::Status ElementForm<T>::ReadOperand(const Operand& operand, std::unique_ptr<T[]>* buffer,
                                         const T** values) {
  if (*buffer == nullptr && !this->InPlace(operand)) {
    *buffer = AllocateFor<T>(kBlockItems);
    if (!operand.view) std::fill_n(buffer->get(), kBlockItems, T(1));
  }
  *values = buffer->get();
  if (!operand.view) return absl::OkStatus();
  const size_t n = this->n();
  if (!operand.repeats) {
    absl::Status s = this->ReadChecked(operand, this->first(), n, buffer->get(), values);
    if (!s.ok()) return s;
    return this->CheckValues(operand, *values, this->first(), n, this->weights());
  }
  if (absl::Status s = this->ReadWhole(operand, &repeated_); !s.ok()) return s;
  const size_t period = static_cast<size_t>(operand.view.elements());
  size_t phase = static_cast<size_t>(this->first()) % period;
  for (size_t i = 0; i < n; ++i) {
    (*buffer)[i] = repeated_[phase];
    if (++phase == period) phase = 0;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ElementForm<T>::ReadOperands() {
  for (int i = 0; i < call_.kernels.elementwise.operands; ++i) {
    absl::Status s = ReadOperand(call_.operands[i], &operands_[i], &values_[i]);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ElementForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  if (absl::Status s = ReadOperands(); !s.ok()) return s;
  T* items[kMaxParts] = {};
  for (int part = 0; part < call_.kernels.elementwise.parts; ++part)
    items[part] = this->items_[part].get();
  const double* parameters = call_.parameters.data();
  if constexpr (sizeof(T) == 4) {
    call_.kernels.elementwise.f32(parameters, values_, this->n(), items);
  } else {
    call_.kernels.elementwise.f64(parameters, values_, this->n(), items);
  }
  // The same place in the next block; beyond the end a prefetch does nothing.
  Upcoming upcoming;
  for (int i = 0; i < 2; ++i) {
    if (!call_.operands[i].view || values_[i] == operands_[i].get()) continue;
    upcoming.streams[i] = reinterpret_cast<const std::byte*>(values_[i] + n);
  }
  this->End(upcoming, block);
  return absl::OkStatus();
}

// False where the one-pass kernel may not read them.
template <class T>
bool ElementForm<T>::OnePassOperands(int64_t first, int64_t n, const float** operands) {
  const ElementwiseKernels& kernels = call_.kernels.elementwise;
  for (int i = 0; i < 2; ++i) {
    const Operand& operand = call_.operands[i];
    const bool checked =
        kernels.one_pass_checks_targets && i == 1 && operand.values == ValueRule::kUnitInterval;
    if (!operand.view || operand.repeats || operand.view.dtype() != DataType::kFloat32 ||
        (operand.values != ValueRule::kAny && !checked)) {
      return false;
    }
    if (!operand.view.contiguous() && pieces_[i] == nullptr)
      pieces_[i] = AllocateFor<T>(kMaxBlockItems);
    operands[i] = reinterpret_cast<const float*>(
        operand.view.Run(first, n, reinterpret_cast<std::byte*>(pieces_[i].get())));
  }
  return !call_.operands[2].view;
}

template <class T>
int64_t ElementForm<T>::AddInOnePass(int64_t first, int64_t n, LossSums* sums) {
  if constexpr (sizeof(T) == 8) return 0;
  const OnePassKernel kernel = call_.kernels.elementwise.one_pass_f32;
  n = std::min(n, static_cast<int64_t>(kMaxBlockItems)) / kOnePassStep * kOnePassStep;
  if (kernel == nullptr || n == 0 || call_.sample_weight.view) return 0;
  const float* operands[2];
  if (!OnePassOperands(first, n, operands)) return 0;
  OnePassSum sum;
  for (bool again = true; again;) {
    sum.top = one_pass_top_;
    sum.in_runs = one_pass_in_runs_;
    kernel(call_.parameters.data(), operands, static_cast<size_t>(n), &sum);
    again = !sum.parts.exact && sum.in_runs && !sum.runs_hold;
    if (again) one_pass_in_runs_ = false;  // for good: blocks of one tensor are alike
  }
  // One binade to spare where the guess was too low; it is lowered only where it was too high to
  // prove anything.
  if (sum.measured_top > sum.top) {
    one_pass_top_ = sum.measured_top + 1;
  } else if (!sum.parts.exact) {
    one_pass_top_ = sum.measured_top;
  }
  if (!sum.parts.exact) return 0;
  Add(sum.parts, &sums->parts[0]);
  sums->weight.Add(static_cast<double>(n));
  sums->items += n;
  return n;
}

// The scales of a block; they are all one where nothing is weighted or left out.
template <class T>
const T* ElementForm<T>::GradientScales(const GradientCall& gradients) {
  const bool skips = gradients.non_finite == NonFinitePolicy::kSkip;
  if (skips || this->weights() != nullptr) return this->Scales(gradients);
  if (even_scales_ == nullptr) {
    even_scales_ = AllocateFor<T>(kBlockItems);
    std::fill_n(even_scales_.get(), kBlockItems, static_cast<T>(1.0 / gradients.denominator));
  }
  return even_scales_.get();
}

template <class T>
absl::Status ElementForm<T>::RunGradients(int64_t first, int64_t n, const GradientCall& gradients) {
  if (gradients.non_finite == NonFinitePolicy::kSkip) {
    ItemBlock<T> block;  // whose items tell what is skipped
    if (absl::Status s = Run(first, n, &block); !s.ok()) return s;
  } else {
    if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
    if (absl::Status s = ReadOperands(); !s.ok()) return s;
  }
  const T* scales = GradientScales(gradients);
  T* outputs[kMaxOperands] = {};
  for (int o = 0; o < kMaxOperands; ++o) {
    if (gradients.outputs[o] != nullptr)
      outputs[o] = reinterpret_cast<T*>(gradients.outputs[o]) + first;
  }
  const double* parameters = call_.parameters.data();
  const bool streams = call_.units * static_cast<int64_t>(sizeof(T)) >= kStreamedBytes;
  if constexpr (sizeof(T) == 4) {
    call_.kernels.elementwise.gradient_f32(parameters, values_, this->n(), scales, streams,
                                           outputs);
  } else {
    call_.kernels.elementwise.gradient_f64(parameters, values_, this->n(), scales, streams,
                                           outputs);
  }
  return absl::OkStatus();
}

template class ElementForm<float>;
template class ElementForm<double>;

}  // namespace lossd
