"""Thousands of random items of every loss are within their bounds, and docs/accuracy.md, which shows what a million
gave (measure.py), has every loss within its bounds.
"""
import unittest

from tests.accuracy import measure
from tests.accuracy.definition import BOUNDS
from tests.support import server

_ITEMS = 6000


class AccuracyTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stub = server.shared().stub
        cls.names = measure.names(cls.stub)

    def test_items(self):
        for loss in self.names:
            for dtype in measure.TYPES:
                with self.subTest(loss, dtype=dtype.__name__):
                    worst = measure.measure(self.stub, loss, dtype, _ITEMS)
                    self.assertLessEqual(worst.error, BOUNDS[worst.kind, dtype], worst.where)

    def test_page(self):
        rows = measure.page_rows()
        self.assertEqual([row[0] for row in rows], self.names, "run tests/accuracy/measure.py")
        for loss, items, *errors, bounds in rows:
            for error, bound in zip(errors, bounds.split(", ")):
                with self.subTest(loss):
                    self.assertLessEqual(float(error.removesuffix(" ulp")), float(bound.removesuffix(" ulp")))
            if loss not in measure.whole.BATCHES:
                self.assertGreaterEqual(int(items.replace(",", "")), measure.ITEMS)


if __name__ == "__main__":
    unittest.main()
