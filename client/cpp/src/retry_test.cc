// The sleeper is injected: no test waits.
#include "retry.h"

#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "lib/base/status.h"

namespace lossd {
namespace {

class RetryTest : public testing::Test {
 protected:
  RetryTest() {
    options_.deadline = absl::Hours(1);
    options_.retry.max_elapsed = absl::InfiniteDuration();
    options_.sleeper = [this](absl::Duration wait) { waits_.push_back(wait); };
  }

  // Calls until done; the attempts fail with `statuses` in turn, then succeed.
  absl::Status Call(std::vector<absl::Status> statuses) {
    attempts_ = 0;
    return CallWithRetry(options_, [&](absl::Time deadline) {
      deadlines_.push_back(deadline);
      const auto i = static_cast<size_t>(attempts_++);
      return i < statuses.size() ? statuses[i] : absl::OkStatus();
    });
  }

  ClientOptions options_;
  std::vector<absl::Duration> waits_;
  std::vector<absl::Time> deadlines_;
  int attempts_ = 0;
};

const absl::Status kDown = absl::UnavailableError("down");

TEST_F(RetryTest, UnavailableIsTriedAgainAfterAGrowingWait) {
  EXPECT_TRUE(Call({kDown, kDown, kDown}).ok());
  EXPECT_EQ(attempts_, 4);
  ASSERT_EQ(waits_.size(), 3u);
  absl::Duration backoff = options_.retry.initial_backoff;
  for (const absl::Duration wait : waits_) {
    EXPECT_GE(wait, backoff / 2);
    EXPECT_LE(wait, backoff);
    backoff *= 2;
  }
  // One deadline for the whole.
  for (const absl::Time deadline : deadlines_) EXPECT_EQ(deadline, deadlines_[0]);
}

TEST_F(RetryTest, TheBackoffHasAnEnd) {
  options_.retry.max_attempts = 100;
  EXPECT_TRUE(Call(std::vector<absl::Status>(50, kDown)).ok());
  for (const absl::Duration wait : waits_) EXPECT_LE(wait, options_.retry.max_backoff);
}

TEST_F(RetryTest, NothingElseIsTriedAgain) {
  for (int code = 1; code <= 16; ++code) {
    if (code == static_cast<int>(absl::StatusCode::kUnavailable)) continue;
    const absl::Status status(static_cast<absl::StatusCode>(code), "no");
    EXPECT_EQ(Call({status}), status);
    EXPECT_EQ(attempts_, 1);
  }
  EXPECT_TRUE(waits_.empty());
}

TEST_F(RetryTest, RetryInfoIsTheLeastWait) {
  EXPECT_TRUE(Call({Unavailable("STREAM_SLOTS", "full", absl::Seconds(7)),
                    Unavailable("STREAM_SLOTS", "full", absl::Nanoseconds(1))})
                  .ok());
  ASSERT_EQ(waits_.size(), 2u);
  EXPECT_EQ(waits_[0], absl::Seconds(7));
  EXPECT_GE(waits_[1], options_.retry.initial_backoff);
}

TEST_F(RetryTest, TheLastErrorComesBackWhenTheAttemptsAreUsedUp) {
  options_.retry.max_attempts = 3;
  EXPECT_EQ(
      Call({absl::UnavailableError("1"), absl::UnavailableError("2"), absl::UnavailableError("3")}),
      absl::UnavailableError("3"));
  EXPECT_EQ(attempts_, 3);
}

TEST_F(RetryTest, NoWaitEndsPastTheDeadline) {
  options_.deadline = absl::Seconds(5);
  const absl::Status status = Unavailable("DRAINING", "later", absl::Seconds(6));
  EXPECT_EQ(Call({status}), status);
  EXPECT_EQ(attempts_, 1);
  EXPECT_TRUE(waits_.empty());
}

TEST_F(RetryTest, NoWaitEndsPastTheElapsedTime) {
  options_.retry.max_elapsed = absl::Seconds(10);
  const absl::Status status = Unavailable("DRAINING", "later", absl::Seconds(4));
  EXPECT_EQ(Call({status, status, status}), status);
  EXPECT_EQ(attempts_, 3);  // 0, 4 and 8 seconds after the first
}

TEST_F(RetryTest, ProgressGivesNewAttempts) {
  options_.retry.max_attempts = 2;
  Backoff backoff(options_, absl::InfiniteFuture());
  for (int i = 0; i < 5; ++i) {
    EXPECT_GT(backoff.Next(kDown), absl::ZeroDuration());
    EXPECT_EQ(backoff.Next(kDown), absl::ZeroDuration());
    backoff.Reset();
  }
}

}  // namespace
}  // namespace lossd
