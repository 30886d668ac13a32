// The cases of the golden-bits test: every loss of the catalogue with every set of its inputs, both
// compute types and several sets of parameters.
//
// Thread-safety: pure functions. Cases point into the catalogue.
#ifndef LOSSD_TESTS_GOLDEN_CASES_H_
#define LOSSD_TESTS_GOLDEN_CASES_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/losses/descriptor.h"
#include "lossd/v1/losses.pb.h"
#include "tests/golden/inputs.h"

namespace lossd::golden {

struct Case {
  std::string name;  // "f32 huber { delta: 2 } (predictions,targets) plain"
  v1::Loss loss;
  const Signature* signature = nullptr;
  bool streams = true;
  v1::DataType dtype = v1::DATA_TYPE_FLOAT32;
  v1::NonFinitePolicy non_finite = v1::NON_FINITE_POLICY_PROPAGATE;
  // A handful of samples whose items the golden file shows.
  DatasetSpec few;
  // Tails, chunks and blocks: shapes from one class to more than a chunk of the log-sum-exp.
  std::vector<DatasetSpec> many;
};

// In the order of the catalogue. FAILED_PRECONDITION naming what has no case: a loss, a parameter
// (kept at its default in all of them), a signature.
absl::StatusOr<std::vector<Case>> AllCases();

}  // namespace lossd::golden

#endif  // LOSSD_TESTS_GOLDEN_CASES_H_
