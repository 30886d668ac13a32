"""The gradient of every loss that has one, for every set of inputs, from cases that the losses' tests have anyway.

Walks the catalogue: an input with a gradient that is not compared fails. In f64 a gradient is what differences of
the service's own values say, and what PyTorch's autograd says where torch_reference.py has the function; at a kink
it is PyTorch's, and lies between the slopes of both sides. In f32 it is that of f64, rounded.
"""
import collections
import unittest

import grpc
import numpy as np

from tests.losses import differences, torch_reference, walk
from tests.losses.walk import as_type
from tests.support import details, server, tensors
from tests.support.floats import Bfloat16, widen

_SECONDS = 60
_PROBED = 8  # elements of an input whose derivatives are taken
_MANY = 5000  # samples that threads share
_CASES_A_KIND = 3  # cases of a loss, its inputs and parameters that differences are taken of
_REDUCTIONS = ("SUM", "MEAN")
_F32_TOLERANCE = 2e-5  # of the largest element of the tensor
_TORCH_TOLERANCE = 1e-9
_CANCELS = 1e-14  # of the largest input, at least 1: sigmoids and shares are taken from one another

# Where the derivative of the value is not the gradient: PyTorch's autograd of the definition decides alone.
_HELD_CONSTANT = {"ciou": "a is held constant", "yolo": "the IoU of an assigned cell is held constant as a target"}


def gradients(stub, case, inputs, reduction, names):
    request = tensors.request([tensors.loss(case.loss, case.parameters)], inputs,
                              reduction=f"REDUCTION_{reduction}", gradients_of=names)
    return {name: tensors.array(tensor) for name, tensor in
            stub.ComputeLoss(request, timeout=_SECONDS).results[0].gradients.items()}


def weighted(inputs, name, random):
    """The inputs with weights of the samples, one of them 0 where there are several."""
    weight = random.uniform(0.25, 2, inputs[name].shape[0])
    if weight.size > 1:
        weight[random.integers(weight.size)] = 0
    return inputs | {"sample_weight": weight}


class GradientsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.stub = server.shared(server.targets()[-1]).stub
        cls.rows = [row for row in walk.rows(cls.stub) if row.has_gradient()]

    def test_there_are_gradients(self):
        self.assertGreater(len(self.rows), 15)

    # --- differences

    def test_differences(self):
        random = np.random.default_rng(71)
        for row in self.rows:
            if row.loss.name in _HELD_CONSTANT:
                continue
            compared = collections.Counter()
            for case in row.few(_CASES_A_KIND):
                names = row.differentiable(case)
                if not names or case.smooth is not True:
                    continue
                inputs = as_type(case.inputs, np.float64)
                variants = [inputs]
                if "sample_weight" not in inputs and row.loss.streams and row.per_sample(case):
                    variants.append(weighted(inputs, row.per_sample(case)[0], random))
                for variant in variants:
                    with self.subTest(str(case), weighted="sample_weight" in variant):
                        self.check_differences(row, case, variant, names, random, compared)
            with self.subTest(row.loss.name):
                for needed, name in row.required():
                    self.assertGreater(compared[needed, name], 2,
                                       f"{row.loss.name} {needed}: no gradient case for {name}")

    def check_differences(self, row, case, inputs, names, random, compared):
        found = {reduction: gradients(self.stub, case, inputs, reduction, list(names)) for reduction in _REDUCTIONS}
        wrong = []
        for name, values in names.items():
            size = inputs[name].size
            places = random.choice(size, min(_PROBED, size), replace=False)
            expected = differences.derivatives(self.stub, case, inputs, name, places, values)
            for reduction, derivatives in zip(_REDUCTIONS, expected):
                gradient = found[reduction][name]
                self.assertEqual((gradient.dtype, gradient.shape), (np.float64, inputs[name].shape), name)
                largest = np.max(np.abs(gradient), initial=0, where=np.isfinite(gradient))
                for derivative in derivatives:
                    judged = self.judge(gradient.ravel()[derivative.place], derivative, largest)
                    if judged is not None:
                        compared[row.kind(case), name] += 1
                    if judged:
                        wrong.append(f"{reduction} d/d{name}[{derivative.place}]: {judged}")
        self.assertEqual(wrong, [])

    @staticmethod
    def judge(actual, derivative, largest):
        """Why it is wrong; empty if it is right; None where nothing can be said."""
        slack = 1e-6 * max(abs(actual), abs(derivative.value)) + derivative.error
        if not derivative.known or slack > 1e-3 * max(abs(derivative.value), largest, 1e-9):
            return None
        if derivative.kink:
            low, high = sorted((derivative.left, derivative.right))
            slack = 1e-3 * (high - low) + slack
            return "" if low - slack <= actual <= high + slack else f"{actual}, not in [{low}, {high}]"
        return "" if abs(actual - derivative.value) <= slack else f"{actual}, not {derivative.value}"

    # --- PyTorch

    def test_autograd(self):
        compared = collections.Counter()
        for row in self.rows:
            for case in row.cases:
                names = row.differentiable(case)
                expected = torch_reference.gradients(case, list(names)) if names else None
                if expected is None:
                    continue
                compared[row.loss.name] += 1
                inputs = as_type(case.inputs, np.float64)
                with self.subTest(str(case)):
                    for reduction, right in expected.items():
                        found = gradients(self.stub, case, inputs, reduction, list(names))
                        for name in names:
                            self.near(found[name], right[name], inputs[name], f"{reduction} d/d{name}")
        self.assertGreater(len(compared), 35)
        self.assertLessEqual(set(_HELD_CONSTANT), set(compared))

    def near(self, found, right, given, name):
        """Equal where PyTorch has a number, up to f64's rounding of the largest."""
        known = np.isfinite(right)
        largest = np.max(np.abs(right), initial=0, where=known)
        limit = _TORCH_TOLERANCE * np.maximum(np.abs(right), 1e-3 * largest) + _CANCELS * max(1, np.abs(given).max())
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(known & ~(np.abs(found - right) <= limit))
        self.assertEqual(len(wrong), 0, f"{name} at {wrong[:4].tolist()}: "
                         f"{found[tuple(wrong[:4].T)]}, PyTorch says {right[tuple(wrong[:4].T)]}")

    # --- types

    def test_f32_is_f64_rounded(self):
        for row in self.rows:
            for case in row.few(_CASES_A_KIND):
                names = list(row.differentiable(case))
                if not names:
                    continue
                if not self.fits_f32(case):
                    continue
                narrow = as_type(case.inputs, np.float32)
                with self.subTest(str(case)):
                    found = gradients(self.stub, case, narrow, "MEAN", names)
                    right = gradients(self.stub, case, as_type(narrow, np.float64), "MEAN", names)
                    for name in names:
                        self.assertEqual(found[name].dtype, np.float32)
                        self.close(found[name], right[name], name)

    @staticmethod
    def fits_f32(case):
        info = np.finfo(np.float32)
        return all(value == 0 or info.tiny < abs(value) < info.max for value in case.parameters.values()
                   if isinstance(value, float))

    def close(self, found, right, name):
        """Equal up to f32's rounding, where an item and its gradient before the mean's division are numbers of f32."""
        info = np.finfo(np.float32)
        known = np.isfinite(right) & (np.abs(right) * right.size < float(info.max) / 8)
        largest = np.max(np.abs(right), initial=0, where=known)
        with np.errstate(invalid="ignore"):
            wrong = np.argwhere(known & ~(np.abs(found - right) <= _F32_TOLERANCE * largest + info.tiny))
        self.assertEqual(len(wrong), 0, f"{name} at {wrong[:4].tolist()}: "
                         f"{found[tuple(wrong[:4].T)]}, f64 says {right[tuple(wrong[:4].T)]}")

    def test_narrow_types_have_the_bits_of_f32(self):
        for row in self.rows:
            case = next((case for case in row.cases if row.differentiable(case)), None)
            self.assertIsNotNone(case, row.loss.name)
            names = list(row.differentiable(case))
            half = {name: widen(array).astype(np.float16) if widen(array).dtype.kind == "f" else array
                    for name, array in case.inputs.items()}
            brain = {name: Bfloat16.rounded(widen(array)) if widen(array).dtype.kind == "f" else array
                     for name, array in case.inputs.items()}
            for inputs in (half, brain):
                with self.subTest(str(case), dtype=type(inputs[names[0]]).__name__):
                    narrow = gradients(self.stub, case, inputs, "SUM", names)
                    wide = gradients(self.stub, case, {name: widen(array) for name, array in inputs.items()},
                                     "SUM", names)
                    for name in names:
                        self.assertEqual(narrow[name].tobytes(), wide[name].tobytes(), name)

    # --- what does not flow

    def test_weight_0_gives_zeros_and_masks_nan(self):
        for row in self.rows:
            if not row.loss.streams:
                continue  # one item: nothing to leave out
            for case in row.few(_CASES_A_KIND):
                names = row.differentiable(case)
                inputs = as_type(case.inputs, np.float32)
                per_sample = [name for name in names if name in row.per_sample(case)]
                if not per_sample or len(inputs[per_sample[0]]) < 2:
                    continue
                weight = np.linspace(1, 2, len(inputs[per_sample[0]])).astype(np.float32)
                weight[1] = 0
                inputs["sample_weight"] = weight
                masked = dict(inputs)
                for name in per_sample:
                    if not names[name]:
                        masked[name] = inputs[name].copy()
                        masked[name][1] = np.nan
                with self.subTest(str(case)):
                    found = gradients(self.stub, case, inputs, "MEAN", list(names))
                    again = gradients(self.stub, case, masked, "MEAN", list(names))
                    for name in names:
                        self.assertEqual(found[name].tobytes(), again[name].tobytes(), name)
                    for name in per_sample:
                        self.assertEqual(found[name][1].tobytes(), bytes(found[name][1].nbytes), name)

    def test_ignored_labels_give_zeros(self):
        for row in self.rows:
            if "ignore_index" not in {parameter.name for parameter in row.loss.parameters}:
                continue
            checked = 0
            for case in row.cases:
                names = [name for name in row.differentiable(case) if name in row.per_sample(case)]
                labels = case.inputs.get("labels", case.inputs.get("targets"))
                index = case.parameters.get("ignore_index", -100 if case.loss == "cross_entropy" else None)
                if not names or labels is None or index is None or not (widen(labels) == index).any():
                    continue
                ignored = widen(labels) == index
                found = gradients(self.stub, case, as_type(case.inputs, np.float32), "SUM", names)
                with self.subTest(str(case)):
                    for name in names:
                        if found[name].ndim > ignored.ndim:  # classes are the second axis
                            found[name] = np.moveaxis(found[name], 1, -1)
                        gone = np.ascontiguousarray(found[name][ignored])
                        self.assertEqual(gone.tobytes(), bytes(gone.nbytes), name)
                        checked += 1
            self.assertGreater(checked, 0, row.loss.name)

    # --- bits

    def test_same_bits_on_every_target_and_thread(self):
        """Of few samples and of so many that threads share them."""
        stubs = [server.shared(target, threads).stub
                 for target, threads in zip((*server.targets(), server.targets()[0]), (1, 2, 2))]
        for row in self.rows:
            seen = set()
            for case in row.few(_CASES_A_KIND):
                names = row.differentiable(case)
                kind = tuple(sorted(case.inputs))
                if not names or kind in seen:
                    continue
                seen.add(kind)
                for dtype in (np.float32, np.float64):
                    inputs = as_type(case.inputs, dtype)
                    for given in filter(None, (inputs, row.repeated(case, inputs, _MANY))):
                        with self.subTest(str(case), dtype=dtype.__name__):
                            bits = [{name: tensor.tobytes() for name, tensor in
                                     gradients(stub, case, given, "MEAN", list(names)).items()} for stub in stubs]
                            for other in bits[1:]:
                                self.assertEqual(bits[0].keys(), other.keys())
                                for name in names:
                                    self.assertEqual(bits[0][name], other[name], name)

    # --- requests

    def test_refusals(self):
        inputs = {"predictions": np.float32([4, 2, 1]), "targets": np.float32([1, 2, 3])}
        ranking = {"scores": np.float32([4, 2, 1]), "targets": np.float32([1, -1, 1])}
        both = tensors.loss("margin_ranking", bindings={"first": "scores", "second": "scores"})
        for loss, given, fields, reason, field in (
                ("mse", inputs, {"gradients_of": ["logits"]}, "NO_GRADIENT", "gradients_of[0]"),
                ("mse", inputs, {"gradients_of": ["predictions", "targets"]}, "NO_GRADIENT", "gradients_of[1]"),
                ("mse", inputs, {"gradients_of": ["predictions"] * 2}, "DUPLICATE_NAME", "gradients_of[1]"),
                ("mse", inputs, {"gradients_of": ["predictions"], "reduction": "REDUCTION_NONE"},
                 "GRADIENT_OF_NONE", "reduction"),
                (both, ranking, {"gradients_of": ["scores"]}, "AMBIGUOUS_INPUT", "gradients_of[0]")):
            loss = tensors.loss(loss) if isinstance(loss, str) else loss
            with self.subTest(reason), self.assertRaises(grpc.RpcError) as raised:
                self.stub.ComputeLoss(tensors.request([loss], given, **fields), timeout=_SECONDS)
            found = details.details(raised.exception)
            self.assertEqual((raised.exception.code(), found.reason, found.fields),
                             (grpc.StatusCode.INVALID_ARGUMENT, reason, (field,)))

    def test_a_gradient_goes_by_the_name_of_the_tensor(self):
        inputs = {"head_a": np.float32([4, 2, 1]), "head_b": np.float32([0, 2, 0]), "targets": np.float32([1, 2, 3])}
        losses = [tensors.loss("mse", bindings={"predictions": name}) for name in ("head_a", "head_b")]
        request = tensors.request(losses, inputs, reduction="REDUCTION_SUM", gradients_of=["head_b", "head_a"])
        results = self.stub.ComputeLoss(request, timeout=_SECONDS).results
        self.assertEqual([{name: tensors.array(g).tolist() for name, g in result.gradients.items()}
                          for result in results], [{"head_a": [6, 0, -4]}, {"head_b": [-2, 0, -6]}])


if __name__ == "__main__":
    unittest.main()
