#include "lib/forms/classifier_rows.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace lossd {
namespace {

// Embeddings of a run, and of classes of a block: with the rows of a panel the block stays in the
// second level cache. A run reads the whole classifier, so it has at least kMinRows rows.
constexpr size_t kRunBytes = 4 << 20;
constexpr size_t kBlockBytes = 640 << 10;
constexpr size_t kMinRows = 64;
// Rows that are longer are packed a part at a time, whenever they are multiplied: a panel of them
// could be many times as large as the batch.
constexpr size_t kMaxPackedWidth = 8192;
constexpr size_t kCacheLine = 64;

template <class T>
const ClassifierOperations<T>& OperationsOf(const FormCall& call) {
  if constexpr (sizeof(T) == 4) {
    return *call.kernels.classifier.f32;
  } else {
    return *call.kernels.classifier.f64;
  }
}

// Whole panels, but no more of them than the batch has.
template <class T>
int64_t RowsPerRun(const FormCall& call) {
  const size_t width = std::max<size_t>(static_cast<size_t>(call.width), 1);
  const size_t fitting = std::clamp(kRunBytes / (width * sizeof(T)), kMinRows, kBlockItems);
  const size_t units = static_cast<size_t>(std::max<int64_t>(call.units, 1));
  const size_t rows = OperationsOf<T>(call).panel_rows;
  return static_cast<int64_t>(RoundUp(std::min(fitting, units), rows));
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

}  // namespace

Ahead Spread(const void* begin, const void* end, size_t groups) {
  Ahead ahead;
  ahead.next = static_cast<const std::byte*>(begin);
  ahead.end = static_cast<const std::byte*>(end);
  ahead.lines = CeilDiv(static_cast<size_t>(ahead.end - ahead.next), groups * kCacheLine);
  return ahead;
}

size_t ClassesOfBlock(size_t width, size_t number_bytes, size_t most) {
  const size_t fitting = kBlockBytes / (width * number_bytes) / kAheadClasses * kAheadClasses;
  return std::clamp<size_t>(fitting, std::min(kAheadClasses, most), most);
}

template <class T>
ClassifierRows<T>::Target::Target(size_t width) : x(width), w(width), read(AllocateFor<T>(width)) {
  row.x = x.data();
  row.w = w.data();
}

template <class T>
ClassifierRows<T>::ClassifierRows(const FormCall& call)
    : FormBase<T>(call, RowsPerRun<T>(call), 1),
      operations_(OperationsOf<T>(call)),
      panel_rows_(operations_.panel_rows),
      scale_(loss().scale_parameter < 0
                 ? 1
                 : call.parameters[static_cast<size_t>(loss().scale_parameter)]) {
  const size_t rows = static_cast<size_t>(this->max_units());
  // No more than there are: a row may be as long as a message.
  const size_t filled = std::min(rows, static_cast<size_t>(std::max<int64_t>(call.units, 1)));
  u_ = AllocateFor<T>(filled * width());
  if (PacksAtOnce()) panels_ = AllocateFor<T>(rows * width());
  row_norms_.resize(rows);
}

template <class T>
bool ClassifierRows<T>::PacksAtOnce() const {
  return width() <= kMaxPackedWidth;
}

template <class T>
size_t ClassifierRows<T>::PartSize() const {
  return PacksAtOnce() ? 0 : panel_rows_ * kMaxPackedWidth;
}

template <class T>
size_t ClassifierRows<T>::RowsOfPanel(size_t p) const {
  return std::min(panel_rows_, this->n() - p * panel_rows_);
}

template <class T>
absl::Status ClassifierRows<T>::CheckCancelled() const {
  if (token_ != nullptr && token_->cancelled())
    return absl::CancelledError("the call was cancelled");
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierRows<T>::CheckAllLabels() {
  for (int64_t first = 0; first < call_.units; first += this->max_units()) {
    const int64_t n = std::min(this->max_units(), call_.units - first);
    if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierRows<T>::BeginUnits(int64_t first, int64_t n) {
  LabelCheck& check = *call_.label_check;
  std::call_once(check.once, [&] { check.status = CheckAllLabels(); });
  if (!check.status.ok()) return check.status;
  if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  if (absl::Status s = this->ReadWhole(call_.class_weight, &this->class_weights_); !s.ok())
    return s;
  return ReadRows();
}

template <class T>
absl::Status ClassifierRows<T>::ReadRows() {
  const Operand& operand = call_.operands[0];
  if (rows_read_ == nullptr && !this->InPlace(operand))
    rows_read_ = AllocateFor<T>(static_cast<size_t>(this->max_units()) * width());
  return this->ReadChecked(operand, this->first() * call_.width, this->n() * width(),
                           rows_read_.get(), &rows_);
}

template <class T>
void ClassifierRows<T>::PackRows(const T* factors) {
  for (size_t row = 0; row < this->n(); ++row) {
    T* const to = u_.get() + row * width();
    if (factors != nullptr && factors[row] == T(0)) {
      std::fill_n(to, width(), T(0));
      continue;
    }
    std::memcpy(to, rows_ + row * width(), width() * sizeof(T));
    row_norms_[row] = loss().unit_embeddings ? operations_.normalise(to, width()) : 1;
  }
  if (!PacksAtOnce()) return;
  for (size_t p = 0; p < panels(); ++p) {
    PackPanel(p, 0, width(), panels_.get() + p * panel_rows_ * width());
  }
}

// Dimensions [first, first + n) of the rows of panel p.
template <class T>
void ClassifierRows<T>::PackPanel(size_t p, size_t first, size_t n, T* to) const {
  const size_t rows = RowsOfPanel(p);
  const size_t step = Vectors(p) * operations_.lanes;
  const T* const from = u(p * panel_rows_) + first;
  for (size_t i = 0; i < n; ++i, to += step) {
    for (size_t row = 0; row < rows; ++row) to[row] = from[row * width() + i];
    std::fill(to + rows, to + step, T(0));
  }
}

template <class T>
absl::Status ClassifierRows<T>::ReadClass(int64_t c, T* row, double* norm) const {
  const T* read = nullptr;
  absl::Status s = this->ReadChecked(call_.table, c * call_.width, width(), row, &read);
  if (!s.ok()) return s;
  if (read != row) std::memcpy(row, read, width() * sizeof(T));
  *norm = loss().unit_classifier ? operations_.normalise(row, width()) : 1;
  return absl::OkStatus();
}

template <class T>
void ClassifierRows<T>::ComputeLogits(size_t p, int64_t first_class, size_t classes,
                                      const SegmentedRows<T>& v, const Ahead (&ahead)[2], T* part,
                                      T* logits) const {
  const size_t vectors = Vectors(p);
  if (PacksAtOnce()) {
    const T* panel = panels_.get() + p * panel_rows_ * width();
    operations_.multiply(panel, vectors, width(), v, classes, false, ahead, logits);
  } else {
    // A part begins a segment, or all lie in one.
    for (size_t i = 0; i < width(); i += kMaxPackedWidth) {
      const size_t n = std::min(kMaxPackedWidth, width() - i);
      PackPanel(p, i, n, part);
      SegmentedRows<T> from = v;
      from.numbers += i / v.segment * v.segment_step + i % v.segment;
      operations_.multiply(part, vectors, n, from, classes, i > 0, ahead, logits);
    }
  }
  const T* bias = this->class_weights_.get();
  operations_.finish_logits(logits, vectors, classes, static_cast<T>(scale_),
                            loss().unit_embeddings && loss().unit_classifier,
                            bias != nullptr ? bias + first_class : nullptr);
  MaskTargets(p, first_class, classes, logits);
}

template <class T>
const std::byte* ClassifierRows<T>::TableRow(int64_t c) const {
  const TensorView& table = call_.table.view;
  return table.Run(0, table.elements(), nullptr) +
         static_cast<size_t>(std::min(c, call_.classes)) * width() * ByteSize(table.dtype());
}

template <class T>
void ClassifierRows<T>::LookAhead(size_t p, int64_t first_class, size_t classes,
                                  Ahead (&ahead)[2]) const {
  const size_t groups = CeilDiv(classes, kAheadClasses) * CeilDiv(width(), kAheadSteps);
  if (panels() > 1 && PacksAtOnce()) {
    const size_t size = panel_rows_ * width();
    const T* next = panels_.get() + (p + 1 < panels() ? p + 1 : 0) * size;
    ahead[0] = Spread(next, next + size, groups);
  }
  if (!call_.table.view.contiguous()) return;
  const int64_t next_class = first_class + static_cast<int64_t>(classes);
  const Ahead block = Spread(TableRow(next_class),
                             TableRow(next_class + (next_class - first_class)), groups * panels());
  if (block.lines == 0) return;
  const size_t panel_bytes = groups * block.lines * kCacheLine;
  const size_t idle = panels() - CeilDiv(static_cast<size_t>(block.end - block.next), panel_bytes);
  if (p < idle) return;
  ahead[1] = block;
  ahead[1].next += (p - idle) * panel_bytes;
  if (ahead[1].end - ahead[1].next > static_cast<std::ptrdiff_t>(panel_bytes))
    ahead[1].end = ahead[1].next + panel_bytes;
}

template <class T>
void ClassifierRows<T>::MaskTargets(size_t p, int64_t first_class, size_t classes,
                                    T* logits) const {
  for (size_t row = 0; row < RowsOfPanel(p); ++row) {
    const int64_t c = this->labels()[p * panel_rows_ + row] - first_class;
    if (c < 0 || c >= static_cast<int64_t>(classes)) continue;
    logits[static_cast<size_t>(c) * panel_rows_ + row] = -std::numeric_limits<T>::infinity();
  }
}

template <class T>
absl::Status ClassifierRows<T>::MeasureTarget(size_t row, Target* target) const {
  const int64_t label = this->labels()[row];
  const T* label_row = nullptr;
  absl::Status s =
      this->ReadChecked(call_.table, label * call_.width, width(), target->read.get(), &label_row);
  if (!s.ok()) return s;
  TargetRow& measured = target->row;
  Widen(rows_ + row * width(), width(), measured.x);
  Widen(label_row, width(), measured.w);
  operations_.measure_target(width(), loss().unit_embeddings, loss().wants_sine, &measured);
  target->value = measured.cosine;
  target->slope = 1;
  if (loss().margin != nullptr) {
    const Margin margin = loss().margin(call_.parameters.data(), measured.cosine, measured.sine);
    target->value = margin.value;
    target->slope = margin.slope;
  }
  if (loss().margin == nullptr && !loss().unit_classifier) {
    // Not by the angle, which an infinite number leaves without meaning.
    target->logit = scale_ * measured.product;
  } else {
    target->logit = scale_ * target->value;
    if (!loss().unit_embeddings) target->logit *= measured.x_norm;
    if (!loss().unit_classifier) target->logit *= measured.w_norm;
  }
  const T* bias = this->class_weights_.get();
  if (bias != nullptr) target->logit += static_cast<double>(bias[label]);
  return absl::OkStatus();
}

template class ClassifierRows<float>;
template class ClassifierRows<double>;

}  // namespace lossd
