// Loops over pairs of boxes of four numbers, a pair a lane.
//
// A formula is a struct of two functions, on vectors of tag D, a pair of boxes a lane:
//
//   struct Iou {
//     template <class D, class V> static V Item(D d, const BoxPair<V>& pair);
//     // Optional: the pairs that Item may take in f32, beyond what FitsF32 asks.
//     template <class D, class V> static auto FitsF32(D d, const BoxPair<V>& pair);
//     // d item / d of what BoxPartials names; what stays untouched is 0.
//     template <class D, class V> static void Partials(D d, const BoxPair<V>& pair,
//                                                      BoxPartials<V>* partials);
//   };
//
// Items of f32 are computed in f32: every length is a difference of coordinates, or off by
// roundings of the lengths, so no digits are lost far from the origin, and sums are of one sign. A
// pair whose areas could leave the range of f32, or that is not finite, is computed in f64 and
// rounded once: which it is hangs on the pair alone. Gradients are computed in f64. Boxes of f64
// whose coordinates would overflow when squared, or vanish, are scaled by a power of two first.
//
// Thread-safety: pure functions. Ownership: none.
#if defined(LOSSD_LIB_FORMS_BOXES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef LOSSD_LIB_FORMS_BOXES_INL_H_
#undef LOSSD_LIB_FORMS_BOXES_INL_H_
#else
#define LOSSD_LIB_FORMS_BOXES_INL_H_
#endif

#include <cstring>
#include <limits>

#include "hwy/highway.h"
#include "lib/forms/box_format.h"
#include "lib/forms/box_pair-inl.h"
#include "lib/forms/kernels.h"

HWY_BEFORE_NAMESPACE();
namespace lossd::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// The tag of the T that fill as many lanes as f64 has.
template <class T>
using BoxTag = hn::Rebind<T, hn::ScalableTag<double>>;

template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<double>> WidenLanes(hn::Vec<BoxTag<T>> v) {
  if constexpr (sizeof(T) == 4) {
    return hn::PromoteTo(hn::ScalableTag<double>(), v);
  } else {
    return v;
  }
}
template <class T>
HWY_INLINE hn::Vec<BoxTag<T>> NarrowLanes(hn::Vec<hn::ScalableTag<double>> v) {
  const BoxTag<T> d;
  hn::Vec<BoxTag<T>> narrow;
  if constexpr (sizeof(T) == 4) {
    narrow = hn::DemoteTo(d, v);
  } else {
    narrow = v;
  }
  return hn::IfThenElse(hn::Eq(narrow, narrow), narrow,
                        hn::Set(d, std::numeric_limits<T>::quiet_NaN()));
}

inline constexpr size_t kBoxLanes = hn::MaxLanes(hn::ScalableTag<double>());

// `count` boxes, at any address; lanes beyond them are 0.
template <class T>
HWY_INLINE BoxNumbers<hn::Vec<hn::ScalableTag<double>>> LoadBoxes(const T* boxes, size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[4 * kBoxLanes];
  if (HWY_UNLIKELY(count < kBoxLanes)) {
    std::memset(padded, 0, sizeof(padded));
    std::memcpy(padded, boxes, 4 * count * sizeof(T));
    boxes = padded;
  }
  hn::Vec<BoxTag<T>> a, b, c, e;
  hn::LoadInterleaved4(d, boxes, a, b, c, e);
  return {{WidenLanes<T>(a), WidenLanes<T>(b), WidenLanes<T>(c), WidenLanes<T>(e)}};
}

template <class T>
HWY_INLINE void StoreBoxes(const BoxNumbers<hn::Vec<hn::ScalableTag<double>>>& boxes, T* to,
                           size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[4 * kBoxLanes];
  T* const all = count < kBoxLanes ? padded : to;
  hn::StoreInterleaved4(NarrowLanes<T>(boxes.n[0]), NarrowLanes<T>(boxes.n[1]),
                        NarrowLanes<T>(boxes.n[2]), NarrowLanes<T>(boxes.n[3]), d, all);
  if (HWY_UNLIKELY(count < kBoxLanes)) std::memcpy(to, padded, 4 * count * sizeof(T));
}

template <class T>
HWY_INLINE void StoreLanes(hn::Vec<hn::ScalableTag<double>> v, T* to, size_t count) {
  const BoxTag<T> d;
  const auto narrow = NarrowLanes<T>(v);
  if (HWY_LIKELY(count >= kBoxLanes)) {
    hn::StoreU(narrow, d, to);
    return;
  }
  HWY_ALIGN T padded[kBoxLanes];
  hn::Store(narrow, d, padded);
  std::memcpy(to, padded, count * sizeof(T));
}

template <class T>
HWY_INLINE hn::Vec<hn::ScalableTag<double>> LoadLanes(const T* from, size_t count) {
  const BoxTag<T> d;
  HWY_ALIGN T padded[kBoxLanes] = {};
  if (HWY_UNLIKELY(count < kBoxLanes)) {
    std::memcpy(padded, from, count * sizeof(T));
    from = padded;
  }
  return WidenLanes<T>(hn::LoadU(d, from));
}

// Gathers the signs of the sizes that go by. A box that breaks its rule, and few others, sets one.
template <class D>
class SizeSigns {
 public:
  using V = hn::Vec<D>;

  HWY_INLINE SizeSigns() : signs_(hn::Zero(D())) {}
  HWY_INLINE void Add(V a, V b) { signs_ = hn::Or(signs_, hn::Or(a, b)); }
  // The sizes of boxes as their rule has them: before anything is scaled.
  HWY_INLINE void AddBoxes(BoxFormat format, const BoxNumbers<V>& boxes) {
    if (format == BoxFormat::kXyxy) {
      Add(hn::Sub(boxes.n[2], boxes.n[0]), hn::Sub(boxes.n[3], boxes.n[1]));
    } else {
      Add(boxes.n[2], boxes.n[3]);
    }
  }
  HWY_INLINE void Report(bool* suspect) const {
    const hn::RebindToSigned<D> d;
    const auto negative = hn::Lt(hn::BitCast(d, signs_), hn::Zero(d));
    if (suspect != nullptr) *suspect = !hn::AllFalse(d, negative);
  }

 private:
  V signs_;
};

// Pairs of boxes in their format, scaled where they must be.
template <class T>
class BoxPairs {
 public:
  using D = hn::ScalableTag<double>;
  using V = hn::Vec<D>;

  BoxPairs(BoxFormat format, double eps) : format_(format), eps_(eps) {}

  // `scale` gets the power of two that the coordinates were multiplied by.
  HWY_INLINE BoxPair<V> Load(const RowBlock<T>& block, size_t row, size_t count, V* scale,
                             SizeSigns<D>* signs) const {
    const D d;
    BoxNumbers<V> p = LoadBoxes(block.operands[0] + 4 * row, count);
    BoxNumbers<V> t = LoadBoxes(block.operands[1] + 4 * row, count);
    signs->AddBoxes(format_, p);
    signs->AddBoxes(format_, t);
    V eps = hn::Set(d, eps_);
    *scale = hn::Set(d, 1.0);
    if constexpr (sizeof(T) == 8) Scale(&p, &t, scale, &eps);
    return BoxPair<V>(d, format_, p, t, eps, hn::Set(d, eps_));
  }

  BoxFormat format() const { return format_; }

 private:
  // Squares of coordinates up to 2^500, and sums of a few of them, are finite; those of 2^-450 and
  // above still have neighbours a millionth of them apart.
  static constexpr double kHuge = 0x1p500, kTiny = 0x1p-450;
  static constexpr double kShrink = 0x1p-525, kGrow = 0x1p500;

  // eps is an area or a square. It stays above 0 where it is, and finite.
  static double ScaledEps(double eps, double scale) {
    constexpr double kMost = 0x1p1000;
    const double scaled = (eps < kMost ? eps : kMost) * scale * scale;
    if (scaled == 0 && eps > 0) return std::numeric_limits<double>::denorm_min();
    return scaled < kMost ? scaled : kMost;
  }

  HWY_INLINE void Scale(BoxNumbers<V>* p, BoxNumbers<V>* t, V* scale, V* eps) const {
    const D d;
    V largest = hn::Zero(d);
    for (int i = 0; i < 4; ++i) {
      largest = Larger(hn::Abs(p->n[i]), Larger(hn::Abs(t->n[i]), largest));
    }
    const auto huge = hn::Gt(largest, hn::Set(d, kHuge));
    const auto tiny = hn::Lt(largest, hn::Set(d, kTiny));
    *scale =
        hn::IfThenElse(huge, hn::Set(d, kShrink), hn::IfThenElse(tiny, hn::Set(d, kGrow), *scale));
    *eps = hn::IfThenElse(
        huge, hn::Set(d, ScaledEps(eps_, kShrink)),
        hn::IfThenElse(tiny, hn::Set(d, ScaledEps(eps_, kGrow)), hn::Set(d, ScaledEps(eps_, 1))));
    for (int i = 0; i < 4; ++i) {
      p->n[i] = hn::Mul(p->n[i], *scale);
      t->n[i] = hn::Mul(t->n[i], *scale);
    }
  }

  const BoxFormat format_;
  const double eps_;
};

// The parameters of a box loss are its format and eps.
inline BoxFormat FormatOf(const double* parameters) {
  return static_cast<BoxFormat>(static_cast<int>(parameters[0]));
}
template <class T>
BoxPairs<T> PairsOf(const double* parameters) {
  return BoxPairs<T>(FormatOf(parameters), parameters[1]);
}

template <class Formula, class T>
void RunWideBoxes(const double* parameters, const RowBlock<T>& block, T* items) {
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const BoxPairs<T> pairs = PairsOf<T>(parameters);
  SizeSigns<hn::ScalableTag<double>> signs;
  for (size_t row = 0; row < block.rows; row += kBoxLanes) {
    const size_t count = HWY_MIN(block.rows - row, kBoxLanes);
    V scale;
    const BoxPair<V> pair = pairs.Load(block, row, count, &scale, &signs);
    const V item = Formula::Item(d, pair);
    StoreLanes(hn::IfThenElse(HasPlace(pair), item, hn::NaN(d)), items + row, count);
  }
  signs.Report(block.suspect);
}

using NarrowTag = hn::ScalableTag<float>;
using Narrow = hn::Vec<NarrowTag>;
inline constexpr size_t kNarrowLanes = hn::MaxLanes(NarrowTag());

// Boxes in the order of NarrowOrder, at any address: a box fills a block of 128 bits, and four
// vectors of them are transposed block by block, without a shuffle across.
HWY_INLINE BoxNumbers<Narrow> LoadNarrowBoxes(const float* boxes) {
  const NarrowTag d;
  const hn::RepartitionToWide<NarrowTag> d2;
  const Narrow a = hn::LoadU(d, boxes), b = hn::LoadU(d, boxes + kNarrowLanes);
  const Narrow c = hn::LoadU(d, boxes + 2 * kNarrowLanes);
  const Narrow e = hn::LoadU(d, boxes + 3 * kNarrowLanes);
  const auto first = hn::BitCast(d2, hn::InterleaveLower(d, a, b));
  const auto second = hn::BitCast(d2, hn::InterleaveLower(d, c, e));
  const auto third = hn::BitCast(d2, hn::InterleaveUpper(d, a, b));
  const auto fourth = hn::BitCast(d2, hn::InterleaveUpper(d, c, e));
  return {{hn::BitCast(d, hn::InterleaveLower(d2, first, second)),
           hn::BitCast(d, hn::InterleaveUpper(d2, first, second)),
           hn::BitCast(d, hn::InterleaveLower(d2, third, fourth)),
           hn::BitCast(d, hn::InterleaveUpper(d2, third, fourth))}};
}

// The lane of each box.
HWY_INLINE auto NarrowOrder() {
  constexpr size_t kBlocks = kNarrowLanes / 4;
  HWY_ALIGN int32_t lanes[kNarrowLanes];
  for (size_t box = 0; box < kNarrowLanes; ++box) {
    lanes[box] = static_cast<int32_t>(4 * (box % kBlocks) + box / kBlocks);
  }
  return hn::SetTableIndices(NarrowTag(), lanes);
}

// Whether f32 does for a pair: all is finite, squares of the hull's sizes are far from an overflow,
// and what goes above the fraction of an IoU is not so small that its digits end above those of
// f32.
HWY_INLINE hn::Mask<NarrowTag> FitsF32(NarrowTag d, const BoxPair<Narrow>& pair) {
  const Narrow sizes = hn::Add(pair.x.Extent(), pair.y.Extent());
  return hn::And(hn::Le(sizes, hn::Set(d, 0x1p60f)),
                 hn::Ge(hn::Add(pair.outside, pair.eps), hn::Set(d, 0x1p-100f)));
}

// eps is added to areas, which FitsF32 keeps below this.
inline constexpr double kMostNarrowEps = 0x1p120;

// Boxes ahead that are fetched into the second-level cache, 16 KB of either operand.
inline constexpr size_t kBoxesAhead = 1024;

// kNarrowLanes boxes, kBoxesAhead of `boxes`.
HWY_INLINE void PrefetchBoxes(const float* boxes) {
  constexpr size_t kLine = 64;
  const char* const ahead = reinterpret_cast<const char*>(boxes + 4 * kBoxesAhead);
  for (size_t at = 0; at < 4 * kNarrowLanes * sizeof(float); at += kLine) {
    __builtin_prefetch(ahead + at, /*rw=*/0, /*locality=*/2);
  }
}

// Items of f32, kNarrowLanes of them.
template <class Formula, BoxFormat kFormat>
class NarrowBoxes {
 public:
  explicit NarrowBoxes(const double* parameters)
      : parameters_(parameters), eps_(static_cast<float>(parameters[1])), order_(NarrowOrder()) {}

  HWY_INLINE void Run(const float* predictions, const float* targets, float* items,
                      SizeSigns<NarrowTag>* signs) const {
    const NarrowTag d;
    const Narrow eps = hn::Set(d, eps_);
    const BoxPair<Narrow> pair(d, kFormat, LoadNarrowBoxes(predictions), LoadNarrowBoxes(targets),
                               eps, eps);
    signs->Add(pair.x.prediction, pair.y.prediction);
    signs->Add(pair.x.target, pair.y.target);
    auto fits = FitsF32(d, pair);
    if constexpr (requires { Formula::FitsF32(d, pair); }) {
      fits = hn::And(fits, Formula::FitsF32(d, pair));
    }
    Narrow item = hn::TableLookupLanes(Formula::Item(d, pair), order_);
    if (HWY_UNLIKELY(!hn::AllTrue(d, fits))) {
      HWY_ALIGN float wide[kNarrowLanes];
      RunWide(predictions, targets, wide);
      fits = hn::MaskFromVec(hn::TableLookupLanes(hn::VecFromMask(d, fits), order_));
      item = hn::IfThenElse(fits, item, hn::Load(d, wide));
    }
    hn::StoreU(item, d, items);
  }

 private:
  HWY_NOINLINE void RunWide(const float* predictions, const float* targets, float* items) const {
    RowBlock<float> block;
    block.rows = kNarrowLanes;
    block.operands[0] = predictions;
    block.operands[1] = targets;
    RunWideBoxes<Formula>(parameters_, block, items);
  }

  const double* const parameters_;
  const float eps_;
  const decltype(NarrowOrder()) order_;
};

template <class Formula, BoxFormat kFormat>
void RunNarrowBoxesOf(const double* parameters, const RowBlock<float>& block, float* items) {
  const NarrowBoxes<Formula, kFormat> boxes(parameters);
  const float* const predictions = block.operands[0];
  const float* const targets = block.operands[1];
  SizeSigns<NarrowTag> signs;
  size_t row = 0;
  for (; row + kNarrowLanes <= block.rows; row += kNarrowLanes) {
    PrefetchBoxes(predictions + 4 * row);
    PrefetchBoxes(targets + 4 * row);
    boxes.Run(predictions + 4 * row, targets + 4 * row, items + row, &signs);
  }
  if (row < block.rows) {
    const size_t count = block.rows - row;
    float padded[2][4 * kNarrowLanes] = {};
    float rest[kNarrowLanes];
    std::memcpy(padded[0], predictions + 4 * row, 4 * count * sizeof(float));
    std::memcpy(padded[1], targets + 4 * row, 4 * count * sizeof(float));
    boxes.Run(padded[0], padded[1], rest, &signs);
    std::memcpy(items + row, rest, count * sizeof(float));
  }
  signs.Report(block.suspect);
}

template <class Formula>
void RunNarrowBoxes(const double* parameters, const RowBlock<float>& block, float* items) {
  switch (FormatOf(parameters)) {
    case BoxFormat::kXyxy:
      return RunNarrowBoxesOf<Formula, BoxFormat::kXyxy>(parameters, block, items);
    case BoxFormat::kXywh:
      return RunNarrowBoxesOf<Formula, BoxFormat::kXywh>(parameters, block, items);
    case BoxFormat::kCxcywh:
      return RunNarrowBoxesOf<Formula, BoxFormat::kCxcywh>(parameters, block, items);
  }
}

template <class Formula, class T>
void RunBoxes(const double* parameters, const RowBlock<T>& block, T* items, uint8_t*) {
  if constexpr (sizeof(T) == 4) {
    // A larger eps is not one of f32.
    if (parameters[1] <= kMostNarrowEps) return RunNarrowBoxes<Formula>(parameters, block, items);
  }
  RunWideBoxes<Formula>(parameters, block, items);
}

template <class Formula, class T>
void RunBoxGradients(const double* parameters, const RowBlock<T>& block, const T* scales,
                     T* const* gradients) {
  if (gradients[0] == nullptr) return;
  const hn::ScalableTag<double> d;
  using V = hn::Vec<decltype(d)>;
  const BoxPairs<T> pairs = PairsOf<T>(parameters);
  SizeSigns<hn::ScalableTag<double>> signs;
  for (size_t row = 0; row < block.rows; row += kBoxLanes) {
    const size_t count = HWY_MIN(block.rows - row, kBoxLanes);
    V scale;
    const BoxPair<V> pair = pairs.Load(block, row, count, &scale, &signs);
    const V zero = hn::Zero(d);
    BoxPartials<V> partials = {zero, zero, zero, zero, zero, zero, zero, zero};
    Formula::Partials(d, pair, &partials);
    BoxNumbers<V> gradient = GradientOf(d, pairs.format(), pair, partials);
    const V item_scale = LoadLanes(scales + row, count);
    const V factor = hn::Mul(item_scale, scale);
    const auto flows = hn::Ne(item_scale, zero);
    const auto has_place = HasPlace(pair);
    for (V& g : gradient.n) {
      const V scaled = hn::IfThenElse(has_place, hn::Mul(g, factor), hn::NaN(d));
      g = hn::IfThenElseZero(flows, scaled);
    }
    StoreBoxes(gradient, gradients[0] + 4 * row, count);
  }
}

// The kernels of a formula with one item a pair of boxes: operand 0 the predictions, 1 the targets.
template <class Formula>
constexpr Kernels Boxes() {
  Kernels kernels;
  kernels.rows.f32 = RunBoxes<Formula, float>;
  kernels.rows.f64 = RunBoxes<Formula, double>;
  kernels.rows.gradient_f32 = RunBoxGradients<Formula, float>;
  kernels.rows.gradient_f64 = RunBoxGradients<Formula, double>;
  kernels.rows.gradients = 1;
  kernels.rows.checks = true;
  return kernels;
}

}  // namespace lossd::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // include guard
