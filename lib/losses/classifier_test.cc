// The classifier losses against their definitions in f64 with all logits at once, their gradients
// against differences of those, and the equality of bits: items for any split of the batch, kind of
// memory and instruction set; gradients for any split of the work and instruction set.
//
// Sizes: classes around the chunk of the log-sum-exp (192) and the tiles (12, 6, 3, 1), rows around
// panels (4 to 32), dimensions around vectors, and beyond the block of classes that fits the cache.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <numbers>

#include "hwy/targets.h"
#include "lib/forms/classifier_gradient_form.h"
#include "lib/losses/catalogue.h"
#include "lib/losses/classifier_margins.h"
#include "lib/losses/families.h"
#include "lib/losses/loss_testing.h"

namespace lossd {
namespace {

struct Sizes {
  int64_t rows, classes, width;
};

double Gaussian(std::mt19937_64* random) { return std::normal_distribution<double>()(*random); }

// Values that are exact in f32, or in bf16.
TestValuesByName MakeInputs(const Sizes& sizes, bool biased, uint64_t seed, bool coarse = false) {
  std::mt19937_64 random(seed);
  const auto fill = [&](std::vector<int64_t> shape) {
    TestValues values;
    values.shape = shape;
    int64_t count = 1;
    for (const int64_t size : shape) count *= size;
    for (int64_t i = 0; i < count; ++i) {
      const double value = static_cast<float>(Gaussian(&random));
      values.values.push_back(coarse ? std::round(value * 16) / 16 : value);
    }
    return values;
  };
  TestValuesByName inputs;
  inputs["embeddings"] = fill({sizes.rows, sizes.width});
  inputs["classifier"] = fill({sizes.classes, sizes.width});
  if (biased) inputs["bias"] = fill({sizes.classes});
  TestValues& labels = inputs["labels"];
  labels.floating = false;
  labels.shape = {sizes.rows};
  for (int64_t i = 0; i < sizes.rows; ++i)
    labels.values.push_back(static_cast<double>(random() % static_cast<uint64_t>(sizes.classes)));
  return inputs;
}

bool TakesBias(const LossRow& row) { return row.signatures[0].inputs.size == 4; }

double ParameterOf(const LossSpec& spec, const char* name, double otherwise) {
  const int i = FindParameter(*spec.row, name);
  return i < 0 ? otherwise : spec.parameters[static_cast<size_t>(i)];
}

// psi of a loss by its angle, as the papers write it.
double Psi(const LossSpec& spec, double angle) {
  const std::string_view name = spec.row->name;
  const double m = ParameterOf(spec, "margin", 0);
  const double cosine = std::cos(angle);
  if (name == "l_softmax" || name == "a_softmax") {
    const double k = std::min(std::floor(m * angle / std::numbers::pi), m - 1);
    const double psi = std::pow(-1, k) * std::cos(m * angle) - 2 * k;
    const double a = ParameterOf(spec, "annealing", 0);
    return (a * cosine + psi) / (1 + a);
  }
  if (name == "am_softmax" || name == "cosface") return cosine - m;
  if (name == "arcface") {
    if (ParameterOf(spec, "easy_margin", 0) != 0 && cosine <= 0) return cosine;
    return std::cos(angle + m);
  }
  return cosine;
}

double Norm(const double* x, int64_t width) {
  double squares = 0;
  for (int64_t i = 0; i < width; ++i) squares += x[i] * x[i];
  return std::sqrt(squares);
}

// The item of a row, all logits at once.
double Definition(const LossSpec& spec, const TestValuesByName& inputs, int64_t row) {
  const std::string_view name = spec.row->name;
  const bool plain = name == "softmax" || name == "l_softmax";
  const bool unit_w = !plain && name != "l2_softmax";
  const bool unit_x = unit_w && name != "modified_softmax" && name != "a_softmax";
  const TestValues& table = inputs.at("classifier");
  const int64_t classes = table.shape[0], width = table.shape[1];
  const double* x = inputs.at("embeddings").values.data() + row * width;
  const auto label = static_cast<int64_t>(inputs.at("labels").values[static_cast<size_t>(row)]);
  const double scale = ParameterOf(spec, "scale", ParameterOf(spec, "alpha", 1));
  const double x_norm = Norm(x, width);
  const auto across_norm = [&](const double* w, double cosine, double w_norm) {
    double squares = 0;
    for (int64_t i = 0; i < width; ++i)
      squares += std::pow(w[i] / w_norm - cosine * x[i] / x_norm, 2);
    return std::sqrt(squares);
  };
  std::vector<double> logits;
  for (int64_t j = 0; j < classes; ++j) {
    const double* w = table.values.data() + j * width;
    const double w_norm = Norm(w, width);
    double product = 0;
    for (int64_t i = 0; i < width; ++i) product += x[i] * w[i];
    double cosine = product / (x_norm * w_norm);
    if (j == label) cosine = Psi(spec, std::atan2(across_norm(w, cosine, w_norm), cosine));
    double logit = scale * cosine;
    if (!unit_x && name != "l2_softmax") logit *= x_norm;
    if (!unit_w) logit *= w_norm;
    if (inputs.contains("bias")) logit += inputs.at("bias").values[static_cast<size_t>(j)];
    logits.push_back(logit);
  }
  double others = 0;
  for (int64_t j = 0; j < classes; ++j) {
    if (j != label)
      others += std::exp(logits[static_cast<size_t>(j)] - logits[static_cast<size_t>(label)]);
  }
  return std::log1p(others);
}

// Every loss, at its defaults and, unless rows are long, with other parameters.
std::vector<LossSpec> Specs(const LossTable& table, const TestValuesByName& inputs) {
  const bool only_defaults = inputs.at("embeddings").shape[1] > 1000;
  std::vector<LossSpec> specs;
  for (const LossRow& row : table.rows) {
    TestValuesByName own = inputs;
    if (!TakesBias(row)) own.erase("bias");
    specs.push_back(SpecOf(row, own));
    if (only_defaults) continue;
    const auto set = [&](const char* name, double value) {
      const int i = FindParameter(row, name);
      if (i < 0) return;
      specs.push_back(SpecOf(row, own));
      specs.back().parameters[static_cast<size_t>(i)] = value;
    };
    set("annealing", 5);
    set("easy_margin", 1);
    set("scale", 3);
    set("alpha", 3);
    for (const double margin : {0.0, 1.0, 2.0, 3.0, 5.0, 7.0}) {
      if (row.parameters.size > 0 && margin == 0 && row.parameters[0].type == ParameterType::kInt64)
        continue;
      set("margin", margin);
    }
  }
  return specs;
}

TestValuesByName InputsOf(const LossSpec& spec, TestValuesByName inputs) {
  if (!TakesBias(*spec.row)) inputs.erase("bias");
  return inputs;
}

std::string NameOf(const LossSpec& spec) {
  std::string name = spec.row->name;
  for (int i = 0; i < spec.row->parameters.size; ++i) {
    name += ' ';
    name += std::to_string(spec.parameters[static_cast<size_t>(i)]);
  }
  return name;
}

template <class T>
std::vector<T> AsNumbers(const std::vector<std::byte>& bytes) {
  std::vector<T> numbers(bytes.size() / sizeof(T));
  if (!numbers.empty()) std::memcpy(numbers.data(), bytes.data(), bytes.size());
  return numbers;
}

constexpr Sizes kSizes[] = {{1, 1, 1},   {5, 3, 2},      {33, 193, 17}, {70, 400, 33},
                            {3, 385, 9}, {17, 192, 128}, {9, 50, 6000}, {3, 7, 9001}};

TEST(Classifier, ItemsAgreeWithTheDefinition) {
  for (const Sizes& sizes : kSizes) {
    const TestValuesByName inputs = MakeInputs(sizes, true, 1);
    for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
      SCOPED_TRACE(NameOf(spec) + " width " + std::to_string(sizes.width));
      const TestValuesByName own = InputsOf(spec, inputs);
      const TestInputs single(own, {DataType::kFloat32, 0, 0});
      const TestInputs both(own, {DataType::kFloat64, 0, 0});
      const auto f32 = AsNumbers<float>(ItemsOf(spec, single.views()));
      const auto f64 = AsNumbers<double>(ItemsOf(spec, both.views()));
      ASSERT_EQ(f64.size(), static_cast<size_t>(sizes.rows));
      for (int64_t row = 0; row < sizes.rows; ++row) {
        const double expected = Definition(spec, own, row);
        const double scale = ParameterOf(spec, "scale", ParameterOf(spec, "alpha", 1));
        const double measure = std::max(std::abs(expected), scale);
        ASSERT_NEAR(f64[static_cast<size_t>(row)], expected, 2e-13 * measure) << row;
        ASSERT_NEAR(f32[static_cast<size_t>(row)], expected, 1e-5 * measure) << row;
      }
    }
  }
}

// Gradients of the sum.
template <class T>
struct Gradients {
  std::vector<T> rows, table;
};

enum class Wanted { kRows, kTable, kBoth };

// The chunks of a phase run forwards or backwards: threads may take them in any order.
template <class T>
Gradients<T> GradientsOf(const LossSpec& spec, const NamedTensors& inputs,
                         Wanted wanted = Wanted::kBoth, bool backwards = false) {
  absl::StatusOr<BoundLoss> bound = Bind(spec, inputs);
  EXPECT_TRUE(bound.ok()) << bound.status();
  FormCall& call = bound->call;
  call.softmaxes = std::make_shared<std::vector<RowSoftmax>>(call.units);
  ClassifierForm<T> items(call);
  ItemBlock<T> block;
  for (int64_t first = 0; first < call.units; first += items.max_units()) {
    const int64_t n = std::min(items.max_units(), call.units - first);
    EXPECT_TRUE(items.Run(first, n, &block).ok());
  }
  Gradients<T> result;
  GradientCall gradients;
  if (wanted != Wanted::kTable) {
    result.rows.resize(static_cast<size_t>(call.units * call.width));
    gradients.outputs[0] = reinterpret_cast<std::byte*>(result.rows.data());
  }
  if (wanted != Wanted::kRows) {
    result.table.resize(static_cast<size_t>(call.classes * call.width));
    gradients.outputs[kTableGradient] = reinterpret_cast<std::byte*>(result.table.data());
  }
  ClassifierGradientForm<T> form(call, gradients);
  for (int64_t chunks; (chunks = form.NextPhase()) > 0;) {
    for (int64_t i = 0; i < chunks; ++i) {
      const absl::Status s = form.RunChunk(backwards ? chunks - 1 - i : i);
      EXPECT_TRUE(s.ok()) << s;
    }
  }
  return result;
}

TEST(Classifier, GradientsAgreeWithDifferences) {
  for (const Sizes& sizes : {Sizes{3, 4, 3}, Sizes{4, 200, 2}}) {
    const TestValuesByName inputs = MakeInputs(sizes, true, 5);
    for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
      const TestValuesByName own = InputsOf(spec, inputs);
      const TestInputs tensors(own, {DataType::kFloat64, 0, 0});
      const TestInputs singles(own, {DataType::kFloat32, 0, 0});
      const auto doubles = GradientsOf<double>(spec, tensors.views());
      const auto floats = GradientsOf<float>(spec, singles.views());
      for (const bool of_table : {false, true}) {
        SCOPED_TRACE(NameOf(spec) + (of_table ? " classifier" : " embeddings"));
        const auto& f64 = of_table ? doubles.table : doubles.rows;
        const auto& f32 = of_table ? floats.table : floats.rows;
        for (size_t i = 0; i < f64.size(); ++i) {
          const auto sum = [&](double by) {
            TestValuesByName moved = own;
            moved.at(of_table ? "classifier" : "embeddings").values[i] += by;
            double total = 0;
            for (int64_t row = 0; row < sizes.rows; ++row) total += Definition(spec, moved, row);
            return total;
          };
          constexpr double kStep = 1e-5;
          const double expected = (sum(kStep) - sum(-kStep)) / (2 * kStep);
          const double scale = ParameterOf(spec, "scale", ParameterOf(spec, "alpha", 1));
          ASSERT_NEAR(f64[i], expected, 2e-5 * scale * (1 + std::abs(expected))) << i;
          ASSERT_NEAR(f32[i], f64[i], 2e-5 * scale * (1 + std::abs(expected))) << i;
        }
      }
    }
  }
}

TEST(Classifier, SplitsAndMemoryDoNotShow) {
  for (const Sizes& sizes : {Sizes{70, 400, 33}, Sizes{9, 50, 6000}, Sizes{35, 3, 8200}}) {
    const TestValuesByName inputs = MakeInputs(sizes, true, 3, /*coarse=*/true);
    for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
      SCOPED_TRACE(NameOf(spec));
      const TestValuesByName own = InputsOf(spec, inputs);
      const TestInputs single(own, {DataType::kFloat32, 0, 0});
      const std::vector<std::byte> items = ItemsOf(spec, single.views());
      for (const int64_t step : {1, 7, 33}) EXPECT_EQ(ItemsOf(spec, single.views(), step), items);
      const TestInputs pieces(own, {DataType::kFloat32, 0, 1001});
      EXPECT_EQ(ItemsOf(spec, pieces.views()), items);
      const TestInputs half(own, {DataType::kBfloat16, 1, 0});
      EXPECT_EQ(ItemsOf(spec, half.views()), items);
      const auto gradients = GradientsOf<float>(spec, single.views());
      for (const TestInputs* tensors : {&single, &pieces, &half}) {
        const auto rows = GradientsOf<float>(spec, tensors->views(), Wanted::kRows, true);
        const auto table = GradientsOf<float>(spec, tensors->views(), Wanted::kTable, true);
        EXPECT_EQ(rows.rows, gradients.rows);
        EXPECT_EQ(table.table, gradients.table);
      }
    }
  }
}

// More rows than a run takes, and more classes than a span: a row has the gradient that it has
// alone, and a classifier that of the rows that count, wherever weightless ones stand between them.
TEST(Classifier, RunsAndSpansDoNotShow) {
  TestValuesByName inputs = MakeInputs({1100, 2500, 3}, true, 6);
  TestValuesByName few = inputs;
  for (const char* name : {"embeddings", "labels"}) few[name].values.clear();
  inputs["sample_weight"].shape = {1100};
  for (size_t row = 0; row < 1100; ++row) {
    const bool counts = row % 100 == 7;
    inputs["sample_weight"].values.push_back(counts ? 1 : 0);
    if (!counts) continue;
    few["labels"].values.push_back(inputs["labels"].values[row]);
    for (size_t i = 0; i < 3; ++i)
      few["embeddings"].values.push_back(inputs["embeddings"].values[row * 3 + i]);
  }
  few["labels"].shape = {11};
  few["embeddings"].shape = {11, 3};
  for (const LossSpec& spec : Specs(ClassifierTable(), few)) {
    SCOPED_TRACE(NameOf(spec));
    const TestInputs many_tensors(InputsOf(spec, inputs), {DataType::kFloat32, 0, 0});
    const TestInputs few_tensors(InputsOf(spec, few), {DataType::kFloat32, 0, 0});
    const auto many = GradientsOf<float>(spec, many_tensors.views());
    const auto alone = GradientsOf<float>(spec, few_tensors.views());
    EXPECT_EQ(many.table, alone.table);
    for (size_t i = 0; i < alone.rows.size(); ++i)
      ASSERT_EQ(many.rows[(i / 3 * 100 + 7) * 3 + i % 3], alone.rows[i]) << i;
  }
}

// Threads that take classes give the items of threads that take rows.
TEST(Classifier, SumsOfClassesCombineToTheSameBits) {
  for (const Sizes& sizes : kSizes) {
    const TestValuesByName inputs = MakeInputs(sizes, true, 4);
    for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
      SCOPED_TRACE(NameOf(spec));
      const TestValuesByName own = InputsOf(spec, inputs);
      const TestInputs tensors(own, {DataType::kFloat32, 0, 0});
      absl::StatusOr<BoundLoss> bound = Bind(spec, tensors.views());
      ASSERT_TRUE(bound.ok()) << bound.status();
      FormCall& call = bound->call;
      call.class_sums = std::make_shared<std::vector<std::byte>>();
      ClassifierForm<float> form(call);
      ASSERT_GT(form.ClassSumsSize(), 0u);
      call.class_sums->resize(form.ClassSumsSize());
      for (int64_t chunk = ClassChunks(call); chunk-- > 0;)
        ASSERT_TRUE(form.SumClasses(chunk, chunk + 1).ok());
      std::vector<std::byte> items(static_cast<size_t>(call.units) * sizeof(float));
      ItemBlock<float> block;
      for (int64_t first = 0; first < call.units; first += 7) {
        ASSERT_TRUE(form.Run(first, std::min<int64_t>(7, call.units - first), &block).ok());
        form.StoreItems(items.data());
      }
      EXPECT_EQ(items, ItemsOf(spec, tensors.views()));
    }
  }
}

// Every output of the micro-kernel is one chain of fused multiply-adds, for tiles of every height,
// and may be cut anywhere.
template <class T>
void ExpectChains(const ClassifierOperations<T>& operations, size_t vectors) {
  std::mt19937_64 random(4);
  const size_t rows = operations.panel_rows, lanes = vectors * operations.lanes;
  for (const size_t classes : {1u, 2u, 3u, 5u, 6u, 11u, 12u, 13u, 18u, 25u}) {
    for (const size_t width : {1u, 2u, 7u, 33u}) {
      std::vector<T> panel(width * lanes), v(classes * (width + 3)), products(classes * rows);
      for (T& x : panel) x = static_cast<T>(Gaussian(&random));
      for (T& x : v) x = static_cast<T>(Gaussian(&random));
      const size_t cut = width / 2;
      // The second piece ends in the middle of the memory, and of a segment.
      const auto* const ahead = reinterpret_cast<const std::byte*>(v.data());
      const Ahead next[2] = {{}, {ahead, ahead + 100, 3}};
      const size_t stride = width + 3;
      operations.multiply(panel.data(), vectors, cut, {v.data(), stride, 2, 2}, classes, false,
                          next, products.data());
      operations.multiply(panel.data() + cut * lanes, vectors, width - cut,
                          {v.data() + cut, stride, 5, 5}, classes, true, next, products.data());
      for (size_t c = 0; c < classes; ++c) {
        for (size_t row = 0; row < lanes; ++row) {
          T chain = 0;
          for (size_t i = 0; i < width; ++i)
            chain = std::fma(v[c * (width + 3) + i], panel[i * lanes + row], chain);
          ASSERT_EQ(products[c * rows + row], chain) << classes << " " << width;
        }
      }
    }
  }
}

TEST(Classifier, ProductsAreChains) {
  const ClassifierKernels& kernels = ClassifierTable().rows[0].signatures[0].kernels.classifier;
  for (const size_t vectors : {1u, 2u}) {
    ExpectChains(*kernels.f32, vectors);
    ExpectChains(*kernels.f64, vectors);
  }
}

TEST(Classifier, EveryTargetGivesTheSameBits) {
  const int64_t before = hwy::SupportedTargets();
  std::vector<std::vector<std::byte>> first_items;
  std::vector<std::vector<double>> first_gradients;
  for (int64_t rest = before & HWY_TARGETS; rest != 0; rest &= rest - 1) {
    hwy::SetSupportedTargetsForTest(rest & -rest);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
    std::vector<std::vector<std::byte>> items;
    std::vector<std::vector<double>> gradients;
    for (const Sizes& sizes : kSizes) {
      const TestValuesByName inputs = MakeInputs(sizes, true, 9);
      for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
        const TestValuesByName own = InputsOf(spec, inputs);
        const TestInputs single(own, {DataType::kFloat32, 0, 0});
        const TestInputs both(own, {DataType::kFloat64, 0, 0});
        items.push_back(ItemsOf(spec, single.views()));
        items.push_back(ItemsOf(spec, both.views()));
        const auto f32 = GradientsOf<float>(spec, single.views());
        const auto f64 = GradientsOf<double>(spec, both.views());
        gradients.emplace_back(f32.rows.begin(), f32.rows.end());
        gradients.emplace_back(f32.table.begin(), f32.table.end());
        gradients.push_back(f64.rows);
        gradients.push_back(f64.table);
      }
    }
    if (first_items.empty()) first_items = items, first_gradients = gradients;
    EXPECT_TRUE(items == first_items);
    EXPECT_TRUE(gradients == first_gradients);
  }
  hwy::SetSupportedTargetsForTest(before);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  EXPECT_FALSE(first_items.empty());
}

const LossRow& RowOf(std::string_view name) {
  const LossTable table = ClassifierTable();
  for (const LossRow& row : table.rows)
    if (row.name == name) return row;
  ADD_FAILURE() << name;
  return table.rows[0];
}

TEST(Classifier, RotateIsCosineAndSine) {
  for (double angle = -kLargestAngle; angle <= kLargestAngle; angle += 0.0137) {
    EXPECT_NEAR(Rotate(angle).cosine, std::cos(angle), 2.5e-16);
    EXPECT_NEAR(Rotate(angle).sine, std::sin(angle), 2.5e-16);
  }
  EXPECT_EQ(Rotate(0).cosine, 1);
  EXPECT_EQ(Rotate(0).sine, 0);
}

// psi and its derivative on every piece, at the ends and between.
TEST(Classifier, PsiOfEveryPiece) {
  for (int m = 1; m <= 12; ++m) {
    const double parameters[] = {static_cast<double>(m), 0};
    for (int k = 0; k < m; ++k) {
      for (const double part : {0.0, 1e-9, 0.3, 0.5, 0.999}) {
        const double angle = (k + part) * std::numbers::pi / m;
        const double psi = std::pow(-1, k) * std::cos(m * angle) - 2 * k;
        const Margin margin = MultipleAngleMargin(parameters, std::cos(angle), std::sin(angle));
        EXPECT_NEAR(margin.value, psi, 1e-13) << m << " " << k;
        if (part == 0 || angle < 1e-3) continue;
        const double slope = std::pow(-1, k) * m * std::sin(m * angle) / std::sin(angle);
        EXPECT_NEAR(margin.slope, slope, 1e-10) << m << " " << k;
      }
    }
    EXPECT_EQ(MultipleAngleMargin(parameters, -1, 0).value, 1 - 2 * m);
    EXPECT_EQ(MultipleAngleMargin(parameters, 1, 0).value, 1);
  }
}

// Lengths far out of f32's squares, parallel and opposite vectors, zero vectors.
TEST(Classifier, AnglesOfAnyLength) {
  TestValuesByName inputs = MakeInputs({6, 3, 2}, false, 2);
  inputs["embeddings"].values = {3e-40, 4e-40, 3e37, 4e37, 3, 4, -3, -4, 0, 0, 4, -3};
  inputs["classifier"].values = {3e-30, 4e-30, 3e30, 0, 0, 0};
  inputs["labels"].values = {0, 0, 0, 0, 0, 1};
  for (const char* name : {"normface", "arcface", "cosface", "coco"}) {
    SCOPED_TRACE(name);
    const LossSpec spec = SpecOf(RowOf(name), inputs);
    for (const DataType type : {DataType::kFloat32, DataType::kFloat64}) {
      const TestInputs tensors(inputs, {type, 0, 0});
      const std::vector<std::byte> bytes = ItemsOf(spec, tensors.views());
      std::vector<double> items = AsNumbers<double>(bytes);
      if (type == DataType::kFloat32) {
        const auto singles = AsNumbers<float>(bytes);
        items.assign(singles.begin(), singles.end());
      }
      const double scale = spec.parameters[0];
      const double m = ParameterOf(spec, "margin", 0);
      const bool angular = std::string_view(name) == "arcface";
      const auto expected = [&](double cosine, double second, double third) {
        const double target = scale * (angular ? std::cos(std::acos(cosine) + m) : cosine - m);
        return std::log1p(std::exp(scale * second - target) + std::exp(scale * third - target));
      };
      const double t = type == DataType::kFloat32 ? 2e-6 : 1e-13;
      EXPECT_NEAR(items[0], expected(1, 0.6, 0), type == DataType::kFloat32 ? 1e-4 : t);
      EXPECT_NEAR(items[1], expected(1, 0.6, 0), t);
      EXPECT_NEAR(items[2], items[1], t);
      EXPECT_NEAR(items[3], expected(-1, -0.6, 0), t * scale);
      EXPECT_NEAR(items[4], expected(0, 0, 0), t * scale);
      EXPECT_NEAR(items[5], expected(0.8, 0, 0), t * scale);
    }
  }
}

TEST(Classifier, ZeroAndIgnoredRowsHaveNoGradient) {
  constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
  TestValuesByName inputs = MakeInputs({4, 5, 3}, false, 2);
  inputs["sample_weight"].shape = {4};
  inputs["sample_weight"].values = {1, 0, 1, 2};
  for (const size_t i : {3, 4, 5}) inputs["embeddings"].values[i] = kNan;
  for (const size_t i : {6, 7, 8}) inputs["embeddings"].values[i] = 0;
  const LossSpec spec = SpecOf(RowOf("arcface"), inputs);
  const TestInputs tensors(inputs, {DataType::kFloat64, 0, 0});
  const auto gradients = GradientsOf<double>(spec, tensors.views());
  for (size_t i = 0; i < gradients.rows.size(); ++i) {
    EXPECT_EQ(gradients.rows[i] == 0, i / 3 == 1 || i / 3 == 2) << i;
  }
  for (const double g : gradients.table) EXPECT_EQ(g, g);
}

TEST(Classifier, NonFiniteRowsAreNan) {
  constexpr double kInf = std::numeric_limits<double>::infinity();
  for (const double bad : {kInf, -kInf, std::nan("")}) {
    TestValuesByName inputs = MakeInputs({40, 30, 5}, true, 2);
    inputs["embeddings"].values[7 * 5] = bad;
    for (const LossSpec& spec : Specs(ClassifierTable(), inputs)) {
      const TestValuesByName own = InputsOf(spec, inputs);
      const TestInputs tensors(own, {DataType::kFloat32, 0, 0});
      const auto items = AsNumbers<float>(ItemsOf(spec, tensors.views()));
      for (size_t row = 0; row < items.size(); ++row) {
        EXPECT_EQ(std::isnan(items[row]), row == 7) << NameOf(spec) << " " << row;
      }
    }
  }
}

// A label of the last rows is found by a form that has only the first to compute.
TEST(Classifier, LabelsAreCheckedBeforeTheWork) {
  TestValuesByName inputs = MakeInputs({50, 4, 3}, false, 2);
  inputs["labels"].values[49] = 4;
  const TestInputs tensors(inputs, {DataType::kFloat32, 0, 0});
  const absl::StatusOr<BoundLoss> bound = Bind(SpecOf(RowOf("cosface"), inputs), tensors.views());
  ASSERT_TRUE(bound.ok()) << bound.status();
  ClassifierForm<float> form(bound->call);
  ItemBlock<float> block;
  const absl::Status status = form.Run(0, 1, &block);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("from 0 to 3, got 4 at [49]"), std::string::npos) << status;
}

}  // namespace
}  // namespace lossd
