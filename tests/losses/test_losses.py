"""Every loss of a real lossd against its references, on every instruction set of this machine.

Walks the catalogue: a row, an input or a parameter without a case fails.
"""
import unittest

import numpy as np

from tests.losses import catalogue, reference, torch_reference, torch_rules
from tests.support import exact, server, tensors
from tests.support.stubs import loss_service_pb2

_CASES = catalogue.cases()
_SECONDS = 30
_SHOWN = 4  # mismatches shown of a case


def compute(target, case, reduction):
    request = tensors.request([tensors.loss(case.loss, case.parameters)], case.inputs,
                              reduction=f"REDUCTION_{reduction}")
    return server.shared(target).stub.ComputeLoss(request, timeout=_SECONDS).results[0]


def is_whole_request(case):
    """The mean is not a sum of items over a sum of weights."""
    return case.loss == "balanced_binary_cross_entropy" and "beta" not in case.parameters


class CatalogueTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        stub = server.shared(server.targets()[-1]).stub
        cls.losses = stub.ListLosses(loss_service_pb2.ListLossesRequest(), timeout=_SECONDS).losses

    def cases_of(self, name):
        return [case for case in _CASES if case.loss == name]

    def test_every_loss_has_cases(self):
        self.assertEqual({loss.name for loss in self.losses}, {case.loss for case in _CASES})

    def test_every_loss_is_described(self):
        for loss in self.losses:
            for field in ("family", "help", "formula", "source"):
                self.assertTrue(getattr(loss, field), f"{loss.name}: {field}")
            for parameter in loss.parameters:
                self.assertTrue(parameter.help and parameter.type, f"{loss.name}: {parameter.name}")

    def test_every_parameter_has_cases(self):
        for loss in self.losses:
            used = {name for case in self.cases_of(loss.name) for name in case.parameters}
            self.assertEqual({parameter.name for parameter in loss.parameters} - used, set(), loss.name)

    def test_every_signature_and_input_has_cases(self):
        for loss in self.losses:
            shapes = [set(case.inputs) - {"sample_weight"} for case in self.cases_of(loss.name)]
            self.assertTrue(loss.signatures, loss.name)
            for signature in loss.signatures:
                names = {entry.name for entry in signature.inputs} - {"sample_weight"}
                needed = {entry.name for entry in signature.inputs if not entry.optional} - {"sample_weight"}
                fitting = [shape for shape in shapes if needed <= shape <= names]
                self.assertTrue(fitting, f"{loss.name}: {sorted(needed)}")
                self.assertEqual(names - set.union(*fitting), set(), loss.name)

    def test_forced_targets_run(self):
        for target in server.targets():
            self.assertEqual(server.shared(target).info.simd_target, target)


class LossTest(unittest.TestCase):
    """One test a case; the methods are added below."""

    def check_case(self, case):
        targets = server.targets()
        found = compute(targets[0], case, "NONE")
        expected, decided = reference.items(case), torch_reference.compute(case)
        problems = self.wrong_items(case, found, expected, decided)
        problems += self.wrong_reductions(case, found, expected, decided)
        for target in targets[1:]:
            other = compute(target, case, "NONE")
            if other.SerializeToString(deterministic=True) != found.SerializeToString(deterministic=True):
                problems.append(f"{target} differs from {targets[0]} at {self.first_difference(found, other)}")
        if problems:
            self.fail("\n  ".join([str(case)] + problems))

    def first_difference(self, one, other):
        a, b = tensors.array(one.values).ravel(), tensors.array(other.values).ravel()
        bits = np.uint32 if a.dtype == np.float32 else np.uint64
        places = np.flatnonzero(a.view(bits) != b.view(bits))
        return f"item {places[0]}: {a[places[0]]!r} and {b[places[0]]!r}" if places.size else "the report"

    def wrong_items(self, case, found, expected, decided):
        dtype = case.compute_type
        values = tensors.array(found.values)
        if values.dtype != dtype or values.shape != tuple(expected.shape):
            return [f"values are {values.dtype} {values.shape}, not {np.dtype(dtype)} {expected.shape}"]
        flat = values.ravel()
        wrong = []
        for i, value in enumerate(expected.values):
            why = reference.differs(flat[i], value, expected.measures[i], expected.row, dtype)
            if not why and decided is not None and not expected.ignored.flat[i]:
                why = torch_rules.differs(flat[i], decided[0].flat[i], value, expected.measures[i], dtype)
            if why:
                given = {name: np.ravel(array)[i] for name, array in case.widened().items()
                         if np.shape(array) == values.shape}
                wrong.append(f"item {i} is {flat[i]!r}, {why} {given}")
        nans = flat[np.isnan(flat)]
        if nans.tobytes() != np.full(nans.shape, np.nan, dtype).tobytes():
            wrong.append("a NaN is not the canonical one")
        if len(wrong) > _SHOWN:
            wrong[_SHOWN:] = [f"... {len(wrong)} wrong of {flat.size}"]
        return wrong

    def wrong_reductions(self, case, found, expected, decided):
        """What is not the correctly rounded report of the items that came back."""
        counted = ~expected.ignored
        values = tensors.array(found.values)[counted]
        weight = reference.spread_weight(case.widened(), expected.shape)
        weight = np.ones(values.shape) if weight is None else weight[counted].astype(np.float64)
        with np.errstate(over="ignore"):
            total, sum_weight, mean = exact.report(
                exact.terms_of(values, weight), exact.terms_of(expected.denominators[counted], weight))
            if expected.divisors is not None:
                divided = values / expected.divisors[counted].astype(case.compute_type)
                mean = exact.report(exact.terms_of(divided, weight), weight)[2]
        counts = {"items": values.size, "ignored_items": int(expected.ignored.sum()),
                  "nan_items": int(np.isnan(values).sum()), "inf_items": int(np.isinf(values).sum())}
        wrong = [f"{name} is {getattr(found, name)}, not {count}" for name, count in counts.items()
                 if getattr(found, name) != count]
        if found.loss != case.loss:
            wrong.append(f"the result names {found.loss}")
        sums, means = compute(server.targets()[0], case, "SUM"), compute(server.targets()[0], case, "MEAN")
        reported = {"sum": (found.sum, total), "sum_weight": (found.sum_weight, sum_weight),
                    "value": (found.value, mean), "value of SUM": (sums.value, total),
                    "sum of MEAN": (means.sum, total), "value of MEAN": (means.value, mean)}
        equal = self.near if is_whole_request(case) else exact.same
        wrong += [f"{name} is {actual!r}, not {right!r}" for name, (actual, right) in reported.items()
                  if not equal(actual, right)]
        return wrong + self.wrong_worked(case, sums, means, decided)

    @staticmethod
    def near(actual, right):
        return exact.same(actual, right) or abs(actual - right) <= 2e-6 * abs(right)

    def wrong_worked(self, case, sums, means, decided):
        wrong = []
        for name, actual, right in (("sum", sums.value, case.sum), ("mean", means.value, case.mean)):
            if right is not None and abs(actual - right) > 1e-6 * abs(right):
                wrong.append(f"{name} is {actual!r}, not the worked {right!r}")
        if decided is not None and "sample_weight" not in case.inputs and np.isfinite(decided[1]):
            if abs(means.value - decided[1]) > 1e-4 * max(1, abs(decided[1])) and np.isfinite(means.value):
                wrong.append(f"the mean is {means.value!r}, PyTorch says {decided[1]!r}")
        return wrong


def _add_tests():
    for number, case in enumerate(_CASES):
        def test(self, case=case):
            self.check_case(case)
        test.__doc__ = str(case)
        setattr(LossTest, f"test_{case.loss}_{number:03}", test)


_add_tests()

if __name__ == "__main__":
    unittest.main()
