"""Sums and means are the correctly rounded ones, judged by Python's fractions of the items that came back."""
import unittest

import numpy as np

from tests.losses.case import wide
from tests.properties import data
from tests.support import evaluation, exact, server, tensors

_MAX = np.finfo(np.float64).max
_TINY = 5e-324

# Sums that a wrong rounding, a lost bit or a carry would show.
_ADVERSARIAL = {
    "tie to even, down": [1.0, 2.0 ** -53],
    "tie to even, up": [1.0 + 2.0 ** -52, 2.0 ** -53],
    "above the tie by the smallest": [1.0, 2.0 ** -53, _TINY],
    "below the tie by the smallest": [1.0 + 2.0 ** -52, 2.0 ** -53, -_TINY],
    "all cancels": [1e300, 1.0, -1e300, 1e-300, -1.0, -1e-300],
    "the smallest remains": [_MAX, _TINY, -_MAX],
    "beyond the largest and back": [_MAX, _MAX, -_MAX, -_MAX / 2],
    "overflow": [_MAX, _MAX],
    "rounds up to overflow": [_MAX, 2.0 ** 969, 2.0 ** 969],
    "just below overflow": [_MAX, 2.0 ** 969],
    "subnormals": [_TINY] * 7 + [-2 * _TINY],
    "negative zero": [-0.0, -0.0],
    "a third": [1.0, 0.0, 0.0],
    "subnormal mean": [_TINY, 0.0],
    "subnormal mean, rounded up": [3 * _TINY, 0.0],
    "carries": [2.0 ** e for e in range(-60, 60)] + [-2.0 ** -60],
}


def mean_bias(stub, items, dtype, weight=None, reduction="REDUCTION_NONE"):
    """The result of mean_bias with target 0, whose items are the values themselves."""
    predictions = np.array(items, dtype)
    inputs = {"predictions": predictions, "targets": np.zeros_like(predictions)}
    if weight is not None:
        inputs["sample_weight"] = np.array(weight, dtype)
    return stub.ComputeLoss(tensors.request([tensors.loss("mean_bias")], inputs, reduction=reduction),
                            timeout=30).results[0]


class ExactSumsTest(unittest.TestCase):
    def check(self, found, items, weight=None):
        weight = np.ones(len(items)) if weight is None else np.asarray(weight, np.float64)
        counted = weight != 0
        terms = exact.terms_of(np.asarray(items, np.float64)[counted], weight[counted])
        total, sum_weight, mean = exact.report(terms, weight[counted])
        for name, actual, right in (("sum", found.sum, total), ("sum_weight", found.sum_weight, sum_weight),
                                    ("value", found.value, mean)):
            self.assertTrue(exact.same(actual, right), f"{name} is {actual.hex()}, not {right.hex()}")

    def test_adversarial(self):
        for target in server.targets():
            stub = server.shared(target).stub
            for name, items in _ADVERSARIAL.items():
                for order in (1, -1):
                    with self.subTest(name, target=target, order=order):
                        self.check(mean_bias(stub, items[::order], np.float64), items)

    def test_adversarial_in_one_sample_batches(self):
        stub = server.shared(server.targets()[-1]).stub
        for name, items in _ADVERSARIAL.items():
            with self.subTest(name):
                batches = [{"predictions": np.array([x]), "targets": np.zeros(1)} for x in items]
                found = evaluation.evaluate(stub, evaluation.spec([tensors.loss("mean_bias")]), batches)
                self.check(found.summaries[0].result, items)

    def test_random_sizes_and_weights(self):
        random = np.random.default_rng(51)
        for target in server.targets():
            stub = server.shared(target).stub
            for count in (1, 2, 3, 15, 16, 17, 31, 33, 1000, 1023, 1024, 1025, 5555, 20000):
                for dtype, decades in ((np.float32, 20), (np.float64, 150)):
                    items = wide(random, count, dtype, -decades, decades)
                    items[count // 2:][:count // 3] = -items[:count // 3]
                    weight = np.abs(wide(random, count, dtype, -decades, decades))
                    weight[::7] = 0
                    with self.subTest(target=target, count=count, dtype=dtype):
                        self.check(mean_bias(stub, items, dtype), items)
                        self.check(mean_bias(stub, items, dtype, weight), items, weight)

    def test_every_exponent(self):
        random = np.random.default_rng(52)
        stub = server.shared(server.targets()[-1]).stub
        bits = random.integers(0, 2 ** 63, 3000, np.uint64) | (random.integers(0, 2, 3000).astype(np.uint64) << 63)
        items = bits.view(np.float64)
        items = items[np.isfinite(items)]
        self.check(mean_bias(stub, items, np.float64), items)
        bits = random.integers(0, 2 ** 32, 3000).astype(np.uint32)
        items = bits.view(np.float32)
        items = items[np.isfinite(items)]
        self.check(mean_bias(stub, items, np.float32), items)

    def test_all_losses_of_the_evaluation(self):
        stub = server.shared(server.targets()[-1]).stub
        for dtype in (np.float32, np.float64):
            arrays = data.inputs(np.random.default_rng(53), dtype)
            weight = arrays["sample_weight"].astype(np.float64)
            request = tensors.request(data.losses(), arrays, reduction="REDUCTION_NONE")
            for found in stub.ComputeLoss(request, timeout=30).results:
                if found.loss == "balanced_binary_cross_entropy":
                    continue  # its report is no sum of items: see test_balanced_is_one_rational_function
                kept = weight.copy()
                if found.loss in ("cross_entropy", "zero_one"):
                    kept[arrays["labels"] == -100] = 0
                with self.subTest(found.loss, dtype=dtype):
                    self.check(found, tensors.array(found.values), kept)

    def test_balanced_is_one_rational_function(self):
        stub = server.shared(server.targets()[-1]).stub
        arrays = data.inputs(np.random.default_rng(54), np.float32)
        inputs = {"logits": arrays["predictions"], "targets": arrays["fractions"],
                  "sample_weight": arrays["sample_weight"]}

        def items(beta):
            loss = tensors.loss("balanced_binary_cross_entropy", {"beta": beta})
            request = tensors.request([loss], inputs, reduction="REDUCTION_NONE")
            return tensors.array(stub.ComputeLoss(request, timeout=30).results[0].values).astype(np.float64)
        weight = inputs["sample_weight"].astype(np.float64)
        w, y = exact.exact_sum(weight), exact.exact_sum(weight * inputs["targets"].astype(np.float64))
        a, b = exact.exact_sum(weight * items(1.0)), exact.exact_sum(weight * items(0.0))
        request = tensors.request([tensors.loss("balanced_binary_cross_entropy")], inputs)
        found = stub.ComputeLoss(request, timeout=30).results[0]
        self.assertEqual(found.value.hex(), exact.rounded(((w - y) * a + y * b) / (w * w)).hex())
        self.assertEqual(found.sum.hex(), exact.rounded(((w - y) * a + y * b) / w).hex())


if __name__ == "__main__":
    unittest.main()
