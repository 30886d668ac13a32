// The gradients of a classifier loss by its embeddings, its classifier, or both.
//
// The softmax is made again, once: by runs of rows and, within one, by spans of classes, into a
// buffer of a few MB, from which both gradients are summed. Each is a chain of fused multiply-adds,
// over the classes or the rows in their order, that goes on from span to span and run to run: what
// comes out does not depend on them.
//
// The work is a sequence of phases of chunks:
//   for (int64_t chunks; (chunks = form.NextPhase()) > 0;) RunChunk(0) .. RunChunk(chunks - 1)
//
// Thread-safety: the chunks of a phase may run on several threads, NextPhase only when they ended.
// Ownership: see form.h; the softmaxes are those that ClassifierForm wrote.
#ifndef LOSSD_LIB_FORMS_CLASSIFIER_GRADIENT_FORM_H_
#define LOSSD_LIB_FORMS_CLASSIFIER_GRADIENT_FORM_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "lib/forms/classifier_rows.h"

namespace lossd {

template <class T>
class ClassifierGradientForm : public ClassifierRows<T> {
 public:
  // Both outlive the form.
  ClassifierGradientForm(const FormCall& call, const GradientCall& gradients);

  // Begins the next phase; how many chunks it has, 0 after the last.
  int64_t NextPhase();
  // An error ends the work.
  absl::Status RunChunk(int64_t chunk);

 private:
  using Target = typename ClassifierRows<T>::Target;
  using ClassifierRows<T>::call_;
  using ClassifierRows<T>::operations_;
  using ClassifierRows<T>::panel_rows_;

  // Of a run: its rows are read; for each span of classes the coefficients, then the products, are
  // computed; and its rows' gradients stored. When all runs are through, the rows of each are read
  // again, and what they add through their true classes goes into the classifier's gradient.
  enum class Phase { kStart, kRows, kCoefficients, kProducts, kStore, kTargetRows, kTargets, kEnd };

  T* row_output() const { return reinterpret_cast<T*>(gradients_.outputs[0]); }
  T* class_output() const { return reinterpret_cast<T*>(gradients_.outputs[kTableGradient]); }
  size_t strips() const { return CeilDiv(this->width(), panel_rows_); }
  size_t Blocks() const { return CeilDiv(span_, block_classes_); }
  size_t ClassesOf(size_t block) const;
  // Dimensions of a strip; the others are 0.
  size_t WidthOf(size_t strip) const;
  int64_t StripRanges() const;
  bool FirstRun() const { return run_ == 0; }
  bool LastRun() const { return run_ + this->max_units() >= call_.units; }

  Phase After(Phase phase);
  int64_t Chunks() const;
  bool NextRun();
  bool NextSpan();
  void BeginSpan(int64_t first_class);

  absl::Status BeginRun(bool packs);
  void SetFactors();
  void PackStrips();
  absl::Status ComputeCoefficients(size_t block);
  Ahead NextStrip(const T* strip, size_t depth, size_t outputs) const;
  void AddRowProducts(int64_t chunk);
  void AddClassProducts(size_t block);
  void FinishClass(size_t c, T* unit, T* output) const;
  absl::Status StoreRows(size_t p);
  absl::Status StoreRow(size_t row, Target* target, T* output);
  absl::Status AddTargets(int64_t range);

  const GradientCall& gradients_;
  const size_t block_classes_;  // a chunk's
  const size_t span_classes_;   // the most of a span

  Phase phase_ = Phase::kStart;
  int64_t run_ = 0;          // its first unit
  int64_t first_class_ = 0;  // of the span
  size_t span_ = 0;          // its classes

  std::unique_ptr<T[]> max_, factors_;  // of each row; the factor is scale_i scale / total
  std::vector<double> target_factors_;  // scale_i scale (p_y - 1)
  std::unique_ptr<T[]> u_strips_;       // [strips][rows][panel_rows]
  std::unique_ptr<T[]> v_strips_;       // [strips][span_classes_][panel_rows]
  std::vector<double> class_norms_;     // of the span
  std::unique_ptr<T[]> coefficients_;   // [panels][span_classes_][panel_rows]
  std::unique_ptr<T[]> row_gradients_;  // [panels][strips][panel_rows][panel_rows]
};

extern template class ClassifierGradientForm<float>;
extern template class ClassifierGradientForm<double>;

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_CLASSIFIER_GRADIENT_FORM_H_
