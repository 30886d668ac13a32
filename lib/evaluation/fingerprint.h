// What two evaluations must share to be resumed or merged: the losses in order with their
// parameters, and the options that change what is reported. Not weights, labels or bindings, nor
// constants beyond their SHA-256.
#ifndef LOSSD_LIB_EVALUATION_FINGERPRINT_H_
#define LOSSD_LIB_EVALUATION_FINGERPRINT_H_

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "lib/accumulate/collector.h"
#include "lib/losses/bind.h"

namespace lossd {

using Sha256Digest = std::array<uint8_t, 32>;

Sha256Digest Sha256(std::string_view bytes);

// A constant of an evaluation, as far as the fingerprint goes.
struct ConstantIdentity {
  std::string name;
  DataType dtype = DataType::kFloat32;
  Shape shape;
  Sha256Digest sha256{};
};

// The order of the constants does not matter.
Sha256Digest Fingerprint(std::span<const LossSpec> losses,
                         std::span<const ConstantIdentity> constants, NonFinitePolicy non_finite);

}  // namespace lossd

#endif  // LOSSD_LIB_EVALUATION_FINGERPRINT_H_
