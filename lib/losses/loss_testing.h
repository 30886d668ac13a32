// What tests that walk the catalogue share: inputs that fit any signature, in any layout, and the
// items of a loss.
//
// For tests only. Thread-safety: none. Ownership: a TestInputs owns the bytes that its views read.
#ifndef LOSSD_LIB_LOSSES_LOSS_TESTING_H_
#define LOSSD_LIB_LOSSES_LOSS_TESTING_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <deque>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/forms/forms.h"
#include "lib/losses/bind.h"
#include "lib/losses/descriptor.h"

namespace lossd {

// Values of one input before they have a type.
struct TestValues {
  std::vector<int64_t> shape;
  std::vector<double> values;
  bool floating = true;
};
using TestValuesByName = std::map<std::string, TestValues>;

// How the bytes of tensors lie in memory.
struct TestLayout {
  DataType floating = DataType::kFloat32;
  size_t misaligned_by = 0;  // bytes
  size_t piece_bytes = 0;    // 0: contiguous
};

template <class T>
void AppendBytes(T value, std::vector<std::byte>* bytes) {
  const auto* begin = reinterpret_cast<const std::byte*>(&value);
  bytes->insert(bytes->end(), begin, begin + sizeof(T));
}

// Tensors with memory of their own.
class TestInputs {
 public:
  TestInputs(const TestValuesByName& inputs, const TestLayout& layout) {
    for (const auto& [name, input] : inputs) Add(name, input, layout);
  }
  TestInputs(const TestInputs&) = delete;

  const NamedTensors& views() const { return views_; }

 private:
  void Add(const std::string& name, const TestValues& input, const TestLayout& layout) {
    const DataType dtype = input.floating ? layout.floating : DataType::kInt64;
    std::vector<std::byte>& bytes = memory_.emplace_back(layout.misaligned_by);
    for (const double value : input.values) {
      if (dtype == DataType::kInt64) {
        AppendBytes(static_cast<int64_t>(value), &bytes);
      } else if (dtype == DataType::kFloat64) {
        AppendBytes(value, &bytes);
      } else if (dtype == DataType::kFloat32) {
        AppendBytes(static_cast<float>(value), &bytes);
      } else {
        AppendBytes(dtype == DataType::kFloat16 ? DoubleToFloat16(value) : DoubleToBfloat16(value),
                    &bytes);
      }
    }
    const std::span<const std::byte> span =
        std::span<const std::byte>(bytes).subspan(layout.misaligned_by);
    const Shape shape = *Shape::Create(input.shape);
    if (layout.piece_bytes == 0) {
      views_.emplace(name, *TensorView::Create(dtype, shape, span));
      return;
    }
    // Each piece in memory of its own, so that a read beyond its end would show.
    std::vector<std::span<const std::byte>> pieces;
    for (size_t at = 0; at < span.size(); at += layout.piece_bytes) {
      const auto piece = span.subspan(at, std::min(layout.piece_bytes, span.size() - at));
      pieces.emplace_back(memory_.emplace_back(piece.begin(), piece.end()));
    }
    pieces_.emplace_back(std::move(pieces));
    views_.emplace(name, *TensorView::Create(dtype, shape, &pieces_.back()));
  }

  std::deque<std::vector<std::byte>> memory_;
  std::deque<PiecewiseBytes> pieces_;
  NamedTensors views_;
};

// Frames and labels of a sample of sequences.
inline constexpr int64_t kTestFrames = 9;
inline constexpr int64_t kTestLabels = 3;

// A value that an input of this rule and name may have; exact in bfloat16 with `coarse`.
inline double TestValue(const Input& input, int64_t classes, bool coarse, std::mt19937_64* random) {
  const std::string_view name = input.name;
  const double unit = static_cast<double>((*random)() % 128) / 128;
  const double fine = coarse ? unit : unit + static_cast<double>((*random)() % 65536) * 0x1p-23;
  switch (input.values) {
    case ValueRule::kLabel:
    case ValueRule::kClass:
      return static_cast<double>((*random)() % static_cast<uint64_t>(classes));
    case ValueRule::kZeroOrOne:
    case ValueRule::kSimilarity:  // -1 is for one convention only
      return (*random)() % 2 == 0 ? 0 : 1;
    case ValueRule::kPlusMinusOne:
      return (*random)() % 2 == 0 ? -1 : 1;
    case ValueRule::kUnitInterval:
    case ValueRule::kNonNegative:
    case ValueRule::kFiniteNonNegative:
    case ValueRule::kBox:
    case ValueRule::kBoxCorners:
    case ValueRule::kBoxSizes:
      return fine;
    case ValueRule::kLabelList:
      if ((*random)() % 8 == 0) return -1;
      return static_cast<double>((*random)() % static_cast<uint64_t>(classes));
    case ValueRule::kSequenceLabel:  // the blank is 0
      return classes > 1 ? static_cast<double>(1 + (*random)() % static_cast<uint64_t>(classes - 1))
                         : 0;
    case ValueRule::kLength: {
      const int64_t most = name == "input_lengths" ? kTestFrames : classes > 1 ? kTestLabels : 0;
      return static_cast<double>((*random)() % static_cast<uint64_t>(most + 1));
    }
    case ValueRule::kAny:
      break;
  }
  if (name.ends_with("log_probs")) return -4 * fine;
  if (name.ends_with("probs") || name.ends_with("weight") || name == "distances") return fine;
  return (*random)() % 2 == 0 ? 4 * fine : -4 * fine;
}

// Random values become rows of image, class, center and size.
inline void MakeHeadBoxes(int64_t images, int64_t classes, std::vector<double>* values) {
  for (size_t i = 0; i < values->size(); ++i) {
    double& value = (*values)[i];
    const double place = std::abs(value) / 4;  // TestValue is below 4
    if (i % 6 == 0) value = std::floor(place * static_cast<double>(images));
    if (i % 6 == 1) value = std::floor(place * static_cast<double>(classes));
    if (i % 6 >= 2) value = i % 6 < 4 ? place : 1 - place;
  }
}

// Inputs of a signature with `samples` elements or rows of `classes`, every optional one among
// them.
inline TestValuesByName MakeTestInputs(const Signature& signature, int64_t samples, int64_t classes,
                                       uint64_t seed, bool coarse = false) {
  std::mt19937_64 random(seed);
  TestValuesByName inputs;
  bool has_table = false;
  for (const Input& input : signature.inputs) has_table |= input.shape == ShapeRule::kTable;
  // A table is as wide as `classes`; few rows keep the widest small.
  const int64_t labels = has_table ? std::min<int64_t>(classes, 40) : classes;
  for (const Input& input : signature.inputs) {
    TestValues& made = inputs[input.name];
    made.floating = input.type != TypeRule::kLabel;
    switch (input.shape) {
      case ShapeRule::kElements:
      case ShapeRule::kPositions:
      case ShapeRule::kRowValues:
      case ShapeRule::kInputLengths:
      case ShapeRule::kLabelLengths:
        made.shape = {samples};
        break;
      case ShapeRule::kClasses:
      case ShapeRule::kRows:
      case ShapeRule::kEmbeddings:
      case ShapeRule::kLabelRows:
        made.shape = {samples, classes};
        break;
      case ShapeRule::kBoxes:
        made.shape = {samples, 4};
        break;
      case ShapeRule::kFrames:
        made.shape = {samples, kTestFrames, classes};
        break;
      case ShapeRule::kSequences:
        made.shape = {samples, kTestLabels};
        break;
      case ShapeRule::kTable:
        made.shape = {labels, classes};
        break;
      case ShapeRule::kTableVector:
        made.shape = {labels};
        break;
      case ShapeRule::kClassVector:
        made.shape = {classes};
        break;
      case ShapeRule::kLastDimension:
        made.shape = {samples};
        break;
      case ShapeRule::kHead:
        made.shape = {samples, 1, 2, 3, 5 + classes};
        break;
      case ShapeRule::kHeadBoxes:
        made.shape = {samples, 6};
        break;
    }
    int64_t count = 1;
    for (const int64_t size : made.shape) count *= size;
    for (int64_t i = 0; i < count; ++i)
      made.values.push_back(TestValue(input, labels, coarse, &random));
    if (input.shape == ShapeRule::kHeadBoxes) MakeHeadBoxes(samples, classes, &made.values);
    if (input.values != ValueRule::kBox) continue;
    // The upper corner is above the lower one, and a size is not negative.
    for (size_t i = 2; i < made.values.size(); i += (i % 4 == 3 ? 3 : 1)) made.values[i] += 1;
  }
  return inputs;
}

// A loss with its defaults; the inputs bound by name, so that no signature is ambiguous.
inline LossSpec SpecOf(const LossRow& row, const TestValuesByName& inputs) {
  LossSpec spec;
  spec.row = &row;
  spec.path = "losses[0]";
  for (int i = 0; i < row.parameters.size; ++i) {
    spec.parameters[static_cast<size_t>(i)] = row.parameters[i].default_value;
  }
  for (const auto& [name, input] : inputs) spec.inputs[name] = name;
  // A list of one pair a head, as MakeTestInputs makes them.
  for (const Input& input : row.signatures[0].inputs) {
    if (input.shape == ShapeRule::kHead) spec.groups.push_back({{1.0, 1.5}});
  }
  return spec;
}

// Every way to call a loss that changes its kernels: its defaults, and pointwise.
inline std::vector<LossSpec> SpecsOf(const LossRow& row, const TestValuesByName& inputs) {
  std::vector<LossSpec> specs = {SpecOf(row, inputs)};
  if (const int pointwise = FindParameter(row, "pointwise"); pointwise >= 0) {
    specs.push_back(specs[0]);
    specs[1].parameters[static_cast<size_t>(pointwise)] = 1;
  }
  return specs;
}

// The items in item shape, computed in runs of at most `step` units.
template <class T>
std::vector<std::byte> RunItems(const BoundLoss& bound, const FormCall& call, int64_t step) {
  std::vector<std::byte> items(static_cast<size_t>(bound.item_shape.elements()) * sizeof(T));
  WithForm<T>(call, [&](auto& form) {
    for (int64_t first = 0; first < call.units;) {
      const int64_t n = std::min({step, form.max_units(), call.units - first});
      ItemBlock<T> block;
      const absl::Status status = form.Run(first, n, &block);
      EXPECT_TRUE(status.ok()) << status;
      form.StoreItems(items.data());
      first += n;
    }
  });
  return items;
}

inline std::vector<std::byte> ItemsOf(const LossSpec& spec, const NamedTensors& inputs,
                                      int64_t step = std::numeric_limits<int64_t>::max()) {
  const absl::StatusOr<BoundLoss> bound = Bind(spec, inputs);
  EXPECT_TRUE(bound.ok()) << bound.status();
  if (!bound.ok()) return {};
  return bound->compute_type == DataType::kFloat32 ? RunItems<float>(*bound, bound->call, step)
                                                   : RunItems<double>(*bound, bound->call, step);
}

inline bool IsRowwise(const Signature& signature) { return signature.kernels.rows.f32 != nullptr; }

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_LOSS_TESTING_H_
