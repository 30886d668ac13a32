"""The promise: the same samples give the same bits, whatever the batch split, the order, the threads, the instruction
set, the partition and the restarts.
"""
import itertools
import unittest

import numpy as np

from tests.properties import data
from tests.support import evaluation, server, tensors
from tests.support.stubs import loss_service_pb2

_TYPES = ((np.float32, 21), (np.float64, 22))


def servers():
    """One and two threads, every instruction set."""
    return [server.shared(target, threads) for target in server.targets() for threads in (1, 2)]


def merge(stub, states):
    request = loss_service_pb2.MergeEvaluationsRequest(states=states)
    return stub.MergeEvaluations(request, timeout=30).result


class SameBitsTest(unittest.TestCase):
    def cases(self):
        """(name, losses, inputs, the unbroken evaluation) of each compute type, with and without weights."""
        for dtype, seed in _TYPES:
            for weighted in (True, False):
                arrays = data.inputs(np.random.default_rng(seed), dtype)
                if not weighted:
                    del arrays["sample_weight"]
                losses = data.losses()
                whole = evaluation.evaluate(servers()[0].stub, evaluation.spec(losses), [arrays])
                yield f"{np.dtype(dtype)}, weighted {weighted}", losses, arrays, whole

    def test_one_call_equals_one_stream(self):
        for name, losses, arrays, whole in self.cases():
            for one in servers():
                found = one.stub.ComputeLoss(tensors.request(losses, arrays), timeout=30)
                with self.subTest(name, server=one.info.simd_target):
                    self.assertEqual(data.report(found.results), data.summary(whole)[0])
                    self.assertEqual(np.float64(found.total).tobytes(), np.float64(whole.total).tobytes())

    def test_chunks_of_any_size(self):
        for name, losses, arrays, whole in self.cases():
            for one, sizes in zip(itertools.cycle(servers()), ((7, 4096), (64, 1000), (4096, 29999), (64,))):
                for size in sizes:
                    with self.subTest(name, server=one.info.simd_target, size=size):
                        found = evaluation.evaluate(one.stub, evaluation.spec(losses), data.chunks(arrays, size))
                        self.assertEqual(data.summary(found), data.summary(whole))

    def test_batches_of_one_sample(self):
        arrays = data.inputs(np.random.default_rng(23), np.float32, 4500)
        losses = data.losses()
        for one in servers()[1:]:
            whole = evaluation.evaluate(servers()[0].stub, evaluation.spec(losses), [arrays])
            found = evaluation.evaluate(one.stub, evaluation.spec(losses), data.chunks(arrays, 1))
            self.assertEqual(data.summary(found), data.summary(whole))

    def test_any_order(self):
        random = np.random.default_rng(31)
        for name, losses, arrays, whole in self.cases():
            for one in servers():
                order = random.permutation(data.SAMPLES)
                with self.subTest(name, server=one.info.simd_target):
                    batches = data.chunks(arrays, 3333, order)
                    found = evaluation.evaluate(one.stub, evaluation.spec(losses), batches)
                    self.assertEqual(data.summary(found), data.summary(whole))
                    shuffled = data.rows(arrays, order)
                    call = one.stub.ComputeLoss(tensors.request(losses, shuffled), timeout=30)
                    self.assertEqual(data.report(call.results), data.summary(whole)[0])

    def test_partitions_merge_in_any_order_and_grouping(self):
        random = np.random.default_rng(32)
        for name, losses, arrays, whole in self.cases():
            part_of = random.integers(0, 3, data.SAMPLES)
            parts = [evaluation.evaluate(one.stub, evaluation.spec(losses),
                                         [data.rows(arrays, np.flatnonzero(part_of == part))]).state
                     for part, one in zip(range(3), itertools.cycle(servers()))]
            stub = servers()[-1].stub
            for a, b, c in itertools.permutations(parts):
                with self.subTest(name):
                    for found in (merge(stub, [a, b, c]), merge(stub, [merge(stub, [a, b]).state, c]),
                                  merge(stub, [a, merge(stub, [b, c]).state])):
                        self.assertEqual(data.summary(found), data.summary(whole))

    def test_special_items_in_any_order(self):
        """Zeros of both signs, infinities, NaN, subnormals: minimum, maximum and counts must not see the order."""
        losses = [tensors.loss(name) for name in ("mean_bias", "mae", "quantile")]
        for dtype in (np.float32, np.float64):
            tiny = np.finfo(dtype).smallest_subnormal
            for values in ([0.0, -0.0], [-0.0, -0.0, 0.0, 0.0], [tiny, -0.0, 0.0, -tiny], [np.inf, 1, np.inf],
                           [np.inf, -np.inf, 0.0], [np.nan, -0.0, 0.0], [np.nan, np.inf, 5.0]):
                items = np.array(values, dtype)
                states = set()
                for order in itertools.permutations(range(len(items))):
                    batches = [{"predictions": items[[i]], "targets": np.zeros(1, dtype)} for i in order]
                    states.add(evaluation.evaluate(servers()[-1].stub, evaluation.spec(losses), batches).state.value)
                    both = {"predictions": items[list(order)], "targets": np.zeros(len(items), dtype)}
                    states.add(evaluation.evaluate(servers()[0].stub, evaluation.spec(losses), [both]).state.value)
                self.assertEqual(len(states), 1, values)

    def test_constants_in_pieces(self):
        random = np.random.default_rng(33)
        arrays = {name: array for name, array in data.inputs(random, np.float32).items()
                  if name in ("class_logits", "labels", "sample_weight")}
        constants = {"class_weight": np.abs(random.normal(0, 1, data.CLASSES)).astype(np.float32)}
        losses = [tensors.loss("cross_entropy", bindings={"logits": "class_logits", "labels": "labels"})]
        call = servers()[0].stub.ComputeLoss(tensors.request(losses, arrays | constants), timeout=30)
        message = evaluation.spec(losses, constants)
        for size in (64, data.SAMPLES):
            found = evaluation.evaluate(servers()[-1].stub, message, data.chunks(arrays, size), constants)
            self.assertEqual(data.summary(found)[0], data.report(call.results))


class BrokenStreamTest(unittest.TestCase):
    """Streams that are lost at random places and go on from their last checkpoint on another server process."""

    @classmethod
    def setUpClass(cls):
        cls.random = np.random.default_rng(41)
        arrays = data.inputs(cls.random, np.float32)
        cls.losses = data.losses()
        cls.batches = data.chunks(arrays, 500)
        cls.whole = evaluation.evaluate(servers()[0].stub, evaluation.spec(cls.losses), [arrays])

    def check(self, progress, stub, message):
        resend = int(self.random.integers(0, 4))
        found = evaluation.resume(stub, message, self.batches, progress, resend)
        self.assertEqual(data.summary(found), data.summary(self.whole))
        start = progress.next_sequence if progress else 0
        self.assertEqual(found.skipped_batches, min(resend, start))

    def test_cancelled_and_resumed_elsewhere(self):
        message = evaluation.spec(self.losses, every_batch=True)
        for wanted in self.random.integers(1, len(self.batches), 6):
            with self.subTest(wanted=wanted):
                progress = evaluation.broken(servers()[0].stub, message, self.batches, 0, wanted,
                                             lambda call: call.cancel())
                self.assertIsNotNone(progress)
                self.check(progress, servers()[-1].stub, message)

    def test_lost_twice(self):
        message = evaluation.spec(self.losses, every_batch=True)
        progress = evaluation.broken(servers()[0].stub, message, self.batches, 0, 5, lambda call: call.cancel())
        again = evaluation.spec(self.losses, every_batch=True, resume_from=progress.checkpoint,
                                next_sequence=progress.next_sequence)
        progress = evaluation.broken(servers()[1].stub, again, self.batches, progress.next_sequence, 7,
                                     lambda call: call.cancel())
        self.check(progress, servers()[-1].stub, message)

    def test_server_killed(self):
        message = evaluation.spec(self.losses, every_batch=True)
        for wanted in self.random.integers(1, len(self.batches), 3):
            doomed = server.Server(target=server.targets()[0])
            with self.subTest(wanted=wanted):
                progress = evaluation.broken(doomed.stub, message, self.batches, 0, wanted,
                                             lambda call: doomed.process.kill())
                self.check(progress, servers()[-1].stub, message)
            doomed.close()

    def test_sequences_counted_already_are_skipped(self):
        message = evaluation.spec(self.losses)
        steps = [evaluation.step(spec=message)]
        for sequence, inputs in enumerate(self.batches):
            steps += [evaluation.batch(inputs, sequence)] * (2 if sequence % 5 == 0 else 1)
        found = evaluation.run(servers()[0].stub, steps + [evaluation.finish()])[-1].result
        self.assertEqual(data.summary(found), data.summary(self.whole))
        self.assertEqual(found.skipped_batches, len(self.batches[::5]))


if __name__ == "__main__":
    unittest.main()
