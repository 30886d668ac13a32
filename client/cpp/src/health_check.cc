#include "health_check.h"

#include <future>
#include <utility>

#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/io/zero_copy_stream_impl_lite.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpc_status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/support/byte_buffer.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedInputStream;
using google::protobuf::io::CodedOutputStream;

// HealthCheckRequest { string service = 1; }
grpc::ByteBuffer EncodeRequest(const std::string& service) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    CodedOutputStream out(&stream);
    if (!service.empty()) WireFormatLite::WriteString(1, service, &out);
  }
  grpc::Slice slice(bytes);
  return grpc::ByteBuffer(&slice, 1);
}

// HealthCheckResponse { ServingStatus status = 1; }
absl::StatusOr<HealthStatus> DecodeResponse(const grpc::ByteBuffer& buffer) {
  grpc::Slice slice;
  if (!buffer.DumpToSingleSlice(&slice).ok())
    return absl::InternalError("cannot read the health answer");
  CodedInputStream in(slice.begin(), static_cast<int>(slice.size()));
  uint64_t status = 0;
  while (const uint32_t tag = in.ReadTag()) {
    const bool read = tag == WireFormatLite::MakeTag(1, WireFormatLite::WIRETYPE_VARINT)
                          ? in.ReadVarint64(&status)
                          : WireFormatLite::SkipField(&in, tag);
    if (!read) return absl::InternalError("the health answer is malformed");
  }
  return status <= 3 ? static_cast<HealthStatus>(status) : HealthStatus::kUnknown;
}

}  // namespace

absl::StatusOr<HealthStatus> CheckHealth(const std::shared_ptr<grpc::Channel>& channel,
                                         const std::string& service, absl::Time deadline) {
  grpc::GenericStub stub(channel);
  grpc::ClientContext context;
  SetDeadline(&context, deadline);
  const grpc::ByteBuffer request = EncodeRequest(service);
  grpc::ByteBuffer response;
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const absl::Status status = FromGrpc(done.get_future().get());
  // The health service's way to say that it knows no such service.
  if (absl::IsNotFound(status)) return HealthStatus::kServiceUnknown;
  if (!status.ok()) return status;
  return DecodeResponse(response);
}

}  // namespace lossd
