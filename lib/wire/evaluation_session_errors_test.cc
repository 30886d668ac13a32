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

StreamErrorCase Invalid(const std::string& name, const std::string& reason,
                        const std::string& field, const std::vector<EvaluateRequest>& steps) {
  return {name, absl::StatusCode::kInvalidArgument, reason, field, steps};
}

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

EvaluateRequest SpecWith(const std::string& fields) {
  return Step("spec { losses { mse {} } " + fields + " }");
}
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
  ExpectEach(Engine(),
             {
                 Invalid("nothing", "NO_STEP", "step", {EvaluateRequest()}),
                 Invalid("batch before spec", "NO_SPEC", "batch", {batch}),
                 Invalid("constant before spec", "NO_SPEC", "constant", {Piece(0, 1)}),
                 Invalid("finish before spec", "NO_SPEC", "finish", {finish}),
                 Invalid("second spec", "SECOND_SPEC", "spec", {MseSpec(), MseSpec()}),
                 Invalid("second spec later", "SECOND_SPEC", "spec", {MseSpec(), batch, MseSpec()}),
                 Invalid("after finish", "STREAM_ENDED", "step", {MseSpec(), finish, batch}),
                 Invalid("sequence after none", "MIXED_SEQUENCES", "batch.sequence",
                         {MseSpec(), batch, numbered}),
                 Invalid("none after sequence", "MIXED_SEQUENCES", "batch.sequence",
                         {MseSpec(), NumberedBatch(0, 1), batch}),
                 {"gap at the start",
                  absl::StatusCode::kFailedPrecondition,
                  "SEQUENCE_GAP",
                  "batch.sequence",
                  {MseSpec(), numbered}},
                 Invalid("negative sequence", "INVALID_PARAMETER", "batch.sequence",
                         {MseSpec(), NumberedBatch(-1, 1)}),
             });
}

TEST(EvaluateErrors, OfBatches) {
  const EvaluateRequest batch = PairBatch({1}, {0});
  EvaluateRequest ids = batch;
  ids.mutable_batch()->add_sample_ids(1);
  ids.mutable_batch()->add_sample_ids(2);
  ExpectEach(
      Engine(),
      {
          Invalid("unknown input", "UNKNOWN_INPUT", "batch.inputs[\"x\"]",
                  {MseSpec(), WithInput(batch, "x", Floats({1}, {1}))}),
          Invalid("missing input", "MISSING_INPUT", "batch.inputs[\"predictions\"]",
                  {MseSpec(), Step("batch {}")}),
          Invalid("shape", "SHAPE_MISMATCH", "batch.inputs[\"targets\"].shape",
                  {MseSpec(), WithInput(batch, "targets", Floats({2}, {1, 1}))}),
          Invalid("data", "DATA_SIZE", "batch.inputs[\"targets\"].data",
                  {MseSpec(), WithInput(batch, "targets", Floats({2}, {1}))}),
          Invalid("compute type changes", "DTYPE_CHANGE", "batch.inputs",
                  {MseSpec(), batch, WithInput(batch, "targets", Doubles({1}, {1}))}),
          Invalid(
              "binding", "MISSING_INPUT", "spec.losses[0].inputs[\"predictions\"]",
              {Step("spec { losses { mse {} inputs { key: 'predictions' value: 'p' } } }"), batch}),
          Invalid("sample ids", "SHAPE_MISMATCH", "batch.sample_ids", {MseSpec(), ids}),
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
  ExpectEach(
      Engine(),
      {
          Invalid("no loss", "NO_LOSS", "spec.losses", {Step("spec {}")}),
          Invalid("foreign state", "INVALID_STATE", "spec.resume_from.value",
                  {SpecWith("resume_from { value: 'some other bytes of some other thing' }")}),
          Invalid("parameter", "INVALID_PARAMETER", "spec.losses[0].huber.delta",
                  {Step("spec { losses { huber { delta: -1 } } }")}),
          Invalid("cadence bytes", "INVALID_PARAMETER", "spec.checkpoint_cadence.bytes",
                  {SpecWith("checkpoint_cadence { bytes: 0 }")}),
          Invalid("cadence seconds", "INVALID_PARAMETER", "spec.checkpoint_cadence.seconds",
                  {SpecWith("checkpoint_cadence { seconds: nan }")}),
          Invalid("cadence seconds inf", "INVALID_PARAMETER", "spec.checkpoint_cadence.seconds",
                  {SpecWith("checkpoint_cadence { seconds: inf }")}),
          Invalid("negative sequence", "INVALID_PARAMETER", "spec.next_sequence",
                  {SpecWith("next_sequence: -1")}),
          Invalid("sequence without room to count", "INVALID_PARAMETER", "spec.next_sequence",
                  {SpecWith("next_sequence: 9223372036854775807")}),
          Invalid("label too long", "LABEL_TOO_LONG", "spec.labels.run",
                  {SpecWith("labels { run: '" + std::string(129, 'r') + "' }")}),
      });
}

TEST(EvaluateErrors, OfWhatThisVersionDoesNotServe) {
  const auto unserved = absl::StatusCode::kUnimplemented;
  ExpectEach(
      Engine(),
      {
          {"slices",
           unserved,
           "NOT_SERVED",
           "spec.slice_columns",
           {SpecWith("slice_columns: 'a'")}},
          {"worst samples",
           unserved,
           "NOT_SERVED",
           "spec.worst_samples",
           {SpecWith("worst_samples: 1")}},
          {"quantiles", unserved, "NOT_SERVED", "spec.quantiles", {SpecWith("quantiles: 0.5")}},
          Invalid("unknown field", "UNKNOWN_FIELD", "spec",
                  {WithUnknown(MseSpec(), [](auto* step) { return step->mutable_spec(); })}),
          Invalid("unknown field of a loss", "UNKNOWN_FIELD", "spec.losses[0].mse",
                  {WithUnknown(MseSpec(),
                               [](auto* step) {
                                 return step->mutable_spec()->mutable_losses(0)->mutable_mse();
                               })}),
          Invalid("unknown field of the state", "UNKNOWN_FIELD", "spec.resume_from",
                  {WithUnknown(
                      MseSpec(),
                      [](auto* step) { return step->mutable_spec()->mutable_resume_from(); })}),
          Invalid("unknown policy", "UNKNOWN_FIELD", "spec.non_finite", {[] {
                    EvaluateRequest step = MseSpec();
                    step.mutable_spec()->set_non_finite(v1::NonFinitePolicy(4));
                    return step;
                  }()}),
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
  ExpectEach(
      Engine(),
      {
          Invalid("corrupted", "INVALID_STATE", field, {resume(mse, corrupted)}),
          Invalid("cut", "INVALID_STATE", field, {resume(mse, state.substr(0, state.size() - 1))}),
          Invalid("another loss", "FINGERPRINT_MISMATCH", field,
                  {resume("spec { losses { mae {} } }", state)}),
          Invalid("another policy", "FINGERPRINT_MISMATCH", field,
                  {resume("spec { losses { mse {} } non_finite: NON_FINITE_POLICY_SKIP }", state)}),
          Invalid(
              "another compute type", "DTYPE_CHANGE", "batch.inputs",
              {resume(mse, state), WithInput(PairBatch({1}, {0}), "targets", Doubles({1}, {1}))}),
      });
  // Labels, weights and bindings are no part of it.
  const auto other = Engine()->Evaluate();
  EXPECT_TRUE(Take(other.get(), resume("spec { losses { mse {} label: 'x' weight: 3 inputs { key: "
                                       "'targets' value: 't' } } }",
                                       state))
                  .ok());
}

EvaluateRequest ChangedSpec(const std::function<void(v1::EvaluationSpec*)>& change) {
  EvaluateRequest step = ConstantSpec();
  change(step.mutable_spec());
  return step;
}
EvaluateRequest RenamedSpec(const std::string& name) {
  return ChangedSpec([&](auto* spec) { spec->mutable_constants(0)->set_name(name); });
}

TEST(EvaluateErrors, OfPiecesOfConstants) {
  const EvaluateRequest spec = ConstantSpec();
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
          Invalid("incomplete", "CONSTANT_INCOMPLETE", "constant", {spec, Piece(0, 4), RowBatch()}),
          Invalid("incomplete at the end", "CONSTANT_INCOMPLETE", "constant",
                  {spec, Step("finish {}")}),
          Invalid("wrong bytes", "CONSTANT_CHECKSUM", "constant.piece",
                  {ConstantSpec("other"), Piece(0, 5)}),
          Invalid("gap", "CONSTANT_OFFSET", "constant.offset", {spec, Piece(0, 2), Piece(3, 5)}),
          Invalid("twice", "CONSTANT_OFFSET", "constant.offset", {spec, Piece(0, 2), Piece(0, 2)}),
          Invalid("unknown", "UNKNOWN_CONSTANT", "constant.name", {spec, other_name}),
          Invalid("another type", "DTYPE_MISMATCH", "constant.piece.dtype", {spec, other_type}),
          Invalid("another rank", "SHAPE_MISMATCH", "constant.piece.shape", {spec, other_rank}),
          Invalid("too long", "SHAPE_MISMATCH", "constant.piece.shape", {spec, too_long}),
          Invalid("data cut", "DATA_SIZE", "constant.piece.data", {spec, short_data}),
          Invalid("after a batch", "CONSTANT_AFTER_BATCH", "constant",
                  {spec, Piece(0, 5), RowBatch(), Piece(0, 5)}),
          Invalid("in a batch too", "DUPLICATE_INPUT", "batch.inputs[\"w\"]",
                  {spec, Piece(0, 5), WithInput(RowBatch(), "w", Floats({5}, {1, 1, 1, 1, 1}))}),
      });
}

TEST(EvaluateErrors, OfAnnouncedConstants) {
  ExpectEach(
      Engine(),
      {
          Invalid("announced twice", "DUPLICATE_INPUT", "spec.constants[1].name",
                  {ChangedSpec([](auto* s) { *s->add_constants() = s->constants(0); })}),
          Invalid("no loss reads it", "UNKNOWN_INPUT", "spec.constants[0].name",
                  {RenamedSpec("x")}),
          Invalid("one value a sample", "NOT_A_CONSTANT", "spec.constants[0].name",
                  {RenamedSpec("logits")}),
          Invalid("sample_weight", "NOT_A_CONSTANT", "spec.constants[0].name",
                  {RenamedSpec("sample_weight")}),
          Invalid("name too long", "NAME_TOO_LONG", "spec.constants[0].name",
                  {RenamedSpec(std::string(129, 'x'))}),
          Invalid("no digest", "INVALID_SHA256", "spec.constants[0].sha256",
                  {ChangedSpec([](auto* s) { s->mutable_constants(0)->clear_sha256(); })}),
          Invalid("no type", "INVALID_DTYPE", "spec.constants[0].dtype",
                  {ChangedSpec([](auto* s) { s->mutable_constants(0)->clear_dtype(); })}),
          Invalid("negative shape", "INVALID_SHAPE", "spec.constants[0].shape",
                  {ChangedSpec([](auto* s) { s->mutable_constants(0)->set_shape(0, -5); })}),
          Invalid("too many", "TOO_MANY_CONSTANTS", "spec.constants", {ChangedSpec([](auto* s) {
                    while (s->constants_size() < 65) s->add_constants();
                  })}),
          {"over the limit",
           absl::StatusCode::kResourceExhausted,
           "CONSTANTS_TOO_LARGE",
           "spec.constants[0]",
           {ChangedSpec([](auto* s) { s->mutable_constants(0)->set_shape(0, int64_t{1} << 40); })}},
      });
}

}  // namespace
}  // namespace lossd
