#include "lib/forms/form.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

std::string Number(double value) {
  char text[32];
  // Whole numbers, such as labels, in full.
  const bool whole = value == std::floor(value) && std::abs(value) < 0x1p53;
  std::snprintf(text, sizeof(text), whole ? "%.0f" : "%.9g", value);
  return text;
}

}  // namespace

template <class T>
FormBase<T>::FormBase(const FormCall& call, int64_t max_units, int parts)
    : call_(call), max_units_(max_units), parts_(parts) {
  const size_t items = static_cast<size_t>(max_units) * items_per_unit();
  for (int part = 0; part < parts; ++part) items_[part] = AllocateFor<T>(items);
  if (call_.sample_weight.view) weights_ = AllocateFor<T>(items);
  if (call_.labels.view) {
    labels_read_ = AllocateFor<int64_t>(static_cast<size_t>(max_units));
    ignored_ = AllocateFor<uint8_t>(static_cast<size_t>(max_units));
  }
}

template <class T>
FormBase<T>::~FormBase() = default;

template <class T>
absl::Status FormBase<T>::ValueError(const Operand& operand, int64_t index,
                                     const std::string& expected) const {
  return InvalidArgument("INVALID_VALUE", "inputs[\"" + operand.name + "\"]",
                         std::string(call_.loss) + ": " + operand.name + ": expected " + expected +
                             ", got " + Number(ReadElement(operand.view, index)) + " at " +
                             operand.view.shape().PlaceOf(index));
}

template <class T>
absl::Status FormBase<T>::LabelError(const Operand& operand, int64_t index,
                                     const char* also) const {
  std::string expected = "a label from 0 to " + std::to_string(call_.classes - 1);
  if (call_.ignore_index.has_value()) {
    expected += " or ignore_index " + std::to_string(*call_.ignore_index);
  }
  const absl::Status error = ValueError(operand, index, expected + also);
  return InvalidArgument("LABEL_OUT_OF_RANGE", DetailOf(error).field, std::string(error.message()));
}

template <class T>
absl::Status FormBase<T>::CheckValues(const Operand& operand, const T* values, int64_t first,
                                      size_t n, const T* weights) const {
  if (operand.values == ValueRule::kAny) return absl::OkStatus();
  for (size_t i = 0; i < n; ++i) {
    i += FirstInvalid(operand.values, values + i, n - i);
    if (i == n) break;
    if (weights != nullptr && weights[i] == T(0)) continue;
    return ValueError(operand, first + static_cast<int64_t>(i), Describe(operand.values));
  }
  return absl::OkStatus();
}

template <class T>
absl::Status FormBase<T>::ReadChecked(const Operand& operand, int64_t first, size_t n, T* buffer,
                                      const T** values) const {
  int64_t inexact = -1;
  *values = ReadRun<T>(operand.view, first, n, buffer, &inexact);
  if (inexact < 0) return absl::OkStatus();
  return ValueError(
      operand, first + inexact,
      sizeof(T) == 4 ? "a value that is exact in FLOAT32" : "a value that is exact in FLOAT64");
}

template <class T>
absl::Status FormBase<T>::ReadWhole(const Operand& operand, std::unique_ptr<T[]>* buffer) {
  if (!operand.view || *buffer != nullptr) return absl::OkStatus();
  const size_t n = static_cast<size_t>(operand.view.elements());
  *buffer = AllocateFor<T>(n);
  const T* read = nullptr;
  if (absl::Status s = ReadChecked(operand, 0, n, buffer->get(), &read); !s.ok()) return s;
  if (read != buffer->get()) std::memcpy(buffer->get(), read, n * sizeof(T));
  return CheckValues(operand, buffer->get(), 0, n, nullptr);
}

template <class T>
bool FormBase<T>::InPlace(const Operand& operand) const {
  return operand.view && !operand.repeats && operand.view.contiguous() &&
         operand.view.dtype() == DataTypeOf<T>();
}

template <class T>
absl::Status FormBase<T>::GatherRows(const Operand& operand, T* rows) {
  const int64_t width = call_.width;
  const int64_t inner = call_.units_per_sample;
  const int64_t end = first_ + static_cast<int64_t>(n_);
  T buffer[kBlockItems];
  for (int64_t unit = first_; unit < end;) {
    // Positions of one sample: for every class they are one run.
    const int64_t position = unit % inner;
    const int64_t run = std::min({end - unit, inner - position, static_cast<int64_t>(kBlockItems)});
    for (int64_t c = 0; c < width; ++c) {
      const T* values = nullptr;
      absl::Status s = ReadChecked(operand, call_.ElementIndex(unit, c), static_cast<size_t>(run),
                                   buffer, &values);
      if (!s.ok()) return s;
      T* to = rows + (unit - first_) * width + c;
      for (int64_t i = 0; i < run; ++i) std::memcpy(to + i * width, values + i, sizeof(T));
    }
    unit += run;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status FormBase<T>::ReadWeights() {
  const Operand& operand = call_.sample_weight;
  if (!operand.view) return absl::OkStatus();
  const size_t per_unit = items_per_unit();
  // Of the units if there is one a unit or sample, else item-shaped and point-wise: a row of them a
  // unit.
  if (!call_.weight_per_sample && per_unit != 1) {
    if (absl::Status s = GatherRows(operand, weights_.get()); !s.ok()) return s;
    return CheckValues(operand, weights_.get(), first_ * call_.width, n_ * per_unit, nullptr);
  }
  const int64_t units_per_weight = call_.weight_per_sample ? call_.units_per_sample : 1;
  const int64_t begin = first_ / units_per_weight;
  const int64_t end = (first_ + static_cast<int64_t>(n_) - 1) / units_per_weight + 1;
  const size_t count = static_cast<size_t>(end - begin);
  if (weights_read_ == nullptr) weights_read_ = AllocateFor<T>(static_cast<size_t>(max_units_));
  const T* read = nullptr;
  absl::Status s = ReadChecked(operand, begin, count, weights_read_.get(), &read);
  if (s.ok()) s = CheckValues(operand, read, begin, count, nullptr);
  if (!s.ok()) return s;
  for (size_t unit = 0; unit < n_; ++unit) {
    T weight;
    const int64_t index = (first_ + static_cast<int64_t>(unit)) / units_per_weight - begin;
    std::memcpy(&weight, read + index, sizeof(T));
    std::fill_n(weights_.get() + unit * per_unit, per_unit, weight);
  }
  return absl::OkStatus();
}

template <class T>
absl::Status FormBase<T>::ReadLabelsOfUnits() {
  any_ignored_ = false;
  if (!call_.labels.view) return absl::OkStatus();
  int64_t* const labels = labels_read_.get();
  labels_ = LabelsInPlace(call_.labels.view, first_);
  if (labels_ == nullptr) {
    ReadLabels(call_.labels.view, first_, n_, labels);
    labels_ = labels;
  }
  if (AreLabels(labels_, n_, call_.classes, call_.ignore_index)) return absl::OkStatus();
  // What is ignored or not looked at becomes a label too, in a copy.
  if (labels_ != labels) std::memcpy(labels, labels_, n_ * sizeof(int64_t));
  labels_ = labels;
  for (size_t i = 0; i < n_; ++i) {
    int64_t& label = labels[i];
    const bool ignored = label == call_.ignore_index;
    ignored_[i] = ignored ? 1 : 0;
    if (label >= 0 && label < call_.classes && !ignored) continue;
    const bool weightless = call_.sample_weight.view && weights_[i * items_per_unit()] == T(0);
    if (!ignored && !weightless) {
      return LabelError(call_.labels, first_ + static_cast<int64_t>(i));
    }
    any_ignored_ |= ignored;
    label = 0;  // any class: the item is not used
  }
  return absl::OkStatus();
}

template <class T>
absl::Status FormBase<T>::Begin(int64_t first, int64_t n) {
  first_ = first;
  n_ = static_cast<size_t>(n);
  if (absl::Status s = ReadWeights(); !s.ok()) return s;
  return ReadLabelsOfUnits();
}

template <class T>
void FormBase<T>::End(const Upcoming& upcoming, ItemBlock<T>* block) {
  *block = ItemBlock<T>();
  block->parts = parts_;
  for (int part = 0; part < parts_; ++part) block->items[part] = items_[part].get();
  block->n = n_ * items_per_unit();
  block->weights = weights();
  if (any_ignored_) block->ignored = ignored_.get();
  block->next = upcoming;
  if (!call_.class_weight_in_denominator || !call_.class_weight.view) return;
  if (class_weights_of_items_ == nullptr) {
    class_weights_of_items_ = AllocateFor<T>(static_cast<size_t>(max_units_));
  }
  for (size_t i = 0; i < n_; ++i) {
    class_weights_of_items_[i] = class_weights_[static_cast<size_t>(labels_[i])];
  }
  block->class_weights = class_weights_of_items_.get();
}

template <class T>
const T* FormBase<T>::Scales(const GradientCall& gradients) {
  const size_t per_unit = items_per_unit();
  if (scales_ == nullptr) scales_ = AllocateFor<T>(static_cast<size_t>(max_units_) * per_unit);
  T* const scales = scales_.get();
  const size_t n = n_ * per_unit;
  const double denominator = gradients.denominator;
  if (weights_ == nullptr) {
    std::fill_n(scales, n, static_cast<T>(1.0 / denominator));
  } else {
    const T* const weights = weights_.get();
    for (size_t i = 0; i < n; ++i)
      scales[i] = static_cast<T>(static_cast<double>(weights[i]) / denominator);
  }
  for (size_t i = 0; any_ignored_ && i < n; ++i) {
    if (ignored_[i / per_unit] != 0) scales[i] = T(0);
  }
  const bool skip = gradients.non_finite == NonFinitePolicy::kSkip;
  for (size_t i = 0; skip && i < n; ++i) {
    if (!std::isfinite(items_[0][i])) scales[i] = T(0);
  }
  return scales;
}

template <class T>
void FormBase<T>::StoreItems(std::byte* values) const {
  const size_t per_unit = items_per_unit();
  for (size_t i = 0; i < n_ * per_unit; ++i) {
    const bool ignored = (weights_ != nullptr && weights_[i] == T(0)) ||
                         (any_ignored_ && ignored_[i / per_unit] != 0);
    const T item = ignored ? T(0) : items_[0][i];
    const int64_t at =
        call_.ItemIndex(first_ * static_cast<int64_t>(per_unit) + static_cast<int64_t>(i));
    std::memcpy(values + static_cast<size_t>(at) * sizeof(T), &item, sizeof(T));
  }
}

template class FormBase<float>;
template class FormBase<double>;

}  // namespace lossd
