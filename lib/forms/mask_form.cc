#include "lib/forms/mask_form.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

// Predictions that are read at a time: with their probabilities they stay in L2.
constexpr int64_t kMaxBufferedElements = 65536;
constexpr int64_t kMaxPositions = 4096;
constexpr auto kGroup = static_cast<int64_t>(kMaskGroup);
constexpr std::align_val_t kAlignment{64};

int64_t PositionsPerChunk(const FormCall& call) {
  const int64_t most =
      std::clamp<int64_t>(kMaxBufferedElements / call.classes, kGroup, kMaxPositions);
  return most / kGroup * kGroup;
}

int64_t UnitsPerBlock(const FormCall& call) {
  const auto most = static_cast<int64_t>(kBlockItems);
  if (call.kernels.masks.pooled) return std::min(PositionsPerChunk(call), most);
  return std::clamp<int64_t>(kMaxBufferedElements / std::max<int64_t>(call.width, 1), 1, most);
}

template <class T>
const MaskSumKernel<T>& SumKernelOf(const MaskKernels& kernels) {
  if constexpr (sizeof(T) == 4) return kernels.sum_f32;
  if constexpr (sizeof(T) == 8) return kernels.sum_f64;
}
template <class T>
const MaskTermKernel<T>& TermKernelOf(const MaskKernels& kernels) {
  if constexpr (sizeof(T) == 4) return kernels.terms_f32;
  if constexpr (sizeof(T) == 8) return kernels.terms_f64;
}
template <class T>
const MaskGradientKernel<T>& GradientKernelOf(const MaskKernels& kernels) {
  if constexpr (sizeof(T) == 4) return kernels.gradient_f32;
  if constexpr (sizeof(T) == 8) return kernels.gradient_f64;
}

}  // namespace

template <class T>
void MaskForm<T>::AlignedFree::operator()(T* p) const {
  ::operator delete[](p, kAlignment);
}

template <class T>
typename MaskForm<T>::Aligned MaskForm<T>::AllocateAligned(size_t n) {
  return Aligned(static_cast<T*>(::operator new[](n * sizeof(T), kAlignment)));
}

template <class T>
MaskForm<T>::MaskForm(const FormCall& call)
    : FormBase<T>(call, UnitsPerBlock(call), call.kernels.masks.pooled ? 0 : 1),
      positions_(call.kernels.masks.pooled ? call.units_per_sample : call.width / call.classes),
      capacity_(static_cast<size_t>(PositionsPerChunk(call))),
      scratch_(AllocateAligned(classes() * kMaskGroup)),
      partials_(AllocateFor<T>(sums())) {
  block_.classes = classes();
  block_.scratch = scratch_.get();
  if (pooled()) {
    pools_.stride = capacity_;
    pools_.count = sums();
    pools_.constants = call.parameters.data();
    pools_.constant_count = static_cast<size_t>(call.kernels.masks.constants);
  } else {
    sample_sums_.resize(sums());
    sums_of_units_.resize(static_cast<size_t>(this->max_units()) * sums());
  }
}

template <class T>
bool MaskForm<T>::IsIgnored(double value) const {
  return call_.ignore_index.has_value() && value == static_cast<double>(*call_.ignore_index);
}

template <class T>
absl::Status MaskForm<T>::ReadTargets(int64_t first, size_t n, const T* weights) {
  const Operand& operand = call_.operands[1];
  if (targets_ == nullptr) targets_ = AllocateFor<T>(capacity_);
  absl::Status s = this->ReadChecked(operand, first, n, targets_.get(), &block_.targets);
  if (!s.ok()) return s;
  if (!call_.ignore_index.has_value())
    return this->CheckValues(operand, block_.targets, first, n, weights);
  bool any_ignored = false;
  for (size_t i = 0; i < n; ++i) {
    T value;
    std::memcpy(&value, block_.targets + i, sizeof(T));
    const bool ignored = IsIgnored(static_cast<double>(value));
    ignored_[i] = ignored ? 1 : 0;
    any_ignored |= ignored;
    if (ignored || !(value < T(0) || value > T(1))) continue;
    if (weights != nullptr && weights[i] == T(0)) continue;
    return this->ValueError(operand, first + static_cast<int64_t>(i),
                            std::string(Describe(operand.values)) + " or ignore_index " +
                                std::to_string(*call_.ignore_index));
  }
  if (any_ignored) block_.ignored = ignored_.get();
  return absl::OkStatus();
}

template <class T>
absl::Status MaskForm<T>::ReadMaskLabels(int64_t first, size_t n, const T* weights) {
  if (labels_ == nullptr) labels_ = AllocateFor<int64_t>(capacity_);
  ReadLabels(call_.label_rows.view, first, n, labels_.get());
  bool any_ignored = false;
  for (size_t i = 0; i < n; ++i) {
    int64_t& label = labels_[i];
    const bool ignored = label == call_.ignore_index;
    const bool valid = label >= 0 && label < call_.classes;
    if (!ignored && !valid && (weights == nullptr || weights[i] != T(0)))
      return this->LabelError(call_.label_rows, first + static_cast<int64_t>(i));
    ignored_[i] = ignored ? 1 : 0;
    any_ignored |= ignored;
    if (!valid) label = 0;  // any class: the position is not used
  }
  if (any_ignored) block_.ignored = ignored_.get();
  block_.labels = labels_.get();
  return absl::OkStatus();
}

template <class T>
absl::Status MaskForm<T>::CopyPredictions(int64_t first, size_t n, size_t to) {
  const int64_t sample = first / positions_;
  for (size_t c = 0; c < classes(); ++c) {
    const int64_t row = sample * call_.classes + static_cast<int64_t>(c);
    T* const column = predictions_.get() + c * capacity_ + to;
    const T* values = nullptr;
    absl::Status s = this->ReadChecked(call_.operands[0], row * positions_ + first % positions_, n,
                                       column, &values);
    if (!s.ok()) return s;
    if (values != column) std::memcpy(column, values, n * sizeof(T));
  }
  return absl::OkStatus();
}

template <class T>
absl::Status MaskForm<T>::ReadPredictions(int64_t first, size_t n) {
  const Operand& operand = call_.operands[0];
  if (classes() == 1) {
    // Positions of all samples are one run.
    if (predictions_ == nullptr) predictions_ = AllocateFor<T>(capacity_);
    block_.stride = capacity_;
    return this->ReadChecked(operand, first, n, predictions_.get(), &block_.predictions);
  }
  const auto end = first + static_cast<int64_t>(n);
  if (this->InPlace(operand) && first / positions_ == (end - 1) / positions_) {
    const int64_t at = first / positions_ * call_.classes * positions_ + first % positions_;
    block_.predictions = reinterpret_cast<const T*>(operand.view.Run(at, 1, nullptr));
    block_.stride = static_cast<size_t>(positions_);
    return absl::OkStatus();
  }
  if (predictions_ == nullptr) predictions_ = AllocateFor<T>(classes() * capacity_);
  block_.predictions = predictions_.get();
  block_.stride = capacity_;
  if (positions_ > 1) {
    absl::Status s;
    for (int64_t at = first; at < end && s.ok();) {
      const int64_t run = std::min(end - at, positions_ - at % positions_);
      s = CopyPredictions(at, static_cast<size_t>(run), static_cast<size_t>(at - first));
      at += run;
    }
    return s;
  }
  // Samples of one position: rows of classes, which are turned.
  if (rows_ == nullptr) rows_ = AllocateFor<T>(classes() * capacity_);
  const T* rows = nullptr;
  absl::Status s =
      this->ReadChecked(operand, first * call_.classes, n * classes(), rows_.get(), &rows);
  for (size_t i = 0; i < n && s.ok(); ++i) {
    for (size_t c = 0; c < classes(); ++c) {
      std::memcpy(&predictions_[c * capacity_ + i], rows + i * classes() + c, sizeof(T));
    }
  }
  return s;
}

template <class T>
absl::Status MaskForm<T>::Read(int64_t first, size_t n, const T* weights) {
  if (ignored_ == nullptr) ignored_ = AllocateFor<uint8_t>(capacity_);
  block_.n = n;
  block_.ignored = nullptr;
  if (absl::Status s = ReadPredictions(first, n); !s.ok()) return s;
  return call_.label_rows.view ? ReadMaskLabels(first, n, weights) : ReadTargets(first, n, weights);
}

template <class T>
absl::Status MaskForm<T>::SumSample(int64_t sample, double* sums) {
  std::fill(sample_sums_.begin(), sample_sums_.end(), MaskSum());
  const int64_t begin = sample * positions_;
  for (int64_t at = 0; at < positions_;) {
    const int64_t n = std::min(positions_ - at, static_cast<int64_t>(capacity_));
    if (absl::Status s = Read(begin + at, static_cast<size_t>(n), nullptr); !s.ok()) return s;
    SumKernelOf<T>(call_.kernels.masks)(call_.parameters.data(), block_, sample_sums_.data());
    at += n;
  }
  for (size_t k = 0; k < sample_sums_.size(); ++k) {
    const MaskSum& sum = sample_sums_[k];
    // Where the sum is infinite, what was rounded off is NaN.
    sums[k] = std::isfinite(sum.high) ? sum.high + sum.low : sum.high;
  }
  return absl::OkStatus();
}

template <class T>
double MaskForm<T>::Loss(const double* sums, double scale, T* partials) {
  const MaskKernels& kernels = call_.kernels.masks;
  const auto per_class = static_cast<size_t>(kernels.sums);
  const auto count = static_cast<double>(call_.classes);
  double total = 0;
  for (size_t c = 0; c < classes(); ++c) {
    double of_class[kMaxMaskSums];
    total += kernels.loss(call_.parameters.data(), sums + c * per_class, of_class);
    for (size_t k = 0; k < per_class && partials != nullptr; ++k) {
      partials[c * per_class + k] = static_cast<T>(of_class[k] * scale / count);
    }
  }
  return total / count;
}

template <class T>
void MaskForm<T>::ComputeTerms() {
  if (terms_ == nullptr) terms_ = AllocateFor<T>(sums() * capacity_);
  TermKernelOf<T>(call_.kernels.masks)(call_.parameters.data(), block_, terms_.get(), capacity_);
}

template <class T>
absl::Status MaskForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  const T* weights = this->weights();
  if (pooled()) {
    if (absl::Status s = Read(first, this->n(), weights); !s.ok()) return s;
    ComputeTerms();
    pools_.terms = terms_.get();
    this->End(Upcoming(), block);
    block->pools = &pools_;
    block->ignored = block_.ignored;
    return absl::OkStatus();
  }
  for (size_t unit = 0; unit < this->n(); ++unit) {
    double* const sums_of_unit = sums_of_units_.data() + unit * sums();
    this->items_[0][unit] = 0;
    if (weights != nullptr && weights[unit] == T(0)) continue;
    absl::Status s = SumSample(first + static_cast<int64_t>(unit), sums_of_unit);
    if (!s.ok()) return s;
    const T item = static_cast<T>(Loss(sums_of_unit, 1, nullptr));
    this->items_[0][unit] = item == item ? item : std::numeric_limits<T>::quiet_NaN();
  }
  this->End(Upcoming(), block);
  return absl::OkStatus();
}

template <class T>
void MaskForm<T>::StoreGradients(int64_t first, const T* scales, std::byte* output) {
  if (gradients_ == nullptr) gradients_ = AllocateAligned(classes() * capacity_);
  GradientKernelOf<T>(call_.kernels.masks)(call_.parameters.data(), block_, partials_.get(), scales,
                                           gradients_.get(), capacity_);
  const auto end = first + static_cast<int64_t>(block_.n);
  for (int64_t at = first; at < end;) {
    const int64_t run =
        classes() == 1 ? end - at : std::min(end - at, positions_ - at % positions_);
    for (size_t c = 0; c < classes(); ++c) {
      const int64_t row = at / positions_ * call_.classes + static_cast<int64_t>(c);
      const int64_t to = row * positions_ + at % positions_;
      std::memcpy(output + static_cast<size_t>(to) * sizeof(T),
                  gradients_.get() + c * capacity_ + (at - first),
                  static_cast<size_t>(run) * sizeof(T));
    }
    at += run;
  }
}

template <class T>
absl::Status MaskForm<T>::RunSampleGradients(int64_t sample, const double* sums, T scale,
                                             std::byte* output) {
  const int64_t begin = sample * positions_;
  if (scale == T(0)) {
    const auto bytes = static_cast<size_t>(call_.width) * sizeof(T);
    std::memset(output + static_cast<size_t>(sample) * bytes, 0, bytes);
    return absl::OkStatus();
  }
  Loss(sums, static_cast<double>(scale), partials_.get());
  for (int64_t at = 0; at < positions_;) {
    const int64_t n = std::min(positions_ - at, static_cast<int64_t>(capacity_));
    if (absl::Status s = Read(begin + at, static_cast<size_t>(n), nullptr); !s.ok()) return s;
    StoreGradients(begin + at, nullptr, output);
    at += n;
  }
  return absl::OkStatus();
}

template <class T>
void MaskForm<T>::IgnoreSkipped(const T* weights, bool skip_non_finite) {
  if (block_.ignored == nullptr) std::fill_n(ignored_.get(), block_.n, uint8_t{0});
  block_.ignored = ignored_.get();
  for (size_t i = 0; i < block_.n && weights != nullptr; ++i) {
    if (weights[i] == T(0)) ignored_[i] = 1;
  }
  if (!skip_non_finite) return;
  ComputeTerms();
  for (size_t k = 0; k < sums(); ++k) {
    for (size_t i = 0; i < block_.n; ++i) {
      if (!std::isfinite(terms_[k * capacity_ + i])) ignored_[i] = 1;
    }
  }
}

template <class T>
absl::Status MaskForm<T>::RunPooledGradients(int64_t first, size_t n,
                                             const GradientCall& gradients) {
  if (pooled_sums_.empty()) {
    for (const ExactSum& pool : gradients.sums->pools) pooled_sums_.push_back(pool.Round());
    pooled_sums_.resize(sums());
    Loss(pooled_sums_.data(), 1, partials_.get());
  }
  const T* weights = this->weights();
  if (absl::Status s = Read(first, n, weights); !s.ok()) return s;
  IgnoreSkipped(weights, gradients.non_finite == NonFinitePolicy::kSkip);
  StoreGradients(first, weights, gradients.outputs[0]);
  return absl::OkStatus();
}

template <class T>
absl::Status MaskForm<T>::RunGradients(int64_t first, int64_t n, const GradientCall& gradients) {
  if (pooled()) {
    if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
    return RunPooledGradients(first, this->n(), gradients);
  }
  ItemBlock<T> block;
  if (absl::Status s = Run(first, n, &block); !s.ok()) return s;
  const T* scales = this->Scales(gradients);
  for (size_t unit = 0; unit < static_cast<size_t>(n); ++unit) {
    absl::Status s = RunSampleGradients(first + static_cast<int64_t>(unit),
                                        sums_of_units_.data() + unit * sums(), scales[unit],
                                        gradients.outputs[0]);
    if (!s.ok()) return s;
  }
  return absl::OkStatus();
}

template class MaskForm<float>;
template class MaskForm<double>;

}  // namespace lossd
