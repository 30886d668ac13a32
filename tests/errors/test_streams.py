"""What goes wrong in an evaluation: order of steps, constants, sequences, states; and calls that gRPC itself ends."""
import time
import unittest

import grpc
import numpy as np

from tests.errors import requests
from tests.errors.test_requests import RefusalTest
from tests.support import evaluation, server, tensors
from tests.support.stubs import evaluation_pb2, loss_service_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_BATCH = requests.pair()
_STATE_SIZES = (1, 3, 8, 17)


def _spec(*kinds, **fields):
    return evaluation.spec([tensors.loss(kind) for kind in kinds or ("mse",)], **fields)


def _spec_step(*kinds, **fields):
    return evaluation.step(spec=_spec(*kinds, **fields))


class StreamRefusalTest(RefusalTest):
    def check(self, steps, reason, field=None, code=_INVALID):
        error, found = self.refused(lambda: evaluation.run(self.server.stub, steps))
        self.assertEqual(error.code(), code, error.details())
        self.assertEqual(found.reason, reason, error.details())
        if field is not None:
            self.assertEqual(found.fields, (field,), error.details())
        return error


class StreamTest(StreamRefusalTest):
    def test_batch_before_spec(self):
        self.check([evaluation.batch(_BATCH), evaluation.finish()], "NO_SPEC")

    def test_finish_before_spec(self):
        self.check([evaluation.finish()], "NO_SPEC")

    def test_second_spec(self):
        self.check([_spec_step(), evaluation.batch(_BATCH), _spec_step()], "SECOND_SPEC", "spec")

    def test_no_step(self):
        self.check([loss_service_pb2.EvaluateRequest()], "NO_STEP")

    def test_a_stream_that_was_cut_gives_no_result(self):
        self.check([_spec_step(), evaluation.batch(_BATCH)], "MISSING_FINISH", "finish")

    def test_no_loss(self):
        self.check([evaluation.step(spec=evaluation_pb2.EvaluationSpec())], "NO_LOSS", "spec.losses")

    def test_unknown_field_of_the_spec(self):
        spec = _spec()
        spec.MergeFromString(b"\xd2\x3f\x01x")
        self.check([evaluation.step(spec=spec)], "UNKNOWN_FIELD")

    def test_what_is_not_served(self):
        for fields in ({"slice_columns": ["region"]}, {"worst_samples": 3}, {"quantiles": [0.5]}):
            field = f"spec.{next(iter(fields))}"
            self.check([_spec_step(**fields)], "NOT_SERVED", field, grpc.StatusCode.UNIMPLEMENTED)

    def test_wrong_batch(self):
        wrong = requests.pair(targets=np.zeros(5, np.float32))
        self.check([_spec_step(), evaluation.batch(_BATCH), evaluation.batch(wrong)], "SHAPE_MISMATCH",
                   'batch.inputs["targets"].shape')

    def test_a_checkpoint_comes_before_a_bad_batch_fails(self):
        bad = requests.pair(sample_weight=np.float32([1, 1, 1, 1, 1, -1]))
        steps = [_spec_step(), evaluation.batch(_BATCH, 0), evaluation.batch(_BATCH, 1), evaluation.batch(bad, 2)]
        events = []
        with self.assertRaises(grpc.RpcError):
            for event in self.server.stub.Evaluate(iter(steps), timeout=20):
                events.append(event.progress)
        self.assertEqual((events[-1].next_sequence, events[-1].items), (2, 12))
        found = evaluation.resume(self.server.stub, _spec(), [_BATCH] * 3, events[-1])
        whole = evaluation.evaluate(self.server.stub, _spec(), [_BATCH] * 3)
        self.assertEqual(found.state, whole.state)

    def test_sequence_gap(self):
        self.check([_spec_step(), evaluation.batch(_BATCH, 0), evaluation.batch(_BATCH, 2)], "SEQUENCE_GAP",
                   "batch.sequence", grpc.StatusCode.FAILED_PRECONDITION)

    def test_sequence_set_and_unset(self):
        self.check([_spec_step(), evaluation.batch(_BATCH, 0), evaluation.batch(_BATCH)], "MIXED_SEQUENCES",
                   "batch.sequence")

    def test_dtype_change(self):
        wide = {name: array.astype(float) for name, array in _BATCH.items()}
        self.check([_spec_step(), evaluation.batch(_BATCH), evaluation.batch(wide)], "DTYPE_CHANGE")

    def test_reject(self):
        bad = requests.pair(predictions=np.float32([0, 0, np.inf, 0, 0, 0]))
        self.check([_spec_step(non_finite="NON_FINITE_POLICY_REJECT"), evaluation.batch(bad)], "NON_FINITE_ITEM")


class ConstantTest(StreamRefusalTest):
    weight = np.float32([1, 2, 3])

    def spec(self, **fields):
        constants = {"class_weight": self.weight}
        return evaluation.step(spec=evaluation.spec([tensors.loss("cross_entropy")], constants, **fields))

    def piece(self, array, offset=0, name="class_weight"):
        return evaluation.step(constant=evaluation_pb2.Constant(name=name, offset=offset,
                                                                piece=tensors.tensor(array)))

    def batch(self):
        return evaluation.batch(requests.classes())

    def test_incomplete(self):
        self.check([self.spec(), self.piece(self.weight[:2]), self.batch()], "CONSTANT_INCOMPLETE")
        self.check([self.spec(), self.batch()], "CONSTANT_INCOMPLETE")

    def test_wrong_bytes(self):
        self.check([self.spec(), self.piece(self.weight + 1)], "CONSTANT_CHECKSUM")

    def test_wrong_offset(self):
        self.check([self.spec(), self.piece(self.weight[:1]), self.piece(self.weight[2:], 2)], "CONSTANT_OFFSET")

    def test_wrong_type(self):
        self.check([self.spec(), self.piece(self.weight.astype(float))], "DTYPE_MISMATCH")

    def test_too_long(self):
        self.check([self.spec(), self.piece(np.ones(4, np.float32))], "SHAPE_MISMATCH")

    def test_not_announced(self):
        self.check([self.spec(), self.piece(self.weight, name="bias")], "UNKNOWN_CONSTANT")

    def test_sent_in_a_batch_too(self):
        batch = evaluation.batch(requests.classes(class_weight=self.weight))
        self.check([self.spec(), self.piece(self.weight), batch], "DUPLICATE_INPUT")

    def test_over_the_limit(self):
        spec = self.spec()
        spec.spec.constants[0].shape[:] = [2 ** 40]
        self.check([spec], "CONSTANTS_TOO_LARGE", code=grpc.StatusCode.RESOURCE_EXHAUSTED)

    def test_no_sha256(self):
        spec = self.spec()
        spec.spec.constants[0].sha256 = b"short"
        self.check([spec], "INVALID_SHA256")


class StateTest(StreamRefusalTest):
    def state(self, *kinds):
        return evaluation.evaluate(self.server.stub, _spec(*kinds), [_BATCH]).state

    def check_state(self, value, reason="INVALID_STATE", code=_INVALID):
        state = evaluation_pb2.EvaluationState(value=value)
        self.check([_spec_step(resume_from=state)], reason, code=code)
        merge = loss_service_pb2.MergeEvaluationsRequest(states=[self.state(), state])
        error, found = self.refused(lambda: self.server.stub.MergeEvaluations(merge, timeout=20))
        self.assertEqual((error.code(), found.reason), (code, reason))

    def test_truncated(self):
        value = self.state().value
        for size in _STATE_SIZES + (len(value) // 2, len(value) - 1):
            self.check_state(value[:size])

    def test_corrupted(self):
        value = self.state().value
        for place in range(0, len(value), max(1, len(value) // 40)):
            damaged = bytearray(value)
            damaged[place] ^= 0x40
            with self.subTest(place=place):
                error, found = self.refused(lambda: self.server.stub.MergeEvaluations(
                    loss_service_pb2.MergeEvaluationsRequest(
                        states=[evaluation_pb2.EvaluationState(value=bytes(damaged))]), timeout=20))
                self.assertIn(found.reason, ("INVALID_STATE", "ARITHMETIC_REVISION"))

    def test_longer(self):
        self.check_state(self.state().value + b"\0")

    def test_foreign(self):
        self.check_state(b"PK\x03\x04" + bytes(200))
        self.check_state(bytes(np.random.default_rng(1).integers(0, 256, 300, np.uint8)))

    def test_another_fingerprint(self):
        merge = loss_service_pb2.MergeEvaluationsRequest(states=[self.state("mse"), self.state("mae")])
        error, found = self.refused(lambda: self.server.stub.MergeEvaluations(merge, timeout=20))
        self.assertEqual((error.code(), found.reason), (_INVALID, "FINGERPRINT_MISMATCH"))
        self.check([_spec_step("mae", resume_from=self.state("mse"))], "FINGERPRINT_MISMATCH")

    def test_nothing_to_merge(self):
        merge = loss_service_pb2.MergeEvaluationsRequest()
        error, _ = self.refused(lambda: self.server.stub.MergeEvaluations(merge, timeout=20))
        self.assertEqual(error.code(), _INVALID)


class LimitTest(unittest.TestCase):
    """Limits, deadlines and clients that vanish: the server says so, or gRPC does, and lives."""

    @classmethod
    def setUpClass(cls):
        cls.server = server.Server("--max-state-bytes", "1024", "--max-message-bytes", "1000000")
        cls.addClassCleanup(cls.server.close)

    def test_state_over_the_limit(self):
        spec = evaluation.spec([tensors.loss("mse") for _ in range(20)])
        with self.assertRaises(grpc.RpcError) as caught:
            evaluation.evaluate(self.server.stub, spec, [_BATCH])
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertIn("max-state-bytes", caught.exception.details())
        self.assertTrue(self.server.alive())

    def test_message_over_the_limit(self):
        big = np.zeros(400000, np.float32)
        with self.assertRaises(grpc.RpcError) as caught:
            request = requests.compute("mse", inputs={"predictions": big, "targets": big})
            self.server.stub.ComputeLoss(request, timeout=20)
        self.assertEqual(caught.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
        self.assertTrue(self.server.alive())

    def test_expired_deadline(self):
        def slow():
            yield _spec_step()
            yield evaluation.batch(_BATCH)
            time.sleep(1)
        with self.assertRaises(grpc.RpcError) as caught:
            list(self.server.stub.Evaluate(slow(), timeout=0.3))
        self.assertEqual(caught.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assertTrue(self.server.alive())

    def test_vanished_client(self):
        channel = server.connect(self.server.address)
        stub = type(self.server.stub)(channel)

        def endless():
            yield evaluation.step(spec=_spec(every_batch=True))
            while True:
                yield evaluation.batch(_BATCH)
        call = stub.Evaluate(endless(), timeout=20)
        next(call)
        channel.close()
        self.assertTrue(self.server.alive())

    def test_drain_ends_in_order(self):
        drained = server.Server()
        self.assertEqual(drained.close(), 0)


if __name__ == "__main__":
    unittest.main()
