// The inputs of an evaluation that are sent once, in pieces, and kept for its stream.
//
// Thread-compatible. Memory grows with the pieces that came, up to the limit that was announced.
#ifndef LOSSD_LIB_WIRE_STREAM_CONSTANTS_H_
#define LOSSD_LIB_WIRE_STREAM_CONSTANTS_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/evaluation/fingerprint.h"
#include "lib/losses/bind.h"
#include "lib/wire/payloads.h"
#include "lossd/v1/loss_service.pb.h"

namespace lossd {

class StreamConstants {
 public:
  // Takes the spec's constants: INVALID_ARGUMENT for a wrong one, RESOURCE_EXHAUSTED where they are
  // larger together than `max_bytes` (flag max-constant-bytes).
  absl::Status Announce(const v1::EvaluationSpec& spec, const std::vector<LossSpec>& losses,
                        int64_t max_bytes);
  // Takes a piece; checks the SHA-256 with the last.
  absl::Status Take(const v1::Constant& constant, const Payloads& payloads);
  // INVALID_ARGUMENT (CONSTANT_INCOMPLETE) while one is.
  absl::Status CheckComplete() const;

  std::vector<ConstantIdentity> Identities() const;
  // Adds the views; INVALID_ARGUMENT (DUPLICATE_INPUT) where a batch brings one of the names
  // itself.
  absl::Status AddTo(NamedTensors* inputs) const;

 private:
  struct Constant {
    ConstantIdentity identity;
    std::vector<std::byte> bytes;  // so far

    size_t byte_size() const {
      return static_cast<size_t>(identity.shape.elements()) * ByteSize(identity.dtype);
    }
    bool complete() const { return bytes.size() == byte_size(); }
  };

  absl::Status CheckDigest(const Constant& constant) const;

  std::vector<Constant> constants_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_STREAM_CONSTANTS_H_
