// The families of losses. Each function gives its family's table with the kernels of the active
// target; the catalogue lists them. Thread-safe after InitCpuTarget.
#ifndef LOSSD_LIB_LOSSES_FAMILIES_H_
#define LOSSD_LIB_LOSSES_FAMILIES_H_

#include "lib/losses/descriptor.h"

namespace lossd {

LossTable RegressionTable();
LossTable BinaryTable();
LossTable FocalTable();
LossTable HingeTable();
LossTable ZeroOneTable();
LossTable ClassificationTable();
LossTable MarginsTable();
LossTable CtcTable();
LossTable BoxesTable();
LossTable YoloTable();
LossTable SegmentationTable();
LossTable ClassifierTable();
LossTable PairsTable();
LossTable RegularisersTable();
LossTable RangeTable();

// All of them, in the order of the catalogue.
inline constexpr LossTable (*const kFamilies[])() = {
    RegressionTable,     BinaryTable,  FocalTable,      HingeTable,        ZeroOneTable,
    ClassificationTable, MarginsTable, CtcTable,        SegmentationTable, BoxesTable,
    YoloTable,           PairsTable,   ClassifierTable, RegularisersTable, RangeTable,
};

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_FAMILIES_H_
