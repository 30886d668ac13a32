// Constants and polynomial coefficients of math-inl.h, for f32 and f64.
//
// The coefficients are minimax fits of our own: math_coefficients.py derives and rounds them and
// prints the errors quoted here, which are relative and before any rounding of the evaluation.
// Lowest degree first.
//
// Thread-safety: compile-time constants. Ownership: none.
#ifndef LOSSD_LIB_FORMS_MATH_CONSTANTS_H_
#define LOSSD_LIB_FORMS_MATH_CONSTANTS_H_

namespace lossd {

template <class T>
struct MathConstants;

template <>
struct MathConstants<float> {
  static constexpr int kMantissaBits = 23;
  static constexpr int kBias = 127;
  // 1.5 * 2^23: a sum with it is rounded to an integer, which stands in its low bits.
  static constexpr float kRounder = 0x1.8p23f;
  static constexpr float kLog2E = 0x1.715476p+0f;
  // ln 2 = kLn2 + kLn2Rest to 48 bits.
  static constexpr float kLn2 = 0x1.62e430p-1f;
  static constexpr float kLn2Rest = -0x1.05c610p-29f;
  // ln 2 = kLn2Short + kLn2ShortRest, the first of 16 bits, so its product with any exponent is
  // exact.
  static constexpr float kLn2Short = 0x1.62e400p-1f;
  static constexpr float kLn2ShortRest = 0x1.7f7d1cp-20f;
  // exp is 0 below (2^-150 is 103.97) and infinite above (2^128 is 88.723).
  static constexpr float kExpLow = -104.0f;
  // Here exp is still a normal number (2^-126 is 87.34).
  static constexpr float kExpNormalLow = -87.0f;
  static constexpr float kExpHigh = 88.73f;
  // expm1 is -1 to the last bit well above this.
  static constexpr float kExpm1Low = -30.0f;
  // Below this |x|, expm1(x) and log1p(x) are x: the next term, x^2/2, is under a quarter of an
  // ulp.
  static constexpr float kTiny = 0x1p-25f;
  // log cosh x is |x| from here on: ln 2 is below half an ulp.
  static constexpr float kLogCoshHigh = 0x1p26f;
  // ExpNonPositive scales by 2^(n + kExpShift) and then by 2^-kExpShift, which alone rounds.
  static constexpr int kExpShift = 64;
  static constexpr float kExpUnshift = 0x1p-64f;
  // (expm1(r) - r) / r^2 for |r| <= ln(2)/2, error 2^-26.1 of expm1(r), 2^-27.4 of exp(r).
  static constexpr float kExp[] = {0x1.fffffep-2f, 0x1.5554b4p-3f, 0x1.5556f6p-5f, 0x1.122534p-7f,
                                   0x1.6b97fep-10f};
  // expm1(r) / r for |r| <= ln(2)/2, error 2^-23.4 of exp(r): a degree less, for terms of a sum.
  static constexpr float kExpTerm[] = {0x1.fffff6p-1f, 0x1.fffdc6p-2f, 0x1.555a7ap-3f,
                                       0x1.573a24p-5f, 0x1.0fa334p-7f};
  // (log(1 + f) - f) / f^2 for -1/4 <= f <= 1/2, error 2^-27.6 of log(1 + f).
  static constexpr float kLog[] = {-0x1.000000p-1f, 0x1.5555a4p-2f,  -0x1.00004ap-2f,
                                   0x1.99699ep-3f,  -0x1.54ed98p-3f, 0x1.288080p-3f,
                                   -0x1.0d98dap-3f, 0x1.acf3e2p-4f,  -0x1.71e1b4p-5f};
  // (log(1 + v) - v) / v^2 in v - 1/2 for 0 <= v <= 1, error 2^-27.0 of log(1 + v).
  static constexpr float kLogUnit[] = {-0x1.833704p-2f, 0x1.6f0d78p-3f,  -0x1.7de15ap-4f,
                                       0x1.a2848cp-5f,  -0x1.d95902p-6f, 0x1.10e232p-6f,
                                       -0x1.506bd0p-7f, 0x1.c7df94p-8f,  -0x1.9ff8b2p-9f};
  // (log cosh x - x^2/2) / x^4 in x^2, |x| <= 1, error 2^-27.0 of log cosh x.
  static constexpr float kLogCosh[] = {-0x1.555516p-4f, 0x1.6c02bcp-6f,   -0x1.b7f9d8p-8f,
                                       0x1.10f5d2p-9f,  -0x1.25d030p-11f, 0x1.7088e6p-14f};
  // (atan(t) - t) / t^3 in t^2, |t| <= tan(pi/8), error 2^-30.4 of atan(t).
  static constexpr float kAtan[] = {-0x1.55554ap-2f, 0x1.9991e2p-3f, -0x1.23b9a2p-3f,
                                    0x1.b22454p-4f, -0x1.f2e58ap-5f};
  static constexpr float kHalfPi = 0x1.921fb6p+0f;
};

template <>
struct MathConstants<double> {
  static constexpr int kMantissaBits = 52;
  static constexpr int kBias = 1023;
  static constexpr double kRounder = 0x1.8p52;
  static constexpr double kLog2E = 0x1.71547652b82fep+0;
  static constexpr double kLn2 = 0x1.62e42fefa39efp-1;
  static constexpr double kLn2Rest = 0x1.abc9e3b39803fp-56;
  // The first of 42 bits.
  static constexpr double kLn2Short = 0x1.62e42fefa3800p-1;
  static constexpr double kLn2ShortRest = 0x1.ef35793c76730p-45;
  // 2^-1075 is 745.13, 2^1024 is 709.783.
  static constexpr double kExpLow = -746.0;
  static constexpr double kExpNormalLow = -708.0;  // 2^-1022 is 708.40
  static constexpr double kExpHigh = 709.8;
  static constexpr double kExpm1Low = -60.0;
  static constexpr double kTiny = 0x1p-54;
  static constexpr double kLogCoshHigh = 0x1p55;
  static constexpr int kExpShift = 512;
  static constexpr double kExpUnshift = 0x1p-512;
  // Error 2^-55.6 of expm1(r), 2^-56.9 of exp(r).
  static constexpr double kExp[] = {
      0x1.0000000000005p-1,  0x1.555555555554fp-3,  0x1.5555555552277p-5,  0x1.1111111114e2bp-7,
      0x1.6c16c17ec6556p-10, 0x1.a01a0186c669bp-13, 0x1.a019a7d374146p-16, 0x1.71de6768b116fp-19,
      0x1.28a171086a50bp-22, 0x1.ae974d78d25c0p-26};
  // Error 2^-52.0 of exp(r).
  static constexpr double kExpTerm[] = {
      0x1.0000000000019p+0,  0x1.ffffffffffe94p-2,  0x1.555555554c5ffp-3,  0x1.555555558b72fp-5,
      0x1.1111112c51b67p-7,  0x1.6c16c0cda6c80p-10, 0x1.a0197caf7a436p-13, 0x1.a01b5a24666f6p-16,
      0x1.72f780cb4d250p-19, 0x1.27311e074526cp-22};
  // (log((1 + s) / (1 - s)) - 2 s) / s^3 in s^2, |s| <= 1/5, error 2^-62.7 of the logarithm.
  static constexpr double kLog[] = {
      0x1.555555555554fp-1, 0x1.999999999c17ap-2, 0x1.24924921e4410p-2, 0x1.c71c748fc883ep-3,
      0x1.745c4ad9eb5a7p-3, 0x1.3b35c0f37f078p-3, 0x1.0dcb949e22b45p-3, 0x1.1b818bc8c1becp-3};
  // The same for 0 <= s <= 1/3, error 2^-59.4.
  static constexpr double kLogUnit[] = {
      0x1.5555555555535p-1, 0x1.99999999a0750p-2, 0x1.249249208c5d7p-2, 0x1.c71c741c70636p-3,
      0x1.745cb4009d3f0p-3, 0x1.3b1ddb64ddadap-3, 0x1.1067c5cced934p-3, 0x1.efd841a7bd01ep-4,
      0x1.55b12cede6c3bp-4, 0x1.5c78dd2b446e0p-3};
  // Error 2^-60.1 of log cosh x.
  static constexpr double kLogCosh[] = {
      -0x1.555555555554cp-4,  0x1.6c16c16c15cd5p-6,  -0x1.ba1ba1b98f5c7p-8,  0x1.1ea5d387539f9p-9,
      -0x1.833d98ebdcc0cp-11, 0x1.0d0b1eb41d648p-12, -0x1.7d9f4a060a36dp-14, 0x1.12db5f6addc4bp-15,
      -0x1.8ff6f42eb27b9p-17, 0x1.22ca403f5f272p-18, -0x1.9ab0e2f709121p-20, 0x1.091052a268c97p-21,
      -0x1.19ef345d3b8a7p-23, 0x1.a3e0161e1b738p-26, -0x1.3be60068b9fc4p-29};
  // Error 2^-59.4 of atan(t).
  static constexpr double kAtan[] = {
      -0x1.555555555553dp-2, 0x1.9999999995868p-3, -0x1.24924922ad499p-3, 0x1.c71c70e605433p-4,
      -0x1.745cf8db43932p-4, 0x1.3b111909ab1bbp-4, -0x1.10ebb7984b033p-4, 0x1.df0f43d8d2047p-5,
      -0x1.9cd2a7ff61a20p-5, 0x1.37d58e99607f6p-5, -0x1.256a6ba4a1ae7p-6};
  static constexpr double kHalfPi = 0x1.921fb54442d18p+0;
  // The same in two steps for a logarithm of 64 bits: ((that) - 2/3) / s^2 in s^2, error 2^-75.6 of
  // the logarithm.
  static constexpr double kTwoThirds = 0x1.5555555555555p-1;
  static constexpr double kTwoThirdsRest = 0x1.5555555555555p-55;
  static constexpr double kLogLong[] = {
      0x1.999999999999ap-2, 0x1.2492492492359p-2, 0x1.c71c71c747ca6p-3,
      0x1.745d172d67c45p-3, 0x1.3b13b938716d5p-3, 0x1.110f74fe0452cp-3,
      0x1.e24976deac9dfp-4, 0x1.a7457f0ed077ap-4, 0x1.da528d6827f77p-4};
};

// Of the functions by tables of 16 entries, table_math-inl.h; f32 only.
struct TableConstants {
  // 16 / ln 2, and ln(2) / 16 as a sum of two.
  static constexpr float kStepsPerNat = 0x1.715476p+4f;
  static constexpr float kStep = 0x1.62e430p-5f;
  static constexpr float kStepRest = -0x1.05c610p-33f;
  // Entry j: 2^(j/16), less j / 16 in the exponent of its bits: adding (16 n + j) / 16 there makes
  // it 2^(n + j/16).
  alignas(64) static constexpr float kExp[16] = {
      0x1.000000p+0f, 0x1.fb5586p-1f, 0x1.f72b84p-1f, 0x1.f387a6p-1f,
      0x1.f06fe0p-1f, 0x1.edea64p-1f, 0x1.ebfdaep-1f, 0x1.eab07ep-1f,
      0x1.ea09e6p-1f, 0x1.ea1148p-1f, 0x1.eace54p-1f, 0x1.ec4918p-1f,
      0x1.ee89fap-1f, 0x1.f199bep-1f, 0x1.f5818ep-1f, 0x1.fa4afap-1f};
  // What the rounding of 2^(j/16) took off, over 2^(j/16).
  alignas(64) static constexpr float kExpRest[16] = {
      0x0.0p+0f,        0x1.8d96d4p-25f,  -0x1.9c0c22p-27f, 0x1.964904p-25f,
      0x1.125002p-25f,  0x1.370be4p-25f,  -0x1.0a3550p-25f, -0x1.00d8acp-27f,
      0x1.26055cp-26f,  -0x1.05cb44p-25f, 0x1.67a1cap-28f,  0x1.a3b5e4p-28f,
      -0x1.f9c304p-27f, -0x1.6961b4p-28f, -0x1.a5217cp-28f, 0x1.61428ep-28f};
  // (exp(r) - 1 - r) / r^2 for |r| <= ln(2)/32, error 2^-29.2 of exp(r).
  static constexpr float kExpStep[] = {0x1.000220p-1f, 0x1.555636p-3f};
  // Entry k: a value near 1 / (1 + k/15) and minus its logarithm, chosen among the neighbours so
  // that the float of the logarithm is right to 2^-36.
  alignas(64) static constexpr float kInverse[16] = {
      0x1.000000p+0f, 0x1.dfed14p-1f, 0x1.c3cdfap-1f, 0x1.aaae7cp-1f,
      0x1.9440d6p-1f, 0x1.7fea98p-1f, 0x1.6db3eep-1f, 0x1.5d0df8p-1f,
      0x1.4dd37cp-1f, 0x1.3ff3a0p-1f, 0x1.334680p-1f, 0x1.275bf2p-1f,
      0x1.1c80e2p-1f, 0x1.1239b2p-1f, 0x1.08dedap-1f, 0x1.00040cp-1f};
  alignas(64) static constexpr float kLog[16] = {
      0x0.000000p+0f, 0x1.08fb06p-4f, 0x1.00273ep-3f, 0x1.7552aep-3f,
      0x1.e3e85ep-3f, 0x1.26cf38p-2f, 0x1.589460p-2f, 0x1.884a6ap-2f,
      0x1.b5f824p-2f, 0x1.e1703cp-2f, 0x1.056ac6p-1f, 0x1.19aaf8p-1f,
      0x1.2cd730p-1f, 0x1.3fadfep-1f, 0x1.517366p-1f, 0x1.62dc18p-1f};
  // (log(1 + f) - f) / f^2 for |f| <= 1/30, error 2^-24.4 of log(1 + f).
  static constexpr float kLogStep[] = {-0x1.fffffep-2f, 0x1.558696p-2f, -0x1.003358p-2f};
  // The same with an error of 2^-30.9.
  static constexpr float kLogFine[] = {-0x1.fffffcp-2f, 0x1.555550p-2f, -0x1.003beep-2f,
                                       0x1.9a0fe8p-3f};
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_MATH_CONSTANTS_H_
