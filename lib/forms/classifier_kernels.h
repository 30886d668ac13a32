// What a classifier loss hands to its form: cross-entropy over logits that are made from embeddings
// x and the rows W_j of a classifier, by panels of rows and blocks of classes.
//
// With u = x or x / |x|, v_j = W_j or W_j / |W_j| and c the cosine of x and the true class y,
//
//   logit_j = scale (u . v_j) + bias_j,     logit_y = scale |u| |v_y| psi(c) + bias_y,
//
// so a loss is which of the two have unit length, its scale, and psi. The normalised rows of zero
// vectors are zero, and their cosines 0, as with torch's normalize.
//
// A panel is panel_rows rows of the batch in the lanes of vectors: [width][panel_rows], or
// [width][lanes] where its rows fill one vector. Kernels neither allocate nor fail. Thread-safety:
// they hold no state. Ownership: the memory is the form's.
#ifndef LOSSD_LIB_FORMS_CLASSIFIER_KERNELS_H_
#define LOSSD_LIB_FORMS_CLASSIFIER_KERNELS_H_

#include <cstddef>
#include <cstdint>

namespace lossd {

// Classes whose logits go into a log-sum-exp together: a part of the arithmetic. The parts are
// combined in class order.
inline constexpr size_t kClassifierChunk = 192;
// Rows behind a block's classes that the log-sum-exp fills up to whole groups.
inline constexpr size_t kClassifierGroup = 4;

// psi and its derivative by the cosine.
struct Margin {
  double value;
  double slope;
};
// `sine`, of the same angle, is at least 0 and accurate where the cosine is near 1.
using MarginFunction = Margin (*)(const double* parameters, double cosine, double sine);

// The running log-sum-exp of the rows of a panel over the classes but the true one: see LogSumExp.
// An array of panel_rows each.
template <class T>
struct PanelSums {
  T* max;
  T* at_max;
  T* rest;
};

// A row of the batch and the classifier's row of its label, of any compute type, in f64: there the
// angle is good enough for sin t near 0, and it is only a row.
struct TargetRow {
  double* x;  // [width]; in: the row, out: its unit vector
  double* w;
  double x_norm, w_norm;
  double product;  // of the two, the row's unit vector for the row where the loss takes that
  double cosine;
  double sine;
};

// What the gradients need of a row's softmax.
struct RowSoftmax {
  double item;           // the loss
  double max;            // the largest logit, exact in the compute type
  double inverse_total;  // p_j = exp(logit_j - max) inverse_total
  double others;         // 1 - p_y, without cancellation
};

// Memory that is read next: a multiplication fetches `lines` cache lines of it into the second
// level cache every few steps, until there are no more.
struct Ahead {
  const std::byte* next = nullptr;
  const std::byte* end = nullptr;
  size_t lines = 0;
};
// The steps, of one tile of at most kAheadClasses classes.
inline constexpr size_t kAheadSteps = 8;
inline constexpr size_t kAheadClasses = 12;
// Classes of a tile where the rows of a panel fill one vector.
inline constexpr size_t kThinClasses = 8;

// Rows of unit vectors or of the classifier, number i of row c at numbers[c * row_step + i], but
// every `segment` of i begins segment_step after the one before.
template <class T>
struct SegmentedRows {
  const T* numbers;
  size_t row_step;
  size_t segment;
  size_t segment_step;
};

template <class T>
struct ClassifierOperations {
  size_t panel_rows;
  size_t lanes;  // rows in a vector: half a panel
  // Makes a row a unit vector; its length. A zero vector stays as it is, length 0; one with a NaN
  // or an infinity becomes NaN.
  double (*normalise)(T* row, size_t width);
  // products[c * panel_rows + row] = u_row . v_c, for `classes` rows of v: one chain of fused
  // multiply-adds in the order of the dimensions. `goes_on`: from the products that are there. Here
  // and below `vectors` of each class are computed, 1 or 2: those that hold the panel's rows.
  void (*multiply)(const T* panel, size_t vectors, size_t width, const SegmentedRows<T>& v,
                   size_t classes, bool goes_on, const Ahead (&ahead)[2], T* products);
  // Products to logits, in place; with `cosines`, first cut to [-1, 1]. bias null: none.
  void (*finish_logits)(T* logits, size_t vectors, size_t classes, T scale, bool cosines,
                        const T* bias);
  // Adds a chunk of classes; writes up to kClassifierGroup - 1 classes behind it.
  void (*add_chunk)(T* logits, size_t vectors, size_t classes, const PanelSums<T>& sums);
  // Adds the sums of the classes that follow.
  void (*combine_sums)(const PanelSums<T>& next, size_t vectors, const PanelSums<T>& sums);
  // The angle and lengths; `sine` only on request.
  void (*measure_target)(size_t width, bool unit_x, bool wants_sine, TargetRow* row);
  // The softmax of a row from the sums of the others and the target's logit.
  RowSoftmax (*finish_row)(T max, T at_max, T rest, double target);
  // logits[c][row] = factors[row] exp(logits[c][row] - max[row]), 0 where the factor is.
  void (*to_coefficients)(T* logits, size_t vectors, size_t classes, const T* max,
                          const T* factors);
  // The gradients go by strips of panel_rows dimensions; u, v and gradient are [..][panel_rows]:
  // gradient[row][i] += sum over c of coefficients[c][row] v[c][i], in class order, for `rows` rows
  // of a panel.
  void (*add_row_gradients)(const T* coefficients, size_t classes, const T* v, size_t rows,
                            const Ahead (&ahead)[2], T* gradient);
  // gradient[c][i] += sum over the rows of coefficients[c][row] u[row][i], in the rows' order. The
  // coefficients of a panel's rows are panel_step after those of the panel before.
  void (*add_class_gradients)(const T* coefficients, size_t panel_step, size_t classes, const T* u,
                              size_t rows, const Ahead (&ahead)[2], T* gradient);
  // From the gradient by a unit vector to that by the vector: what lies along it drops out.
  void (*project)(T* gradient, const T* unit, double norm, size_t width);
};

struct ClassifierKernels {
  const ClassifierOperations<float>* f32 = nullptr;
  const ClassifierOperations<double>* f64 = nullptr;
  bool unit_embeddings = false;
  bool unit_classifier = false;
  int scale_parameter = -1;         // index; -1: the scale is 1
  MarginFunction margin = nullptr;  // null: psi(c) = c
  bool wants_sine = false;
  uint32_t gradients = 0;  // bit 0: of the embeddings; bit kTableGradient: of the classifier
};

}  // namespace lossd

#endif  // LOSSD_LIB_FORMS_CLASSIFIER_KERNELS_H_
