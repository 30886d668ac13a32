"""Cases of center, center_invariant and ring."""
import numpy as np

from tests.losses.case import Case, f32, f64, wide
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_INF = np.inf
_WIDTHS = (1, 2, 3, 31, 32, 33, 64, 100, 257, 512)


def _centered(random, n, width, classes, dtype=np.float32):
    return {"embeddings": random.normal(0, 1, (n, width)).astype(dtype),
            "centers": random.normal(0, 1, (classes, width)).astype(dtype), "labels": random.integers(0, classes, n)}


def _edges(dtype):
    """At its center, off it in one place, at zero; not finite; a center that no label names is not finite."""
    embeddings = np.array([[1, 2], [1, 2 + 1e-3], [0, 0], [-3, 4], [np.nan, 0], [0, _INF], [7, 7]], dtype)
    centers = np.array([[1, 2], [0, 0], [-_INF, 5], [7, 7]], dtype)
    return {"embeddings": embeddings, "centers": centers, "labels": np.array([0, 0, 1, 2, 0, 1, 3])}


def _both(random, loss, parameters):
    for width in _WIDTHS:
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, D {width}, {parameters}", loss, _centered(random, 6, width, 5, dtype), parameters)
    for dtype, suffix in _FLOATS:
        yield Case(f"{suffix}, edges, {parameters}", loss, _edges(dtype), parameters)
        one = _centered(random, 4, 3, 1, dtype)
        yield Case(f"{suffix}, one class, {parameters}", loss, one, parameters)
        yield Case(f"{suffix}, one sample, {parameters}", loss, _centered(random, 1, 3, 7, dtype), parameters)
        many = _centered(random, 7, 5, 4, dtype)
        many["embeddings"], many["centers"] = wide(random, (7, 5), dtype, -8, 8), wide(random, (4, 5), dtype, -8, 8)
        yield Case(f"{suffix}, many decades, {parameters}", loss, many, parameters)
    inputs = _centered(random, 6, 9, 4)
    yield Case(f"weights, {parameters}", loss, inputs | {"sample_weight": f32(0.5, 0, 2, 1, 0, 3)}, parameters)
    masked = dict(inputs, labels=np.array([0, -7, 2, 99, 1, 3]))
    yield Case(f"labels of weight 0 are not read, {parameters}", loss,
               masked | {"sample_weight": f32(1, 0, 2, 0, 1, 3)}, parameters, torch="labels out of range")
    for kind in (np.uint8, np.int32):
        yield Case(f"labels of {np.dtype(kind)}, {parameters}", loss,
                   dict(inputs, labels=inputs["labels"].astype(kind)), parameters)
    half = {"embeddings": inputs["embeddings"].astype(np.float16), "centers": Bfloat16.rounded(inputs["centers"])}
    yield Case(f"f16 and bf16, {parameters}", loss, inputs | half, parameters)
    yield Case(f"embeddings f32, centers f64, {parameters}", loss,
               inputs | {"centers": inputs["centers"].astype(np.float64)}, parameters)
    yield Case(f"empty batch, {parameters}", loss,
               {"embeddings": np.zeros((0, 3), np.float32), "centers": np.ones((2, 3), np.float32),
                "labels": np.zeros(0, np.int64)}, parameters, torch="a mean of nothing")


def _center(random):
    yield from _both(random, "center", {})
    yield Case("with the update", "center", _centered(random, 6, 4, 3), {"want_center_update": True})
    yield Case("the square overflows, its half does not", "center",
               {"embeddings": f32([2.4e19, 0], [2.7e19, 0]), "centers": f32([0, 0]).reshape(1, 2),
                "labels": np.array([0, 0])}, torch="its half is representable")
    yield Case("the square of f64 overflows, its half does not", "center",
               {"embeddings": f64([1.8e154, 0], [1e-160, 1e-170]), "centers": f64([0, 0]).reshape(1, 2),
                "labels": np.array([0, 0])}, torch="its half is representable")


def _center_invariant(random):
    yield from _both(random, "center_invariant", {})
    for parameters in ({"gamma": 0.0}, {"center_weight": 0.0}, {"gamma": 0.25, "center_weight": 0.01},
                       {"gamma": 0.0, "center_weight": 0.0}):
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, {parameters}", "center_invariant", _centered(random, 6, 8, 5, dtype), parameters)
    sphere = random.normal(0, 1, (6, 16))
    sphere /= np.linalg.norm(sphere, axis=1, keepdims=True)
    for dtype, suffix in _FLOATS:
        yield Case(f"centers on one sphere {suffix}", "center_invariant",
                   _centered(random, 5, 16, 6, dtype) | {"centers": sphere.astype(dtype)})
        yield Case(f"many classes {suffix}", "center_invariant", _centered(random, 4, 3, 1000, dtype))


def _ring(random):
    for width in _WIDTHS + (4097,):
        for dtype, suffix in _FLOATS:
            inputs = {"embeddings": random.normal(0, 1, (5, width)).astype(dtype)}
            yield Case(f"{suffix}, D {width}", "ring", inputs, {"radius": float(width) ** 0.5} if width % 2 else {})
    for dtype, suffix in _FLOATS:
        edges = np.array([[0, 0], [3, 4], [0.6, 0.8], [1, 0], [-1, 0], [np.nan, 1], [_INF, 1], [-_INF, _INF],
                          [1e-30, 0], [-0.0, 0]], dtype)
        for radius in (1.0, 0.0, 5.0, 1e-3, 1e10):
            yield Case(f"edges {suffix}, radius {radius}", "ring", {"embeddings": edges}, {"radius": radius})
        yield Case(f"many decades {suffix}", "ring", {"embeddings": wide(random, (30, 4), dtype, -18, 18)})
    yield Case("squares beyond f64", "ring",
               {"embeddings": f64([3e153, 4e153], [1e-200, 0], [3e-180, 4e-180], [1e300, 0])},
               {"radius": 0.0}, torch="its squares leave the range")
    inputs = random.normal(0, 1, (5, 9)).astype(np.float32)
    yield Case("f16", "ring", {"embeddings": inputs.astype(np.float16)})
    yield Case("bf16", "ring", {"embeddings": Bfloat16.rounded(inputs)})
    yield Case("weights", "ring", {"embeddings": inputs, "sample_weight": f32(0.5, 0, 2, 1, 0)}, {"radius": 3.0})


def cases():
    random = np.random.default_rng(120)
    for family in (_center, _center_invariant, _ring):
        yield from family(random)
