#include "lib/forms/whole_form.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

template <class T>
bool IsAligned(const T* p) {
  return std::bit_cast<uintptr_t>(p) % alignof(T) == 0;
}

}  // namespace

template <class T>
WholeForm<T>::WholeForm(const FormCall& call) : FormBase<T>(call, 1, 1) {}

template <class T>
absl::Status WholeForm<T>::ReadOperand(const Operand& operand, int index) {
  WholeOperand<T>& to = block_.operands[static_cast<size_t>(index)];
  to.sizes.fill(1);
  if (!operand.view) return absl::OkStatus();
  const Shape& shape = operand.view.shape();
  for (int i = 0; i < shape.rank(); ++i) {
    to.sizes[static_cast<size_t>(i)] = static_cast<size_t>(shape[i]);
  }
  const size_t n = static_cast<size_t>(shape.elements());
  if (operand.values == ValueRule::kClass) {
    labels_[index] = AllocateFor<int64_t>(n);
    ReadLabels(operand.view, 0, n, labels_[index].get());
    to.labels = labels_[index].get();
    return absl::OkStatus();
  }
  // The kernels read numbers one by one, so a place that is not aligned is copied as well.
  if (this->InPlace(operand)) {
    to.values = reinterpret_cast<const T*>(operand.view.Run(0, shape.elements(), nullptr));
    if (IsAligned(to.values)) return this->CheckValues(operand, to.values, 0, n, nullptr);
  }
  absl::Status s = this->ReadWhole(operand, &copies_[index]);
  to.values = copies_[index].get();
  return s;
}

template <class T>
absl::Status WholeForm<T>::CheckByLoss() const {
  const WholeKernels& kernels = call_.kernels.whole;
  const double* parameters = call_.parameters.data();
  WholeProblem problem;
  if constexpr (sizeof(T) == 4) {
    problem = kernels.check_f32(parameters, block_);
  } else {
    problem = kernels.check_f64(parameters, block_);
  }
  if (problem.operand < 0) return absl::OkStatus();
  const Operand& operand = call_.whole[static_cast<size_t>(problem.operand)];
  const absl::Status error = this->ValueError(operand, problem.index, problem.expected);
  if (operand.values != ValueRule::kClass) return error;
  return InvalidArgument("LABEL_OUT_OF_RANGE", DetailOf(error).field, std::string(error.message()));
}

template <class T>
absl::Status WholeForm<T>::Read() {
  if (read_) return absl::OkStatus();
  block_.groups = &call_.groups;
  for (size_t o = 0; o < call_.whole.size(); ++o) {
    absl::Status s = ReadOperand(call_.whole[o], static_cast<int>(o));
    if (!s.ok()) return s;
  }
  if (absl::Status s = CheckByLoss(); !s.ok()) return s;
  read_ = true;
  return absl::OkStatus();
}

template <class T>
absl::Status WholeForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  absl::Status s = this->Begin(first, n);
  if (!s.ok()) return s;
  // A masked item is not looked at, nor are its inputs.
  const bool ignored = this->weights() != nullptr && this->weights()[0] == T(0);
  item_ = WholeItem();
  if (!ignored) {
    if (s = Read(); !s.ok()) return s;
    const double* parameters = call_.parameters.data();
    if constexpr (sizeof(T) == 4) {
      call_.kernels.whole.f32(parameters, block_, &item_);
    } else {
      call_.kernels.whole.f64(parameters, block_, &item_);
    }
    if (block_.cancelled()) return absl::CancelledError("the call was cancelled");
  }
  const T item = static_cast<T>(item_.item);
  this->items_[0][0] = item == item ? item : std::numeric_limits<T>::quiet_NaN();
  this->End(Upcoming(), block);
  return absl::OkStatus();
}

template <class T>
absl::Status WholeForm<T>::RunGradients(int64_t first, int64_t n, const GradientCall& gradients) {
  absl::Status s = this->Begin(first, n);
  this->items_[0][0] = T(0);
  // Only what is left out if it is not finite is computed once more.
  if (s.ok() && gradients.non_finite == NonFinitePolicy::kSkip) {
    ItemBlock<T> block;
    s = Run(first, n, &block);
  }
  if (!s.ok()) return s;
  const T scale = this->Scales(gradients)[0];
  T* outputs[kMaxWholeOperands] = {};
  bool wanted = false;
  for (size_t o = 0; o < call_.whole.size(); ++o) {
    if (gradients.outputs[o] == nullptr) continue;
    outputs[o] = reinterpret_cast<T*>(gradients.outputs[o]);
    wanted = true;
    if (scale == T(0)) {
      std::fill_n(outputs[o], static_cast<size_t>(call_.whole[o].view.elements()), T(0));
    }
  }
  if (!wanted || scale == T(0)) return absl::OkStatus();
  if (s = Read(); !s.ok()) return s;
  const double* parameters = call_.parameters.data();
  if constexpr (sizeof(T) == 4) {
    call_.kernels.whole.gradient_f32(parameters, block_, static_cast<double>(scale), outputs);
  } else {
    call_.kernels.whole.gradient_f64(parameters, block_, static_cast<double>(scale), outputs);
  }
  if (block_.cancelled()) return absl::CancelledError("the call was cancelled");
  for (size_t o = 0; o < call_.whole.size(); ++o) {
    if (outputs[o] == nullptr) continue;
    const size_t count = static_cast<size_t>(call_.whole[o].view.elements());
    for (size_t i = 0; i < count; ++i) {
      if (outputs[o][i] != outputs[o][i]) outputs[o][i] = std::numeric_limits<T>::quiet_NaN();
    }
  }
  return absl::OkStatus();
}

template class WholeForm<float>;
template class WholeForm<double>;

}  // namespace lossd
