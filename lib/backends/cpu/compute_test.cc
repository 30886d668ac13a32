// Computing on threads: neither their number nor the chunks show in the sums, the items or the
// error.
#include "lib/backends/cpu/compute.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <cstring>
#include <future>
#include <limits>
#include <span>
#include <thread>

#include "lib/base/status.h"
#include "lib/evaluation/report.h"
#include "lib/losses/catalogue.h"
#include "lib/losses/loss_testing.h"

namespace lossd {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  absl::Status status;
  std::vector<ComputeOutcome> outcomes;
};

Outcome RunTasks(ThreadPool* pool, std::vector<ComputeTask> tasks,
                 const CollectOptions& options = {}, const CancellationToken* token = nullptr) {
  std::promise<Outcome> done;
  Compute(pool, std::move(tasks), options, token,
          [&](absl::Status status, std::vector<ComputeOutcome> outcomes) {
            done.set_value({std::move(status), std::move(outcomes)});
          });
  return done.get_future().get();
}

const LossRow& RowOf(const char* name) { return *Catalogue::Get().Find(name); }

void ExpectEqual(const LossSums& a, const LossSums& b) {
  for (size_t part = 0; part < a.parts.size(); ++part)
    EXPECT_EQ(a.parts[part], b.parts[part]) << part;
  EXPECT_EQ(a.weight, b.weight);
  EXPECT_EQ(a.squares, b.squares);
  EXPECT_EQ(a.items, b.items);
  EXPECT_EQ(a.ignored_items, b.ignored_items);
  EXPECT_EQ(a.nan_items, b.nan_items);
  EXPECT_EQ(a.inf_items, b.inf_items);
  EXPECT_EQ(a.minimum, b.minimum);
  EXPECT_EQ(a.maximum, b.maximum);
  EXPECT_EQ(a.weighted, b.weighted);
}

// The first signature of a loss over random inputs, large enough for several chunks, with the
// shapes kept by `classes`.
struct Bound {
  Bound(const char* loss, int64_t samples, int64_t classes, bool weighted = false)
      : row(RowOf(loss)) {
    TestValuesByName values = MakeTestInputs(row.signatures[0], samples, classes, 4);
    if (weighted) {
      values["sample_weight"].shape = {samples};
      for (int64_t i = 0; i < samples; ++i) {
        values["sample_weight"].values.push_back(i % 5 == 0 ? 0 : static_cast<double>(i % 7) / 4);
      }
    }
    Finish(values);
  }
  Bound(const char* loss, const TestValuesByName& values) : row(RowOf(loss)) { Finish(values); }

  void Finish(const TestValuesByName& values) {
    spec = SpecOf(row, values);
    inputs = std::make_unique<TestInputs>(values, TestLayout());
    loss = *Bind(spec, inputs->views());
    items.resize(static_cast<size_t>(loss.item_shape.elements()) * sizeof(float));
  }
  ComputeTask Task(bool with_items) { return {loss, with_items ? items.data() : nullptr}; }

  const LossRow& row;
  LossSpec spec;
  std::unique_ptr<TestInputs> inputs;
  BoundLoss loss;
  std::vector<std::byte> items;
};

TEST(Compute, ThreadsAndChunksDoNotShow) {
  CollectOptions options;
  options.statistics = true;
  for (const bool weighted : {false, true}) {
    std::vector<std::unique_ptr<Bound>> losses;
    losses.push_back(std::make_unique<Bound>("mse", 300001, 1, weighted));
    losses.push_back(std::make_unique<Bound>("cross_entropy", 3001, 100, weighted));
    losses.push_back(std::make_unique<Bound>("balanced_binary_cross_entropy", 200001, 1, weighted));
    losses.push_back(std::make_unique<Bound>("mae", 5, 1, weighted));
    std::vector<LossSums> expected;
    std::vector<std::vector<std::byte>> expected_items;
    for (const int threads : {1, 2, 5}) {
      ThreadPool pool(threads);
      std::vector<ComputeTask> tasks;
      for (auto& loss : losses) tasks.push_back(loss->Task(/*with_items=*/true));
      const Outcome all = RunTasks(&pool, tasks, options);
      ASSERT_TRUE(all.status.ok()) << all.status;
      for (size_t i = 0; i < losses.size(); ++i) {
        if (threads == 1) {
          expected.push_back(all.outcomes[i].sums);
          expected_items.push_back(losses[i]->items);
        }
        ExpectEqual(all.outcomes[i].sums, expected[i]);
        EXPECT_EQ(losses[i]->items, expected_items[i]);
        EXPECT_GT(all.outcomes[i].seconds, 0);
        // Alone, and without items: the same sums.
        ExpectEqual(RunTasks(&pool, {losses[i]->Task(false)}, options).outcomes[0].sums,
                    expected[i]);
      }
    }
  }
}

// Random embeddings [rows, width], a classifier [classes, width] and labels.
TestValuesByName ClassifierInputs(int64_t rows, int64_t classes, int64_t width) {
  std::mt19937_64 random(8);
  TestValuesByName values;
  for (const auto& [name, size] :
       {std::pair{"embeddings", rows}, std::pair{"classifier", classes}}) {
    values[name].shape = {size, width};
    for (int64_t i = 0; i < size * width; ++i)
      values[name].values.push_back(std::normal_distribution<float>()(random));
  }
  TestValues& labels = values["labels"];
  labels.floating = false;
  labels.shape = {rows};
  for (int64_t i = 0; i < rows; ++i)
    labels.values.push_back(static_cast<double>(random() % static_cast<uint64_t>(classes)));
  return values;
}

// Few rows, whose classes are spread over threads, and so many that rows go round; the gradients by
// either input are those by both.
TEST(Compute, ThreadsOfAClassifierDoNotShow) {
  for (const int64_t rows : {9, 70, 1100}) {
    for (const char* loss : {"softmax", "arcface"}) {
      SCOPED_TRACE(std::string(loss) + " " + std::to_string(rows));
      Bound bound(loss, ClassifierInputs(rows, 3000, 17));
      std::vector<float> by_rows(static_cast<size_t>(rows * 17)), by_table(3000 * 17);
      std::vector<float> expected_rows, expected_table;
      std::vector<std::byte> expected_items;
      for (const int threads : {1, 2, 5}) {
        ThreadPool pool(threads);
        for (const bool together : {true, false}) {
          std::fill(by_rows.begin(), by_rows.end(), -1.0f);
          std::fill(by_table.begin(), by_table.end(), -1.0f);
          std::vector<ComputeTask> tasks(together ? 1 : 2, bound.Task(/*with_items=*/true));
          tasks.front().gradients[0] = reinterpret_cast<std::byte*>(by_rows.data());
          tasks.back().gradients[kTableGradient] = reinterpret_cast<std::byte*>(by_table.data());
          const Outcome all = RunTasks(&pool, tasks);
          ASSERT_TRUE(all.status.ok()) << all.status;
          if (expected_items.empty()) {
            expected_items = bound.items;
            expected_rows = by_rows;
            expected_table = by_table;
          }
          EXPECT_EQ(bound.items, expected_items);
          EXPECT_EQ(by_rows, expected_rows);
          EXPECT_EQ(by_table, expected_table);
        }
      }
    }
  }
}

// A bad label of a classifier is found before its rows' turn, yet an earlier task's comes first.
TEST(Compute, ErrorsOfClassifiersKeepTheOrder) {
  TestValuesByName bad = ClassifierInputs(70, 3000, 17);
  bad["labels"].values[60] = 3000;
  Bound classifier("softmax", bad);
  TestValuesByName rows = MakeTestInputs(RowOf("cross_entropy").signatures[0], 3000, 10, 4);
  rows["labels"].values[2999] = 10;
  Bound first("cross_entropy", rows);
  ThreadPool pool(3);
  Outcome all = RunTasks(&pool, {first.Task(false), classifier.Task(false)});
  EXPECT_THAT(std::string(all.status.message()), HasSubstr("got 10 at [2999]"));
  all = RunTasks(&pool, {classifier.Task(false), first.Task(false)});
  EXPECT_THAT(std::string(all.status.message()), HasSubstr("from 0 to 2999, got 3000 at [60]"));
}

// What the collector sums is what an addition of the items one by one gives.
TEST(Compute, SumsAreThoseOfTheItems) {
  ThreadPool pool(2);
  for (const bool weighted : {false, true}) {
    Bound mse("mse", 150000, 1, weighted);
    const Outcome outcome = RunTasks(&pool, {mse.Task(true)});
    ASSERT_TRUE(outcome.status.ok());
    ExactSum terms, weights;
    for (int64_t i = 0; i < 150000; ++i) {
      const double weight = !weighted ? 1 : i % 5 == 0 ? 0 : static_cast<double>(i % 7) / 4;
      float item;
      std::memcpy(&item, mse.items.data() + i * 4, 4);
      terms.Add(item * weight);
      weights.Add(weight);
    }
    EXPECT_EQ(outcome.outcomes[0].sums.parts[0], terms);
    EXPECT_EQ(outcome.outcomes[0].sums.weight, weights);
  }
}

// Without items asked for, cheap losses are summed in one pass by kernels of their own.
TEST(Compute, SumsWithoutItemsAreThoseWithThem) {
  ThreadPool pool(2);
  CollectOptions options;
  for (const LossRow& row : Catalogue::Get().rows()) {
    if (!row.streams) continue;  // a sample has no weight there
    for (const bool weighted : {false, true}) {
      for (const int64_t samples : {1, 31, 1023, 1024, 1025, 5000}) {
        for (const bool statistics : {false, true}) {
          SCOPED_TRACE(std::string(row.name) + " " + std::to_string(samples));
          options.statistics = statistics;
          Bound loss(row.name, samples, 7, weighted);
          const Outcome with_items = RunTasks(&pool, {loss.Task(true)}, options);
          const Outcome without = RunTasks(&pool, {loss.Task(false)}, options);
          ASSERT_TRUE(with_items.status.ok() && without.status.ok());
          ExpectEqual(without.outcomes[0].sums, with_items.outcomes[0].sums);
        }
      }
    }
  }
}

// The same where infinities, overflows and cancellation meet.
TEST(Compute, SumsOfExtremesWithoutItemsAreThoseWithThem) {
  ThreadPool pool(1);
  const double extremes[] = {
      0.0,  -0.0,  1e-45, -1e-40, 3e38, -3e38, std::numeric_limits<double>::infinity(),
      1e20, -1e20, 1.0,   1e-20,  1e19, 5.0,   std::nan("")};
  for (const char* name : {"mse", "mae", "mean_bias", "smooth_l1", "huber", "quantile", "hinge"}) {
    SCOPED_TRACE(name);
    for (const size_t kinds : {6, 13, 14}) {
      TestValuesByName values = MakeTestInputs(RowOf(name).signatures[0], 3000, 1, 1);
      std::vector<double>& predictions = values["predictions"].values;
      for (size_t i = 0; i < predictions.size(); ++i) predictions[i] = extremes[i % kinds];
      Bound loss(name, values);
      for (const NonFinitePolicy policy : {NonFinitePolicy::kPropagate, NonFinitePolicy::kSkip}) {
        const Outcome with_items = RunTasks(&pool, {loss.Task(true)}, {policy, true});
        const Outcome without = RunTasks(&pool, {loss.Task(false)}, {policy, true});
        ExpectEqual(without.outcomes[0].sums, with_items.outcomes[0].sums);
      }
    }
  }
}

TEST(Compute, MeanOfAnySizeIsTheReportedOne) {
  ThreadPool pool(2);
  for (const char* name : {"mse", "cross_entropy", "balanced_binary_cross_entropy", "log_cosh"}) {
    for (const int64_t samples : {1, 16, 1000, 1024, 1025, 5000}) {
      for (const bool weighted : {false, true}) {
        Bound loss(name, samples, 7, weighted);
        const Outcome outcome = RunTasks(&pool, {loss.Task(false)});
        const absl::StatusOr<double> mean = ComputeMean(loss.loss);
        ASSERT_TRUE(mean.ok());
        const double expected = ReportMean(loss.row, loss.loss.pooled, outcome.outcomes[0].sums);
        EXPECT_TRUE(*mean == expected || (*mean != *mean && expected != expected))
            << name << samples;
      }
    }
  }
}

// An item of a pooled loss is that of the loss with the beta that the sums give.
TEST(Compute, PooledItemsTakeASecondPass) {
  ThreadPool pool(2);
  for (const int64_t samples : {8, 200000}) {
    Bound pooled("balanced_binary_cross_entropy", samples, 1);
    ASSERT_TRUE(pooled.loss.pooled);
    const Outcome outcome = RunTasks(&pool, {pooled.Task(true)});
    ASSERT_TRUE(outcome.status.ok());
    const LossSums& sums = outcome.outcomes[0].sums;
    EXPECT_EQ(sums.items, samples);  // counted once

    LossSpec given = pooled.spec;
    given.parameters[0] = 1 - sums.parts[2].Round() / static_cast<double>(samples);
    EXPECT_EQ(ItemsOf(given, pooled.inputs->views()), pooled.items);
  }
}

// Large gradients are written past the caches, in whole lines where there are any.
TEST(Compute, LargeGradientsAreThoseOfTheItemsAtAnyAddress) {
  constexpr size_t kItems = (size_t{16} << 20) / sizeof(float) + 37;
  std::vector<float> predictions(kItems), targets(kItems);
  for (size_t i = 0; i < kItems; ++i) {
    predictions[i] = static_cast<float>(i % 1001);
    targets[i] = static_cast<float>(i % 77);
  }
  const auto view = [](const std::vector<float>& values) {
    return *TensorView::Create(DataType::kFloat32, Shape{static_cast<int64_t>(kItems)},
                               std::as_bytes(std::span(values)));
  };
  LossSpec spec;
  spec.row = &RowOf("mse");
  const BoundLoss loss =
      *Bind(spec, {{"predictions", view(predictions)}, {"targets", view(targets)}});
  ThreadPool pool(2);
  for (const size_t offset : {0, 4, 60, 2}) {
    std::vector<std::byte> gradients(kItems * sizeof(float) + 64 + offset);
    std::byte* const to = gradients.data() + offset;
    ComputeTask task = {loss, nullptr};
    task.gradients[0] = to;
    ASSERT_TRUE(RunTasks(&pool, {task}).status.ok());
    const float scale = static_cast<float>(1.0 / static_cast<double>(kItems));
    for (size_t i = 0; i < kItems; ++i) {
      float gradient;
      std::memcpy(&gradient, to + i * sizeof(float), sizeof(float));
      ASSERT_EQ(gradient, scale * (2 * (predictions[i] - targets[i]))) << i << " at " << offset;
    }
    EXPECT_EQ(to[kItems * sizeof(float)], std::byte{0});
  }
}

TEST(Compute, NoTasksAndNoItems) {
  ThreadPool pool(1);
  EXPECT_TRUE(RunTasks(&pool, {}).status.ok());
  TestValuesByName empty;
  empty["predictions"].shape = empty["targets"].shape = {0};
  Bound mse("mse", empty);
  const Outcome outcome = RunTasks(&pool, {mse.Task(true)});
  ASSERT_TRUE(outcome.status.ok());
  ExpectEqual(outcome.outcomes[0].sums, LossSums());
}

// Two pairs of tensors, with bad weights at the places given.
std::unique_ptr<Bound> BadAt(int64_t samples, const std::vector<int64_t>& places) {
  TestValuesByName values = MakeTestInputs(RowOf("mse").signatures[0], samples, 1, 1);
  values["sample_weight"].shape = {samples};
  values["sample_weight"].values.assign(static_cast<size_t>(samples), 1);
  for (const int64_t place : places)
    values["sample_weight"].values[static_cast<size_t>(place)] = -1;
  return std::make_unique<Bound>("mse", values);
}

TEST(Compute, TheFirstBadItemIsTheErrorWhateverRanFirst) {
  constexpr int64_t kSamples = 1500000;  // a dozen chunks
  ThreadPool pool(4);
  const auto good = std::make_unique<Bound>("mae", 300000, 1);
  const auto bad = BadAt(kSamples, {131072 * 3 + 7, 131072 * 3 + 9, 131072 * 8, kSamples - 1});
  const auto worse = BadAt(10, {0});
  for (int round = 0; round < 10; ++round) {
    const Outcome outcome =
        RunTasks(&pool, {good->Task(false), bad->Task(false), worse->Task(false)});
    EXPECT_EQ(outcome.status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(DetailOf(outcome.status).field, "inputs[\"sample_weight\"]");
    EXPECT_THAT(std::string(outcome.status.message()), HasSubstr("got -1 at [393223]"));
    EXPECT_TRUE(outcome.outcomes.empty());
  }
}

TEST(Compute, NonFiniteItemsByPolicyAndTheFirstRejected) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  constexpr int64_t kSamples = 400000;
  TestValuesByName values = MakeTestInputs(RowOf("mse").signatures[0], kSamples, 1, 1);
  std::vector<double>& predictions = values["predictions"].values;
  predictions[300000] = std::nan("");
  predictions[300001] = kInf;
  predictions[399999] = -kInf;
  Bound mse("mse", values);
  ThreadPool pool(3);
  CollectOptions options;
  options.statistics = true;
  const LossSums propagated = RunTasks(&pool, {mse.Task(false)}, options).outcomes[0].sums;
  EXPECT_EQ(propagated.items, kSamples);
  EXPECT_EQ(propagated.nan_items, 1);
  EXPECT_EQ(propagated.inf_items, 2);
  EXPECT_EQ(propagated.parts[0].nan_count(), 1u);
  EXPECT_EQ(propagated.parts[0].positive_infinity_count(), 2u);
  EXPECT_EQ(propagated.maximum, kInf);

  options.non_finite = NonFinitePolicy::kSkip;
  const LossSums skipped = RunTasks(&pool, {mse.Task(false)}, options).outcomes[0].sums;
  EXPECT_EQ(skipped.items, kSamples - 3);
  EXPECT_EQ(skipped.nan_items, 1);
  EXPECT_EQ(skipped.inf_items, 2);
  EXPECT_TRUE(skipped.parts[0].IsFinite());
  EXPECT_EQ(skipped.weight.Round(), static_cast<double>(kSamples - 3));
  EXPECT_LT(skipped.maximum, kInf);

  options.non_finite = NonFinitePolicy::kReject;
  for (int round = 0; round < 5; ++round) {
    const absl::Status rejected = RunTasks(&pool, {mse.Task(false)}, options).status;
    EXPECT_EQ(DetailOf(rejected).reason, "NON_FINITE_ITEM");
    EXPECT_THAT(std::string(rejected.message()), HasSubstr("300000"));
  }
}

// Losses bound to the tensors of one upload.
std::vector<BoundLoss> BindAll(const std::vector<const char*>& names, const TestInputs& inputs) {
  std::vector<BoundLoss> losses;
  for (const char* name : names) losses.push_back(*Bind(SpecOf(RowOf(name), {}), inputs.views()));
  return losses;
}

TEST(Compute, LossesOverTheSameTensorsGiveWhatEachGivesAlone) {
  const std::vector<std::pair<const char*, std::vector<const char*>>> uploads = {
      {"cross_entropy", {"cross_entropy", "zero_one", "focal", "entropy"}},
      {"mse", {"mse", "mae", "huber", "log_cosh"}}};
  for (const auto& [shaped_as, names] : uploads) {
    for (const int64_t samples : {3, 20000, 200000}) {
      if (samples > 20000 && std::string(shaped_as) != "mse") continue;
      const TestInputs inputs(MakeTestInputs(RowOf(shaped_as).signatures[0], samples, 10, 4),
                              TestLayout());
      const std::vector<BoundLoss> losses = BindAll(names, inputs);
      for (const int threads : {1, 3}) {
        for (const bool statistics : {false, true}) {
          ThreadPool pool(threads);
          const CollectOptions options = {NonFinitePolicy::kPropagate, statistics};
          std::vector<std::vector<std::byte>> items(losses.size());
          std::vector<ComputeTask> tasks;
          for (size_t i = 0; i < losses.size(); ++i) {
            items[i].resize(static_cast<size_t>(losses[i].item_shape.elements()) * sizeof(float));
            tasks.push_back({losses[i], i % 2 == 0 ? items[i].data() : nullptr});
          }
          const Outcome together = RunTasks(&pool, tasks, options);
          ASSERT_TRUE(together.status.ok()) << together.status;
          for (size_t i = 0; i < losses.size(); ++i) {
            SCOPED_TRACE(std::string(names[i]) + " " + std::to_string(samples));
            const std::vector<std::byte> items_together = items[i];
            const Outcome alone = RunTasks(&pool, {tasks[i]}, options);
            ExpectEqual(together.outcomes[i].sums, alone.outcomes[0].sums);
            EXPECT_EQ(items_together, items[i]);
            EXPECT_GT(together.outcomes[i].seconds, 0);
          }
        }
      }
    }
  }
}

// Of losses that run together the error is that of the first one, however late in the batch.
TEST(Compute, TheFirstLossesErrorIsTheErrorOfLossesThatRunTogether) {
  constexpr int64_t kSamples = 400000;
  TestValuesByName values = MakeTestInputs(RowOf("mse").signatures[0], kSamples, 1, 1);
  for (const auto& [name, place] : {std::pair("late", 390000), std::pair("early", 5)}) {
    values[name].shape = {kSamples};
    values[name].values.assign(kSamples, 1);
    values[name].values[static_cast<size_t>(place)] = -1;
  }
  const TestInputs inputs(values, TestLayout());
  std::vector<ComputeTask> tasks;
  for (const auto& [name, weights] :
       {std::pair("huber", ""), std::pair("mse", "late"), std::pair("mae", "early")}) {
    LossSpec spec = SpecOf(RowOf(name), {});
    if (*weights != 0) spec.inputs["sample_weight"] = weights;
    tasks.push_back({*Bind(spec, inputs.views())});
  }
  ThreadPool pool(3);
  for (int round = 0; round < 10; ++round) {
    const absl::Status status = RunTasks(&pool, tasks).status;
    EXPECT_EQ(DetailOf(status).field, "inputs[\"late\"]");
    EXPECT_THAT(std::string(status.message()), HasSubstr("got -1 at [390000]"));
  }
}

// With weights, though all are 1, or where items may be skipped, the denominator is known only
// after a first pass.
TEST(Compute, GradientsOfOnePassAreThoseOfTwo) {
  ThreadPool pool(2);
  for (const LossRow& row : Catalogue::Get().rows()) {
    for (const int64_t samples : {9, 1030, 6000}) {
      if (!row.streams && samples > 9) continue;
      SCOPED_TRACE(std::string(row.name) + " " + std::to_string(samples));
      TestValuesByName values = MakeTestInputs(row.signatures[0], samples, 7, 4);
      std::vector<std::vector<std::byte>> outputs[2];
      LossSums sums[2];
      for (const bool twice : {false, true}) {
        if (twice && row.streams) {
          const auto ones = static_cast<size_t>(samples);
          values["sample_weight"] = {{samples}, std::vector<double>(ones, 1), true};
        }
        Bound loss(row.name, values);
        ComputeTask task = loss.Task(/*with_items=*/false);
        for (const GradientSlot& slot : GradientSlots(loss.loss)) {
          const size_t size = static_cast<size_t>(slot.shape.elements()) * sizeof(float);
          auto& output = outputs[twice].emplace_back(size, std::byte{1});
          task.gradients[static_cast<size_t>(slot.slot)] = output.data();
        }
        CollectOptions options;
        if (twice && !row.streams) options.non_finite = NonFinitePolicy::kSkip;
        const Outcome outcome = RunTasks(&pool, {task}, options);
        ASSERT_TRUE(outcome.status.ok()) << outcome.status;
        sums[twice] = outcome.outcomes[0].sums;
      }
      EXPECT_EQ(outputs[false], outputs[true]);
      ExpectEqual(sums[false], sums[true]);
    }
  }
}

TEST(Compute, CancellationEndsItWithinAChunk) {
  Bound mse("mse", 4000000, 1);
  ThreadPool pool(1);
  CancellationToken token;
  token.Cancel();
  EXPECT_EQ(RunTasks(&pool, {mse.Task(false)}, {}, &token).status.code(),
            absl::StatusCode::kCancelled);

  // Cancelled by a job that takes its turn after the first chunk: the rest is not computed.
  CancellationToken later;
  std::promise<Outcome> done;
  std::promise<void> gate_runs, open;
  pool.Submit(
      1,
      [&](int64_t) {
        gate_runs.set_value();
        open.get_future().wait();
      },
      [] {});
  gate_runs.get_future().wait();
  Compute(&pool, {mse.Task(false)}, {}, &later,
          [&](absl::Status status, std::vector<ComputeOutcome> outcomes) {
            done.set_value({std::move(status), std::move(outcomes)});
          });
  pool.Submit(
      1, [&](int64_t) { later.Cancel(); }, [] {});
  open.set_value();
  const Outcome outcome = done.get_future().get();
  EXPECT_EQ(outcome.status.code(), absl::StatusCode::kCancelled);
  EXPECT_TRUE(outcome.outcomes.empty());
  EXPECT_EQ(DetailOf(outcome.status).reason, "");
}

// A small job is done on the calling thread, though the pool is busy.
TEST(Compute, SmallWorkDoesNotWaitForThePool) {
  ThreadPool pool(1);
  std::promise<void> gate_runs, open;
  pool.Submit(
      1,
      [&](int64_t) {
        gate_runs.set_value();
        open.get_future().wait();
      },
      [] {});
  gate_runs.get_future().wait();
  Bound small("mse", kInlineElements, 1);
  bool done = false;
  const std::thread::id caller = std::this_thread::get_id();
  Compute(&pool, {small.Task(false)}, {}, nullptr,
          [&](absl::Status status, std::vector<ComputeOutcome>) {
            done = status.ok() && std::this_thread::get_id() == caller;
          });
  EXPECT_TRUE(done);
  open.set_value();
}

// Small inputs, but pairs of them: seconds of work must not hold the caller's thread.
TEST(Compute, WorkThatOutgrowsTheInputsWaitsForThePool) {
  ThreadPool pool(1);
  Bound range("range", 300, 2);
  Bound labels("multilabel_margin", 1, 300);
  Bound frames("ctc", kInlineElements / (2 * kTestFrames), 2);
  const std::thread::id caller = std::this_thread::get_id();
  for (Bound* bound : {&range, &labels, &frames}) {
    std::promise<std::thread::id> worker;
    Compute(&pool, {bound->Task(false)}, {}, nullptr,
            [&](absl::Status status, std::vector<ComputeOutcome>) {
              EXPECT_TRUE(status.ok()) << status;
              worker.set_value(std::this_thread::get_id());
            });
    EXPECT_NE(worker.get_future().get(), caller) << bound->row.name;
  }
}

}  // namespace
}  // namespace lossd
