// What a loss over sequences hands to its form: how a sample's frames move the states of its
// recursion on, and back for the gradient. A sample comes in pieces of frames, so that neither a
// copy of it nor a table over all its frames need ever be held.
//
// Kernels neither allocate nor fail, and hold no state. All memory is the form's.
#ifndef LOSSD_LIB_FORMS_SEQUENCE_KERNELS_H_
#define LOSSD_LIB_FORMS_SEQUENCE_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// The parameters that every loss of this form has first.
inline constexpr size_t kSequenceBlank = 0;
inline constexpr size_t kSequenceZeroInfinity = 1;
inline constexpr size_t kSequenceTimeMajor = 2;

// States come in whole vectors of any target: 8 lanes of f64.
inline constexpr size_t kSequencePad = 8;

// The states of a sample at one frame, as logarithms: one a label, and the blanks around them. Each
// kind is padded, with a pad before the labels and one behind the blanks.
struct SequenceStates {
  static constexpr size_t Padded(size_t label_count) {
    return (label_count / kSequencePad + 1) * kSequencePad;
  }
  static constexpr size_t Size(size_t label_count) {
    return 2 * Padded(label_count) + 2 * kSequencePad;
  }
  SequenceStates(double* memory, size_t label_count)
      : label_count(label_count),
        padded(Padded(label_count)),
        labels(memory + kSequencePad),
        blanks(labels + padded) {}

  size_t label_count;
  size_t padded;   // more than label_count
  double* labels;  // [padded]; labels[-1] is log 0
  double* blanks;  // [padded]: blank i stands before label i
};

// Some frames of a sample, and its labels.
template <class T>
struct SequenceBlock {
  const T* frames;  // the first of them: [classes]
  size_t stride;    // elements from a frame to the next
  size_t count;     // frames
  size_t classes;
  const int64_t* labels;      // [label_count], each a class and not the blank
  const size_t* first_alike;  // [label_count]: index of the first label of the same class
  const double* changes;      // [padded + pad]: 0 where a label equals the one before it
  size_t label_count;
};

// Doubles that a kernel needs to work with.
constexpr size_t SequenceScratchSize(size_t label_count) {
  return 3 * (SequenceStates::Padded(label_count) + 2 * kSequencePad);
}

// Moves the states over the frames. With a pitch, those before frame t are at states + t * pitch,
// and those of all frames stay; without, they stay in place.
template <class T>
using SequenceAdvance = void (*)(const double* parameters, const SequenceBlock<T>& block,
                                 double* scratch, double* states, size_t pitch);

// The item that the states at the last frame give, and the logarithm of its probability.
template <class T>
using SequenceFinish = T (*)(const double* parameters, double* states, size_t label_count,
                             double* log_total);

template <class T>
struct SequenceGradient {
  double* table;  // the states of Advance, with the pitch
  size_t pitch;
  double* after;     // in: the log-probability of what follows the last frame of the block, by its
                     // state; out: of what follows the frame before the block
  double log_total;  // of the sample
  double scale;
  T* gradients;  // of the first frame, at any address
  size_t stride;
};

// Writes scale * d item / d frame for the frames of the block.
template <class T>
using SequenceRetreat = void (*)(const double* parameters, const SequenceBlock<T>& block,
                                 double* scratch, const SequenceGradient<T>& gradient);

template <class T>
struct SequenceFunctions {
  SequenceAdvance<T> advance = nullptr;
  SequenceFinish<T> finish = nullptr;
  SequenceRetreat<T> retreat = nullptr;
};

struct SequenceKernels {
  SequenceFunctions<float> f32;
  SequenceFunctions<double> f64;
  uint32_t gradients = 0;  // bit 0: there is a gradient of the frames
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_SEQUENCE_KERNELS_H_
