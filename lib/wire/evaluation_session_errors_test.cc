// Every error of a stream by its code, reason and path.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lib/wire/engine_testing.h"
#include "lib/wire/evaluation_session.h"

namespace lossd {
namespace {

using v1::EvaluateRequest;

LossEngine* Engine() {
  static LossEngine* const engine = MakeEngine().release();
  return engine;
}

// A stream of steps, of which the last one fails.
struct StreamErrorCase {
  std::string name;
  absl::StatusCode code;
  std::string reason;
  std::string field;
  std::vector<EvaluateRequest> steps;
};

void ExpectEach(LossEngine* engine, const std::vector<StreamErrorCase>& cases) {
  for (const StreamErrorCase& c : cases) {
    SCOPED_TRACE(c.name);
    const auto session = engine->Evaluate();
    for (size_t i = 0; i + 1 < c.steps.size(); ++i) {
      const absl::Status status = Take(session.get(), c.steps[i]);
      EXPECT_TRUE(status.ok()) << status;
    }
    ExpectError(Take(session.get(), c.steps.back()), c.code, c.reason, c.field);
    // A failed stream takes nothing more.
    ExpectInvalid(Take(session.get(), Step("finish {}")), "STREAM_ENDED", "step");
    EXPECT_FALSE(session->finished() && c.reason != "STREAM_ENDED");
  }
}

constexpr absl::StatusCode kInvalid = absl::StatusCode::kInvalidArgument;

EvaluateRequest SpecWith(const std::string& fields) { return Step("spec { losses { mse {} } " + fields + " }"); }
EvaluateRequest WithInput(EvaluateRequest step, const std::string& name, const v1::Tensor& tensor) {
  (*step.mutable_batch()->mutable_inputs())[name] = tensor;
  return step;
}
EvaluateRequest WithUnknown(EvaluateRequest step,
                            const std::function<google::protobuf::Message*(EvaluateRequest*)>& at) {
  google::protobuf::Message* message = at(&step);
  message->GetReflection()->MutableUnknownFields(message)->AddVarint(200, 1);
  return step;
}

TEST(EvaluateErrors, OfTheOrderOfSteps) {
  const EvaluateRequest batch = PairBatch({1}, {0});
  const EvaluateRequest finish = Step("finish {}");
  EvaluateRequest numbered = NumberedBatch(1, 1);
  ExpectEach(Engine(), {
                           {"nothing", kInvalid, "NO_STEP", "step", {EvaluateRequest()}},
                           {"batch before spec", kInvalid, "NO_SPEC", "batch", {batch}},
                           {"constant before spec", kInvalid, "NO_SPEC", "constant", {Piece(0, 1)}},
                           {"finish before spec", kInvalid, "NO_SPEC", "finish", {finish}},
                           {"second spec", kInvalid, "SECOND_SPEC", "spec", {MseSpec(), MseSpec()}},
                           {"second spec later", kInvalid, "SECOND_SPEC", "spec", {MseSpec(), batch, MseSpec()}},
                           {"after finish", kInvalid, "STREAM_ENDED", "step", {MseSpec(), finish, batch}},
                           {"sequence after none", kInvalid, "MIXED_SEQUENCES", "batch.sequence",
                            {MseSpec(), batch, numbered}},
                           {"none after sequence", kInvalid, "MIXED_SEQUENCES", "batch.sequence",
                            {MseSpec(), NumberedBatch(0, 1), batch}},
                           {"gap at the start", absl::StatusCode::kFailedPrecondition, "SEQUENCE_GAP",
                            "batch.sequence", {MseSpec(), numbered}},
                           {"negative sequence", kInvalid, "INVALID_PARAMETER", "batch.sequence",
                            {MseSpec(), NumberedBatch(-1, 1)}},
                       });
}

TEST(EvaluateErrors, OfBatches) {
  const EvaluateRequest batch = PairBatch({1}, {0});
  EvaluateRequest ids = batch;
  ids.mutable_batch()->add_sample_ids(1);
  ids.mutable_batch()->add_sample_ids(2);
  ExpectEach(Engine(),
             {
                 {"unknown input", kInvalid, "UNKNOWN_INPUT", "batch.inputs[\"x\"]",
                  {MseSpec(), WithInput(batch, "x", Floats({1}, {1}))}},
                 {"missing input", kInvalid, "MISSING_INPUT", "batch.inputs[\"predictions\"]",
                  {MseSpec(), Step("batch {}")}},
                 {"shape", kInvalid, "SHAPE_MISMATCH", "batch.inputs[\"targets\"].shape",
                  {MseSpec(), WithInput(batch, "targets", Floats({2}, {1, 1}))}},
                 {"data", kInvalid, "DATA_SIZE", "batch.inputs[\"targets\"].data",
                  {MseSpec(), WithInput(batch, "targets", Floats({2}, {1}))}},
                 {"compute type changes", kInvalid, "DTYPE_CHANGE", "batch.inputs",
                  {MseSpec(), batch, WithInput(batch, "targets", Doubles({1}, {1}))}},
                 {"binding", kInvalid, "MISSING_INPUT", "spec.losses[0].inputs[\"predictions\"]",
                  {Step("spec { losses { mse {} inputs { key: 'predictions' value: 'p' } } }"), batch}},
                 {"sample ids", kInvalid, "SHAPE_MISMATCH", "batch.sample_ids", {MseSpec(), ids}},
             });
}

TEST(EvaluateErrors, SampleIdsCountSamplesNotElements) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), MseSpec()).ok());
  for (const int64_t size : {3, 0}) {
    EvaluateRequest step;
    auto& inputs = *step.mutable_batch()->mutable_inputs();
    const std::vector<float> values(static_cast<size_t>(2 * size), 1);
    inputs["predictions"] = inputs["targets"] = Floats({2, size}, values);
    step.mutable_batch()->add_sample_ids(1);
    step.mutable_batch()->add_sample_ids(2);
    EXPECT_TRUE(Take(session.get(), step).ok()) << size;
  }
}

TEST(EvaluateErrors, OfSpecs) {
  const auto unserved = absl::StatusCode::kUnimplemented;
  ExpectEach(
      Engine(),
      {
          {"no loss", kInvalid, "NO_LOSS", "spec.losses", {Step("spec {}")}},
          {"parameter", kInvalid, "INVALID_PARAMETER", "spec.losses[0].huber.delta",
           {Step("spec { losses { huber { delta: -1 } } }")}},
          {"cadence bytes", kInvalid, "INVALID_PARAMETER", "spec.checkpoint_cadence.bytes",
           {SpecWith("checkpoint_cadence { bytes: 0 }")}},
          {"cadence seconds", kInvalid, "INVALID_PARAMETER", "spec.checkpoint_cadence.seconds",
           {SpecWith("checkpoint_cadence { seconds: nan }")}},
          {"cadence seconds inf", kInvalid, "INVALID_PARAMETER", "spec.checkpoint_cadence.seconds",
           {SpecWith("checkpoint_cadence { seconds: inf }")}},
          {"negative sequence", kInvalid, "INVALID_PARAMETER", "spec.next_sequence", {SpecWith("next_sequence: -1")}},
          {"sequence without room to count", kInvalid, "INVALID_PARAMETER", "spec.next_sequence",
           {SpecWith("next_sequence: 9223372036854775807")}},
          {"label too long", kInvalid, "LABEL_TOO_LONG", "spec.labels.run",
           {SpecWith("labels { run: '" + std::string(129, 'r') + "' }")}},
          {"slices", unserved, "NOT_SERVED", "spec.slice_columns", {SpecWith("slice_columns: 'a'")}},
          {"worst samples", unserved, "NOT_SERVED", "spec.worst_samples", {SpecWith("worst_samples: 1")}},
          {"quantiles", unserved, "NOT_SERVED", "spec.quantiles", {SpecWith("quantiles: 0.5")}},
          {"unknown field", kInvalid, "UNKNOWN_FIELD", "spec",
           {WithUnknown(MseSpec(), [](auto* step) { return step->mutable_spec(); })}},
          {"unknown field of a loss", kInvalid, "UNKNOWN_FIELD", "spec.losses[0].mse",
           {WithUnknown(MseSpec(), [](auto* step) { return step->mutable_spec()->mutable_losses(0)->mutable_mse(); })}},
          {"unknown field of the state", kInvalid, "UNKNOWN_FIELD", "spec.resume_from",
           {WithUnknown(MseSpec(), [](auto* step) { return step->mutable_spec()->mutable_resume_from(); })}},
          {"unknown policy", kInvalid, "UNKNOWN_FIELD", "spec.non_finite",
           {[] {
             EvaluateRequest step = MseSpec();
             step.mutable_spec()->set_non_finite(v1::NonFinitePolicy(4));
             return step;
           }()}},
          {"foreign state", kInvalid, "INVALID_STATE", "spec.resume_from.value",
           {SpecWith("resume_from { value: 'some other bytes of some other thing' }")}},
      });
}

TEST(EvaluateErrors, OfResumeFrom) {
  const auto session = Engine()->Evaluate();
  ASSERT_TRUE(Take(session.get(), MseSpec()).ok());
  ASSERT_TRUE(Take(session.get(), PairBatch({1}, {0})).ok());
  const std::string state = ResultOf(session.get()).state().value();
  const auto resume = [&](const std::string& spec, const std::string& value) {
    EvaluateRequest step = Step(spec);
    step.mutable_spec()->mutable_resume_from()->set_value(value);
    return step;
  };
  const std::string mse = "spec { losses { mse {} } }";
  std::string corrupted = state;
  corrupted[40] = static_cast<char>(corrupted[40] ^ 1);
  const std::string field = "spec.resume_from.value";
  ExpectEach(Engine(),
             {
                 {"corrupted", kInvalid, "INVALID_STATE", field, {resume(mse, corrupted)}},
                 {"cut", kInvalid, "INVALID_STATE", field, {resume(mse, state.substr(0, state.size() - 1))}},
                 {"another loss", kInvalid, "FINGERPRINT_MISMATCH", field,
                  {resume("spec { losses { mae {} } }", state)}},
                 {"another policy", kInvalid, "FINGERPRINT_MISMATCH", field,
                  {resume("spec { losses { mse {} } non_finite: NON_FINITE_POLICY_SKIP }", state)}},
                 {"another compute type", kInvalid, "DTYPE_CHANGE", "batch.inputs",
                  {resume(mse, state), WithInput(PairBatch({1}, {0}), "targets", Doubles({1}, {1}))}},
             });
  // Labels, weights and bindings are no part of it.
  const auto other = Engine()->Evaluate();
  EXPECT_TRUE(
      Take(other.get(), resume("spec { losses { mse {} label: 'x' weight: 3 inputs { key: 'targets' value: 't' } } }",
                               state))
          .ok());
}

TEST(EvaluateErrors, OfConstants) {
  const EvaluateRequest spec = ConstantSpec();
  const auto changed = [&](const std::function<void(v1::EvaluationSpec*)>& change) {
    EvaluateRequest step = spec;
    change(step.mutable_spec());
    return step;
  };
  const auto renamed = [&](const std::string& name) {
    return changed([&](auto* s) { s->mutable_constants(0)->set_name(name); });
  };
  EvaluateRequest other_name = Piece(0, 5);
  other_name.mutable_constant()->set_name("v");
  EvaluateRequest other_type = Piece(0, 5);
  *other_type.mutable_constant()->mutable_piece() = Doubles({5}, {1, 2, 3, 4, 5});
  EvaluateRequest other_rank = Piece(0, 5);
  *other_rank.mutable_constant()->mutable_piece() = Floats({1, 5}, {1, 2, 3, 4, 5});
  EvaluateRequest too_long = Piece(0, 5);
  *too_long.mutable_constant()->mutable_piece() = Floats({6}, {1, 2, 3, 4, 5, 6});
  EvaluateRequest short_data = Piece(0, 5);
  *short_data.mutable_constant()->mutable_piece() = Floats({5}, {1, 2, 3, 4});
  ExpectEach(
      Engine(),
      {
          {"incomplete", kInvalid, "CONSTANT_INCOMPLETE", "constant", {spec, Piece(0, 4), RowBatch()}},
          {"incomplete at the end", kInvalid, "CONSTANT_INCOMPLETE", "constant", {spec, Step("finish {}")}},
          {"wrong bytes", kInvalid, "CONSTANT_CHECKSUM", "constant.piece", {ConstantSpec("other"), Piece(0, 5)}},
          {"gap", kInvalid, "CONSTANT_OFFSET", "constant.offset", {spec, Piece(0, 2), Piece(3, 5)}},
          {"twice", kInvalid, "CONSTANT_OFFSET", "constant.offset", {spec, Piece(0, 2), Piece(0, 2)}},
          {"unknown", kInvalid, "UNKNOWN_CONSTANT", "constant.name", {spec, other_name}},
          {"another type", kInvalid, "DTYPE_MISMATCH", "constant.piece.dtype", {spec, other_type}},
          {"another rank", kInvalid, "SHAPE_MISMATCH", "constant.piece.shape", {spec, other_rank}},
          {"too long", kInvalid, "SHAPE_MISMATCH", "constant.piece.shape", {spec, too_long}},
          {"data cut", kInvalid, "DATA_SIZE", "constant.piece.data", {spec, short_data}},
          {"after a batch", kInvalid, "CONSTANT_AFTER_BATCH", "constant",
           {spec, Piece(0, 5), RowBatch(), Piece(0, 5)}},
          {"in a batch too", kInvalid, "DUPLICATE_INPUT", "batch.inputs[\"w\"]",
           {spec, Piece(0, 5), WithInput(RowBatch(), "w", Floats({5}, {1, 1, 1, 1, 1}))}},
          {"announced twice", kInvalid, "DUPLICATE_INPUT", "spec.constants[1].name",
           {changed([](auto* s) { *s->add_constants() = s->constants(0); })}},
          {"no loss reads it", kInvalid, "UNKNOWN_INPUT", "spec.constants[0].name", {renamed("x")}},
          {"one value a sample", kInvalid, "NOT_A_CONSTANT", "spec.constants[0].name", {renamed("logits")}},
          {"sample_weight", kInvalid, "NOT_A_CONSTANT", "spec.constants[0].name", {renamed("sample_weight")}},
          {"name too long", kInvalid, "NAME_TOO_LONG", "spec.constants[0].name", {renamed(std::string(129, 'x'))}},
          {"no digest", kInvalid, "INVALID_SHA256", "spec.constants[0].sha256",
           {changed([](auto* s) { s->mutable_constants(0)->clear_sha256(); })}},
          {"no type", kInvalid, "INVALID_DTYPE", "spec.constants[0].dtype",
           {changed([](auto* s) { s->mutable_constants(0)->clear_dtype(); })}},
          {"negative shape", kInvalid, "INVALID_SHAPE", "spec.constants[0].shape",
           {changed([](auto* s) { s->mutable_constants(0)->set_shape(0, -5); })}},
          {"too many", kInvalid, "TOO_MANY_CONSTANTS", "spec.constants",
           {changed([](auto* s) {
             while (s->constants_size() < 65) s->add_constants();
           })}},
          {"over the limit", absl::StatusCode::kResourceExhausted, "CONSTANTS_TOO_LARGE", "spec.constants[0]",
           {changed([](auto* s) { s->mutable_constants(0)->set_shape(0, int64_t{1} << 40); })}},
      });
}

}  // namespace
}  // namespace lossd
