#include "tests/golden/cases.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string_view>

#include "google/protobuf/text_format.h"
#include "lib/losses/bind.h"
#include "lib/losses/catalogue.h"
#include "lib/wire/decode.h"

namespace lossd::golden {
namespace {

// Sets of parameters, the first one the defaults. A new loss adds its line.
const std::map<std::string_view, std::vector<const char*>>& ParameterTexts() {
  static const auto* texts = new std::map<std::string_view, std::vector<const char*>>{
      {"mse", {""}},
      {"mae", {""}},
      {"mean_bias", {""}},
      {"smooth_l1", {"", "beta: 0", "beta: 0.125", "beta: 3e5"}},
      {"huber", {"", "delta: 0.125", "delta: 1e6"}},
      {"log_cosh", {""}},
      {"quantile", {"", "q: 0.9", "q: 0", "q: 1"}},
      {"poisson_nll",
       {"", "full: true", "log_input: false", "log_input: false full: true eps: 0.5"}},
      {"gaussian_nll", {"", "full: true eps: 0.125"}},
      {"binary_cross_entropy", {"", "unit: UNIT_BITS"}},
      {"weighted_binary_cross_entropy", {"", "weight: 3.5", "weight: 0 unit: UNIT_BITS"}},
      {"balanced_binary_cross_entropy",
       {"", "unit: UNIT_BITS", "beta: 0.3", "beta: 1 unit: UNIT_BITS"}},
      {"focal", {"", "gamma: 0", "gamma: 0.5 unit: UNIT_BITS", "gamma: 3 alpha: 0.25"}},
      {"hinge", {"", "margin: 0.3 squared: true", "margin: -1"}},
      {"soft_margin", {""}},
      {"hinge_embedding", {"", "margin: 2.5"}},
      {"margin_ranking", {"", "margin: 0.7"}},
      {"zero_one", {"", "top_k: 3", "ignore_index: 0"}},
      {"cross_entropy",
       {"", "label_smoothing: 0.1", "label_smoothing: 1 unit: UNIT_BITS",
        "ignore_index: 0 unit: UNIT_BITS"}},
      {"entropy", {"", "unit: UNIT_BITS"}},
      {"kl_divergence",
       {"", "unit: UNIT_BITS", "pointwise: true", "pointwise: true unit: UNIT_BITS"}},
      {"ctc", {"", "blank: 1", "zero_infinity: true", "zero_infinity: true time_major: true"}},
      {"multi_margin", {"", "margin: 0.25", "p: 2", "p: 2 margin: -0.5"}},
      {"multilabel_margin", {""}},
      {"multilabel_soft_margin", {""}},
      {"cosine_embedding", {"", "margin: 0.25"}},
      {"contrastive",
       {"", "margin: 2.5", "margin: 3 label_convention: LABEL_CONVENTION_ONE_IS_SIMILAR"}},
      {"triplet",
       {"", "margin: 0.25 swap: true", "p: 1", "p: 3.5 eps: 0 swap: true",
        "distance: DISTANCE_SQUARED_EUCLIDEAN", "margin: 2 distance: DISTANCE_COSINE swap: true"}},
      {"center", {""}},
      {"center_invariant", {"", "gamma: 0.01", "gamma: 0 center_weight: 0.5"}},
      {"ring", {"", "radius: 4"}},
      {"iou", {"", "format: BOX_FORMAT_CXCYWH eps: 0"}},
      {"giou", {"", "format: BOX_FORMAT_XYWH eps: 0.5"}},
      {"diou", {"", "format: BOX_FORMAT_CXCYWH eps: 1e-3"}},
      {"ciou", {"", "format: BOX_FORMAT_XYWH", "eps: 0"}},
      {"dice",
       {"", "smooth: 0.5 squared: true", "ignore_index: 1", "pooling: POOLING_WHOLE",
        "pooling: POOLING_WHOLE smooth: 2 squared: true ignore_index: 0"}},
      {"jaccard",
       {"", "smooth: 1", "squared: true ignore_index: 0", "pooling: POOLING_WHOLE",
        "pooling: POOLING_WHOLE squared: true"}},
      {"tversky",
       {"", "alpha: 0.3 beta: 0.7 smooth: 1", "gamma: 0.75 ignore_index: 1",
        "pooling: POOLING_WHOLE", "pooling: POOLING_WHOLE alpha: 1 beta: 0.25 gamma: 1.5"}},
      {"softmax", {""}},
      {"modified_softmax", {""}},
      {"l_softmax", {"", "margin: 1", "margin: 3 annealing: 5"}},
      {"a_softmax", {"", "margin: 2", "margin: 7 annealing: 0.5"}},
      {"am_softmax", {"", "scale: 3 margin: -0.25"}},
      {"cosface", {"", "scale: 8 margin: 0.5"}},
      {"arcface", {"", "margin: 1.25 easy_margin: true", "scale: 5 margin: -3"}},
      {"normface", {"", "scale: 1.5"}},
      {"coco", {"", "alpha: 3"}},
      {"l2_softmax", {"", "alpha: 7"}},
      {"range", {"", "k: 1 alpha: 0.3 margin: 20", "k: 7 beta: 2 margin: 1000"}},
      {"yolo",
       {"scales { anchors { width: 1 height: 0.75 } anchors { width: 0.5 height: 2 } }",
        "scales { anchors { width: 1 height: 0.75 } anchors { width: 0.5 height: 2 } } "
        "scales { anchors { width: 1.5 height: 1 } anchors { width: 2 height: 3 } } "
        "box_weight: 2 objectness_weight: 0.7 no_object_weight: 0.5 classification_weight: 1.5 "
        "localization: YOLO_LOCALIZATION_MSE anchor_threshold: 2.5",
        "scales { anchors { width: 1 height: 0.75 } anchors { width: 0.5 height: 2 } } "
        "scales { anchors { width: 1.5 height: 1 } anchors { width: 2 height: 3 } } "
        "assignment: YOLO_ASSIGNMENT_BEST_IOU"}},
  };
  return *texts;
}

// Which inputs a case uploads.
enum class Uploads {
  kPlain,     // the required ones
  kWeighted,  // all, and sample_weight
  kSkip,      // the required ones, with non-finite items left out
};

const char* Name(Uploads uploads) {
  switch (uploads) {
    case Uploads::kPlain:
      return "plain";
    case Uploads::kWeighted:
      return "weighted";
    case Uploads::kSkip:
      return "skip";
  }
  return "";
}

const char* Name(v1::DataType dtype) {
  switch (dtype) {
    case v1::DATA_TYPE_FLOAT64:
      return "f64";
    case v1::DATA_TYPE_FLOAT16:
      return "f16";
    case v1::DATA_TYPE_BFLOAT16:
      return "bf16";
    default:
      return "f32";
  }
}

std::string RolesOf(const Signature& signature) {
  std::string roles;
  for (const Input& input : signature.inputs) {
    if (input.optional) continue;
    roles += roles.empty() ? '(' : ',';
    roles += input.name;
  }
  roles += ')';
  return roles;
}

bool Same(double a, double b) { return a == b || (a != a && b != b); }

// The parameters that are not at their defaults, as bits.
uint32_t ChangedParameters(const LossSpec& spec) {
  uint32_t changed = 0;
  for (int i = 0; i < spec.row->parameters.size; ++i) {
    const bool is_default = Same(spec.parameters[i], spec.row->parameters[i].default_value);
    changed |= (is_default ? 0u : 1u) << i;
  }
  return changed;
}

uint64_t SeedOf(std::string_view name) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : name) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

std::vector<std::vector<int64_t>> ShapesOf(const Signature& signature, bool big) {
  std::vector<std::vector<int64_t>> shapes;
  switch (signature.inputs[0].shape) {
    case ShapeRule::kElements:
      // Two dimensions: a pos_weight belongs to the last one, which no batch may cut.
      shapes = {{333, 3}, {1, 1}, {9, 4, 2}};
      if (big) shapes.push_back({60000, 5});
      break;
    case ShapeRule::kFrames:  // two classes at least: a label and the blank
      shapes = {{60, 2}, {24, 33}, {3, 4099}};
      if (big) shapes.push_back({3000, 10});
      break;
    case ShapeRule::kHead:
      shapes = {{3, 1}, {2, 2}, {9, 4}, {5, 80}};
      break;
    case ShapeRule::kClasses:
      shapes = {{5, 3, 2, 3}};
      [[fallthrough]];
    default:
      shapes.insert(shapes.end(), {{41, 1}, {60, 2}, {70, 10}, {24, 33}, {5, 130}, {4, 4099}});
      if (big) shapes.push_back({20000, 10});
  }
  return shapes;
}

// Samples of many positions. Sums by class that are pooled are of one number of classes.
void AddMaskShapes(const Signature& signature, const LossSpec& spec,
                   const std::vector<int64_t>& few, std::vector<std::vector<int64_t>>* shapes) {
  if (signature.inputs[0].shape != ShapeRule::kClasses) {
    shapes->push_back({3, 5000});
    return;
  }
  shapes->push_back({2, 5, 17, 19});
  if (!signature.pooling.wanted(spec.parameters.data())) return;
  std::erase_if(*shapes, [&](const std::vector<int64_t>& shape) { return shape[1] != few[1]; });
  shapes->push_back({300, 5});
}

class CaseMaker {
 public:
  absl::Status AddLoss(const LossRow& row) {
    const auto texts = ParameterTexts().find(row.name);
    if (texts == ParameterTexts().end()) {
      return absl::FailedPreconditionError("no golden case for loss " + std::string(row.name));
    }
    uint32_t changed = 0;
    std::set<const Signature*> covered;
    for (const char* text : texts->second) {
      absl::Status s = AddParameters(row, text, &changed, &covered);
      if (!s.ok()) return s;
    }
    for (int i = 0; i < row.parameters.size; ++i) {
      // An update is no part of a stream, and changes no item.
      const std::string_view name = row.parameters[i].name;
      if (row.update_parameter != nullptr && name == row.update_parameter) continue;
      if ((changed >> i & 1) == 0) {
        return absl::FailedPreconditionError("no golden case changes " + std::string(row.name) +
                                             "." + row.parameters[i].name);
      }
    }
    for (const Signature& signature : row.signatures) {
      if (!covered.contains(&signature)) {
        return absl::FailedPreconditionError("no golden case for " + std::string(row.name) + " " +
                                             RolesOf(signature));
      }
    }
    return absl::OkStatus();
  }

  std::vector<Case> Take() { return std::move(cases_); }

 private:
  absl::Status AddParameters(const LossRow& row, const std::string& text, uint32_t* changed,
                             std::set<const Signature*>* covered) {
    const std::string loss_text =
        std::string(row.name) + (text.empty() ? " {}" : " { " + text + " }");
    google::protobuf::RepeatedPtrField<v1::Loss> losses;
    if (!google::protobuf::TextFormat::ParseFromString(loss_text, losses.Add())) {
      return absl::FailedPreconditionError("not a loss: " + loss_text);
    }
    const auto specs = DecodeLosses(losses);
    if (!specs.ok()) return specs.status();
    const LossSpec& spec = specs->front();
    const uint32_t changed_here = ChangedParameters(spec);
    *changed |= changed_here;
    for (const Signature& signature : row.signatures) {
      if ((changed_here & signature.unused_parameters) != 0) continue;
      covered->insert(&signature);
      const auto add = [&](v1::DataType dtype, Uploads uploads) {
        Add(losses[0], spec, signature, loss_text, dtype, uploads);
      };
      for (const v1::DataType dtype : {v1::DATA_TYPE_FLOAT32, v1::DATA_TYPE_FLOAT64}) {
        add(dtype, Uploads::kPlain);
        add(dtype, Uploads::kWeighted);
      }
      if (changed_here != 0) continue;
      add(v1::DATA_TYPE_FLOAT32, Uploads::kSkip);
      add(v1::DATA_TYPE_FLOAT64, Uploads::kSkip);
      add(v1::DATA_TYPE_FLOAT16, Uploads::kPlain);
      add(v1::DATA_TYPE_BFLOAT16, Uploads::kPlain);
    }
    return absl::OkStatus();
  }

  void Add(const v1::Loss& loss, const LossSpec& spec, const Signature& signature,
           const std::string& loss_text, v1::DataType dtype, Uploads uploads) {
    Case made;
    made.name =
        std::string(Name(dtype)) + " " + loss_text + " " + RolesOf(signature) + " " + Name(uploads);
    made.loss = loss;
    made.signature = &signature;
    made.streams = spec.row->streams;
    made.dtype = dtype;
    if (uploads == Uploads::kSkip) made.non_finite = v1::NON_FINITE_POLICY_SKIP;
    const bool rows = signature.item != ItemKind::kElement;
    DatasetSpec base;
    base.dtype = dtype;
    base.optional_inputs = base.sample_weight = uploads == Uploads::kWeighted;
    const int ignore_index = FindParameter(*spec.row, "ignore_index");
    if (ignore_index >= 0 && !std::isnan(spec.parameters[ignore_index]))
      base.ignored_label = static_cast<int64_t>(spec.parameters[ignore_index]);
    if (signature.inputs[0].shape == ShapeRule::kFrames) {
      base.blank = static_cast<int64_t>(spec.parameters[kSequenceBlank]);
      base.time_major = spec.parameters[kSequenceTimeMajor] != 0;
    }
    base.whole_batch = !spec.row->streams;
    base.heads = spec.groups.size();
    base.seed = SeedOf(made.name);
    made.few = base;
    made.few.shape = rows ? std::vector<int64_t>{6, 5} : std::vector<int64_t>{4, 3};
    // Beyond a chunk of a thread's work; once a loss and compute type, for it takes longest.
    const bool big = spec.row->streams && uploads == Uploads::kSkip &&
                     &signature == spec.row->signatures.begin();
    std::vector<std::vector<int64_t>> shapes = ShapesOf(signature, big);
    if (signature.item == ItemKind::kSample)
      AddMaskShapes(signature, spec, made.few.shape, &shapes);
    for (const std::vector<int64_t>& shape : shapes) {
      base.seed += 1;
      base.shape = shape;
      made.many.push_back(base);
    }
    cases_.push_back(std::move(made));
  }

  std::vector<Case> cases_;
};

}  // namespace

absl::StatusOr<std::vector<Case>> AllCases() {
  CaseMaker maker;
  for (const LossRow& row : Catalogue::Get().rows()) {
    if (absl::Status s = maker.AddLoss(row); !s.ok()) return s;
  }
  return maker.Take();
}

}  // namespace lossd::golden
