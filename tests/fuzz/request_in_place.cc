// Fuzzes the parser that leaves the data of tensors where they arrived: whatever the bytes and the
// pieces they come in, it and protobuf take the same messages and make the same of them.
//
// The first byte says what message it is, the second the size of a piece.
#include <cstdio>
#include <cstdlib>
#include <string>

#include "google/protobuf/stubs/logging.h"
#include "lib/wire/payloads_testing.h"
#include "tests/fuzz/framing.h"

namespace lossd::fuzz {
namespace {

// A field that nobody knows, number 1000, in front: messages below kMinSplitBytes would not be
// taken apart.
const std::string& Padding() {
  static const std::string* const padding = [] {
    auto* field = new std::string("\xC2\x3E\x80\x80\x01");
    field->append(kMinSplitBytes, '\0');
    return field;
  }();
  return *padding;
}

template <class Message>
void Compare(std::string_view bytes, size_t piece) {
  const std::string padded = Padding() + std::string(bytes);
  if (ParsesAlike<Message>(padded, CutInPieces(padded, Padding().size() + piece / 2, piece)))
    return;
  std::fprintf(stderr, "the parsers disagree\n");
  std::abort();
}

}  // namespace
}  // namespace lossd::fuzz

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  google::protobuf::SetLogHandler(nullptr);  // it tells of every malformed string
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t piece = size_t{1} + data[1];
  if (lossd::fuzz::KindOf(data[0]) == lossd::fuzz::Kind::kCompute) {
    lossd::fuzz::Compare<lossd::v1::ComputeLossRequest>(bytes, piece);
  } else {
    lossd::fuzz::Compare<lossd::v1::EvaluateRequest>(bytes, piece);
  }
  return 0;
}
