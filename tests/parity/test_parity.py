"""lossd against golden values of the newest PyTorch; and Debian's PyTorch against them, to know where they differ."""
import unittest

import numpy as np

from tests.losses import catalogue, reference, torch_reference, torch_rules  # noqa: F401: registers references
from tests.parity import golden
from tests.support import server, tensors

_MEAN_TOLERANCE = 1e-4


class ParityTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.versions, cls.golden = golden.load()

    def test_golden_values_are_of_pytorch_2(self):
        self.assertGreaterEqual(int(self.versions["torch"].split(".")[0]), 2)
        self.assertGreater(len(self.golden), 100)

    def wrong(self, case, actual, decided):
        expected, dtype = reference.items(case), case.compute_type
        wrong = []
        for i, value in enumerate(expected.values):
            if not expected.ignored.flat[i]:
                why = torch_rules.differs(actual.flat[i], decided.flat[i], value, expected.measures[i], dtype)
                if why:
                    wrong.append(f"item {i} is {actual.flat[i]!r}, {why}")
        return wrong

    def test_lossd_computes_what_pytorch_computes(self):
        stub = server.shared(server.targets()[-1]).stub
        for case, items, mean in self.golden:
            with self.subTest(str(case)):
                request = tensors.request([tensors.loss(case.loss, case.parameters)], case.inputs,
                                          reduction="REDUCTION_NONE")
                found = stub.ComputeLoss(request, timeout=30).results[0]
                values = tensors.array(found.values)
                self.assertEqual((values.dtype, values.shape), (items.dtype, items.shape))
                self.assertEqual(self.wrong(case, values, items)[:3], [])
                if "sample_weight" not in case.inputs and np.isfinite(mean) and np.isfinite(found.value):
                    self.assertLessEqual(abs(found.value - mean), _MEAN_TOLERANCE * max(1, abs(mean)))

    def test_where_the_installed_pytorch_differs_from_the_newest(self):
        differing = set()
        for case, items, _ in self.golden:
            installed = torch_reference.compute(case)[0]
            if self.wrong(case, installed, items):
                differing.add(str(case))
        self.assertEqual(differing, set())


if __name__ == "__main__":
    unittest.main()
