#include "lib/wire/payloads.h"

#include <algorithm>
#include <cstdint>
#include <limits>
#include <set>
#include <utility>

#include "google/protobuf/wire_format_lite.h"
#include "lib/wire/decode.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;

// A field on the way from a message to the data of its tensors.
struct Field {
  int number;
  std::span<const Field> within;  // none: the data itself
  bool is_map_entry = false;
};

constexpr int kEntryKey = 1;
constexpr int kEntryValue = 2;
constexpr Field kOfTensor[] = {{v1::Tensor::kDataFieldNumber, {}}};
constexpr Field kOfEntry[] = {{kEntryValue, kOfTensor}};
constexpr Field kOfBatch[] = {{v1::Batch::kInputsFieldNumber, kOfEntry, true}};
constexpr Field kOfConstant[] = {{v1::Constant::kPieceFieldNumber, kOfTensor}};
constexpr Field kOfComputeLoss[] = {{v1::ComputeLossRequest::kInputsFieldNumber, kOfEntry, true}};
constexpr Field kOfEvaluate[] = {{v1::EvaluateRequest::kBatchFieldNumber, kOfBatch},
                                 {v1::EvaluateRequest::kConstantFieldNumber, kOfConstant}};

// Reads pieces as one run of bytes.
class Reader {
 public:
  explicit Reader(const Pieces& pieces) : pieces_(pieces) { SkipEmpty(); }

  size_t position() const { return position_; }

  // False at the end of the bytes. The caller has made sure of more than one byte at a time.
  bool Byte(uint8_t* byte) {
    if (piece_ == pieces_.size()) return false;
    *byte = static_cast<uint8_t>(pieces_[piece_][within_]);
    Advance(1);
    return true;
  }

  // Hands out the next `size` bytes piece by piece.
  template <class Use>
  void Take(size_t size, Use use) {
    while (size > 0) {
      const auto part = pieces_[piece_].subspan(within_, std::min(size, Rest()));
      use(part);
      Advance(part.size());
      size -= part.size();
    }
  }

 private:
  size_t Rest() const { return pieces_[piece_].size() - within_; }
  void Advance(size_t size) {
    within_ += size;
    position_ += size;
    if (within_ < pieces_[piece_].size()) return;
    ++piece_;
    within_ = 0;
    SkipEmpty();
  }
  void SkipEmpty() {
    while (piece_ < pieces_.size() && pieces_[piece_].empty()) ++piece_;
  }

  const Pieces& pieces_;
  size_t piece_ = 0;
  size_t within_ = 0;
  size_t position_ = 0;
};

// Copies a message but for the payloads. Whatever is rare (a field twice, a name twice, groups,
// bytes that end too early) it gives up, and protobuf decides what that means.
class Splitter {
 public:
  Splitter(const Pieces& bytes, size_t size, Payloads* payloads)
      : reader_(bytes), size_(size), payloads_(payloads) {}

  bool Split(std::span<const Field> fields) { return CopyFields(fields, size_, nullptr); }
  // The message without the payloads; protobuf reads lengths that take more bytes than they need.
  const std::string& skeleton() const { return skeleton_; }

 private:
  static constexpr size_t kLengthBytes = 5;

  // Copies the fields of a message up to `end`; `key`: of a map's entry, its key.
  bool CopyFields(std::span<const Field> fields, size_t end, std::string* key) {
    bool descended = false;
    bool has_key = false;
    while (reader_.position() < end) {
      const size_t tag_at = skeleton_.size();
      uint64_t tag, length;
      if (!Varint(&tag) || tag > std::numeric_limits<uint32_t>::max() || tag < 8) return false;
      Append(tag);
      if ((tag & 7) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED) {
        if (!CopyNumber(tag & 7, end)) return false;
        continue;
      }
      if (!Varint(&length) || reader_.position() > end || length > end - reader_.position())
        return false;
      const auto number = static_cast<int>(tag >> 3);
      const auto field = std::ranges::find(fields, number, &Field::number);
      if (field == fields.end()) {
        Append(length);
        const size_t from = skeleton_.size();
        Copy(length);
        if (key == nullptr || number != kEntryKey) continue;
        if (std::exchange(has_key, true)) return false;
        key->assign(skeleton_, from);
        continue;
      }
      // What comes twice is merged, or the last of it counts.
      if (!field->is_map_entry && std::exchange(descended, true)) return false;
      const bool went_well =
          field->within.empty() ? TakeData(tag_at, length) : CopyWithin(*field, length);
      if (!went_well) return false;
    }
    return reader_.position() == end;
  }

  bool CopyWithin(const Field& field, size_t length) {
    const size_t length_at = skeleton_.size();
    skeleton_.append(kLengthBytes, '\0');
    const size_t end = reader_.position() + length;
    std::string key;
    if (!CopyFields(field.within, end, field.is_map_entry ? &key : nullptr)) return false;
    size_t left = skeleton_.size() - length_at - kLengthBytes;
    for (size_t i = 0; i < kLengthBytes; ++i, left >>= 7)
      skeleton_[length_at + i] = static_cast<char>((left & 0x7F) | (i + 1 < kLengthBytes) << 7);
    if (field.is_map_entry) return EndEntry(std::move(key));
    // The value of an entry is named by its key, which may yet come.
    if (field.number == kEntryValue || data_.empty()) return true;
    payloads_->emplace("", PiecewiseBytes(std::exchange(data_, {})));
    return true;
  }

  bool EndEntry(std::string key) {
    if (names_.size() == kMaxInputsOfRequest || !names_.insert(key).second) return false;
    if (data_.empty()) return true;
    payloads_->emplace(std::move(key), PiecewiseBytes(std::exchange(data_, {})));
    return true;
  }

  bool TakeData(size_t tag_at, size_t length) {
    if (length < kMinPayloadBytes) {
      Append(length);
      Copy(length);
      return true;
    }
    skeleton_.resize(tag_at);
    reader_.Take(length, [this](std::span<const std::byte> part) { data_.push_back(part); });
    return true;
  }

  bool CopyNumber(uint64_t wire_type, size_t end) {
    uint64_t value;
    switch (wire_type) {
      case WireFormatLite::WIRETYPE_VARINT:
        if (!Varint(&value)) return false;
        Append(value);
        return true;
      case WireFormatLite::WIRETYPE_FIXED32:
        return reader_.position() + 4 <= end && Copy(4);
      case WireFormatLite::WIRETYPE_FIXED64:
        return reader_.position() + 8 <= end && Copy(8);
      default:
        return false;
    }
  }

  bool Varint(uint64_t* value) {
    *value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      uint8_t byte;
      if (!reader_.Byte(&byte)) return false;
      *value |= uint64_t{byte & 0x7Fu} << shift;
      if (byte < 0x80) return true;
    }
    return false;
  }

  void Append(uint64_t varint) {
    for (; varint >= 0x80; varint >>= 7)
      skeleton_.push_back(static_cast<char>((varint & 0x7F) | 0x80));
    skeleton_.push_back(static_cast<char>(varint));
  }

  bool Copy(size_t size) {
    reader_.Take(size, [this](std::span<const std::byte> part) {
      skeleton_.append(reinterpret_cast<const char*>(part.data()), part.size());
    });
    return true;
  }

  Reader reader_;
  const size_t size_;
  Payloads* const payloads_;
  std::string skeleton_;
  std::set<std::string, std::less<>> names_;
  Pieces data_;  // of the tensor that is being copied
};

template <class Message>
bool ParseWhole(const Pieces& bytes, size_t size, Message* message) {
  if (bytes.size() == 1)
    return message->ParseFromArray(bytes[0].data(), static_cast<int>(bytes[0].size()));
  std::string joined;
  joined.reserve(size);
  for (const auto& piece : bytes)
    joined.append(reinterpret_cast<const char*>(piece.data()), piece.size());
  return message->ParseFromString(joined);
}

template <class Message>
bool Parse(const Pieces& bytes, std::span<const Field> fields, Message* message,
           Payloads* payloads) {
  size_t size = 0;
  for (const auto& piece : bytes) size += piece.size();
  if (size > std::numeric_limits<int>::max()) return false;  // protobuf takes no more either
  payloads->clear();
  if (size < kMinSplitBytes) return ParseWhole(bytes, size, message);
  Splitter splitter(bytes, size, payloads);
  if (splitter.Split(fields)) return message->ParseFromString(splitter.skeleton());
  payloads->clear();
  return ParseWhole(bytes, size, message);
}

}  // namespace

const Payloads& NoPayloads() {
  static const Payloads none;
  return none;
}

bool ParseInPlace(const Pieces& bytes, v1::ComputeLossRequest* request, Payloads* payloads) {
  return Parse(bytes, kOfComputeLoss, request, payloads);
}

bool ParseInPlace(const Pieces& bytes, v1::EvaluateRequest* step, Payloads* payloads) {
  return Parse(bytes, kOfEvaluate, step, payloads);
}

}  // namespace lossd
