// The layout of a state, format 1. All integers and doubles are little-endian.
//
//   "LSSD"             magic
//   u32 format         1
//   u32 revision       arithmetic revision of the writer
//   u32 length         bytes of the body
//   body
//     u8[32]           fingerprint
//     u32              number of losses, and for each:
//       u8, bytes      length and characters of the name
//       u8, bytes      length and bytes of the label
//       u8             flags: 1 pooled, 2 weight set, 4 weighted
//       f64            weight (0 if not set)
//       u8             compute type: 0 none yet, else the DataType
//       i64 x 4        items, ignored, NaN, infinite
//       i64 x 3        items of each kind that the loss counts
//       f64 x 2        minimum, maximum (+inf, -inf if none)
//       exact sum x 5  three parts, weights, squares (layout in accumulate/exact_sum.cc)
//       u32            number of pools, and for each: exact sum
//       u8             constants of the pools' report, 0 without pools, and for each: f64, finite
//   u32                CRC-32C of all before it
#include "lib/evaluation/state.h"

#include <bit>
#include <boost/crc.hpp>
#include <boost/locale/utf.hpp>
#include <cmath>
#include <cstring>

#include "lib/base/status.h"
#include "lib/losses/catalogue.h"

namespace lossd {
namespace {

static_assert(std::endian::native == std::endian::little,
              "states are written as the processor holds numbers");

constexpr std::string_view kMagic = "LSSD";
constexpr size_t kHeaderSize = 16;
constexpr size_t kChecksumSize = 4;
constexpr uint8_t kPooled = 1, kWeightSet = 2, kWeighted = 4;

uint32_t Crc32c(std::string_view bytes) {
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  return crc.checksum();
}

template <class T>
void Put(T value, std::string* out) {
  out->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void PutText(std::string_view text, std::string* out) {
  Put(static_cast<uint8_t>(text.size()), out);
  out->append(text);
}

template <class T>
bool Take(std::string_view* in, T* value) {
  if (in->size() < sizeof(T)) return false;
  std::memcpy(value, in->data(), sizeof(T));
  in->remove_prefix(sizeof(T));
  return true;
}

bool TakeText(std::string_view* in, std::string* text) {
  uint8_t size = 0;
  if (!Take(in, &size) || in->size() < size) return false;
  text->assign(in->substr(0, size));
  in->remove_prefix(size);
  return true;
}

bool IsUtf8(std::string_view text) {
  namespace utf = boost::locale::utf;
  for (auto at = text.begin(); at != text.end();) {
    const utf::code_point point = utf::utf_traits<char>::decode(at, text.end());
    if (point == utf::illegal || point == utf::incomplete) return false;
  }
  return true;
}

void PutLoss(const LossState& loss, std::string* out) {
  PutText(loss.row->name, out);
  PutText(loss.label, out);
  const LossSums& sums = loss.sums;
  Put(static_cast<uint8_t>((loss.pooled ? kPooled : 0) |
                           (loss.weight.has_value() ? kWeightSet : 0) |
                           (sums.weighted ? kWeighted : 0)),
      out);
  Put(loss.weight.value_or(0.0), out);
  Put(static_cast<uint8_t>(loss.compute_type.has_value() ? static_cast<uint8_t>(*loss.compute_type)
                                                         : 0),
      out);
  for (const int64_t count : {sums.items, sums.ignored_items, sums.nan_items, sums.inf_items})
    Put(count, out);
  for (const int64_t count : sums.kinds) Put(count, out);
  Put(sums.minimum, out);
  Put(sums.maximum, out);
  for (const ExactSum& part : sums.parts) part.Serialize(out);
  sums.weight.Serialize(out);
  sums.squares.Serialize(out);
  Put(static_cast<uint32_t>(sums.pools.size()), out);
  for (const ExactSum& pool : sums.pools) pool.Serialize(out);
  Put(static_cast<uint8_t>(sums.constants.size()), out);
  for (const double constant : sums.constants) Put(constant, out);
}

// `left`: pools that the state may still have.
bool TakePools(std::string_view* in, size_t* left, LossSums* sums) {
  uint32_t count = 0;
  if (!Take(in, &count) || count > *left) return false;
  *left -= count;
  sums->pools.resize(count);
  for (ExactSum& pool : sums->pools) {
    if (!pool.Parse(in)) return false;
  }
  uint8_t constants = 0;
  if (!Take(in, &constants) || constants > (count == 0 ? 0 : kMaxParameters)) return false;
  sums->constants.resize(constants);
  for (double& constant : sums->constants) {
    if (!Take(in, &constant) || !std::isfinite(constant)) return false;
  }
  return true;
}

bool TakeSums(std::string_view* in, size_t* pools_left, LossSums* sums) {
  for (int64_t* count : {&sums->items, &sums->ignored_items, &sums->nan_items, &sums->inf_items}) {
    if (!Take(in, count) || *count < 0) return false;
  }
  for (int64_t& count : sums->kinds) {
    if (!Take(in, &count) || count < 0) return false;
  }
  if (!Take(in, &sums->minimum) || !Take(in, &sums->maximum)) return false;
  for (const double extreme : {sums->minimum, sums->maximum}) {
    // Neither is written as NaN or as -0; the smaller of -0 and +0 would depend on their order.
    if (std::isnan(extreme) || (extreme == 0 && std::signbit(extreme))) return false;
  }
  for (ExactSum& part : sums->parts) {
    if (!part.Parse(in)) return false;
  }
  return sums->weight.Parse(in) && sums->squares.Parse(in) && TakePools(in, pools_left, sums);
}

bool TakeLoss(std::string_view* in, size_t* pools_left, LossState* loss) {
  std::string name;
  uint8_t flags = 0;
  double weight = 0;
  uint8_t compute_type = 0;
  if (!TakeText(in, &name) || !TakeText(in, &loss->label) || !IsUtf8(loss->label) ||
      !Take(in, &flags) || !Take(in, &weight) || !Take(in, &compute_type)) {
    return false;
  }
  loss->row = Catalogue::Get().Find(name);
  if (loss->row == nullptr || flags > (kPooled | kWeightSet | kWeighted) || !std::isfinite(weight))
    return false;
  loss->pooled = (flags & kPooled) != 0;
  if (loss->pooled && loss->row->signatures[0].pooling.report == nullptr) return false;
  loss->weight = (flags & kWeightSet) != 0 ? std::optional<double>(weight) : std::nullopt;
  if (!loss->weight.has_value() && std::bit_cast<uint64_t>(weight) != 0) return false;
  loss->sums.weighted = (flags & kWeighted) != 0;
  const auto type = static_cast<DataType>(compute_type);
  if (compute_type != 0) {
    if (type != DataType::kFloat32 && type != DataType::kFloat64) return false;
    loss->compute_type = type;
  }
  return TakeSums(in, pools_left, &loss->sums);
}

bool TakeBody(std::string_view body, EvaluationState* state) {
  uint32_t count = 0;
  if (!Take(&body, &state->fingerprint) || !Take(&body, &count)) return false;
  if (count > static_cast<uint32_t>(kMaxLosses)) return false;
  size_t pools_left = kMaxPools;
  for (uint32_t i = 0; i < count; ++i) {
    LossState loss;
    if (!TakeLoss(&body, &pools_left, &loss)) return false;
    state->losses.push_back(std::move(loss));
  }
  return body.empty();
}

absl::Status Invalid(std::string_view why) {
  return InvalidArgument("INVALID_STATE", "", "not a state of an evaluation: " + std::string(why));
}

}  // namespace

absl::Status EvaluationState::Merge(const EvaluationState& other) {
  const auto mismatch = [] {
    return InvalidArgument(
        "FINGERPRINT_MISMATCH", "",
        "the state belongs to another evaluation: its losses, parameters, constants or "
        "options differ");
  };
  if (fingerprint != other.fingerprint || losses.size() != other.losses.size()) return mismatch();
  for (size_t i = 0; i < losses.size(); ++i) {
    // Not so but in a state that was made up: the fingerprint covers both.
    if (losses[i].row != other.losses[i].row || losses[i].pooled != other.losses[i].pooled)
      return mismatch();
    const auto& mine = losses[i].compute_type;
    const auto& theirs = other.losses[i].compute_type;
    if (mine.has_value() && theirs.has_value() && *mine != *theirs) {
      return InvalidArgument("DTYPE_MISMATCH", "",
                             std::string(losses[i].row->name) + ": one state was computed in " +
                                 std::string(Name(*mine)) + ", another in " +
                                 std::string(Name(*theirs)));
    }
    const std::vector<double>& my_constants = losses[i].sums.constants;
    const std::vector<double>& their_constants = other.losses[i].sums.constants;
    if (!my_constants.empty() && !their_constants.empty() && my_constants != their_constants)
      return mismatch();
    const size_t my_pools = losses[i].sums.pools.size();
    const size_t their_pools = other.losses[i].sums.pools.size();
    if (my_pools != 0 && their_pools != 0 && my_pools != their_pools) {
      return InvalidArgument("SHAPE_MISMATCH", "",
                             std::string(losses[i].row->name) +
                                 ": the states were computed with different numbers of classes");
    }
  }
  for (size_t i = 0; i < losses.size(); ++i) {
    LossState& loss = losses[i];
    const LossState& from = other.losses[i];
    if (loss.label != from.label) loss.label.clear();
    if (loss.weight != from.weight) loss.weight.reset();
    if (!loss.compute_type.has_value()) loss.compute_type = from.compute_type;
    loss.sums.Merge(from.sums);
  }
  return absl::OkStatus();
}

std::string EvaluationState::Serialize() const {
  std::string body(reinterpret_cast<const char*>(fingerprint.data()), fingerprint.size());
  Put(static_cast<uint32_t>(losses.size()), &body);
  for (const LossState& loss : losses) PutLoss(loss, &body);
  std::string bytes(kMagic);
  Put(kStateFormat, &bytes);
  Put(static_cast<uint32_t>(kArithmeticRevision), &bytes);
  Put(static_cast<uint32_t>(body.size()), &bytes);
  bytes += body;
  Put(Crc32c(bytes), &bytes);
  return bytes;
}

absl::StatusOr<EvaluationState> EvaluationState::Parse(std::string_view bytes) {
  if (bytes.size() < kHeaderSize + kChecksumSize) return Invalid("it is too short");
  if (bytes.substr(0, kMagic.size()) != kMagic) return Invalid("it does not begin with LSSD");
  uint32_t checksum = 0;
  std::memcpy(&checksum, bytes.data() + bytes.size() - kChecksumSize, sizeof(checksum));
  const std::string_view checked = bytes.substr(0, bytes.size() - kChecksumSize);
  if (Crc32c(checked) != checksum) return Invalid("its checksum is wrong: it is cut or corrupted");
  uint32_t format = 0, revision = 0, length = 0;
  std::string_view rest = checked.substr(kMagic.size());
  if (!Take(&rest, &format) || !Take(&rest, &revision) || !Take(&rest, &length))
    return Invalid("it is too short");
  if (format != kStateFormat) {
    return FailedPrecondition("STATE_FORMAT", "",
                              "the state has format " + std::to_string(format) +
                                  ", this version reads " + std::to_string(kStateFormat));
  }
  if (revision != static_cast<uint32_t>(kArithmeticRevision)) {
    return FailedPrecondition("ARITHMETIC_REVISION", "",
                              "the state has arithmetic revision " + std::to_string(revision) +
                                  ", this version computes " + std::to_string(kArithmeticRevision));
  }
  if (length != rest.size()) return Invalid("its length is wrong");
  EvaluationState state;
  if (!TakeBody(rest, &state)) return Invalid("its body is malformed");
  return state;
}

}  // namespace lossd
