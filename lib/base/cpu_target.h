// Which instruction set the kernels use: the best that was built and the processor has, or the one
// that the environment variable LOSSD_TARGET names (avx2, avx512, neon).
//
// Whoever fetches a kernel table calls InitCpuTarget before, so that the choice is made once,
// before the first dispatch. Thread-safe.
#ifndef LOSSD_LIB_BASE_CPU_TARGET_H_
#define LOSSD_LIB_BASE_CPU_TARGET_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace lossd {

// Makes the choice, the first time; afterwards answers the same. FAILED_PRECONDITION where the
// processor lacks what every target needs (x86: AVX2 and FMA), or LOSSD_TARGET names no target that
// was built and runs. A program calls it first of all and ends on an error: without it kernels
// would stop on an illegal instruction.
absl::Status InitCpuTarget();

// The name of a target by Highway's bit, e.g. "avx2".
std::string_view CpuTargetName(int64_t target_bit);

// The name of the target whose kernels run, as the kernels themselves report it.
std::string_view ActiveCpuTarget();

}  // namespace lossd

#endif  // LOSSD_LIB_BASE_CPU_TARGET_H_
