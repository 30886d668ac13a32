#include "server/admission/admission.h"

#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

using Lease = Admission::Lease;

class AdmissionTest : public testing::Test {
 protected:
  int64_t gauge_ = 0;
  Admission admission_{AdmissionLimits{100, 2}, [this](int64_t delta) { gauge_ += delta; }};
};

TEST_F(AdmissionTest, BytesAreHeldAsLongAsTheLease) {
  absl::StatusOr<Lease> first = admission_.AdmitBytes(60);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(gauge_, 60);
  EXPECT_TRUE(admission_.HasRoom(40));
  EXPECT_FALSE(admission_.HasRoom(41));
  {
    Lease moved = *std::move(first);
    EXPECT_EQ(moved.bytes(), 60);
    EXPECT_EQ(admission_.inflight_bytes(), 60);
  }
  EXPECT_EQ(admission_.inflight_bytes(), 0);
  EXPECT_EQ(gauge_, 0);
}

TEST_F(AdmissionTest, PressureIsUnavailableWithRetry) {
  const absl::StatusOr<Lease> held = admission_.AdmitBytes(60);
  const absl::StatusOr<Lease> refused = admission_.AdmitBytes(41);
  EXPECT_TRUE(absl::IsUnavailable(refused.status()));
  EXPECT_EQ(DetailOf(refused.status()).reason, kInflightBytesReason);
  EXPECT_GT(DetailOf(refused.status()).retry_delay, absl::ZeroDuration());
  EXPECT_TRUE(admission_.AdmitBytes(40).ok());
}

TEST_F(AdmissionTest, WhatNeverFitsIsPermanent) {
  const absl::StatusOr<Lease> refused = admission_.AdmitBytes(101);
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status()));
  EXPECT_EQ(DetailOf(refused.status()).retry_delay, absl::ZeroDuration());
  EXPECT_NE(std::string(refused.status().message()).find("max-inflight-bytes"), std::string::npos);
  EXPECT_TRUE(absl::IsResourceExhausted(admission_.AdmitBytes(INT64_MAX).status()));
}

TEST_F(AdmissionTest, ALeaseGrowsToWhatItsMessageTurnsOutToHold) {
  absl::StatusOr<Lease> lease = admission_.AdmitBytes(60);
  ASSERT_TRUE(lease.ok());
  EXPECT_TRUE(admission_.Grow(50, &*lease).ok());
  EXPECT_EQ(lease->bytes(), 60);
  EXPECT_TRUE(admission_.Grow(90, &*lease).ok());
  EXPECT_EQ(admission_.inflight_bytes(), 90);
  EXPECT_EQ(gauge_, 90);
  EXPECT_TRUE(absl::IsResourceExhausted(admission_.Grow(101, &*lease)));
  EXPECT_TRUE(absl::IsResourceExhausted(admission_.Grow(INT64_MAX, &*lease)));
  const absl::StatusOr<Lease> other = admission_.AdmitBytes(5);
  EXPECT_TRUE(absl::IsUnavailable(admission_.Grow(96, &*lease)));
  lease->Release();
  EXPECT_EQ(admission_.inflight_bytes(), 5);
}

TEST_F(AdmissionTest, StreamsHaveSlotsAndCallsHaveNone) {
  absl::StatusOr<Lease> first = admission_.AdmitStream();
  absl::StatusOr<Lease> second = admission_.AdmitStream();
  ASSERT_TRUE(first.ok() && second.ok());
  const absl::StatusOr<Lease> third = admission_.AdmitStream();
  EXPECT_TRUE(absl::IsUnavailable(third.status()));
  EXPECT_EQ(DetailOf(third.status()).reason, kStreamSlotsReason);
  EXPECT_TRUE(admission_.AdmitCall().ok());
  first->Release();
  EXPECT_TRUE(admission_.AdmitStream().ok());
}

TEST_F(AdmissionTest, ASlotCanGoBeforeItsCall) {
  absl::StatusOr<Lease> first = admission_.AdmitStream();
  const absl::StatusOr<Lease> second = admission_.AdmitStream();
  first->ReleaseSlot();
  first->ReleaseSlot();
  const absl::StatusOr<Lease> third = admission_.AdmitStream();
  EXPECT_TRUE(third.ok());
  EXPECT_FALSE(admission_.AdmitStream().ok());
  first->Release();
  EXPECT_FALSE(admission_.AdmitStream().ok());
  EXPECT_FALSE(admission_.WaitIdle(absl::Now()));
}

TEST_F(AdmissionTest, AssigningGivesTheOldLeaseBack) {
  absl::StatusOr<Lease> lease = admission_.AdmitBytes(60);
  *lease = *admission_.AdmitBytes(30);
  EXPECT_EQ(admission_.inflight_bytes(), 30);
}

TEST_F(AdmissionTest, DrainingRefusesCallsButNotTheBytesOfRunningOnes) {
  const absl::StatusOr<Lease> running = admission_.AdmitStream();
  admission_.BeginDrain();
  const absl::StatusOr<Lease> refused = admission_.AdmitCall();
  EXPECT_TRUE(absl::IsUnavailable(refused.status()));
  EXPECT_EQ(DetailOf(refused.status()).reason, kDrainingReason);
  EXPECT_GT(DetailOf(refused.status()).retry_delay, absl::ZeroDuration());
  EXPECT_TRUE(admission_.AdmitBytes(10).ok());
}

TEST_F(AdmissionTest, WaitIdleWaitsForRunningCalls) {
  EXPECT_TRUE(admission_.WaitIdle(absl::Now()));
  absl::StatusOr<Lease> running = admission_.AdmitCall();
  EXPECT_FALSE(admission_.WaitIdle(absl::Now() + absl::Milliseconds(10)));
  std::thread ends([&] { running->Release(); });
  EXPECT_TRUE(admission_.WaitIdle(absl::Now() + absl::Seconds(60)));
  ends.join();
}

class CountingListener : public DrainListener {
 public:
  void OnDrain() override { ++drained; }
  int drained = 0;
};

TEST_F(AdmissionTest, ListenersAreToldOnce) {
  const auto stays = std::make_shared<CountingListener>();
  const auto leaves = std::make_shared<CountingListener>();
  auto dies = std::make_shared<CountingListener>();
  EXPECT_TRUE(admission_.AddListener(stays));
  EXPECT_TRUE(admission_.AddListener(leaves));
  EXPECT_TRUE(admission_.AddListener(dies));
  admission_.RemoveListener(leaves.get());
  dies.reset();
  admission_.BeginDrain();
  admission_.BeginDrain();
  EXPECT_EQ(stays->drained, 1);
  EXPECT_EQ(leaves->drained, 0);
  EXPECT_FALSE(admission_.AddListener(leaves));
}

// Threads that take and give back at random never exceed the limit and leave nothing behind.
TEST(Admission, HoldsItsLimitUnderContention) {
  std::atomic<int64_t> gauge{0};
  Admission admission(AdmissionLimits{100, 3}, [&](int64_t delta) { gauge += delta; });
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 2000; ++i) {
        const absl::StatusOr<Lease> stream = admission.AdmitStream();
        const absl::StatusOr<Lease> bytes = admission.AdmitBytes(10 * (t + 1));
        EXPECT_LE(admission.inflight_bytes(), 100);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(gauge.load(), 0);
  EXPECT_EQ(admission.inflight_bytes(), 0);
  EXPECT_TRUE(admission.WaitIdle(absl::Now()));
}

}  // namespace
}  // namespace lossd
