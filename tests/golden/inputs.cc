#include "tests/golden/inputs.h"

#include <algorithm>
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

std::vector<int64_t> ShapeOf(ShapeRule rule, const std::vector<int64_t>& main) {
  std::vector<int64_t> shape = main;
  switch (rule) {
    case ShapeRule::kElements:
    case ShapeRule::kClasses:
    case ShapeRule::kRows:
      return shape;
    case ShapeRule::kPositions:
      shape.erase(shape.begin() + 1);
      return shape;
    case ShapeRule::kClassVector:
      return {main[1]};
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

NamedTensor MakeTensor(const Input& input, const DatasetSpec& spec, Random* random) {
  NamedTensor made;
  made.name = input.name;
  made.per_sample =
      input.shape != ShapeRule::kClassVector && input.shape != ShapeRule::kLastDimension;
  const std::vector<int64_t> shape = ShapeOf(input.shape, spec.shape);
  for (const int64_t size : shape) made.tensor.add_shape(size);
  const bool labels = input.type == TypeRule::kLabel;
  made.tensor.set_dtype(labels ? v1::DATA_TYPE_INT64 : spec.dtype);
  std::string* bytes = made.tensor.mutable_data();
  const int64_t elements = Elements(shape);
  const int64_t per_sample = made.per_sample ? std::max<int64_t>(1, elements / shape[0]) : elements;
  for (int64_t i = 0; i < elements; ++i) {
    const int64_t sample = i / per_sample;
    if (!labels) {
      const bool special = made.per_sample && sample % 4 == 3;
      AppendAs(spec.dtype, Value(input, spec.dtype, special, random), bytes);
    } else if (spec.ignored_label.has_value() && sample % 7 == 5) {
      Append(*spec.ignored_label, bytes);
    } else {
      Append(random->Below(spec.shape[1]), bytes);
    }
  }
  return made;
}

// Some targets equal their predictions: differences of 0, and hits of zero_one.
void CopySomePredictions(const Signature& signature, Dataset* dataset) {
  if (signature.inputs.size < 2 || signature.item != ItemKind::kElement) return;
  if (signature.inputs[1].values != ValueRule::kAny || signature.inputs[1].optional) return;
  const std::string& from = dataset->tensors[0].tensor.data();
  std::string* to = dataset->tensors[1].tensor.mutable_data();
  const size_t size = ByteSize(static_cast<DataType>(dataset->tensors[0].tensor.dtype()));
  for (size_t i = 0; i + size <= to->size(); i += 5 * size) to->replace(i, size, from, i, size);
}

}  // namespace

Dataset MakeDataset(const Signature& signature, const DatasetSpec& spec) {
  Random random(spec.seed);
  Dataset dataset;
  dataset.samples = spec.shape[0];
  for (const Input& input : signature.inputs) {
    if (input.optional && !spec.optional_inputs) continue;
    dataset.tensors.push_back(MakeTensor(input, spec, &random));
  }
  CopySomePredictions(signature, &dataset);
  if (spec.sample_weight) {
    NamedTensor weights;
    weights.name = kSampleWeight;
    weights.tensor.set_dtype(spec.dtype);
    weights.tensor.add_shape(spec.shape[0]);
    for (int64_t i = 0; i < spec.shape[0]; ++i) {
      AppendAs(spec.dtype, Weight(&random), weights.tensor.mutable_data());
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
    to.set_shape(0, end - begin);
    const size_t row = from.tensor.data().size() / static_cast<size_t>(samples);
    to.set_data(from.tensor.data().substr(static_cast<size_t>(begin) * row,
                                          static_cast<size_t>(end - begin) * row));
  }
}

}  // namespace lossd::golden
