// The element-wise form: an item an element.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h.
#ifndef LOSSD_LIB_FORMS_ELEMENT_FORM_H_
#define LOSSD_LIB_FORMS_ELEMENT_FORM_H_

#include <cstdint>
#include <memory>

#include "lib/forms/form.h"

namespace lossd {

template <class T>
class ElementForm : public FormBase<T> {
 public:
  explicit ElementForm(const FormCall& call);

  // Computes the items of units [first, first + n). The block points into the form's buffers and
  // holds until the next Run. INVALID_ARGUMENT for a value that breaks its rule, with its place.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Adds leading units of [first, first + n) to the sums in one pass over the operands, without
  // storing items; returns how many. 0 where that cannot be: the kernels have no such pass, an
  // operand is not in place, weights or a value rule must be seen to, or the sum could not be
  // proven exact. Then Run and Collect do it.
  int64_t AddInOnePass(int64_t first, int64_t n, LossSums* sums);

  // Writes the gradients of units [first, first + n).
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients);

 private:
  bool OnePassOperands(int64_t first, int64_t n, const float** operands);
  const T* GradientScales(const GradientCall& gradients);
  absl::Status ReadOperands();
  absl::Status ReadOperand(const Operand& operand, std::unique_ptr<T[]>* buffer, const T** values);

  using FormBase<T>::call_;
  const T* values_[kMaxOperands] = {};           // of the last Run
  std::unique_ptr<T[]> operands_[kMaxOperands];  // those that had to be copied
  std::unique_ptr<T[]> repeated_;
  std::unique_ptr<T[]> even_scales_;
  std::unique_ptr<T[]> pieces_[2];  // of the one pass: runs of operands that lie in pieces
  // Guesses at the magnitude and the fineness of the items, from the blocks before.
  int one_pass_top_ = 0;
  bool one_pass_in_runs_ = true;
};

extern template class ElementForm<float>;
extern template class ElementForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_ELEMENT_FORM_H_
