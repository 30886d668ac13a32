"""Every wrong request is refused with its status, its reason and the path of the field, and the server goes on."""
import re
import unittest

import grpc
import numpy as np

from tests.errors import requests
from tests.support import server, tensors
from tests.support.details import details
from tests.support.stubs import loss_service_pb2


class RefusalTest(unittest.TestCase):
    def setUp(self):
        self.server = server.shared(server.targets()[-1])

    def refused(self, call):
        """The error and its details; what every refusal owes is checked."""
        with self.assertRaises(grpc.RpcError) as caught:
            call()
        error, found = caught.exception, details(caught.exception)
        self.assertEqual(found.code, error.code().value[0], error)
        self.assertEqual(found.domain, "lossd")
        self.assertTrue(re.fullmatch("[A-Z][A-Z0-9_]+", found.reason), found.reason)
        self.assertTrue(error.details())
        self.assertTrue(self.server.alive())
        return error, found


class RequestTest(RefusalTest):
    """One test a wrong request; the methods are added below."""

    def check(self, wrong):
        error, found = self.refused(lambda: self.server.stub.ComputeLoss(wrong.request, timeout=20))
        self.assertEqual(error.code(), wrong.code, error.details())
        self.assertEqual(found.reason, wrong.reason, error.details())
        if wrong.field is not None:
            self.assertEqual(found.fields, (wrong.field,), error.details())
        for part in wrong.says:
            self.assertIn(part, error.details())


def _add_tests():
    for number, wrong in enumerate(requests.wrong_requests()):
        def test(self, wrong=wrong):
            self.check(wrong)
        test.__doc__ = wrong.name
        setattr(RequestTest, f"test_{number:02}_{re.sub('[^a-z0-9]+', '_', wrong.name.lower())}", test)


_add_tests()


class FineTest(RefusalTest):
    """What looks odd and is fine."""

    def test_an_empty_batch(self):
        found = self.server.stub.ComputeLoss(requests.empty_request(), timeout=20).results[0]
        self.assertEqual((found.items, found.sum), (0, 0))
        self.assertTrue(np.isnan(found.value))

    def test_unknown_fields_of_tensors_are_skipped(self):
        request = requests.compute("mse", inputs=requests.pair())
        request.inputs["targets"].MergeFromString(b"\xd2\x3f\x01x")
        self.assertEqual(self.server.stub.ComputeLoss(request, timeout=20).results[0].value, 0)

    def test_hand_written_values(self):
        request = requests.compute("mse")
        request.inputs["predictions"].CopyFrom(requests.hand_written(float_values=[0.1, 3]))
        request.inputs["targets"].CopyFrom(requests.hand_written("INT64", int_values=[0, 1]))
        found = self.server.stub.ComputeLoss(request, timeout=20).results[0]
        items = np.float32([0.1, 2]) ** 2
        self.assertEqual(found.sum, float(items[0]) + float(items[1]))

    def test_hand_written_values_are_rounded_once(self):
        for dtype, value in (("FLOAT16", np.float64(np.float16(0.1))), ("FLOAT64", 0.1),
                             ("BFLOAT16", 0.10009765625)):
            request = requests.compute("mean_bias")
            request.inputs["predictions"].CopyFrom(requests.hand_written(dtype, (1,), float_values=[0.1]))
            request.inputs["targets"].CopyFrom(requests.hand_written(dtype, (1,), float_values=[0]))
            self.assertEqual(self.server.stub.ComputeLoss(request, timeout=20).results[0].value, value, dtype)

    def test_hand_written_integers_are_rounded_once(self):
        # Just above the middle of two bfloat16; as a double it would be the middle itself.
        for value, rounded in ((2 ** 60 + 2 ** 52 + 1, 2 ** 60 + 2 ** 53), (2 ** 60 + 2 ** 52, 2 ** 60)):
            request = requests.compute("mean_bias")
            request.inputs["predictions"].CopyFrom(requests.hand_written("BFLOAT16", (1,), int_values=[value]))
            request.inputs["targets"].CopyFrom(requests.hand_written("BFLOAT16", (1,), int_values=[0]))
            self.assertEqual(self.server.stub.ComputeLoss(request, timeout=20).results[0].value, rounded)

    def test_hand_written_integers_must_be_whole_and_in_range(self):
        for dtype, fields in (("INT32", {"float_values": [1.5, 0]}), ("UINT8", {"int_values": [256, 0]}),
                              ("INT32", {"int_values": [2 ** 31, 0]}), ("BOOL", {"int_values": [2, 0]}),
                              ("UINT8", {"float_values": [-1, 0]}), ("INT64", {"float_values": [float("nan"), 0]})):
            with self.subTest(dtype, **fields):
                request = requests.compute("mse", inputs={"predictions": np.zeros(2, np.float32)})
                request.inputs["targets"].CopyFrom(requests.hand_written(dtype, **fields))
                error, found = self.refused(lambda: self.server.stub.ComputeLoss(request, timeout=20))
                self.assertEqual(error.code(), grpc.StatusCode.INVALID_ARGUMENT)
                self.assertIn('inputs["targets"]', found.fields[0])

    def test_non_finite_items_are_skipped_or_counted(self):
        inputs = requests.pair(predictions=np.float32([np.nan, np.inf, 1, 2, 3, 4]), targets=np.zeros(6, np.float32))
        skip = requests.compute("mae", inputs=inputs, non_finite="NON_FINITE_POLICY_SKIP")
        found = self.server.stub.ComputeLoss(skip, timeout=20).results[0]
        self.assertEqual((found.value, found.sum, found.sum_weight, found.items), (2.5, 10, 4, 4))
        self.assertEqual((found.nan_items, found.inf_items), (1, 1))

    def test_bindings_and_total(self):
        heads = {"head_a": np.float32([1, 2]), "head_b": np.float32([3, 3]), "targets": np.float32([0, 0])}
        request = tensors.request([tensors.loss("mae", bindings={"predictions": "head_a"}, label="a", weight=2.0),
                                   tensors.loss("mae", bindings={"predictions": "head_b"}, label="b")], heads)
        found = self.server.stub.ComputeLoss(request, timeout=20)
        self.assertEqual([(r.label, r.value) for r in found.results], [("a", 1.5), ("b", 3.0)])
        self.assertEqual(found.total, 6.0)

    def test_a_loss_that_is_not_listed(self):
        request = loss_service_pb2.ListLossesRequest(names=["mse", "no_such_loss"])
        error, _ = self.refused(lambda: self.server.stub.ListLosses(request, timeout=20))
        self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND)
        self.assertIn("no_such_loss", error.details())


if __name__ == "__main__":
    unittest.main()
