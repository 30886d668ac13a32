"""Item losses of a case with 100 digits, written from the definitions, and how exact lossd must be.

A reference gives each item's value and its measure: the largest term that the definition adds up. Element-wise
items must be within 4 ulp (of the compute type) of max(|value|, measure), rows within 1e-6 (f32) or 1e-14 (f64).
"""
import dataclasses

import numpy as np
from mpmath import mp, mpf

mp.dps = 100

ELEMENT_ULPS = 4
ROW_TOLERANCE = {np.float32: mpf("1e-6"), np.float64: mpf("1e-14")}
_SMALLEST = {np.float32: mpf(2) ** -149, np.float64: mpf(2) ** -1074}
_DIGITS = {np.float32: 24, np.float64: 53}

REFERENCES = {}


@dataclasses.dataclass
class Items:
    values: list  # mpf, one an item; 0 where ignored
    measures: list
    shape: tuple
    row: bool  # judged as a row, else as an element
    ignored: np.ndarray = None  # bool, item-shaped; None: nothing is ignored
    denominators: np.ndarray = None  # what an item counts in MEAN's denominator; None: 1
    divisors: np.ndarray = None  # what MEAN divides an item by, in the compute type, before it adds; None: 1

    def scaled(self, factor):
        return dataclasses.replace(self, values=[v * factor for v in self.values],
                                   measures=[m * factor for m in self.measures])


class Parameters:
    """The parameters of a case with the defaults given where they are read, rounded to the compute type."""

    def __init__(self, case):
        self._given = case.parameters
        self._type = case.compute_type

    def __call__(self, name, default=None):
        value = self._given.get(name, default)
        if isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool)):
            return mpf(float(self._type(value)))
        return value


def reference(*names):
    """Registers a reference: function(inputs, parameters, compute type) -> Items."""
    def register(function):
        for name in names:
            assert name not in REFERENCES, name
            REFERENCES[name] = function
        return function
    return register


def items(case):
    """The reference's items, sample_weight taken into account: weight 0 is ignored."""
    inputs = case.widened()
    found = REFERENCES[case.loss](inputs, Parameters(case), case.compute_type)
    if case.parameters.get("unit") == "BITS":
        found = found.scaled(1 / mp.log(2))
    if found.ignored is None:
        found.ignored = np.zeros(found.shape, bool)
    if found.denominators is None:
        found.denominators = np.ones(found.shape)
    weight = spread_weight(inputs, found.shape)
    if weight is not None:
        found.ignored = found.ignored | (weight == 0)
    for i in np.flatnonzero(found.ignored):
        found.values[i] = found.measures[i] = mpf(0)
    return found


def spread_weight(inputs, shape):
    """sample_weight in item shape, or None."""
    weight = inputs.get("sample_weight")
    if weight is None or weight.shape == tuple(shape):
        return weight
    return np.broadcast_to(weight.reshape(weight.shape + (1,) * (len(shape) - 1)), shape)


def numbers(array):
    """The elements of an array as mpf."""
    return [mpf(float(x)) for x in np.asarray(array).ravel()]


def ulp(value, dtype):
    """Distance of neighbours of `dtype` at `value`."""
    if value == 0:
        return _SMALLEST[dtype]
    _, exponent = mp.frexp(value)
    return max(mpf(2) ** (exponent - _DIGITS[dtype]), _SMALLEST[dtype])


def tolerance(value, measure, row, dtype):
    measure = max(abs(value), measure)
    elements = ELEMENT_ULPS * ulp(measure, dtype)
    if not row:
        return elements
    # A softmax row adds nothing for classes whose share of its largest is below the normal numbers.
    return max(measure * ROW_TOLERANCE[dtype], elements, 4 * mpf(float(np.finfo(dtype).tiny)))


def differs(actual, value, measure, row, dtype):
    """Why an item is not what the reference says; empty if it is."""
    if mp.isnan(value):
        return "" if np.isnan(actual) else "should be NaN"
    if mp.isinf(value):
        return "" if float(actual) == float(value) else f"should be {float(value)}"
    if np.isnan(actual):
        return f"should be {mp.nstr(value, 12)}"
    limit = tolerance(value, measure if not mp.isinf(measure) else abs(value), row, dtype)
    if np.isinf(actual):
        largest = mpf(float(np.finfo(dtype).max))
        fits = abs(value) + limit < largest or (value > 0) != (actual > 0)
        return f"should be {mp.nstr(value, 12)}" if fits else ""
    error = abs(mpf(float(actual)) - value)
    if error <= limit:
        return ""
    return f"should be {mp.nstr(value, 12)}: off by {mp.nstr(error / limit, 4)} of what is allowed"


def zero_times(a, b):
    """a * b where 0 times anything but NaN is 0: 0 * log 0 is 0."""
    if (a == 0 and not mp.isnan(b)) or (b == 0 and not mp.isnan(a)):
        return mpf(0)
    return a * b


def softplus(x):
    """log(1 + exp(x)), to full precision on both sides."""
    if mp.isnan(x):
        return mp.nan
    if mp.isinf(x):
        return x if x > 0 else mpf(0)
    return mp.log1p(mp.exp(x)) if x < 0 else x + mp.log1p(mp.exp(-x))


def sigmoid(x):
    if mp.isnan(x):
        return mp.nan
    return 1 / (1 + mp.exp(-x)) if x >= 0 else mp.exp(x) / (1 + mp.exp(x))


def log(x):
    """Real logarithm: -inf at 0, NaN below."""
    if mp.isnan(x) or x < 0:
        return mp.nan
    return mp.log(x) if x else -mp.inf
