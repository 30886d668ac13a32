#include "lib/accumulate/block_sum.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/accumulate/block_sum.cc"
#include <hwy/foreach_target.h>
// After foreach_target.h, which includes this file once a target.
#include "lib/accumulate/block_sum-inl.h"

#if HWY_ONCE
namespace lossd {

HWY_EXPORT(Table);

const SumKernels& GetSumKernels() { return *HWY_DYNAMIC_DISPATCH(Table)(); }

}  // namespace lossd
#endif
