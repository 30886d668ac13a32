// The softmax statistics of rows of classes, by one kernel for every loss of logits.
//
// Wide rows go one by one; rows of few classes lie in the lanes, one a lane. The bits are those of
// the layout of rowwise-inl.h either way.
//
// Thread-safety: pure functions; the arrays are the caller's.
#ifndef LOSSD_LIB_FORMS_SOFTMAX_ROWS_H_
#define LOSSD_LIB_FORMS_SOFTMAX_ROWS_H_

#include <cstddef>

#include "lib/forms/kernels.h"

namespace lossd {

// Fills `softmax` for rows [0, rows) of x, which is [rows, width].
void ComputeSoftmaxRows(const float* x, size_t rows, size_t width, SoftmaxRows<float> softmax);
void ComputeSoftmaxRows(const double* x, size_t rows, size_t width, SoftmaxRows<double> softmax);

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_SOFTMAX_ROWS_H_
