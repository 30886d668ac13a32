#include "lent_message.h"

#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

// Below this a copy costs less than a slice of its own with its reference count.
constexpr size_t kLeastLentBytes = 4096;

// The fields of an entry of a protobuf map.
constexpr int kMapKey = 1;
constexpr int kMapValue = 2;

void AppendVarint(uint64_t value, std::string* bytes) {
  uint8_t buffer[10];
  const uint8_t* end = CodedOutputStream::WriteVarint64ToArray(value, buffer);
  bytes->append(reinterpret_cast<const char*>(buffer), static_cast<size_t>(end - buffer));
}

// The tag and the length of a length-delimited field; its bytes follow.
std::string FieldHead(int field, size_t size) {
  std::string head;
  AppendVarint(WireFormatLite::MakeTag(field, WireFormatLite::WIRETYPE_LENGTH_DELIMITED), &head);
  AppendVarint(size, &head);
  return head;
}

// A Tensor message but for the elements, which come last.
struct TensorField {
  std::string head;
  const TensorView* tensor;

  size_t size() const { return head.size() + tensor->byte_size(); }
};

TensorField FieldOf(const TensorView& tensor) {
  v1::Tensor message;
  message.set_dtype(static_cast<v1::DataType>(tensor.dtype()));
  for (const int64_t size : tensor.shape().sizes()) message.add_shape(size);
  TensorField field{message.SerializeAsString(), &tensor};
  if (tensor.byte_size() > 0) {
    field.head += FieldHead(v1::Tensor::kDataFieldNumber, tensor.byte_size());
  }
  return field;
}

// `inputs` as entries of the map field `number` of a message.
std::vector<TensorField> MapEntries(int number, const Inputs& inputs) {
  std::vector<TensorField> entries;
  for (const auto& [name, tensor] : inputs) {
    TensorField entry = FieldOf(tensor);
    const std::string key = FieldHead(kMapKey, name.size()) + name;
    const std::string value = FieldHead(kMapValue, entry.size());
    const size_t size = key.size() + value.size() + entry.size();
    entry.head = FieldHead(number, size) + key + value + entry.head;
    entries.push_back(std::move(entry));
  }
  return entries;
}

size_t SizeOf(const std::vector<TensorField>& fields) {
  size_t size = 0;
  for (const TensorField& field : fields) size += field.size();
  return size;
}

void AppendCopy(const TensorView& tensor, std::string* bytes) {
  const size_t start = bytes->size();
  bytes->resize(start + tensor.byte_size());
  if (tensor.byte_size() == 0) return;
  auto* to = reinterpret_cast<std::byte*>(bytes->data() + start);
  // In pieces, Run gathers into the message itself.
  const std::byte* from = tensor.Run(0, tensor.elements(), to);
  if (from != to) std::memcpy(to, from, tensor.byte_size());
}

// `small`, then the fields.
absl::StatusOr<grpc::ByteBuffer> Join(std::string small, const std::vector<TensorField>& fields,
                                      Loan* loan) {
  if (small.size() + SizeOf(fields) > size_t{std::numeric_limits<int32_t>::max()}) {
    return InvalidArgument("MESSAGE_SIZE", "", "a message is limited to 2 GiB");
  }
  std::vector<grpc::Slice> slices;
  for (const TensorField& field : fields) {
    const TensorView& tensor = *field.tensor;
    small += field.head;
    if (!tensor.contiguous() || tensor.byte_size() < kLeastLentBytes) {
      AppendCopy(tensor, &small);
      continue;
    }
    slices.emplace_back(small);
    small.clear();
    slices.push_back(loan->Lend({tensor.Run(0, 0, nullptr), tensor.byte_size()}));
  }
  if (!small.empty() || slices.empty()) slices.emplace_back(small);
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace

void Loan::GiveBack(void* loan) {
  auto* self = static_cast<Loan*>(loan);
  // Within the lock: the waiting thread takes all of this away as soon as it sees the zero.
  const std::lock_guard lock(self->mutex_);
  if (--self->lent_ == 0) self->changed_.notify_all();
}

grpc::Slice Loan::Lend(std::span<const std::byte> bytes) {
  {
    const std::lock_guard lock(mutex_);
    ++lent_;
  }
  // gRPC only reads what it sends.
  return grpc::Slice(const_cast<std::byte*>(bytes.data()), bytes.size(), &Loan::GiveBack, this);
}

Loan::~Loan() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return lent_ == 0; });
}

bool Loan::WaitReturned() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return lent_ == 0 || interrupted_; });
  return lent_ == 0;
}

void Loan::Interrupt() {
  const std::lock_guard lock(mutex_);
  interrupted_ = true;
  changed_.notify_all();
}

absl::StatusOr<grpc::ByteBuffer> LendMessage(const v1::ComputeLossRequest& request,
                                             const Inputs& inputs, Loan* loan) {
  return Join(request.SerializeAsString(),
              MapEntries(v1::ComputeLossRequest::kInputsFieldNumber, inputs), loan);
}

absl::StatusOr<grpc::ByteBuffer> LendMessage(const v1::EvaluateRequest& step, const Inputs& tensors,
                                             Loan* loan) {
  std::vector<TensorField> fields;
  std::string message;
  int number = 0;  // the step's field, whose end the tensors are
  if (step.has_batch()) {
    number = v1::EvaluateRequest::kBatchFieldNumber;
    message = step.batch().SerializeAsString();
    fields = MapEntries(v1::Batch::kInputsFieldNumber, tensors);
  } else if (step.has_constant() && !tensors.empty()) {
    number = v1::EvaluateRequest::kConstantFieldNumber;
    message = step.constant().SerializeAsString();
    fields.push_back(FieldOf(tensors.begin()->second));
    fields[0].head = FieldHead(v1::Constant::kPieceFieldNumber, fields[0].size()) + fields[0].head;
  } else {
    return Join(step.SerializeAsString(), {}, loan);
  }
  return Join(FieldHead(number, message.size() + SizeOf(fields)) + message, fields, loan);
}

}  // namespace lossd
