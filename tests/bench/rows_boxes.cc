// Boxes and masks.
#include "tests/bench/rows.h"

namespace lossd::bench {
namespace {

constexpr int64_t kBoxes = 16'000'000;

// Corners of boxes of 8 to 128 pixels in images of 640; `shift` of a box moves it off its target,
// so that most of the pairs overlap and some do not.
std::vector<double> Corners(double shift) {
  constexpr int kPeriod = 250007;
  Random random(1);  // the same boxes for predictions and targets
  Random shifts(2);
  std::uniform_real_distribution<double> place(0, 512), size(8, 128);
  std::normal_distribution<double> off(0, shift);
  std::vector<double> corners;
  for (int i = 0; i < kPeriod; ++i) {
    const double x = place(random), y = place(random), w = size(random), h = size(random);
    const double dx = shift > 0 ? off(shifts) : 0, dy = shift > 0 ? off(shifts) : 0;
    corners.insert(corners.end(), {x + dx, y + dy, x + dx + w * 1.1, y + dy + h * 0.9});
  }
  return corners;
}

void AddDice() {
  constexpr int64_t kSamples = 256, kPositions = 512 * 512;
  for (const char* input : {"probs", "logits"}) {
    Register({.name = std::string("masks/dice ") + input + " f32 64M",
              .data = std::string("masks ") + input,
              .make =
                  [input](Dataset* data) {
                    const Shape shape{kSamples, kPositions};
                    if (std::string(input) == "probs") {
                      data->AddUniform(input, DataType::kFloat32, shape, 0, 1);
                    } else {
                      data->AddNormal(input, DataType::kFloat32, shape, 0, 2);
                    }
                    data->AddLabels("targets", shape, 2, DataType::kFloat32);
                  },
              .losses = {{"dice"}}});
  }
}

}  // namespace

void RegisterBoxRows() {
  for (const char* loss : {"iou", "giou", "diou", "ciou"}) {
    Register({.name = std::string("boxes/") + loss + " f32 16M",
              .data = "boxes",
              .make =
                  [](Dataset* data) {
                    data->Add("predictions", DataType::kFloat32, {kBoxes, 4}, Corners(20));
                    data->Add("targets", DataType::kFloat32, {kBoxes, 4}, Corners(0));
                  },
              .losses = {{loss}}});
  }
  AddDice();
}

}  // namespace lossd::bench
