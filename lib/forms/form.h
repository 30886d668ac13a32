// A form computes the items of a loss over a range of a batch: it reads the operands, checks their
// values, widens them, calls the loss's kernels block by block and hands the items over with their
// weights.
//
// A unit is what a form steps by: an element (element-wise), or a row of classes (row-wise). A unit
// has one item, or, point-wise, one a class.
//
// A FormCall is made by binding a loss to tensors; it owns no memory of theirs. Forms of one call
// may run on many threads, each with a Form object of its own; a Form's buffers are reused from
// block to block.
#ifndef LOSSD_LIB_FORMS_FORM_H_
#define LOSSD_LIB_FORMS_FORM_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

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
};

struct FormCall {
  const char* loss = "";  // for messages
  Kernels kernels;
  std::array<double, kMaxParameters> parameters{};

  // Units are samples times this; e.g. H times W for the pixels of [N,C,H,W].
  int64_t units = 0;
  int64_t units_per_sample = 1;
  // Row-wise: classes of a row; 1 else.
  int64_t classes = 1;
  // Row-wise: an item a class in place of one a row.
  bool pointwise = false;

  std::array<Operand, kMaxOperands>
      operands;  // element-wise: the formula's; row-wise: predictions, targets
  Operand labels;
  std::optional<int64_t> ignore_index;  // unset: the loss ignores no label
  Operand class_weight;
  bool class_weight_in_denominator = false;
  // [N] or item-shaped.
  Operand sample_weight;
  bool weight_per_sample = false;

  bool rowwise() const { return kernels.rows.f32 != nullptr; }
  int64_t items_per_unit() const { return pointwise ? classes : 1; }
  // The row-major index in item shape of an item, counted unit by unit: they differ for point-wise
  // items of [N,C,...], whose classes are not innermost.
  int64_t ItemIndex(int64_t item) const {
    if (!pointwise || units_per_sample == 1) return item;
    const int64_t unit = item / classes;
    const int64_t sample = unit / units_per_sample;
    return (sample * classes + item % classes) * units_per_sample + unit % units_per_sample;
  }
};

// T is the compute type.
template <class T>
class Form {
 public:
  // `call` outlives the form.
  explicit Form(const FormCall& call);
  ~Form();

  // Units that one Run takes at most; ranges of the same call may be cut anywhere between units.
  int64_t max_units() const { return max_units_; }

  // Computes the items of units [first, first + n). The block points into the form's buffers and
  // holds until the next Run. INVALID_ARGUMENT for a value that breaks its rule, with its place.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Adds units [first, first + n) to the sums in one pass over the operands, without storing items;
  // false, and nothing was added, where that cannot be: the kernels have no such pass, an operand
  // is not in place, a value rule or weights must be seen to, or the sum could not be proven exact.
  // Then Run and Collect do it.
  bool AddInOnePass(int64_t first, int64_t n, LossSums* sums);

  // Copies the items of the last Run to their places in a tensor of item shape; ignored ones are 0.
  void StoreItems(std::byte* values) const;

 private:
  struct Buffers;

  size_t items_per_unit() const { return static_cast<size_t>(call_.items_per_unit()); }

  bool InPlace(const Operand& operand) const;

  absl::Status ReadWeights();
  absl::Status ReadLabelsOfUnits();
  absl::Status ReadClassWeights();
  absl::Status ComputeElements();
  absl::Status ComputeRows();

  // The operand's elements of the units, contiguous.
  absl::Status ReadElements(const Operand& operand, std::unique_ptr<T[]>* buffer, const T** values);
  absl::Status ReadRows(const Operand& operand, std::unique_ptr<T[]>* buffer, const T** rows);
  absl::Status GatherRows(const Operand& operand, T* rows);
  absl::Status ReadChecked(const Operand& operand, int64_t first, size_t n, T* buffer,
                           const T** values);
  // `weights` of the values: where one is 0 the value is not checked; null: all are.
  absl::Status CheckValues(const Operand& operand, const T* values, int64_t first, size_t n,
                           const T* weights) const;
  absl::Status ValueError(const Operand& operand, int64_t index, const char* expected) const;

  const FormCall& call_;
  int64_t max_units_;
  int64_t first_ = 0;  // of the last Run
  size_t n_ = 0;
  Upcoming upcoming_;
  int one_pass_top_ = 0;  // a guess at the magnitude of the items, from the blocks before
  std::unique_ptr<Buffers> buffers_;
};

extern template class Form<float>;
extern template class Form<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_FORM_H_
