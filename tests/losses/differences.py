"""Derivatives of a loss from differences of its own values, computed by the service in f64.

Steps of two sizes give Richardson's fourth order; how far the two are apart bounds the error. Each derivative also
comes with both one-sided slopes: where those disagree there is a kink, and a subgradient
lies between them.
"""
import dataclasses

import numpy as np

from tests.support import tensors

_SECONDS = 60
_STEP = 1e-3
_STEPS = (2, 1, -1, -2)  # in halves of the step
_LOSSES = 60  # a request takes 64
_LARGEST = 1e4  # elements beyond it are left alone: nothing of a step remains
_EPSILON = 2.0 ** -53


@dataclasses.dataclass
class Derivative:
    """Of the reduced value with respect to one element."""

    place: int  # in the flat tensor
    value: float
    error: float
    rounding: float
    left: float  # the slopes of both sides
    right: float

    @property
    def known(self):
        """The step was short enough for the curve: both sizes of step say the same."""
        return self.error <= 1e-3 * abs(self.value) + 2 * self.rounding

    @property
    def kink(self):
        scale = max(abs(self.left), abs(self.right))
        return abs(self.left - self.right) > 1e-3 * scale + 10 * self.error


def step_of(x, values, name):
    """The step at an element, or None where a step leaves the domain or is lost."""
    if not np.isfinite(x) or abs(x) > _LARGEST:
        return None
    if values == "0 to 1" or name.endswith("probs"):
        distance = -x if name.endswith("log_probs") else min(x, 1 - x)
        return _STEP * distance if distance > 1e-6 else None
    if name == "variance" or ">= 0" in values or "at least 0" in values:
        return _STEP * x if x > 1e-6 else None
    return _STEP * min(1.0, max(abs(x), 0.1))


def _evaluate(stub, case, inputs, changes):
    """(sum, mean) of the loss for each of [(name, array put in its place)]."""
    found = []
    for start in range(0, len(changes), _LOSSES):
        part = changes[start:start + _LOSSES]
        names = [f"changed_{i}" for i in range(len(part))]
        losses = [tensors.loss(case.loss, case.parameters, {role: name})
                  for name, (role, _) in zip(names, part)]
        bound = {role for role, _ in changes}  # not read under its own name, so not to be uploaded
        uploaded = {name: array for name, array in inputs.items() if name not in bound}
        uploaded |= {name: array for name, (_, array) in zip(names, part)}
        results = stub.ComputeLoss(tensors.request(losses, uploaded), timeout=_SECONDS).results
        found += [(result.sum, result.value) for result in results]
    return np.array(found)


def derivatives(stub, case, inputs, name, places, values):
    """Of SUM and of MEAN, as two lists of Derivative. Places whose step leaves the domain are left out."""
    flat = inputs[name].ravel()
    steps = {place: step_of(flat[place], values, name) for place in places}
    steps = {place: step for place, step in steps.items() if step is not None}
    changes = [(name, inputs[name])]
    for place, step in steps.items():
        for halves in _STEPS:
            moved = inputs[name].copy()
            moved.ravel()[place] += halves * step / 2
            changes.append((name, moved))
    if not steps:
        return [], []
    found = _evaluate(stub, case, inputs, changes)
    middle, rest = found[0], found[1:].reshape(len(steps), len(_STEPS), 2)
    return tuple([_derivative(place, step, middle[kind], *rest[i, :, kind])
                  for i, (place, step) in enumerate(steps.items())
                  if np.isfinite(rest[i, :, kind]).all() and np.isfinite(middle[kind])]
                 for kind in (0, 1))


def _derivative(place, step, middle, far, near, near_left, far_left):
    wide, narrow = (far - far_left) / (2 * step), (near - near_left) / step
    rounding = 64 * _EPSILON * max(abs(middle), abs(far), abs(far_left)) / step
    return Derivative(place, (4 * narrow - wide) / 3, abs(wide - narrow) + rounding, rounding,
                      (3 * middle - 4 * near_left + far_left) / step, (4 * near - far - 3 * middle) / step)
