"""What losses of a whole batch have beside values and gradients: components, refusals, no streams, and no order of
samples or boxes.
"""
import unittest

import grpc
import numpy as np

from tests.losses import cases_whole
from tests.losses.case import f32
from tests.support import details, server, tensors
from tests.support.stubs import evaluation_pb2, loss_service_pb2

_SECONDS = 30
_SCALES = {"scales": [[(1.0, 1.0), (2.0, 2.0)]]}


def _embeddings(seed=3):
    random = np.random.default_rng(seed)
    return {"embeddings": random.normal(0, 1, (12, 5)).astype(np.float32), "labels": random.integers(0, 3, 12)}


def _detections(boxes=None):
    random = np.random.default_rng(4)
    head = random.normal(0, 1, (2, 2, 3, 4, 8)).astype(np.float32)
    if boxes is None:
        boxes = f32([0, 0, 0.2, 0.3, 0.4, 0.4], [1, 2, 0.9, 0.5, 0.25, 0.5], [0, 1, 0.22, 0.31, 0.3, 0.3])
    return {"predictions_0": head, "boxes": np.asarray(boxes, np.float32)}


class ServiceTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stub = server.shared(server.targets()[-1]).stub

    def compute(self, loss, inputs, parameters=None, reduction="MEAN", bindings=None, **fields):
        request = tensors.request([tensors.loss(loss, parameters, bindings)], inputs,
                                  reduction=f"REDUCTION_{reduction}", **fields)
        return self.stub.ComputeLoss(request, timeout=_SECONDS).results[0]

    def check_refused(self, reason, field, says, *arguments, **fields):
        with self.assertRaises(grpc.RpcError) as raised:
            self.compute(*arguments, **fields)
        found = details.details(raised.exception)
        self.assertEqual((raised.exception.code(), found.reason, found.fields),
                         (grpc.StatusCode.INVALID_ARGUMENT, reason, (field,)), raised.exception.details())
        for part in says:
            self.assertIn(part, raised.exception.details())


class ComponentsTest(ServiceTest):
    def test_they_add_up(self):
        for case in cases_whole.cases():
            if case.loss != "yolo" or "sample_weight" in case.inputs:
                continue
            found = self.compute("yolo", case.inputs, case.parameters)
            with self.subTest(str(case)):
                if found.items == 0:
                    self.assertEqual(dict(found.components), {})
                    continue
                self.assertEqual(set(found.components), {"box", "objectness", "classification"})
                np.testing.assert_allclose(sum(found.components.values()), found.value, rtol=1e-7)

    def test_a_weight_scales_its_own(self):
        plain = self.compute("yolo", _detections(), _SCALES).components
        more = self.compute("yolo", _detections(), _SCALES | {"box_weight": 0.2, "classification_weight": 0.25,
                                                              "objectness_weight": 0.0}).components
        self.assertAlmostEqual(more["box"], 4 * plain["box"], places=14)
        self.assertAlmostEqual(more["classification"], plain["classification"] / 2, places=14)
        self.assertEqual(more["objectness"], 0)

    def test_the_box_term_is_the_loss_ciou(self):
        """Of one pair, decoded by hand; the objectness target is the loss iou."""
        inputs = _detections([[0, 0, 0.3, 0.4, 0.4, 0.5]])
        inputs["predictions_0"] = inputs["predictions_0"][:1].astype(np.float64)
        scales = {"scales": [[(1.0, 1.0), (50.0, 50.0)]], "box_weight": 1.0}
        found = self.compute("yolo", inputs, scales)
        t = inputs["predictions_0"][0, 0, 1, 1]
        sigmoid = 1 / (1 + np.exp(-t[:2]))
        boxes = {"predictions": np.array([[*sigmoid, *np.exp(t[2:4])]]),
                 "targets": np.float64(np.float32([[0.3 * 4 - 1, 0.4 * 3 - 1, 0.4 * 4, 0.5 * 3]]))}
        ciou = self.compute("ciou", boxes, {"format": "CXCYWH"})
        self.assertAlmostEqual(found.components["box"], ciou.value, places=6)

    def test_range_has_none(self):
        self.assertEqual(dict(self.compute("range", _embeddings()).components), {})


class OrderTest(ServiceTest):
    def test_samples_have_no_order(self):
        inputs, random = _embeddings(), np.random.default_rng(5)
        for parameters in ({"margin": 20.0}, {"k": 5}):
            found = {self.compute("range", {name: array[order] for name, array in inputs.items()}, parameters,
                                  "NONE").values.data for order in [random.permutation(12) for _ in range(5)]}
            self.assertEqual(len(found), 1)

    def test_labels_are_names(self):
        inputs = _embeddings()
        other = inputs | {"labels": inputs["labels"] * 1000 + 7}
        self.assertEqual(self.compute("range", inputs, reduction="NONE").values.data,
                         self.compute("range", other, reduction="NONE").values.data)

    def test_boxes_have_no_order(self):
        inputs = _detections()
        for parameters in (_SCALES, _SCALES | {"assignment": "BEST_IOU", "localization": "MSE"}):
            found = {self.compute("yolo", inputs | {"boxes": np.roll(inputs["boxes"], i, 0)}, parameters,
                                  "NONE").values.data for i in range(3)}
            self.assertEqual(len(found), 1)


class ReportTest(ServiceTest):
    def test_the_item_is_one(self):
        for loss, inputs, parameters in (("range", _embeddings(), {}), ("yolo", _detections(), _SCALES)):
            plain = self.compute(loss, inputs, parameters, "NONE")
            self.assertEqual(list(plain.values.shape), [1])
            value = float(tensors.array(plain.values)[0])
            weighted = self.compute(loss, inputs | {"sample_weight": f32(0.5)}, parameters, "SUM")
            self.assertEqual((weighted.value, weighted.items, weighted.sum_weight), (value / 2, 1, 0.5))
            ignored = self.compute(loss, inputs | {"sample_weight": f32(0)}, parameters)
            self.assertEqual((ignored.items, ignored.ignored_items, ignored.sum), (0, 1, 0))

    def test_non_finite(self):
        inputs = _embeddings()
        inputs["embeddings"][4, 2] = np.nan
        self.assertEqual(self.compute("range", inputs).nan_items, 1)
        skipped = self.compute("range", inputs, non_finite="NON_FINITE_POLICY_SKIP", gradients_of=["embeddings"])
        self.assertEqual((skipped.items, skipped.sum), (0, 0))
        self.assertEqual(set(tensors.array(skipped.gradients["embeddings"]).ravel()), {0})
        with self.assertRaises(grpc.RpcError) as raised:
            self.compute("range", inputs, non_finite="NON_FINITE_POLICY_REJECT")
        self.assertEqual(details.details(raised.exception).reason, "NON_FINITE_ITEM")

    def test_a_head_for_another_loss_is_left_alone(self):
        inputs = _detections() | {"predictions_1": _detections()["predictions_0"][:, :1]}
        two = {"scales": [[(1.0, 1.0), (2.0, 2.0)], [(3.0, 3.0)]]}
        losses = [tensors.loss("yolo", _SCALES), tensors.loss("yolo", two)]
        results = self.stub.ComputeLoss(tensors.request(losses, inputs, gradients_of=["predictions_1"]),
                                        timeout=_SECONDS).results
        self.assertEqual(results[0].value, self.compute("yolo", _detections(), _SCALES).value)
        self.assertEqual([set(result.gradients) for result in results], [set(), {"predictions_1"}])


class RefusalTest(ServiceTest):
    def test_streams(self):
        for loss, parameters in (("range", {}), ("yolo", _SCALES)):
            spec = evaluation_pb2.EvaluationSpec(losses=[tensors.loss("mse"), tensors.loss(loss, parameters)])
            with self.assertRaises(grpc.RpcError) as raised:
                list(self.stub.Evaluate(iter([loss_service_pb2.EvaluateRequest(spec=spec)]), timeout=_SECONDS))
            found = details.details(raised.exception)
            self.assertEqual((raised.exception.code(), found.reason, found.fields),
                             (grpc.StatusCode.INVALID_ARGUMENT, "WHOLE_BATCH", ("spec.losses[1]",)))
            self.assertIn("ComputeLoss", raised.exception.details())

    def test_a_sample_has_no_weight(self):
        for loss, inputs, parameters, count in (("range", _embeddings(), {}, 12), ("yolo", _detections(), _SCALES, 2)):
            self.check_refused("SHAPE_MISMATCH", 'inputs["sample_weight"].shape', ["[1]", f"[{count}]"], loss,
                               inputs | {"sample_weight": np.ones(count, np.float32)}, parameters)

    def test_labels(self):
        inputs = _embeddings()
        inputs["labels"][7] = -2
        self.check_refused("LABEL_OUT_OF_RANGE", 'inputs["labels"]', ["at least 0", "-2", "[7]"], "range", inputs)
        self.check_refused("SHAPE_MISMATCH", 'inputs["labels"].shape', ["[12]", "[11]"], "range",
                           inputs | {"labels": inputs["labels"][:11]})

    def test_boxes(self):
        fine = [0, 1, 0.5, 0.5, 0.5, 0.5]
        for column, value, says in ((0, 2, "image index from 0 to 1"), (0, -1, "image"), (0, 0.5, "image"),
                                    (1, 3, "class from 0 to 2"), (1, np.nan, "class"), (2, 1.01, "center from 0 to 1"),
                                    (3, -0.01, "center"), (4, 0, "size above 0, at most 1"), (5, 1.5, "size"),
                                    (5, np.inf, "size")):
            wrong = list(fine)
            wrong[column] = value
            self.check_refused("INVALID_VALUE", 'inputs["boxes"]', [says, f"[1,{column}]"], "yolo",
                               _detections([fine, wrong]), _SCALES)
        self.check_refused("SHAPE_MISMATCH", 'inputs["boxes"].shape', ["[M,6]", "[1,5]"], "yolo",
                           _detections([fine[:5]]), _SCALES)

    def test_heads(self):
        inputs = _detections()
        head = inputs["predictions_0"]
        two = {"scales": _SCALES["scales"] + [[(3.0, 3.0)]]}
        refused = (
            ("MISSING_PARAMETER", "losses[0].yolo.scales", ["anchors"], inputs, {}, {}),
            ("MISSING_INPUT", 'inputs["predictions_1"]', ["2 scales"], inputs, two, {}),
            ("UNKNOWN_INPUT", 'inputs["predictions_1"]', ["predictions_1"], inputs | {"predictions_1": head},
             _SCALES, {}),
            ("UNKNOWN_INPUT", 'losses[0].inputs["predictions_1"]', ["1 scales"], inputs, _SCALES,
             {"predictions_1": "predictions_0"}),
            ("SHAPE_MISMATCH", 'inputs["predictions_0"].shape', ["A = 1", "[2,2,3,4,8]"], inputs,
             {"scales": [[(1.0, 1.0)]]}, {}),
            ("SHAPE_MISMATCH", 'inputs["predictions_1"].shape', ["5+K = 8"],
             inputs | {"predictions_1": head[:, :1, ..., :7]}, two, {}),
            ("SHAPE_MISMATCH", 'inputs["predictions_0"].shape', ["[N,A,H,W,5+K]"],
             inputs | {"predictions_0": head[..., :4]}, _SCALES, {}),
        )
        for reason, field, says, given, parameters, bindings in refused:
            with self.subTest(says=says):
                self.check_refused(reason, field, says, "yolo", given, parameters, bindings=bindings)

    def test_scales(self):
        for scales, field, says in (
                ([[(1.0, 1.0), (0.0, 2.0)]], "losses[0].yolo.scales[0].anchors[1].width", "above 0, got 0"),
                ([[(1.0, 1.0)], [(1.0, -1.0)]], "losses[0].yolo.scales[1].anchors[0].height", "got -1"),
                ([[(1.0, np.inf)]], "losses[0].yolo.scales[0].anchors[0].height", "got inf"),
                ([[]], "losses[0].yolo.scales[0].anchors", "at least one"),
                ([[(1.0, 1.0)] * 33], "losses[0].yolo.scales[0].anchors", "at most 32"),
                ([[(1.0, 1.0)]] * 9, "losses[0].yolo.scales", "at most 8")):
            with self.subTest(field=field, says=says):
                self.check_refused("INVALID_PARAMETER", field, [says], "yolo", _detections(), {"scales": scales})


if __name__ == "__main__":
    unittest.main()
