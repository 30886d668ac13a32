// What a loss's family hands to the forms: function pointers over small blocks, for f32 and f64.
//
// A kernel sees at most a block, contiguous, of the compute type; where it came from (pieces, f16,
// integers, pixels of an image) is the forms' business. Pointers need no alignment beyond a byte.
// Kernels neither allocate nor fail, and write the canonical NaN only. Thread-safe: kernels hold no
// state.
#ifndef LOSSD_LIB_FORMS_KERNELS_H_
#define LOSSD_LIB_FORMS_KERNELS_H_

#include <cstddef>
#include <cstdint>

#include "lib/accumulate/block_sum.h"
#include "lib/accumulate/loss_sums.h"
#include "lib/forms/classifier_kernels.h"
#include "lib/forms/mask_kernels.h"
#include "lib/forms/sequence_kernels.h"
#include "lib/forms/whole_kernels.h"

namespace lossd {

// Exact sums that a loss may ask for beside the weights: its terms, or the parts of its report.
inline constexpr int kMaxParts = LossSums::kParts;
// Tensors that an element-wise formula reads.
inline constexpr int kMaxOperands = 3;

// items[part][i] = formula(operands[0][i], operands[1][i], ...), i < n.
template <class T>
using ElementwiseKernel = void (*)(const double* parameters, const T* const* operands, size_t n,
                                   T* const* items);

// Adds the items of a block as they are computed, without storing them.
struct OnePassSum {
  int top = 0;           // in: every item is taken to be below 2^top in magnitude
  bool in_runs = false;  // in: items are taken to be so coarse that a few add up without rounding
  // out: their exact sum; `exact` is false if what was taken for granted does not hold, or an
  // operand is out of the formula's ordinary range
  ExactParts parts;
  int measured_top =
      0;  // out: every item is below 2^measured_top; beyond any double for a NaN or an infinity
  bool runs_hold = false;  // out: what `in_runs` assumes holds
};
// For f32, the first two operands, and n a multiple of kOnePassStep up to kMaxBlockItems.
inline constexpr int64_t kOnePassStep = 64;
using OnePassKernel = void (*)(const double* parameters, const float* const* operands, size_t n,
                               OnePassSum* sum);

// gradients[o][i] = scales[i] * d formula / d operands[o][i], for every o whose gradients[o] is not
// null; exactly 0 where the scale is. Only of operands whose bit is set in `gradients` below.
// `streams`: the gradients are written past the caches.
template <class T>
using ElementwiseGradientKernel = void (*)(const double* parameters, const T* const* operands,
                                           size_t n, const T* scales, bool streams,
                                           T* const* gradients);

struct ElementwiseKernels {
  ElementwiseKernel<float> f32 = nullptr;
  ElementwiseKernel<double> f64 = nullptr;
  OnePassKernel one_pass_f32 = nullptr;  // null: there is none
  bool one_pass_checks_targets = false;  // it takes no target beyond 0 to 1
  int operands = 0;
  int parts = 0;
  ElementwiseGradientKernel<float> gradient_f32 = nullptr;  // null: no gradients
  ElementwiseGradientKernel<double> gradient_f64 = nullptr;
  uint32_t gradients = 0;  // bit o: there is a gradient of operand o
};

// What a softmax needs of rows of logits, kept so that nothing cancels: the classes at the maximum
// apart from the rest, and log sum exp(x) = max + log_total. [rows] each, with room for whole
// vectors: rows rounded up to kMultiple.
template <class T>
struct SoftmaxRows {
  static constexpr size_t kMultiple = 16;
  T* max = nullptr;        // the largest logit
  T* at_max = nullptr;     // the number of classes there
  T* rest = nullptr;       // the sum over the others of exp(x - max)
  T* log_total = nullptr;  // log1p((at_max - 1) + rest); NaN for a row without a softmax
};

// Rows, one after the other, each of one width: the classes of a distribution, the dimensions of an
// embedding, the four numbers of a box. What a loss does not take is null.
template <class T>
struct RowBlock {
  size_t rows = 0;
  size_t width = 0;
  // [rows, width] each, in the order of the signature's inputs.
  const T* operands[kMaxOperands] = {};
  const int64_t* labels = nullptr;      // [rows]; each in [0, width), or in [0, table_rows)
  const int64_t* label_rows = nullptr;  // [rows, width]
  const T* row_targets = nullptr;       // [rows]: one value a row
  const T* class_weights = nullptr;     // [width]
  const T* table = nullptr;             // [table_rows, width]: a row a class, e.g. centers
  size_t table_rows = 0;
  double table_value = 0;  // what the TableKernel made of the table
  SoftmaxRows<T> softmax;  // of operands[0], for kernels that ask for it
  // Set by a kernel that checks its operands (RowKernels::checks) where one may break its rule of
  // values; null: nobody asks.
  bool* suspect = nullptr;
  // The gradients are more than the caches hold: a kernel may store them past these.
  bool streams_gradients = false;
};

// items[row], or items[row * width + i] for a pointwise kernel. `kinds`, null unless the loss
// counts kinds of items (LossRow::counts): the kind of each row, or LossSums::kNoKind.
template <class T>
using RowKernel = void (*)(const double* parameters, const RowBlock<T>& block, T* items,
                           uint8_t* kinds);

// gradients[o][row * width + i] = scales[row] * d item / d operands[o][row * width + i], for every
// o whose gradients[o] is not null; exactly 0 where the scale is. gradients[kTableGradient] takes
// what a row adds to the gradient of the table's row of its label.
template <class T>
using RowGradientKernel = void (*)(const double* parameters, const RowBlock<T>& block,
                                   const T* scales, T* const* gradients);
inline constexpr int kTableGradient = kMaxOperands;
// Gradients of one call, at most.
inline constexpr int kMaxGradients = kMaxWholeOperands;
static_assert(kMaxGradients > kTableGradient);

// A number that the rows need of the table as a whole; taken once a call, of a block without rows.
template <class T>
using TableKernel = double (*)(const double* parameters, const RowBlock<T>& block);

// Adds to rows [begin, end) of the table's gradient, of which the first lies at `gradient`, what
// does not go by the label. label_scales[c]: the sum of the scales of the rows of label c, for all
// c.
template <class T>
using TableFinishKernel = void (*)(const double* parameters, const RowBlock<T>& block,
                                   const double* label_scales, size_t begin, size_t end,
                                   T* gradient);

template <class T>
struct TableKernels {
  TableKernel<T> value = nullptr;         // null: none is needed
  TableFinishKernel<T> finish = nullptr;  // null: there is nothing to add
};

struct RowKernels {
  RowKernel<float> f32 = nullptr;
  RowKernel<double> f64 = nullptr;
  RowGradientKernel<float> gradient_f32 = nullptr;  // null: no gradients
  RowGradientKernel<double> gradient_f64 = nullptr;
  uint32_t gradients = 0;  // bit o: there is a gradient of operand o, or of the table
  bool softmax = false;    // the kernels read RowBlock::softmax
  // The kernels of items see whether the operands keep their rules, so that only what is suspect
  // need be read twice.
  bool checks = false;
  TableKernels<float> table_f32;
  TableKernels<double> table_f64;

  // Those of a compute type.
  template <class T>
  constexpr RowKernel<T> Items() const {
    if constexpr (sizeof(T) == 4) {
      return f32;
    } else {
      return f64;
    }
  }
  template <class T>
  constexpr RowGradientKernel<T> Gradients() const {
    if constexpr (sizeof(T) == 4) {
      return gradient_f32;
    } else {
      return gradient_f64;
    }
  }
  template <class T>
  constexpr const TableKernels<T>& Table() const {
    if constexpr (sizeof(T) == 4) {
      return table_f32;
    } else {
      return table_f64;
    }
  }
};

// The kernels of one way to call a loss; one of them is set.
struct Kernels {
  ElementwiseKernels elementwise;
  RowKernels rows;
  MaskKernels masks;
  SequenceKernels sequences;
  WholeKernels whole;
  ClassifierKernels classifier;

  // Bit o: there is a gradient of operand o; bit kTableGradient: of the table.
  constexpr uint32_t gradients() const {
    return elementwise.gradients | rows.gradients | masks.gradients | sequences.gradients |
           whole.gradients | classifier.gradients;
  }
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_KERNELS_H_
