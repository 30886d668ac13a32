// How large the work of a call is, and how it is cut over threads. Bits do not depend on it.
//
// Thread-safety: pure functions.
#ifndef LOSSD_LIB_BACKENDS_CPU_CHUNK_SIZE_H_
#define LOSSD_LIB_BACKENDS_CPU_CHUNK_SIZE_H_

#include <cstdint>

#include "lib/forms/form.h"

namespace lossd {

bool IsClassifier(const FormCall& call);

// Units in a chunk.
int64_t UnitsPerChunk(const FormCall& call, int64_t threads);

// Whether the rows of a classifier loss are too few to go round the threads.
bool GoesByClasses(const FormCall& call, int64_t threads);

// Of `size` alike pieces of work, those in a chunk: a few chunks a thread.
int64_t RangeSize(int64_t size, int64_t threads);

// What the work grows with; exact up to kInlineElements.
int64_t ElementsOf(const FormCall& call);

}  // namespace lossd

#endif  // LOSSD_LIB_BACKENDS_CPU_CHUNK_SIZE_H_
