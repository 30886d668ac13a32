// The classifier form: cross-entropy over logits of embeddings [N,D] and a classifier [C,D], an
// item a row, without ever holding [N,C].
//
// The work goes by blocks of classes: their rows are widened into a buffer and, where the loss asks
// for it, made unit vectors there; panels of rows are multiplied with them, and the logits go into
// a running log-sum-exp. Gradients make the softmax again, block by block. Memory grows with the
// rows of a Run times D and with C, never with their product. What comes out does not depend on
// panels, blocks or ranges.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h; the classifier is read in
// place, a block at a time.
#ifndef LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_
#define LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/cancellation.h"
#include "lib/forms/form.h"

namespace lossd {

template <class T>
class ClassifierForm : public FormBase<T> {
 public:
  explicit ClassifierForm(const FormCall& call);

  // A cancelled token ends what runs with CANCELLED, within a block of classes; null: nothing does.
  void CancelBy(const CancellationToken* token) { token_ = token; }

  // Computes the items of units [first, first + n). The block points into the form's buffers and
  // holds until the next Run. INVALID_ARGUMENT for a value that breaks its rule, with its place: a
  // label of any unit, before any work.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Writes the gradients of the embeddings of units [first, first + n).
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients);

  // Writes the gradients of rows [begin, end) of the classifier, which come from all units.
  absl::Status RunTableGradients(int64_t begin, int64_t end, const GradientCall& gradients);

 private:
  // How the loss makes the true class's logit of its angle.
  struct TargetLogit {
    double logit;
    double value, slope;  // psi and its derivative
  };

  const ClassifierKernels& loss() const { return call_.kernels.classifier; }
  size_t width() const { return static_cast<size_t>(call_.width); }
  size_t panels() const;
  bool PacksAtOnce() const;
  bool cancelled() const { return token_ != nullptr && token_->cancelled(); }
  const T* u(size_t row) const { return u_.get() + row * stride_; }

  absl::Status BeginUnits(int64_t first, int64_t n);
  absl::Status CheckAllLabels();
  absl::Status ReadRows();
  // Leaves the rows out whose factor is 0, which may hold NaN, and packs the others.
  void PackRows(const T* factors);
  void PackPanel(size_t p, size_t first, size_t n, T* to) const;
  absl::Status LoadClasses(int64_t first, size_t n);
  void ComputeLogits(size_t p, int64_t first_class, size_t classes, T* logits);
  void MaskTargets(size_t p, int64_t first_class, size_t classes, T* logits) const;
  absl::Status AddClasses(int64_t first_class, size_t classes);
  absl::Status MeasureTarget(const T* row, int64_t label, TargetLogit* target);
  absl::Status FinishRows();
  absl::Status Forward();

  // The softmax of the units of the last Begin, kept or computed, and from it the scales, maxima
  // and factors of the gradients.
  absl::Status BeginGradients(int64_t first, int64_t n, const GradientCall& gradients);
  void ComputeCoefficients(size_t p, int64_t first_class, size_t classes, T* coefficients);
  absl::Status AddRowGradients(int64_t first_class, size_t classes);
  absl::Status StoreRowGradient(size_t row, T* output);
  absl::Status AddTableGradients(int64_t first_class, size_t classes, bool first_rows, T* output);
  absl::Status FinishTableGradients(int64_t first_class, size_t classes, T* output);
  absl::Status AddTargetsToTable(int64_t begin, int64_t end, T* output);

  using FormBase<T>::call_;
  const ClassifierOperations<T>& operations_;
  const size_t panel_rows_;
  const size_t stride_;         // of rows of u and v: whole panels wide
  const size_t block_classes_;  // classes whose rows are in v_ at a time
  const double scale_;
  const CancellationToken* token_ = nullptr;

  const T* rows_ = nullptr;  // of the embeddings, as they are
  std::unique_ptr<T[]> rows_read_;
  std::unique_ptr<T[]> u_;
  std::unique_ptr<T[]> panels_;
  std::vector<double> row_norms_;
  std::unique_ptr<T[]> v_;
  std::vector<double> class_norms_;
  std::unique_ptr<T[]> logits_;
  std::unique_ptr<T[]> max_, at_max_, rest_;  // of the rows of the Run
  std::vector<double> target_x_, target_w_;
  std::unique_ptr<T[]> label_row_;
  TargetRow target_;

  std::vector<RowSoftmax> softmaxes_;   // of the Run; of all units for the table's gradients
  std::unique_ptr<T[]> factors_;        // scale_i scale / total of each row
  std::vector<double> target_factors_;  // scale_i scale (p_y - 1)
  // Rows stride_ apart: of the rows of the Run, and of a block of classes.
  std::unique_ptr<T[]> row_gradients_, class_gradients_;
};

extern template class ClassifierForm<float>;
extern template class ClassifierForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_CLASSIFIER_FORM_H_
