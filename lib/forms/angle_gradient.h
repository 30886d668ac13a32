// The gradient of a logit scale |a| |b| psi(cos t) by one of its two vectors, of the angle t
// between them.
//
// Thread-safety: pure functions. Ownership: none.
#ifndef LOSSD_LIB_FORMS_ANGLE_GRADIENT_H_
#define LOSSD_LIB_FORMS_ANGLE_GRADIENT_H_

#include <cstddef>

namespace lossd {

// += factor d logit / d own vector, by what the angle between it and the other does: `own` and
// `other` are unit vectors.
struct AngleGradient {
  double factor;
  double value, slope, cosine;
  bool unit;  // the loss takes the direction of the own vector alone
  double own_norm;
  double other_norm;  // 1 where only its direction counts
};

template <class T>
void AddAngleGradient(const AngleGradient& g, const double* own, const double* other, size_t width,
                      T* output) {
  double along, across;
  if (g.unit) {
    if (g.own_norm == 0) return;
    across = g.factor * g.other_norm * g.slope / g.own_norm;
    along = 0;
  } else {
    across = g.factor * g.other_norm * g.slope;
    along = g.factor * g.other_norm * g.value;
  }
  for (size_t i = 0; i < width; ++i) {
    const double part = across * (other[i] - g.cosine * own[i]) + along * own[i];
    output[i] = static_cast<T>(static_cast<double>(output[i]) + part);
  }
}

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_ANGLE_GRADIENT_H_
