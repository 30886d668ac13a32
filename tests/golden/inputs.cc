#include "tests/golden/inputs.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "lib/losses/bind.h"
#include "lib/tensor/data_type.h"

namespace lossd::golden {
namespace {

// SplitMix64 (Steele, Lea, Flood 2014): integers only.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  int64_t Below(int64_t n) { return static_cast<int64_t>(Next() % static_cast<uint64_t>(n)); }
  // A multiple of 2^-53 in [0, 1).
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }
  // The same, scaled down by up to 2^(n - 1). One draw after the other: the order of a call's
  // arguments is each compiler's own.
  double SmallUnit(int64_t n) {
    const double unit = Unit();
    return std::ldexp(unit, -static_cast<int>(Below(n)));
  }

 private:
  uint64_t state_;
};

struct ExponentRange {
  int lowest;  // of the smallest subnormal
  int highest;
};

ExponentRange ExponentsOf(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
      return {-1074, 1023};
    case v1::DATA_TYPE_FLOAT16:
      return {-24, 15};
    case v1::DATA_TYPE_BFLOAT16:
      return {-133, 127};
    default:
      return {-149, 127};
  }
}

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Zeros, infinities, NaN; where exp and log of f32 and f64 end; where log1p and the sigmoid change
// their form.
constexpr double kSpecials[] = {
    0.0,     -0.0,     kInfinity, -kInfinity, kNaN,     1.0,   -1.0,    0.5,     -0.5,
    88.72,   88.73,    -87.34,    -103.97,    -104.0,   709.7, 709.79,  -745.1,  -745.2,
    16.6355, -16.6355, 36.7,      -36.7,      0x1p-126, 1e-8,  -1e-8,   0x1p-24, 0x1p-53,
    1e30,    -1e30,    3e38,      -3e38,      1e-40,    -2.0,  65504.0, -1e4,    1e4};

double Choose(std::span<const double> values, Random* random) {
  return values[static_cast<size_t>(random->Below(static_cast<int64_t>(values.size())))];
}

double AnyExponent(v1::DataType dtype, Random* random) {
  const ExponentRange range = ExponentsOf(dtype);
  const int exponent =
      range.lowest + static_cast<int>(random->Below(range.highest - range.lowest + 1));
  const double magnitude = std::ldexp(1 + random->Unit(), exponent);
  return random->Below(2) == 0 ? magnitude : -magnitude;
}

// A prediction, a target, a logit: moderate; in special samples anything.
double Any(v1::DataType dtype, bool special, Random* random) {
  if (special && random->Below(2) == 0) {
    return random->Below(2) == 0 ? Choose(kSpecials, random) : AnyExponent(dtype, random);
  }
  switch (random->Below(8)) {
    case 0:
      return 0.5 * static_cast<double>(random->Below(17) - 8);
    case 1:
      return 160 * (random->Unit() - 0.5);
    case 2:
      return random->SmallUnit(12) - 0x1p-6;
    default:
      return 16 * (random->Unit() - 0.5);
  }
}

double Probability(bool special, Random* random) {
  constexpr double kEnds[] = {0.0, 1.0, 0.5, 0x1p-149, 0x1p-60, 1 - 0x1p-24, 1 - 0x1p-53, kNaN};
  if (special && random->Below(2) == 0) return Choose(kEnds, random);
  const double near_end = random->SmallUnit(30);
  switch (random->Below(4)) {
    case 0:
      return near_end;
    case 1:
      return 1 - near_end;
    default:
      return random->Unit();
  }
}

double Weight(Random* random) {
  constexpr double kWeights[] = {0.0, 1.0, 0.5, 0.3};
  return random->Below(4) == 0 ? Choose(kWeights, random) : 3 * random->Unit();
}

double Value(const Input& input, v1::DataType dtype, bool special, Random* random) {
  const std::string_view name = input.name;
  switch (input.values) {
    case ValueRule::kUnitInterval:
      return random->Below(2) == 0 ? static_cast<double>(random->Below(2))
                                   : Probability(special, random);
    case ValueRule::kZeroOrOne:
    case ValueRule::kSimilarity:  // -1 is for one convention only
      return static_cast<double>(random->Below(2));
    case ValueRule::kPlusMinusOne:
      return static_cast<double>(2 * random->Below(2) - 1);
    case ValueRule::kNonNegative: {
      const double value = Any(dtype, special, random);
      return value > 0 ? value : value < 0 ? -value : 0;  // NaN becomes 0
    }
    default:
      break;
  }
  if (name.ends_with("_weight")) return Weight(random);
  if (name.ends_with("log_probs")) {
    const double value = Any(dtype, special, random);
    return value > 0 ? -value : value;
  }
  if (name.ends_with("probs")) return Probability(special, random);
  return Any(dtype, special, random);
}

template <class T>
void Append(T value, std::string* bytes) {
  bytes->append(reinterpret_cast<const char*>(&value), sizeof(T));
}

void AppendAs(v1::DataType dtype, double value, std::string* bytes) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
      return Append(value, bytes);
    case v1::DATA_TYPE_FLOAT16:
      return Append(DoubleToFloat16(value), bytes);
    case v1::DATA_TYPE_BFLOAT16:
      return Append(DoubleToBfloat16(value), bytes);
    default:
      return Append(static_cast<float>(value), bytes);
  }
}

// Anchors of a scale of a detection head.
constexpr int64_t kAnchors = 2;

// Of a table of this width: few, so that the widest stays small.
int64_t TableRows(int64_t width) { return std::min<int64_t>(width, 40); }

// Frames and labels of a sample of sequences.
constexpr int64_t kFrames = 11;
constexpr int64_t kLabelsOfFrames = 4;

std::vector<int64_t> ShapeOf(ShapeRule rule, const std::vector<int64_t>& main) {
  std::vector<int64_t> shape = main;
  switch (rule) {
    case ShapeRule::kElements:
    case ShapeRule::kClasses:
    case ShapeRule::kRows:
    case ShapeRule::kEmbeddings:
    case ShapeRule::kLabelRows:
      return shape;
    case ShapeRule::kBoxes:
      return {main[0], 4};
    case ShapeRule::kTable:
      return {TableRows(main[1]), main[1]};
    case ShapeRule::kFrames:
      return {main[0], kFrames, main[1]};
    case ShapeRule::kSequences:
      return {main[0], kLabelsOfFrames};
    case ShapeRule::kInputLengths:
    case ShapeRule::kLabelLengths:
      return {main[0]};
    case ShapeRule::kHead:
      return {main[0], kAnchors, 3, 2, 5 + main[1]};
    case ShapeRule::kHeadBoxes:
      return {2 * main[0], 6};
    case ShapeRule::kPositions:
    case ShapeRule::kRowValues:
      shape.erase(shape.begin() + 1);
      return shape;
    case ShapeRule::kClassVector:
      return {main[1]};
    case ShapeRule::kTableVector:
      return {TableRows(main[1])};
    case ShapeRule::kLastDimension:
      return {main.back()};
  }
  return shape;
}

int64_t Elements(const std::vector<int64_t>& shape) {
  int64_t elements = 1;
  for (const int64_t size : shape) elements *= size;
  return elements;
}

// One for all samples; the boxes of all images are not cut either.
bool IsConstant(ShapeRule rule) {
  return rule == ShapeRule::kClassVector || rule == ShapeRule::kLastDimension ||
         rule == ShapeRule::kTable || rule == ShapeRule::kTableVector ||
         rule == ShapeRule::kHeadBoxes;
}

// Number `index` of a box that is one in every format: the last two are at least 0 and at least the
// first two, which are kept from call to call.
double OfBox(double value, int64_t index, std::array<double, 2>* first) {
  const auto axis = static_cast<size_t>(index % 2);
  if (index < 2) return (*first)[axis] = value;
  const double size = std::abs(value);
  return size < (*first)[axis] ? (*first)[axis] : size;
}

// A label, or the length of a sequence.
int64_t Label(const Input& input, const DatasetSpec& spec, int64_t label_count, Random* random) {
  if (input.values == ValueRule::kLength) {
    const bool frames = input.shape == ShapeRule::kInputLengths;
    return random->Below(1 + (frames ? kFrames : kLabelsOfFrames));
  }
  if (input.values == ValueRule::kSequenceLabel) {
    const int64_t label = random->Below(label_count - 1);
    return label < spec.blank ? label : label + 1;
  }
  if (input.values == ValueRule::kLabelList && random->Below(8) == 0) return -1;
  return random->Below(label_count);
}

// Number `index` of a ground truth box: image, class, center, size.
double OfHeadBox(int64_t index, const DatasetSpec& spec, Random* random) {
  if (index == 0) return static_cast<double>(random->Below(spec.shape[0]));
  if (index == 1) return static_cast<double>(random->Below(spec.shape[1]));
  return index < 4 ? random->Unit() : 1 - 0.95 * random->Unit();
}

NamedTensor MakeTensor(const Input& input, const DatasetSpec& spec, int64_t label_count,
                       Random* random) {
  NamedTensor made;
  made.name = input.name;
  made.per_sample = !IsConstant(input.shape);
  std::vector<int64_t> shape = ShapeOf(input.shape, spec.shape);
  if (spec.time_major && input.shape == ShapeRule::kFrames) {
    std::swap(shape[0], shape[1]);
    made.sample_axis = 1;
  }
  for (const int64_t size : shape) made.tensor.add_shape(size);
  const bool labels = input.type == TypeRule::kLabel;
  made.tensor.set_dtype(labels ? v1::DATA_TYPE_INT64 : spec.dtype);
  std::string* bytes = made.tensor.mutable_data();
  const int64_t elements = Elements(shape);
  const int64_t per_sample = made.per_sample ? std::max<int64_t>(1, elements / shape[0]) : elements;
  std::array<double, 2> lower_corner = {};
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t sample = i / per_sample;
    if (!labels) {
      const bool special = made.per_sample && sample % 4 == 3 && !spec.whole_batch;
      double value = Value(input, spec.dtype, special, random);
      if (input.values == ValueRule::kBox) value = OfBox(value, i % 4, &lower_corner);
      // Sizes are the exponentials of these.
      if (input.shape == ShapeRule::kHead) value /= 8;
      if (input.shape == ShapeRule::kHeadBoxes) value = OfHeadBox(i % 6, spec, random);
      AppendAs(spec.dtype, value, bytes);
    } else if (spec.ignored_label.has_value() && sample % 7 == 5) {
      Append(*spec.ignored_label, bytes);
    } else {
      Append(Label(input, spec, label_count, random), bytes);
    }
  }
  return made;
}

// Some targets equal their predictions: differences of 0, hits of zero_one, and boxes of one
// interval, or both, in common, without which hardly any would overlap.
void CopySomePredictions(const Signature& signature, Dataset* dataset) {
  if (signature.inputs.size < 2 || signature.inputs[1].optional) return;
  const bool boxes = signature.inputs[1].values == ValueRule::kBox;
  const bool elements =
      signature.item == ItemKind::kElement && signature.inputs[1].values == ValueRule::kAny;
  if (!boxes && !elements) return;
  const std::string& from = dataset->tensors[0].tensor.data();
  std::string* to = dataset->tensors[1].tensor.mutable_data();
  const size_t size = ByteSize(static_cast<DataType>(dataset->tensors[0].tensor.dtype()));
  for (size_t i = 0; (i + 1) * size <= to->size(); ++i) {
    const size_t axis = i % 2, box = i / 4;
    const bool copied = elements ? i % 5 == 0 : box % 4 == 0 || box % 4 == axis + 1;
    if (copied) to->replace(i * size, size, from, i * size, size);
  }
}

}  // namespace

Dataset MakeDataset(const Signature& signature, const DatasetSpec& spec) {
  Random random(spec.seed);
  Dataset dataset;
  dataset.samples = spec.shape[0];
  int64_t label_count = spec.shape.size() > 1 ? spec.shape[1] : 1;
  for (const Input& input : signature.inputs) {
    if (input.shape == ShapeRule::kTable) label_count = TableRows(spec.shape[1]);
  }
  size_t heads = 0;
  for (const Input& input : signature.inputs) {
    const bool head = input.shape == ShapeRule::kHead;
    if (head ? heads++ >= spec.heads : input.optional && !spec.optional_inputs) continue;
    dataset.tensors.push_back(MakeTensor(input, spec, label_count, &random));
  }
  CopySomePredictions(signature, &dataset);
  if (spec.sample_weight) {
    NamedTensor weights;
    weights.name = kSampleWeight;
    weights.tensor.set_dtype(spec.dtype);
    weights.per_sample = !spec.whole_batch;
    const int64_t count = spec.whole_batch ? 1 : spec.shape[0];
    weights.tensor.add_shape(count);
    for (int64_t i = 0; i < count; ++i) {
      // The one weight of a batch does not leave it out.
      const double weight = spec.whole_batch ? 0.5 + random.Unit() : Weight(&random);
      AppendAs(spec.dtype, weight, weights.tensor.mutable_data());
    }
    dataset.tensors.push_back(std::move(weights));
  }
  return dataset;
}

void Dataset::Fill(int64_t begin, int64_t end,
                   google::protobuf::Map<std::string, v1::Tensor>* inputs) const {
  for (const NamedTensor& from : tensors) {
    v1::Tensor& to = (*inputs)[from.name];
    if (!from.per_sample) {
      to = from.tensor;
      continue;
    }
    to.set_dtype(from.tensor.dtype());
    *to.mutable_shape() = from.tensor.shape();
    to.set_shape(from.sample_axis, end - begin);
    const size_t outer =
        from.sample_axis == 0 ? 1 : static_cast<size_t>(std::max<int64_t>(to.shape(0), 1));
    const size_t run = from.tensor.data().size() / outer;
    const size_t row = run / static_cast<size_t>(samples);
    to.clear_data();
    for (size_t i = 0; i < outer; ++i) {
      to.mutable_data()->append(from.tensor.data(), i * run + static_cast<size_t>(begin) * row,
                                static_cast<size_t>(end - begin) * row);
    }
  }
}

}  // namespace lossd::golden
