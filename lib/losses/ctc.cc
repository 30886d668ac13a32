// ctc: the negative log-likelihood of a label sequence, summed over its alignments with the frames.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "lib/losses/ctc.cc"
#include "hwy/foreach_target.h"  // IWYU pragma: keep
#include "hwy/highway.h"
#include "lib/forms/ctc-inl.h"
#include "lib/forms/softmax-inl.h"
#include "lib/losses/families.h"

#ifndef LOSSD_LIB_LOSSES_CTC_CC_
#define LOSSD_LIB_LOSSES_CTC_CC_
#include "lib/accumulate/rational.h"

namespace lossd::ctc {

inline bool Always(const double*) { return true; }

// The mean divides each item by the length of its labels first; a sum does not.
inline double Report(const LossSums& sums, bool mean) {
  return mean ? Quotient(sums.parts[1], sums.weight) : sums.parts[0].Round();
}

}  // namespace lossd::ctc
#endif  // LOSSD_LIB_LOSSES_CTC_CC_

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {
namespace ctc {

// log p_j = -((max - x_j) + log_total): both terms are at least 0, and so a frame that is all but
// certain keeps its digits.
template <class T>
struct Logits {
  static constexpr bool kNormalised = true;
  LogSumExp<T> sum;
  double log_total;  // NaN for a frame without a softmax

  Logits(const T* frame, size_t classes) : sum(LogSumExpRow(frame, classes)) {
    const double others = static_cast<double>(sum.at_max) - 1 + static_cast<double>(sum.rest);
    log_total = sum.Valid() ? ScalarLog1p(others) : QuietNan<double>();
  }
  HWY_INLINE double LogProb(T x) const {
    return 0 - ((static_cast<double>(sum.max) - static_cast<double>(x)) + log_total);
  }
  void OtherGradients(const T* frame, size_t classes, double scale, T* gradients) const {
    const hn::ScalableTag<T> d;
    const T share = sum.Valid() ? static_cast<T>(scale) / sum.Total() : QuietNan<T>();
    for (size_t i = 0; i < classes; i += kVectorLanes<T>) {
      const size_t count = HWY_MIN(classes - i, kVectorLanes<T>);
      const auto x = LoadClasses(d, frame + i, count, sum.max);
      const auto e = ExpNonPositive(d, hn::Sub(x, hn::Set(d, sum.max)));
      const auto gradient = hn::Mul(hn::Set(d, share), e);
      const auto canonical =
          hn::IfThenElse(hn::Eq(gradient, gradient), gradient, hn::Set(d, QuietNan<T>()));
      if (count == kVectorLanes<T>) {
        hn::StoreU(canonical, d, gradients + i);
        continue;
      }
      HWY_ALIGN T lanes[kVectorLanes<T>];
      hn::Store(canonical, d, lanes);
      std::memcpy(gradients + i, lanes, count * sizeof(T));
    }
  }
};

template <class T>
struct LogProbs {
  static constexpr bool kNormalised = false;
  LogProbs(const T*, size_t) {}
  HWY_INLINE double LogProb(T x) const { return static_cast<double>(x); }
  void OtherGradients(const T*, size_t classes, double, T* gradients) const {
    std::memset(gradients, 0, classes * sizeof(T));
  }
};

constexpr Input kLabels = {"labels", ShapeRule::kSequences, TypeRule::kLabel,
                           ValueRule::kSequenceLabel, false};
constexpr Input Frames(const char* name) {
  return {name, ShapeRule::kFrames, TypeRule::kFloating, ValueRule::kAny, false};
}
constexpr Input kInputLengths = {"input_lengths", ShapeRule::kInputLengths, TypeRule::kLabel,
                                 ValueRule::kLength, false};
constexpr Input kLabelLengths = {"label_lengths", ShapeRule::kLabelLengths, TypeRule::kLabel,
                                 ValueRule::kLength, false};
constexpr Input kLogProbsInputs[] = {Frames("log_probs"), kLabels, kInputLengths, kLabelLengths};
constexpr Input kLogitsInputs[] = {Frames("logits"), kLabels, kInputLengths, kLabelLengths};

template <template <class> class Formula>
constexpr Signature SignatureOf(TableSpan<Input> inputs) {
  Signature signature = {inputs, ItemKind::kSample, Sequences<Formula>()};
  signature.pooling = {lossd::ctc::Always, Sequences<Formula>(), lossd::ctc::Report, nullptr};
  return signature;
}
constexpr Signature kSignatures[] = {SignatureOf<LogProbs>(kLogProbsInputs),
                                     SignatureOf<Logits>(kLogitsInputs)};

constexpr Parameter kParameters[] = {
    {"blank", ParameterType::kInt64, 0, 0, 2147483647, false, "the class of the blank, below C"},
    {"zero_infinity", ParameterType::kBool, 0, 0, 1, false,
     "an infinite item, for labels that no alignment can give, counts as 0"},
    {"time_major", ParameterType::kBool, 0, 0, 1, false, "the frames come as [T,N,C]"}};

constexpr LossRow kRows[] = {
    {"ctc", "classification", "connectionist temporal classification",
     "-log of the sum over alignments of the product over frames of p_t(class); MEAN first divides "
     "by max(1, label length)",
     "Graves et al. 2006; torch.nn.functional.ctc_loss", kParameters, kSignatures},
};

}  // namespace ctc

LossTable CtcTable() { return {HWY_TARGET, ctc::kRows}; }

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE

namespace lossd {

HWY_EXPORT(CtcTable);
LossTable CtcTable() { return HWY_DYNAMIC_DISPATCH(CtcTable)(); }

}  // namespace lossd

#endif  // HWY_ONCE
