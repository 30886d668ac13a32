// ctc against a sum over all alignments, one by one, and against its own differences. The
// recursion is checked where alignments can still be listed: up to 7 frames of 4 classes.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <functional>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "lib/base/status.h"
#include "lib/forms/forms.h"
#include "lib/losses/bind.h"
#include "lib/losses/families.h"

namespace lossd {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// A call of ctc and the memory of its tensors; T is the type of the frames.
template <class T>
struct Ctc {
  int64_t samples, frames, classes, label_columns;
  std::vector<T> x;
  std::vector<int32_t> labels;
  std::vector<int64_t> input_lengths, label_lengths;
  std::vector<T> weights;
  const char* role = "logits";
  double blank = 0, zero_infinity = 0, time_major = 0;
  std::optional<TensorView> frames_view = {};  // in place of x

  size_t IndexOf(int64_t n, int64_t t, int64_t c) const {
    const int64_t frame = time_major != 0 ? t * samples + n : n * frames + t;
    return static_cast<size_t>(frame * classes + c);
  }

  template <class U>
  static TensorView ViewOf(const std::vector<U>& values, DataType type, const Shape& shape) {
    return *TensorView::Create(type, shape, std::as_bytes(std::span(values)));
  }

  absl::StatusOr<BoundLoss> Bound() const {
    const LossTable table = CtcTable();
    LossSpec spec;
    spec.row = &table.rows[0];
    spec.path = "losses[0]";
    spec.parameters = {blank, zero_infinity, time_major};
    NamedTensors inputs;
    const Shape shape =
        time_major != 0 ? Shape{frames, samples, classes} : Shape{samples, frames, classes};
    inputs[role] = frames_view.has_value() ? *frames_view : ViewOf(x, DataTypeOf<T>(), shape);
    inputs["labels"] = ViewOf(labels, DataType::kInt32, Shape{samples, label_columns});
    inputs["input_lengths"] = ViewOf(input_lengths, DataType::kInt64, Shape{samples});
    inputs["label_lengths"] = ViewOf(label_lengths, DataType::kInt64, Shape{samples});
    if (!weights.empty()) inputs[kSampleWeight] = ViewOf(weights, DataTypeOf<T>(), Shape{samples});
    return Bind(spec, inputs);
  }

  absl::Status status() const {
    const absl::StatusOr<BoundLoss> bound = Bound();
    if (!bound.ok()) return bound.status();
    SequenceForm<T> form(bound->call);
    ItemBlock<T> block;
    return form.Run(0, samples, &block);
  }

  std::vector<T> Items(int part = 0) const {
    const absl::StatusOr<BoundLoss> bound = Bound();
    EXPECT_TRUE(bound.ok()) << bound.status();
    SequenceForm<T> form(bound->call);
    ItemBlock<T> block;
    const absl::Status s = form.Run(0, samples, &block);
    EXPECT_TRUE(s.ok()) << s;
    return {block.items[part], block.items[part] + samples};
  }

  // Of the sum of the items, or of their mean.
  std::vector<T> Gradients(bool mean = false) const {
    const absl::StatusOr<BoundLoss> bound = Bound();
    SequenceForm<T> form(bound->call);
    std::vector<T> gradients(x.size(), T(99));
    GradientCall call;
    call.mean = mean;
    call.denominator = mean ? static_cast<double>(samples) : 1;
    call.outputs[0] = reinterpret_cast<std::byte*>(gradients.data());
    const absl::Status s = form.RunGradients(0, samples, call);
    EXPECT_TRUE(s.ok()) << s;
    return gradients;
  }
};

template <class T>
Ctc<T> Random(int64_t samples, int64_t frames, int64_t classes, int64_t labels, uint64_t seed) {
  std::mt19937_64 random(seed);
  Ctc<T> made = {samples, frames, classes, labels, {}, {}, {}, {}, {}};
  for (int64_t i = 0; i < samples * frames * classes; ++i)
    made.x.push_back(static_cast<T>(static_cast<double>(random() % 8001) / 1000 - 4));
  for (int64_t i = 0; i < samples * labels; ++i)
    made.labels.push_back(static_cast<int32_t>(1 + random() % static_cast<uint64_t>(classes - 1)));
  for (int64_t n = 0; n < samples; ++n) {
    made.input_lengths.push_back(frames);
    made.label_lengths.push_back(labels);
  }
  return made;
}

// log p of the classes at a frame.
template <class T>
std::vector<long double> LogProbsAt(const Ctc<T>& ctc, int64_t n, int64_t t) {
  std::vector<long double> log_p;
  long double total = 0;
  for (int64_t c = 0; c < ctc.classes; ++c) {
    log_p.push_back(ctc.x[ctc.IndexOf(n, t, c)]);
    total += std::exp(log_p.back());
  }
  if (std::string(ctc.role) == "logits") {
    for (long double& value : log_p) value -= std::log(total);
  }
  return log_p;
}

// What a class a frame reads as.
std::vector<int32_t> Read(const std::vector<int32_t>& path, int32_t blank) {
  std::vector<int32_t> labels;
  for (size_t t = 0; t < path.size(); ++t) {
    if (path[t] != blank && (t == 0 || path[t] != path[t - 1])) labels.push_back(path[t]);
  }
  return labels;
}

// The loss of a sample by listing every path.
template <class T>
double Listed(const Ctc<T>& ctc, int64_t n) {
  const int64_t frames = ctc.input_lengths[static_cast<size_t>(n)];
  const auto begin = ctc.labels.begin() + n * ctc.label_columns;
  const std::vector<int32_t> labels(begin, begin + ctc.label_lengths[static_cast<size_t>(n)]);
  std::vector<std::vector<long double>> log_p;
  for (int64_t t = 0; t < frames; ++t) log_p.push_back(LogProbsAt(ctc, n, t));
  long double total = 0;
  std::vector<int32_t> path(static_cast<size_t>(frames));
  const std::function<void(size_t, long double)> extend = [&](size_t t, long double sum) {
    if (t == path.size()) {
      if (Read(path, static_cast<int32_t>(ctc.blank)) == labels) total += std::exp(sum);
      return;
    }
    for (int32_t c = 0; c < ctc.classes; ++c) {
      path[t] = c;
      extend(t + 1, sum + log_p[t][static_cast<size_t>(c)]);
    }
  };
  extend(0, 0);
  return static_cast<double>(-std::log(total));
}

template <class T>
void ExpectListed(const Ctc<T>& ctc, double tolerance) {
  const std::vector<T> items = ctc.Items();
  for (int64_t n = 0; n < ctc.samples; ++n) {
    const double expected = Listed(ctc, n);
    const double item = static_cast<double>(items[static_cast<size_t>(n)]);
    if (std::isinf(expected)) {
      EXPECT_EQ(item, expected) << n;
    } else {
      EXPECT_NEAR(item, expected, tolerance * std::max(1.0, expected)) << n;
    }
  }
}

template <class T>
void TestLengths(double tolerance) {
  for (const char* role : {"logits", "log_probs"}) {
    for (const double blank : {0.0, 2.0}) {
      for (const double time_major : {0.0, 1.0}) {
        Ctc<T> ctc = Random<T>(48, 6, 4, 3, 5);
        ctc.role = role;
        ctc.blank = blank;
        ctc.time_major = time_major;
        for (size_t n = 0; n < 48; ++n) {
          ctc.input_lengths[n] = static_cast<int64_t>(n % 7);
          ctc.label_lengths[n] = static_cast<int64_t>(n / 7 % 4);
        }
        // Pairs that repeat too.
        for (size_t i = 0; i < ctc.labels.size(); ++i) {
          int32_t& label = ctc.labels[i];
          if (i % 3 != 0 && i % 2 == 0) label = ctc.labels[i - 1];
          if (label == static_cast<int32_t>(blank)) label = 0;
        }
        ExpectListed(ctc, tolerance);
      }
    }
  }
}

TEST(Ctc, IsTheSumOverAlignmentsF32) { TestLengths<float>(1e-6); }
TEST(Ctc, IsTheSumOverAlignmentsF64) { TestLengths<double>(1e-14); }

TEST(Ctc, OneFrame) {
  Ctc<double> ctc = Random<double>(2, 1, 3, 1, 1);
  ctc.label_lengths[1] = 0;
  ExpectListed(ctc, 1e-14);
}

TEST(Ctc, OneClassIsTheBlank) {
  Ctc<float> ctc = {2, 5, 1, 0, std::vector<float>(10, 3.0f), {}, {5, 0}, {0, 0}, {}};
  EXPECT_EQ(ctc.Items(), (std::vector<float>{0, 0}));
  EXPECT_FALSE(std::signbit(ctc.Items()[0]));
}

TEST(Ctc, NoAlignmentIsInfinite) {
  // A repeated label wants a blank in between: 3 frames for (1, 1).
  Ctc<float> ctc = Random<float>(3, 3, 3, 2, 2);
  ctc.labels = {1, 1, 1, 2, 1, 1};
  ctc.input_lengths = {2, 1, 3};
  const std::vector<float> items = ctc.Items();
  EXPECT_EQ(items[0], kInf);
  EXPECT_EQ(items[1], kInf);
  EXPECT_LT(items[2], kInf);
  const std::vector<float> slopes = ctc.Gradients();
  EXPECT_TRUE(std::isnan(slopes[ctc.IndexOf(0, 1, 2)]));
  EXPECT_EQ(slopes[ctc.IndexOf(0, 2, 2)], 0);
  ctc.zero_infinity = 1;
  EXPECT_EQ(ctc.Items()[0], 0);
  EXPECT_EQ(ctc.Items()[1], 0);
  EXPECT_EQ(ctc.Items()[2], items[2]);
  const std::vector<float> gradients = ctc.Gradients();
  for (size_t i = 0; i < 18; ++i) EXPECT_EQ(gradients[i], 0) << i;
  EXPECT_NE(gradients[18], 0);
}

// More labels than frames: nothing is computed of them, but they are checked to the last.
TEST(Ctc, MoreLabelsThanFrames) {
  Ctc<float> ctc = Random<float>(1, 2, 3, 10000, 2);
  EXPECT_EQ(ctc.Items()[0], kInf);
  EXPECT_EQ(ctc.Items(1)[0], kInf);
  for (const float gradient : ctc.Gradients()) EXPECT_TRUE(std::isnan(gradient));
  ctc.zero_infinity = 1;
  EXPECT_EQ(ctc.Items()[0], 0);
  for (const float gradient : ctc.Gradients()) EXPECT_EQ(gradient, 0);
  ctc.labels.back() = 3;
  EXPECT_EQ(DetailOf(ctc.status()).reason, "LABEL_OUT_OF_RANGE");
  ctc.label_lengths[0] = 9999;
  EXPECT_TRUE(ctc.status().ok());
}

TEST(Ctc, EndsWhenCancelled) {
  const Ctc<float> ctc = Random<float>(2, 9, 3, 3, 2);
  const absl::StatusOr<BoundLoss> bound = ctc.Bound();
  CancellationToken token;
  SequenceForm<float> form(bound->call);
  form.CancelBy(&token);
  ItemBlock<float> block;
  EXPECT_TRUE(form.Run(0, 2, &block).ok());
  token.Cancel();
  EXPECT_EQ(form.Run(0, 2, &block).code(), absl::StatusCode::kCancelled);
  std::vector<float> gradients(ctc.x.size());
  GradientCall call;
  call.outputs[0] = reinterpret_cast<std::byte*>(gradients.data());
  EXPECT_EQ(form.RunGradients(0, 2, call).code(), absl::StatusCode::kCancelled);
}

TEST(Ctc, ImpossibleLabelsAreInfiniteToo) {
  Ctc<double> ctc = Random<double>(1, 3, 3, 1, 2);
  ctc.role = "log_probs";
  for (int64_t t = 0; t < 3; ++t) ctc.x[ctc.IndexOf(0, t, ctc.labels[0])] = -kInf;
  EXPECT_EQ(ctc.Items()[0], kInf);
  ctc.zero_infinity = 1;
  EXPECT_EQ(ctc.Items()[0], 0);
  for (const double gradient : ctc.Gradients()) EXPECT_EQ(gradient, 0);
}

// Digits where the probability is all but 1, and where it is e^-10000 a frame.
TEST(Ctc, NeitherCancelsNorOverflows) {
  Ctc<float> ctc = {1, 2000, 2, 1, std::vector<float>(4000, 0.0f), {1}, {2000}, {1}, {}};
  for (size_t t = 0; t < 2000; ++t) ctc.x[2 * t + 1] = 60;
  // All frames the label; or up to j at either end the blank. (2000 + 2) terms of e^-60 less.
  EXPECT_NEAR(ctc.Items()[0] / (1998 * std::exp(-60.0)), 1, 1e-6);
  for (size_t t = 0; t < 2000; ++t) ctc.x[2 * t + 1] = -1e4f;
  // One frame the label, any of 2000.
  EXPECT_NEAR(ctc.Items()[0], 1e4 - std::log(2000.0), 1e-2);
  ctc.labels = std::vector<int32_t>(1000, 1);
  ctc.label_columns = ctc.label_lengths[0] = 1000;
  EXPECT_NEAR(ctc.Items()[0], 1e7 - std::log(1001.0), 1);
}

TEST(Ctc, MeanDividesByTheLabels) {
  Ctc<float> ctc = Random<float>(4, 9, 5, 3, 3);
  ctc.label_lengths = {3, 2, 1, 0};
  const std::vector<float> items = ctc.Items(0), parts = ctc.Items(1);
  const float lengths[] = {3, 2, 1, 1};
  for (size_t n = 0; n < 4; ++n) EXPECT_EQ(parts[n], items[n] / lengths[n]);
  const std::vector<float> of_sum = ctc.Gradients(false), of_mean = ctc.Gradients(true);
  for (size_t i = 0; i < of_sum.size(); ++i)
    EXPECT_NEAR(of_mean[i], of_sum[i] / 4 / lengths[i / 45], 1e-7);
}

void ExpectDifferences(Ctc<double> ctc) {
  const std::vector<double> gradients = ctc.Gradients();
  constexpr double kStep = 1e-5;
  for (size_t i = 0; i < ctc.x.size(); ++i) {
    const double x = ctc.x[i];
    double total[2] = {};
    for (int side = 0; side < 2; ++side) {
      ctc.x[i] = x + (side == 0 ? -kStep : kStep);
      for (const double item : ctc.Items()) total[side] += item;
    }
    ctc.x[i] = x;
    ASSERT_NEAR(gradients[i], (total[1] - total[0]) / (2 * kStep), 1e-8) << i;
  }
}

TEST(Ctc, GradientsAreDifferences) {
  for (const char* role : {"logits", "log_probs"}) {
    for (const double time_major : {0.0, 1.0}) {
      Ctc<double> ctc = Random<double>(6, 8, 4, 3, 9);
      ctc.role = role;
      ctc.time_major = time_major;
      ctc.labels = {1, 1, 2, 3, 2, 3, 2, 2, 2, 1, 2, 1, 3, 3, 1, 1, 2, 3};
      ctc.input_lengths = {8, 7, 5, 8, 6, 3};
      ctc.label_lengths = {3, 3, 3, 2, 0, 3};
      ExpectDifferences(ctc);
    }
  }
}

// Frames that a gradient goes through in several pieces.
TEST(Ctc, PiecesOfAGradientDoNotShow) {
  Ctc<double> ctc = Random<double>(1, 1500, 3, 150, 4);
  const std::vector<double> gradients = ctc.Gradients();
  double largest = 0;
  for (size_t t = 0; t < 1500; ++t) {
    double sum = 0;
    for (size_t c = 0; c < 3; ++c) sum += gradients[3 * t + c];
    // Both the softmax and the posterior of a frame add up to 1.
    ASSERT_NEAR(sum, 0, 1e-11) << t;
    largest = std::max(largest, std::abs(gradients[3 * t]));
  }
  EXPECT_GT(largest, 0.1);
  for (const size_t i : {0u, 700u, 2000u, 4499u}) {
    constexpr double kStep = 1e-4;
    Ctc<double> low = ctc, high = ctc;
    low.x[i] -= kStep;
    high.x[i] += kStep;
    EXPECT_NEAR(gradients[i], (high.Items()[0] - low.Items()[0]) / (2 * kStep), 1e-7);
  }
}

TEST(Ctc, WhatIsPastTheLengthsIsNotRead) {
  Ctc<float> ctc = Random<float>(3, 7, 4, 3, 6);
  ctc.input_lengths = {4, 7, 5};
  ctc.label_lengths = {1, 3, 2};
  const std::vector<float> items = ctc.Items();
  const std::vector<float> gradients = ctc.Gradients();
  ctc.labels[1] = ctc.labels[2] = 0;
  ctc.labels[8] = -77;
  for (int64_t c = 0; c < 4; ++c) {
    ctc.x[ctc.IndexOf(0, 4, c)] = std::nanf("");
    ctc.x[ctc.IndexOf(2, 6, c)] = static_cast<float>(kInf);
  }
  EXPECT_EQ(ctc.Items(), items);
  EXPECT_EQ(ctc.Gradients(), gradients);
  EXPECT_EQ(gradients[ctc.IndexOf(0, 4, 1)], 0);
}

// The bytes of frames in pieces, each in memory of its own, and as f16.
struct Scattered {
  explicit Scattered(const std::vector<std::byte>& bytes, size_t piece) {
    std::vector<std::span<const std::byte>> spans;
    for (size_t at = 0; at < bytes.size(); at += piece) {
      const auto end = bytes.begin() + static_cast<ptrdiff_t>(std::min(bytes.size(), at + piece));
      spans.emplace_back(memory.emplace_back(bytes.begin() + static_cast<ptrdiff_t>(at), end));
    }
    pieces.emplace(std::move(spans));
  }
  std::deque<std::vector<std::byte>> memory;
  std::optional<PiecewiseBytes> pieces;
};

TEST(Ctc, HowFramesLieDoesNotShow) {
  for (const double time_major : {0.0, 1.0}) {
    // More than is copied at a time.
    Ctc<float> ctc = Random<float>(2, 60, 1200, 9, 5);
    ctc.time_major = time_major;
    for (float& x : ctc.x) x = std::round(x * 64) / 64;  // exact in f16
    ctc.input_lengths[1] = 41;
    const std::vector<float> items = ctc.Items(), gradients = ctc.Gradients();
    const auto bytes = std::as_bytes(std::span(ctc.x));
    const Scattered scattered({bytes.begin(), bytes.end()}, 1001);
    std::vector<uint16_t> halves;
    for (const float x : ctc.x) halves.push_back(DoubleToFloat16(static_cast<double>(x)));
    const Shape shape = ctc.Bound()->call.operands[0].view.shape();
    for (const TensorView& view :
         {*TensorView::Create(DataType::kFloat32, shape, &*scattered.pieces),
          Ctc<float>::ViewOf(halves, DataType::kFloat16, shape)}) {
      ctc.frames_view = view;
      EXPECT_EQ(ctc.Items(), items);
      EXPECT_EQ(ctc.Gradients(), gradients);
    }
  }
}

TEST(Ctc, ANanStays) {
  for (const char* role : {"logits", "log_probs"}) {
    Ctc<double> ctc = Random<double>(2, 3, 4, 1, 6);
    ctc.role = role;
    ctc.x[ctc.IndexOf(1, 1, 0)] = std::nan("");
    EXPECT_TRUE(std::isfinite(ctc.Items()[0]));
    EXPECT_TRUE(std::isnan(ctc.Items()[1]));
    EXPECT_TRUE(std::isfinite(ctc.Gradients()[3]));
    EXPECT_TRUE(std::isnan(ctc.Gradients()[12]));
  }
}

TEST(Ctc, ErrorsNameThePlace) {
  Ctc<float> good = Random<float>(2, 4, 3, 2, 8);
  const auto error = [](const Ctc<float>& ctc) { return ctc.status(); };
  const auto expect = [](const absl::Status& s, const char* reason, const char* text) {
    EXPECT_EQ(DetailOf(s).reason, reason) << s;
    EXPECT_NE(std::string(s.message()).find(text), std::string::npos) << s;
  };
  Ctc<float> ctc = good;
  ctc.labels[3] = 0;
  expect(error(ctc), "LABEL_OUT_OF_RANGE", "other than the blank 0, got 0 at [1,1]");
  ctc.labels[3] = 3;
  expect(error(ctc), "LABEL_OUT_OF_RANGE", "a label from 0 to 2 other than the blank 0, got 3");
  ctc.labels[3] = -1;
  expect(error(ctc), "LABEL_OUT_OF_RANGE", "got -1 at [1,1]");
  ctc.weights = {1, 0};
  EXPECT_TRUE(error(ctc).ok());
  ctc = good;
  ctc.input_lengths[1] = 5;
  expect(error(ctc), "INVALID_VALUE", "expected a length from 0 to 4, got 5 at [1]");
  EXPECT_EQ(DetailOf(error(ctc)).field, "inputs[\"input_lengths\"]");
  ctc = good;
  ctc.label_lengths[0] = -1;
  expect(error(ctc), "INVALID_VALUE", "expected a length from 0 to 2, got -1 at [0]");
  ctc = good;
  ctc.blank = 3;
  expect(error(ctc), "INVALID_PARAMETER", "below C = 3, got 3");
  EXPECT_EQ(DetailOf(error(ctc)).field, "losses[0].ctc.blank");
}

TEST(Ctc, TooLongASampleIsRefused) {
  Ctc<float> ctc = Random<float>(1, 40000, 2, 40000, 8);
  EXPECT_EQ(DetailOf(ctc.status()).reason, "SEQUENCE_TOO_LONG");
}

}  // namespace
}  // namespace lossd
