#include "tests/golden/cases.h"

#include <algorithm>
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
    case ShapeRule::kClasses:
      shapes = {{5, 3, 2, 3}};
      [[fallthrough]];
    default:
      shapes.insert(shapes.end(), {{41, 1}, {60, 2}, {70, 10}, {24, 33}, {5, 130}, {4, 4099}});
      if (big) shapes.push_back({20000, 10});
  }
  return shapes;
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
    made.dtype = dtype;
    if (uploads == Uploads::kSkip) made.non_finite = v1::NON_FINITE_POLICY_SKIP;
    const bool rows = signature.item != ItemKind::kElement;
    DatasetSpec base;
    base.dtype = dtype;
    base.optional_inputs = base.sample_weight = uploads == Uploads::kWeighted;
    const int ignore_index = FindParameter(*spec.row, "ignore_index");
    if (ignore_index >= 0) base.ignored_label = static_cast<int64_t>(spec.parameters[ignore_index]);
    base.seed = SeedOf(made.name);
    made.few = base;
    made.few.shape = rows ? std::vector<int64_t>{6, 5} : std::vector<int64_t>{4, 3};
    // Beyond a chunk of a thread's work; once a loss and compute type, for it takes longest.
    const bool big = uploads == Uploads::kSkip && &signature == spec.row->signatures.begin();
    for (const std::vector<int64_t>& shape : ShapesOf(signature, big)) {
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
