#include "lib/forms/classifier_form.h"

#include <algorithm>
#include <limits>

namespace lossd {
namespace {

// Numbers between the rows of a block, beyond the width: rows a power of two apart would share
// cache sets.
constexpr size_t kPadding = 16;
// The sums of all chunks of a call whose classes are spread over threads.
constexpr size_t kMaxClassSumsBytes = 16 << 20;
constexpr int64_t kTile = static_cast<int64_t>(kThinClasses);
constexpr int64_t kChunk = static_cast<int64_t>(kClassifierChunk);

template <class T>
void StartSums(const PanelSums<T>& sums, size_t rows) {
  std::fill_n(sums.max, rows, -std::numeric_limits<T>::infinity());
  std::fill_n(sums.at_max, rows, T(0));
  std::fill_n(sums.rest, rows, T(0));
}

}  // namespace

int64_t ClassChunks(const FormCall& call) { return (call.classes + kChunk - 1) / kChunk; }

template <class T>
ClassifierForm<T>::ClassifierForm(const FormCall& call)
    : ClassifierRows<T>(call),
      in_place_(ReadsInPlace()),
      stride_(RoundUp(this->width(), kPadding) + kPadding),
      block_classes_(in_place_ ? std::min<size_t>(kClassifierChunk, call.classes)
                               : ClassesOfBlock(stride_, sizeof(T),
                                                std::min<size_t>(kClassifierChunk, call.classes))),
      target_(this->width()) {
  const size_t rows = static_cast<size_t>(this->max_units());
  if (!in_place_) v_ = AllocateFor<T>(block_classes_ * stride_);
  part_ = AllocateFor<T>(this->PartSize());
  const bool one_block = block_classes_ >= std::min<size_t>(kClassifierChunk, call.classes);
  logits_ =
      AllocateFor<T>((kClassifierChunk + kClassifierGroup) * (one_block ? panel_rows_ : rows));
  max_ = AllocateFor<T>(rows);
  at_max_ = AllocateFor<T>(rows);
  rest_ = AllocateFor<T>(rows);
}

// Where rows are so few that copying the classifier, even from cache to cache, would show, and the
// tile is small enough to read it where it lies.
template <class T>
bool ClassifierForm<T>::ReadsInPlace() const {
  if (static_cast<size_t>(call_.units) > operations_.lanes || this->loss().unit_classifier ||
      !this->InPlace(call_.table))
    return false;
  const std::byte* const begin = call_.table.view.Run(0, call_.table.view.elements(), nullptr);
  return reinterpret_cast<uintptr_t>(begin) % alignof(T) == 0;
}

template <class T>
absl::Status ClassifierForm<T>::LoadClasses(int64_t first, size_t n, SegmentedRows<T>* v) {
  if (absl::Status s = this->CheckCancelled(); !s.ok()) return s;
  if (in_place_) {
    *v = {nullptr, this->width(), this->width(), this->width()};
    const size_t size = n * this->width();
    return this->ReadChecked(call_.table, first * call_.width, size, nullptr, &v->numbers);
  }
  *v = {v_.get(), stride_, this->width(), this->width()};
  double norm;
  for (size_t c = 0; c < n; ++c) {
    absl::Status s =
        this->ReadClass(first + static_cast<int64_t>(c), v_.get() + c * stride_, &norm);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

// In place the rows come a tile ahead.
template <class T>
void ClassifierForm<T>::LookAheadInPlace(int64_t first_class, size_t classes,
                                         Ahead (&ahead)[2]) const {
  ahead[0] = Spread(this->TableRow(first_class + kTile), this->TableRow(first_class + 2 * kTile),
                    CeilDiv(this->width(), kAheadSteps));
  ahead[0].end = this->TableRow(first_class + static_cast<int64_t>(classes) + kTile);
}

// One chunk of the log-sum-exp, in blocks as large as v_.
template <class T>
absl::Status ClassifierForm<T>::AddChunk(int64_t chunk, const PanelSums<T>& sums) {
  const int64_t first_class = chunk * kChunk;
  const size_t classes = static_cast<size_t>(std::min(kChunk, call_.classes - first_class));
  const bool one_block = classes <= block_classes_;
  for (size_t done = 0; done < classes; done += block_classes_) {
    const size_t n = std::min(block_classes_, classes - done);
    const int64_t first = first_class + static_cast<int64_t>(done);
    SegmentedRows<T> v;
    if (absl::Status s = LoadClasses(first, n, &v); !s.ok()) return s;
    for (size_t p = 0; p < this->panels(); ++p) {
      const size_t of_panel = (kClassifierChunk + kClassifierGroup) * panel_rows_;
      T* const logits = logits_.get() + (one_block ? 0 : p * of_panel);
      Ahead ahead[2];
      if (in_place_) {
        LookAheadInPlace(first, n, ahead);
      } else {
        this->LookAhead(p, first, n, ahead);
      }
      this->ComputeLogits(p, first, n, v, ahead, part_.get(), logits + done * panel_rows_);
      if (done + n < classes) continue;
      const size_t row = p * panel_rows_;
      operations_.add_chunk(logits, this->Vectors(p), classes,
                            {sums.max + row, sums.at_max + row, sums.rest + row});
    }
  }
  return absl::OkStatus();
}

// ---- classes spread over threads

// [chunks][3][units], and a panel behind them that the last rows' vectors may read.
template <class T>
size_t ClassifierForm<T>::ClassSumsSize() const {
  if (call_.units > this->max_units()) return 0;
  const size_t chunks = static_cast<size_t>(ClassChunks(call_));
  const size_t chunk_bytes = 3 * RoundUp(static_cast<size_t>(call_.units), panel_rows_) * sizeof(T);
  const size_t behind = panel_rows_ * sizeof(T);
  return chunks <= kMaxClassSumsBytes / chunk_bytes ? chunks * chunk_bytes + behind : 0;
}

template <class T>
PanelSums<T> ClassifierForm<T>::SumsOfChunk(int64_t chunk) const {
  const size_t rows = RoundUp(static_cast<size_t>(call_.units), panel_rows_);
  T* const sums =
      reinterpret_cast<T*>(call_.class_sums->data()) + static_cast<size_t>(chunk) * 3 * rows;
  return {sums, sums + rows, sums + 2 * rows};
}

template <class T>
absl::Status ClassifierForm<T>::SumClasses(int64_t begin, int64_t end) {
  if (absl::Status s = this->BeginUnits(0, call_.units); !s.ok()) return s;
  this->PackRows(nullptr);
  for (int64_t chunk = begin; chunk < end; ++chunk) {
    const PanelSums<T> sums = SumsOfChunk(chunk);
    StartSums(sums, this->panels() * panel_rows_);
    if (absl::Status s = AddChunk(chunk, sums); !s.ok()) return s;
  }
  return absl::OkStatus();
}

// ---- items

// The sums of the units of the last Begin.
template <class T>
absl::Status ClassifierForm<T>::SumAllClasses() {
  const PanelSums<T> sums = {max_.get(), at_max_.get(), rest_.get()};
  StartSums(sums, this->panels() * panel_rows_);
  if (call_.class_sums == nullptr) this->PackRows(nullptr);
  for (int64_t chunk = 0; chunk < ClassChunks(call_); ++chunk) {
    if (call_.class_sums == nullptr) {
      if (absl::Status s = AddChunk(chunk, sums); !s.ok()) return s;
      continue;
    }
    const PanelSums<T> of_chunk = SumsOfChunk(chunk);
    for (size_t p = 0; p < this->panels(); ++p) {
      const size_t row = p * panel_rows_;
      const size_t unit = static_cast<size_t>(this->first()) + row;
      operations_.combine_sums({of_chunk.max + unit, of_chunk.at_max + unit, of_chunk.rest + unit},
                               this->Vectors(p), {&max_[row], &at_max_[row], &rest_[row]});
    }
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::FinishRows() {
  for (size_t row = 0; row < this->n(); ++row) {
    if (absl::Status s = this->MeasureTarget(row, &target_); !s.ok()) return s;
    const RowSoftmax softmax =
        operations_.finish_row(max_[row], at_max_[row], rest_[row], target_.logit);
    this->items_[0][row] = static_cast<T>(softmax.item);
    if (call_.softmaxes != nullptr)
      (*call_.softmaxes)[static_cast<size_t>(this->first()) + row] = softmax;
  }
  return absl::OkStatus();
}

template <class T>
absl::Status ClassifierForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  absl::Status s = this->BeginUnits(first, n);
  if (s.ok()) s = SumAllClasses();
  if (s.ok()) s = FinishRows();
  if (s.ok()) this->End(Upcoming(), block);
  return s;
}

template class ClassifierForm<float>;
template class ClassifierForm<double>;

}  // namespace lossd
