"""Classifier losses and their gradients against golden values of pytorch-metric-learning
(make_golden_classifier.py)."""
import json
import pathlib
import unittest

import numpy as np

from tests.support import server, tensors

_SECONDS = 30
_INPUTS = ("embeddings", "classifier")
# Both in f64; the library takes cos(m t) from powers of the cosine, and its angles from acos.
_TOLERANCE = 1e-10


class ParityClassifierTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with np.load(pathlib.Path(__file__).with_name("golden_classifier.npz")) as file:
            cls.arrays = {name: file[name] for name in file.files}
        cls.entries = json.loads(cls.arrays.pop("index").tobytes())["entries"]
        cls.stub = server.shared(server.targets()[-1]).stub

    def test_every_loss_is_there(self):
        self.assertEqual({entry["loss"] for entry in self.entries},
                         {"cosface", "arcface", "l_softmax", "a_softmax", "normface"})
        self.assertTrue(all(len(entry["rows"]) >= 12 for entry in self.entries))

    def test_lossd_computes_what_the_library_computes(self):
        for number, entry in enumerate(self.entries):
            inputs = {"classifier": self.arrays["classifier"]}
            inputs |= {name: self.arrays[name][entry["rows"]] for name in ("embeddings", "labels")}
            request = tensors.request([tensors.loss(entry["loss"], entry["parameters"])], inputs,
                                      gradients_of=list(_INPUTS))
            found = self.stub.ComputeLoss(request, timeout=_SECONDS).results[0]
            with self.subTest(loss=entry["loss"], parameters=entry["parameters"]):
                mean = float.fromhex(entry["mean"])
                self.assertLessEqual(abs(found.value - mean), _TOLERANCE * max(1, abs(mean)))
                for name in _INPUTS:
                    right = self.arrays[f"{number}.{name}"]
                    off = np.abs(tensors.array(found.gradients[name]) - right).max()
                    self.assertLessEqual(off, _TOLERANCE * np.abs(right).max(), name)


if __name__ == "__main__":
    unittest.main()
