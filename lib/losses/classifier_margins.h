// What the classifier losses with a margin make of the true class's angle t: psi of its cosine, and
// the derivative by the cosine. Only sums, products, quotients, square roots and fused
// multiply-adds, so the bits are equal everywhere; no function of libm rounds alike on all
// platforms.
//
// Thread-safety: pure functions.
#ifndef LOSSD_LIB_LOSSES_CLASSIFIER_MARGINS_H_
#define LOSSD_LIB_LOSSES_CLASSIFIER_MARGINS_H_

#include "lib/forms/classifier_kernels.h"

namespace lossd {

// Bounds of the margins of l_softmax and a_softmax, and of arcface (two turns).
inline constexpr double kLargestMultiple = 100;
inline constexpr double kLargestAngle = 12.566370614359172;

// psi(t) = (-1)^k cos(m t) - 2 k for t in [k pi / m, (k + 1) pi / m], annealed to
// (a cos t + psi) / (1 + a). Parameters: m, a.
Margin MultipleAngleMargin(const double* parameters, double cosine, double sine);

// cos t - m. Parameters: scale, m.
Margin CosineMargin(const double* parameters, double cosine, double sine);

// cos(t + m) for every angle; with easy_margin cos t where that is not above 0. Parameters: scale,
// m, easy_margin.
Margin AngleMargin(const double* parameters, double cosine, double sine);

// The cosine and sine of an angle of at most kLargestAngle, within 1.5 ulp.
struct CosineAndSine {
  double cosine;
  double sine;
};
CosineAndSine Rotate(double angle);

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_CLASSIFIER_MARGINS_H_
