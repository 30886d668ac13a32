// Canonical bytes of an ExactSum, all little-endian:
//
//   +0      u8   count | 0x80 if any non-finite term was added
//   +1      u8   first
//   +2      u64  limb[first] ... limb[first + count - 1]
//   then, with 0x80 only:
//           u64  number of NaN, u64 number of +inf, u64 number of -inf
//
// The finite part is an integer in units of 2^-1074, in two's complement. Limb i has the weight
// 2^(64 i); limbs below the window are zero, those above repeat the sign of its last limb.
// Canonical is the shortest window: its first limb is not zero and its last limb is not a mere
// repetition of the sign below it; zero has count 0 and first 0. The integer lies in [-2^2162,
// 2^2162): 2098 bits for the doubles and 64 for carries, which 2^64 additions could not exceed.

#include "lib/accumulate/exact_sum.h"

#include <limits>

#include "lib/accumulate/rounding.h"

namespace lossd {
namespace {

constexpr uint8_t kNonFiniteFlag = 0x80;
// The last limb that a number in range reaches, and how many of its bits, below the sign.
constexpr int kTopLimb = 33;
constexpr int kTopLimbBits = 2162 - 64 * kTopLimb;

void AppendU64(uint64_t value, std::string* out) {
  char bytes[8];
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  out->append(bytes, 8);
}

uint64_t ReadU64(std::string_view bytes, size_t at) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) {
    value |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[at + i])) << (8 * i);
  }
  return value;
}

// All ones for a number whose sign bit is set, else 0.
uint64_t SignLimb(uint64_t limb) { return (limb >> 63) != 0 ? ~uint64_t{0} : 0; }

// Counts stay at their maximum, so that no forged state can wrap one back to "nothing was NaN";
// saturating addition is associative and commutative too.
void AddSaturated(uint64_t value, uint64_t* count) {
  *count = value > std::numeric_limits<uint64_t>::max() - *count
               ? std::numeric_limits<uint64_t>::max()
               : *count + value;
}

}  // namespace

void ExactSum::AddNonFinite(uint64_t bits) {
  constexpr uint64_t kInfinity = uint64_t{0x7ff} << 52;
  if (bits == kInfinity) {
    AddSaturated(1, &positive_infinity_);
  } else if ((bits & ~(uint64_t{1} << 63)) == kInfinity) {
    AddSaturated(1, &negative_infinity_);
  } else {
    AddSaturated(1, &nan_);
  }
}

// Afterwards every chunk but the last lies in [0, 2^32); the last has the sign.
void ExactSum::Carry(Chunks* chunks) {
  int64_t carry = 0;
  for (int i = 0; i < kChunks - 1; ++i) {
    const int64_t value = (*chunks)[i] + carry;
    carry = value >> 32;
    (*chunks)[i] = value & 0xffffffff;
  }
  (*chunks)[kChunks - 1] += carry;
}

void ExactSum::Merge(const ExactSum& other) {
  AddSaturated(other.nan_, &nan_);
  AddSaturated(other.positive_infinity_, &positive_infinity_);
  AddSaturated(other.negative_infinity_, &negative_infinity_);
  if (other.pending_ == 0) return;
  // Both counts are below 2^30, so the chunks stay under 2^63 in magnitude before the carry.
  for (int i = 0; i < kChunks; ++i) chunks_[i] += other.chunks_[i];
  pending_ += other.pending_;
  if (pending_ >= kMaxPending) {
    Carry(&chunks_);
    pending_ = 1;
  }
}

std::array<uint64_t, ExactSum::kLimbs> ExactSum::TwosComplement() const {
  std::array<uint64_t, kLimbs> limbs;
  int64_t carry = 0;
  for (int i = 0; i < kLimbs; ++i) {
    const int64_t low = chunks_[2 * i] + carry;
    const int64_t high = chunks_[2 * i + 1] + (low >> 32);
    carry = high >> 32;
    limbs[i] = (static_cast<uint64_t>(low) & 0xffffffff) | (static_cast<uint64_t>(high) << 32);
  }
  return limbs;
}

ExactSum::Magnitude ExactSum::ToMagnitude() const {
  Magnitude result;
  result.limbs = TwosComplement();
  result.negative = (result.limbs[kLimbs - 1] >> 63) != 0;
  if (result.negative) {
    uint64_t carry = 1;
    for (uint64_t& limb : result.limbs) {
      limb = ~limb + carry;
      carry = (carry != 0 && limb == 0) ? 1 : 0;
    }
  }
  int last = kLimbs;
  while (last > 0 && result.limbs[last - 1] == 0) --last;
  int first = 0;
  while (first < last && result.limbs[first] == 0) ++first;
  result.first = first;
  result.last = last;
  return result;
}

bool ExactSum::IsZero() const {
  if (!IsFinite()) return false;
  for (const uint64_t limb : TwosComplement()) {
    if (limb != 0) return false;
  }
  return true;
}

double ExactSum::NonFiniteValue() const {
  if (nan_ != 0 || (positive_infinity_ != 0 && negative_infinity_ != 0)) {
    return internal::CanonicalNan();
  }
  return internal::SignedInfinity(negative_infinity_ != 0);
}

double ExactSum::Round() const {
  if (!IsFinite()) return NonFiniteValue();
  const Magnitude value = ToMagnitude();
  if (value.last == 0) return 0.0;
  const int top = value.last - 1;
  internal::Uint128 window = value.limbs[top];
  int exponent = 64 * top - 1074;
  if (top > 0) {
    window = (window << 64) | value.limbs[top - 1];
    exponent -= 64;
  }
  return internal::RoundWindow(value.negative, window, exponent, value.first < top - 1);
}

void ExactSum::Serialize(std::string* out) const {
  const std::array<uint64_t, kLimbs> limbs = TwosComplement();
  int last = kLimbs;
  // Drop each last limb that only repeats the sign of the one below (of 0 below limb 0).
  while (last > 0 && limbs[last - 1] == SignLimb(last > 1 ? limbs[last - 2] : 0)) --last;
  int first = 0;
  while (first < last && limbs[first] == 0) ++first;
  if (first == last) first = last = 0;
  out->push_back(static_cast<char>((last - first) | (IsFinite() ? 0 : kNonFiniteFlag)));
  out->push_back(static_cast<char>(first));
  for (int i = first; i < last; ++i) AppendU64(limbs[i], out);
  if (!IsFinite()) {
    AppendU64(nan_, out);
    AppendU64(positive_infinity_, out);
    AppendU64(negative_infinity_, out);
  }
}

bool ExactSum::Parse(std::string_view* in) {
  if (in->size() < 2) return false;
  const uint8_t header = static_cast<uint8_t>((*in)[0]);
  const bool non_finite = (header & kNonFiniteFlag) != 0;
  const int count = header & ~kNonFiniteFlag;
  const int first = static_cast<uint8_t>((*in)[1]);
  const int last = first + count;
  if (count == 0 ? first != 0 : last > kTopLimb + 1) return false;
  const size_t limb_bytes = 8 * static_cast<size_t>(count);
  const size_t size = 2 + limb_bytes + (non_finite ? 24 : 0);
  if (in->size() < size) return false;

  ExactSum parsed;
  uint64_t limb = 0;
  for (int i = first; i < last; ++i) {
    const uint64_t below = limb;
    limb = ReadU64(*in, 2 + 8 * static_cast<size_t>(i - first));
    if (i == first && limb == 0) return false;
    if (i == last - 1 && i > first && limb == SignLimb(below)) return false;
    parsed.chunks_[2 * i] = static_cast<int64_t>(limb & 0xffffffff);
    parsed.chunks_[2 * i + 1] = static_cast<int64_t>(limb >> 32);
  }
  if (last == kTopLimb + 1) {
    const int64_t beyond = static_cast<int64_t>(limb) >> kTopLimbBits;
    if (beyond != 0 && beyond != -1) return false;
  }
  if (SignLimb(limb) != 0) {
    for (int i = 2 * last; i < kChunks; ++i) parsed.chunks_[i] = 0xffffffff;
    parsed.chunks_[kChunks - 1] = -1;
  }
  parsed.pending_ = count != 0 ? 1 : 0;
  if (non_finite) {
    parsed.nan_ = ReadU64(*in, 2 + limb_bytes);
    parsed.positive_infinity_ = ReadU64(*in, 10 + limb_bytes);
    parsed.negative_infinity_ = ReadU64(*in, 18 + limb_bytes);
    if (parsed.IsFinite()) return false;
  }
  *this = parsed;
  in->remove_prefix(size);
  return true;
}

bool ExactSum::operator==(const ExactSum& other) const {
  return nan_ == other.nan_ && positive_infinity_ == other.positive_infinity_ &&
         negative_infinity_ == other.negative_infinity_ &&
         TwosComplement() == other.TwosComplement();
}

}  // namespace lossd
