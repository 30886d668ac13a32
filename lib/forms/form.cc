#include "lib/forms/form.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

// Elements of rows that are gathered or widened at a time: they stay in L2.
constexpr int64_t kMaxBufferedElements = 32768;

template <class T>
constexpr DataType DataTypeOf() {
  return sizeof(T) == 4 ? DataType::kFloat32 : DataType::kFloat64;
}

template <class T>
bool IsAligned(const T* p) {
  return std::bit_cast<uintptr_t>(p) % alignof(T) == 0;
}

template <class T>
std::unique_ptr<T[]> Allocate(size_t n) {
  return std::make_unique_for_overwrite<T[]>(n);
}

std::string Number(double value) {
  char text[32];
  // Whole numbers, such as labels, in full.
  const bool whole = value == std::floor(value) && std::abs(value) < 0x1p53;
  std::snprintf(text, sizeof(text), whole ? "%.0f" : "%.9g", value);
  return text;
}

}  // namespace

template <class T>
struct Form<T>::Buffers {
  // One entry an item of a block.
  std::unique_ptr<T[]> items[kMaxParts];
  std::unique_ptr<T[]> weights;
  std::unique_ptr<T[]> class_weights_of_items;
  uint8_t ignored[kBlockItems];
  int64_t labels[kBlockItems];
  // Operands that had to be copied; allocated when one is.
  std::unique_ptr<T[]> operands[kMaxOperands];
  std::unique_ptr<T[]> gathered;
  // Read once a form.
  std::unique_ptr<T[]> class_weights;
  std::unique_ptr<T[]> repeated;
  bool any_ignored = false;
};

template <class T>
Form<T>::Form(const FormCall& call)
    : call_(call), buffers_(std::make_unique_for_overwrite<Buffers>()) {
  max_units_ = static_cast<int64_t>(kBlockItems);
  if (call_.rowwise()) {
    const bool in_place =
        call_.units_per_sample == 1 && call_.operands[0].view.dtype() == DataTypeOf<T>();
    int64_t elements = in_place ? kMaxBufferedElements * 32 : kMaxBufferedElements;
    if (call_.pointwise) elements = static_cast<int64_t>(kBlockItems);
    max_units_ = std::clamp<int64_t>(elements / std::max<int64_t>(call_.classes, 1), 1, max_units_);
  }
  const size_t items = static_cast<size_t>(max_units_) * items_per_unit();
  const int parts = call_.rowwise() ? 1 : call_.kernels.elementwise.parts;
  for (int part = 0; part < parts; ++part) buffers_->items[part] = Allocate<T>(items);
  if (call_.sample_weight.view) buffers_->weights = Allocate<T>(items);
}

template <class T>
Form<T>::~Form() = default;

template <class T>
absl::Status Form<T>::ValueError(const Operand& operand, int64_t index,
                                 const char* expected) const {
  return InvalidArgument("INVALID_VALUE", "inputs[\"" + operand.name + "\"]",
                         std::string(call_.loss) + ": expected " + expected + ", got " +
                             Number(ReadElement(operand.view, index)) + " at " +
                             operand.view.shape().PlaceOf(index));
}

template <class T>
absl::Status Form<T>::CheckValues(const Operand& operand, const T* values, int64_t first, size_t n,
                                  const T* weights) const {
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
absl::Status Form<T>::ReadChecked(const Operand& operand, int64_t first, size_t n, T* buffer,
                                  const T** values) {
  int64_t inexact = -1;
  *values = ReadRun<T>(operand.view, first, n, buffer, &inexact);
  if (inexact < 0) return absl::OkStatus();
  return ValueError(
      operand, first + inexact,
      sizeof(T) == 4 ? "a value that is exact in FLOAT32" : "a value that is exact in FLOAT64");
}

template <class T>
absl::Status Form<T>::ReadWeights() {
  const Operand& operand = call_.sample_weight;
  if (!operand.view) return absl::OkStatus();
  T* const weights = buffers_->weights.get();
  const size_t per_unit = items_per_unit();
  // Of the units if there is one a unit or sample, else item-shaped and point-wise: a row of them a
  // unit.
  if (call_.weight_per_sample || per_unit == 1) {
    const int64_t units_per_weight = call_.weight_per_sample ? call_.units_per_sample : 1;
    const int64_t begin = first_ / units_per_weight;
    const int64_t end = (first_ + static_cast<int64_t>(n_) - 1) / units_per_weight + 1;
    const size_t count = static_cast<size_t>(end - begin);
    if (buffers_->gathered == nullptr)
      buffers_->gathered = Allocate<T>(static_cast<size_t>(max_units_));
    const T* read = nullptr;
    if (absl::Status s = ReadChecked(operand, begin, count, buffers_->gathered.get(), &read);
        !s.ok())
      return s;
    if (absl::Status s = CheckValues(operand, read, begin, count, nullptr); !s.ok()) return s;
    for (size_t unit = 0; unit < n_; ++unit) {
      T weight;
      const int64_t index = (first_ + static_cast<int64_t>(unit)) / units_per_weight - begin;
      std::memcpy(&weight, read + index, sizeof(T));
      std::fill_n(weights + unit * per_unit, per_unit, weight);
    }
    return absl::OkStatus();
  }
  if (absl::Status s = GatherRows(operand, weights); !s.ok()) return s;
  return CheckValues(operand, weights, first_ * call_.classes, n_ * per_unit, nullptr);
}

template <class T>
absl::Status Form<T>::ReadLabelsOfUnits() {
  const Operand& operand = call_.labels;
  buffers_->any_ignored = false;
  if (!operand.view) return absl::OkStatus();
  int64_t* const labels = buffers_->labels;
  ReadLabels(operand.view, first_, n_, labels);
  for (size_t i = 0; i < n_; ++i) {
    const bool ignored = labels[i] == call_.ignore_index;
    buffers_->ignored[i] = ignored ? 1 : 0;
    if (labels[i] >= 0 && labels[i] < call_.classes && !ignored) continue;
    const bool weightless = call_.sample_weight.view && buffers_->weights[i] == T(0);
    if (!ignored && !weightless) {
      std::string expected = "a label from 0 to " + std::to_string(call_.classes - 1);
      if (call_.ignore_index.has_value()) {
        expected += " or ignore_index " + std::to_string(*call_.ignore_index);
      }
      const absl::Status error =
          ValueError(operand, first_ + static_cast<int64_t>(i), expected.c_str());
      return InvalidArgument("LABEL_OUT_OF_RANGE", DetailOf(error).field,
                             std::string(error.message()));
    }
    buffers_->any_ignored |= ignored;
    labels[i] = 0;  // any class: the item is not used
  }
  return absl::OkStatus();
}

template <class T>
absl::Status Form<T>::ReadClassWeights() {
  if (!call_.class_weight.view || buffers_->class_weights != nullptr) return absl::OkStatus();
  const size_t classes = static_cast<size_t>(call_.classes);
  buffers_->class_weights = Allocate<T>(classes);
  const T* read = nullptr;
  absl::Status s =
      ReadChecked(call_.class_weight, 0, classes, buffers_->class_weights.get(), &read);
  if (!s.ok()) return s;
  if (read != buffers_->class_weights.get()) {
    std::memcpy(buffers_->class_weights.get(), read, classes * sizeof(T));
  }
  return CheckValues(call_.class_weight, buffers_->class_weights.get(), 0, classes, nullptr);
}

template <class T>
bool Form<T>::InPlace(const Operand& operand) const {
  return operand.view && !operand.repeats && operand.view.contiguous() &&
         operand.view.dtype() == DataTypeOf<T>();
}

template <class T>
absl::Status Form<T>::ReadElements(const Operand& operand, std::unique_ptr<T[]>* buffer,
                                   const T** values) {
  if (*buffer == nullptr && !InPlace(operand)) {
    *buffer = Allocate<T>(kBlockItems);
    if (!operand.view) std::fill_n(buffer->get(), kBlockItems, T(1));
  }
  *values = buffer->get();
  if (!operand.view) return absl::OkStatus();
  if (!operand.repeats) {
    absl::Status s = ReadChecked(operand, first_, n_, buffer->get(), values);
    if (!s.ok()) return s;
    const T* weights = call_.sample_weight.view ? buffers_->weights.get() : nullptr;
    return CheckValues(operand, *values, first_, n_, weights);
  }
  const size_t period = static_cast<size_t>(operand.view.elements());
  if (buffers_->repeated == nullptr) {
    buffers_->repeated = Allocate<T>(period);
    const T* read = nullptr;
    absl::Status s = ReadChecked(operand, 0, period, buffers_->repeated.get(), &read);
    if (!s.ok()) return s;
    if (read != buffers_->repeated.get())
      std::memcpy(buffers_->repeated.get(), read, period * sizeof(T));
    if (s = CheckValues(operand, buffers_->repeated.get(), 0, period, nullptr); !s.ok()) return s;
  }
  size_t phase = static_cast<size_t>(first_) % period;
  for (size_t i = 0; i < n_; ++i) {
    (*buffer)[i] = buffers_->repeated[phase];
    if (++phase == period) phase = 0;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status Form<T>::GatherRows(const Operand& operand, T* rows) {
  const int64_t classes = call_.classes;
  const int64_t inner = call_.units_per_sample;
  const int64_t end = first_ + static_cast<int64_t>(n_);
  T buffer[kBlockItems];
  for (int64_t unit = first_; unit < end;) {
    // Positions of one sample: for every class they are one run.
    const int64_t sample = unit / inner;
    const int64_t position = unit % inner;
    const int64_t run = std::min({end - unit, inner - position, static_cast<int64_t>(kBlockItems)});
    for (int64_t c = 0; c < classes; ++c) {
      const T* values = nullptr;
      const int64_t at = (sample * classes + c) * inner + position;
      absl::Status s = ReadChecked(operand, at, static_cast<size_t>(run), buffer, &values);
      if (!s.ok()) return s;
      T* to = rows + (unit - first_) * classes + c;
      for (int64_t i = 0; i < run; ++i) std::memcpy(to + i * classes, values + i, sizeof(T));
    }
    unit += run;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status Form<T>::ReadRows(const Operand& operand, std::unique_ptr<T[]>* buffer,
                               const T** rows) {
  const size_t classes = static_cast<size_t>(call_.classes);
  const bool in_place = call_.units_per_sample == 1 && InPlace(operand);
  if (*buffer == nullptr && !in_place)
    *buffer = Allocate<T>(static_cast<size_t>(max_units_) * classes);
  if (call_.units_per_sample != 1) {
    *rows = buffer->get();
    return GatherRows(operand, buffer->get());
  }
  return ReadChecked(operand, first_ * call_.classes, n_ * classes, buffer->get(), rows);
}

template <class T>
absl::Status Form<T>::ComputeElements() {
  const T* operands[kMaxOperands] = {};
  for (int i = 0; i < call_.kernels.elementwise.operands; ++i) {
    absl::Status s = ReadElements(call_.operands[i], &buffers_->operands[i], &operands[i]);
    if (!s.ok()) return s;
  }
  // The same place in the next block; beyond the end a prefetch does nothing.
  for (int i = 0; i < 2; ++i) {
    const Operand& operand = call_.operands[i];
    const bool in_place = operand.view && operands[i] != buffers_->operands[i].get();
    upcoming_.streams[i] =
        in_place ? reinterpret_cast<const std::byte*>(operands[i]) + n_ * sizeof(T) : nullptr;
  }
  T* items[kMaxParts] = {};
  for (int part = 0; part < call_.kernels.elementwise.parts; ++part)
    items[part] = buffers_->items[part].get();
  const double* parameters = call_.parameters.data();
  if constexpr (sizeof(T) == 4) {
    call_.kernels.elementwise.f32(parameters, operands, n_, items);
  } else {
    call_.kernels.elementwise.f64(parameters, operands, n_, items);
  }
  return absl::OkStatus();
}

template <class T>
absl::Status Form<T>::ComputeRows() {
  RowBlock<T> block = {n_, static_cast<size_t>(call_.classes), nullptr, nullptr, nullptr, nullptr};
  absl::Status s = ReadRows(call_.operands[0], &buffers_->operands[0], &block.predictions);
  if (s.ok() && call_.operands[1].view) {
    s = ReadRows(call_.operands[1], &buffers_->operands[1], &block.targets);
  }
  if (s.ok()) s = ReadClassWeights();
  if (!s.ok()) return s;
  if (call_.labels.view) block.labels = buffers_->labels;
  block.class_weights = buffers_->class_weights.get();
  if constexpr (sizeof(T) == 4) {
    call_.kernels.rows.f32(call_.parameters.data(), block, buffers_->items[0].get());
  } else {
    call_.kernels.rows.f64(call_.parameters.data(), block, buffers_->items[0].get());
  }
  return absl::OkStatus();
}

template <class T>
absl::Status Form<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  first_ = first;
  n_ = static_cast<size_t>(n);
  absl::Status s = ReadWeights();
  if (s.ok()) s = ReadLabelsOfUnits();
  if (s.ok()) s = call_.rowwise() ? ComputeRows() : ComputeElements();
  if (!s.ok()) return s;

  *block = ItemBlock<T>();
  block->parts = call_.rowwise() ? 1 : call_.kernels.elementwise.parts;
  for (int part = 0; part < block->parts; ++part) block->items[part] = buffers_->items[part].get();
  block->n = n_ * items_per_unit();
  if (call_.sample_weight.view) block->weights = buffers_->weights.get();
  if (buffers_->any_ignored) block->ignored = buffers_->ignored;
  block->next = upcoming_;
  if (call_.class_weight_in_denominator && call_.class_weight.view) {
    if (buffers_->class_weights_of_items == nullptr) {
      buffers_->class_weights_of_items = Allocate<T>(static_cast<size_t>(max_units_));
    }
    for (size_t i = 0; i < n_; ++i) {
      buffers_->class_weights_of_items[i] =
          buffers_->class_weights[static_cast<size_t>(buffers_->labels[i])];
    }
    block->class_weights = buffers_->class_weights_of_items.get();
  }
  return absl::OkStatus();
}

template <class T>
bool Form<T>::AddInOnePass(int64_t first, int64_t n, LossSums* sums) {
  if constexpr (sizeof(T) == 8) return false;
  const OnePassKernel kernel = call_.kernels.elementwise.one_pass_f32;
  if (kernel == nullptr || n != static_cast<int64_t>(kBlockItems) || call_.sample_weight.view)
    return false;
  const float* operands[2];
  for (int i = 0; i < 2; ++i) {
    const Operand& operand = call_.operands[i];
    if (!InPlace(operand) || operand.values != ValueRule::kAny) return false;
    operands[i] = reinterpret_cast<const float*>(operand.view.Run(first, n, nullptr));
  }
  OnePassSum sum;
  sum.top = one_pass_top_;
  kernel(call_.parameters.data(), operands, static_cast<size_t>(n), &sum);
  // One binade to spare where the guess was too low; it is lowered only where it was too high to
  // prove anything.
  if (sum.measured_top > sum.top) {
    one_pass_top_ = sum.measured_top + 1;
  } else if (!sum.parts.exact) {
    one_pass_top_ = sum.measured_top;
  }
  if (!sum.parts.exact) return false;
  Add(sum.parts, &sums->parts[0]);
  sums->weight.Add(static_cast<double>(n));
  sums->items += n;
  return true;
}

template <class T>
void Form<T>::StoreItems(std::byte* values) const {
  const T* const weights = call_.sample_weight.view ? buffers_->weights.get() : nullptr;
  const size_t per_unit = items_per_unit();
  for (size_t i = 0; i < n_ * per_unit; ++i) {
    const bool ignored = (weights != nullptr && weights[i] == T(0)) ||
                         (buffers_->any_ignored && buffers_->ignored[i / per_unit] != 0);
    const T item = ignored ? T(0) : buffers_->items[0][i];
    const int64_t at =
        call_.ItemIndex(first_ * static_cast<int64_t>(per_unit) + static_cast<int64_t>(i));
    std::memcpy(values + static_cast<size_t>(at) * sizeof(T), &item, sizeof(T));
  }
}

template class Form<float>;
template class Form<double>;

}  // namespace lossd
