// The form of losses over sequences: an item a sample, made of the frames [T,C] of the sample up to
// its input length and of its labels [S] up to its label length. What lies past the lengths is not
// read. Parts of an item: itself, and itself divided by max(1, label length).
//
// Frames go through the kernels in pieces, in place where they can be read so. A gradient keeps the
// states before each piece and computes those within it again: for T frames memory grows with
// sqrt(T), not T, times the labels.
//
// Thread-safety: a form belongs to one thread. Ownership: see form.h.
#ifndef LOSSD_LIB_FORMS_SEQUENCE_FORM_H_
#define LOSSD_LIB_FORMS_SEQUENCE_FORM_H_

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "lib/base/cancellation.h"
#include "lib/forms/form.h"

namespace lossd {

template <class T>
class SequenceForm : public FormBase<T> {
 public:
  explicit SequenceForm(const FormCall& call);

  // A cancelled token ends Run and RunGradients with CANCELLED, within a piece; null: nothing does.
  void CancelBy(const CancellationToken* token) { token_ = token; }

  // Computes the items of samples [first, first + n). The block points into the form's buffers and
  // holds until the next Run. INVALID_ARGUMENT for a length or a label out of range, with its
  // place; RESOURCE_EXHAUSTED for a sample whose frames times labels are beyond
  // kMaxSequenceStates.
  absl::Status Run(int64_t first, int64_t n, ItemBlock<T>* block);

  // Writes the gradients of samples [first, first + n); 0 for frames past the input length.
  absl::Status RunGradients(int64_t first, int64_t n, const GradientCall& gradients);

 private:
  // One sample as it is computed.
  struct Sample {
    int64_t index = 0;
    size_t frames = 0;
    size_t labels = 0;
    bool ignored = false;   // of weight 0: nothing of it is read
    bool feasible = false;  // the frames are enough for the labels
  };

  bool cancelled() const { return token_ != nullptr && token_->cancelled(); }
  absl::Status ReadSample(int64_t index, T weight, Sample* sample);
  absl::Status ReadLength(const Operand& operand, int64_t index, int64_t most, size_t* length);
  absl::Status ReadLabelsOf(Sample* sample);
  void CompareLabels(Sample* sample);
  void Start(const Sample& sample);
  void Advance(const Sample& sample, size_t first, size_t count, double* states, size_t pitch);
  size_t LabelsOfStates(const Sample& sample) const;
  T Finish(const Sample& sample, double* states);
  // The item.
  T Forward(const Sample& sample);
  // The item, with the states kept that Backward needs.
  T ForwardForGradients(const Sample& sample);
  // After ForwardForGradients: scale times the gradients of the sample's frames.
  void Backward(const Sample& sample, double scale, T* gradients);
  void FillFrames(int64_t index, size_t first, size_t last, T value, T* gradients) const;

  size_t PieceOf(const Sample& sample, bool keep) const;
  SequenceBlock<T> BlockOf(const Sample& sample, size_t first, size_t count);
  // Frames [first, first + count) of a sample, where they lie or copied.
  void ReadFrames(int64_t index, size_t first, size_t count, SequenceBlock<T>* block);
  int64_t FrameIndex(int64_t index, size_t frame) const;
  const SequenceFunctions<T>& functions() const;

  using FormBase<T>::call_;
  const size_t classes_;
  const int64_t time_, label_columns_;
  const bool time_major_;
  const CancellationToken* token_ = nullptr;
  std::vector<int64_t> labels_of_sample_;
  std::vector<size_t> first_alike_;
  std::vector<double> changes_;
  std::unordered_map<int64_t, size_t> first_of_class_;
  std::vector<T> frames_;
  std::vector<double> scratch_, states_, kept_, table_;
  double log_total_ = 0;  // of the last sample
};

extern template class SequenceForm<float>;
extern template class SequenceForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_SEQUENCE_FORM_H_
