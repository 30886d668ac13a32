"""Cases of cosine_embedding, contrastive and triplet."""
import numpy as np

from tests.losses.case import Case, f32, f64, wide
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_INF = np.inf
_REPRESENTABLE = "PyTorch's squares leave the range"
_KINK = "at a kink PyTorch 2.15 takes another subgradient than those before"
_PARALLEL = "of the gradient of a cosine of single numbers only rounding is left"
_NEAR_KINKS = "a step goes beyond what is near"
_ZERO_VECTOR = "PyTorch's gradient of the cosine of a zero vector is 1e8"
# Around the vector (32 virtual lanes), the group of eight steps (256) and the chunk (4,096).
_WIDTHS = (1, 2, 3, 7, 31, 32, 33, 64, 100, 255, 257, 512)


def _signs(random, n):
    return random.choice([-1, 1], n)


def _rows(random, count, n, width, dtype=np.float32, scale=1):
    return [(random.normal(0, scale, (n, width))).astype(dtype) for _ in range(count)]


def _pair(random, n, width, dtype=np.float32, scale=1):
    return dict(zip(("first", "second"), _rows(random, 2, n, width, dtype, scale)))


def _edges(dtype=np.float32):
    """Pairs of 3 numbers: zero vectors, the same, opposite, at right angles, nearly parallel, tiny, large."""
    rows = [([0, 0, 0], [1, 2, 3]), ([1, 2, 3], [0, 0, 0]), ([0, 0, 0], [0, 0, 0]), ([1, 2, 3], [1, 2, 3]),
            ([1, 2, 3], [-1, -2, -3]), ([1, 0, 0], [0, 1, 0]), ([1, 1, 1], [1, 1, 1 + 1e-6]),
            ([3, 4, 0], [3, 4, 1e-3]), ([1e-7, 0, 2e-7], [1e-7, 0, 2e-7]), ([1e-20, 1e-20, 0], [1e-20, 0, 0]),
            ([1e-4, 2e-6, 0], [3, 1e-3, 2]), ([1e6, 2e6, -3e6], [1e6, 2e6, -3e6 + 1])]
    return tuple(np.array([row[i] for row in rows], dtype) for i in range(2))


def _not_finite(dtype=np.float32):
    first = np.ones((7, 3), dtype)
    second = np.full((7, 3), 2, dtype)
    first[0, 1], first[1, 2], first[2, 0], second[3, 0] = np.nan, _INF, -_INF, np.nan
    second[4, 1], first[5, 0], second[5, 0], first[6] = _INF, _INF, _INF, 0
    second[6, 2] = _INF
    return first, second


def _both(first, second):
    """Every pair as a similar and as a dissimilar one."""
    return {"first": np.concatenate([first, first]), "second": np.concatenate([second, second])}


def _cosine_embedding(random):
    for width in _WIDTHS:
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, D {width}", "cosine_embedding",
                       _pair(random, 6, width, dtype) | {"targets": _signs(random, 6)},
                       {"margin": 0.25} if width % 2 else {}, torch=width > 1 or _PARALLEL)
    for width in (4095, 4097, 8200):
        yield Case(f"D {width}", "cosine_embedding", _pair(random, 2, width) | {"targets": _signs(random, 2)})
    for dtype, suffix in _FLOATS:
        first, second = _edges(dtype)
        targets = np.repeat(np.array([1, -1], dtype), len(first))
        for margin in (0.0, 0.5, 1.0, -1.0, -0.5):
            yield Case(f"edges {suffix}, margin {margin}", "cosine_embedding",
                       _both(first, second) | {"targets": targets}, {"margin": margin},
                       torch=margin != 0 or _KINK, smooth=_NEAR_KINKS)
        first, second = _not_finite(dtype)
        yield Case(f"not finite {suffix}", "cosine_embedding",
                   _both(first, second) | {"targets": np.repeat(np.array([1, -1], dtype), len(first))})
        decades = wide(random, (40, 5), dtype, -15, 9)
        yield Case(f"many decades {suffix}", "cosine_embedding",
                   {"first": decades, "second": wide(random, (40, 5), dtype, -15, 9),
                    "targets": _signs(random, 40)})
    large = f32(3e38, -1e38, 2e38)[None] * f32(1, 0.5, 1e-10)[:, None]
    yield Case("squares beyond f32", "cosine_embedding",
               {"first": large, "second": large[::-1].copy(), "targets": np.array([1, -1, 1])},
               torch=_REPRESENTABLE, smooth=_NEAR_KINKS)
    large = f64(1e300, -3e299, 1e280)[None] * f64(1, 1e-200, 1e-300)[:, None]
    yield Case("squares beyond f64", "cosine_embedding",
               {"first": large, "second": f64([1, 2, 3], [1e300, 1e290, 0], [1e200, 0, 1e250]),
                "targets": np.array([1, -1, 1])}, torch=_REPRESENTABLE, smooth=_NEAR_KINKS)
    pair = _pair(random, 5, 9)
    for kind in (np.int32, np.int64, np.float32):
        yield Case(f"targets of {np.dtype(kind)}", "cosine_embedding",
                   pair | {"targets": np.array([1, -1, 1, -1, -1], kind)})
    signs = f32(1, -1, 1, 1, -1)
    yield Case("f16", "cosine_embedding", {name: x.astype(np.float16) for name, x in pair.items()} | {"targets": signs})
    yield Case("bf16", "cosine_embedding",
               {name: Bfloat16.rounded(x) for name, x in pair.items()} | {"targets": signs})
    yield Case("weights", "cosine_embedding", pair | {"targets": signs, "sample_weight": f32(0.5, 0, 2, 1, 0)})
    yield Case("empty batch", "cosine_embedding",
               {"first": np.zeros((0, 3), np.float32), "second": np.zeros((0, 3), np.float32),
                "targets": f32()}, torch="a mean of nothing")


def _contrastive(random):
    conventions = (({}, (0, 1)), ({"label_convention": "ZERO_IS_SIMILAR"}, (0, 1)),
                   ({"label_convention": "ONE_IS_SIMILAR"}, (1, -1, 0)))
    for width in _WIDTHS:
        for dtype, suffix in _FLOATS:
            parameters, targets = conventions[width % 3]
            yield Case(f"{suffix}, D {width}", "contrastive",
                       _pair(random, 6, width, dtype, 0.3) | {"targets": random.choice(targets, 6)},
                       parameters | {"margin": float(width) ** 0.5})
    for dtype, suffix in _FLOATS:
        for parameters, targets in conventions:
            first, second = _edges(dtype)
            first, second = np.tile(first, (3, 1)), np.tile(second, (3, 1))
            labels = np.repeat(np.array((targets * 2)[:3], dtype), len(first) // 3)
            for margin in (1.0, 0.0, -1.0, 5.0):
                yield Case(f"edges {suffix}, {parameters}, margin {margin}", "contrastive",
                           {"first": first, "second": second, "targets": labels}, parameters | {"margin": margin})
        first, second = _not_finite(dtype)
        yield Case(f"not finite {suffix}", "contrastive",
                   _both(first, second) | {"targets": np.repeat(np.array([0, 1], dtype), len(first))})
        tiny = dtype(1e-19) if dtype == np.float32 else dtype(1e-160)
        yield Case(f"tiny {suffix}", "contrastive",
                   {"first": np.array([[tiny, 2 * tiny]] * 2), "second": np.zeros((2, 2), dtype),
                    "targets": np.array([0, 1], dtype)}, {"margin": float(2 * tiny)})
        distances = np.concatenate([np.abs(wide(random, 80, dtype, -20, 18)), random.uniform(0, 2, 80).astype(dtype),
                                    np.array([0, 0.5, 1, np.nextafter(dtype(1), dtype(0)), np.nan, _INF], dtype)])
        for parameters, targets in conventions:
            yield Case(f"distances {suffix}, {parameters}", "contrastive",
                       {"distances": distances, "targets": random.choice(targets, distances.size)}, parameters)
    yield Case("squares beyond f64", "contrastive",
               {"first": f64([1e200, 1e100], [1e153, 1e154], [1e155, 0]), "second": f64([0, 0], [0, 0], [0, 0]),
                "targets": f64(1, 0, 1)}, {"margin": 3e30})
    yield Case("the square of f32 overflows, its half does not", "contrastive",
               {"first": f32([2.4e19, 0]), "second": f32([0, 0]), "targets": f32(0)})
    yield Case("the square overflows, its half does not", "contrastive",
               {"distances": f32(2.4e19, 2.6e19), "targets": f32(0, 0)})
    yield Case("distances of [N,M], weights of both shapes", "contrastive",
               {"distances": random.uniform(0, 2, (4, 3)).astype(np.float32), "targets": random.integers(0, 2, (4, 3)),
                "sample_weight": f32(1, 0, 2, 0.5)})
    pair = _pair(random, 5, 9)
    yield Case("f16", "contrastive",
               {name: x.astype(np.float16) for name, x in pair.items()} | {"targets": np.array([0, 1, 0, 1, 1])})
    yield Case("weights", "contrastive", pair | {"targets": np.array([0, 1, 0, 1, 1], np.uint8),
                                                 "sample_weight": f32(0.5, 0, 2, 1, 0)}, {"margin": 9.0})


def _triplet_rows(random, n, width, dtype=np.float32, scale=1):
    return dict(zip(("anchor", "positive", "negative"), _rows(random, 3, n, width, dtype, scale)))


# Easy, semi-hard and hard ones, ties, and where anchor, positive and negative meet.
def _triplet_edges(dtype):
    rows = [([0, 0], [1, 0], [3, 0]), ([0, 0], [1, 0], [1.5, 0]), ([0, 0], [2, 0], [1, 0]), ([0, 0], [1, 0], [2, 0]),
            ([0, 0], [0, 0], [0, 0]), ([0, 0], [1, 1], [1, 1]), ([1, 2], [1, 2], [3, 4]), ([1, 2], [3, 4], [1, 2]),
            ([0, 0], [2, 0], [3, 0]), ([0, 0], [0, 2], [0, 1]), ([0, 0], [3, 3], [0, 1]), ([-5, 3], [1e-3, 7], [2, 2])]
    return {name: np.array([row[i] for row in rows], dtype)
            for i, name in enumerate(("anchor", "positive", "negative"))}


_METRICS = ({}, {"p": 1.0}, {"p": 1.5}, {"p": 3.0}, {"p": 7.25, "eps": 0.0}, {"distance": "SQUARED_EUCLIDEAN"},
            {"distance": "COSINE"})
_MARGIN = "PyTorch wants a margin above 0"


def _triplet(random):
    for width in _WIDTHS:
        for dtype, suffix in _FLOATS:
            for i, parameters in enumerate(_METRICS):
                if width > 64 and i % 3 != width % 3:
                    continue
                swap = {"swap": True} if (width + i) % 2 else {}
                yield Case(f"{suffix}, D {width}, {parameters | swap}", "triplet",
                           _triplet_rows(random, 5, width, dtype), parameters | swap,
                           torch=width > 1 or "distance" not in parameters or _PARALLEL)
    yield Case("D 4097", "triplet", _triplet_rows(random, 2, 4097))
    yield Case("D 8200, cosine", "triplet", _triplet_rows(random, 2, 8200), {"distance": "COSINE"})
    for dtype, suffix in _FLOATS:
        for parameters in _METRICS + ({"eps": 0.0}, {"p": 1.0, "eps": 0.0}, {"eps": 0.5}):
            for swap in (False, True):
                for margin, torch in ((1.0, _KINK), (1.125, True), (0.25, True), (0.0, _MARGIN), (-0.5, _MARGIN)):
                    yield Case(f"edges {suffix}, {parameters}, swap {swap}, margin {margin}", "triplet",
                               _triplet_edges(dtype), parameters | {"swap": swap, "margin": margin},
                               torch=_ZERO_VECTOR if parameters.get("distance") == "COSINE" else torch,
                               smooth=_NEAR_KINKS)
        first, second = _not_finite(dtype)
        for parameters in _METRICS:
            yield Case(f"not finite {suffix}, {parameters}", "triplet",
                       {"anchor": np.concatenate([first, np.ones_like(first)]),
                        "positive": np.concatenate([second, first]), "negative": np.concatenate([first[::-1], second])},
                       parameters | {"swap": True}, torch="infinite distances")
        # (1 + 2^-20)^1e6 and the like: the largest difference wins by far, or all are equal.
        yield Case(f"p without bound {suffix}", "triplet", _triplet_edges(dtype), {"p": 1e30}, torch="its p is inf")
        yield Case(f"p just above 1 {suffix}", "triplet", _triplet_rows(random, 4, 33, dtype), {"p": 1 + 2.0 ** -20})
    yield Case("powers beyond f32", "triplet",
               {"anchor": f32([3e38, 1e30], [1e-30, 0]), "positive": f32([0, 0], [0, 1e-30]),
                "negative": f32([1e38, 1e38], [1e-30, 1e-30])}, {"p": 3.0, "eps": 0.0, "margin": 1e-30},
               torch=_REPRESENTABLE, smooth=_NEAR_KINKS)
    yield Case("squares beyond f64", "triplet",
               {"anchor": f64([1e300, 1e299], [1e-200, 0], [1e-200, 1e-200]),
                "positive": f64([0, 0], [0, 1e-200], [2e-200, 2e-200]),
                "negative": f64([1e300, 0], [3e-200, 0], [1e200, -1e200])},
               {"eps": 0.0, "margin": 1e-200}, torch=_REPRESENTABLE, smooth=_NEAR_KINKS)
    yield Case("squares beyond f64, cosine", "triplet",
               {"anchor": f64([1e300, 1e299], [1e-200, 0], [1e-200, 1e-200]),
                "positive": f64([1, 0], [0, 1e-200], [2e-200, 2e-200]),
                "negative": f64([1e300, 0], [3e-200, 0], [1e200, -1e200])},
               {"distance": "COSINE"}, torch=_REPRESENTABLE, smooth=_NEAR_KINKS)
    rows = _triplet_rows(random, 6, 9)
    yield Case("f16", "triplet", {name: x.astype(np.float16) for name, x in rows.items()})
    yield Case("bf16, cosine", "triplet", {name: Bfloat16.rounded(x) for name, x in rows.items()},
               {"distance": "COSINE", "swap": True})
    yield Case("weights", "triplet", rows | {"sample_weight": f32(0.5, 0, 2, 1, 0, 3)}, {"margin": 20.0})


def cases():
    random = np.random.default_rng(90)
    for family in (_cosine_embedding, _contrastive, _triplet):
        yield from family(random)
