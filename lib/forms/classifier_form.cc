#include "lib/forms/classifier_form.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "lib/forms/angle_gradient.h"

namespace lossd {
namespace {

// Embeddings of a Run, and of classes of a block: with the rows of a panel they stay in the second
// level cache. A Run reads the whole classifier, so it has at least kMinRows rows.
constexpr size_t kRunBytes = 2 << 20;
constexpr size_t kBlockBytes = 640 << 10;
constexpr size_t kMinRows = 64;
// Numbers between the rows of a block, beyond the width: rows a power of two apart would share
// cache sets.
constexpr size_t kPadding = 16;
// Rows that are longer are packed a part at a time, whenever they are multiplied: a panel of them
// could be many times as large as the batch.
constexpr size_t kMaxPackedWidth = 8192;
// Panels whose coefficients are summed in one go for the gradient of a class.
constexpr size_t kPanelsTogether = 4;

template <class T>
const ClassifierOperations<T>& OperationsOf(const FormCall& call) {
  if constexpr (sizeof(T) == 4) {
    return *call.kernels.classifier.f32;
  } else {
    return *call.kernels.classifier.f64;
  }
}

size_t RoundUp(size_t n, size_t multiple) { return (n + multiple - 1) / multiple * multiple; }

// Whole panels, but no more of them than the batch has.
template <class T>
int64_t RowsPerRun(const FormCall& call) {
  const size_t width = std::max<size_t>(static_cast<size_t>(call.width), 1);
  const size_t fitting = std::clamp(kRunBytes / (width * sizeof(T)), kMinRows, kBlockItems);
  const size_t units = static_cast<size_t>(std::max<int64_t>(call.units, 1));
  const size_t rows = OperationsOf<T>(call).panel_rows;
  return static_cast<int64_t>(RoundUp(std::min(fitting, units), rows));
}

template <class T>
size_t ClassesPerBlock(const FormCall& call, size_t stride) {
  constexpr size_t kGranule = 12;  // a multiple of every kernel's tile
  const size_t fitting = kBlockBytes / (stride * sizeof(T)) / kGranule * kGranule;
  const size_t most = std::min(kClassifierChunk, static_cast<size_t>(call.classes));
  return std::clamp<size_t>(fitting, std::min(kGranule, most), most);
}

// From any address.
template <class T>
void Widen(const T* from, size_t n, double* to) {
  for (size_t i = 0; i < n; ++i) {
    T number;
    std::memcpy(&number, from + i, sizeof(T));
    to[i] = static_cast<double>(number);
  }
}

template <class T>
void CanonicaliseNans(T* values, size_t n) {
  for (size_t i = 0; i < n; ++i)
    if (values[i] != values[i]) values[i] = std::numeric_limits<T>::quiet_NaN();
}

}  // namespace

template <class T>
ClassifierForm<T>::ClassifierForm(const FormCall& call)
    : FormBase<T>(call, RowsPerRun<T>(call), 1),
      operations_(OperationsOf<T>(call)),
      panel_rows_(operations_.panel_rows),
      stride_(RoundUp(static_cast<size_t>(call.width), operations_.panel_rows) +
              RoundUp(kPadding, operations_.panel_rows)),
      block_classes_(ClassesPerBlock<T>(call, stride_)),
      scale_(loss().scale_parameter < 0
                 ? 1
                 : call.parameters[static_cast<size_t>(loss().scale_parameter)]),
      target_x_(width()),
      target_w_(width()) {
  const size_t rows = static_cast<size_t>(this->max_units());
  // No more than there are: a row may be as long as a message.
  const size_t filled = std::min(rows, static_cast<size_t>(std::max<int64_t>(call.units, 1)));
  u_ = AllocateFor<T>(filled * stride_);
  panels_ = AllocateFor<T>(PacksAtOnce() ? rows * width() : panel_rows_ * kMaxPackedWidth);
  row_norms_.resize(rows);
  // Zeros behind the width stay there.
  v_ = std::make_unique<T[]>(block_classes_ * stride_);
  class_norms_.resize(block_classes_);
  const size_t chunk = kClassifierChunk + kClassifierGroup;
  const bool one_block = block_classes_ >= std::min<size_t>(kClassifierChunk, call.classes);
  const size_t together = std::min(kPanelsTogether * panel_rows_, rows);
  logits_ = AllocateFor<T>(chunk * (one_block ? together : rows));
  max_ = AllocateFor<T>(rows);
  at_max_ = AllocateFor<T>(rows);
  rest_ = AllocateFor<T>(rows);
  label_row_ = AllocateFor<T>(width());
  factors_ = AllocateFor<T>(rows);
}

template <class T>
bool ClassifierForm<T>::PacksAtOnce() const {
  return width() <= kMaxPackedWidth;
}

template <class T>
size_t ClassifierForm<T>::panels() const {
  return (this->n() + panel_rows_ - 1) / panel_rows_;
}

// ---- reading

template <class T>
absl::Status ClassifierForm<T>::CheckAllLabels() {
  for (int64_t first = 0; first < call_.units; first += this->max_units()) {
    const int64_t n = std::min(this->max_units(), call_.units - first);
    if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::BeginUnits(int64_t first, int64_t n) {
  LabelCheck& check = *call_.label_check;
  std::call_once(check.once, [&] { check.status = CheckAllLabels(); });
  if (!check.status.ok()) return check.status;
  if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  return this->ReadWhole(call_.class_weight, &this->class_weights_);
}

template <class T>
absl::Status ClassifierForm<T>::ReadRows() {
  const Operand& operand = call_.operands[0];
  if (rows_read_ == nullptr && !this->InPlace(operand))
    rows_read_ = AllocateFor<T>(static_cast<size_t>(this->max_units()) * width());
  return this->ReadChecked(operand, this->first() * call_.width, this->n() * width(),
                           rows_read_.get(), &rows_);
}

template <class T>
void ClassifierForm<T>::PackRows(const T* factors) {
  for (size_t row = 0; row < this->n(); ++row) {
    T* const to = u_.get() + row * stride_;
    const bool used = factors == nullptr || factors[row] != T(0);
    const size_t filled = used ? width() : 0;
    std::fill(to + filled, to + stride_, T(0));
    if (!used) continue;
    std::memcpy(to, rows_ + row * width(), width() * sizeof(T));
    row_norms_[row] = loss().unit_embeddings ? operations_.normalise(to, width()) : 1;
  }
  if (!PacksAtOnce()) return;
  for (size_t p = 0; p < panels(); ++p) {
    PackPanel(p, 0, width(), panels_.get() + p * panel_rows_ * width());
  }
}

// Dimensions [first, first + n) of the rows of a panel, zeros for rows beyond the last.
template <class T>
void ClassifierForm<T>::PackPanel(size_t p, size_t first, size_t n, T* to) const {
  const size_t rows = std::min(panel_rows_, this->n() - p * panel_rows_);
  const T* const from = u(p * panel_rows_) + first;
  for (size_t i = 0; i < n; ++i, to += panel_rows_) {
    for (size_t row = 0; row < rows; ++row) to[row] = from[row * stride_ + i];
    std::fill(to + rows, to + panel_rows_, T(0));
  }
}

template <class T>
absl::Status ClassifierForm<T>::LoadClasses(int64_t first, size_t n) {
  if (cancelled()) return absl::CancelledError("the call was cancelled");
  for (size_t c = 0; c < n; ++c) {
    T* const row = v_.get() + c * stride_;
    const T* read = nullptr;
    absl::Status s = this->ReadChecked(call_.table, (first + static_cast<int64_t>(c)) * call_.width,
                                       width(), row, &read);
    if (!s.ok()) return s;
    if (read != row) std::memcpy(row, read, width() * sizeof(T));
    class_norms_[c] = loss().unit_classifier ? operations_.normalise(row, width()) : 1;
  }
  return absl::OkStatus();
}

// ---- items

template <class T>
void ClassifierForm<T>::ComputeLogits(size_t p, int64_t first_class, size_t classes, T* logits) {
  if (PacksAtOnce()) {
    const T* panel = panels_.get() + p * panel_rows_ * width();
    operations_.multiply(panel, width(), v_.get(), stride_, classes, false, logits);
  } else {
    for (size_t i = 0; i < width(); i += kMaxPackedWidth) {
      const size_t n = std::min(kMaxPackedWidth, width() - i);
      PackPanel(p, i, n, panels_.get());
      operations_.multiply(panels_.get(), n, v_.get() + i, stride_, classes, i > 0, logits);
    }
  }
  const T* bias = this->class_weights_.get();
  operations_.finish_logits(logits, classes, static_cast<T>(scale_),
                            loss().unit_embeddings && loss().unit_classifier,
                            bias != nullptr ? bias + first_class : nullptr);
}

// Takes the true classes out of logits: their own logits come apart.
template <class T>
void ClassifierForm<T>::MaskTargets(size_t p, int64_t first_class, size_t classes,
                                    T* logits) const {
  const size_t rows = std::min(panel_rows_, this->n() - p * panel_rows_);
  for (size_t row = 0; row < rows; ++row) {
    const int64_t c = this->labels()[p * panel_rows_ + row] - first_class;
    if (c < 0 || c >= static_cast<int64_t>(classes)) continue;
    logits[static_cast<size_t>(c) * panel_rows_ + row] = -std::numeric_limits<T>::infinity();
  }
}

// One chunk of the log-sum-exp, in blocks as large as v_.
template <class T>
absl::Status ClassifierForm<T>::AddClasses(int64_t first_class, size_t classes) {
  const bool one_block = classes <= block_classes_;
  for (size_t done = 0; done < classes; done += block_classes_) {
    const size_t n = std::min(block_classes_, classes - done);
    const int64_t first = first_class + static_cast<int64_t>(done);
    if (absl::Status s = LoadClasses(first, n); !s.ok()) return s;
    for (size_t p = 0; p < panels(); ++p) {
      const size_t chunk = (kClassifierChunk + kClassifierGroup) * panel_rows_;
      T* const logits = logits_.get() + (one_block ? 0 : p * chunk);
      ComputeLogits(p, first, n, logits + done * panel_rows_);
      if (done + n < classes) continue;
      MaskTargets(p, first_class, classes, logits);
      const size_t row = p * panel_rows_;
      operations_.add_chunk(logits, classes, {&max_[row], &at_max_[row], &rest_[row]});
    }
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::MeasureTarget(const T* row, int64_t label, TargetLogit* target) {
  const T* label_row = nullptr;
  absl::Status s =
      this->ReadChecked(call_.table, label * call_.width, width(), label_row_.get(), &label_row);
  if (!s.ok()) return s;
  target_.x = target_x_.data();
  target_.w = target_w_.data();
  Widen(row, width(), target_.x);
  Widen(label_row, width(), target_.w);
  operations_.measure_target(width(), loss().unit_embeddings, loss().wants_sine, &target_);
  *target = {0, target_.cosine, 1};
  if (loss().margin != nullptr) {
    const Margin margin = loss().margin(call_.parameters.data(), target_.cosine, target_.sine);
    target->value = margin.value;
    target->slope = margin.slope;
  }
  if (loss().margin == nullptr && !loss().unit_classifier) {
    // Not by the angle, which an infinite number leaves without meaning.
    target->logit = scale_ * target_.product;
  } else {
    target->logit = scale_ * target->value;
    if (!loss().unit_embeddings) target->logit *= target_.x_norm;
    if (!loss().unit_classifier) target->logit *= target_.w_norm;
  }
  const T* bias = this->class_weights_.get();
  if (bias != nullptr) target->logit += static_cast<double>(bias[label]);
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::FinishRows() {
  softmaxes_.resize(this->n());
  for (size_t row = 0; row < this->n(); ++row) {
    TargetLogit target;
    absl::Status s = MeasureTarget(rows_ + row * width(), this->labels()[row], &target);
    if (!s.ok()) return s;
    softmaxes_[row] = operations_.finish_row(max_[row], at_max_[row], rest_[row], target.logit);
    this->items_[0][row] = static_cast<T>(softmaxes_[row].item);
  }
  if (call_.softmaxes != nullptr)
    std::copy(softmaxes_.begin(), softmaxes_.end(), call_.softmaxes->begin() + this->first());
  return absl::OkStatus();
}

// The softmaxes and items of the units of the last Begin.
template <class T>
absl::Status ClassifierForm<T>::Forward() {
  if (absl::Status s = ReadRows(); !s.ok()) return s;
  PackRows(nullptr);
  const size_t rows = panels() * panel_rows_;
  std::fill_n(max_.get(), rows, -std::numeric_limits<T>::infinity());
  std::fill_n(at_max_.get(), rows, T(0));
  std::fill_n(rest_.get(), rows, T(0));
  const int64_t chunk = static_cast<int64_t>(kClassifierChunk);
  for (int64_t first = 0; first < call_.classes; first += chunk) {
    absl::Status s = AddClasses(first, static_cast<size_t>(std::min(chunk, call_.classes - first)));
    if (!s.ok()) return s;
  }
  return FinishRows();
}

template <class T>
absl::Status ClassifierForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  absl::Status s = BeginUnits(first, n);
  if (s.ok()) s = Forward();
  if (s.ok()) this->End(Upcoming(), block);
  return s;
}

// ---- gradients

template <class T>
absl::Status ClassifierForm<T>::BeginGradients(int64_t first, int64_t n,
                                               const GradientCall& gradients) {
  if (absl::Status s = BeginUnits(first, n); !s.ok()) return s;
  if (call_.softmaxes == nullptr) {
    if (absl::Status s = Forward(); !s.ok()) return s;
  } else {
    if (absl::Status s = ReadRows(); !s.ok()) return s;
    softmaxes_.assign(call_.softmaxes->begin() + first, call_.softmaxes->begin() + first + n);
    for (size_t row = 0; row < this->n(); ++row)
      this->items_[0][row] = static_cast<T>(softmaxes_[row].item);
  }
  const T* scales = this->Scales(gradients);
  target_factors_.resize(this->n());
  const size_t rows = panels() * panel_rows_;
  std::fill_n(factors_.get(), rows, T(0));
  std::fill_n(max_.get(), rows, T(0));
  for (size_t row = 0; row < this->n(); ++row) {
    const RowSoftmax& softmax = softmaxes_[row];
    const double scale = static_cast<double>(scales[row]) * scale_;
    max_[row] = static_cast<T>(softmax.max);
    if (scales[row] != T(0)) factors_[row] = static_cast<T>(scale * softmax.inverse_total);
    target_factors_[row] = scales[row] != T(0) ? -scale * softmax.others : 0;
  }
  PackRows(factors_.get());
  return absl::OkStatus();
}

// What the rows of a panel take of each class, but the true one.
template <class T>
void ClassifierForm<T>::ComputeCoefficients(size_t p, int64_t first_class, size_t classes,
                                            T* coefficients) {
  ComputeLogits(p, first_class, classes, coefficients);
  MaskTargets(p, first_class, classes, coefficients);
  const size_t row = p * panel_rows_;
  operations_.to_coefficients(coefficients, classes, &max_[row], &factors_[row]);
}

template <class T>
absl::Status ClassifierForm<T>::AddRowGradients(int64_t first_class, size_t classes) {
  if (absl::Status s = LoadClasses(first_class, classes); !s.ok()) return s;
  for (size_t p = 0; p < panels(); ++p) {
    ComputeCoefficients(p, first_class, classes, logits_.get());
    const size_t row = p * panel_rows_;
    operations_.add_row_gradients(logits_.get(), classes, v_.get(), stride_, width(),
                                  std::min(panel_rows_, this->n() - row),
                                  row_gradients_.get() + row * stride_);
  }
  return absl::OkStatus();
}

// The row's gradient with what the true class adds.
template <class T>
absl::Status ClassifierForm<T>::StoreRowGradient(size_t row, T* output) {
  if (factors_[row] == T(0)) {
    std::fill_n(output, width(), T(0));
    return absl::OkStatus();
  }
  std::memcpy(output, row_gradients_.get() + row * stride_, width() * sizeof(T));
  if (loss().unit_embeddings) operations_.project(output, u(row), row_norms_[row], width());
  TargetLogit target;
  absl::Status s = MeasureTarget(rows_ + row * width(), this->labels()[row], &target);
  if (!s.ok()) return s;
  const double other_norm = loss().unit_classifier ? 1 : target_.w_norm;
  AddAngleGradient({target_factors_[row], target.value, target.slope, target_.cosine,
                    loss().unit_embeddings, target_.x_norm, other_norm},
                   target_.x, target_.w, width(), output);
  CanonicaliseNans(output, width());
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::RunGradients(int64_t first, int64_t n,
                                             const GradientCall& gradients) {
  if (absl::Status s = BeginGradients(first, n, gradients); !s.ok()) return s;
  if (row_gradients_ == nullptr) {
    row_gradients_ =
        AllocateFor<T>(static_cast<size_t>(std::min(this->max_units(), call_.units)) * stride_);
  }
  std::fill_n(row_gradients_.get(), this->n() * stride_, T(0));
  const int64_t block = static_cast<int64_t>(block_classes_);
  for (int64_t c = 0; c < call_.classes; c += block) {
    absl::Status s = AddRowGradients(c, static_cast<size_t>(std::min(block, call_.classes - c)));
    if (!s.ok()) return s;
  }
  T* const output = reinterpret_cast<T*>(gradients.outputs[0]) + first * call_.width;
  for (size_t row = 0; row < this->n(); ++row) {
    if (absl::Status s = StoreRowGradient(row, output + row * width()); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// What the rows of the last Begin add, but through their true classes.
template <class T>
absl::Status ClassifierForm<T>::AddTableGradients(int64_t first_class, size_t classes,
                                                  bool first_rows, T* output) {
  if (absl::Status s = LoadClasses(first_class, classes); !s.ok()) return s;
  T* const sums = class_gradients_.get();
  std::fill_n(sums, classes * stride_, T(0));
  for (size_t c = 0; c < classes && !first_rows; ++c)
    std::memcpy(sums + c * stride_, output + c * width(), width() * sizeof(T));
  const size_t step = (kClassifierChunk + kClassifierGroup) * panel_rows_;
  for (size_t first_panel = 0; first_panel < panels(); first_panel += kPanelsTogether) {
    const size_t last_panel = std::min(panels(), first_panel + kPanelsTogether);
    for (size_t p = first_panel; p < last_panel; ++p) {
      ComputeCoefficients(p, first_class, classes, logits_.get() + (p - first_panel) * step);
    }
    const size_t row = first_panel * panel_rows_;
    const size_t rows = std::min(last_panel * panel_rows_, this->n()) - row;
    operations_.add_class_gradients(logits_.get(), step, classes, u(row), stride_, width(), rows,
                                    sums);
  }
  for (size_t c = 0; c < classes; ++c)
    std::memcpy(output + c * width(), sums + c * stride_, width() * sizeof(T));
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::FinishTableGradients(int64_t first_class, size_t classes,
                                                     T* output) {
  if (!loss().unit_classifier) return absl::OkStatus();
  if (absl::Status s = LoadClasses(first_class, classes); !s.ok()) return s;
  for (size_t c = 0; c < classes; ++c) {
    operations_.project(output + c * width(), v_.get() + c * stride_, class_norms_[c], width());
  }
  return absl::OkStatus();
}

// What the rows of the last Begin add through their true classes.
template <class T>
absl::Status ClassifierForm<T>::AddTargetsToTable(int64_t begin, int64_t end, T* output) {
  for (size_t row = 0; row < this->n(); ++row) {
    const int64_t label = this->labels()[row];
    if (label < begin || label >= end || factors_[row] == T(0)) continue;
    TargetLogit target;
    if (absl::Status s = MeasureTarget(rows_ + row * width(), label, &target); !s.ok()) return s;
    const double other_norm = loss().unit_embeddings ? 1 : target_.x_norm;
    AddAngleGradient({target_factors_[row], target.value, target.slope, target_.cosine,
                      loss().unit_classifier, target_.w_norm, other_norm},
                     target_.w, target_.x, width(),
                     output + static_cast<size_t>(label - begin) * width());
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::RunTableGradients(int64_t begin, int64_t end,
                                                  const GradientCall& gradients) {
  if (class_gradients_ == nullptr) class_gradients_ = AllocateFor<T>(block_classes_ * stride_);
  T* const output = reinterpret_cast<T*>(gradients.outputs[kTableGradient]) + begin * call_.width;
  const size_t size = static_cast<size_t>(end - begin) * width();
  if (call_.units == 0) std::fill_n(output, size, T(0));
  const auto for_blocks = [&](auto use) {
    const int64_t block = static_cast<int64_t>(block_classes_);
    for (int64_t c = begin; c < end; c += block) {
      absl::Status s = use(c, static_cast<size_t>(std::min(block, end - c)),
                           output + static_cast<size_t>(c - begin) * width());
      if (!s.ok()) return s;
    }
    return absl::OkStatus();
  };
  const auto for_rows = [&](auto use) {
    for (int64_t first = 0; first < call_.units; first += this->max_units()) {
      const int64_t n = std::min(this->max_units(), call_.units - first);
      absl::Status s = BeginGradients(first, n, gradients);
      if (s.ok()) s = use(first);
      if (!s.ok()) return s;
    }
    return absl::OkStatus();
  };
  absl::Status s = for_rows([&](int64_t first) {
    return for_blocks(
        [&](int64_t c, size_t n, T* to) { return AddTableGradients(c, n, first == 0, to); });
  });
  if (s.ok()) {
    s = for_blocks([&](int64_t c, size_t n, T* to) { return FinishTableGradients(c, n, to); });
  }
  if (s.ok()) s = for_rows([&](int64_t) { return AddTargetsToTable(begin, end, output); });
  CanonicaliseNans(output, size);
  return s;
}

template class ClassifierForm<float>;
template class ClassifierForm<double>;

}  // namespace lossd
