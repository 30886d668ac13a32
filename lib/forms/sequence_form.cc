#include "lib/forms/sequence_form.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

#include "lib/base/status.h"
#include "lib/forms/operand_reader.h"

namespace lossd {
namespace {

// Samples of a Run.
constexpr int64_t kSamplesPerBlock = 64;
// Elements of frames that are copied at a time: they stay in L2.
constexpr size_t kMaxCopiedElements = 32768;
// States of the frames of a piece that a gradient computes again, where the square root of the
// frames is not more: half a megabyte.
constexpr size_t kPieceStates = 65536;
// States of the frames between two looks at the token: milliseconds.
constexpr size_t kStatesOfAdvance = size_t{1} << 20;
// Labels that are checked at a time where there are too many of them to be kept.
constexpr size_t kLabelsAtATime = 4096;
// Frames times labels of a sample: a second of work, or two.
constexpr int64_t kMaxSequenceStates = int64_t{1} << 30;

constexpr double kLogZero = -std::numeric_limits<double>::infinity();

// What follows the last frame: nothing, from the last label and the blank after it.
void StartAtEnd(size_t label_count, std::vector<double>* states) {
  states->assign(SequenceStates::Size(label_count), kLogZero);
  const SequenceStates last(states->data(), label_count);
  last.blanks[label_count] = 0;
  if (label_count > 0) last.labels[label_count - 1] = 0;
}

size_t CeilSqrt(size_t n) {
  return static_cast<size_t>(std::ceil(std::sqrt(static_cast<double>(n))));
}

template <class Vector>
void GrowTo(size_t n, Vector* vector) {
  if (vector->size() < n) vector->resize(n);
}

}  // namespace

template <class T>
SequenceForm<T>::SequenceForm(const FormCall& call)
    : FormBase<T>(call, kSamplesPerBlock, 2),
      classes_(static_cast<size_t>(call.classes)),
      time_(call.sequence.frames),
      label_columns_(call.sequence.labels.view.shape()[1]),
      time_major_(call.parameters[kSequenceTimeMajor] != 0) {}

template <class T>
const SequenceFunctions<T>& SequenceForm<T>::functions() const {
  if constexpr (sizeof(T) == 4) {
    return call_.kernels.sequences.f32;
  } else {
    return call_.kernels.sequences.f64;
  }
}

template <class T>
int64_t SequenceForm<T>::FrameIndex(int64_t index, size_t frame) const {
  const auto t = static_cast<int64_t>(frame);
  return (time_major_ ? t * call_.units + index : index * time_ + t) * call_.classes;
}

template <class T>
absl::Status SequenceForm<T>::ReadLength(const Operand& operand, int64_t index, int64_t most,
                                         size_t* length) {
  int64_t value = 0;
  ReadLabels(operand.view, index, 1, &value);
  if (value < 0 || value > most) {
    return this->ValueError(operand, index, "a length from 0 to " + std::to_string(most));
  }
  *length = static_cast<size_t>(value);
  return absl::OkStatus();
}

template <class T>
absl::Status SequenceForm<T>::ReadLabelsOf(Sample* sample) {
  const auto blank = static_cast<int64_t>(call_.parameters[kSequenceBlank]);
  const Operand& operand = call_.sequence.labels;
  const int64_t first = sample->index * label_columns_;
  // With more labels than frames nothing is computed of them: memory grows with the frames.
  const bool kept = sample->labels <= sample->frames;
  const size_t piece = kept ? sample->labels : kLabelsAtATime;
  for (size_t i = 0; i < sample->labels; ++i) {
    if (i % piece == 0) {
      labels_of_sample_.resize(std::min(piece, sample->labels - i));
      ReadLabels(operand.view, first + static_cast<int64_t>(i), labels_of_sample_.size(),
                 labels_of_sample_.data());
    }
    const int64_t label = labels_of_sample_[i % piece];
    if (label >= 0 && label < call_.classes && label != blank) continue;
    const absl::Status error =
        this->ValueError(operand, first + static_cast<int64_t>(i),
                         "a label from 0 to " + std::to_string(call_.classes - 1) +
                             " other than the blank " + std::to_string(blank));
    return InvalidArgument("LABEL_OUT_OF_RANGE", DetailOf(error).field,
                           std::string(error.message()));
  }
  return absl::OkStatus();
}

template <class T>
void SequenceForm<T>::CompareLabels(Sample* sample) {
  const size_t n = sample->labels;
  if (n > sample->frames) return;
  first_alike_.resize(n);
  changes_.assign(SequenceStates::Padded(n) + kSequencePad, 0);
  first_of_class_.clear();
  size_t repeats = 0;
  for (size_t i = 0; i < n; ++i) {
    first_alike_[i] = first_of_class_.try_emplace(labels_of_sample_[i], i).first->second;
    const bool repeated = i > 0 && labels_of_sample_[i] == labels_of_sample_[i - 1];
    changes_[i] = repeated ? 0 : 1;
    repeats += repeated ? 1 : 0;
  }
  // Labels that repeat have a blank between them.
  sample->feasible = sample->frames >= n + repeats;
}

template <class T>
absl::Status SequenceForm<T>::ReadSample(int64_t index, T weight, Sample* sample) {
  *sample = Sample();
  sample->index = index;
  sample->ignored = weight == T(0);
  if (sample->ignored) return absl::OkStatus();
  absl::Status s = ReadLength(call_.sequence.input_lengths, index, time_, &sample->frames);
  if (s.ok()) {
    s = ReadLength(call_.sequence.label_lengths, index, label_columns_, &sample->labels);
  }
  if (!s.ok()) return s;
  const double states =
      static_cast<double>(sample->frames) * static_cast<double>(sample->labels + 1);
  if (states > static_cast<double>(kMaxSequenceStates)) {
    return ResourceExhausted(
        "SEQUENCE_TOO_LONG", "inputs[\"" + call_.sequence.input_lengths.name + "\"]",
        std::string(call_.loss) + ": sample " + std::to_string(index) + " has " +
            std::to_string(sample->frames) + " frames and " + std::to_string(sample->labels) +
            " labels; frames x (labels + 1) may be at most " + std::to_string(kMaxSequenceStates));
  }
  s = ReadLabelsOf(sample);
  if (s.ok()) CompareLabels(sample);
  return s;
}

template <class T>
void SequenceForm<T>::ReadFrames(int64_t index, size_t first, size_t count,
                                 SequenceBlock<T>* block) {
  const Operand& operand = call_.operands[0];
  block->count = count;
  block->stride = classes_;
  if (this->InPlace(operand)) {
    const int64_t at = FrameIndex(index, first);
    block->frames = reinterpret_cast<const T*>(operand.view.Run(at, call_.classes, nullptr));
    if (time_major_) block->stride = static_cast<size_t>(call_.units) * classes_;
    return;
  }
  GrowTo(count * classes_, &frames_);
  int64_t inexact = -1;  // floating-point types only widen
  if (!time_major_) {
    block->frames = ReadRun<T>(operand.view, FrameIndex(index, first), count * classes_,
                               frames_.data(), &inexact);
    return;
  }
  for (size_t t = 0; t < count; ++t) {
    T* const to = frames_.data() + t * classes_;
    const T* const read =
        ReadRun<T>(operand.view, FrameIndex(index, first + t), classes_, to, &inexact);
    if (read != to) std::memcpy(to, read, classes_ * sizeof(T));
  }
  block->frames = frames_.data();
}

template <class T>
SequenceBlock<T> SequenceForm<T>::BlockOf(const Sample& sample, size_t first, size_t count) {
  SequenceBlock<T> block;
  block.classes = classes_;
  block.labels = labels_of_sample_.data();
  block.first_alike = first_alike_.data();
  block.changes = changes_.data();
  block.label_count = sample.labels;
  ReadFrames(sample.index, first, count, &block);
  return block;
}

template <class T>
size_t SequenceForm<T>::PieceOf(const Sample& sample, bool keep) const {
  size_t piece = std::max<size_t>(sample.frames, 1);
  if (!this->InPlace(call_.operands[0])) piece = kMaxCopiedElements / classes_;
  const size_t most = keep ? kPieceStates : kStatesOfAdvance;
  piece = std::min(piece, most / SequenceStates::Size(sample.labels));
  const size_t least = keep ? CeilSqrt(sample.frames) : 1;
  return std::clamp<size_t>(piece, std::max<size_t>(least, 1), std::max<size_t>(sample.frames, 1));
}

template <class T>
void SequenceForm<T>::Advance(const Sample& sample, size_t first, size_t count, double* states,
                              size_t pitch) {
  functions().advance(call_.parameters.data(), BlockOf(sample, first, count), scratch_.data(),
                      states, pitch);
}

// Labels that the states have room for: none where there is nothing to compute.
template <class T>
size_t SequenceForm<T>::LabelsOfStates(const Sample& sample) const {
  return sample.feasible ? sample.labels : 0;
}

template <class T>
T SequenceForm<T>::Finish(const Sample& sample, double* states) {
  return functions().finish(call_.parameters.data(), states, LabelsOfStates(sample), &log_total_);
}

template <class T>
void SequenceForm<T>::Start(const Sample& sample) {
  const size_t labels = LabelsOfStates(sample);
  GrowTo(SequenceScratchSize(labels), &scratch_);
  states_.assign(SequenceStates::Size(labels), kLogZero);
  // Nothing has been read, which is the blank before all labels.
  if (sample.feasible) SequenceStates(states_.data(), labels).blanks[0] = 0;
}

template <class T>
T SequenceForm<T>::Forward(const Sample& sample) {
  Start(sample);
  const size_t piece = PieceOf(sample, false);
  for (size_t first = 0; first < sample.frames && sample.feasible && !cancelled(); first += piece) {
    Advance(sample, first, std::min(piece, sample.frames - first), states_.data(), 0);
  }
  return Finish(sample, states_.data());
}

template <class T>
T SequenceForm<T>::ForwardForGradients(const Sample& sample) {
  if (!sample.feasible) return Forward(sample);
  Start(sample);
  const size_t piece = PieceOf(sample, true);
  const size_t size = states_.size();
  GrowTo((piece + 1) * size, &table_);
  GrowTo((sample.frames / piece + 1) * size, &kept_);
  if (piece >= sample.frames) {
    // All in one: Backward finds the table made.
    std::copy_n(states_.data(), size, table_.data());
    Advance(sample, 0, sample.frames, table_.data(), size);
    return Finish(sample, table_.data() + sample.frames * size);
  }
  for (size_t first = 0; first < sample.frames && !cancelled(); first += piece) {
    std::copy_n(states_.data(), size, kept_.data() + first / piece * size);
    Advance(sample, first, std::min(piece, sample.frames - first), states_.data(), 0);
  }
  return Finish(sample, states_.data());
}

template <class T>
absl::Status SequenceForm<T>::Run(int64_t first, int64_t n, ItemBlock<T>* block) {
  if (absl::Status s = this->Begin(first, n); !s.ok()) return s;
  for (int64_t i = 0; i < n; ++i) {
    Sample sample;
    const T weight = this->weights() != nullptr ? this->weights()[i] : T(1);
    if (absl::Status s = ReadSample(first + i, weight, &sample); !s.ok()) return s;
    T item = 0;
    if (!sample.ignored) item = Forward(sample);
    if (cancelled()) return absl::CancelledError("the call was cancelled");
    this->items_[0][i] = item;
    this->items_[1][i] = item / static_cast<T>(std::max<size_t>(sample.labels, 1));
  }
  this->End(Upcoming(), block);
  return absl::OkStatus();
}

template <class T>
void SequenceForm<T>::Backward(const Sample& sample, double scale, T* gradients) {
  const size_t piece = PieceOf(sample, true);
  const size_t size = SequenceStates::Size(sample.labels);
  StartAtEnd(sample.labels, &states_);
  for (size_t index = (sample.frames + piece - 1) / piece; index-- > 0 && !cancelled();) {
    const size_t first = index * piece;
    const SequenceBlock<T> block = BlockOf(sample, first, std::min(piece, sample.frames - first));
    if (piece < sample.frames) {
      std::copy_n(kept_.data() + index * size, size, table_.data());
      functions().advance(call_.parameters.data(), block, scratch_.data(), table_.data(), size);
    }
    SequenceGradient<T> gradient;
    gradient.table = table_.data();
    gradient.pitch = size;
    gradient.after = states_.data();
    gradient.log_total = log_total_;
    gradient.scale = scale;
    gradient.gradients = gradients + FrameIndex(sample.index, first);
    gradient.stride = static_cast<size_t>(FrameIndex(0, 1));
    functions().retreat(call_.parameters.data(), block, scratch_.data(), gradient);
  }
}

template <class T>
void SequenceForm<T>::FillFrames(int64_t index, size_t first, size_t last, T value,
                                 T* gradients) const {
  for (size_t t = first; t < last; ++t) {
    T* const frame = gradients + FrameIndex(index, t);
    for (size_t c = 0; c < classes_; ++c) std::memcpy(frame + c, &value, sizeof(T));
  }
}

template <class T>
absl::Status SequenceForm<T>::RunGradients(int64_t first, int64_t n,
                                           const GradientCall& gradients) {
  T* const out = reinterpret_cast<T*>(gradients.outputs[0]);
  for (int64_t index = first; index < first + n; ++index) {
    if (absl::Status s = this->Begin(index, 1); !s.ok()) return s;
    Sample sample;
    const T weight = this->weights() != nullptr ? this->weights()[0] : T(1);
    if (absl::Status s = ReadSample(index, weight, &sample); !s.ok()) return s;
    T& item = this->items_[0][0];
    item = 0;
    if (!sample.ignored) item = ForwardForGradients(sample);
    double scale = static_cast<double>(this->Scales(gradients)[0]);
    if (gradients.mean) scale /= static_cast<double>(std::max<size_t>(sample.labels, 1));
    const bool infinite = item == std::numeric_limits<T>::infinity();
    size_t done = 0;
    if (scale != 0 && infinite) {
      // There is no slope at infinity.
      FillFrames(index, 0, sample.frames, std::numeric_limits<T>::quiet_NaN(), out);
      done = sample.frames;
    } else if (scale != 0 && !sample.ignored && log_total_ != kLogZero) {
      Backward(sample, scale, out);
      done = sample.frames;
    }
    if (cancelled()) return absl::CancelledError("the call was cancelled");
    FillFrames(index, done, static_cast<size_t>(time_), T(0), out);
  }
  return absl::OkStatus();
}

template class SequenceForm<float>;
template class SequenceForm<double>;

}  // namespace lossd
