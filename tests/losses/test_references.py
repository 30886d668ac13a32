"""The two references agree: the definitions with 100 digits, and PyTorch. Needs no server."""
import unittest

import numpy as np

from tests.losses import catalogue, reference, torch_reference, torch_rules


class ReferencesTest(unittest.TestCase):
    def test_pytorch_decides_what_the_definitions_say(self):
        compared = 0
        for case in catalogue.cases():
            decided = torch_reference.compute(case)
            if decided is None:
                continue
            compared += 1
            items, dtype = reference.items(case), case.compute_type
            with self.subTest(str(case)):
                self.assertEqual(decided[0].shape, tuple(items.shape))
                wrong = []
                for i, value in enumerate(items.values):
                    if items.ignored.flat[i]:
                        continue
                    with np.errstate(over="ignore"):
                        actual = dtype(float(value))
                    why = torch_rules.differs(actual, decided[0].flat[i], value, items.measures[i], dtype)
                    if why:
                        wrong.append(f"[{i}] {actual}: {why}")
                self.assertEqual(wrong[:5], [])
        self.assertGreater(compared, 100)


if __name__ == "__main__":
    unittest.main()
