#include "lib/forms/row_form.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"
#include "lib/forms/shared_table.h"
#include "lib/forms/softmax_rows.h"

namespace lossd {
namespace {

// Elements of rows that are gathered or widened at a time: they stay in L2.
constexpr int64_t kMaxBufferedElements = 32768;
// Elements of rows that are read in place at a time: most of them are still in L2 when the next
// loss that shares them comes.
constexpr int64_t kMaxElementsInPlace = 131072;
// Bytes of gradients that are no longer in the caches when all are written.
constexpr int64_t kStreamedBytes = int64_t{16} << 20;
// Labels of a row times its classes, whose pairs a loss of label rows goes over: a second of work.
constexpr int64_t kMaxLabelPairs = int64_t{1} << 32;
// Such pairs of a block of several rows, so that cancelling need not wait for more.
constexpr int64_t kMaxPairsOfBlock = int64_t{1} << 28;

template <class T>
int64_t UnitsPerBlock(const FormCall& call) {
  const bool in_place =
      call.units_per_sample == 1 && call.operands[0].view.dtype() == DataTypeOf<T>();
  int64_t elements = in_place ? kMaxElementsInPlace : kMaxBufferedElements;
  const auto most = static_cast<int64_t>(kBlockItems);
  if (call.pointwise) elements = most;
  const int64_t width = std::max<int64_t>(call.width, 1);
  if (call.label_rows.view) elements = std::min(elements, kMaxPairsOfBlock / width);
  return std::clamp<int64_t>(elements / width, 1, most);
}

}  // namespace

bool HaveSameRows(const FormCall& a, const FormCall& b) {
  if (a.kernels.rows.f32 == nullptr || b.kernels.rows.f32 == nullptr) return false;
  const Operand& x = a.operands[0];
  const Operand& y = b.operands[0];
  return x.view && x.view.SameAs(y.view) && a.units == b.units && a.width == b.width &&
         a.units_per_sample == b.units_per_sample && x.values == ValueRule::kAny &&
         y.values == ValueRule::kAny;
}

template <class T>
RowForm<T>::RowForm(const FormCall& call)
    : FormBase<T>(call, UnitsPerBlock<T>(call), 1), needs_softmax_(call.kernels.rows.softmax) {}

template <class T>
void RowForm<T>::ShareRowsWith(RowForm* leader) {
  leader_ = leader;
  leader->needs_softmax_ |= needs_softmax_;
}

template <class T>
absl::Status RowForm<T>::ReadRows(const Operand& operand, std::unique_ptr<T[]>* buffer,
                                  const T** rows) {
  if (!operand.view) return absl::OkStatus();
  const size_t width = static_cast<size_t>(call_.width);
  const bool gathers = call_.units_per_sample != 1;
  if (*buffer == nullptr && (gathers || !this->InPlace(operand)))
    *buffer = AllocateFor<T>(static_cast<size_t>(this->max_units()) * width);
  *rows = buffer->get();
  absl::Status s = gathers ? this->GatherRows(operand, buffer->get())
                           : this->ReadChecked(operand, this->first() * call_.width,
                                               this->n() * width, buffer->get(), rows);
  if (!s.ok() || call_.kernels.rows.checks) return s;
  return CheckRows(operand, *rows);
}

template <class T>
absl::Status RowForm<T>::CheckRows(const Operand& operand, const T* rows) const {
  if (operand.values == ValueRule::kAny) return absl::OkStatus();
  const size_t width = static_cast<size_t>(call_.width);
  const int64_t begin = this->first() * call_.width;
  if (this->weights() == nullptr)
    return this->CheckValues(operand, rows, begin, this->n() * width, nullptr);
  for (size_t row = 0; row < this->n(); ++row) {
    if (this->weights()[row * this->items_per_unit()] == T(0)) continue;
    const int64_t at = begin + static_cast<int64_t>(row * width);
    absl::Status s = this->CheckValues(operand, rows + row * width, at, width, nullptr);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status RowForm<T>::ReadFirstOperand() {
  if (leader_ != nullptr && leader_->has_rows_ && leader_->first() == this->first() &&
      leader_->n() == this->n()) {
    block_.operands[0] = leader_->block_.operands[0];
    block_.softmax = leader_->block_.softmax;
    return absl::OkStatus();
  }
  absl::Status s = ReadRows(call_.operands[0], &operands_[0], &block_.operands[0]);
  if (!s.ok()) return s;
  if (needs_softmax_) {
    constexpr size_t kMultiple = SoftmaxRows<T>::kMultiple;
    const size_t most = static_cast<size_t>(this->max_units());
    const size_t units = (most + kMultiple - 1) / kMultiple * kMultiple;
    if (softmax_ == nullptr) softmax_ = AllocateFor<T>(4 * units);
    T* const columns = softmax_.get();
    block_.softmax = {columns, columns + units, columns + 2 * units, columns + 3 * units};
    ComputeSoftmaxRows(block_.operands[0], block_.rows, block_.width, block_.softmax);
  }
  has_rows_ = true;
  return s;
}

template <class T>
absl::Status RowForm<T>::ReadLabelRows() {
  if (!call_.label_rows.view) return absl::OkStatus();
  const size_t width = static_cast<size_t>(call_.width);
  if (label_rows_ == nullptr)
    label_rows_ = AllocateFor<int64_t>(static_cast<size_t>(this->max_units()) * width);
  ReadLabels(call_.label_rows.view, this->first() * call_.width, this->n() * width,
             label_rows_.get());
  block_.label_rows = label_rows_.get();
  for (size_t row = 0; row < this->n(); ++row) {
    int64_t* const labels = label_rows_.get() + row * width;
    if (this->weights() != nullptr && this->weights()[row] == T(0))
      labels[0] = -1;  // not looked at
    const int64_t unit = this->first() + static_cast<int64_t>(row);
    int64_t count = 0;
    for (; count < call_.width && labels[count] != -1; ++count) {
      if (labels[count] >= 0 && labels[count] < call_.width) continue;
      return this->LabelError(call_.label_rows, unit * call_.width + count,
                              ", or -1 after the last");
    }
    if (count <= kMaxLabelPairs / call_.width) continue;
    return ResourceExhausted(
        "TOO_MANY_LABELS", "inputs[\"" + call_.label_rows.name + "\"]",
        std::string(call_.loss) + ": row " + std::to_string(unit) + " has " +
            std::to_string(count) + " labels of " + std::to_string(call_.width) +
            " classes; labels x classes may be at most " + std::to_string(kMaxLabelPairs));
  }
  return absl::OkStatus();
}

template <class T>
absl::Status RowForm<T>::Read() {
  block_ = RowBlock<T>();
  block_.rows = this->n();
  block_.width = static_cast<size_t>(call_.width);
  if (absl::Status s = ReadFirstOperand(); !s.ok()) return s;
  for (int o = 1; o < kMaxOperands; ++o) {
    absl::Status s = ReadRows(call_.operands[o], &operands_[o], &block_.operands[o]);
    if (!s.ok()) return s;
  }
  if (call_.labels.view) block_.labels = this->labels();
  if (absl::Status s = ReadLabelRows(); !s.ok()) return s;
  if (call_.row_targets.view) {
    const Operand& operand = call_.row_targets;
    if (row_targets_ == nullptr)
      row_targets_ = AllocateFor<T>(static_cast<size_t>(this->max_units()));
    absl::Status s = this->ReadChecked(operand, this->first(), this->n(), row_targets_.get(),
                                       &block_.row_targets);
    if (s.ok()) {
      s = this->CheckValues(operand, block_.row_targets, this->first(), this->n(), this->weights());
    }
    if (!s.ok()) return s;
  }
  absl::Status s = this->ReadWhole(call_.class_weight, &this->class_weights_);
  block_.class_weights = this->class_weights_.get();
  if (s.ok() && call_.table.view) call_.shared_table->Place(call_, &block_);
  return s;
}

template <class T>
absl::Status RowForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  has_rows_ = false;
  absl::Status s = this->Begin(first, n);
  if (s.ok()) s = Read();
  if (!s.ok()) return s;
  if (call_.counts_kinds && kinds_ == nullptr)
    kinds_ = AllocateFor<uint8_t>(static_cast<size_t>(this->max_units()));
  bool suspect = false;
  block_.suspect = &suspect;
  call_.kernels.rows.template Items<T>()(call_.parameters.data(), block_, this->items_[0].get(),
                                         kinds_.get());
  block_.suspect = nullptr;
  for (int o = 0; o < kMaxOperands && suspect; ++o) {
    if (s = CheckRows(call_.operands[o], block_.operands[o]); !s.ok()) return s;
  }
  this->End(Upcoming(), block);
  block->kinds = kinds_.get();
  return absl::OkStatus();
}

// Rows of the last Run to their places in the operand's shape.
template <class T>
void RowForm<T>::StoreRows(const T* rows, std::byte* output) const {
  for (size_t row = 0; row < this->n(); ++row) {
    const int64_t unit = this->first() + static_cast<int64_t>(row);
    for (int64_t i = 0; i < call_.width; ++i) {
      std::memcpy(output + static_cast<size_t>(call_.ElementIndex(unit, i)) * sizeof(T), rows++,
                  sizeof(T));
    }
  }
}

template <class T>
absl::Status RowForm<T>::RunGradients(int64_t first, int64_t n, const GradientCall& gradients,
                                      ItemBlock<T>* block) {
  ItemBlock<T> items;
  if (absl::Status s = Run(first, n, block != nullptr ? block : &items); !s.ok()) return s;
  block_.streams_gradients =
      call_.units * call_.width * static_cast<int64_t>(sizeof(T)) > kStreamedBytes;
  const T* scales = this->Scales(gradients);
  const bool scatters = call_.units_per_sample != 1;
  T* outputs[kMaxOperands + 1] = {};
  for (int o = 0; o < kMaxOperands; ++o) {
    if (gradients.outputs[o] == nullptr) continue;
    outputs[o] = reinterpret_cast<T*>(gradients.outputs[o]) + first * call_.width;
    if (!scatters) continue;
    if (gradients_[o] == nullptr) {
      gradients_[o] =
          AllocateFor<T>(static_cast<size_t>(this->max_units()) * static_cast<size_t>(call_.width));
    }
    outputs[o] = gradients_[o].get();
    block_.streams_gradients = false;
  }
  call_.kernels.rows.template Gradients<T>()(call_.parameters.data(), block_, scales, outputs);
  for (int o = 0; o < kMaxOperands && scatters; ++o) {
    if (outputs[o] != nullptr) StoreRows(outputs[o], gradients.outputs[o]);
  }
  return absl::OkStatus();
}

// The table's rows of the last Run's contributions, one after the other: the order is the batch's.
template <class T>
void RowForm<T>::AddRows(int64_t begin, int64_t end, const T* scales, T* table) {
  const size_t width = static_cast<size_t>(call_.width);
  const T* rows = gradients_[kTableGradient].get();
  for (size_t row = 0; row < this->n(); ++row, rows += width) {
    const int64_t label = this->labels()[row];
    if (scales[row] == T(0)) continue;
    label_scales_[static_cast<size_t>(label)] += static_cast<double>(scales[row]);
    if (label < begin || label >= end) continue;
    T* const to = table + static_cast<size_t>(label - begin) * width;
    for (size_t i = 0; i < width; ++i) to[i] += rows[i];
  }
}

template <class T>
absl::Status RowForm<T>::AddToTable(int64_t begin, int64_t end, const GradientCall& gradients,
                                    bool unit_scales, T* table) {
  const size_t width = static_cast<size_t>(call_.width);
  std::fill_n(table, static_cast<size_t>(end - begin) * width, T(0));
  label_scales_.assign(static_cast<size_t>(call_.classes), 0.0);
  if (gradients_[kTableGradient] == nullptr)
    gradients_[kTableGradient] = AllocateFor<T>(static_cast<size_t>(this->max_units()) * width);
  T* outputs[kMaxOperands + 1] = {};
  outputs[kTableGradient] = gradients_[kTableGradient].get();
  std::vector<T> units;
  for (int64_t first = 0; first < call_.units; first += this->max_units()) {
    if (token_ != nullptr && token_->cancelled())
      return absl::CancelledError("the call was cancelled");
    ItemBlock<T> block;
    absl::Status s = Run(first, std::min(this->max_units(), call_.units - first), &block);
    if (!s.ok()) return s;
    const T* scales = this->Scales(gradients);
    if (unit_scales) {
      units.resize(this->n());
      for (size_t row = 0; row < this->n(); ++row) units[row] = scales[row] == T(0) ? T(0) : T(1);
      scales = units.data();
    }
    call_.kernels.rows.template Gradients<T>()(call_.parameters.data(), block_, scales, outputs);
    AddRows(begin, end, scales, table);
  }
  // The NaN of inf - inf has another sign on another processor.
  T* const table_end = table + static_cast<size_t>(end - begin) * width;
  std::replace_if(
      table, table_end, [](T v) { return v != v; }, std::numeric_limits<T>::quiet_NaN());
  return absl::OkStatus();
}

template <class T>
absl::Status RowForm<T>::RunTableGradients(int64_t begin, int64_t end,
                                           const GradientCall& gradients) {
  const size_t offset = static_cast<size_t>(begin * call_.width);
  T* const table = reinterpret_cast<T*>(gradients.outputs[kTableGradient]) + offset;
  if (absl::Status s = AddToTable(begin, end, gradients, false, table); !s.ok()) return s;
  const TableFinishKernel<T> finish = call_.kernels.rows.template Table<T>().finish;
  if (finish == nullptr) return absl::OkStatus();
  block_ = RowBlock<T>();
  call_.shared_table->Place(call_, &block_);
  finish(call_.parameters.data(), block_, label_scales_.data(), static_cast<size_t>(begin),
         static_cast<size_t>(end), table);
  return absl::OkStatus();
}

template <class T>
absl::Status RowForm<T>::RunTableUpdate(int64_t begin, int64_t end, const GradientCall& gradients) {
  const size_t width = static_cast<size_t>(call_.width);
  T* const table =
      reinterpret_cast<T*>(gradients.table_update) + static_cast<size_t>(begin) * width;
  if (absl::Status s = AddToTable(begin, end, gradients, true, table); !s.ok()) return s;
  for (int64_t label = begin; label < end; ++label) {
    const T divisor = static_cast<T>(1 + label_scales_[static_cast<size_t>(label)]);
    T* const row = table + static_cast<size_t>(label - begin) * width;
    for (size_t i = 0; i < width; ++i) row[i] /= divisor;
  }
  return absl::OkStatus();
}

template class RowForm<float>;
template class RowForm<double>;

}  // namespace lossd
