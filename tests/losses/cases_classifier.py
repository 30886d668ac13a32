"""Cases of the classifier losses."""
import numpy as np

from tests.losses.case import Case, f32
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_INF = np.inf
_MULTIPLES = ({}, {"margin": 1}, {"margin": 2}, {"margin": 3, "annealing": 0.5}, {"margin": 7}, {"margin": 100},
              {"annealing": 1e3})
_PARAMETERS = {
    "softmax": ({},),
    "modified_softmax": ({},),
    "l_softmax": _MULTIPLES,
    "a_softmax": _MULTIPLES,
    "am_softmax": ({}, {"scale": 1.0, "margin": 0.0}, {"scale": 1e-3, "margin": -0.5}, {"scale": 1e3, "margin": 1.0}),
    "cosface": ({}, {"scale": 10.0, "margin": 0.1}),
    "arcface": ({}, {"margin": 0.0}, {"scale": 30.0, "margin": 1.5, "easy_margin": True}, {"margin": np.pi},
                {"margin": -0.25, "easy_margin": True}, {"scale": 5.0, "margin": 4 * np.pi}),
    "normface": ({}, {"scale": 1.0}, {"scale": 1e4}),
    "coco": ({}, {"alpha": 0.5}),
    "l2_softmax": ({}, {"alpha": 3.0}),
}
_BIASED = ("softmax", "l2_softmax")
_COSINES = ("am_softmax", "cosface", "arcface", "normface", "coco")
# Samples, classes, dimensions: around the panels, the tiles, the 192 classes of a chunk and the 32 lanes of a sum.
_SIZES = ((1, 1, 1), (3, 2, 5), (5, 11, 16), (4, 33, 31), (3, 191, 7), (3, 192, 8), (3, 193, 9), (2, 400, 33),
          (2, 13, 600))


def _inputs(random, n, classes, width, dtype=np.float32):
    return {"embeddings": random.normal(0, 1, (n, width)).astype(dtype),
            "classifier": random.normal(0, 1, (classes, width)).astype(dtype),
            "labels": random.integers(0, classes, n)}


def _sizes(random, loss):
    for n, classes, width in _SIZES:
        for dtype, suffix in _FLOATS:
            inputs = _inputs(random, n, classes, width, dtype)
            torch = True if width > 1 else "parallel: a kink"
            yield Case(f"{suffix}, {n} x {width} by {classes}", loss, inputs, torch=torch)
            if loss in _BIASED:
                bias = {"bias": random.normal(0, 2, classes).astype(dtype)}
                yield Case(f"{suffix}, {n} x {width} by {classes}, bias", loss, inputs | bias, torch=torch)


def _parameters(random, loss):
    for parameters in _PARAMETERS[loss]:
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, {parameters}", loss, _inputs(random, 6, 5, 8, dtype), parameters)
            # At a step of an angle's piece and in the plane: every piece of psi.
            turns = np.linspace(0.05, np.pi - 0.05, 23)
            circle = {"embeddings": np.stack([np.cos(turns), np.sin(turns)], 1).astype(dtype),
                      "classifier": np.array([[1, 0], [0, 2], [-1, -1]], dtype),
                      "labels": np.zeros(23, np.int64)}
            yield Case(f"{suffix}, every angle, {parameters}", loss, circle, parameters)


def _edges(random, loss):
    """Angles of 0, of a right angle and of pi; zero vectors; confident rows; equal classes."""
    for dtype, suffix in _FLOATS:
        rows = {"embeddings": np.array([[3, 4], [4, -3], [-3, -4], [0, 0], [6, 8], [1, 7]], dtype),
                "classifier": np.array([[3, 4], [6, 8], [0, 0], [-1, 1]], dtype)}
        for label in range(4):
            for parameters in _PARAMETERS[loss]:
                yield Case(f"{suffix}, edges, label {label}, {parameters}", loss,
                           rows | {"labels": np.full(6, label)}, parameters, torch="a kink, or a zero vector")
        near = np.array([[1, 1e-3], [1, 1e-5], [1, 1e-7], [-1, 1e-3], [-1, 1e-6]], dtype)
        table = np.array([[1, 0], [0, 1], [-0.5, 3]], dtype)
        yield Case(f"{suffix}, angles near 0 and pi", loss,
                   {"embeddings": near, "classifier": table, "labels": np.zeros(5, np.int64)},
                   torch="sqrt(1 - c^2) cancels")
        many = _inputs(random, 4, 6, 5, dtype)
        factors = 10.0 ** np.array([[-15], [15], [-3], [3]])
        if loss in _COSINES:
            many = many | {"embeddings": (many["embeddings"] * factors).astype(dtype),
                           "classifier": (many["classifier"] * 1e12).astype(dtype)}
            yield Case(f"{suffix}, lengths of many decades", loss, many, torch="normalize stops at 1e-12")
        sure = _inputs(random, 3, 4, 3, dtype)
        sure["embeddings"] = 9 * sure["classifier"][sure["labels"]]
        yield Case(f"{suffix}, confident and right", loss, sure, torch="parallel: a kink")


def _not_finite(random, loss):
    for dtype, suffix in _FLOATS:
        inputs = _inputs(random, 5, 4, 3, dtype)
        inputs["embeddings"][1, 2], inputs["embeddings"][3, 0] = np.nan, _INF
        yield Case(f"{suffix}, embeddings not finite", loss, inputs, torch="rules of NaN")
        inputs = _inputs(random, 3, 4, 3, dtype)
        inputs["classifier"][2, 1] = -_INF
        yield Case(f"{suffix}, a class not finite", loss, inputs, torch="rules of NaN")
    if loss in _BIASED:
        inputs = _inputs(random, 4, 3, 2) | {"bias": f32(0, -_INF, 1)}
        inputs["labels"] = np.array([0, 1, 2, 1])
        yield Case("a class masked by its bias", loss, inputs)


def _types(random, loss):
    inputs = _inputs(random, 6, 5, 9)
    for kind in (np.uint8, np.int32):
        yield Case(f"labels of {np.dtype(kind)}", loss, dict(inputs, labels=inputs["labels"].astype(kind)))
    half = {"embeddings": inputs["embeddings"].astype(np.float16), "classifier": Bfloat16.rounded(inputs["classifier"])}
    yield Case("f16 and bf16", loss, inputs | half)
    yield Case("bf16 and f16", loss, inputs | {"embeddings": Bfloat16.rounded(inputs["embeddings"]),
                                               "classifier": inputs["classifier"].astype(np.float16)})
    yield Case("embeddings f32, classifier f64", loss,
               inputs | {"classifier": inputs["classifier"].astype(np.float64)})
    yield Case("weights", loss, inputs | {"sample_weight": f32(0.5, 0, 2, 1, 0, 3)})
    masked = dict(inputs, labels=np.array([0, -7, 2, 1, 99, 3]))
    yield Case("labels of weight 0 are not read", loss, masked | {"sample_weight": f32(1, 0, 2, 1, 0, 3)},
               torch="labels out of range")
    yield Case("empty batch", loss, {"embeddings": np.zeros((0, 3), np.float32),
                                     "classifier": np.ones((2, 3), np.float32), "labels": np.zeros(0, np.int64)},
               torch="a mean of nothing")


def cases():
    random = np.random.default_rng(20250101)
    found = []
    for loss in _PARAMETERS:
        for make in (_sizes, _parameters, _edges, _not_finite, _types):
            found += make(random, loss)
    return found
