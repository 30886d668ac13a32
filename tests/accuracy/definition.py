"""What an accuracy definition is: random inputs of a loss, and its items in extended precision, all at once.

The references are NumPy's long double: 64 bits of mantissa, 40 bits more than f32 and 11 more than f64. They
serve to measure over millions of items; tests/losses holds the losses to definitions with 100 digits.
"""
import dataclasses

import numpy as np

from tests.losses.case import wide

WIDE = np.longdouble
assert np.finfo(WIDE).nmant >= 63, "needs the x87's 64 bits of mantissa"

ELEMENT, ROW, CLASSIFIER = "element", "row", "classifier"
# What an error may be, by kind: ulp of the measure, or a share of it.
BOUNDS = {(ELEMENT, np.float32): 4, (ELEMENT, np.float64): 4, (ROW, np.float32): 1e-6, (ROW, np.float64): 1e-14,
          (CLASSIFIER, np.float32): 1e-5, (CLASSIFIER, np.float64): 1e-13}


@dataclasses.dataclass
class Definition:
    loss: str
    kind: str
    inputs: object  # function(random, number of items, dtype) -> {name: array}
    items: object  # function({name: long double or labels}, parameter getter) -> (values, measures)
    parameters: tuple  # the sets of parameters that share the items
    batch: int  # items a request


DEFINITIONS = []


def definition(loss, kind, inputs, parameters=({},), batch=100_000):
    """Registers function(inputs, parameters) -> values, or (values, measures) where larger terms are added up."""
    def register(items):
        DEFINITIONS.append(Definition(loss, kind, inputs, items, parameters, batch))
        return items
    return register


class Parameters:
    """The parameters, rounded to the compute type, with the defaults given where they are read."""

    def __init__(self, given, dtype):
        self._given, self._type = given, dtype

    def __call__(self, name, default=None):
        value = self._given.get(name, default)
        return WIDE(self._type(value)) if isinstance(value, float) else value

    def rest(self, name, default=None):
        """1 - the parameter, which is rounded after the difference."""
        return WIDE(self._type(1 - self._given.get(name, default)))


def error(found, values, measures, kind, dtype):
    """Each item's error in the unit of its bound. What overflows the type says nothing."""
    measures = np.maximum(np.abs(values), measures)
    with np.errstate(over="ignore", invalid="ignore"):
        off = np.abs(found.astype(WIDE) - values)
        off[(np.abs(values) > np.finfo(dtype).max / 4) & ~np.isfinite(found)] = 0
    if kind == ELEMENT:
        return off / ulp(measures, dtype)
    # Shares of a softmax below the normal numbers add nothing.
    return off / np.maximum(measures, 4e6 * WIDE(np.finfo(dtype).tiny))


def ulp(values, dtype):
    """Distance of neighbours of dtype at values."""
    info = np.finfo(dtype)
    _, exponent = np.frexp(np.asarray(values, WIDE))
    lowest = np.frexp(WIDE(info.smallest_subnormal))[1] - 1
    return np.ldexp(WIDE(1), np.maximum(exponent - info.nmant - 1, lowest))


# --- functions to full precision

def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def sigmoid(x):
    return np.exp(-softplus(-x))


def log_softmax(rows):
    """Of the last axis, exact where one class has almost all."""
    place = rows.argmax(-1)[..., None]
    shifted = rows - np.take_along_axis(rows, place, -1)
    others = np.exp(shifted)
    np.put_along_axis(others, place, 0, -1)
    return shifted - np.log1p(others.sum(-1, keepdims=True))


def pick(rows, labels):
    return np.take_along_axis(rows, labels[:, None], -1)[:, 0]


# --- random inputs

def values(random, shape, dtype):
    """Moderate ones, some of any magnitude, some halves."""
    found = random.normal(0, 3, shape)
    choice = random.random(shape)
    spread = wide(random, shape, np.float64, -12, 6)
    halves = random.integers(-20, 20, shape) / 2
    return np.where(choice < 0.25, spread, np.where(choice < 0.35, halves, found)).astype(dtype)


def pair(random, n, dtype, names=("predictions", "targets")):
    """Values of which some are almost the same."""
    first = values(random, n, dtype)
    second = values(random, n, dtype)
    near = random.random(n) < 0.2
    second[near] = (first[near] * (1 + wide(random, near.sum(), np.float64, -7, -1))).astype(dtype)
    return {names[0]: first, names[1]: second}


def unit(random, shape, dtype):
    """In (0, 1), some near the ends."""
    end = 10.0 ** random.uniform(-12, 0, shape)
    choice = random.random(shape)
    found = np.where(choice < 0.2, end, np.where(choice < 0.4, 1 - end, random.random(shape))).astype(dtype)
    return np.clip(found, dtype(1e-12), np.nextafter(dtype(1), dtype(0)))


def fractions(random, n, dtype):
    return np.where(random.random(n) < 0.6, random.integers(0, 2, n), random.random(n)).astype(dtype)


def signs(random, n, dtype):
    return random.choice([-1, 1], n).astype(dtype)


def distribution(random, shape, dtype):
    """Rows that sum to 1, with small shares."""
    raw = np.exp(random.normal(0, 3, shape))
    return (raw / raw.sum(-1, keepdims=True)).astype(dtype)
