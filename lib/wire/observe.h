// What calls and sessions of an engine share: telling metrics what was computed, and the limit of a
// state. Thread-safe.
#ifndef LOSSD_LIB_WIRE_OBSERVE_H_
#define LOSSD_LIB_WIRE_OBSERVE_H_

#include <vector>

#include "lib/backends/cpu/compute.h"
#include "lib/losses/bind.h"
#include "lib/wire/loss_engine.h"

namespace lossd {

// Calls `observe`, if set, once a loss.
void ObserveOutcomes(const std::function<void(const LossObservation&)>& observe,
                     const std::vector<LossSpec>& specs,
                     const std::vector<ComputeOutcome>& outcomes);

// RESOURCE_EXHAUSTED (STATE_TOO_LARGE) over the limit, naming its flag.
absl::Status CheckStateSize(int64_t bytes, const EngineLimits& limits);

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_OBSERVE_H_
