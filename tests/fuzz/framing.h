// How a fuzzer's input holds a sequence of messages: a byte says what the rest is; a stream is its
// steps, each after its length as a little-endian u16. Pure functions.
#ifndef LOSSD_TESTS_FUZZ_FRAMING_H_
#define LOSSD_TESTS_FUZZ_FRAMING_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace lossd::fuzz {

enum class Kind : uint8_t { kCompute, kEvaluate, kMerge, kKinds };

inline Kind KindOf(uint8_t first) {
  return static_cast<Kind>(first % static_cast<uint8_t>(Kind::kKinds));
}

inline void PutFramed(std::string_view message, std::string* out) {
  out->push_back(static_cast<char>(message.size() & 0xff));
  out->push_back(static_cast<char>(message.size() >> 8));
  out->append(message);
}

// The next message; cut short at the end of the input. False when nothing is left.
inline bool TakeFramed(std::string_view* in, std::string_view* message) {
  if (in->size() < 2) return false;
  const size_t size =
      static_cast<uint8_t>((*in)[0]) | static_cast<size_t>(static_cast<uint8_t>((*in)[1])) << 8;
  in->remove_prefix(2);
  *message = in->substr(0, size);
  in->remove_prefix(message->size());
  return true;
}

}  // namespace lossd::fuzz

#endif  // LOSSD_TESTS_FUZZ_FRAMING_H_
