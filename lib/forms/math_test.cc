// Accuracy and bit equality of math-inl.h, on every SIMD target that this processor runs.
//
// The reference is MPFR at 140 bits: for f64 on 30,000 points a function, for f32 on as many.
// On 1.5 million f32 points the reference is the f64 function of the same name, whose own error
// (asserted first) is 2^-29 of an f32 ulp. Half of the points have uniformly random bits, so every
// exponent occurs, the other half lies where the function is neither constant nor trivial; a list
// of special values joins both. The bounds asserted are the measured maxima rounded up. Outputs are
// equal on all targets, and their hash is the one committed here, which ties compilers and
// architectures together.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/forms/math_test.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/table_math-inl.h"

#ifndef LOSSD_LIB_FORMS_MATH_TEST_ONCE_
#define LOSSD_LIB_FORMS_MATH_TEST_ONCE_

#include <cstddef>
#include <cstdint>

#include "lib/forms/math_reference.h"

namespace lossd {

// Points come in groups of this many, a multiple of every target's lanes.
inline constexpr size_t kGroup = 64;

template <class T>
using Evaluate = void (*)(MathFunction function, const T* x, const T* y, size_t n, T* out);

struct MathKernels {
  int64_t target;
  Evaluate<float> f32;
  Evaluate<double> f64;
  Evaluate<float> ordinary;  // of kExps and kLog1pExpNegAbs, below kOrdinaryExp
};

}  // namespace lossd
#endif  // LOSSD_LIB_FORMS_MATH_TEST_ONCE_

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

template <MathFunction kFunction, class D, class V>
HWY_INLINE V Apply(D d, V x, V y) {
  if constexpr (kFunction == kExp) return Exp(d, x);
  if constexpr (kFunction == kExpNonPositive) return ExpNonPositive(d, x);
  if constexpr (kFunction == kExpTermNonPositive) return ExpTermNonPositive(d, x);
  if constexpr (kFunction == kExpm1) return Expm1(d, x);
  if constexpr (kFunction == kLog) return Log(d, x);
  if constexpr (kFunction == kLog1p) return Log1p(d, x);
  if constexpr (kFunction == kLog1pExpNeg) return Log1pExpNeg(d, x);
  if constexpr (kFunction == kSoftplus) return Softplus(d, x);
  if constexpr (kFunction == kSigmoid) return Sigmoid(d, x);
  if constexpr (kFunction == kLogCosh) return LogCosh(d, x);
  if constexpr (kFunction == kAtan) return AtanOfRatio(d, x, hn::Set(d, hn::TFromD<D>(1)));
  if constexpr (kFunction == kPow) return Pow(d, x, y);
}

// Four vectors at a time; kOrdinary as in table_math-inl.h.
template <MathFunction kFunction, bool kOrdinary, class T>
void LoopOfVectors(const T* x, size_t n, T* out) {
  using D = hn::ScalableTag<T>;
  const D d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  for (size_t i = 0; i < n; i += 4 * kLanes) {
    hn::Vec<D> in[4], results[4];
    for (size_t v = 0; v < 4; ++v) in[v] = hn::LoadU(d, x + i + v * kLanes);
    if constexpr (kFunction == kExps) Exps<kOrdinary>(d, in, results);
    if constexpr (kFunction == kLog1pExpNegAbs) Log1pExpNegAbs<kOrdinary>(d, in, results);
    if constexpr (kFunction == kLogCoshes) LogCoshes(d, in, results);
    for (size_t v = 0; v < 4; ++v) hn::StoreU(results[v], d, out + i + v * kLanes);
  }
}

template <MathFunction kFunction, class T>
void Loop(const T* x, const T* y, size_t n, T* out) {
  const hn::ScalableTag<T> d;
  for (size_t i = 0; i < n; i += hn::Lanes(d)) {
    hn::StoreU(Apply<kFunction>(d, hn::LoadU(d, x + i), hn::LoadU(d, y + i)), d, out + i);
  }
}

template <class T>
void Dispatch(MathFunction function, const T* x, const T* y, size_t n, T* out) {
  switch (function) {
    case kExp:
      return Loop<kExp>(x, y, n, out);
    case kExpNonPositive:
      return Loop<kExpNonPositive>(x, y, n, out);
    case kExpTermNonPositive:
      return Loop<kExpTermNonPositive>(x, y, n, out);
    case kExpm1:
      return Loop<kExpm1>(x, y, n, out);
    case kLog:
      return Loop<kLog>(x, y, n, out);
    case kLog1p:
      return Loop<kLog1p>(x, y, n, out);
    case kLog1pExpNeg:
      return Loop<kLog1pExpNeg>(x, y, n, out);
    case kSoftplus:
      return Loop<kSoftplus>(x, y, n, out);
    case kSigmoid:
      return Loop<kSigmoid>(x, y, n, out);
    case kLogCosh:
      return Loop<kLogCosh>(x, y, n, out);
    case kAtan:
      return Loop<kAtan>(x, y, n, out);
    case kPow:
      return Loop<kPow>(x, y, n, out);
    case kExps:
      return LoopOfVectors<kExps, false>(x, n, out);
    case kLog1pExpNegAbs:
      return LoopOfVectors<kLog1pExpNegAbs, false>(x, n, out);
    case kLogCoshes:
      return LoopOfVectors<kLogCoshes, false>(x, n, out);
    case kMathFunctions:
      return;
  }
}

void Ordinary(MathFunction function, const float* x, const float*, size_t n, float* out) {
  if (function == kExps) return LoopOfVectors<kExps, true>(x, n, out);
  LoopOfVectors<kLog1pExpNegAbs, true>(x, n, out);
}

MathKernels Kernels() { return {HWY_TARGET, &Dispatch<float>, &Dispatch<double>, &Ordinary}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "gtest/gtest.h"

namespace lossd {
namespace {

HWY_EXPORT(Kernels);

struct FunctionTraits {
  const char* name;
  double max_ulp_f32;
  double max_ulp_f64;
  uint64_t hash_f32;
  uint64_t hash_f64;
  double low, high;   // where the function is neither constant nor trivial, f32
  double f64_factor;  // the same for f64
};

constexpr FunctionTraits kTraits[kMathFunctions] = {
    {"exp", 0.95, 0.9, 0x1edc7f2220127a25, 0x04406751f49cb230, -106, 90, 7.2},
    {"exp_non_positive", 0.95, 0.9, 0xe8f5c288fbdf6f77, 0x229c8fce809417f6, -106, 0, 7.2},
    {"exp_term", 4.8, 2.5, 0x6ee525d8c5381573, 0x1fe620b8347eea97, -106, 0, 7.2},
    {"expm1", 1.1, 1.0, 0x9b4ec137c282b75d, 0xc58eaaf5cf061cf5, -18, 18, 2.1},
    {"log", 1.0, 0.9, 0x633b383ff7c83bc9, 0xdba632f5b8c6f2c1, 0, 4, 1},
    {"log1p", 1.0, 0.9, 0x2308e5e3e1468e8f, 0x6f87f01060d4db6f, -1, 3, 1},
    {"log1p_exp_neg", 1.85, 1.8, 0x6884f8beecba1b09, 0x0303f3806077a819, 0, 106, 7.2},
    {"softplus", 1.9, 1.8, 0x0d980e82637e1c7f, 0xe73b3416d7805fa2, -20, 20, 2.1},
    {"sigmoid", 0.9, 0.75, 0x803aa6fa85d94de4, 0x9341344eec1dc69c, -20, 20, 2.1},
    {"log_cosh", 1.15, 1.15, 0x0e8d6ed3ada1e9ea, 0x7d22d0ef0ae3a42a, -3, 3, 1},
    {"pow", 0.51, 0.95, 0xc79da585be4022ee, 0x2c36140dcb2a086f, 0, 2, 1},
    {"atan", 2.55, 1.45, 0xcf963e60a8d65b36, 0xf292074398fddb06, -4, 4, 1},
    {"exps", 1.1, 0.9, 0x09a18ccd8176b75d, 0x80788c61689dd304, -106, 90, 7.2},
    {"log1p_exp_neg_abs", 2.2, 1.8, 0x57f71763e146f6e6, 0xa4fe8c19ddcdf2fa, -106, 106, 7.2},
    {"log_coshes", 1.9, 1.15, 0x055dc3bd304278cf, 0xb00b0603cbd57c76, -3, 3, 1},
};

// The kernels of each target that was built and runs here.
std::vector<MathKernels> KernelsOfEachTarget() {
  std::vector<MathKernels> kernels;
  hwy::SetSupportedTargetsForTest(0);
  const int64_t runnable = hwy::SupportedTargets() & HWY_TARGETS;
  for (int64_t rest = runnable; rest != 0; rest &= rest - 1) {
    const int64_t target = rest & -rest;
    hwy::SetSupportedTargetsForTest(target);
    kernels.push_back(HWY_DYNAMIC_DISPATCH(Kernels)());
    EXPECT_EQ(kernels.back().target, target) << "the forced target did not run";
  }
  hwy::SetSupportedTargetsForTest(0);
  return kernels;
}

// SplitMix64.
class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}
  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
  }
  double Unit() { return static_cast<double>(Next() >> 11) * 0x1p-53; }

 private:
  uint64_t state_;
};

template <class T>
struct Points {
  std::vector<T> x, y;
};

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
std::vector<T> SpecialValues() {
  using Limits = std::numeric_limits<T>;
  std::vector<T> values = {T(0),
                           Limits::denorm_min(),
                           Limits::min() / 2,
                           Limits::min(),
                           Limits::epsilon() / 2,
                           Limits::epsilon(),
                           T(0.25),
                           T(0.5),
                           T(0.75),
                           T(1),
                           T(1.5),
                           T(2),
                           T(3),
                           T(16),
                           T(17.4),
                           T(25.5),
                           T(37),
                           T(64),
                           T(80),
                           T(87.33655),
                           T(88.37626),
                           T(88.722839),
                           T(88.73),
                           T(103.27893),
                           T(103.97208),
                           T(104),
                           T(105),
                           T(700),
                           T(708.396418532264),
                           T(709.436139303104),
                           T(709.782712893384),
                           T(709.8),
                           T(744.44007192138),
                           T(745.133219101941),
                           T(746),
                           T(800),
                           T(1e4),
                           T(1e10),
                           T(1e30),
                           T(1.7e38),
                           T(2.55e38),
                           T(3e38),
                           Limits::max() / 2,
                           Limits::max(),
                           Limits::infinity(),
                           Limits::quiet_NaN()};
  const size_t count = values.size();
  for (size_t i = 0; i < count; ++i) {
    values.push_back(std::nextafter(values[i], Limits::infinity()));
    values.push_back(std::nextafter(values[i], -Limits::infinity()));
  }
  const size_t half = values.size();
  for (size_t i = 0; i < half; ++i) values.push_back(-values[i]);
  // A NaN whose payload would be an exponent if it were taken for one.
  values.push_back(
      std::bit_cast<T>(std::bit_cast<BitsOf<T>>(Limits::quiet_NaN()) | BitsOf<T>{0x17b}));
  return values;
}

template <class T>
Points<T> MakePoints(MathFunction function, size_t count) {
  const FunctionTraits& traits = kTraits[function];
  const double factor = sizeof(T) == 8 ? traits.f64_factor : 1;
  Random random(0x5eed + function);
  const std::vector<T> special = SpecialValues<T>();
  constexpr double kPowers[] = {0,    1,   2,      0.5, 1.5, 3,    5,     0.1,
                                7.25, 100, 1000.7, 1e5, -1,  -0.5, 1e300, 1e-300};
  Points<T> points;
  const auto add = [&](T x, T y) {
    const bool negative = function == kExpNonPositive || function == kExpTermNonPositive;
    const bool folded = negative || function == kLog1pExpNeg || function == kPow;
    if (folded) x = negative ? -std::abs(x) : std::abs(x);
    points.x.push_back(x);
    points.y.push_back(y);
  };
  for (const double power : kPowers) {
    for (const T x : special)
      add(x, static_cast<T>(std::min<double>(power, std::numeric_limits<T>::max())));
  }
  while (points.x.size() < count || points.x.size() % kGroup != 0) {
    const T power = static_cast<T>(kPowers[random.Next() % 14]);
    switch (random.Next() % 4) {
      case 0:
      case 1: {
        const T x = std::bit_cast<T>(static_cast<BitsOf<T>>(random.Next()));
        add(function == kLog ? std::abs(x) : x, power);
        break;
      }
      case 2:
        add(static_cast<T>(factor * (traits.low + (traits.high - traits.low) * random.Unit())),
            power);
        break;
      default:
        // Around 1 and -1, where the logarithms and many switches are.
        add(static_cast<T>(
                (function == kPow || function == kLog || random.Next() % 2 ? 1 : -1) *
                (1 + (random.Unit() - 0.5) * std::exp2(-static_cast<double>(random.Next() % 30)))),
            power);
    }
  }
  return points;
}

struct Worst {
  double ulp = 0;
  double x = 0, y = 0, got = 0;

  void Add(double error, double at_x, double at_y, double result) {
    if (error > ulp) *this = {error, at_x, at_y, result};
  }
  std::string Where() const {
    char text[200];
    std::snprintf(text, sizeof text, "%.3f ulp at x = %a (%.9g), y = %g: %a", ulp, x, x, y, got);
    return text;
  }
};

template <class T>
std::vector<T> Outputs(const MathKernels& kernels, MathFunction function, const Points<T>& points) {
  std::vector<T> out(points.x.size());
  if constexpr (sizeof(T) == 4) {
    kernels.f32(function, points.x.data(), points.y.data(), out.size(), out.data());
  } else {
    kernels.f64(function, points.x.data(), points.y.data(), out.size(), out.data());
  }
  return out;
}

template <class T>
Worst AgainstMpfr(const MathKernels& kernels, MathFunction function, size_t count) {
  const Points<T> points = MakePoints<T>(function, count);
  const std::vector<T> out = Outputs(kernels, function, points);
  Reference reference;
  Worst worst;
  for (size_t i = 0; i < out.size(); ++i) {
    reference.Compute(function, points.x[i], points.y[i], kExpTermLow<T>);
    worst.Add(reference.UlpError(out[i]), points.x[i], points.y[i], out[i]);
  }
  return worst;
}

// |got - value| in ulps of f32, for a value known in f64.
double UlpErrorF32(float got, double value) {
  using Limits = std::numeric_limits<float>;
  if (std::isnan(value) || std::isnan(got)) return std::isnan(value) == std::isnan(got) ? 0 : 1e9;
  if (std::isinf(value) || static_cast<double>(got) == value)
    return static_cast<double>(got) == value ? 0 : 1e9;
  const int exponent =
      value == 0 ? Limits::min_exponent : std::max(std::ilogb(value) + 1, Limits::min_exponent);
  if (std::isinf(got) && exponent > Limits::max_exponent) return (got > 0) == (value > 0) ? 0 : 1e9;
  const double result = std::isinf(got) ? std::copysign(0x1p128, got) : static_cast<double>(got);
  return std::ldexp(std::abs(result - value), Limits::digits - exponent);
}

Worst F32AgainstF64(const MathKernels& kernels, MathFunction function, size_t count) {
  const Points<float> points = MakePoints<float>(function, count);
  const std::vector<float> out = Outputs(kernels, function, points);
  Points<double> wide{{points.x.begin(), points.x.end()}, {points.y.begin(), points.y.end()}};
  if (function == kExpTermNonPositive) {
    for (double& x : wide.x)
      x = x < kExpTermLow<float> ? -std::numeric_limits<double>::infinity() : x;
  }
  const std::vector<double> truth = Outputs(kernels, function, wide);
  Worst worst;
  for (size_t i = 0; i < out.size(); ++i) {
    worst.Add(UlpErrorF32(out[i], truth[i]), points.x[i], points.y[i], out[i]);
  }
  return worst;
}

// FNV-1a over the bits, every NaN as the same one.
template <class T>
uint64_t HashOf(std::vector<T>& values) {
  uint64_t hash = 0xcbf29ce484222325u;
  for (T& value : values) {
    if (std::isnan(value)) value = std::numeric_limits<T>::quiet_NaN();
    hash = (hash ^ std::bit_cast<BitsOf<T>>(value)) * 0x100000001b3u;
  }
  return hash;
}

template <class T>
uint64_t HashOnEveryTarget(const std::vector<MathKernels>& targets, MathFunction function) {
  const Points<T> points = MakePoints<T>(function, 100000);
  std::vector<T> first = Outputs(targets.front(), function, points);
  const uint64_t hash = HashOf(first);
  for (const MathKernels& kernels : targets) {
    std::vector<T> other = Outputs(kernels, function, points);
    EXPECT_EQ(HashOf(other), hash) << kTraits[function].name;
    for (size_t i = 0; i < first.size(); ++i) {
      if (std::bit_cast<BitsOf<T>>(first[i]) != std::bit_cast<BitsOf<T>>(other[i])) {
        ADD_FAILURE() << kTraits[function].name << " at " << points.x[i] << ": " << first[i]
                      << " and " << other[i];
        break;
      }
    }
  }
  return hash;
}

TEST(MathTest, EveryTargetWithinItsUlps) {
  const std::vector<MathKernels> targets = KernelsOfEachTarget();
  ASSERT_FALSE(targets.empty());
  std::printf("%-22s %10s %10s %10s  (max ulp)\n", "", "f32, MPFR", "f32, f64", "f64, MPFR");
  for (const MathKernels& kernels : targets) {
    std::printf("%s\n", hwy::TargetName(kernels.target));
    for (int i = 0; i < kMathFunctions; ++i) {
      const auto function = static_cast<MathFunction>(i);
      const FunctionTraits& traits = kTraits[i];
      const Worst f64 = AgainstMpfr<double>(kernels, function, 30000);
      const Worst f32 = AgainstMpfr<float>(kernels, function, 30000);
      const Worst f32_dense = F32AgainstF64(kernels, function, 1500000);
      std::printf("  %-20s %10.3f %10.3f %10.3f\n", traits.name, f32.ulp, f32_dense.ulp, f64.ulp);
      EXPECT_LE(f64.ulp, traits.max_ulp_f64) << traits.name << " f64: " << f64.Where();
      EXPECT_LE(f32.ulp, traits.max_ulp_f32) << traits.name << " f32: " << f32.Where();
      EXPECT_LE(f32_dense.ulp, traits.max_ulp_f32) << traits.name << " f32: " << f32_dense.Where();
    }
  }
}

TEST(MathTest, EqualBitsOnEveryTargetAndCompiler) {
  const std::vector<MathKernels> targets = KernelsOfEachTarget();
  ASSERT_FALSE(targets.empty());
  for (int i = 0; i < kMathFunctions; ++i) {
    const auto function = static_cast<MathFunction>(i);
    const uint64_t f32 = HashOnEveryTarget<float>(targets, function);
    const uint64_t f64 = HashOnEveryTarget<double>(targets, function);
    char hashes[100];
    std::snprintf(hashes, sizeof hashes, "0x%016llx, 0x%016llx",
                  static_cast<unsigned long long>(f32), static_cast<unsigned long long>(f64));
    EXPECT_TRUE(f32 == kTraits[i].hash_f32 && f64 == kTraits[i].hash_f64)
        << kTraits[i].name << ": " << hashes;
  }
}

TEST(MathTest, OrdinaryArgumentsGiveTheBitsOfTheWholeLine) {
  for (const MathKernels& kernels : KernelsOfEachTarget()) {
    for (const MathFunction function : {kExps, kLog1pExpNegAbs}) {
      Points<float> points = MakePoints<float>(function, 100000);
      for (float& x : points.x) x = std::abs(x) <= 87 ? x : 1.0f;
      const std::vector<float> whole = Outputs(kernels, function, points);
      std::vector<float> ordinary(whole.size());
      kernels.ordinary(function, points.x.data(), nullptr, whole.size(), ordinary.data());
      for (size_t i = 0; i < whole.size(); ++i) {
        ASSERT_EQ(std::bit_cast<uint32_t>(whole[i]), std::bit_cast<uint32_t>(ordinary[i]))
            << kTraits[function].name << " at " << points.x[i];
      }
    }
  }
}

}  // namespace
}  // namespace lossd

#endif  // HWY_ONCE
