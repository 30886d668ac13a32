// Connectionist temporal classification: the probability of a label sequence under frames of class
// probabilities, summed over all alignments, and its gradient.
//
// An alignment puts one class to each frame; it reads as a label sequence once equal neighbours are
// merged and blanks dropped. The states of the recursion are the labels l_0 .. l_{S-1} and the
// blanks before, between and after them: blank i stands before label i, blank S at the end. In log
// space, with x_t the log-probabilities of frame t, and o the sum of exponentials under a
// logarithm:
//
//   u(i)         = blank_t(i) o label_t(i - 1)
//   blank_t+1(i) = u(i) + x_t(blank)
//   label_t+1(i) = (label_t(i) o (l_i != l_{i-1} ? u(i) : blank_t(i))) + x_t(l_i)
//
// so a pair of states takes two exponentials and two logarithms. States of either kind lie side by
// side, a lane each: an item's bits depend on nothing else. All of it is f64, f32 inputs too: over
// thousands of frames f32 would lose the digits that it should return. The sums of a softmax are of
// the type of the logits.
//
// A formula gives the log-probabilities of a frame:
//
//   template <class T> struct Logits {
//     Logits(const T* frame, size_t classes);
//     double LogProb(T x) const;
//     // scale * d item / d frame for the classes that neither are labels nor the blank.
//     void OtherGradients(const T* frame, size_t classes, double scale, T* gradients) const;
//     // Whether the probabilities of a frame add up to 1, so that no item is below 0.
//     static constexpr bool kNormalised;
//   };
//
// d item / d x_t(c) is -posterior_t(c), the probability that frame t has class c given the label
// sequence; through a softmax it is p_t(c) - posterior_t(c).
//
// Thread-safety: pure functions. Ownership: none; scratch is the caller's.
#if defined(LOSSD_LIB_FORMS_CTC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_CTC_INL_H_
#undef LOSSD_LIB_FORMS_CTC_INL_H_
#else
#define LOSSD_LIB_FORMS_CTC_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/kernels.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

inline constexpr double kLogZero = -std::numeric_limits<double>::infinity();

// log(exp(a) + exp(b)). -inf is log 0; a NaN stays.
template <class D, class V>
HWY_INLINE V LogAdd(D d, V a, V b) {
  const auto above = hn::Gt(a, b);
  const V high = hn::IfThenElse(above, a, b);
  const V low = hn::IfThenElse(above, b, a);
  // Equal ones, -inf among them, have no distance to subtract.
  const V distance = hn::IfThenZeroElse(hn::Eq(a, b), hn::Sub(high, low));
  return hn::Add(high, Log1pExpNeg(d, distance));
}

// A vector of states from `i` on, those from `n` on at log 0.
template <class D, class V>
HWY_INLINE V StatesBelow(D d, V v, size_t i, size_t n) {
  const size_t count = n > i ? HWY_MIN(n - i, hn::Lanes(d)) : 0;
  return hn::IfThenElse(hn::FirstN(d, count), v, hn::Set(d, kLogZero));
}

// The log-probabilities of the labels and of the blank at one frame.
template <class Formula, class T>
HWY_INLINE double ReadLogProbs(const Formula& formula, const SequenceBlock<T>& block,
                               const T* frame, size_t blank, double* labels) {
  for (size_t i = 0; i < block.label_count; ++i) {
    labels[i] = formula.LogProb(LoadScalar(frame + block.labels[i]));
  }
  return formula.LogProb(LoadScalar(frame + blank));
}

// One frame on: from the states `from` to the states `to`, which may be the same. From the last
// state to the first, so that what is read has not been overwritten.
HWY_INLINE void AdvanceFrame(const SequenceStates& from, const SequenceStates& to,
                             const double* changes, const double* log_probs, double blank) {
  const hn::ScalableTag<double> d;
  const size_t labels = from.label_count;
  for (size_t i = from.padded; i > 0;) {
    i -= hn::Lanes(d);
    const auto blanks = hn::LoadU(d, from.blanks + i);
    const auto u = LogAdd(d, blanks, hn::LoadU(d, from.labels + i - 1));
    const auto changed = hn::Ne(hn::LoadU(d, changes + i), hn::Zero(d));
    const auto label = LogAdd(d, hn::LoadU(d, from.labels + i), hn::IfThenElse(changed, u, blanks));
    hn::StoreU(StatesBelow(d, hn::Add(label, hn::LoadU(d, log_probs + i)), i, labels), d,
               to.labels + i);
    hn::StoreU(StatesBelow(d, hn::Add(u, hn::Set(d, blank)), i, labels + 1), d, to.blanks + i);
  }
  to.labels[-1] = kLogZero;
}

// One frame back: `states` holds the log-probability of what follows frame t for each state at t,
// and then of what follows frame t - 1.
HWY_INLINE void RetreatFrame(const SequenceStates& states, const double* changes,
                             const double* log_probs, double blank, double* here) {
  const hn::ScalableTag<double> d;
  const size_t labels = states.label_count;
  // here[i]: blank i and what follows. Its own frame is in it from now on.
  for (size_t i = 0; i < states.padded; i += hn::Lanes(d)) {
    const auto blanks = hn::Add(hn::LoadU(d, states.blanks + i), hn::Set(d, blank));
    const auto label = hn::Add(hn::LoadU(d, states.labels + i), hn::LoadU(d, log_probs + i));
    hn::StoreU(StatesBelow(d, blanks, i, labels + 1), d, here + i);
    hn::StoreU(StatesBelow(d, label, i, labels), d, states.labels + i);
  }
  for (size_t i = 0; i < states.padded; i += hn::Lanes(d)) {
    const auto u = LogAdd(d, hn::LoadU(d, here + i), hn::LoadU(d, states.labels + i));
    hn::StoreU(StatesBelow(d, u, i, labels + 1), d, states.blanks + i);
  }
  for (size_t i = 0; i < states.padded; i += hn::Lanes(d)) {
    const auto changed = hn::Ne(hn::LoadU(d, changes + i + 1), hn::Zero(d));
    const auto next =
        hn::IfThenElse(changed, hn::LoadU(d, states.blanks + i + 1), hn::LoadU(d, here + i + 1));
    const auto label = LogAdd(d, hn::LoadU(d, states.labels + i), next);
    hn::StoreU(StatesBelow(d, label, i, labels), d, states.labels + i);
  }
}

template <class Formula, class T>
void AdvanceSequence(const double* parameters, const SequenceBlock<T>& block, double* scratch,
                     double* states, size_t pitch) {
  const size_t blank = static_cast<size_t>(parameters[kSequenceBlank]);
  for (size_t t = 0; t < block.count; ++t) {
    const T* frame = block.frames + t * block.stride;
    const Formula formula(frame, block.classes);
    const double of_blank = ReadLogProbs(formula, block, frame, blank, scratch);
    const SequenceStates from(states + t * pitch, block.label_count);
    const SequenceStates to(states + (pitch == 0 ? 0 : (t + 1) * pitch), block.label_count);
    AdvanceFrame(from, to, block.changes, scratch, of_blank);
  }
}

template <class Formula, class T>
T FinishSequence(const double* parameters, double* states, size_t label_count, double* log_total) {
  const hn::CappedTag<double, 1> d;
  const SequenceStates last(states, label_count);
  const auto blank = hn::Set(d, last.blanks[label_count]);
  // labels[-1] is log 0.
  const auto label = hn::Set(d, last.labels[static_cast<ptrdiff_t>(label_count) - 1]);
  *log_total = hn::GetLane(LogAdd(d, blank, label));
  double item = 0 - *log_total;
  // What rounding left below the least value that there is.
  if (Formula::kNormalised && item < 0) item = 0;
  const T rounded = static_cast<T>(item);
  if (rounded != rounded) return QuietNan<T>();
  const bool infinite = rounded == std::numeric_limits<T>::infinity();
  return infinite && parameters[kSequenceZeroInfinity] != 0 ? T(0) : rounded;
}

// posterior[i] of the states of one kind; their sum in 8 lanes and one tree.
HWY_INLINE double Posteriors(const double* before, const double* after, size_t padded, size_t n,
                             double log_total, double* posterior) {
  const hn::ScalableTag<double> d;
  HWY_ALIGN double lanes[kSequencePad] = {};
  for (size_t i = 0; i < padded; i += hn::Lanes(d)) {
    const auto both = hn::Add(hn::LoadU(d, before + i), hn::LoadU(d, after + i));
    const auto share = Exp(d, StatesBelow(d, hn::Sub(both, hn::Set(d, log_total)), i, n));
    hn::StoreU(share, d, posterior + i);
    double* const sums = lanes + i % kSequencePad;
    hn::Store(hn::Add(hn::Load(d, sums), share), d, sums);
  }
  const double left = (lanes[0] + lanes[4]) + (lanes[2] + lanes[6]);
  const double right = (lanes[1] + lanes[5]) + (lanes[3] + lanes[7]);
  return left + right;
}

// p - posterior, or -posterior without a softmax, times the scale.
template <class Formula, class T>
HWY_INLINE void StoreClassGradient(double probability, double posterior, double scale, T* out) {
  const double derivative = (Formula::kNormalised ? probability : 0.0) - posterior;
  T gradient = static_cast<T>(scale * derivative);
  if (gradient != gradient) gradient = QuietNan<T>();
  std::memcpy(out, &gradient, sizeof(T));
}

// The gradients of one frame.
template <class Formula, class T>
HWY_INLINE void FrameGradients(const SequenceBlock<T>& block, const SequenceGradient<T>& gradient,
                               const SequenceStates& before, const double* log_probs,
                               double* probabilities, double* posterior, T* out) {
  const hn::ScalableTag<double> d;
  const SequenceStates after(gradient.after, block.label_count);
  Posteriors(before.labels, after.labels, before.padded, block.label_count, gradient.log_total,
             posterior);
  // A class that several labels share has the sum of their shares, in their order.
  for (size_t i = 0; i < block.label_count; ++i) {
    if (block.first_alike[i] != i) posterior[block.first_alike[i]] += posterior[i];
  }
  for (size_t i = 0; i < before.padded && Formula::kNormalised; i += hn::Lanes(d)) {
    hn::StoreU(Exp(d, hn::LoadU(d, log_probs + i)), d, probabilities + i);
  }
  for (size_t i = 0; i < block.label_count; ++i) {
    if (block.first_alike[i] != i) continue;
    StoreClassGradient<Formula>(probabilities[i], posterior[i], gradient.scale,
                                out + block.labels[i]);
  }
}

template <class Formula, class T>
void RetreatSequence(const double* parameters, const SequenceBlock<T>& block, double* scratch,
                     const SequenceGradient<T>& gradient) {
  const size_t blank = static_cast<size_t>(parameters[kSequenceBlank]);
  const SequenceStates after(gradient.after, block.label_count);
  double* const log_probs = scratch;
  double* const probabilities = log_probs + after.padded;
  double* const posterior = probabilities + after.padded;
  for (size_t t = block.count; t-- > 0;) {
    const T* frame = block.frames + t * block.stride;
    T* out = gradient.gradients + t * gradient.stride;
    const Formula formula(frame, block.classes);
    const double of_blank = ReadLogProbs(formula, block, frame, blank, log_probs);
    const SequenceStates before(gradient.table + (t + 1) * gradient.pitch, block.label_count);
    formula.OtherGradients(frame, block.classes, gradient.scale, out);
    const double blank_posterior = Posteriors(before.blanks, after.blanks, after.padded,
                                              block.label_count + 1, gradient.log_total, posterior);
    StoreClassGradient<Formula>(ScalarExp(of_blank), blank_posterior, gradient.scale, out + blank);
    FrameGradients<Formula>(block, gradient, before, log_probs, probabilities, posterior, out);
    RetreatFrame(after, block.changes, log_probs, of_blank, posterior);
  }
}

// The kernels of a formula.
template <template <class> class Formula>
constexpr Kernels Sequences() {
  Kernels kernels;
  kernels.sequences.f32 = {AdvanceSequence<Formula<float>, float>,
                           FinishSequence<Formula<float>, float>,
                           RetreatSequence<Formula<float>, float>};
  kernels.sequences.f64 = {AdvanceSequence<Formula<double>, double>,
                           FinishSequence<Formula<double>, double>,
                           RetreatSequence<Formula<double>, double>};
  kernels.sequences.gradients = 1;
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
