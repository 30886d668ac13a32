// The families of losses. Each function gives its family's table with the kernels of the active
// target; the catalogue lists them. Thread-safe after InitCpuTarget.
#ifndef LOSSD_LIB_LOSSES_FAMILIES_H_
#define LOSSD_LIB_LOSSES_FAMILIES_H_

#include "lib/losses/descriptor.h"

namespace lossd {

LossTable RegressionTable();
LossTable BinaryTable();
LossTable ZeroOneTable();
LossTable ClassificationTable();

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_FAMILIES_H_
