// The shapes that the inputs of a signature agree on, and where errors name an input.
//
// Thread-safety: a checker belongs to one thread. It keeps a reference to the loss as asked for.
#ifndef LOSSD_LIB_LOSSES_SHAPE_CHECKER_H_
#define LOSSD_LIB_LOSSES_SHAPE_CHECKER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "lib/losses/bind.h"

namespace lossd {

// The path of a tensor in the request.
std::string InputPath(std::string_view tensor);

// SHAPE_MISMATCH: the tensor should have had the shape that `expected` describes.
absl::Status ShapeError(const LossSpec& spec, std::string_view tensor, const std::string& expected,
                        const Shape& shape);

class ShapeChecker {
 public:
  explicit ShapeChecker(const LossSpec& spec) : spec_(spec) {}

  // SHAPE_MISMATCH unless a tensor's shape is that of the input, given those checked before it, in
  // the order of the signature.
  absl::Status Check(const Input& input, std::string_view tensor, const Shape& shape);

  // That of the first input, which always is an operand.
  const Shape& main() const { return *main_; }
  // Rows of the table; 0 without one.
  int64_t table_rows() const { return table_rows_; }

 private:
  absl::Status Agree(const Input& input, std::string_view tensor, const Shape& shape,
                     int minimum_rank, int maximum_rank);
  absl::Status CheckFrames(std::string_view tensor, const Shape& shape);
  absl::Status CheckTable(std::string_view tensor, const Shape& shape);
  absl::Status Expect(std::string_view tensor, const Shape& expected, const Shape& shape) const;

  const LossSpec& spec_;
  std::optional<Shape> main_;
  int64_t table_rows_ = 0;
};

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_SHAPE_CHECKER_H_
