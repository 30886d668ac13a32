#include "server/rpc/decode.h"

#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <limits>

namespace lossd {
namespace {

// Sums and products that stay at the largest number: admission then refuses them.
int64_t Add(int64_t a, int64_t b) {
  int64_t sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<int64_t>::max() : sum;
}

int64_t Multiply(int64_t a, int64_t b) {
  int64_t product;
  return __builtin_mul_overflow(a, b, &product) ? std::numeric_limits<int64_t>::max() : product;
}

// A varint of one byte becomes an element of eight.
int64_t ExpandedBytes(const v1::Tensor& tensor) {
  return 8 * (int64_t{tensor.int_values_size()} + tensor.float_values_size() + tensor.shape_size());
}

int64_t ExpandedBytes(const google::protobuf::Map<std::string, v1::Tensor>& inputs) {
  int64_t bytes = 0;
  for (const auto& [name, tensor] : inputs) bytes += ExpandedBytes(tensor);
  return bytes;
}

int64_t ElementBytes(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
    case v1::DATA_TYPE_INT64:
      return 8;
    case v1::DATA_TYPE_FLOAT32:
    case v1::DATA_TYPE_INT32:
      return 4;
    case v1::DATA_TYPE_FLOAT16:
    case v1::DATA_TYPE_BFLOAT16:
      return 2;
    default:
      return 1;
  }
}

}  // namespace

int64_t ReceivedBytes(const google::protobuf::MessageLite& request) {
  return static_cast<int64_t>(request.ByteSizeLong());
}

int64_t ReceivedBytes(const grpc::ByteBuffer& bytes) {
  return static_cast<int64_t>(bytes.Length());
}

Pieces PiecesOf(const grpc::ByteBuffer& bytes) {
  Pieces pieces;
  // The reader takes a buffer that it may change, but only reads.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  const void* data = nullptr;
  for (int size = 0; reader.Next(&data, &size);)
    pieces.emplace_back(static_cast<const std::byte*>(data), static_cast<size_t>(size));
  return pieces;
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& response) {
  const size_t size = response.ByteSizeLong();
  grpc::Slice slice(size);
  response.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return {&slice, 1};
}

int64_t HeldBytes(int64_t received_bytes, const v1::ComputeLossRequest& request) {
  const int64_t bytes = received_bytes + ExpandedBytes(request.inputs());
  int64_t tensors_out_per_loss = request.gradients_of_size();
  if (request.reduction() == v1::REDUCTION_NONE) ++tensors_out_per_loss;
  return Multiply(bytes, Add(1, Multiply(tensors_out_per_loss, request.losses_size())));
}

int64_t HeldBytes(int64_t received_bytes, const v1::EvaluateRequest& request) {
  int64_t bytes = received_bytes;
  if (request.has_batch()) {
    bytes += ExpandedBytes(request.batch().inputs());
    bytes += 8 * int64_t{request.batch().sample_ids_size()};
    for (const auto& [name, column] : request.batch().slices())
      bytes += 8 * int64_t{column.codes_size()};
  }
  if (request.has_constant()) bytes += ExpandedBytes(request.constant().piece());
  return bytes;
}

int64_t AnnouncedConstantBytes(const v1::EvaluationSpec& spec) {
  int64_t bytes = 0;
  for (const v1::ConstantSpec& constant : spec.constants()) {
    int64_t size = ElementBytes(constant.dtype());
    for (const int64_t dimension : constant.shape()) size = Multiply(size, dimension);
    bytes = Add(bytes, size);
  }
  return bytes;
}

}  // namespace lossd
