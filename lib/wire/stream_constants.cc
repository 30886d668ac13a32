#include "lib/wire/stream_constants.h"

#include <algorithm>
#include <cstring>
#include <deque>
#include <set>
#include <string_view>

#include "lib/base/status.h"
#include "lib/wire/decode.h"

namespace lossd {
namespace {

std::string ConstantPath(int index) { return "spec.constants[" + std::to_string(index) + "]"; }

// An input that differs from sample to sample cannot be a constant.
absl::Status CheckMayBeConstant(const std::string& name, const std::string& path,
                                const std::vector<LossSpec>& losses) {
  for (const LossSpec& loss : losses) {
    for (const Signature& signature : loss.row->signatures) {
      for (const Input& input : signature.inputs) {
        const auto bound = loss.inputs.find(input.name);
        const bool takes = bound != loss.inputs.end() ? bound->second == name : name == input.name;
        if (!takes || IsConstantInput(*loss.row, input.name)) continue;
        return InvalidArgument("NOT_A_CONSTANT", path + ".name",
                               std::string(loss.row->name) + ": " + input.name +
                                   " has a value for every sample, so it goes with the batches");
      }
    }
  }
  if (name == kSampleWeight) {
    return InvalidArgument("NOT_A_CONSTANT", path + ".name", "sample_weight goes with the batches");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status StreamConstants::Announce(const v1::EvaluationSpec& spec,
                                       const std::vector<LossSpec>& losses, int64_t max_bytes) {
  if (spec.constants_size() > kMaxConstants) {
    return InvalidArgument("TOO_MANY_CONSTANTS", "spec.constants",
                           "expected at most " + std::to_string(kMaxConstants) +
                               " constants, got " + std::to_string(spec.constants_size()));
  }
  int64_t total = 0;
  std::set<std::string_view> names;
  for (int i = 0; i < spec.constants_size(); ++i) {
    const v1::ConstantSpec& announced = spec.constants(i);
    const std::string path = ConstantPath(i);
    if (absl::Status s = CheckName(announced.name(), path + ".name"); !s.ok()) return s;
    const absl::StatusOr<DataType> dtype = DecodeDataType(announced.dtype());
    if (!dtype.ok()) return WithFieldPrefix(dtype.status(), path);
    const absl::StatusOr<Shape> shape =
        Shape::Create({announced.shape().data(), static_cast<size_t>(announced.shape_size())});
    if (!shape.ok()) return WithFieldPrefix(shape.status(), path);
    Constant constant;
    constant.identity = {announced.name(), *dtype, *shape, {}};
    if (announced.sha256().size() != constant.identity.sha256.size()) {
      return InvalidArgument("INVALID_SHA256", path + ".sha256",
                             "expected 32 bytes, got " + std::to_string(announced.sha256().size()));
    }
    std::memcpy(constant.identity.sha256.data(), announced.sha256().data(),
                constant.identity.sha256.size());
    if (!names.insert(announced.name()).second) {
      return InvalidArgument("DUPLICATE_INPUT", path + ".name",
                             announced.name() + " is announced twice");
    }
    if (absl::Status s = CheckMayBeConstant(announced.name(), path, losses); !s.ok()) return s;
    if (absl::Status s = CheckAllUsed(losses, {{announced.name(), TensorView()}}); !s.ok()) {
      return InvalidArgument("UNKNOWN_INPUT", path + ".name", std::string(s.message()));
    }
    const auto bytes = static_cast<int64_t>(constant.byte_size());
    if (bytes > max_bytes - total) {
      return ResourceExhausted("CONSTANTS_TOO_LARGE", path,
                               "the constants of the stream are larger than the limit of " +
                                   std::to_string(max_bytes) + " bytes (--max-constant-bytes)");
    }
    total += bytes;
    constants_.push_back(std::move(constant));
  }
  return absl::OkStatus();
}

absl::Status StreamConstants::CheckDigest(const Constant& constant) const {
  const std::string_view bytes(reinterpret_cast<const char*>(constant.bytes.data()),
                               constant.bytes.size());
  if (Sha256(bytes) == constant.identity.sha256) return absl::OkStatus();
  return InvalidArgument(
      "CONSTANT_CHECKSUM", "constant.piece",
      "the bytes of " + constant.identity.name + " have another SHA-256 than its spec says");
}

absl::Status StreamConstants::Take(const v1::Constant& constant, const Payloads& payloads) {
  const auto found = std::ranges::find_if(constants_, [&](const Constant& candidate) {
    return candidate.identity.name == constant.name();
  });
  if (found == constants_.end()) {
    return InvalidArgument("UNKNOWN_CONSTANT", "constant.name",
                           "the spec announces no constant " + constant.name());
  }
  const ConstantIdentity& identity = found->identity;
  const size_t element_size = ByteSize(identity.dtype);
  const auto received = static_cast<int64_t>(found->bytes.size() / element_size);
  if (constant.offset() != received) {
    return InvalidArgument("CONSTANT_OFFSET", "constant.offset",
                           identity.name + ": expected offset " + std::to_string(received) +
                               ", got " + std::to_string(constant.offset()));
  }
  std::deque<std::vector<std::byte>> converted;
  const absl::StatusOr<TensorView> piece =
      DecodeTensor(constant.piece(), FindPayload(payloads, ""), &converted);
  if (!piece.ok()) return WithFieldPrefix(piece.status(), "constant.piece");
  if (piece->dtype() != identity.dtype) {
    return InvalidArgument("DTYPE_MISMATCH", "constant.piece.dtype",
                           identity.name + ": expected " + std::string(Name(identity.dtype)) +
                               ", got " + std::string(Name(piece->dtype())));
  }
  if (piece->shape().rank() != 1 || piece->elements() > identity.shape.elements() - received) {
    return InvalidArgument("SHAPE_MISMATCH", "constant.piece.shape",
                           identity.name + ": expected [n] with n of at most " +
                               std::to_string(identity.shape.elements() - received) + ", got " +
                               piece->shape().ToString());
  }
  // Memory is taken page by page as the pieces fill it, and never twice.
  found->bytes.reserve(found->byte_size());
  const size_t before = found->bytes.size();
  found->bytes.resize(before + piece->byte_size());
  std::byte* const to = found->bytes.data() + before;
  const std::byte* bytes = piece->Run(0, piece->elements(), to);
  if (bytes != to) std::memcpy(to, bytes, piece->byte_size());
  return found->complete() ? CheckDigest(*found) : absl::OkStatus();
}

absl::Status StreamConstants::CheckComplete() const {
  for (const Constant& constant : constants_) {
    if (constant.complete()) continue;
    return InvalidArgument(
        "CONSTANT_INCOMPLETE", "constant",
        constant.identity.name + ": got " + std::to_string(constant.bytes.size()) + " of " +
            std::to_string(constant.byte_size()) + " bytes before the first batch");
  }
  return absl::OkStatus();
}

std::vector<ConstantIdentity> StreamConstants::Identities() const {
  std::vector<ConstantIdentity> identities;
  for (const Constant& constant : constants_) identities.push_back(constant.identity);
  return identities;
}

absl::Status StreamConstants::AddTo(NamedTensors* inputs) const {
  for (const Constant& constant : constants_) {
    const ConstantIdentity& identity = constant.identity;
    const absl::StatusOr<TensorView> view =
        TensorView::Create(identity.dtype, identity.shape, constant.bytes);
    if (!view.ok()) return view.status();
    if (inputs->emplace(identity.name, *view).second) continue;
    return InvalidArgument("DUPLICATE_INPUT", "batch.inputs[\"" + identity.name + "\"]",
                           identity.name + " is a constant of the stream");
  }
  return absl::OkStatus();
}

}  // namespace lossd
