#include "lib/forms/classifier_gradient_form.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "lib/forms/angle_gradient.h"

namespace lossd {
namespace {

// The coefficients of a span, and its rows of the classifier: in the third level cache, or near it.
constexpr size_t kSpanBytes = 4 << 20;
// Classes of a chunk: their coefficients for a run of 1,024 rows stay in the second level cache.
constexpr size_t kMaxBlockClasses = 96;
// Strips of a chunk of the embeddings' gradient: short chunks, since there is one a panel of rows.
constexpr size_t kStripsTogether = 8;
// Ranges of classes among which the rows' labels are searched.
constexpr int64_t kTargetRanges = 16;

template <class T>
size_t ClassesOfSpan(size_t width, size_t rows, size_t block, size_t classes) {
  const size_t fitting = kSpanBytes / (std::max(width, rows) * sizeof(T)) / block * block;
  return std::min(std::max(fitting, block), RoundUp(classes, block));
}

template <class T>
void CanonicaliseNans(T* values, size_t n) {
  for (size_t i = 0; i < n; ++i)
    values[i] = values[i] != values[i] ? std::numeric_limits<T>::quiet_NaN() : values[i];
}

}  // namespace

template <class T>
ClassifierGradientForm<T>::ClassifierGradientForm(const FormCall& call,
                                                  const GradientCall& gradients)
    : ClassifierRows<T>(call),
      gradients_(gradients),
      block_classes_(ClassesOfBlock(RoundUp(this->width(), panel_rows_), sizeof(T),
                                    std::min<size_t>(kMaxBlockClasses, call.classes))),
      span_classes_(ClassesOfSpan<T>(RoundUp(this->width(), panel_rows_),
                                     static_cast<size_t>(this->max_units()), block_classes_,
                                     static_cast<size_t>(call.classes))) {
  const size_t rows = static_cast<size_t>(this->max_units());
  max_ = AllocateFor<T>(rows);
  factors_ = AllocateFor<T>(rows);
  target_factors_.resize(rows);
  v_strips_ = AllocateFor<T>(strips() * span_classes_ * panel_rows_);
  class_norms_.resize(span_classes_);
  coefficients_ = AllocateFor<T>(rows * span_classes_);
  // No more than there are: a row may be as long as a message.
  const size_t filled = std::min(rows, static_cast<size_t>(std::max<int64_t>(call.units, 1)));
  if (class_output() != nullptr) u_strips_ = AllocateFor<T>(strips() * filled * panel_rows_);
  if (row_output() != nullptr) row_gradients_ = AllocateFor<T>(filled * strips() * panel_rows_);
}

// ---- phases

template <class T>
void ClassifierGradientForm<T>::BeginSpan(int64_t first_class) {
  first_class_ = first_class;
  span_ = static_cast<size_t>(
      std::min(static_cast<int64_t>(span_classes_), call_.classes - first_class));
}

template <class T>
bool ClassifierGradientForm<T>::NextSpan() {
  if (first_class_ + static_cast<int64_t>(span_) == call_.classes) return false;
  BeginSpan(first_class_ + static_cast<int64_t>(span_));
  return true;
}

template <class T>
bool ClassifierGradientForm<T>::NextRun() {
  if (LastRun()) return false;
  run_ += this->max_units();
  return true;
}

template <class T>
typename ClassifierGradientForm<T>::Phase ClassifierGradientForm<T>::After(Phase phase) {
  switch (phase) {
    case Phase::kStart:
      if (call_.units > 0) return Phase::kRows;
      // Classes of which no rows speak.
      if (class_output() != nullptr)
        std::fill_n(class_output(), static_cast<size_t>(call_.classes) * this->width(), T(0));
      return Phase::kEnd;
    case Phase::kRows:
      BeginSpan(0);
      return Phase::kCoefficients;
    case Phase::kCoefficients:
      return Phase::kProducts;
    case Phase::kProducts:
      if (NextSpan()) return Phase::kCoefficients;
      if (row_output() != nullptr) return Phase::kStore;
      [[fallthrough]];
    case Phase::kStore:
      if (NextRun()) return Phase::kRows;
      if (class_output() == nullptr) return Phase::kEnd;
      // The rows of the only run are there.
      if (FirstRun()) return Phase::kTargets;
      run_ = 0;
      return Phase::kTargetRows;
    case Phase::kTargetRows:
      return Phase::kTargets;
    case Phase::kTargets:
      return NextRun() ? Phase::kTargetRows : Phase::kEnd;
    case Phase::kEnd:
      break;
  }
  return Phase::kEnd;
}

template <class T>
int64_t ClassifierGradientForm<T>::Chunks() const {
  const int64_t blocks = static_cast<int64_t>(Blocks());
  switch (phase_) {
    case Phase::kRows:
    case Phase::kTargetRows:
      return 1;
    case Phase::kCoefficients:
      return blocks;
    case Phase::kProducts:
      return (class_output() != nullptr ? blocks : 0) +
             (row_output() != nullptr ? static_cast<int64_t>(this->panels()) * StripRanges() : 0);
    case Phase::kStore:
      return static_cast<int64_t>(this->panels());
    case Phase::kTargets:
      return std::min(kTargetRanges, call_.classes);
    case Phase::kStart:
    case Phase::kEnd:
      break;
  }
  return 0;
}

template <class T>
int64_t ClassifierGradientForm<T>::NextPhase() {
  phase_ = After(phase_);
  return Chunks();
}

template <class T>
absl::Status ClassifierGradientForm<T>::RunChunk(int64_t chunk) {
  if (absl::Status s = this->CheckCancelled(); !s.ok()) return s;
  switch (phase_) {
    case Phase::kRows:
      return BeginRun(/*packs=*/true);
    case Phase::kTargetRows:
      return BeginRun(/*packs=*/false);
    case Phase::kCoefficients:
      return ComputeCoefficients(static_cast<size_t>(chunk));
    case Phase::kProducts: {
      // The longer chunks first.
      const int64_t of_classes = class_output() != nullptr ? static_cast<int64_t>(Blocks()) : 0;
      if (chunk < of_classes) {
        AddClassProducts(static_cast<size_t>(chunk));
      } else {
        AddRowProducts(chunk - of_classes);
      }
      return absl::OkStatus();
    }
    case Phase::kStore:
      return StoreRows(static_cast<size_t>(chunk));
    case Phase::kTargets:
      return AddTargets(chunk);
    case Phase::kStart:
    case Phase::kEnd:
      break;
  }
  return absl::OkStatus();
}

// ---- rows

template <class T>
absl::Status ClassifierGradientForm<T>::BeginRun(bool packs) {
  absl::Status s = this->BeginUnits(run_, std::min(this->max_units(), call_.units - run_));
  if (!s.ok()) return s;
  SetFactors();
  if (!packs) return absl::OkStatus();
  this->PackRows(factors_.get());
  if (class_output() != nullptr) PackStrips();
  if (row_output() != nullptr)
    std::fill_n(row_gradients_.get(), this->n() * strips() * panel_rows_, T(0));
  return absl::OkStatus();
}

template <class T>
void ClassifierGradientForm<T>::SetFactors() {
  const RowSoftmax* const softmaxes = call_.softmaxes->data() + run_;
  for (size_t row = 0; row < this->n(); ++row)
    this->items_[0][row] = static_cast<T>(softmaxes[row].item);
  const T* scales = this->Scales(gradients_);
  const size_t rows = this->panels() * panel_rows_;
  std::fill_n(factors_.get(), rows, T(0));
  std::fill_n(max_.get(), rows, T(0));
  for (size_t row = 0; row < this->n(); ++row) {
    const double scale = static_cast<double>(scales[row]) * this->scale_;
    max_[row] = static_cast<T>(softmaxes[row].max);
    if (scales[row] != T(0)) factors_[row] = static_cast<T>(scale * softmaxes[row].inverse_total);
    target_factors_[row] = scales[row] != T(0) ? -scale * softmaxes[row].others : 0;
  }
}

template <class T>
size_t ClassifierGradientForm<T>::WidthOf(size_t strip) const {
  return std::min(panel_rows_, this->width() - strip * panel_rows_);
}

template <class T>
void ClassifierGradientForm<T>::PackStrips() {
  T* to = u_strips_.get();
  for (size_t strip = 0; strip < strips(); ++strip) {
    const size_t width = WidthOf(strip);
    for (size_t row = 0; row < this->n(); ++row, to += panel_rows_) {
      std::memcpy(to, this->u(row) + strip * panel_rows_, width * sizeof(T));
      std::fill(to + width, to + panel_rows_, T(0));
    }
  }
}

// ---- a span of classes

template <class T>
size_t ClassifierGradientForm<T>::ClassesOf(size_t block) const {
  return std::min(block_classes_, span_ - block * block_classes_);
}

// What the rows take of each class of a block, but the true one.
template <class T>
absl::Status ClassifierGradientForm<T>::ComputeCoefficients(size_t block) {
  const size_t begin = block * block_classes_;
  const size_t classes = ClassesOf(block);
  const int64_t first_class = first_class_ + static_cast<int64_t>(begin);
  const size_t strip_size = span_classes_ * panel_rows_;
  T* const v = v_strips_.get() + begin * panel_rows_;
  const std::unique_ptr<T[]> of_class = AllocateFor<T>(strips() * panel_rows_);
  std::fill_n(of_class.get() + this->width(), strips() * panel_rows_ - this->width(), T(0));
  for (size_t c = 0; c < classes; ++c) {
    absl::Status s = this->ReadClass(first_class + static_cast<int64_t>(c), of_class.get(),
                                     &class_norms_[begin + c]);
    if (!s.ok()) return s;
    for (size_t strip = 0; strip < strips(); ++strip) {
      std::memcpy(v + strip * strip_size + c * panel_rows_, of_class.get() + strip * panel_rows_,
                  panel_rows_ * sizeof(T));
    }
  }
  const std::unique_ptr<T[]> part = AllocateFor<T>(this->PartSize());
  for (size_t p = 0; p < this->panels(); ++p) {
    T* const coefficients = coefficients_.get() + p * strip_size + begin * panel_rows_;
    Ahead ahead[2];
    this->LookAhead(p, first_class, classes, ahead);
    this->ComputeLogits(p, first_class, classes, {v, panel_rows_, panel_rows_, strip_size}, ahead,
                        part.get(), coefficients);
    const size_t row = p * panel_rows_;
    operations_.to_coefficients(coefficients, this->Vectors(p), classes, &max_[row],
                                &factors_[row]);
  }
  return absl::OkStatus();
}

template <class T>
int64_t ClassifierGradientForm<T>::StripRanges() const {
  return static_cast<int64_t>(CeilDiv(strips(), kStripsTogether));
}

// A strip of u or v, fetched while the one before is multiplied with `outputs` rows.
template <class T>
Ahead ClassifierGradientForm<T>::NextStrip(const T* strip, size_t depth, size_t outputs) const {
  return Spread(strip, strip + depth * panel_rows_,
                CeilDiv(outputs, kAheadClasses) * CeilDiv(depth, kAheadSteps));
}

// What the span adds to the gradients of a panel of rows, in a range of strips.
template <class T>
void ClassifierGradientForm<T>::AddRowProducts(int64_t chunk) {
  const size_t p = static_cast<size_t>(chunk / StripRanges());
  const size_t begin = static_cast<size_t>(chunk % StripRanges()) * kStripsTogether;
  const size_t end = std::min(strips(), begin + kStripsTogether);
  const size_t rows = this->RowsOfPanel(p);
  const T* const coefficients = coefficients_.get() + p * span_classes_ * panel_rows_;
  T* const gradients = row_gradients_.get() + p * panel_rows_ * strips() * panel_rows_;
  const size_t strip_size = span_classes_ * panel_rows_;
  for (size_t strip = begin; strip < end; ++strip) {
    const T* const v = v_strips_.get() + strip * strip_size;
    Ahead ahead[2];
    if (strip + 1 < strips()) ahead[0] = NextStrip(v + strip_size, span_, rows);
    operations_.add_row_gradients(coefficients, span_, v, rows, ahead,
                                  gradients + strip * rows * panel_rows_);
  }
}

// What the rows of the run add to the gradients of a block of classes, but through the true ones.
template <class T>
void ClassifierGradientForm<T>::AddClassProducts(size_t block) {
  const size_t begin = block * block_classes_;
  const size_t classes = ClassesOf(block);
  const T* const coefficients = coefficients_.get() + begin * panel_rows_;
  T* const output = class_output() + (static_cast<size_t>(first_class_) + begin) * this->width();
  const std::unique_ptr<T[]> sums = AllocateFor<T>(classes * panel_rows_);
  for (size_t strip = 0; strip < strips(); ++strip) {
    T* const of_strip = output + strip * panel_rows_;
    const size_t bytes = WidthOf(strip) * sizeof(T);
    std::fill_n(sums.get(), classes * panel_rows_, T(0));
    for (size_t c = 0; c < classes && !FirstRun(); ++c)
      std::memcpy(sums.get() + c * panel_rows_, of_strip + c * this->width(), bytes);
    const size_t strip_size = this->n() * panel_rows_;
    const T* const u = u_strips_.get() + strip * strip_size;
    Ahead ahead[2];
    if (strip + 1 < strips()) ahead[0] = NextStrip(u + strip_size, this->n(), classes);
    operations_.add_class_gradients(coefficients, span_classes_ * panel_rows_, classes, u,
                                    this->n(), ahead, sums.get());
    for (size_t c = 0; c < classes; ++c)
      std::memcpy(of_strip + c * this->width(), sums.get() + c * panel_rows_, bytes);
  }
  if (!LastRun()) return;
  const std::unique_ptr<T[]> unit = AllocateFor<T>(strips() * panel_rows_);
  for (size_t c = 0; c < classes; ++c)
    FinishClass(begin + c, unit.get(), output + c * this->width());
}

template <class T>
void ClassifierGradientForm<T>::FinishClass(size_t c, T* unit, T* output) const {
  if (this->loss().unit_classifier) {
    for (size_t strip = 0; strip < strips(); ++strip) {
      std::memcpy(unit + strip * panel_rows_,
                  v_strips_.get() + (strip * span_classes_ + c) * panel_rows_,
                  panel_rows_ * sizeof(T));
    }
    operations_.project(output, unit, class_norms_[c], this->width());
  }
  CanonicaliseNans(output, this->width());
}

// ---- the ends

template <class T>
absl::Status ClassifierGradientForm<T>::StoreRows(size_t p) {
  Target target(this->width());
  const size_t rows = this->RowsOfPanel(p);
  const T* const sums = row_gradients_.get() + p * panel_rows_ * strips() * panel_rows_;
  for (size_t row = 0; row < rows; ++row) {
    const size_t of_run = p * panel_rows_ + row;
    T* const output = row_output() + (static_cast<size_t>(run_) + of_run) * this->width();
    for (size_t strip = 0; strip < strips(); ++strip) {
      std::memcpy(output + strip * panel_rows_, sums + (strip * rows + row) * panel_rows_,
                  WidthOf(strip) * sizeof(T));
    }
    if (absl::Status s = StoreRow(of_run, &target, output); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// From the sum over the classes to the gradient of a row, with what the true class adds.
template <class T>
absl::Status ClassifierGradientForm<T>::StoreRow(size_t row, Target* target, T* output) {
  if (factors_[row] == T(0)) {
    std::fill_n(output, this->width(), T(0));
    return absl::OkStatus();
  }
  if (this->loss().unit_embeddings)
    operations_.project(output, this->u(row), this->row_norms_[row], this->width());
  if (absl::Status s = this->MeasureTarget(row, target); !s.ok()) return s;
  const TargetRow& measured = target->row;
  const double other_norm = this->loss().unit_classifier ? 1 : measured.w_norm;
  AddAngleGradient({target_factors_[row], target->value, target->slope, measured.cosine,
                    this->loss().unit_embeddings, measured.x_norm, other_norm},
                   measured.x, measured.w, this->width(), output);
  CanonicaliseNans(output, this->width());
  return absl::OkStatus();
}

// What the rows of the run add through their true classes, where those are of the range.
template <class T>
absl::Status ClassifierGradientForm<T>::AddTargets(int64_t range) {
  const int64_t ranges = Chunks();
  const int64_t step = (call_.classes + ranges - 1) / ranges;
  const int64_t begin = range * step;
  const int64_t end = begin + step;
  Target target(this->width());
  for (size_t row = 0; row < this->n(); ++row) {
    const int64_t label = this->labels()[row];
    if (label < begin || label >= end || factors_[row] == T(0)) continue;
    if (absl::Status s = this->MeasureTarget(row, &target); !s.ok()) return s;
    const TargetRow& measured = target.row;
    const double other_norm = this->loss().unit_embeddings ? 1 : measured.x_norm;
    T* const output = class_output() + static_cast<size_t>(label) * this->width();
    AddAngleGradient({target_factors_[row], target.value, target.slope, measured.cosine,
                      this->loss().unit_classifier, measured.w_norm, other_norm},
                     measured.w, measured.x, this->width(), output);
    CanonicaliseNans(output, this->width());
  }
  return absl::OkStatus();
}

template class ClassifierGradientForm<float>;
template class ClassifierGradientForm<double>;

}  // namespace lossd
