"""dice, jaccard and tversky against golden values of MONAI and segmentation-models (make_golden_masks.py)."""
import collections
import json
import pathlib
import unittest

import numpy as np

from tests.support import server, tensors

_TOLERANCE = 1e-12  # both compute in f64 and subtract from 1
_SECONDS = 30


class ParityMasksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with np.load(pathlib.Path(__file__).with_name("golden_masks.npz")) as file:
            cls.index = json.loads(file["index"].tobytes())
            cls.forms = collections.defaultdict(dict)
            for key in file.files:
                if key != "index":
                    form, name = key.split(".")
                    cls.forms[form][name] = file[key]
        cls.stub = server.shared(server.targets()[-1]).stub

    def test_every_loss_and_form_is_there(self):
        seen = collections.Counter((entry["library"], entry["loss"], entry["form"]) for entry in self.index["entries"])
        self.assertEqual(len(seen), 2 * 3 * 4)
        self.assertGreater(len(self.index["entries"]), 200)

    def test_lossd_computes_what_the_libraries_compute(self):
        for entry in self.index["entries"]:
            with self.subTest(**{key: entry[key] for key in ("library", "loss", "form", "parameters")}):
                request = tensors.request([tensors.loss(entry["loss"], entry["parameters"])],
                                          self.forms[entry["form"]], reduction="REDUCTION_NONE")
                found = self.stub.ComputeLoss(request, timeout=_SECONDS).results[0]
                values = tensors.array(found.values).reshape(-1)
                self.assertEqual(values.shape, (len(entry["values"]),))
                self.assertLessEqual(np.abs(values - entry["values"]).max(), _TOLERANCE)


if __name__ == "__main__":
    unittest.main()
