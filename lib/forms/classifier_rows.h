// The rows of a batch as a classifier loss reads them: the embeddings [N,D] of a run of units, as
// they are and as the panels that are multiplied with blocks of the classifier [C,D]; the rows of
// the classifier, one at a time; and the logit of a row's true class.
//
// Thread-safety: what is const may run on several threads, each with scratch memory of its own,
// while nothing else does. Ownership: see form.h; the classifier is read in place.
#ifndef LOSSD_LIB_FORMS_CLASSIFIER_ROWS_H_
#define LOSSD_LIB_FORMS_CLASSIFIER_ROWS_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/cancellation.h"
#include "lib/forms/form.h"

namespace lossd {

// Classes of a block: a multiple of every kernel's tile, whose rows of `width` numbers stay in the
// second level cache with the rows of a panel. At most `most`.
size_t ClassesOfBlock(size_t width, size_t number_bytes, size_t most);

inline size_t CeilDiv(size_t n, size_t by) { return (n + by - 1) / by; }
inline size_t RoundUp(size_t n, size_t multiple) { return CeilDiv(n, multiple) * multiple; }

// The memory from `begin` to `end`, fetched evenly over `groups` times kAheadSteps steps.
Ahead Spread(const void* begin, const void* end, size_t groups);

template <class T>
class ClassifierRows : public FormBase<T> {
 public:
  // A cancelled token ends what runs with CANCELLED, within a block of classes; null: nothing does.
  void CancelBy(const CancellationToken* token) { token_ = token; }

 protected:
  // A row's true class: its angle and lengths, how the loss makes the logit of them, and the memory
  // that measuring them takes.
  struct Target {
    explicit Target(size_t width);

    double logit = 0;
    double value = 0, slope = 0;  // psi and its derivative
    TargetRow row{};
    std::vector<double> x, w;
    std::unique_ptr<T[]> read;
  };

  explicit ClassifierRows(const FormCall& call);
  ~ClassifierRows() = default;

  const ClassifierKernels& loss() const { return call_.kernels.classifier; }
  size_t width() const { return static_cast<size_t>(call_.width); }
  size_t panels() const { return CeilDiv(this->n(), panel_rows_); }
  // The vectors that hold rows of a panel.
  size_t Vectors(size_t p) const { return RowsOfPanel(p) <= operations_.lanes ? 1 : 2; }
  size_t RowsOfPanel(size_t p) const;
  bool PacksAtOnce() const;
  const T* u(size_t row) const { return u_.get() + row * width(); }
  absl::Status CheckCancelled() const;

  // Begins a run of units: checks all labels of the call, once, and reads what belongs to the rows.
  absl::Status BeginUnits(int64_t first, int64_t n);
  // Leaves the rows out whose factor is 0, which may hold NaN, and packs the others; null: all.
  void PackRows(const T* factors);
  // A row of the classifier, of unit length where the loss wants it.
  absl::Status ReadClass(int64_t c, T* row, double* norm) const;
  // The logits of a panel of rows and the classes v, which begin with first_class; but -inf for the
  // true classes, whose logits come apart. `part` is memory for a part of a panel: see PartSize.
  void ComputeLogits(size_t p, int64_t first_class, size_t classes, const SegmentedRows<T>& v,
                     const Ahead (&ahead)[2], T* part, T* logits) const;
  size_t PartSize() const;
  // What comes after a panel and a block of classes: the next panel, from the third level cache,
  // and along the last panels the next block, from memory.
  void LookAhead(size_t p, int64_t first_class, size_t classes, Ahead (&ahead)[2]) const;
  // A row of the classifier as it lies, if that is in one run; that behind the last for any beyond.
  const std::byte* TableRow(int64_t c) const;
  absl::Status MeasureTarget(size_t row, Target* target) const;

  using FormBase<T>::call_;
  const ClassifierOperations<T>& operations_;
  const size_t panel_rows_;
  const double scale_;
  std::unique_ptr<T[]> panels_;  // [panels][width][panel_rows]; empty unless all are packed at once
  std::vector<double> row_norms_;

 private:
  absl::Status CheckAllLabels();
  absl::Status ReadRows();
  void PackPanel(size_t p, size_t first, size_t n, T* to) const;
  void MaskTargets(size_t p, int64_t first_class, size_t classes, T* logits) const;

  const CancellationToken* token_ = nullptr;
  const T* rows_ = nullptr;  // of the embeddings, as they are
  std::unique_ptr<T[]> rows_read_;
  std::unique_ptr<T[]> u_;
};

extern template class ClassifierRows<float>;
extern template class ClassifierRows<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_CLASSIFIER_ROWS_H_
