// What the unit tests and the fuzzer share: a message parsed in place is the one that protobuf
// parses.
//
// For tests only. Thread-safety: pure functions.
#ifndef LOSSD_LIB_WIRE_PAYLOADS_TESTING_H_
#define LOSSD_LIB_WIRE_PAYLOADS_TESTING_H_

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "google/protobuf/util/message_differencer.h"
#include "lib/wire/payloads.h"

namespace lossd {

// The bytes in pieces of `size`, the first of `first`.
inline Pieces CutInPieces(std::string_view bytes, size_t first, size_t size) {
  Pieces pieces;
  const auto rest = std::as_bytes(std::span(bytes));
  for (size_t at = 0, length = first; at < rest.size(); at += length, length = size) {
    length = std::min(length, rest.size() - at);
    pieces.push_back(rest.subspan(at, length));
  }
  return pieces;
}

inline std::string Joined(const PiecewiseBytes& payload) {
  std::string bytes(payload.size(), '\0');
  auto* const to = reinterpret_cast<std::byte*>(bytes.data());
  const std::byte* from = payload.Run(0, payload.size(), to);
  if (from != to) std::copy_n(from, payload.size(), to);
  return bytes;
}

// Puts the payloads back; false where one belongs to no tensor, or to one that has data.
inline bool PutBack(const Payloads& payloads, google::protobuf::Map<std::string, v1::Tensor>* to) {
  for (const auto& [name, payload] : payloads) {
    const auto tensor = to->find(name);
    if (tensor == to->end() || !tensor->second.data().empty()) return false;
    tensor->second.set_data(Joined(payload));
  }
  return true;
}
inline bool PutBack(const Payloads& payloads, v1::ComputeLossRequest* request) {
  return PutBack(payloads, request->mutable_inputs());
}
inline bool PutBack(const Payloads& payloads, v1::EvaluateRequest* step) {
  if (step->has_batch()) return PutBack(payloads, step->mutable_batch()->mutable_inputs());
  // Of a batch or constant that another step replaced nobody asks.
  if (!step->has_constant() || payloads.empty()) return true;
  if (payloads.size() != 1 || !payloads.contains("")) return false;
  step->mutable_constant()->mutable_piece()->set_data(Joined(payloads.begin()->second));
  return true;
}

// Whether both ways of parsing take the bytes and agree, or both refuse them.
template <class Message>
bool ParsesAlike(std::string_view bytes, const Pieces& pieces) {
  Message whole, in_place;
  Payloads payloads;
  const bool taken = whole.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()));
  if (ParseInPlace(pieces, &in_place, &payloads) != taken) return false;
  if (!taken) return true;
  if (!PutBack(payloads, &in_place)) return false;
  google::protobuf::util::MessageDifferencer differencer;
  // NaN parameters equal themselves.
  google::protobuf::util::DefaultFieldComparator comparator;
  comparator.set_treat_nan_as_equal(true);
  differencer.set_field_comparator(&comparator);
  return differencer.Compare(whole, in_place);
}

}  // namespace lossd

#endif  // LOSSD_LIB_WIRE_PAYLOADS_TESTING_H_
