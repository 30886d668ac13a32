// What a whole-batch loss hands to its form: one item of all samples at once, for losses that are
// no sum over samples (the distance of class means, the assignment of boxes to cells).
//
// A kernel sees every input whole, contiguous and of the compute type, with its values checked. It
// computes in f64 whatever the compute type, and the form rounds the item once: so an item of f32
// inputs is as good as f32 can hold it. It may allocate memory of the size of the inputs; it does
// not fail. Its time is not bounded by the size of the inputs alone (pairs of rows), so a long loop
// asks cancelled() once a row, and stops then: nobody reads what it leaves.
//
// Thread-safety: kernels hold no state. Ownership: the memory is the form's and the caller's.
#ifndef LOSSD_LIB_FORMS_WHOLE_KERNELS_H_
#define LOSSD_LIB_FORMS_WHOLE_KERNELS_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "lib/base/cancellation.h"

namespace lossd {

// Tensors that a whole-batch loss reads: eight heads and the boxes.
inline constexpr int kMaxWholeOperands = 9;
inline constexpr int kMaxWholeRank = 5;
// Of a parameter that is a list of lists: lists, and pairs of a list. They bound the work a box.
inline constexpr size_t kMaxPairGroups = 8;
inline constexpr size_t kMaxPairsOfGroup = 32;
// Parts of an item that are reported beside it.
inline constexpr int kMaxComponents = 3;

// A parameter that is a list of lists of pairs of numbers: the anchors of each scale.
using PairGroups = std::vector<std::vector<std::array<double, 2>>>;

template <class T>
struct WholeOperand {
  const T* values = nullptr;                  // null: not given, or labels
  const int64_t* labels = nullptr;            // null: not given, or values
  std::array<size_t, kMaxWholeRank> sizes{};  // 1 beyond the rank
  size_t elements() const {
    size_t count = 1;
    for (const size_t size : sizes) count *= size;
    return count;
  }
};

template <class T>
struct WholeBlock {
  // In the order of the signature's inputs.
  std::array<WholeOperand<T>, kMaxWholeOperands> operands;
  const PairGroups* groups = nullptr;        // never null in a kernel
  const CancellationToken* token = nullptr;  // null: never cancelled

  bool cancelled() const { return token != nullptr && token->cancelled(); }
};

struct WholeItem {
  double item = 0;
  std::array<double, kMaxComponents> components{};  // in the order of LossRow::components
};

// A value that breaks a rule of the loss.
struct WholeProblem {
  int operand = -1;   // -1: there is none
  int64_t index = 0;  // row-major, of the first such value
  std::string expected;
};

template <class T>
using WholeCheck = WholeProblem (*)(const double* parameters, const WholeBlock<T>& block);

template <class T>
using WholeKernel = void (*)(const double* parameters, const WholeBlock<T>& block, WholeItem* item);

// gradients[o][i] = scale * d item / d operands[o][i], for every o whose gradients[o] is not null.
template <class T>
using WholeGradientKernel = void (*)(const double* parameters, const WholeBlock<T>& block,
                                     double scale, T* const* gradients);

struct WholeKernels {
  WholeCheck<float> check_f32 = nullptr;
  WholeCheck<double> check_f64 = nullptr;
  WholeKernel<float> f32 = nullptr;
  WholeKernel<double> f64 = nullptr;
  WholeGradientKernel<float> gradient_f32 = nullptr;
  WholeGradientKernel<double> gradient_f64 = nullptr;
  uint32_t gradients = 0;  // bit o: there is a gradient of operand o
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_WHOLE_KERNELS_H_
