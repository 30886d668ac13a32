// How results are shown: a table for people, or the protobuf JSON mapping of the response.
// Thread-safe.
#ifndef LOSSD_CLIENT_CLI_REPORT_H_
#define LOSSD_CLIENT_CLI_REPORT_H_

#include <ostream>

#include "google/protobuf/message.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd::cli {

enum class Format { kTable, kJson };

// JSON: proto field names, defaults printed.
void PrintJson(const google::protobuf::Message& message, std::ostream& out);

void PrintCompute(const v1::ComputeLossResponse& response, std::ostream& out);
void PrintEvaluation(const v1::EvaluationResult& result, std::ostream& out);
// The catalogue, one loss a line.
void PrintCatalogue(const v1::ListLossesResponse& response, std::ostream& out);
// Everything about one loss: formula, inputs, parameters.
void PrintLoss(const v1::LossDescription& loss, std::ostream& out);

}  // namespace lossd::cli

#endif  // LOSSD_CLIENT_CLI_REPORT_H_
