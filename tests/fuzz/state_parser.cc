// Fuzzes the parser of evaluation states: what it accepts, it writes back byte for byte; it merges
// with itself and with what came of that, and can be reported.
//
// A checksum would stop nearly every mutation, so the input is taken twice: as the bytes of a
// state, and as the body of one, with a header and checksum made for it.
#include <boost/crc.hpp>
#include <cstdlib>
#include <cstring>
#include <string>

#include "lib/evaluation/state.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/encode.h"
#include "lossd/v1/evaluation.pb.h"

namespace lossd::fuzz {
namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

void Append(uint32_t value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The layout drawn in lib/evaluation/state.cc around a body.
std::string WithHeaderAndChecksum(std::string_view body) {
  std::string bytes = "LSSD";
  Append(kStateFormat, &bytes);
  Append(static_cast<uint32_t>(kArithmeticRevision), &bytes);
  Append(static_cast<uint32_t>(body.size()), &bytes);
  bytes += body;
  boost::crc_optimal<32, 0x1EDC6F41, 0xFFFFFFFF, 0xFFFFFFFF, true, true> crc;
  crc.process_bytes(bytes.data(), bytes.size());
  Append(crc.checksum(), &bytes);
  return bytes;
}

void Try(std::string_view bytes) {
  const absl::StatusOr<EvaluationState> parsed = EvaluationState::Parse(bytes);
  if (!parsed.ok()) return;
  Check(parsed->Serialize() == bytes);
  v1::EvaluationResult result;
  EncodeEvaluation(*parsed, &result);
  Check(result.state().value() == bytes);

  EvaluationState twice = *parsed;
  Check(twice.Merge(*parsed).ok());
  EvaluationState thrice = *parsed;
  Check(thrice.Merge(twice).ok() && twice.Merge(*parsed).ok());
  const std::string sum = twice.Serialize();
  Check(thrice.Serialize() == sum);
  const absl::StatusOr<EvaluationState> again = EvaluationState::Parse(sum);
  if (again.ok()) Check(again->Serialize() == sum);
  v1::EvaluationResult merged;
  EncodeEvaluation(twice, &merged);
}

}  // namespace
}  // namespace lossd::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  lossd::fuzz::Try(bytes);
  lossd::fuzz::Try(lossd::fuzz::WithHeaderAndChecksum(bytes));
  return 0;
}
