// Spreads the gradients of a classifier loss over the threads, phase by phase.
//
// Thread-safety: may be called from any thread. Ownership: all that is pointed to, and the outputs,
// live until `done` was called.
#ifndef LOSSD_LIB_BACKENDS_CPU_CLASSIFIER_GRADIENTS_H_
#define LOSSD_LIB_BACKENDS_CPU_CLASSIFIER_GRADIENTS_H_

#include <functional>

#include "absl/status/status.h"
#include "lib/base/cancellation.h"
#include "lib/base/thread_pool.h"
#include "lib/forms/form.h"
#include "lib/tensor/data_type.h"

namespace lossd {

// With the seconds of all threads together.
using GradientsDone = std::function<void(absl::Status, double seconds)>;

// Writes the gradients that are asked for. pool null: on the calling thread.
void ComputeClassifierGradients(ThreadPool* pool, DataType compute_type, const FormCall& call,
                                const GradientCall& gradients, const CancellationToken* token,
                                GradientsDone done);

}  // namespace lossd

#endif  // LOSSD_LIB_BACKENDS_CPU_CLASSIFIER_GRADIENTS_H_
