// True values of the functions of math-inl.h, by MPFR: for tests only.
//
// Thread-safety: a Reference belongs to one thread. Ownership: it owns its MPFR variables.
#ifndef LOSSD_LIB_FORMS_MATH_REFERENCE_H_
#define LOSSD_LIB_FORMS_MATH_REFERENCE_H_

#include <mpfr.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lossd {

enum MathFunction {
  kExp,
  kExpNonPositive,
  kExpTermNonPositive,
  kExpm1,
  kLog,
  kLog1p,
  kLog1pExpNeg,
  kSoftplus,
  kSigmoid,
  kLogCosh,
  kPow,
  kAtan,
  kExps,
  kLog1pExpNegAbs,
  kLogCoshes,
  kMathFunctions
};

// Where ExpTermNonPositive stops and gives 0.
template <class T>
constexpr double kExpTermLow = sizeof(T) == 4 ? -87 : -708;

// The true value, to 140 bits.
class Reference {
 public:
  Reference() {
    for (mpfr_t* v : {&value_, &x_, &t_, &u_}) mpfr_init2(*v, 140);
  }
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  ~Reference() {
    for (mpfr_t* v : {&value_, &x_, &t_, &u_}) mpfr_clear(*v);
  }

  // `exp_term_low`: where ExpTermNonPositive stops and gives 0.
  void Compute(MathFunction function, double x, double y, double exp_term_low) {
    mpfr_set_d(x_, x, MPFR_RNDN);
    switch (function) {
      case kExp:
      case kExps:
      case kExpNonPositive:
        mpfr_exp(value_, x_, MPFR_RNDN);
        break;
      case kExpTermNonPositive:
        mpfr_exp(value_, x_, MPFR_RNDN);
        if (x < exp_term_low) mpfr_set_zero(value_, 1);
        break;
      case kExpm1:
        mpfr_expm1(value_, x_, MPFR_RNDN);
        break;
      case kLog:
        mpfr_log(value_, x_, MPFR_RNDN);
        if (x == 0) mpfr_set_inf(value_, -1);  // of -0 too
        break;
      case kLog1p:
        mpfr_log1p(value_, x_, MPFR_RNDN);
        break;
      case kLog1pExpNeg:
        Log1pExp(value_, -x);
        break;
      case kLog1pExpNegAbs:
        Log1pExp(value_, -std::abs(x));
        break;
      case kSoftplus:
        Log1pExp(value_, x);
        break;
      case kSigmoid:
        mpfr_neg(t_, x_, MPFR_RNDN);
        mpfr_exp(t_, t_, MPFR_RNDN);
        mpfr_add_ui(t_, t_, 1, MPFR_RNDN);
        mpfr_ui_div(value_, 1, t_, MPFR_RNDN);
        break;
      case kLogCosh:
      case kLogCoshes:
        LogCosh(std::abs(x));
        break;
      case kAtan:
        mpfr_atan(value_, x_, MPFR_RNDN);
        break;
      case kPow:
        mpfr_set_d(t_, y, MPFR_RNDN);
        mpfr_pow(value_, x_, t_, MPFR_RNDN);
        if (std::isnan(x)) mpfr_set_nan(value_);  // at y = 0 too
        break;
      case kMathFunctions:
        break;
    }
  }

  // |got - value| in ulps of T at the value. An infinity counts as the next power of two; NaN, zero
  // and infinity of the truth must be met, zero with its sign.
  template <class T>
  double UlpError(T got) {
    using Limits = std::numeric_limits<T>;
    constexpr double kMismatch = 1e9;
    if (mpfr_nan_p(value_)) return std::isnan(got) ? 0 : kMismatch;
    if (std::isnan(got)) return kMismatch;
    if (mpfr_inf_p(value_))
      return std::isinf(got) && (got > 0) == (mpfr_sgn(value_) > 0) ? 0 : kMismatch;
    if (mpfr_zero_p(value_)) {
      return got == 0 && std::signbit(got) == (mpfr_signbit(value_) != 0) ? 0 : kMismatch;
    }
    const mpfr_exp_t exponent = std::max<mpfr_exp_t>(mpfr_get_exp(value_), Limits::min_exponent);
    if (std::isinf(got)) {
      if (exponent > Limits::max_exponent && (got > 0) == (mpfr_sgn(value_) > 0)) return 0;
      mpfr_set_si_2exp(t_, got > 0 ? 1 : -1, Limits::max_exponent, MPFR_RNDN);
    } else {
      mpfr_set_d(t_, static_cast<double>(got), MPFR_RNDN);
    }
    mpfr_sub(t_, t_, value_, MPFR_RNDN);
    mpfr_mul_2si(t_, t_, Limits::digits - exponent, MPFR_RNDN);
    return std::abs(mpfr_get_d(t_, MPFR_RNDN));
  }

 private:
  void Log1pExp(mpfr_t& out, double x) {
    mpfr_set_d(t_, x, MPFR_RNDN);
    mpfr_exp(t_, t_, MPFR_RNDN);
    // 140 bits of exp(x) and 1 + exp(x): beyond 2^140 the one no longer counts.
    mpfr_log1p(out, t_, MPFR_RNDN);
    if (x > 2000) mpfr_set_d(out, x, MPFR_RNDN);
  }
  void LogCosh(double x) {
    if (x < 1) {  // log1p(2 sinh(x/2)^2)
      mpfr_set_d(t_, x, MPFR_RNDN);
      mpfr_div_2ui(t_, t_, 1, MPFR_RNDN);
      mpfr_sinh(t_, t_, MPFR_RNDN);
      mpfr_sqr(t_, t_, MPFR_RNDN);
      mpfr_mul_2ui(t_, t_, 1, MPFR_RNDN);
      mpfr_log1p(value_, t_, MPFR_RNDN);
      return;
    }
    Log1pExp(u_, -2 * x);
    mpfr_set_d(x_, x, MPFR_RNDN);
    mpfr_add(value_, x_, u_, MPFR_RNDN);
    mpfr_const_log2(t_, MPFR_RNDN);
    mpfr_sub(value_, value_, t_, MPFR_RNDN);
  }

  mpfr_t value_, x_, t_, u_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_MATH_REFERENCE_H_
