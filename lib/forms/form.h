// A form computes the items of a loss over a range of a batch, and their gradients: it reads the
// operands, checks their values, widens them, calls the loss's kernels block by block and hands the
// items over with their weights. Here is what all forms share; each form has a file of its own, and
// forms.h picks the one of a call.
//
// A unit is what a form steps by: an element (element-wise), a row (row-wise), a sample. A unit has
// one item, or, point-wise, one a class.
//
// A FormCall is made by binding a loss to tensors; it owns no memory of theirs. Forms of one call
// may run on many threads, each with a form object of its own; a form's buffers are reused from
// block to block.
#ifndef LOSSD_LIB_FORMS_FORM_H_
#define LOSSD_LIB_FORMS_FORM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/accumulate/collector.h"
#include "lib/forms/kernels.h"
#include "lib/forms/value_rule.h"
#include "lib/tensor/tensor_view.h"

namespace lossd {

inline constexpr int kMaxParameters = 8;

struct Operand {
  std::string name;  // of the uploaded tensor, for messages
  TensorView view;   // empty: not given; an optional operand of a formula is then 1
  ValueRule values = ValueRule::kAny;
  bool repeats = false;  // [last dimension], repeated over the elements
  int input = -1;        // index in the signature's inputs
};

// What a loss over sequences takes beside its frames, which are the first operand.
struct SequenceCall {
  int64_t frames = 0;     // T of [N,T,C]
  Operand labels;         // [N,S]
  Operand input_lengths;  // [N]
  Operand label_lengths;  // [N]
};

class SharedTable;

// Done by the first form of a call that comes to it; the others wait for its status.
struct LabelCheck {
  std::once_flag once;
  absl::Status status;
};

// What a call's tensors are to its form.
struct FormCall {
  const char* loss = "";  // for messages
  Kernels kernels;
  std::array<double, kMaxParameters> parameters{};

  // Units are samples times this; e.g. H times W for the pixels of [N,C,H,W].
  int64_t units = 0;
  int64_t units_per_sample = 1;
  // Elements of a row; 1 for elements.
  int64_t width = 1;
  // Labels are below this: the classes of a row, or the rows of the table.
  int64_t classes = 1;
  // Row-wise: an item an element of the row in place of one a row.
  bool pointwise = false;
  // The kernels tell the kinds of items.
  bool counts_kinds = false;

  std::array<Operand, kMaxOperands> operands;  // those with a value a unit or more
  Operand labels;
  Operand label_rows;                   // [units, width] of labels
  Operand row_targets;                  // a value a unit
  std::optional<int64_t> ignore_index;  // unset: the loss ignores no label
  Operand class_weight;                 // [classes]
  bool class_weight_in_denominator = false;
  Operand table;  // [classes, width]
  // What the forms of the call share of it; set with the table.
  std::shared_ptr<SharedTable> shared_table;
  SequenceCall sequence;
  // Of a whole-batch loss: all of its inputs, in the order of the signature, and its list of lists.
  std::vector<Operand> whole;
  PairGroups groups;
  // [N] or item-shaped.
  Operand sample_weight;
  bool weight_per_sample = false;

  // Of a classifier loss whose gradients are wanted: [units], written by Run and read by what
  // computes the gradients.
  std::shared_ptr<std::vector<RowSoftmax>> softmaxes;
  // Of a classifier loss whose classes are spread over threads: see classifier_form.h; null: not.
  std::shared_ptr<std::vector<std::byte>> class_sums;
  // Of a classifier loss: its labels are checked once a call, all of them, before any work.
  std::shared_ptr<LabelCheck> label_check;

  int64_t items_per_unit() const { return pointwise ? width : 1; }
  // The row-major index in item shape of an item, counted unit by unit: they differ for point-wise
  // items of [N,C,...], whose classes are not innermost.
  int64_t ItemIndex(int64_t item) const {
    if (!pointwise) return item;
    return ElementIndex(item / width, item % width);
  }
  // The row-major index in an operand of an element of a unit.
  int64_t ElementIndex(int64_t unit, int64_t element) const {
    const int64_t sample = unit / units_per_sample;
    return (sample * width + element) * units_per_sample + unit % units_per_sample;
  }
};

// The gradients of the reduced value that are asked for: scale w / denominator for an item of
// weight w, 0 for what the sums leave out.
struct GradientCall {
  double denominator = 1;
  bool mean = true;  // of MEAN, else of SUM
  NonFinitePolicy non_finite = NonFinitePolicy::kPropagate;
  // Of the whole request: what a loss that pools its sums is differentiated at.
  const LossSums* sums = nullptr;
  // Where they go, in the operand's shape and the compute type; null: not wanted. The last is the
  // table's.
  // Those of a whole-batch loss are in the order of FormCall::whole.
  std::array<std::byte*, kMaxGradients> outputs{};
  // Where the table's update goes, in the table's shape and the compute type; null: not wanted.
  std::byte* table_update = nullptr;
};

// T is the compute type.
template <class T>
class FormBase {
 public:
  FormBase(const FormBase&) = delete;

  // Units that one Run takes at most; ranges of the same call may be cut anywhere between units.
  int64_t max_units() const { return max_units_; }

  // Copies the items of the last Run to their places in a tensor of item shape; ignored ones are 0.
  void StoreItems(std::byte* values) const;

 protected:
  // `call` outlives the form. The items' buffers hold max_units times the items of a unit, `parts`
  // of them.
  FormBase(const FormCall& call, int64_t max_units, int parts);
  ~FormBase();

  size_t items_per_unit() const { return static_cast<size_t>(call_.items_per_unit()); }
  int64_t first() const { return first_; }
  size_t n() const { return n_; }
  const T* weights() const { return call_.sample_weight.view ? weights_.get() : nullptr; }
  const int64_t* labels() const { return labels_; }

  // Begins a Run of units [first, first + n): reads their weights and labels.
  absl::Status Begin(int64_t first, int64_t n);
  // Ends it: the items, which the form has computed, with what belongs to them.
  void End(const Upcoming& upcoming, ItemBlock<T>* block);
  // The scales of the items of the last Run.
  const T* Scales(const GradientCall& gradients);

  // The values of elements [first, first + n): where they lie, or in `buffer`.
  absl::Status ReadChecked(const Operand& operand, int64_t first, size_t n, T* buffer,
                           const T** values) const;
  // A whole operand, contiguous, its values checked; read once into *buffer (unless it is null).
  absl::Status ReadWhole(const Operand& operand, std::unique_ptr<T[]>* buffer);
  // `weights` of the values: where one is 0 the value is not checked; null: all are.
  absl::Status CheckValues(const Operand& operand, const T* values, int64_t first, size_t n,
                           const T* weights) const;
  absl::Status ValueError(const Operand& operand, int64_t index, const std::string& expected) const;
  absl::Status LabelError(const Operand& operand, int64_t index, const char* also = "") const;
  bool InPlace(const Operand& operand) const;
  // The operand's rows of the units, gathered where the classes are not innermost.
  absl::Status GatherRows(const Operand& operand, T* rows);

  const FormCall& call_;
  std::unique_ptr<T[]> items_[kMaxParts];
  std::unique_ptr<T[]> class_weights_;

 private:
  absl::Status ReadWeights();
  absl::Status ReadLabelsOfUnits();

  const int64_t max_units_;
  const int parts_;
  int64_t first_ = 0;  // of the last Run
  size_t n_ = 0;
  std::unique_ptr<T[]> weights_;
  std::unique_ptr<T[]> weights_read_;
  std::unique_ptr<T[]> scales_;
  std::unique_ptr<T[]> class_weights_of_items_;
  const int64_t* labels_ = nullptr;  // where they lie, or labels_read_
  std::unique_ptr<int64_t[]> labels_read_;
  std::unique_ptr<uint8_t[]> ignored_;
  bool any_ignored_ = false;
};

extern template class FormBase<float>;
extern template class FormBase<double>;

// The type of a compute type.
template <class T>
constexpr DataType DataTypeOf() {
  return sizeof(T) == 4 ? DataType::kFloat32 : DataType::kFloat64;
}

template <class T>
std::unique_ptr<T[]> AllocateFor(size_t n) {
  return std::make_unique_for_overwrite<T[]>(n);
}

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_FORM_H_
