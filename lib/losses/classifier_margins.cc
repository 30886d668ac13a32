#include "lib/losses/classifier_margins.h"

#include <cmath>

namespace lossd {
namespace {

// pi / 2 in three parts of 33, 33 and 53 bits: a small whole number times the first two is exact.
constexpr double kHalfPiHigh = 0x1.921fb544p+0;
constexpr double kHalfPiMiddle = 0x1.0b4611a6p-34;
constexpr double kHalfPiLow = 0x1.3198a2e037073p-69;
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// The Taylor series of sin(r) / r and cos(r) in z = r^2, |r| <= pi / 4: the first term left out is
// below 2^-60 of the result.
double SineSeries(double z) {
  double sum = 0;
  for (int k = 9; k >= 1; --k) sum = -z * (1 + sum) / static_cast<double>(2 * k * (2 * k + 1));
  return sum;
}
double CosineSeries(double z) {
  double sum = 0;
  for (int k = 9; k >= 2; --k) sum = -z * (1 + sum) / static_cast<double>(2 * k * (2 * k - 1));
  return sum;
}

}  // namespace

CosineAndSine Rotate(double angle) {
  const double quarters = std::floor(angle * kTwoOverPi + 0.5);
  const double high = angle - quarters * kHalfPiHigh;
  const double r = (high - quarters * kHalfPiMiddle) - quarters * kHalfPiLow;
  const double z = r * r;
  const double sine = r + r * SineSeries(z);
  const double half = 0.5 * z;
  // 1 - half with what it rounds off; then the rest of the series, -half * sum.
  const double first = 1 - half;
  const double cosine = first + (((1 - first) - half) - half * CosineSeries(z));
  switch (static_cast<int>(quarters) & 3) {
    case 0:
      return {cosine, sine};
    case 1:
      return {-sine, cosine};
    case 2:
      return {-cosine, -sine};
    default:
      return {sine, -cosine};
  }
}

// cos(m t) = T_m(c), and its derivative by c is m U_{m-1}(c): Chebyshev polynomials. The k of the
// angle counts the zeros of U_{m-1} above c, at which cos(m t) turns around: as many as there are
// changes of sign in U_0, ..., U_{m-1} at c (Sturm). At a zero both sides give the same psi and
// slope, so no rounding there shows.
Margin MultipleAngleMargin(const double* parameters, double cosine, double) {
  const int m = static_cast<int>(parameters[0]);
  const double annealing = parameters[1];
  double before = 0, u = 1, last_sign = 1;  // U_{j-1}, U_j
  int k = 0;
  for (int j = 1; j < m; ++j) {
    const double next = 2 * cosine * u - before;
    before = u;
    u = next;
    if (u * last_sign < 0) {
      ++k;
      last_sign = -last_sign;
    }
  }
  const double sign = k % 2 == 0 ? 1 : -1;
  const double psi = sign * (cosine * u - before) - 2 * k;
  const double slope = sign * m * u;
  // The weights' quotients, so that an annealing of any size stays finite.
  const double share = 1 / (1 + annealing);
  const double rest = annealing / (1 + annealing);
  return {rest * cosine + share * psi, rest + share * slope};
}

Margin CosineMargin(const double* parameters, double cosine, double) {
  return {cosine - parameters[1], 1};
}

// cos(t + m) = cos t cos m - sin t sin m; by the cosine, sin t changes by -cos t / sin t. Where the
// vectors are parallel the angle has a kink, and its part of the slope is left out.
Margin AngleMargin(const double* parameters, double cosine, double sine) {
  if (parameters[2] != 0 && cosine <= 0) return {cosine, 1};
  const CosineAndSine m = Rotate(parameters[1]);
  const double value = cosine * m.cosine - sine * m.sine;
  if (sine == 0) return {value, m.cosine};
  return {value, m.cosine + cosine / sine * m.sine};
}

}  // namespace lossd
