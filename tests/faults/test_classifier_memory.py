"""A classifier of 100,000 classes: what the server holds stays near what it was sent, never [N,C]."""
import unittest

import numpy as np

from tests.faults import disturbed
from tests.support import evaluation, server, tensors

_ROWS, _DIMENSIONS, _CLASSES = 1024, 512, 100_000
_RESIDENT_LIMIT = 350 << 20  # with the inputs, of which the classifier takes 195 MiB; [N,C] would be 390 MiB more
_PIECE = 2 << 20  # numbers of the classifier a message


class ClassifierMemoryTest(unittest.TestCase):
    def test_forward_stays_small(self):
        random = np.random.default_rng(1)
        classifier = random.standard_normal((_CLASSES, _DIMENSIONS), np.float32)
        batch = {"embeddings": random.standard_normal((_ROWS, _DIMENSIONS), np.float32),
                 "labels": random.integers(0, _CLASSES, _ROWS)}
        lossd = server.Server()
        self.addCleanup(lossd.close)
        constants = {"classifier": classifier}

        results = [self.evaluate(lossd, classifier, batch, rows) for rows in (_ROWS, 300)]
        peak = disturbed.resident_peak_bytes(lossd.process)
        print(f"test_forward_stays_small: {peak >> 20} MiB resident")
        self.assertEqual(results[0].items, _ROWS)
        self.assertEqual(results[0].sum.hex(), results[1].sum.hex())
        self.assertLess(peak, _RESIDENT_LIMIT)

    @staticmethod
    def evaluate(lossd, classifier, inputs, rows):
        constants = {"classifier": classifier}

        def steps():
            yield evaluation.step(spec=evaluation.spec([tensors.loss("arcface")], constants))
            yield from evaluation.constant_steps(constants, _PIECE)
            for start in range(0, _ROWS, rows):
                yield evaluation.batch({name: array[start:start + rows] for name, array in inputs.items()})
            yield evaluation.finish()
        return evaluation.run(lossd.stub, steps())[-1].result.summaries[0].result


if __name__ == "__main__":
    unittest.main()
