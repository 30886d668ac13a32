"""An item's loss is a pure function of the item: never of the number of samples, of its place, or of the layout."""
import unittest

import numpy as np

from tests.properties import data
from tests.support import server, tensors

_CLASS_COUNTS = (1, 2, 7, 10, 33, 100, 4097)


def values(stub, losses, inputs):
    request = tensors.request(losses, inputs, reduction="REDUCTION_NONE")
    return [tensors.array(found.values) for found in stub.ComputeLoss(request, timeout=30).results]


class ItemsTest(unittest.TestCase):
    def setUp(self):
        self.stubs = [server.shared(target).stub for target in server.targets()]

    def equal(self, found, expected, name):
        self.assertEqual(np.ascontiguousarray(found).tobytes(), np.ascontiguousarray(expected).tobytes(), name)

    def test_place_and_number_of_samples(self):
        losses = [loss for loss in data.losses() if loss.WhichOneof("kind") != "balanced_binary_cross_entropy"]
        random = np.random.default_rng(61)
        for dtype in (np.float32, np.float64):
            arrays = data.inputs(random, dtype, 1111)
            for stub in self.stubs:
                whole = values(stub, losses, arrays)
                for start, stop in ((0, 1), (1, 2), (3, 20), (17, 48), (1000, 1111), (31, 1060)):
                    part = values(stub, losses, data.rows(arrays, slice(start, stop)))
                    for loss, one, other in zip(losses, part, whole):
                        self.equal(one, other[start:stop], f"{loss.label} [{start}:{stop}]")
                order = random.permutation(1111)
                for loss, one, other in zip(losses, values(stub, losses, data.rows(arrays, order)), whole):
                    self.equal(one, other[order], loss.label)

    def test_layouts_of_positions(self):
        """[N,C], [N,C,1] and each pixel of [N,C,H,W]."""
        random = np.random.default_rng(62)
        losses = [tensors.loss("cross_entropy", {"label_smoothing": 0.1}, {"labels": "labels"}, "labels"),
                  tensors.loss("cross_entropy", bindings={"target_probs": "target_probs"}, label="target_probs"),
                  tensors.loss("kl_divergence", label="kl"),
                  tensors.loss("kl_divergence", {"pointwise": True}, label="pointwise")]
        for dtype in (np.float32, np.float64):
            for classes in _CLASS_COUNTS:
                n = 12 if classes < 1000 else 4
                shape = (n // 2, classes, 1, 2)
                logits = random.normal(0, 5, shape).astype(dtype)
                probs = random.random(shape).astype(dtype)
                labels = random.integers(0, classes, (n // 2, 1, 2))

                def flat(array):
                    return np.ascontiguousarray(np.moveaxis(array, 1, -1).reshape(n, classes))
                for stub in self.stubs:
                    pixels = values(stub, losses, {"logits": logits, "target_probs": probs, "labels": labels})
                    inputs = {"logits": flat(logits), "target_probs": flat(probs), "labels": labels.ravel()}
                    plain = values(stub, losses, inputs)
                    thin = values(stub, losses, {name: array[..., None] for name, array in inputs.items()})
                    for loss, a, b, c in zip(losses, pixels, plain, thin):
                        name = f"{loss.label}, C {classes}, {np.dtype(dtype)}"
                        self.equal(c.reshape(b.shape), b, f"{name}: [N,C,1] and [N,C]")
                        self.equal(flat(a) if loss.label == "pointwise" else a.ravel(), b, f"{name}: pixels")


if __name__ == "__main__":
    unittest.main()
