// The classifier form: cross-entropy over logits of embeddings [N,D] and a classifier [C,D], an
// item a row, without ever holding [N,C]. Its gradients are in classifier_gradient_form.h.
//
// The work goes by blocks of classes: their rows are widened into a buffer and, where the loss asks
// for it, made unit vectors there; panels of rows are multiplied with them, and the logits go into
// a running log-sum-exp. Memory grows with the rows of a Run times D and with C, never with their
// product. What comes out does not depend on panels, blocks or ranges.
//
// Where rows are too few to go round, threads take classes: SumClasses computes the log-sum-exp of
// whole chunks of them into FormCall::class_sums, and Run combines those.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h; the classifier is read in
// place, a block at a time.
#ifndef LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_
#define LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/forms/classifier_rows.h"

namespace lossd {

// The chunks of the log-sum-exp of a call's classes.
int64_t ClassChunks(const FormCall& call);

template <class T>
class ClassifierForm : public ClassifierRows<T> {
 public:
  explicit ClassifierForm(const FormCall& call);

  // Computes the items of units [first, first + n), and their softmaxes for the gradients. The
  // block points into the form's buffers and holds until the next Run. INVALID_ARGUMENT for a value
  // that breaks its rule, with its place: a label of any unit, before any work.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // What FormCall::class_sums takes; 0 where the call cannot have any: its rows take several Runs,
  // or the sums would be large.
  size_t ClassSumsSize() const;
  // Writes chunks [begin, end) of them.
  absl::Status SumClasses(int64_t begin, int64_t end);

 private:
  using ClassifierRows<T>::call_;
  using ClassifierRows<T>::operations_;
  using ClassifierRows<T>::panel_rows_;

  bool ReadsInPlace() const;
  absl::Status LoadClasses(int64_t first, size_t n, SegmentedRows<T>* v);
  void LookAheadInPlace(int64_t first_class, size_t classes, Ahead (&ahead)[2]) const;
  absl::Status AddChunk(int64_t chunk, const PanelSums<T>& sums);
  PanelSums<T> SumsOfChunk(int64_t chunk) const;
  absl::Status FinishRows();
  absl::Status SumAllClasses();

  const bool in_place_;
  const size_t stride_;         // of the rows of v_
  const size_t block_classes_;  // classes whose rows are in v_ at a time
  std::unique_ptr<T[]> v_;
  std::unique_ptr<T[]> part_, logits_;
  std::unique_ptr<T[]> max_, at_max_, rest_;  // of the rows of the Run
  typename ClassifierRows<T>::Target target_;
};

extern template class ClassifierForm<float>;
extern template class ClassifierForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_
