// What the reactors work with. Non-owning: the server owns the parts and outlives every call.
#ifndef LOSSD_SERVER_RPC_SERVICE_PARTS_H_
#define LOSSD_SERVER_RPC_SERVICE_PARTS_H_

#include <cstdint>

#include "lib/wire/loss_engine.h"
#include "server/admission/admission.h"
#include "server/logging/logger.h"
#include "server/metrics/metrics.h"

namespace lossd {

struct ServiceParts {
  LossEngine* engine;
  Admission* admission;
  Metrics* metrics;
  Logger* logger;
  int64_t max_message_bytes;  // flag max-message-bytes
};

}  // namespace lossd

#endif  // LOSSD_SERVER_RPC_SERVICE_PARTS_H_
