// The kernels of a whole-batch formula:
//
//   template <class T> class Range {
//    public:
//     static constexpr uint32_t kGradients = 1;  // bit o: of operand o
//     // The first value that breaks a rule of the loss.
//     static WholeProblem Check(const double* parameters, const WholeBlock<T>& block);
//     Range(const double* parameters, const WholeBlock<T>& block);
//     void Item(WholeItem* item);
//     void Gradient(double scale, T* const* gradients);
//   };
//
// An object serves one call of Item or of Gradient. Thread-safe: the kernels hold no state.
#ifndef LOSSD_LIB_FORMS_WHOLE_BATCH_H_
#define LOSSD_LIB_FORMS_WHOLE_BATCH_H_

#include "lib/forms/kernels.h"

namespace lossd {

template <class Formula, class T>
WholeProblem CheckWhole(const double* parameters, const WholeBlock<T>& block) {
  return Formula::Check(parameters, block);
}

template <class Formula, class T>
void RunWhole(const double* parameters, const WholeBlock<T>& block, WholeItem* item) {
  Formula(parameters, block).Item(item);
}

template <class Formula, class T>
void RunWholeGradient(const double* parameters, const WholeBlock<T>& block, double scale,
                      T* const* gradients) {
  Formula(parameters, block).Gradient(scale, gradients);
}

template <template <class> class Formula>
constexpr Kernels WholeBatch() {
  Kernels kernels;
  kernels.whole.check_f32 = CheckWhole<Formula<float>, float>;
  kernels.whole.check_f64 = CheckWhole<Formula<double>, double>;
  kernels.whole.f32 = RunWhole<Formula<float>, float>;
  kernels.whole.f64 = RunWhole<Formula<double>, double>;
  kernels.whole.gradient_f32 = RunWholeGradient<Formula<float>, float>;
  kernels.whole.gradient_f64 = RunWholeGradient<Formula<double>, double>;
  kernels.whole.gradients = Formula<float>::kGradients;
  return kernels;
}

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_WHOLE_BATCH_H_
