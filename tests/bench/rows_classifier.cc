// Losses of a classifier: face recognition, and a language model's head. Bound by the matrix
// product; GFLOPs counts that product alone.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

struct Size {
  int64_t rows;
  int64_t width;
  int64_t classes;
};

constexpr std::pair<DataType, const char*> kFloat32 = {DataType::kFloat32, "f32"};
constexpr std::pair<DataType, const char*> kBfloat16 = {DataType::kBfloat16, "bf16"};
constexpr std::pair<DataType, const char*> kFloat64 = {DataType::kFloat64, "f64"};

Work ClassifierWork(const std::string& group, const char* loss, Size size,
                    std::pair<DataType, const char*> type) {
  const std::string sizes =
      Shape{size.rows, size.width}.ToString() + "x" + std::to_string(size.classes);
  const std::string what = std::string(type.second) + " " + sizes;
  const double product = 2.0 * static_cast<double>(size.rows * size.width * size.classes);
  return {.name = group + "/" + loss + " " + what,
          .data = "classifier " + what,
          .make =
              [=](Dataset* data) {
                data->AddNormal("embeddings", type.first, {size.rows, size.width});
                data->AddNormal("classifier", type.first, {size.classes, size.width}, 0, 0.05);
                data->AddLabels("labels", {size.rows}, size.classes);
              },
          .losses = {{loss}},
          .operations = product,
          .samples = 3};
}

}  // namespace

void RegisterClassifierRows() {
  constexpr Size kFaces = {1024, 512, 100000};
  for (const auto& type : {kFloat32, kBfloat16, kFloat64}) {
    Register(ClassifierWork("classifier", "arcface", kFaces, type));
    if (type == kFloat32) {
      Work both = ClassifierWork("classifier", "arcface", kFaces, type);
      both.name += ", gradients";
      both.gradients = {"embeddings", "classifier"};
      Register(both);
    }
  }
  for (const auto& type : {kFloat32, kBfloat16}) {
    for (const int64_t rows : {64, 16})
      Register(ClassifierWork("head", "softmax", {rows, 4096, 128256}, type));
  }
}

}  // namespace lossd::bench
