// Which predictions of a detection head a ground truth box is assigned to; yolo.cc states the
// rules.
//
// Thread-safety: constant once made. Ownership: views a WholeBlock, which outlives them. The
// block's values were checked: images and classes are in range, centers in [0,1], sizes in (0,1].
#ifndef LOSSD_LIB_LOSSES_YOLO_ASSIGNMENT_H_
#define LOSSD_LIB_LOSSES_YOLO_ASSIGNMENT_H_

#include <algorithm>
#include <array>
#include <cstddef>

#include "lib/forms/whole_kernels.h"

namespace lossd {

// Operands: a head a scale, as many as there may be, then the ground truth.
inline constexpr size_t kMaxHeads = kMaxWholeOperands - 1;
inline constexpr size_t kBoxesOperand = kMaxHeads;

// A prediction: tx, ty, tw, th, objectness, class logits.
inline constexpr size_t kBoxChannels = 4;
inline constexpr size_t kHeadChannels = 5;
// A ground truth box: image, class, cx, cy, w, h.
inline constexpr size_t kBoxNumbers = 6;

// A scale's predictions.
template <class T>
struct Head {
  Head(const WholeBlock<T>& block, size_t scale) {
    const WholeOperand<T>& operand = block.operands[scale];
    values = operand.values;
    images = operand.sizes[0];
    anchors = operand.sizes[1];
    height = operand.sizes[2];
    width = operand.sizes[3];
    channels = operand.sizes[4];
    anchor_sizes = (*block.groups)[scale].data();
  }
  size_t classes() const { return channels - kHeadChannels; }
  size_t predictions() const { return images * anchors * height * width; }

  const T* values;
  size_t images, anchors, height, width, channels;
  const std::array<double, 2>* anchor_sizes;  // width and height
};

// A pair of a ground truth box and a prediction. In grid units; the center is relative to the cell.
struct Assigned {
  size_t prediction;
  size_t label;
  std::array<double, 4> target;  // center, size
  std::array<double, 2> anchor;  // size
};

template <class T>
class Assignment {
 public:
  // `best_iou`: each box goes to one anchor of all scales; else to all whose ratio is below the
  // threshold.
  Assignment(const WholeBlock<T>& block, bool best_iou, double threshold)
      : block_(block),
        best_iou_(best_iou),
        threshold_(threshold),
        boxes_(block.operands[kBoxesOperand].values),
        count_(block.operands[kBoxesOperand].sizes[0]) {}

  // Calls use(pair) for every pair of the scale, by box, then by anchor.
  template <class Use>
  void ForEach(size_t scale, const Use& use) const {
    const Head<T> head(block_, scale);
    for (size_t m = 0; m < count_ && !block_.cancelled(); ++m) {
      const T* const box = boxes_ + m * kBoxNumbers;
      const Best best = best_iou_ ? FindBest(box) : Best();
      if (best_iou_ && best.scale != scale) continue;
      for (size_t a = 0; a < head.anchors; ++a) {
        if (best_iou_ ? a == best.anchor : Fits(head, a, box)) use(Assign(head, a, box));
      }
    }
  }

 private:
  struct Best {
    size_t scale = 0, anchor = 0;
    double iou = -1;
  };

  // The size of a box on a head's grid.
  static std::array<double, 2> SizeOnGrid(const Head<T>& head, const T* box) {
    return {static_cast<double>(box[4]) * static_cast<double>(head.width),
            static_cast<double>(box[5]) * static_cast<double>(head.height)};
  }

  bool Fits(const Head<T>& head, size_t anchor, const T* box) const {
    const std::array<double, 2> size = SizeOnGrid(head, box);
    const double width = size[0] / head.anchor_sizes[anchor][0];
    const double height = size[1] / head.anchor_sizes[anchor][1];
    return std::max({width, 1 / width, height, 1 / height}) < threshold_;
  }

  Best FindBest(const T* box) const {
    Best best;
    for (size_t scale = 0; scale < block_.groups->size(); ++scale) {
      const Head<T> head(block_, scale);
      const std::array<double, 2> size = SizeOnGrid(head, box);
      for (size_t a = 0; a < head.anchors; ++a) {
        const std::array<double, 2>& anchor = head.anchor_sizes[a];
        const double both = std::min(size[0], anchor[0]) * std::min(size[1], anchor[1]);
        const double either = size[0] * size[1] + anchor[0] * anchor[1] - both;
        if (both / either > best.iou) best = {scale, a, both / either};
      }
    }
    return best;
  }

  static Assigned Assign(const Head<T>& head, size_t anchor, const T* box) {
    const double x = static_cast<double>(box[2]) * static_cast<double>(head.width);
    const double y = static_cast<double>(box[3]) * static_cast<double>(head.height);
    const size_t column = std::min(static_cast<size_t>(x), head.width - 1);
    const size_t row = std::min(static_cast<size_t>(y), head.height - 1);
    const std::array<double, 2> size = SizeOnGrid(head, box);
    const size_t plane = static_cast<size_t>(box[0]) * head.anchors + anchor;
    return {(plane * head.height + row) * head.width + column,
            static_cast<size_t>(box[1]),
            {x - static_cast<double>(column), y - static_cast<double>(row), size[0], size[1]},
            head.anchor_sizes[anchor]};
  }

  const WholeBlock<T>& block_;
  const bool best_iou_;
  const double threshold_;
  const T* const boxes_;
  const size_t count_;
};

}  // namespace lossd

#endif  // LOSSD_LIB_LOSSES_YOLO_ASSIGNMENT_H_
