// The row-wise form: an item a row, or one an element of it.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h.
#ifndef LOSSD_LIB_FORMS_ROW_FORM_H_
#define LOSSD_LIB_FORMS_ROW_FORM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include "lib/base/cancellation.h"
#include "lib/forms/form.h"

namespace lossd {

// True if the rows of the calls' first operand are the same ones, so that forms of them can share
// what they read of these rows.
bool HaveSameRows(const FormCall& a, const FormCall& b);

template <class T>
class RowForm : public FormBase<T> {
 public:
  explicit RowForm(const FormCall& call);

  // Of a call that has the same rows as the leader's: from now on a Run of units that the leader
  // has run last takes the rows of the first operand and their softmax from it; another Run reads
  // them itself. Before the first Run of either; the leader outlives this form's runs and shares
  // with no third one itself.
  void ShareRowsWith(RowForm* leader);

  // A cancelled token ends what goes over all units with CANCELLED; null: nothing does.
  void CancelBy(const CancellationToken* token) { token_ = token; }

  // Computes the items of units [first, first + n). The block points into the form's buffers and
  // holds until the next Run. INVALID_ARGUMENT for a value that breaks its rule, with its place;
  // RESOURCE_EXHAUSTED for a row whose labels times classes are beyond kMaxLabelPairs.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Writes the gradients of units [first, first + n), but not the table's. Their items too, as Run
  // gives them, if `block` is not null.
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients,
                            ItemBlock<T>* block = nullptr);

  // Writes rows [begin, end) of the table's gradient: of all units, added in their order.
  absl::Status RunTableGradients(int64_t begin, int64_t end, const GradientCall& gradients);

  // Writes rows [begin, end) of the step that moves the rows of the table towards the units of
  // their label, whatever their weights: the sum of the units' gradients over 1 + their number.
  absl::Status RunTableUpdate(int64_t begin, int64_t end, const GradientCall& gradients);

 private:
  absl::Status Read();
  // The rows of the first operand and their softmax: the leader's or read and computed here.
  absl::Status ReadFirstOperand();
  absl::Status ReadRows(const Operand& operand, std::unique_ptr<T[]>* buffer, const T** rows);
  absl::Status CheckRows(const Operand& operand, const T* rows) const;
  // Lists of labels, each up to its first -1; what follows is not read.
  absl::Status ReadLabelRows();
  absl::Status AddToTable(int64_t begin, int64_t end, const GradientCall& gradients,
                          bool unit_scales, T* table);
  void AddRows(int64_t begin, int64_t end, const T* scales, T* table);
  void StoreRows(const T* rows, std::byte* output) const;

  using FormBase<T>::call_;
  const CancellationToken* token_ = nullptr;
  RowBlock<T> block_;                            // of the last Run
  std::unique_ptr<T[]> operands_[kMaxOperands];  // those that had to be copied
  bool needs_softmax_;
  std::unique_ptr<T[]> softmax_;
  const RowForm* leader_ = nullptr;
  bool has_rows_ = false;  // the last Run came as far as the rows of the first operand
  std::unique_ptr<T[]> row_targets_;
  std::unique_ptr<int64_t[]> label_rows_;
  std::unique_ptr<uint8_t[]> kinds_;
  std::unique_ptr<T[]> gradients_[kMaxOperands + 1];
  std::vector<double> label_scales_;  // of the table's gradient
};

extern template class RowForm<float>;
extern template class RowForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_ROW_FORM_H_
