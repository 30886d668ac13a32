#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/base/cpu_target.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

int64_t CompiledTarget() { return HWY_TARGET; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <cstdlib>

#include "lib/base/cpu_target.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

HWY_EXPORT(CompiledTarget);

struct NamedTarget {
  std::string_view name;
  int64_t bit;
};

constexpr NamedTarget kNamedTargets[] = {
    {"avx2", HWY_AVX2}, {"avx512", HWY_AVX3}, {"neon", HWY_NEON}};

absl::Status Choose() {
  const int64_t built = HWY_TARGETS;
  const int64_t runs = hwy::SupportedTargets() & built;
  if (runs == 0) {
    return FailedPrecondition(
        "PROCESSOR_NOT_SUPPORTED", "",
        "lossd needs a processor with AVX2 and FMA (x86-64) or NEON (aarch64); this one "
        "has neither");
  }
  const char* forced = std::getenv("LOSSD_TARGET");
  if (forced != nullptr && *forced != '\0') {
    int64_t bit = 0;
    std::string available;
    for (const NamedTarget& target : kNamedTargets) {
      if ((target.bit & runs) == 0) continue;
      if (target.name == forced) bit = target.bit;
      available += (available.empty() ? "" : ", ") + std::string(target.name);
    }
    if (bit == 0) {
      return FailedPrecondition(
          "TARGET_NOT_AVAILABLE", "LOSSD_TARGET",
          "LOSSD_TARGET=" + std::string(forced) +
              " names no instruction set that was built and runs here; available: " + available);
    }
    hwy::SetSupportedTargetsForTest(bit);
  }
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  return absl::OkStatus();
}

}  // namespace

absl::Status InitCpuTarget() {
  static const absl::Status* status = new absl::Status(Choose());
  return *status;
}

std::string_view CpuTargetName(int64_t target_bit) {
  for (const NamedTarget& target : kNamedTargets) {
    if (target.bit == target_bit) return target.name;
  }
  return "unknown";
}

std::string_view ActiveCpuTarget() {
  if (!InitCpuTarget().ok()) return "unknown";
  return CpuTargetName(HWY_DYNAMIC_DISPATCH(CompiledTarget)());
}

}  // namespace lossd

#endif  // HWY_ONCE
