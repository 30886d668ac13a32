"""Clients that vanish, run out of time or come all at once: the server lives, holds nothing and stays in bounds."""
import concurrent.futures
import threading
import time
import unittest

import grpc
import numpy as np

from tests.faults import disturbed
from tests.support import evaluation, server, tensors
from tests.support.stubs import evaluation_pb2, loss_service_pb2, losses_pb2

_CONNECTIONS = 20
_CALLS_OF_CONNECTION = 3
# Two inputs; with their names a little below the limit of a message, 16 MiB.
_MAXIMAL_ELEMENTS = (16 << 20) // 8 - 4096
# What the default limits are for: two cores and 2 GiB.
_RESIDENT_LIMIT = 2 << 30


def _request(elements, reduction=loss_service_pb2.REDUCTION_MEAN):
    inputs = {name: tensors.tensor(np.full(elements, value, "f4"))
              for name, value in (("predictions", 1.5), ("targets", 2.5))}
    poisson = losses_pb2.Loss(poisson_nll=losses_pb2.PoissonNll(full=True))
    return loss_service_pb2.ComputeLossRequest(losses=[poisson], inputs=inputs, reduction=reduction)


class ClientsTest(unittest.TestCase):
    def setUp(self):
        self.lossd = server.Server()
        self.addCleanup(self.lossd.close)

    def assert_at_rest(self):
        """It serves, and holds no bytes of anybody."""
        self.assertTrue(self.lossd.alive())
        self.assertTrue(disturbed.settles(lambda: disturbed.metric(self.lossd, "lossd_inflight_bytes") == 0))
        answer = self.lossd.stub.ComputeLoss(_request(16), timeout=10)
        self.assertEqual(answer.results[0].items, 16)

    def test_client_killed(self):
        for batch in (1, 7, 20):
            client = disturbed.Evaluation(self.lossd.address, 50)
            client.wait_for_batch(batch)
            client.close()
        self.assert_at_rest()

    def test_deadline_of_a_call(self):
        # A third of the time that the call takes without one, whatever the machine.
        elements = _MAXIMAL_ELEMENTS // 2
        inputs = {name: tensors.tensor(np.full(elements, value, "f8"))
                  for name, value in (("logits", 0.5), ("targets", 1))}
        focal = losses_pb2.Loss(focal=losses_pb2.Focal(gamma=1.7))
        request = loss_service_pb2.ComputeLossRequest(losses=[focal] * 64, inputs=inputs)
        start = time.monotonic()
        self.assertEqual(self.lossd.stub.ComputeLoss(request, timeout=60).results[63].items, elements)
        whole = time.monotonic() - start
        with self.assertRaises(grpc.RpcError) as raised:
            self.lossd.stub.ComputeLoss(request, timeout=whole / 3)
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assert_at_rest()

    def test_deadline_of_a_stream(self):
        spec = evaluation_pb2.EvaluationSpec(losses=[losses_pb2.Loss(mse=losses_pb2.Mse())])
        batch = {"predictions": np.ones(1000, "f4"), "targets": np.zeros(1000, "f4")}
        over = threading.Event()

        def steps():
            yield evaluation.step(spec=spec)
            yield evaluation.batch(batch)
            over.wait(10)  # no finish

        with self.assertRaises(grpc.RpcError) as raised:
            list(self.lossd.stub.Evaluate(steps(), timeout=0.5))
        over.set()
        self.assertEqual(raised.exception.code(), grpc.StatusCode.DEADLINE_EXCEEDED)
        self.assert_at_rest()

    def test_many_maximal_calls(self):
        # As bytes: serialised once, not once a call.
        request = _request(_MAXIMAL_ELEMENTS, reduction=loss_service_pb2.REDUCTION_NONE).SerializeToString()
        self.assertLess(len(request), 16 << 20)
        channels = [server.connect(self.lossd.address) for _ in range(_CONNECTIONS)]
        calls = [channel.unary_unary("/lossd.v1.LossService/ComputeLoss") for channel in channels]

        def compute(i):
            try:
                return len(calls[i % _CONNECTIONS](request, timeout=60)) > 4 * _MAXIMAL_ELEMENTS
            except grpc.RpcError as error:
                return error.code()

        with concurrent.futures.ThreadPoolExecutor(_CONNECTIONS * _CALLS_OF_CONNECTION) as pool:
            answers = list(pool.map(compute, range(_CONNECTIONS * _CALLS_OF_CONNECTION)))
        peak = disturbed.resident_peak_bytes(self.lossd.process)
        for channel in channels:
            channel.close()
        self.assertIn(True, answers)
        pressure = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}
        self.assertLessEqual(set(answers) - {True}, pressure)
        print(f"test_many_maximal_calls: {answers.count(True)} of {len(answers)} answered, "
              f"at most {peak >> 20} MiB resident")
        self.assertLess(peak, _RESIDENT_LIMIT)
        self.assert_at_rest()


if __name__ == "__main__":
    unittest.main()
