// The vector functions that losses outside a target's namespace need, over arrays of f64: those
// whole-batch losses, whose loops are about grouping and matching and not about lanes.
//
// The bits are those of math-inl.h and of rowwise-inl.h's sums on every target. Thread-safe: pure
// functions. Arrays need no alignment beyond that of their type; `y` may be `x`.
#ifndef LOSSD_LIB_FORMS_VECTOR_MATH_H_
#define LOSSD_LIB_FORMS_VECTOR_MATH_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// log(1 + exp(x)).
void SoftplusOf(const double* x, size_t n, double* y);
// 1 / (1 + exp(-x)).
void SigmoidOf(const double* x, size_t n, double* y);
void ExpOf(const double* x, size_t n, double* y);

// Sum of (a_i - b_i)^2 in f64.
double SquaredDistance(const float* a, const float* b, size_t n);
double SquaredDistance(const double* a, const double* b, size_t n);
// The same of rows whose elements are sums of two parts, the second about a rounding of the first:
// the difference of two far from the origin keeps its digits.
struct TwoPartRow {
  const double* high;
  const double* low;
};
double SquaredDistance(const TwoPartRow& a, const TwoPartRow& b, size_t n);

// The target that these run on, a bit of HWY_TARGETS.
int64_t VectorMathTarget();

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_VECTOR_MATH_H_
