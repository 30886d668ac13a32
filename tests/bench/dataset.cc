#include "tests/bench/dataset.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace lossd::bench {
namespace {

// Drawing every value takes longer than measuring: so many are drawn and repeated. A prime, so that
// neither rows nor chunks of a power of two see the same values again and again.
constexpr size_t kPeriod = 1000003;

// Tensors start this much apart beyond the end of a page: processors that predict a cache way from
// some bits of the address miss at every load where two streams agree in these.
constexpr size_t kStagger = 4096 + 64;

void Store(DataType dtype, double value, std::byte* out) {
  const auto put = [out](const auto& v) { std::memcpy(out, &v, sizeof(v)); };
  switch (dtype) {
    case DataType::kFloat32:
      return put(static_cast<float>(value));
    case DataType::kFloat64:
      return put(value);
    case DataType::kFloat16:
      return put(DoubleToFloat16(value));
    case DataType::kBfloat16:
      return put(DoubleToBfloat16(value));
    case DataType::kInt32:
      return put(static_cast<int32_t>(value));
    case DataType::kInt64:
      return put(static_cast<int64_t>(value));
    case DataType::kUint8:
    case DataType::kBool:
      return put(static_cast<uint8_t>(value));
  }
}

// The first `filled` bytes, over and over.
void Repeat(std::byte* data, size_t filled, size_t bytes) {
  const size_t period = filled;
  while (filled < bytes) {
    const size_t more = std::min(filled / period * period, bytes - filled);
    std::memcpy(data + filled, data, more);
    filled += more;
  }
}

}  // namespace

size_t Dataset::bytes() const {
  size_t sum = 0;
  for (const auto& [name, tensor] : tensors_) sum += tensor.byte_size();
  return sum;
}

const TensorView& Dataset::largest() const {
  const auto smaller = [](const auto& a, const auto& b) {
    return a.second.byte_size() < b.second.byte_size();
  };
  return std::ranges::max_element(tensors_, smaller)->second;
}

const std::byte* Dataset::DataOf(const TensorView& tensor) const {
  return tensor.Run(0, tensor.elements(), nullptr);
}

void Dataset::Add(const std::string& name, DataType dtype, const Shape& shape,
                  const std::vector<double>& period) {
  const size_t size = ByteSize(dtype);
  const size_t bytes = static_cast<size_t>(shape.elements()) * size;
  const size_t shift = kStagger * (memory_.size() + 1);
  memory_.push_back(std::make_unique_for_overwrite<std::byte[]>(bytes + shift + 64));
  const uintptr_t start = reinterpret_cast<uintptr_t>(memory_.back().get()) + shift;
  std::byte* const data = memory_.back().get() + shift + (64 - start % 64) % 64;
  const size_t drawn = std::min(period.size(), static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < drawn; ++i) Store(dtype, period[i], data + i * size);
  Repeat(data, drawn * size, bytes);
  tensors_.emplace(name, *TensorView::Create(dtype, shape, {data, bytes}));
}

void Dataset::Add(const std::string& name, DataType dtype, const Shape& shape,
                  const std::function<double(Random&)>& draw) {
  Random random(tensors_.size() + 1);
  std::vector<double> period(std::min(kPeriod, static_cast<size_t>(shape.elements())));
  for (double& value : period) value = draw(random);
  Add(name, dtype, shape, period);
}

void Dataset::AddNormal(const std::string& name, DataType dtype, const Shape& shape, double mean,
                        double deviation) {
  std::normal_distribution<double> normal(mean, deviation);
  Add(name, dtype, shape, [&](Random& random) { return normal(random); });
}

void Dataset::AddUniform(const std::string& name, DataType dtype, const Shape& shape, double low,
                         double high) {
  std::uniform_real_distribution<double> uniform(low, high);
  Add(name, dtype, shape, [&](Random& random) { return uniform(random); });
}

void Dataset::AddLabels(const std::string& name, const Shape& shape, int64_t count, DataType dtype,
                        int64_t first) {
  std::uniform_int_distribution<int64_t> label(first, count - 1);
  Add(name, dtype, shape, [&](Random& random) { return static_cast<double>(label(random)); });
}

void Dataset::AddProbabilities(const std::string& name, DataType dtype, const Shape& shape,
                               bool logarithms) {
  const size_t classes = static_cast<size_t>(shape[shape.rank() - 1]);
  std::vector<double> period(std::max<size_t>(1, kPeriod / classes) * classes);
  Random random(tensors_.size() + 1);
  std::normal_distribution<double> normal;
  for (auto row = period.begin(); row != period.end(); row += static_cast<ptrdiff_t>(classes)) {
    double sum = 0;
    for (size_t j = 0; j < classes; ++j) {
      row[static_cast<ptrdiff_t>(j)] = normal(random);
      sum += std::exp(row[static_cast<ptrdiff_t>(j)]);
    }
    const double log_sum = std::log(sum);
    for (size_t j = 0; j < classes; ++j) {
      double& value = row[static_cast<ptrdiff_t>(j)];
      value = logarithms ? value - log_sum : std::exp(value - log_sum);
    }
  }
  Add(name, dtype, shape, period);
}

}  // namespace lossd::bench
