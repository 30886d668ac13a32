// The mask form: a loss of a sample that is a function of sums over its positions, class by class;
// or, pooled, the terms of the sums of all samples.
//
// A unit is a sample, whose item is the mean of the losses of its classes; pooled, a unit is a
// position, and there are no items but the terms of its classes. A sample may be of any size: its
// positions are read chunk by chunk, and its sums do not depend on the batch around it.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h.
#ifndef LOSSD_LIB_FORMS_MASK_FORM_H_
#define LOSSD_LIB_FORMS_MASK_FORM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/forms/form.h"

namespace lossd {

template <class T>
class MaskForm : public FormBase<T> {
 public:
  explicit MaskForm(const FormCall& call);

  // Computes the items, or the pools' terms, of units [first, first + n). The block points into the
  // form's buffers and holds until the next Run. INVALID_ARGUMENT for a value that breaks its rule,
  // with its place.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Writes the gradients of units [first, first + n).
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients);

 private:
  struct AlignedFree {
    void operator()(T* p) const;
  };
  using Aligned = std::unique_ptr<T[], AlignedFree>;
  static Aligned AllocateAligned(size_t n);

  bool pooled() const { return call_.kernels.masks.pooled; }
  size_t classes() const { return static_cast<size_t>(call_.classes); }
  // Sums of all classes.
  size_t sums() const { return classes() * static_cast<size_t>(call_.kernels.masks.sums); }

  // Reads n <= capacity_ positions from a position on, numbered through all samples, into block_.
  // `weights` of the positions: where one is 0 the target or label is not checked; null: all are.
  absl::Status Read(int64_t first, size_t n, const T* weights);
  absl::Status ReadPredictions(int64_t first, size_t n);
  absl::Status ReadTargets(int64_t first, size_t n, const T* weights);
  absl::Status ReadMaskLabels(int64_t first, size_t n, const T* weights);
  // Copies the predictions of n positions of one sample to column `to` of the buffer.
  absl::Status CopyPredictions(int64_t first, size_t n, size_t to);
  bool IsIgnored(double value) const;

  // The sums of a sample.
  absl::Status SumSample(int64_t sample, double* sums);
  // The mean of the losses of the classes with these sums; partials, if not null: its derivatives,
  // times a scale.
  double Loss(const double* sums, double scale, T* partials);
  absl::Status RunSampleGradients(int64_t sample, const double* sums, T scale, std::byte* output);
  absl::Status RunPooledGradients(int64_t first, size_t n, const GradientCall& gradients);
  // Marks the positions that the pools left out.
  void IgnoreSkipped(const T* weights, bool skip_non_finite);
  // The terms of the positions in block_.
  void ComputeTerms();
  // The gradients of the positions in block_, the first of which is numbered so.
  void StoreGradients(int64_t first, const T* scales, std::byte* output);

  using FormBase<T>::call_;
  const int64_t positions_;  // of a sample
  const size_t capacity_;    // positions of a chunk: whole groups
  MaskBlock<T> block_;
  PoolTerms<T> pools_;
  Aligned scratch_;
  Aligned gradients_;                 // [classes, capacity]
  std::unique_ptr<T[]> predictions_;  // [classes, capacity], those that had to be copied
  std::unique_ptr<T[]> rows_;         // [capacity, classes], before they are turned
  std::unique_ptr<T[]> targets_;
  std::unique_ptr<T[]> terms_;  // [sums, capacity]
  std::unique_ptr<T[]> partials_;
  std::unique_ptr<int64_t[]> labels_;
  std::unique_ptr<uint8_t[]> ignored_;
  std::vector<MaskSum> sample_sums_;
  std::vector<double> sums_of_units_;  // of the last Run: [units, sums]
  std::vector<double> pooled_sums_;    // those that partials_ are of, once it has pooled ones
};

extern template class MaskForm<float>;
extern template class MaskForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_MASK_FORM_H_
