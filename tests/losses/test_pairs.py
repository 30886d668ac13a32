"""What pairs, triplets and centers have beside values and gradients: the kinds of triplets, the update of centers,
the label conventions, and numbers of other libraries.
"""
import unittest

import grpc
import numpy as np

from tests.losses import cases_pairs, reference_pairs
from tests.losses.reference import Parameters
from tests.support import details, evaluation, server, tensors
from tests.support.floats import widen

_SECONDS = 30
_KINDS = ("easy", "semi_hard", "hard")


def f32(*values):
    return np.array(values, np.float32)


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stub = server.shared(server.targets()[-1]).stub

    def compute(self, loss, inputs, parameters=None, reduction="MEAN", **fields):
        request = tensors.request([tensors.loss(loss, parameters)], inputs,
                                  reduction=f"REDUCTION_{reduction}", **fields)
        return self.stub.ComputeLoss(request, timeout=_SECONDS).results[0]

    def refused(self, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        self.assertEqual(raised.exception.code(), grpc.StatusCode.INVALID_ARGUMENT)
        return details.details(raised.exception), raised.exception.details()


class TripletTest(ServiceTest):
    @staticmethod
    def kinds_of(case):
        """Counts by the definition; None where a distance is so near a limit that rounding decides."""
        parameters = Parameters(case)
        margin, found = parameters("margin", 1.0), dict.fromkeys(_KINDS, 0)
        weights = case.inputs.get("sample_weight", np.ones(case.inputs["anchor"].shape[0]))
        for (positive, negative), weight in zip(reference_pairs.triplet_distances(case.widened(), parameters), weights):
            if weight == 0:
                continue
            loss, lead = margin + positive - negative, positive - negative
            if any(0 < abs(x) < 1e-12 * max(positive, negative) for x in (loss, lead)):
                return None
            if loss != loss:
                continue
            found["easy" if loss <= 0 else "hard" if negative < positive else "semi_hard"] += 1
        return found

    def test_kinds(self):
        total = dict.fromkeys(_KINDS, 0)
        for case in cases_pairs.cases():
            if case.loss != "triplet" or "not finite" in case.name or "beyond" in case.name:
                continue
            expected = self.kinds_of(case)
            if expected is None:
                continue
            result = self.compute(case.loss, case.inputs, case.parameters)
            with self.subTest(str(case)):
                self.assertEqual(dict(result.counts), expected)
                self.assertEqual(sum(expected.values()), result.items)
            for kind in _KINDS:
                total[kind] += expected[kind]
        self.assertGreater(min(total.values()), 100)

    def test_a_nan_is_of_no_kind(self):
        rows = f32([0, 0], [0, np.nan], [0, 0], [0, 0])
        inputs = {"anchor": rows, "positive": f32([1, 0], [1, 0], [1, 0], [3, 0]),
                  "negative": f32([5, 0], [5, 0], [1.5, 0], [1, 0])}
        for policy, items in (("PROPAGATE", 4), ("SKIP", 3)):
            result = self.compute("triplet", inputs, non_finite=f"NON_FINITE_POLICY_{policy}")
            self.assertEqual((dict(result.counts), result.items), ({"easy": 1, "semi_hard": 1, "hard": 1}, items))

    def test_kinds_of_a_stream_are_those_of_the_request(self):
        random = np.random.default_rng(5)
        inputs = {name: random.normal(0, 1, (301, 7)).astype(np.float32) for name in ("anchor", "positive", "negative")}
        inputs["sample_weight"] = random.choice(f32(0, 0.5, 1), 301)
        whole = self.compute("triplet", inputs)
        self.assertGreater(min(whole.counts.values()), 20)
        spec = evaluation.spec([tensors.loss("triplet")])
        cuts = (0, 1, 50, 51, 200, 301)
        batches = [{name: array[a:b] for name, array in inputs.items()} for a, b in zip(cuts, cuts[1:])]
        streamed = evaluation.evaluate(self.stub, spec, batches).summaries[0].result
        self.assertEqual(streamed.counts, whole.counts)
        self.assertEqual(streamed.value, whole.value)

    def test_gradient_at_kinks(self):
        """That of PyTorch 2.15: 0 where the loss just becomes 0, and a tie of the swap is halved."""
        names = ["anchor", "positive", "negative"]

        def gradients(positive, negative, **parameters):
            inputs = {"anchor": f32([0, 0]), "positive": f32(positive), "negative": f32(negative)}
            found = self.compute("triplet", inputs, parameters | {"eps": 0.0}, gradients_of=names).gradients
            return [tensors.array(found[name])[0].tolist() for name in names]
        zeros = [[0, 0]] * 3
        self.assertEqual(gradients([1, 0], [2, 0]), zeros)
        self.assertEqual(gradients([0, 0], [1, 0]), zeros)
        self.assertEqual(gradients([0, 2], [0, 1], swap=True), [[0, -0.5], [0, 0.5], [0, 0]])
        for p in (1.0, 1.5, 2.0, 3.0):
            self.assertEqual(gradients([0, 0], [0, 0], p=p), zeros)

    def test_pytorch_metric_learning(self):
        """TripletMarginLoss of 2.9.0 on LpDistance(normalize_embeddings=False) and CosineSimilarity, in f64."""
        def rows(seed):
            return np.array([[((seed * (i + 1) * (j + 3)) % 17 - 8) / 4 for j in range(5)] for i in range(4)])
        inputs = {"anchor": rows(3), "positive": rows(5), "negative": rows(7)}
        for parameters, expected in (
                ({"margin": 0.5}, [0.01539530656710486, 0, 0, 0]),
                ({"margin": 2.0}, [1.5153953065671049, 0.896254479847129, 0.8812877783010742, 0.8455270460680073]),
                ({"margin": 2.0, "swap": True},
                 [1.5153953065671049, 0.915158740129244, 2.1780922061635706, 0.9204355679380636]),
                ({"margin": 2.0, "p": 1.0}, [1.75, 0, 0.5, 0]),
                ({"margin": 2.0, "p": 1.0, "swap": True}, [1.75, 0, 2.25, 0]),
                ({"margin": 2.0, "distance": "SQUARED_EUCLIDEAN", "swap": True}, [0, 0, 3.0625, 0]),
                ({"margin": 0.5, "distance": "COSINE"}, [0.10005929399151925, 0, 0.25218824995186906, 0]),
                ({"margin": 2.0, "distance": "COSINE", "swap": True},
                 [1.6000592939915192, 1.5067711863017061, 2.3064203643937398, 1.4326292112695986])):
            items = tensors.array(self.compute("triplet", inputs, parameters | {"eps": 0.0}, "NONE").values)
            np.testing.assert_allclose(items, expected, rtol=1e-13, atol=1e-14, err_msg=str(parameters))


class ContrastiveTest(ServiceTest):
    def test_targets_of_the_other_convention_are_refused(self):
        pair = {"first": f32([0], [1]), "second": f32([1], [1])}
        for inputs in (pair, {"distances": f32(1, 0)}):
            for target, convention, expected in ((-1, "ZERO_IS_SIMILAR", "0 or 1"), (2, "ZERO_IS_SIMILAR", "0 or 1"),
                                                 (2, "ONE_IS_SIMILAR", "-1, 0 or 1")):
                for targets in (f32(1, target), np.array([1, target], np.int64)):
                    given = inputs | {"targets": targets}
                    found, message = self.refused(lambda given=given, parameters={"label_convention": convention}:
                                                  self.compute("contrastive", given, parameters))
                    self.assertEqual((found.reason, found.fields), ("INVALID_VALUE", ('inputs["targets"]',)))
                    self.assertIn(f"expected {expected}, got {target} at [1]", message)

    def test_targets_of_cosine_embedding(self):
        inputs = {"first": f32([0], [1]), "second": f32([1], [1]), "targets": f32(1, 0)}
        found, message = self.refused(lambda: self.compute("cosine_embedding", inputs))
        self.assertEqual(found.reason, "INVALID_VALUE")
        self.assertIn("expected -1 or +1, got 0 at [1]", message)


class CenterTest(ServiceTest):
    @staticmethod
    def inputs(dtype=np.float32, n=300, classes=7, width=5):
        random = np.random.default_rng(12)
        return {"embeddings": random.normal(0, 1, (n, width)).astype(dtype),
                "centers": random.normal(0, 1, (classes, width)).astype(dtype),
                "labels": random.integers(0, classes - 1, n)}  # no sample of the last class

    @staticmethod
    def update_of(inputs, counted):
        embeddings, centers = (widen(inputs[name]).astype(np.float64) for name in ("embeddings", "centers"))
        update = np.zeros(centers.shape)
        for j, center in enumerate(centers):
            own = counted & (inputs["labels"] == j)
            update[j] = (center - embeddings[own]).sum(0) / (1 + own.sum())
        return update

    def update(self, inputs, **fields):
        result = self.compute("center", inputs, {"want_center_update": True}, **fields)
        self.assertEqual(set(result.outputs), {"center_update"})
        return tensors.array(result.outputs["center_update"])

    def test_update(self):
        for dtype, tolerance in ((np.float16, 2e-6), (np.float32, 2e-6), (np.float64, 1e-14)):
            inputs = self.inputs(dtype)
            found = self.update(inputs)
            self.assertEqual(found.dtype, np.float64 if dtype == np.float64 else np.float32)
            np.testing.assert_allclose(found, self.update_of(inputs, np.ones(300, bool)), atol=tolerance)
            self.assertEqual(found[-1].tobytes(), bytes(found[-1].nbytes))
        self.assertFalse(self.compute("center", self.inputs()).outputs)

    def test_update_leaves_out_what_the_sums_leave_out(self):
        inputs = self.inputs()
        weights = np.random.default_rng(3).choice(f32(0, 0.25, 1), 300)
        inputs["embeddings"][weights == 0] = np.nan
        inputs["labels"][weights == 0] = -1
        found = self.update(inputs | {"sample_weight": weights})
        np.testing.assert_allclose(found, self.update_of(inputs, weights != 0), atol=2e-6)
        inputs = self.inputs()
        inputs["embeddings"][::10, 2] = np.nan
        counted = np.arange(300) % 10 != 0
        found = self.update(inputs, non_finite="NON_FINITE_POLICY_SKIP")
        np.testing.assert_allclose(found, self.update_of(inputs, counted), atol=2e-6)

    def test_update_with_every_reduction_and_gradients(self):
        inputs = self.inputs()
        bits = {self.update(inputs, reduction=reduction, gradients_of=names).tobytes()
                for reduction, names in (("MEAN", []), ("SUM", ["centers"]), ("NONE", []), ("MEAN", ["embeddings"]))}
        self.assertEqual(len(bits), 1)

    def test_update_and_gradients_do_not_depend_on_threads_or_targets(self):
        for loss in ("center", "center_invariant"):
            inputs = self.inputs(n=6000, width=33)
            bits = set()
            for target in server.targets():
                for threads in (1, 2):
                    parameters = {"want_center_update": True} if loss == "center" else {}
                    request = tensors.request([tensors.loss(loss, parameters)], inputs,
                                              gradients_of=["centers", "embeddings"])
                    result = server.shared(target, threads).stub.ComputeLoss(request, timeout=_SECONDS).results[0]
                    bits.add(result.SerializeToString(deterministic=True))
            self.assertEqual(len(bits), 1)

    def test_no_update_of_a_stream(self):
        spec = evaluation.spec([tensors.loss("center", {"want_center_update": True})])
        found, _ = self.refused(lambda: evaluation.run(self.stub, [evaluation.step(spec=spec)]))
        self.assertEqual((found.reason, found.fields), ("UNARY_ONLY", ("spec.losses[0].center.want_center_update",)))

    def test_centers_as_a_constant(self):
        inputs = self.inputs()
        for loss in ("center", "center_invariant"):
            whole = self.compute(loss, inputs)
            constants = {"centers": inputs["centers"]}
            spec = evaluation.spec([tensors.loss(loss)], constants)
            batches = [{name: inputs[name][a:b] for name in ("embeddings", "labels")}
                       for a, b in ((0, 3), (3, 150), (150, 300))]
            result = evaluation.evaluate(self.stub, spec, batches, constants).summaries[0].result
            self.assertEqual(result.value, whole.value)

    def test_labels_and_shapes(self):
        inputs = self.inputs(n=4)
        found, message = self.refused(lambda: self.compute("center", inputs | {"labels": np.array([0, 1, 7, -1])}))
        self.assertEqual(found.reason, "LABEL_OUT_OF_RANGE")
        self.assertIn("from 0 to 6, got 7 at [2]", message)
        for name, shape in (("centers", (7, 4)), ("centers", (35,)), ("centers", (0, 5)), ("labels", (3,)),
                            ("embeddings", (4, 5, 1))):
            found, _ = self.refused(lambda n=name, s=shape: self.compute(
                "center", inputs | {n: np.zeros(s, inputs[n].dtype)}))
            self.assertEqual(found.reason, "SHAPE_MISMATCH", name)


if __name__ == "__main__":
    unittest.main()
