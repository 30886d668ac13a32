// Runs of a tensor's elements as the compute type, wherever and however they lie.
//
// Thread-safety: pure functions; the buffers are the caller's.
#ifndef LOSSD_LIB_FORMS_OPERAND_READER_H_
#define LOSSD_LIB_FORMS_OPERAND_READER_H_

#include <cstddef>
#include <cstdint>
#include <optional>

#include "lib/tensor/tensor_view.h"

namespace lossd {

// Elements [first, first + n) as T (float or double): a pointer to where they lie if they are of T
// and in one run, else `buffer` (n of T), filled. f16, bf16 and f32 widen, which is exact. For an
// integer that T cannot hold exactly, *inexact is set to its index in the run (the first); else it
// is left alone. f64 rounds to f32, which is for sample weights only: any other f64 makes T double.
template <class T>
const T* ReadRun(const TensorView& view, int64_t first, size_t n, T* buffer, int64_t* inexact);

// Elements of an integer or bool tensor as int64.
void ReadLabels(const TensorView& view, int64_t first, size_t n, int64_t* labels);

// Where labels lie from element `first` on, if they are int64, in one run and aligned; else null.
const int64_t* LabelsInPlace(const TensorView& view, int64_t first);

// True if every label is in [0, classes) and none is `ignored`.
bool AreLabels(const int64_t* labels, size_t n, int64_t classes, std::optional<int64_t> ignored);

// One element of any tensor, for messages.
double ReadElement(const TensorView& view, int64_t index);

extern template const float* ReadRun(const TensorView&, int64_t, size_t, float*, int64_t*);
extern template const double* ReadRun(const TensorView&, int64_t, size_t, double*, int64_t*);

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_OPERAND_READER_H_
