// Statuses as google.rpc.Status bytes: what goes out, what comes back, and bytes that are no
// status.
#include "lib/wire/status_proto.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/base/status.h"
#include "lossd/internal/v1/error_details.pb.h"

namespace lossd {
namespace {

namespace pb = internal::v1;

pb::Status Parsed(const absl::Status& status) {
  pb::Status proto;
  EXPECT_TRUE(proto.ParseFromString(StatusDetailsBytes(status)));
  return proto;
}

TEST(StatusDetails, AreThoseOfGoogleRpc) {
  const pb::Status proto = Parsed(InvalidArgument("SHAPE_MISMATCH", "inputs[\"a\"].shape", "why"));
  EXPECT_EQ(proto.code(), 3);
  EXPECT_EQ(proto.message(), "why");
  ASSERT_EQ(proto.details_size(), 2);
  EXPECT_EQ(proto.details(0).type_url(), "type.googleapis.com/google.rpc.ErrorInfo");
  pb::ErrorInfo info;
  ASSERT_TRUE(info.ParseFromString(proto.details(0).value()));
  EXPECT_EQ(info.reason(), "SHAPE_MISMATCH");
  EXPECT_EQ(info.domain(), "lossd");
  EXPECT_EQ(proto.details(1).type_url(), "type.googleapis.com/google.rpc.BadRequest");
  pb::BadRequest bad_request;
  ASSERT_TRUE(bad_request.ParseFromString(proto.details(1).value()));
  ASSERT_EQ(bad_request.field_violations_size(), 1);
  EXPECT_EQ(bad_request.field_violations(0).field(), "inputs[\"a\"].shape");
  EXPECT_EQ(bad_request.field_violations(0).description(), "why");
}

TEST(StatusDetails, RetryInfoOnlyWhereARetryHelps) {
  const pb::Status pressure = Parsed(Unavailable("BUSY", "later", absl::Milliseconds(2500)));
  ASSERT_EQ(pressure.details_size(), 2);
  EXPECT_EQ(pressure.details(1).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
  pb::RetryInfo retry;
  ASSERT_TRUE(retry.ParseFromString(pressure.details(1).value()));
  EXPECT_EQ(retry.retry_delay().seconds(), 2);
  EXPECT_EQ(retry.retry_delay().nanos(), 500000000);
  EXPECT_EQ(Parsed(ResourceExhausted("STATE_TOO_LARGE", "", "m")).details_size(), 1);
}

TEST(StatusDetails, NoneWithoutAReason) {
  EXPECT_EQ(StatusDetailsBytes(absl::OkStatus()), "");
  EXPECT_EQ(StatusDetailsBytes(absl::CancelledError("the call was cancelled")), "");
}

TEST(StatusDetails, ComeBack) {
  for (const absl::Status& status :
       {InvalidArgument("A", "f", "m"), InvalidArgument("A", "", "m"),
        ResourceExhausted("B", "", "m"), FailedPrecondition("C", "g", "m"),
        Unimplemented("D", "h", "m"), Unavailable("E", "m", absl::Nanoseconds(1500000001)),
        absl::Status(absl::CancelledError("m"))}) {
    const absl::Status back =
        StatusFromDetails(status.code(), std::string(status.message()), StatusDetailsBytes(status));
    EXPECT_EQ(back.code(), status.code());
    EXPECT_EQ(back.message(), status.message());
    EXPECT_EQ(DetailOf(back).reason, DetailOf(status).reason);
    EXPECT_EQ(DetailOf(back).field, DetailOf(status).field);
    EXPECT_EQ(DetailOf(back).retry_delay, DetailOf(status).retry_delay);
  }
}

TEST(StatusDetails, MalformedOnesAreDropped) {
  const std::string whole = StatusDetailsBytes(InvalidArgument("A", "field", "message"));
  for (size_t size = 0; size < whole.size(); ++size) {
    const absl::Status status =
        StatusFromDetails(absl::StatusCode::kInvalidArgument, "m", whole.substr(0, size));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), "m");
  }
  EXPECT_EQ(DetailOf(StatusFromDetails(absl::StatusCode::kInternal, "m", "\xFF\xFF\xFF")).reason,
            "");
}

// Another server's, or a proxy's, details do not become ours.
TEST(StatusDetails, OthersArePassedOver) {
  pb::Status proto;
  proto.add_details()->set_type_url("type.googleapis.com/google.rpc.Help");
  EXPECT_EQ(DetailOf(StatusFromDetails(absl::StatusCode::kInternal, "m", proto.SerializeAsString()))
                .reason,
            "");
}

}  // namespace
}  // namespace lossd
