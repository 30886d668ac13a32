// Layout of a .npy file (numpy.lib.format):
//
//   bytes 0..5    "\x93NUMPY"
//   byte  6, 7    version: 1.0, 2.0 or 3.0
//   bytes 8..     length of the dictionary: 2 bytes in version 1, 4 from version 2 on,
//   little-endian then          the dictionary, a Python literal such as
//                 {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
//   then          the elements
#include "npy_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cctype>
#include <cerrno>
#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/status.h"

namespace lossd::cli {
namespace {

constexpr std::string_view kMagic("\x93NUMPY", 6);

constexpr std::array<std::pair<std::string_view, DataType>, 7> kTypes = {{
    {"<f4", DataType::kFloat32},
    {"<f8", DataType::kFloat64},
    {"<f2", DataType::kFloat16},
    {"<i4", DataType::kInt32},
    {"<i8", DataType::kInt64},
    {"|u1", DataType::kUint8},
    {"|b1", DataType::kBool},
}};

std::optional<DataType> TypeOf(std::string_view descr) {
  for (const auto& [name, type] : kTypes) {
    if (name == descr) return type;
  }
  return std::nullopt;
}

// What follows `'key':` in a Python dictionary, from its first character on; empty if the key is
// not there.
std::string_view ValueOf(std::string_view dictionary, std::string_view key) {
  for (const char quote : {'\'', '"'}) {
    const std::string quoted = quote + std::string(key) + quote;
    size_t at = dictionary.find(quoted);
    if (at == std::string_view::npos) continue;
    at = dictionary.find_first_not_of(" :", at + quoted.size());
    if (at == std::string_view::npos) continue;
    return dictionary.substr(at);
  }
  return {};
}

// "(3, 4)" and "(3,)" and "()".
bool ParseSizes(std::string_view value, std::vector<int64_t>* sizes) {
  const size_t end = value.find(')');
  if (value.empty() || value[0] != '(' || end == std::string_view::npos) return false;
  value = value.substr(1, end - 1);
  while (value.find_first_not_of(' ') != std::string_view::npos) {
    const size_t comma = std::min(value.find(','), value.size());
    int64_t size = 0;
    if (!absl::SimpleAtoi(absl::string_view(value.data(), comma), &size)) return false;
    sizes->push_back(size);
    value = value.substr(std::min(comma + 1, value.size()));
  }
  return true;
}

// Elements that lie together in the source go `step` elements apart.
template <class Element>
void Spread(const std::byte* from, int64_t count, int64_t step, std::byte* to) {
  for (int64_t i = 0; i < count; ++i) {
    std::memcpy(to + static_cast<size_t>(i * step) * sizeof(Element),
                from + static_cast<size_t>(i) * sizeof(Element), sizeof(Element));
  }
}

void Spread(size_t element_bytes, const std::byte* from, int64_t count, int64_t step,
            std::byte* to) {
  switch (element_bytes) {
    case 1:
      return Spread<uint8_t>(from, count, step, to);
    case 2:
      return Spread<uint16_t>(from, count, step, to);
    case 4:
      return Spread<uint32_t>(from, count, step, to);
    default:
      return Spread<uint64_t>(from, count, step, to);
  }
}

}  // namespace

struct NpyFile::Mapping {
  const std::byte* data = nullptr;
  size_t size = 0;
  ~Mapping() {
    if (data != nullptr) munmap(const_cast<std::byte*>(data), size);
  }
};

absl::Status NpyFile::Error(std::string_view message) const {
  return InvalidArgument("INPUT_FILE", "", path_ + ": " + std::string(message));
}

absl::StatusOr<NpyFile> NpyFile::Open(const std::string& path) {
  NpyFile file;
  file.path_ = path;
  const int descriptor = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return file.Error(std::string("cannot open: ") + std::strerror(errno));
  auto mapping = std::make_shared<Mapping>();
  struct stat status {};
  void* address = MAP_FAILED;
  const bool regular = fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
  if (regular && status.st_size > 0) {
    mapping->size = static_cast<size_t>(status.st_size);
    address = mmap(nullptr, mapping->size, PROT_READ, MAP_PRIVATE, descriptor, 0);
  }
  const int error = errno;
  close(descriptor);
  if (!regular) return file.Error("is no regular file");
  if (status.st_size == 0) return file.Error("is empty");
  if (address == MAP_FAILED) return file.Error(std::string("cannot map: ") + std::strerror(error));
  madvise(address, mapping->size, MADV_SEQUENTIAL);
  mapping->data = static_cast<const std::byte*>(address);
  file.mapping_ = std::move(mapping);
  if (absl::Status header = file.ReadHeader(); !header.ok()) return header;
  return file;
}

absl::Status NpyFile::ReadHeader() {
  const std::string_view text(reinterpret_cast<const char*>(mapping_->data), mapping_->size);
  if (text.substr(0, kMagic.size()) != kMagic.substr(0, text.size())) {
    return Error("is no .npy file: the first bytes are not \\x93NUMPY (numpy.save writes one)");
  }
  if (text.size() < 10) return Error("is truncated: the header is incomplete");
  const auto byte = [&](size_t i) {
    return static_cast<size_t>(static_cast<unsigned char>(text[i]));
  };
  const size_t version = byte(6);
  if (version < 1 || version > 3)
    return Error(absl::StrCat("has version ", version, " of the format; 1 to 3 are known"));
  const size_t start = version == 1 ? 10 : 12;
  if (text.size() < start) return Error("is truncated: the header is incomplete");
  size_t length = byte(8) | byte(9) << 8;
  if (version > 1) length |= byte(10) << 16 | byte(11) << 24;
  if (text.size() - start < length) return Error("is truncated: the header is incomplete");
  if (absl::Status status = ReadDictionary(text.substr(start, length)); !status.ok()) return status;

  data_ = std::span<const std::byte>(mapping_->data, mapping_->size).subspan(start + length);
  const size_t expected = static_cast<size_t>(shape_.elements()) * ByteSize(dtype_);
  if (data_.size() < expected) {
    return Error(absl::StrCat("is truncated: ", shape_.ToString(), " of ",
                              std::string(Name(dtype_)), " is ", expected, " bytes, and ",
                              data_.size(), " are there"));
  }
  if (data_.size() > expected) {
    return Error(absl::StrCat("is longer than its header says: ", shape_.ToString(), " of ",
                              std::string(Name(dtype_)), " is ", expected, " bytes, and ",
                              data_.size(), " are there"));
  }
  return absl::OkStatus();
}

absl::Status NpyFile::ReadDictionary(std::string_view dictionary) {
  const std::string_view descr = ValueOf(dictionary, "descr");
  const std::string_view order = ValueOf(dictionary, "fortran_order");
  std::vector<int64_t> sizes;
  if (descr.empty() || order.empty() || !ParseSizes(ValueOf(dictionary, "shape"), &sizes)) {
    return Error("has a header that is no dictionary of descr, fortran_order and shape");
  }
  constexpr std::string_view kKnown =
      "float32, float64, float16, int32, int64, uint8 and bool, little-endian, are known";
  const char quote = descr[0];
  if (quote != '\'' && quote != '"')
    return Error(absl::StrCat("holds records; ", std::string(kKnown)));
  const std::string_view name = descr.substr(1, descr.find(quote, 1) - 1);
  const std::optional<DataType> type = TypeOf(name);
  if (!type.has_value()) {
    const bool swapped = !name.empty() && name[0] == '>';
    return Error(absl::StrCat("has elements of type ", std::string(name),
                              swapped ? ", big-endian; " : "; ", std::string(kKnown)));
  }
  dtype_ = *type;
  fortran_order_ = order.substr(0, 4) == "True";
  absl::StatusOr<Shape> shape = Shape::Create(sizes);
  if (!shape.ok()) return Error(std::string(shape.status().message()));
  shape_ = *shape;
  return absl::OkStatus();
}

int64_t NpyFile::row_bytes() const {
  int64_t bytes = static_cast<int64_t>(ByteSize(dtype_));
  for (int i = 1; i < shape_.rank(); ++i) bytes *= shape_[i];
  return bytes;
}

absl::StatusOr<TensorView> NpyFile::All(std::vector<std::byte>* scratch) const {
  if (shape_.rank() > 0) return Rows(0, rows(), scratch);
  return TensorView::Create(dtype_, shape_, data_);
}

absl::StatusOr<TensorView> NpyFile::Rows(int64_t first, int64_t count,
                                         std::vector<std::byte>* scratch) const {
  std::vector<int64_t> sizes(shape_.sizes().begin(), shape_.sizes().end());
  sizes[0] = count;
  absl::StatusOr<Shape> shape = Shape::Create(sizes);
  if (!shape.ok()) return shape.status();
  // No rows of a long shape: there is nothing to gather, however many places a row has.
  if (shape->elements() == 0) return TensorView::Create(dtype_, *shape, data_.first(0));
  const auto bytes = static_cast<size_t>(row_bytes());
  if (!fortran_order_ || shape_.rank() == 1) {
    return TensorView::Create(
        dtype_, *shape,
        data_.subspan(static_cast<size_t>(first) * bytes, static_cast<size_t>(count) * bytes));
  }
  scratch->resize(static_cast<size_t>(count) * bytes);
  Gather(first, count, scratch);
  return TensorView::Create(dtype_, *shape, *scratch);
}

// In Fortran order the first index moves fastest: at every place within a row, the rows lie side by
// side.
void NpyFile::Gather(int64_t first, int64_t count, std::vector<std::byte>* scratch) const {
  const size_t element_bytes = ByteSize(dtype_);
  const int rank = shape_.rank();
  std::array<int64_t, Shape::kMaxRank> strides{};  // of the file, in elements
  strides[0] = 1;
  for (int i = 1; i < rank; ++i)
    strides[static_cast<size_t>(i)] = strides[static_cast<size_t>(i - 1)] * shape_[i - 1];
  int64_t places = 1;
  for (int i = 1; i < rank; ++i) places *= shape_[i];
  std::array<int64_t, Shape::kMaxRank> index{};
  int64_t offset = first;
  for (int64_t place = 0; place < places; ++place) {
    Spread(element_bytes, data_.data() + static_cast<size_t>(offset) * element_bytes, count, places,
           scratch->data() + static_cast<size_t>(place) * element_bytes);
    // The next place in C order: the last index moves fastest.
    for (int i = rank - 1; i >= 1; --i) {
      const auto at = static_cast<size_t>(i);
      offset += strides[at];
      if (++index[at] < shape_[i]) break;
      offset -= index[at] * strides[at];
      index[at] = 0;
    }
  }
}

}  // namespace lossd::cli
