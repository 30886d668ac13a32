// The mask form's kernels around a formula: reading probabilities out of logits, the loops over
// classes and positions, and the layout of the sums.
//
// A formula is a struct template over the compute type:
//
//   template <class T> struct Overlap {
//     static constexpr int kSums = 2;
//     explicit Overlap(const double* parameters);
//     // terms[k], of a position and a class: its probability p, q = 1 - p, and target g.
//     template <class D, class V> void Terms(D d, V p, V q, V g, V* terms) const;
//     // sum over k of partials[k] * d terms[k] / d p.
//     template <class D, class V> V Slope(D d, V p, V q, V g, const T* partials) const;
//   };
//
// q keeps the digits that 1 - p would lose: it is the sigmoid of -x, or the sum of the other
// classes of a softmax. Where there are labels, g is 1 for the class of the label and 0 for the
// others, and q is given for that class; for the others it is multiplied by 0 alone.
#if defined(LOSSD_LIB_FORMS_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_MASK_INL_H_
#undef LOSSD_LIB_FORMS_MASK_INL_H_
#else
#define LOSSD_LIB_FORMS_MASK_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/elementwise-inl.h"
#include "lib/forms/kernels.h"
#include "lib/forms/mask_kernels.h"
#include "lib/forms/math-inl.h"
#include "lib/forms/rowwise-inl.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// Exponentials of a softmax that are added one after the other, before their sum is added to the
// total: it keeps the error of thousands of classes to a few units.
inline constexpr size_t kClassGroup = 16;

// What a kernel knows of at most kMaskGroup positions.
template <class T>
class MaskGroup {
 public:
  using D = hn::ScalableTag<T>;
  using DI = hn::RebindToSigned<D>;
  using V = hn::Vec<D>;
  using TI = hn::TFromD<DI>;

  explicit MaskGroup(const MaskBlock<T>& block) : block_(block), p_(block.scratch) {}

  // Reads positions [start, start + n) of the block, n <= kMaskGroup.
  template <class Activation>
  void Read(size_t start, size_t n) {
    start_ = start;
    n_ = n;
    if (block_.labels != nullptr) {
      for (size_t i = 0; i < n; ++i) label_[i] = static_cast<TI>(block_.labels[start + i]);
      for (size_t i = n; i < kMaskGroup; ++i) label_[i] = -1;
    } else {
      ForVectors([&](D d, size_t i, size_t count) HWY_ATTR {
        hn::Store(LoadClasses(d, block_.targets + start + i, count, T(0)), d, g_ + i);
      });
    }
    Activation::Fill(this);
    if (block_.ignored == nullptr) return;
    for (size_t i = 0; i < n; ++i) {
      if (block_.ignored[start + i] == 0) continue;
      // All terms become 0.
      for (size_t c = 0; c < block_.classes; ++c) p_[c * kMaskGroup + i] = 0;
      q_[i] = g_[i] = 0;
      label_[i] = -1;
    }
  }

  size_t n() const { return n_; }
  size_t start() const { return start_; }
  size_t classes() const { return block_.classes; }
  bool has_labels() const { return block_.labels != nullptr; }
  T* p(size_t c) { return p_ + c * kMaskGroup; }
  T* q() { return q_; }

  // Calls visit(d, i, count) for each vector of positions, `count` of them being there.
  template <class Visit>
  HWY_INLINE void ForVectors(const Visit& visit) const {
    const D d;
    for (size_t i = 0; i < n_; i += kVectorLanes<T>) visit(d, i, n_ - i);
  }
  // The predictions of a class; `fill` beyond the end.
  HWY_INLINE V Predictions(D d, size_t c, size_t i, size_t count, T fill) const {
    return LoadClasses(d, block_.predictions + c * block_.stride + start_ + i, count, fill);
  }
  HWY_INLINE hn::Mask<D> IsLabel(D d, size_t c, size_t i) const {
    const DI di;
    return hn::RebindMask(d, hn::Eq(hn::Load(di, label_ + i), hn::Set(di, static_cast<TI>(c))));
  }
  HWY_INLINE V P(D d, size_t c, size_t i) const { return hn::Load(d, p_ + c * kMaskGroup + i); }
  HWY_INLINE V Q(D d, size_t i) const { return hn::Load(d, q_ + i); }
  HWY_INLINE V G(D d, size_t c, size_t i) const {
    if (block_.labels == nullptr) return hn::Load(d, g_ + i);
    return hn::IfThenElseZero(IsLabel(d, c, i), hn::Set(d, T(1)));
  }

 private:
  const MaskBlock<T>& block_;
  T* const p_;
  size_t start_ = 0;
  size_t n_ = 0;
  alignas(64) T q_[kMaskGroup];
  alignas(64) T g_[kMaskGroup];
  alignas(64) TI label_[kMaskGroup];
};

// Probabilities as they are.
struct MaskProbs {
  template <class T>
  static void Fill(MaskGroup<T>* group) {
    const bool has_labels = group->has_labels();
    for (size_t c = 0; c < group->classes(); ++c) {
      group->ForVectors([&](auto d, size_t i, size_t count) HWY_ATTR {
        const auto p = group->Predictions(d, c, i, count, T(0));
        hn::Store(p, d, group->p(c) + i);
        const auto rest = hn::Sub(hn::Set(d, T(1)), p);
        if (!has_labels) {
          hn::Store(rest, d, group->q() + i);
        } else {
          const auto before = c == 0 ? hn::Zero(d) : group->Q(d, i);
          hn::Store(hn::IfThenElse(group->IsLabel(d, c, i), rest, before), d, group->q() + i);
        }
      });
    }
  }
  // d loss / d prediction of class c, from its slope d loss / d p.
  template <class T>
  static void Chain(MaskGroup<T>*, T*, size_t) {}
};

// The sigmoid of a logit.
struct MaskSigmoid {
  template <class T>
  static void Fill(MaskGroup<T>* group) {
    group->ForVectors([&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto x = group->Predictions(d, 0, i, count, T(0));
      const auto small = Sigmoid(d, hn::Neg(hn::Abs(x)));
      const auto large = hn::Sub(hn::Set(d, T(1)), small);  // at least a half: nothing is lost
      const auto negative = hn::Lt(x, hn::Zero(d));
      hn::Store(hn::IfThenElse(negative, small, large), d, group->p(0) + i);
      hn::Store(hn::IfThenElse(negative, large, small), d, group->q() + i);
    });
  }
  template <class T>
  static void Chain(MaskGroup<T>* group, T* slopes, size_t) {
    group->ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
      const auto slope = hn::Load(d, slopes + i);
      hn::Store(hn::Mul(hn::Mul(group->P(d, 0, i), group->Q(d, i)), slope), d, slopes + i);
    });
  }
};

// The softmax over the classes.
struct MaskSoftmax {
  template <class T>
  static void Fill(MaskGroup<T>* group) {
    constexpr T kLowest = -std::numeric_limits<T>::infinity();
    alignas(64) T largest[kMaskGroup];
    alignas(64) T total[kMaskGroup];
    T* const rest = group->q();
    for (size_t c = 0; c < group->classes(); ++c) {
      group->ForVectors([&](auto d, size_t i, size_t count) HWY_ATTR {
        const auto before = c == 0 ? hn::Set(d, kLowest) : hn::Load(d, largest + i);
        const auto x = group->Predictions(d, c, i, count, T(0));
        hn::Store(LargerUnlessNan(d, x, before), d, largest + i);
      });
    }
    for (size_t begin = 0; begin < group->classes(); begin += kClassGroup) {
      AddExponentials(group, begin, largest, total, rest);
    }
    group->ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
      const auto inverse = hn::Div(hn::Set(d, T(1)), hn::Load(d, total + i));
      hn::Store(inverse, d, total + i);
      hn::Store(hn::Mul(hn::Load(d, rest + i), inverse), d, rest + i);
    });
    for (size_t c = 0; c < group->classes(); ++c) {
      group->ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
        hn::Store(hn::Mul(group->P(d, c, i), hn::Load(d, total + i)), d, group->p(c) + i);
      });
    }
  }

  // d loss / d x_c = p_c (slope_c - sum_j p_j slope_j). For the class of the label it is formed as
  // p (q slope - sum of the others), which does not cancel where p is near 1.
  template <class T>
  static void Chain(MaskGroup<T>* group, T* slopes, size_t stride) {
    alignas(64) T others[kMaskGroup];
    alignas(64) T own[kMaskGroup];
    for (size_t c = 0; c < group->classes(); ++c) {
      group->ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
        const auto zero = hn::Zero(d);
        const auto part = hn::Mul(group->P(d, c, i), hn::Load(d, slopes + c * stride + i));
        const auto is_label = group->IsLabel(d, c, i);
        const auto others_before = c == 0 ? zero : hn::Load(d, others + i);
        const auto own_before = c == 0 ? zero : hn::Load(d, own + i);
        hn::Store(hn::Add(others_before, hn::IfThenZeroElse(is_label, part)), d, others + i);
        hn::Store(hn::IfThenElse(is_label, part, own_before), d, own + i);
      });
    }
    for (size_t c = 0; c < group->classes(); ++c) {
      group->ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
        const auto slope = hn::Load(d, slopes + c * stride + i);
        const auto sum = hn::Load(d, others + i);
        const auto of_label = hn::MulSub(group->Q(d, i), slope, sum);
        const auto of_other = hn::Sub(hn::Sub(slope, sum), hn::Load(d, own + i));
        const auto inner = hn::IfThenElse(group->IsLabel(d, c, i), of_label, of_other);
        hn::Store(hn::Mul(group->P(d, c, i), inner), d, slopes + c * stride + i);
      });
    }
  }

 private:
  // exp(x - largest) of the classes [begin, begin + kClassGroup), and their sum with and without
  // the class of the label.
  template <class T>
  static void AddExponentials(MaskGroup<T>* group, size_t begin, const T* largest, T* total,
                              T* rest) {
    const size_t end = HWY_MIN(begin + kClassGroup, group->classes());
    group->ForVectors([&](auto d, size_t i, size_t count) HWY_ATTR {
      const auto max = hn::Load(d, largest + i);
      auto sum = hn::Zero(d);
      auto sum_of_others = hn::Zero(d);
      for (size_t c = begin; c < end; ++c) {
        const auto e = ExpNonPositive(d, hn::Sub(group->Predictions(d, c, i, count, T(0)), max));
        hn::Store(e, d, group->p(c) + i);
        sum = hn::Add(sum, e);
        sum_of_others = hn::Add(sum_of_others, hn::IfThenZeroElse(group->IsLabel(d, c, i), e));
      }
      if (begin != 0) {
        sum = hn::Add(hn::Load(d, total + i), sum);
        sum_of_others = hn::Add(hn::Load(d, rest + i), sum_of_others);
      }
      hn::Store(sum, d, total + i);
      hn::Store(sum_of_others, d, rest + i);
    });
  }
};

// high + low + value, exactly but for what `low` rounds (Knuth's sum of two).
HWY_INLINE void AddTo(double value, MaskSum* sum) {
  const double high = sum->high + value;
  const double value_part = high - sum->high;
  sum->low += (sum->high - (high - value_part)) + (value - value_part);
  sum->high = high;
}

template <int kSum, class Formula, class T>
HWY_INLINE void AddGroup(const Formula& formula, const MaskGroup<T>& group, size_t c,
                         MaskSum* sums) {
  if constexpr (kSum < Formula::kSums) {
    const T sum = AddChunk<T>(group.n(), [&](auto d, size_t i, size_t, auto& out) HWY_ATTR {
      constexpr size_t kVectors = sizeof(out) / sizeof(out[0]);
      for (size_t k = 0; k < kVectors; ++k) {
        const size_t at = i + k * kVectorLanes<T>;
        hn::Vec<decltype(d)> terms[Formula::kSums];
        formula.Terms(d, group.P(d, c, at), group.Q(d, at), group.G(d, c, at), terms);
        out[k] = terms[kSum];
      }
    });
    AddTo(static_cast<double>(sum), &sums[kSum]);
    AddGroup<kSum + 1>(formula, group, c, sums);
  }
}

template <class Formula, class Activation, class T>
void RunMaskSums(const double* parameters, const MaskBlock<T>& block, MaskSum* sums) {
  const Formula formula(parameters);
  MaskGroup<T> group(block);
  for (size_t start = 0; start < block.n; start += kMaskGroup) {
    group.template Read<Activation>(start, HWY_MIN(block.n - start, kMaskGroup));
    for (size_t c = 0; c < block.classes; ++c) {
      AddGroup<0>(formula, group, c, sums + c * Formula::kSums);
    }
  }
}

template <class Formula, class Activation, class T>
void RunMaskTerms(const double* parameters, const MaskBlock<T>& block, T* terms, size_t stride) {
  const Formula formula(parameters);
  MaskGroup<T> group(block);
  for (size_t start = 0; start < block.n; start += kMaskGroup) {
    group.template Read<Activation>(start, HWY_MIN(block.n - start, kMaskGroup));
    for (size_t c = 0; c < block.classes; ++c) {
      T* const rows = terms + c * Formula::kSums * stride + start;
      group.ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
        hn::Vec<decltype(d)> values[Formula::kSums];
        formula.Terms(d, group.P(d, c, i), group.Q(d, i), group.G(d, c, i), values);
        for (size_t k = 0; k < Formula::kSums; ++k) {
          hn::StoreU(CanonicalNan(d, values[k]), d, rows + k * stride + i);
        }
      });
    }
  }
}

template <class Formula, class Activation, class T>
void RunMaskGradients(const double* parameters, const MaskBlock<T>& block, const T* partials,
                      const T* scales, T* gradients, size_t stride) {
  const Formula formula(parameters);
  MaskGroup<T> group(block);
  for (size_t start = 0; start < block.n; start += kMaskGroup) {
    const size_t n = HWY_MIN(block.n - start, kMaskGroup);
    group.template Read<Activation>(start, n);
    T* const rows = gradients + start;
    for (size_t c = 0; c < block.classes; ++c) {
      group.ForVectors([&](auto d, size_t i, size_t) HWY_ATTR {
        const auto slope = formula.Slope(d, group.P(d, c, i), group.Q(d, i), group.G(d, c, i),
                                         partials + c * Formula::kSums);
        hn::Store(slope, d, rows + c * stride + i);
      });
    }
    Activation::Chain(&group, rows, stride);
    for (size_t c = 0; c < block.classes; ++c) {
      group.ForVectors([&](auto d, size_t i, size_t count) HWY_ATTR {
        auto gradient = hn::Load(d, rows + c * stride + i);
        if (scales != nullptr)
          gradient = hn::Mul(LoadClasses(d, scales + start + i, count, T(0)), gradient);
        hn::Store(CanonicalNan(d, gradient), d, rows + c * stride + i);
      });
    }
    if (block.ignored == nullptr) continue;
    for (size_t i = 0; i < n; ++i) {
      if (block.ignored[start + i] == 0) continue;
      for (size_t c = 0; c < block.classes; ++c) rows[c * stride + i] = 0;
    }
  }
}

// The kernels of a formula; `loss` is that of a class, `constants` of MaskKernels.
template <template <class> class Formula, class Activation>
constexpr Kernels Mask(MaskLoss loss, int constants, bool pooled) {
  Kernels kernels;
  MaskKernels& masks = kernels.masks;
  masks.sum_f32 = RunMaskSums<Formula<float>, Activation, float>;
  masks.sum_f64 = RunMaskSums<Formula<double>, Activation, double>;
  masks.terms_f32 = RunMaskTerms<Formula<float>, Activation, float>;
  masks.terms_f64 = RunMaskTerms<Formula<double>, Activation, double>;
  masks.gradient_f32 = RunMaskGradients<Formula<float>, Activation, float>;
  masks.gradient_f64 = RunMaskGradients<Formula<double>, Activation, double>;
  masks.loss = loss;
  masks.sums = Formula<float>::kSums;
  masks.constants = constants;
  masks.pooled = pooled;
  masks.gradients = 1;
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
