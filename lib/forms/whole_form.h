// The whole-batch form: one unit, which is the batch, and one item of it.
//
// It reads every input whole, as the compute type, has the loss check the values, and runs its
// kernel. Weight, gradients and what becomes of the item are those of any other item.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h; inputs that are of the
// compute type and in one piece are read where they lie, the others are copied.
#ifndef LOSSD_LIB_FORMS_WHOLE_FORM_H_
#define LOSSD_LIB_FORMS_WHOLE_FORM_H_

#include <array>
#include <cstdint>
#include <memory>

#include "lib/base/cancellation.h"
#include "lib/forms/form.h"

namespace lossd {

template <class T>
class WholeForm : public FormBase<T> {
 public:
  explicit WholeForm(const FormCall& call);

  // A cancelled token ends Run and RunGradients with CANCELLED; null: nothing does.
  void CancelBy(const CancellationToken* token) { block_.token = token; }

  // Computes the item; first is 0 and n 1. The block points into the form's buffers and holds until
  // the next Run. INVALID_ARGUMENT for a value that breaks its rule, with its place.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Writes the gradients of the item.
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients);

  // Of the item of the last Run.
  const std::array<double, kMaxComponents>& components() const { return item_.components; }

 private:
  absl::Status Read();
  absl::Status ReadOperand(const Operand& operand, int index);
  absl::Status CheckByLoss() const;

  using FormBase<T>::call_;
  bool read_ = false;
  WholeBlock<T> block_;
  WholeItem item_;
  std::unique_ptr<T[]> copies_[kMaxWholeOperands];
  std::unique_ptr<int64_t[]> labels_[kMaxWholeOperands];
};

extern template class WholeForm<float>;
extern template class WholeForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_WHOLE_FORM_H_
