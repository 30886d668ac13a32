#include "lib/losses/shape_checker.h"

#include "absl/strings/str_cat.h"
#include "lib/base/status.h"
#include "lib/losses/bind_whole.h"

namespace lossd {

std::string InputPath(std::string_view tensor) { return "inputs[\"" + std::string(tensor) + "\"]"; }

absl::Status ShapeError(const LossSpec& spec, std::string_view tensor, const std::string& expected,
                        const Shape& shape) {
  return InvalidArgument("SHAPE_MISMATCH", InputPath(tensor) + ".shape",
                         absl::StrCat(spec.row->name, ": ", std::string(tensor), ": expected ",
                                      expected, ", got ", shape.ToString()));
}

absl::Status ShapeChecker::Check(const Input& input, std::string_view tensor, const Shape& shape) {
  switch (input.shape) {
    case ShapeRule::kElements:
      return Agree(input, tensor, shape, 1, Shape::kMaxRank);
    case ShapeRule::kClasses:
      return Agree(input, tensor, shape, 2, Shape::kMaxRank);
    case ShapeRule::kRows:
    case ShapeRule::kEmbeddings:
      return Agree(input, tensor, shape, 2, 2);
    case ShapeRule::kBoxes:
      if (shape.rank() != 2 || shape[1] != 4) return ShapeError(spec_, tensor, "[N,4]", shape);
      return Agree(input, tensor, shape, 2, 2);
    case ShapeRule::kPositions:
    case ShapeRule::kRowValues:
      return Expect(tensor, main_->Without(1), shape);
    case ShapeRule::kLabelRows:
      return Expect(tensor, *main_, shape);
    case ShapeRule::kTable:
      return CheckTable(tensor, shape);
    case ShapeRule::kFrames:
      return CheckFrames(tensor, shape);
    case ShapeRule::kSequences:
      if (shape.rank() == 2 && shape[0] == (*main_)[0]) return absl::OkStatus();
      return ShapeError(spec_, tensor, absl::StrCat("[", (*main_)[0], ",S]"), shape);
    case ShapeRule::kInputLengths:
    case ShapeRule::kLabelLengths:
      return Expect(tensor, Shape{(*main_)[0]}, shape);
    case ShapeRule::kTableVector:
      return Expect(tensor, Shape{table_rows_}, shape);
    case ShapeRule::kHead:
      if (absl::Status s = CheckHead(spec_, tensor, shape, main_); !s.ok()) return s;
      if (!main_.has_value()) main_ = shape;
      return absl::OkStatus();
    case ShapeRule::kHeadBoxes:
      if (shape.rank() == 2 && shape[1] == 6) return absl::OkStatus();
      return ShapeError(spec_, tensor, "[M,6]", shape);
    case ShapeRule::kClassVector:
      return Expect(tensor, Shape{(*main_)[1]}, shape);
    case ShapeRule::kLastDimension:
      return Expect(tensor, Shape{(*main_)[main_->rank() - 1]}, shape);
  }
  return absl::OkStatus();
}

absl::Status ShapeChecker::Agree(const Input& input, std::string_view tensor, const Shape& shape,
                                 int minimum_rank, int maximum_rank) {
  if (main_.has_value()) return Expect(tensor, *main_, shape);
  if (shape.rank() < minimum_rank || shape.rank() > maximum_rank) {
    return ShapeError(spec_, tensor, Describe(input.shape), shape);
  }
  if (input.shape != ShapeRule::kElements && shape[1] < 1) {
    const char* axis = input.shape == ShapeRule::kEmbeddings ? "D" : "C";
    return ShapeError(spec_, tensor,
                      std::string(Describe(input.shape)) + " with " + axis + " of at least 1",
                      shape);
  }
  main_ = shape;
  return absl::OkStatus();
}

// The main shape is [N,T,C], whichever comes first in memory.
absl::Status ShapeChecker::CheckFrames(std::string_view tensor, const Shape& shape) {
  const bool time_major = spec_.parameters[kSequenceTimeMajor] != 0;
  if (shape.rank() != 3 || shape[2] < 1) {
    return ShapeError(spec_, tensor,
                      std::string(time_major ? "[T,N,C]" : "[N,T,C]") + " with C of at least 1",
                      shape);
  }
  main_ = time_major ? Shape{shape[1], shape[0], shape[2]} : shape;
  return absl::OkStatus();
}

absl::Status ShapeChecker::CheckTable(std::string_view tensor, const Shape& shape) {
  const int64_t width = (*main_)[1];
  if (shape.rank() != 2 || shape[1] != width || shape[0] < 1) {
    return ShapeError(spec_, tensor, absl::StrCat("[C,", width, "] with C of at least 1"), shape);
  }
  table_rows_ = shape[0];
  return absl::OkStatus();
}

absl::Status ShapeChecker::Expect(std::string_view tensor, const Shape& expected,
                                  const Shape& shape) const {
  if (shape == expected) return absl::OkStatus();
  return ShapeError(spec_, tensor, expected.ToString(), shape);
}

}  // namespace lossd
