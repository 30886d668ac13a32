#include "lib/wire/observe.h"

#include <string>

#include "lib/base/status.h"
#include "lib/losses/catalogue.h"

namespace lossd {

void ObserveOutcomes(const std::function<void(const LossObservation&)>& observe,
                     const std::vector<LossSpec>& specs,
                     const std::vector<ComputeOutcome>& outcomes) {
  if (!observe) return;
  for (size_t i = 0; i < specs.size(); ++i) {
    const LossSums& sums = outcomes[i].sums;
    observe({Catalogue::Get().IndexOf(*specs[i].row), specs[i].row->name, sums.items,
             sums.nan_items, sums.inf_items, outcomes[i].seconds});
  }
}

absl::Status CheckStateSize(int64_t bytes, const EngineLimits& limits) {
  if (bytes <= limits.max_state_bytes) return absl::OkStatus();
  return ResourceExhausted("STATE_TOO_LARGE", "",
                           "the state has " + std::to_string(bytes) + " bytes, the limit is " +
                               std::to_string(limits.max_state_bytes) + " (--max-state-bytes)");
}

}  // namespace lossd
