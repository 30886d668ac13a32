"""The promise for every loss that streams, every set of its inputs and its parameters.

Walks the catalogue: samples are those of the losses' cases, over and over with other values. One call, one stream,
batches of any size in any order, parts merged, and a stream that went on from a checkpoint give the same bits, on
every instruction set, with one and two threads. A signature without cases fails.
"""
import unittest

import numpy as np

from tests.losses import walk
from tests.properties import data
from tests.support import evaluation, server, tensors
from tests.support.stubs import loss_service_pb2

_SAMPLES = 150
_SECONDS = 60


def servers():
    """One thread on the first instruction set, two on the last."""
    return server.shared(server.targets()[0], 1).stub, server.shared(server.targets()[-1], 2).stub


class Samples:
    """Many samples of a case, the inputs that every batch shares as constants."""

    def __init__(self, row, case, dtype, random):
        arrays = row.repeated(case, walk.as_type(case.inputs, dtype), _SAMPLES)
        names = row.per_sample(case)
        free = {entry.name for entry in row.signature(case).inputs if not entry.values}
        self.batch = {name: arrays[name] for name in names}
        for name in names:
            if name in free and not name.endswith("probs") and arrays[name].dtype == dtype:
                self.batch[name] = arrays[name] * random.uniform(0.5, 1.5, arrays[name].shape).astype(dtype)
        self.count = len(self.batch[names[0]])
        weight = random.uniform(0.1, 3, self.count).astype(dtype)
        weight[::7] = 0
        self.batch["sample_weight"] = weight
        self.constants = {name: array for name, array in arrays.items() if name not in (*names, "sample_weight")}
        self.loss = tensors.loss(case.loss, case.parameters)

    def rows(self, index):
        return data.rows(self.batch, index)

    def spec(self, **fields):
        return evaluation.spec([self.loss], self.constants, **fields)

    def evaluate(self, stub, indices):
        """An evaluation, a batch for each array of indices."""
        return evaluation.evaluate(stub, self.spec(), [self.rows(index) for index in indices], self.constants)

    def cut(self, random):
        """All samples in another order, in batches of 1 to 60."""
        order, cuts = random.permutation(self.count), [0]
        while cuts[-1] < self.count:
            cuts.append(cuts[-1] + int(random.integers(1, 60)))
        return [order[start:stop] for start, stop in zip(cuts, cuts[1:])]


class EveryLossTest(unittest.TestCase):
    def check(self, samples, random):
        one, two = servers()
        everything = np.arange(samples.count)
        whole = samples.evaluate(one, [everything])
        expected = data.summary(whole)
        self.assertEqual(data.summary(samples.evaluate(two, samples.cut(random))), expected, "cut")

        parts = np.array_split(random.permutation(samples.count), 3)
        states = [samples.evaluate(stub, [part]).state for part, stub in zip(parts, (one, two, one))]
        merged = two.MergeEvaluations(loss_service_pb2.MergeEvaluationsRequest(states=states[::-1]), timeout=_SECONDS)
        self.assertEqual(data.summary(merged.result), expected, "merged")

        first, rest = np.array_split(random.permutation(samples.count), 2)
        found = self.resumed(samples, two, samples.evaluate(one, [first]).state, rest)
        self.assertEqual(data.summary(found), expected, "resumed")

        order = random.permutation(samples.count)
        call = two.ComputeLoss(tensors.request([samples.loss], samples.rows(order) | samples.constants),
                               timeout=_SECONDS)
        self.assertEqual(data.report(call.results), expected[0], "one call")

    @staticmethod
    def resumed(samples, stub, state, rest):
        def steps():
            yield evaluation.step(spec=samples.spec(resume_from=state))
            yield from evaluation.constant_steps(samples.constants, piece=64)
            yield evaluation.batch(samples.rows(rest))
            yield evaluation.finish()
        return evaluation.run(stub, steps())[-1].result

    def test_same_bits(self):
        for row in walk.rows(servers()[0]):
            if not row.loss.streams:
                continue
            random, missing = np.random.default_rng(91), set(row.kinds())
            for number, case in enumerate(row.few(1)):
                if not row.per_sample(case) or not row.streams(case):
                    continue
                missing.discard(row.kind(case))
                dtype = (np.float32, np.float64)[number % 2]
                with self.subTest(str(case), dtype=dtype.__name__):
                    self.check(Samples(row, case, dtype, random), random)
            with self.subTest(row.loss.name):
                self.assertEqual(missing, set(), "no case")

    def test_whole_batch_losses_are_refused(self):
        """Named in the catalogue, and refused by the server, are the same."""
        for row in walk.rows(servers()[0]):
            if not row.loss.streams:
                with self.subTest(row.loss.name), self.assertRaisesRegex(Exception, "INVALID_ARGUMENT"):
                    spec = evaluation.spec([tensors.loss(row.loss.name, row.cases[0].parameters)])
                    evaluation.evaluate(servers()[0], spec, [])


if __name__ == "__main__":
    unittest.main()
