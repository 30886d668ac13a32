// The state of an evaluation: a value that merges associatively and commutatively, with canonical
// bytes.
//
// Thread-compatible. Equal evaluations (the same samples under the same spec, in any order and
// grouping) are equal bytes.
#ifndef LOSSD_LIB_EVALUATION_STATE_H_
#define LOSSD_LIB_EVALUATION_STATE_H_

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/accumulate/loss_sums.h"
#include "lib/evaluation/fingerprint.h"
#include "lib/losses/descriptor.h"

namespace lossd {

// The layout that is written; all layouts up to it are read.
inline constexpr uint32_t kStateFormat = 1;

// Losses of an evaluation, at most. It bounds what a state from outside can ask for: a loss takes
// kilobytes in memory, and may take a hundred bytes in the state.
inline constexpr int kMaxLosses = 64;

// One loss of an evaluation.
struct LossState {
  const LossRow* row = nullptr;
  bool pooled = false;
  std::string label;
  // In the total. Unset after a merge of states that disagree, and then no total is reported.
  std::optional<double> weight = 1;
  // FLOAT32 or FLOAT64 from the first batch on; unset before.
  std::optional<DataType> compute_type;
  LossSums sums;
};

struct EvaluationState {
  Sha256Digest fingerprint{};
  std::vector<LossState> losses;

  // Adds the other's samples, which must be other samples. INVALID_ARGUMENT: FINGERPRINT_MISMATCH;
  // DTYPE_MISMATCH where one computed in f32 and the other in f64, or SHAPE_MISMATCH where they
  // pool other numbers of classes; this state is then as it was. Where labels or weights differ,
  // the merged one has none.
  absl::Status Merge(const EvaluationState& other);

  std::string Serialize() const;
  // INVALID_ARGUMENT (INVALID_STATE) for bytes that are corrupted, cut or foreign;
  // FAILED_PRECONDITION for another format (STATE_FORMAT) or arithmetic revision
  // (ARITHMETIC_REVISION). Never allocates more than the bytes justify.
  static absl::StatusOr<EvaluationState> Parse(std::string_view bytes);
};

}  // namespace lossd

#endif  // LOSSD_LIB_EVALUATION_STATE_H_
