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
  int top = 0;       // in: every item is taken to be below 2^top in magnitude
  ExactParts parts;  // out: their exact sum; `exact` is false if `top` did not let it be proven
  int measured_top =
      0;  // out: every item is below 2^measured_top; beyond any double for a NaN or an infinity
};
// For f32 and n a multiple of 64 up to kBlockItems.
using OnePassKernel = void (*)(const double* parameters, const float* const* operands, size_t n,
                               OnePassSum* sum);

struct ElementwiseKernels {
  ElementwiseKernel<float> f32 = nullptr;
  ElementwiseKernel<double> f64 = nullptr;
  OnePassKernel one_pass_f32 = nullptr;  // for cheap formulas; null: there is none
  int operands = 0;
  int parts = 0;
};

// Rows of classes, one after the other.
template <class T>
struct RowBlock {
  size_t rows;
  size_t classes;
  const T* predictions;    // [rows, classes]: logits, log_probs or probs
  const T* targets;        // [rows, classes], or null
  const int64_t* labels;   // [rows], each in [0, classes), or null
  const T* class_weights;  // [classes], or null
};

// items[row], or items[row * classes + class] for a pointwise kernel.
template <class T>
using RowKernel = void (*)(const double* parameters, const RowBlock<T>& block, T* items);

struct RowKernels {
  RowKernel<float> f32 = nullptr;
  RowKernel<double> f64 = nullptr;
};

// The kernels of one way to call a loss; one of them is set.
struct Kernels {
  ElementwiseKernels elementwise;
  RowKernels rows;
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_KERNELS_H_
