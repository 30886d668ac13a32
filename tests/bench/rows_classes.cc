// Losses of rows of logits: many classes, a language model's vocabulary, few classes.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

struct Size {
  int64_t rows;
  int64_t classes;
};

constexpr Size kSizes[] = {{65536, 1000}, {4096, 32000}, {1024, 128256}, {1 << 20, 10}};

}  // namespace

void RegisterClassRows() {
  for (const auto& [dtype, type] :
       {std::pair{DataType::kFloat32, "f32"}, std::pair{DataType::kBfloat16, "bf16"}}) {
    for (const Size size : kSizes) {
      const std::string what = std::string(type) + " " + Shape{size.rows, size.classes}.ToString();
      Register({.name = "classes/cross_entropy " + what,
                .data = "classes " + what,
                .make =
                    [dtype = dtype, size](Dataset* data) {
                      data->AddNormal("logits", dtype, {size.rows, size.classes}, 0, 2);
                      data->AddLabels("labels", {size.rows}, size.classes);
                    },
                .losses = {{"cross_entropy"}}});
    }
  }
}

}  // namespace lossd::bench
