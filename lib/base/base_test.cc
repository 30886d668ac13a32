// Statuses with details, checked arithmetic, the thread pool, and the choice of the instruction
// set.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <limits>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "lib/base/cancellation.h"
#include "lib/base/checked.h"
#include "lib/base/cpu_target.h"
#include "lib/base/status.h"
#include "lib/base/thread_pool.h"

namespace lossd {
namespace {

using ::testing::AnyOf;
using ::testing::ElementsAre;

TEST(Status, CarriesItsDetail) {
  const struct {
    absl::Status status;
    absl::StatusCode code;
  } cases[] = {
      {InvalidArgument("SHAPE_MISMATCH", "inputs[\"a\"].shape", "why"),
       absl::StatusCode::kInvalidArgument},
      {ResourceExhausted("SHAPE_MISMATCH", "inputs[\"a\"].shape", "why"),
       absl::StatusCode::kResourceExhausted},
      {FailedPrecondition("SHAPE_MISMATCH", "inputs[\"a\"].shape", "why"),
       absl::StatusCode::kFailedPrecondition},
      {Unimplemented("SHAPE_MISMATCH", "inputs[\"a\"].shape", "why"),
       absl::StatusCode::kUnimplemented},
  };
  for (const auto& c : cases) {
    EXPECT_EQ(c.status.code(), c.code);
    EXPECT_EQ(c.status.message(), "why");
    const ErrorDetail detail = DetailOf(c.status);
    EXPECT_EQ(detail.reason, "SHAPE_MISMATCH");
    EXPECT_EQ(detail.field, "inputs[\"a\"].shape");
    EXPECT_EQ(detail.retry_delay, absl::ZeroDuration());
  }
}

TEST(Status, CarriesARetryDelayToTheNanosecond) {
  const absl::Duration delay = absl::Seconds(3) + absl::Nanoseconds(7);
  const absl::Status status = Unavailable("DRAINING", "later", delay);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(DetailOf(status).reason, "DRAINING");
  EXPECT_EQ(DetailOf(status).field, "");
  EXPECT_EQ(DetailOf(status).retry_delay, delay);
}

TEST(Status, DetailSurvivesACopyAndAnUnrelatedStatusHasNone) {
  const absl::Status original = InvalidArgument("X", ".shape", "m");
  const absl::Status copy = original;
  EXPECT_EQ(DetailOf(copy).field, ".shape");
  EXPECT_EQ(DetailOf(absl::OkStatus()).reason, "");
  EXPECT_EQ(DetailOf(absl::InternalError("other")).reason, "");
}

TEST(Status, PrefixGoesBeforeThePathAndNothingElseChanges) {
  const absl::Status status = WithFieldPrefix(InvalidArgument("X", ".shape", "m"), "inputs[\"a\"]");
  EXPECT_EQ(DetailOf(status).field, "inputs[\"a\"].shape");
  EXPECT_EQ(DetailOf(status).reason, "X");
  EXPECT_EQ(status.message(), "m");
  EXPECT_EQ(DetailOf(WithFieldPrefix(InvalidArgument("X", "", "m"), "states[1]")).field,
            "states[1]");
  EXPECT_TRUE(WithFieldPrefix(absl::OkStatus(), "a").ok());
}

TEST(Checked, RefusesOverflow) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  int64_t result = 0;
  EXPECT_TRUE(CheckedMultiply(kMax / 2, 2, &result));
  EXPECT_EQ(result, kMax - 1);
  EXPECT_FALSE(CheckedMultiply(kMax / 2 + 1, 2, &result));
  EXPECT_TRUE(CheckedAdd(kMax - 1, 1, &result));
  EXPECT_EQ(result, kMax);
  EXPECT_FALSE(CheckedAdd(kMax, 1, &result));
}

TEST(ThreadPool, RunsEveryChunkOnceAndThenDone) {
  constexpr int64_t kChunks = 1000;
  for (const int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<std::atomic<int>> runs(kChunks);
    std::promise<int> done;
    pool.Submit(
        kChunks, [&](int64_t chunk) { ++runs[static_cast<size_t>(chunk)]; },
        [&] {
          int total = 0;
          for (const auto& run : runs) total += run;
          done.set_value(total);
        });
    EXPECT_EQ(done.get_future().get(), kChunks);
    for (const auto& run : runs) EXPECT_EQ(run, 1);
  }
}

TEST(ThreadPool, NoThreadsMeansOneACore) {
  ThreadPool pool(0);
  EXPECT_GE(pool.threads(), 1);
  EXPECT_EQ(pool.threads(), static_cast<int>(std::max(1u, std::thread::hardware_concurrency())));
}

TEST(ThreadPool, StartsTheChunksOfAJobInOrder) {
  ThreadPool pool(1);
  std::vector<int64_t> order;
  std::promise<void> done;
  pool.Submit(
      100, [&](int64_t chunk) { order.push_back(chunk); }, [&] { done.set_value(); });
  done.get_future().wait();
  for (int64_t i = 0; i < 100; ++i) EXPECT_EQ(order[static_cast<size_t>(i)], i);
}

TEST(ThreadPool, AJobWithoutChunksIsDoneAtOnce) {
  ThreadPool pool(1);
  bool done = false;
  pool.Submit(
      0, [](int64_t) { FAIL(); }, [&] { done = true; });
  EXPECT_TRUE(done);
}

// The promise of small requests: a job of one chunk, handed in while a long one runs, waits for a
// chunk of it.
TEST(ThreadPool, ASmallJobEndsBeforeALargeOneThatCameFirst) {
  ThreadPool pool(1);
  std::promise<void> first_chunk_runs, small_submitted, small_done, large_done;
  std::future<void> submitted = small_submitted.get_future();
  std::atomic<int64_t> large_chunks{0};
  int64_t large_chunks_when_small_ended = -1;
  pool.Submit(
      1000,
      [&](int64_t chunk) {
        if (chunk == 0) {
          first_chunk_runs.set_value();
          submitted.wait();
        }
        ++large_chunks;
      },
      [&] { large_done.set_value(); });
  first_chunk_runs.get_future().wait();
  pool.Submit(
      1, [&](int64_t) { large_chunks_when_small_ended = large_chunks; },
      [&] { small_done.set_value(); });
  small_submitted.set_value();
  small_done.get_future().wait();
  large_done.get_future().wait();
  EXPECT_EQ(large_chunks, 1000);
  // The one that ran when it came, and the one whose turn it was already.
  EXPECT_LE(large_chunks_when_small_ended, 2);
}

TEST(ThreadPool, JobsTakeTurns) {
  ThreadPool pool(1);
  std::promise<void> gate_runs, open;
  std::future<void> opened = open.get_future();
  std::string order;  // one thread writes it
  std::promise<void> done;
  pool.Submit(
      1,
      [&](int64_t) {
        gate_runs.set_value();
        opened.wait();
      },
      [] {});
  gate_runs.get_future().wait();
  for (const char name : {'a', 'b', 'c'}) {
    pool.Submit(
        3, [&order, name](int64_t) { order += name; },
        [&done, name] {
          if (name == 'c') done.set_value();
        });
  }
  open.set_value();
  done.get_future().wait();
  EXPECT_EQ(order, "abcabcabc");
}

TEST(ThreadPool, DestructionFinishesWhatWasSubmittedAndWhatThatSubmits) {
  std::atomic<int> chunks{0};
  std::atomic<int> done{0};
  {
    ThreadPool pool(2);
    for (int job = 0; job < 10; ++job) {
      pool.Submit(
          20, [&](int64_t) { ++chunks; },
          [&] {
            pool.Submit(
                2, [&](int64_t) { ++chunks; }, [&] { ++done; });
          });
    }
  }
  EXPECT_EQ(chunks, 10 * 22);
  EXPECT_EQ(done, 10);
}

TEST(CancellationToken, StaysCancelled) {
  CancellationToken token;
  EXPECT_FALSE(token.cancelled());
  token.Cancel();
  token.Cancel();
  EXPECT_TRUE(token.cancelled());
}

TEST(CpuTarget, TheForcedOneRuns) {
  ASSERT_TRUE(InitCpuTarget().ok());
  const std::string_view active = ActiveCpuTarget();
  EXPECT_THAT(std::string(active), AnyOf("avx2", "avx512", "neon"));
  const char* forced = std::getenv("LOSSD_TARGET");
  if (forced != nullptr && *forced != '\0') {
    EXPECT_EQ(active, forced);
  }
}

TEST(CpuTarget, AnUnknownBitHasNoName) { EXPECT_EQ(CpuTargetName(0), "unknown"); }

// The choice is made once a process, so another name is tried in one of its own.
TEST(CpuTargetDeathTest, ANameThatWasNotBuiltIsRefused) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        setenv("LOSSD_TARGET", "sse4", 1);
        const absl::Status status = InitCpuTarget();
        const bool right = status.code() == absl::StatusCode::kFailedPrecondition &&
                           DetailOf(status).reason == "TARGET_NOT_AVAILABLE" &&
                           DetailOf(status).field == "LOSSD_TARGET";
        std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
        std::_Exit(right ? 0 : 1);
      },
      ::testing::ExitedWithCode(0), "LOSSD_TARGET=sse4 names no instruction set.*available: ");
}

}  // namespace
}  // namespace lossd
