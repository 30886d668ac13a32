"""dice, jaccard and tversky with pooling WHOLE: one item of the sums over a request or a stream.

Weights are whole numbers here, so that the reference, which knows none, takes a position as often as it weighs.
"""
import itertools
import unittest

import grpc
import numpy as np

from tests.losses import reference, reference_masks, torch_reference  # noqa: F401: registers references
from tests.losses.case import Case, f32
from tests.losses.cases_masks import LOSSES, PARAMETERS, forms
from tests.support import details, evaluation, server, tensors
from tests.support.floats import Bfloat16, widen
from tests.support.stubs import loss_service_pb2

_SECONDS = 60
_WHOLE = {"pooling": "WHOLE"}
_TAIL, _CLASSES = (5, 6), 3
_POSITIONS = 30


def per_sample(parameters):
    return {name: value for name, value in parameters.items() if name != "pooling"}


def as_one_sample(inputs, repeats=None):
    """All positions, each so many times, as those of one sample."""
    found = {}
    times = None if repeats is None else repeats.ravel().astype(int)
    for name, array in inputs.items():
        if "labels" in inputs and name != "labels":  # [N,C,...]
            flat = np.moveaxis(array, 1, 0).reshape(array.shape[1], -1)
        else:
            flat = array.reshape(1, -1)
        flat = flat if times is None else np.repeat(flat, times, axis=1)
        found[name] = flat[None] if "labels" in inputs and name != "labels" else flat
    return found


class PooledMasksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stub = server.shared(server.targets()[-1]).stub

    def compute(self, loss, inputs, parameters=None, reduction="MEAN", target=None, **fields):
        stub = self.stub if target is None else server.shared(target).stub
        request = tensors.request([tensors.loss(loss, _WHOLE | (parameters or {}))], inputs,
                                  reduction=f"REDUCTION_{reduction}", **fields)
        return stub.ComputeLoss(request, timeout=_SECONDS).results[0]

    def every(self, samples=4, dtype=np.float32, seed=5):
        """(loss, parameters, inputs) of every loss, parameters and form."""
        random = np.random.default_rng(seed)
        for loss in LOSSES:
            for parameters in PARAMETERS[loss]:
                for _, inputs in forms(random, samples, _TAIL, _CLASSES, dtype):
                    yield loss, per_sample(parameters), inputs

    def expected(self, loss, inputs, parameters, dtype, repeats=None):
        """The item of the positions as one sample, and how far off it may be."""
        case = Case("pooled", loss, as_one_sample(inputs, repeats), parameters)
        items = reference.items(case)
        return items.values[0], reference.tolerance(items.values[0], items.measures[0], True, dtype)

    def check(self, loss, inputs, parameters, dtype, repeats=None, **given):
        found = self.compute(loss, inputs | given, parameters)
        right, limit = self.expected(loss, inputs, parameters, dtype, repeats)
        self.assertLessEqual(abs(found.value - right), limit, f"{found.value!r}, not {float(right)!r}")
        return found

    def test_value_is_that_of_one_sample(self):
        for dtype in (np.float32, np.float64):
            for loss, parameters, inputs in self.every(dtype=dtype):
                with self.subTest(loss=loss, parameters=parameters, inputs=list(inputs), dtype=dtype):
                    found = self.check(loss, inputs, parameters, dtype)
                    self.assertEqual((found.items, found.ignored_items, found.sum_weight),
                                     (4 * _POSITIONS, 0, 4 * _POSITIONS))

    def test_mean_sum_and_none_are_one_item(self):
        for dtype in (np.float32, np.float64):
            for loss, parameters, inputs in self.every(dtype=dtype):
                with self.subTest(loss=loss, parameters=parameters, inputs=list(inputs)):
                    mean, total, none = (self.compute(loss, inputs, parameters, reduction)
                                         for reduction in ("MEAN", "SUM", "NONE"))
                    values = tensors.array(none.values)
                    self.assertEqual({mean.value, mean.sum, total.value, total.sum, none.value}, {mean.value})
                    self.assertEqual((values.shape, values.dtype), ((), np.dtype(dtype)))
                    self.assertEqual(values[()], dtype(mean.value))

    def test_instruction_sets_have_the_same_bits(self):
        for loss, parameters, inputs in self.every(samples=20):
            found = {self.compute(loss, inputs, parameters, "NONE", target).SerializeToString(deterministic=True)
                     for target in server.targets()}
            self.assertEqual(len(found), 1, (loss, parameters, list(inputs)))

    def test_weights_weigh_the_positions(self):
        random = np.random.default_rng(6)
        for loss, parameters, inputs in self.every():
            samples = random.integers(0, 4, 4)
            samples[0] = 0
            positions = random.integers(0, 4, (4,) + _TAIL)
            spread = np.broadcast_to(samples[:, None, None], positions.shape)
            for weight, repeats in ((samples, spread), (positions, positions)):
                with self.subTest(loss=loss, inputs=list(inputs), weight=weight.shape):
                    found = self.check(loss, inputs, parameters, np.float32, repeats,
                                       sample_weight=weight.astype(np.float32))
                    self.assertEqual(found.sum_weight, repeats.sum())
                    self.assertEqual(found.ignored_items, (repeats == 0).sum())

    def test_ignored_positions_enter_no_sum(self):
        random = np.random.default_rng(7)
        for loss, parameters, inputs in self.every():
            name = "labels" if "labels" in inputs else "targets"
            prediction = next(iter(inputs))
            skip = random.integers(0, 2, inputs[name].shape) == 1
            marked = inputs[name].copy()
            marked[skip] = 255
            masked = np.where(skip[:, None] if name == "labels" else skip, np.float32(np.nan), inputs[prediction])
            with self.subTest(loss=loss, inputs=list(inputs)):
                found = self.compute(loss, {prediction: masked, name: marked}, parameters | {"ignore_index": 255})
                right, limit = self.expected(loss, inputs, parameters, np.float32, ~skip)
                self.assertLessEqual(abs(found.value - right), limit)
                self.assertEqual((found.items, found.ignored_items), (int((~skip).sum()), int(skip.sum())))

    def test_nothing_on_either_side(self):
        for loss in LOSSES:
            zeros = {"probs": np.zeros((3, 4), np.float32), "targets": np.zeros((3, 4), np.float32)}
            self.assertEqual(self.compute(loss, zeros).value, 0)
            self.assertEqual(self.compute(loss, zeros, {"smooth": 1.0}).value, 0)
            # The second class is nowhere.
            one_hot = {"probs": np.tile(f32(1, 0), (6, 1)), "labels": np.zeros(6, np.int64)}
            self.assertEqual(self.compute(loss, one_hot).value, 0)
            one_hot["probs"][0] = f32(0, 1)
            self.assertGreater(self.compute(loss, one_hot).value, 0.5)

    def test_no_items(self):
        for loss, (_, inputs) in itertools.product(LOSSES, forms(np.random.default_rng(8), 0, (3,), 2)):
            self.assertEqual(self.compute(loss, inputs, reduction="SUM").value, 0)
            self.assertTrue(np.isnan(self.compute(loss, inputs).value))
        inputs = {"probs": f32(0.5, 1)[None], "targets": f32(7, 7)[None]}
        found = self.compute("dice", inputs, {"ignore_index": 7})
        self.assertTrue(np.isnan(found.value))
        self.assertEqual((found.items, found.ignored_items), (0, 2))

    # --- streams

    def test_streams_have_the_bits_of_a_request(self):
        random = np.random.default_rng(9)
        for loss, parameters, inputs in self.every(samples=7):
            weight = random.uniform(0, 2, 7).astype(np.float32)
            inputs = inputs | {"sample_weight": weight}
            right = self.compute(loss, inputs, parameters)
            message = evaluation.spec([tensors.loss(loss, _WHOLE | parameters)])
            order = random.permutation(7)
            states = []
            for cuts in ([0, 7], [0, 1, 2, 3, 4, 5, 6, 7], [0, 3, 7]):
                batches = [{name: array[order[a:b]] for name, array in inputs.items()}
                           for a, b in zip(cuts, cuts[1:])]
                found = evaluation.evaluate(self.stub, message, batches)
                result = found.summaries[0].result
                self.assertEqual((result.value, result.sum, result.items), (right.value, right.sum, right.items))
                states.append(found.state.value)
            self.assertEqual(len(set(states)), 1, (loss, parameters))

    def test_parts_merge(self):
        for loss, parameters, inputs in self.every(samples=6):
            message = evaluation.spec([tensors.loss(loss, _WHOLE | parameters)])
            parts = [evaluation.evaluate(self.stub, message, [{name: array[i::2] for name, array in inputs.items()}])
                     for i in range(2)]
            whole = evaluation.evaluate(self.stub, message, [inputs])
            for order in (parts, parts[::-1]):
                merged = self.stub.MergeEvaluations(loss_service_pb2.MergeEvaluationsRequest(
                    states=[part.state for part in order]), timeout=_SECONDS).result
                self.assertEqual(merged.state.value, whole.state.value)
                self.assertEqual(merged.summaries[0].result.value, whole.summaries[0].result.value)
                self.assertFalse(merged.summaries[0].HasField("standard_error"))

    def refused(self, call):
        with self.assertRaises(grpc.RpcError) as raised:
            call()
        return raised.exception.code(), details.details(raised.exception)

    def test_classes_do_not_change(self):
        random = np.random.default_rng(10)
        few, many = ({"probs": random.uniform(0, 1, (2, c, 3)).astype(np.float32),
                      "labels": random.integers(0, 2, (2, 3))} for c in (2, 3))
        message = evaluation.spec([tensors.loss("dice", _WHOLE)])
        code, found = self.refused(lambda: evaluation.evaluate(self.stub, message, [few, many]))
        self.assertEqual((code, found.reason), (grpc.StatusCode.INVALID_ARGUMENT, "SHAPE_MISMATCH"))
        states = [evaluation.evaluate(self.stub, message, [batch]).state for batch in (few, many)]
        code, found = self.refused(lambda: self.stub.MergeEvaluations(
            loss_service_pb2.MergeEvaluationsRequest(states=states), timeout=_SECONDS))
        self.assertEqual((code, found.reason), (grpc.StatusCode.INVALID_ARGUMENT, "SHAPE_MISMATCH"))

    def test_sums_of_classes_are_limited(self):
        def batch(classes):
            return {"probs": np.full((2, classes), 1 / classes, np.float32), "labels": np.array([0, classes - 1])}
        for loss, pooling in itertools.product(LOSSES, ("WHOLE", "PER_SAMPLE")):
            self.assertEqual(self.compute(loss, batch(8192), {"pooling": pooling}).items, 2)
            code, found = self.refused(lambda: self.compute(loss, batch(8193), {"pooling": pooling}))
            self.assertEqual((code, found.reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CLASSES"))
        losses = [tensors.loss(loss, _WHOLE) for loss in ("dice", "jaccard")]
        request = tensors.request(losses, batch(8000))
        code, found = self.refused(lambda: self.stub.ComputeLoss(request, timeout=_SECONDS))
        self.assertEqual((code, found.reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CLASSES"))
        message = evaluation.spec(losses)
        code, found = self.refused(lambda: evaluation.evaluate(self.stub, message, [batch(8000)]))
        self.assertEqual((code, found.reason), (grpc.StatusCode.RESOURCE_EXHAUSTED, "TOO_MANY_CLASSES"))

    # --- what is not finite, and what is refused

    def test_non_finite_positions(self):
        for loss, parameters, inputs in self.every():
            prediction = next(iter(inputs))
            broken = inputs[prediction].copy()
            broken[(1,) + (0,) * (broken.ndim - 1)] = np.nan
            given = inputs | {prediction: broken}
            kept = np.ones((4,) + _TAIL, int)
            kept[1, 0, 0] = 0
            with self.subTest(loss=loss, inputs=list(inputs)):
                found = self.compute(loss, given, parameters)
                self.assertTrue(np.isnan(found.value))
                self.assertEqual((found.items, found.nan_items), (4 * _POSITIONS, 1))
                found = self.compute(loss, given, parameters, non_finite="NON_FINITE_POLICY_SKIP")
                right, limit = self.expected(loss, inputs, parameters, np.float32, kept)
                self.assertLessEqual(abs(found.value - right), limit)
                self.assertEqual((found.items, found.nan_items), (4 * _POSITIONS - 1, 1))
                code, refusal = self.refused(lambda: self.compute(loss, given, parameters,
                                                                  non_finite="NON_FINITE_POLICY_REJECT"))
                self.assertEqual((code, refusal.reason), (grpc.StatusCode.INVALID_ARGUMENT, "NON_FINITE_ITEM"))
                self.assertIn("[1,0,0]", refusal.message)

    def test_wrong_values_are_named_with_their_place(self):
        for pooling, loss in itertools.product(("WHOLE", "PER_SAMPLE"), LOSSES):
            targets, labels = np.ones((2, 400), np.float32), np.zeros((2, 400), np.int64)
            targets[1, 300], labels[1, 300] = 1.5, 2
            probs = np.full((2, 400), 0.5, np.float32)
            classes = np.full((2, 2, 400), 0.5, np.float32)
            for ignore in ({}, {"ignore_index": 9}):
                parameters = {"pooling": pooling} | ignore
                wrong = (({"probs": probs, "targets": targets}, "INVALID_VALUE", "targets", "1.5", "0 to 1"),
                         ({"logits": classes, "labels": labels}, "LABEL_OUT_OF_RANGE", "labels", "2", "0 to 1"))
                for inputs, reason, name, value, right in wrong:
                    code, found = self.refused(lambda: self.compute(loss, inputs, parameters))
                    self.assertEqual((code, found.reason), (grpc.StatusCode.INVALID_ARGUMENT, reason))
                    self.assertEqual(found.fields, (f'inputs["{name}"]',))
                    for text in (loss, right, f"got {value}", "[1,300]", *(["ignore_index 9"] if ignore else [])):
                        self.assertIn(text, found.message)
                weight = np.ones((2, 400) if pooling == "WHOLE" else 2, np.float32)
                weight[1] = 0
                for inputs, *_ in wrong:  # what weighs nothing is not looked at
                    self.compute(loss, inputs | {"sample_weight": weight}, parameters)

    def test_a_sample_has_positions(self):
        # So small a message must not make the server hold anything for each of its classes, or samples.
        for samples, classes in ((2, 3), (1 << 40, 2), (1, 8000)):
            for pooling in ("WHOLE", "PER_SAMPLE"):
                request = tensors.request([tensors.loss("dice", {"pooling": pooling})], {
                    "probs": np.zeros((0,), np.float32), "labels": np.zeros((0,), np.int64)})
                request.inputs["probs"].shape[:] = (samples, classes, 0)
                request.inputs["labels"].shape[:] = (samples, 0)
                code, found = self.refused(lambda: self.stub.ComputeLoss(request, timeout=_SECONDS))
                self.assertEqual((code, found.reason), (grpc.StatusCode.INVALID_ARGUMENT, "SHAPE_MISMATCH"))

    # --- gradients

    def gradient(self, loss, inputs, parameters, name, **fields):
        found = self.compute(loss, inputs, parameters, gradients_of=[name], **fields)
        return tensors.array(found.gradients[name])

    def test_gradients_are_those_of_one_sample(self):
        for loss, parameters, inputs in self.every(dtype=np.float64):
            name = next(iter(inputs))
            with self.subTest(loss=loss, parameters=parameters, name=name):
                found = self.gradient(loss, inputs, parameters, name)
                self.assertEqual((found.shape, found.dtype), (inputs[name].shape, np.float64))
                case = Case("pooled", loss, as_one_sample(inputs), parameters)
                right = torch_reference.gradients(case, [name])["SUM"][name]
                got = as_one_sample(inputs | {name: found})[name]
                self.assertLessEqual(np.abs(got - right).max(), 1e-12 * np.abs(right).max())

    def test_gradients_of_weighted_sums(self):
        random = np.random.default_rng(11)
        for loss, parameters, inputs in self.every(dtype=np.float64):
            name = next(iter(inputs))
            weight = random.integers(0, 3, (4,) + _TAIL)
            found = self.gradient(loss, inputs | {"sample_weight": weight.astype(float)}, parameters, name)
            case = Case("pooled", loss, as_one_sample(inputs, weight), parameters)
            # A position that was taken several times has as many equal gradients.
            right = torch_reference.gradients(case, [name])["SUM"][name]
            got = as_one_sample({**inputs, name: found}, np.minimum(weight, 1))[name]
            first = np.concatenate([[0], np.cumsum(weight.ravel())[:-1]])[weight.ravel() > 0]
            times = weight.ravel()[weight.ravel() > 0]
            with self.subTest(loss=loss, parameters=parameters, name=name):
                self.assertLessEqual(np.abs(got - right[..., first] * times).max(), 1e-12 * np.abs(right).max())
                left_out = as_one_sample({**inputs, name: found}, weight == 0)[name]
                self.assertFalse(left_out.any())

    def test_gradients_of_f32_and_below(self):
        for loss, parameters, inputs in self.every(dtype=np.float64):
            name = next(iter(inputs))
            narrow = {key: Bfloat16.rounded(array.astype(np.float32)) if array.dtype.kind == "f" else array
                      for key, array in inputs.items()}
            wide = {key: widen(array) for key, array in narrow.items()}
            double = {key: array.astype(np.float64) if array.dtype.kind == "f" else array
                      for key, array in wide.items()}
            found, same, right = (self.gradient(loss, given, parameters, name) for given in (narrow, wide, double))
            self.assertEqual(found.tobytes(), same.tobytes())
            self.assertLessEqual(np.abs(found - right).max(), 2e-5 * np.abs(right).max())

    def test_gradients_are_0_where_nothing_flows(self):
        for loss, parameters, inputs in self.every():
            name = next(iter(inputs))
            wanted = "labels" if "labels" in inputs else "targets"
            marked, broken = inputs[wanted].copy(), inputs[name].copy()
            marked[0], broken[0] = 255, np.nan
            broken[(1,) + (0,) * (broken.ndim - 1)] = np.nan
            with self.subTest(loss=loss, name=name):
                found = self.gradient(loss, {name: broken, wanted: marked}, parameters | {"ignore_index": 255}, name,
                                      non_finite="NON_FINITE_POLICY_SKIP")
                self.assertFalse(found[0].any())
                self.assertFalse(found[1, ..., 0, 0].any())
                self.assertTrue(found[2:].any() and np.isfinite(found).all())


if __name__ == "__main__":
    unittest.main()
