// What a loss of masks hands to its form: sums over the positions of a mask, such as those of what
// prediction and target have in common and of what they do not, and the loss of a class as a
// function of them.
//
// Thread-safety: kernels hold no state, allocate nothing and do not fail. Ownership: the memory is
// the form's. Pointers need no alignment beyond a byte, unless it is said.
#ifndef LOSSD_LIB_FORMS_MASK_KERNELS_H_
#define LOSSD_LIB_FORMS_MASK_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// Sums of a class, at most.
inline constexpr int kMaxMaskSums = 3;
// Classes, at most: a form holds some hundred predictions of each, whatever the size of the inputs.
inline constexpr int64_t kMaxMaskClasses = 8192;
// Positions whose terms are added in the compute type, in the layout of rowwise-inl.h; the sums of
// such groups are added in f64, in the order of the positions.
inline constexpr size_t kMaskGroup = 256;

// Consecutive positions of a sample, from a multiple of kMaskGroup on where sums are wanted.
template <class T>
struct MaskBlock {
  size_t n = 0;
  size_t classes = 1;
  const T* predictions = nullptr;  // that of class c at position i is [c * stride + i]
  size_t stride = 0;
  const T* targets = nullptr;        // [n]: one class, which a position has to so much; or
  const int64_t* labels = nullptr;   // [n]: the class of a position, in [0, classes)
  const uint8_t* ignored = nullptr;  // [n]: 1 where the position enters no sum; null: nowhere
  T* scratch = nullptr;              // [classes, kMaskGroup], aligned to 64 bytes
};

// A sum in two parts, high + low, of which `low` is what the additions to `high` rounded off.
struct MaskSum {
  double high = 0;
  double low = 0;
};

// Adds the terms of the positions: sum k of class c is sums[c * kernels.sums + k].
template <class T>
using MaskSumKernel = void (*)(const double* parameters, const MaskBlock<T>& block, MaskSum* sums);

// The terms apart: terms[(c * kernels.sums + k) * stride + i]. A row of `terms` has room for whole
// groups.
template <class T>
using MaskTermKernel = void (*)(const double* parameters, const MaskBlock<T>& block, T* terms,
                                size_t stride);

// gradients[c * stride + i] = scales[i] * sum over all classes b and sums k of
// partials[b * kernels.sums + k] * d term k of class b / d predictions[c * block.stride + i], and
// exactly 0 where the position is ignored. A row of `gradients` has room for whole groups and is
// aligned to 64 bytes. `scales` null: 1.
template <class T>
using MaskGradientKernel = void (*)(const double* parameters, const MaskBlock<T>& block,
                                    const T* partials, const T* scales, T* gradients,
                                    size_t stride);

// The loss of a class whose sums are these; partials[k] = d loss / d sums[k].
using MaskLoss = double (*)(const double* parameters, const double* sums, double* partials);

struct MaskKernels {
  MaskSumKernel<float> sum_f32 = nullptr;
  MaskSumKernel<double> sum_f64 = nullptr;
  MaskTermKernel<float> terms_f32 = nullptr;
  MaskTermKernel<double> terms_f64 = nullptr;
  MaskGradientKernel<float> gradient_f32 = nullptr;
  MaskGradientKernel<double> gradient_f64 = nullptr;
  MaskLoss loss = nullptr;
  int sums = 0;
  int constants = 0;  // leading parameters that the report of pooled sums takes
  // The sums are those of all samples, kept exactly, in place of one set a sample.
  bool pooled = false;
  uint32_t gradients = 0;  // bit o: there is a gradient of operand o
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_MASK_KERNELS_H_
