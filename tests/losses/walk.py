"""Walking the catalogue: which cases a row has, and which of its signatures a case uses.

A server's ListLosses says what the rows are; the cases are those of catalogue.py.
"""
import collections

import numpy as np

from tests.losses import catalogue
from tests.support.floats import widen
from tests.support.stubs import loss_service_pb2

_SECONDS = 60
_LARGEST_CASE = 3000  # elements of all inputs


def usable(case):
    """Small and finite."""
    arrays = [widen(array) for array in case.inputs.values()]
    return (sum(array.size for array in arrays) <= _LARGEST_CASE and all(array.size for array in arrays) and
            all(np.isfinite(array.astype(np.float64)).all() for array in arrays))


def as_type(inputs, dtype):
    """The inputs with their values in dtype."""
    return {name: np.asarray(widen(array), dtype) if widen(array).dtype.kind == "f" else array
            for name, array in inputs.items()}


def _needed(signature):
    return tuple(sorted(entry.name for entry in signature.inputs if not entry.optional))


class Row:
    """A loss of the catalogue and its usable cases."""

    def __init__(self, loss):
        self.loss = loss
        self.cases = [case for case in catalogue.cases() if case.loss == loss.name and usable(case)]

    def signature(self, case):
        """The signature that the case's inputs choose, or None."""
        given = set(case.inputs) - {"sample_weight"}
        for signature in self.loss.signatures:
            if set(_needed(signature)) <= given <= {entry.name for entry in signature.inputs}:
                return signature
        return None

    def kind(self, case):
        """The required inputs that the case gives."""
        return _needed(self.signature(case))

    def kinds(self):
        """The required inputs of every signature."""
        return [_needed(signature) for signature in self.loss.signatures]

    def differentiable(self, case):
        """{name: what it must hold} of the case's inputs that have a gradient."""
        signature = self.signature(case)
        return {} if signature is None else {
            entry.name: entry.values for entry in signature.inputs if entry.gradient and entry.name in case.inputs}

    def has_gradient(self):
        return any(entry.gradient for signature in self.loss.signatures for entry in signature.inputs)

    def required(self):
        """(the required inputs of a signature, one of its inputs that has a gradient)."""
        for signature in self.loss.signatures:
            for entry in signature.inputs:
                if entry.gradient:
                    yield _needed(signature), entry.name

    def few(self, count):
        """At most so many cases of every set of inputs and parameters."""
        seen = collections.Counter()
        for case in self.cases:
            kind = (tuple(sorted(set(case.inputs) - {"sample_weight"})), str(case.parameters))
            seen[kind] += 1
            if seen[kind] <= count and self.signature(case) is not None:
                yield case

    def per_sample(self, case):
        """The names of the case's inputs that have a row for each sample, the leading dimension."""
        names = [entry.name for entry in self.signature(case).inputs
                 if entry.name in case.inputs and entry.shape.startswith("[N")]
        return [] if case.parameters.get("time_major") else names

    def streams(self, case):
        """Outputs are for one call."""
        return self.loss.streams and not case.parameters.get("want_center_update")

    def repeated(self, case, inputs, samples):
        """The inputs with their samples over and over, at least so many; None where that is no batch."""
        names = self.per_sample(case)
        if not names or not self.loss.streams:
            return None
        times = -(-samples // inputs[names[0]].shape[0])
        return {name: np.concatenate([array] * times) if name in (*names, "sample_weight") else array
                for name, array in inputs.items()}


def rows(stub):
    listed = stub.ListLosses(loss_service_pb2.ListLossesRequest(), timeout=_SECONDS).losses
    return [Row(loss) for loss in listed]
