"""Cases of iou, giou, diou and ciou."""
import itertools

import numpy as np

from tests.losses.case import Case, f32, wide
from tests.support.floats import Bfloat16

LOSSES = ("iou", "giou", "diou", "ciou")
_FORMATS = ({}, {"format": "XYXY"}, {"format": "XYWH"}, {"format": "CXCYWH"})
_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_CORNERS = "PyTorch rounds the corners"


def _text(parameters):
    return ", ".join(f"{name} {value}" for name, value in parameters.items()) or "defaults"


def converted(corners, form):
    """Boxes of corners, in f64, as the numbers of a format."""
    if form == "XYXY":
        return corners
    low, size = corners[:, :2], corners[:, 2:] - corners[:, :2]
    if form == "XYWH":
        return np.concatenate([low, size], 1)
    return np.concatenate([low + size / 2, size], 1)


def boxes(random, n, size=(0.1, 2), spread=1.5):
    """Corners of boxes that mostly overlap."""
    center, sides = random.uniform(-spread, spread, (n, 2)), random.uniform(*size, (n, 2))
    return np.concatenate([center - sides / 2, center + sides / 2], 1)


def _every(predictions, targets):
    """Every prediction with every target."""
    first, second = np.array(predictions, float), np.array(targets, float)
    return np.repeat(first, len(second), 0), np.tile(second, (len(first), 1))


def _inputs(predictions, targets, dtype=np.float32, form="XYXY"):
    return {"predictions": converted(np.asarray(predictions, float), form).astype(dtype),
            "targets": converted(np.asarray(targets, float), form).astype(dtype)}


# Values that torchvision's own documentation and tests agree on: identical, a quarter inside, side by side, diagonal.
_UNIT = [[-1, -1, 1, 1], [0, 0, 1, 1], [0, 1, 1, 2], [1, 1, 2, 2]]
_WORKED = (
    ("iou", 0, 1, 0.75), ("giou", 0, 1, 0.75), ("giou", 1, 2, 1.0), ("giou", 1, 3, 1.5), ("diou", 0, 1, 0.8125),
    ("diou", 0, 3, 1.25), ("diou", 0, 2, 1 + 2.5 / 13), ("ciou", 0, 1, 0.8125), ("ciou", 0, 3, 1.25),
    ("ciou", 0, 2, 1 + 2.5 / 13),
)


def _regular(random):
    """Three of every set of parameters: the gradients' tests take the first ones."""
    for loss in LOSSES:
        for given in _FORMATS + ({"eps": 0.0}, {"eps": 1e-3, "format": "CXCYWH"}):
            form = given.get("format", "XYXY")
            torch = loss == "ciou" and "eps" in given and "torchvision takes 1e-7 for the union and the diagonal"
            for dtype, suffix in _FLOATS:
                yield Case(f"{suffix}, {_text(given)}", loss,
                           _inputs(boxes(random, 61), boxes(random, 61), dtype, form), given, torch=torch or True)
            yield Case(f"pixels, {_text(given)}", loss,
                       _inputs(boxes(random, 50, (20, 400), 500), boxes(random, 50, (20, 400), 500), form=form), given,
                       torch=torch or (True if form == "XYXY" else _CORNERS))


def _geometry(random):
    """Every way that the edges of two boxes can lie, ties and boxes without an area among them."""
    intervals = [(a, b) for a in range(4) for b in range(a, 4)]
    grid = [(x[0], y[0], x[1], y[1]) for x, y in itertools.product(intervals, intervals)]
    some = [(1, 1, 2, 2), (1, 1, 3, 2), (0, 1, 2, 3), (1, 1, 1, 2), (0, 2, 3, 2), (2, 2, 2, 2), (0, 0, 3, 3)]
    for loss in LOSSES:
        for given in _FORMATS[:1] + _FORMATS[2:]:
            yield Case(f"edges, {_text(given)}", loss,
                       _inputs(*_every(some, grid), form=given.get("format", "XYXY")), given)
        yield Case("edges, f64", loss, _inputs(*_every(some, grid), np.float64))
        yield Case("edges, eps 0", loss, _inputs(*_every(some, grid)), {"eps": 0.0},
                   torch="0 / 0 where the limit is 0")
        same = boxes(random, 40)
        yield Case("identical", loss, _inputs(same, same))
        near = same + random.uniform(-1e-6, 1e-6, same.shape)
        for dtype, suffix in _FLOATS:
            yield Case(f"nearly identical, {suffix}", loss, _inputs(same, near, dtype))
        yield Case("one box, far away", loss, _inputs([[0, 0, 1, 1]], [[1e6, 1e6, 1e6 + 1, 1e6 + 1]]))


def _magnitudes(random):
    for loss in LOSSES:
        for scale in (1e4, 1e-4):
            yield Case(f"times {scale:g}", loss, _inputs(boxes(random, 40) * scale, boxes(random, 40) * scale))
        far = boxes(random, 40, (0.5, 8)) + 1e4
        for form in ("XYXY", "XYWH", "CXCYWH"):
            yield Case(f"small and far from the origin, {form}", loss,
                       _inputs(far, far + random.uniform(-2, 2, (40, 1)), form=form), {"format": form}, torch=_CORNERS)
        for dtype, suffix, low, high in ((np.float32, "f32", -30, 30), (np.float64, "f64", -130, 130),
                                         (np.float64, "f64, beyond squares", -160, 300)):
            magnitude = np.abs(wide(random, (60, 1), np.float64, low, high))
            sizes = {name: np.abs(boxes(random, 60)) * magnitude for name in ("predictions", "targets")}
            yield Case(f"wide, {suffix}", loss, {name: array.astype(dtype) for name, array in sizes.items()},
                       {"format": "CXCYWH"}, torch="PyTorch's areas leave the range")
        mixed = {name: np.sort(wide(random, (60, 2, 2), np.float32, -12, 12), 1).reshape(60, 4)
                 for name in ("predictions", "targets")}
        yield Case("of all sizes", loss, mixed, torch="PyTorch's areas cancel")
        limits = [[0, 0, 1e300, 1e300], [-1e308, -1e308, 1e308, 1e308], [1e307, 0, 1.5e308, 1e308]]
        yield Case("largest", loss, _inputs(*_every(limits, limits), np.float64, "XYXY"),
                   torch="PyTorch's areas overflow")


def _types(random):
    for loss in LOSSES:
        p, t = boxes(random, 33), boxes(random, 33)
        yield Case("f16", loss, _inputs(p, t, np.float16))
        yield Case("bf16", loss, {"predictions": Bfloat16.rounded(p.astype(np.float32)),
                                  "targets": Bfloat16.rounded(t.astype(np.float32))})
        whole = np.round(t * 8)
        for kind in (np.int32, np.int64):
            yield Case(f"targets of {np.dtype(kind)}", loss,
                       {"predictions": (p * 8).astype(np.float32), "targets": whole.astype(kind)})
        yield Case("f64 predictions, f32 targets", loss,
                   {"predictions": p, "targets": t.astype(np.float32)})
        for n in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17):
            yield Case(f"N {n}", loss, _inputs(boxes(random, n), boxes(random, n)))
        yield Case("empty batch", loss, _inputs(np.zeros((0, 4)), np.zeros((0, 4))), torch="a mean of nothing")
        weight = random.choice([0, 0.25, 1, 3], 33).astype(np.float32)
        bad = p.copy()
        bad[weight == 0] = [3, 3, -3, np.nan]  # not a box: not looked at
        yield Case("weights", loss, _inputs(bad, t) | {"sample_weight": weight})
        yield Case("all ignored", loss, _inputs(p, t) | {"sample_weight": np.zeros(33, np.float32)})


def _not_finite(random):
    inf, nan = np.inf, np.nan
    one = [[0, 0, 1, 1]]
    odd = [[nan, 0, 1, 1], [0, nan, 1, 1], [0, 0, nan, 1], [0, 0, 1, nan], [0, 0, inf, 1], [-inf, 0, 1, 1],
           [-inf, -inf, 1, 1], [0, 0, inf, inf]]
    for loss in LOSSES:
        yield Case("not finite", loss, _inputs(*_every(odd, one)))
        yield Case("targets not finite, f64", loss, _inputs(*_every(one, odd), np.float64))
        yield Case("sizes not finite", loss,
                   {"predictions": f32([nan, 0, 1, 1], [0, 0, nan, 1], [0, 0, inf, 1], [0, 0, 1, 1]),
                    "targets": f32([0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, inf, inf])},
                   {"format": "XYWH"})


def cases():
    random = np.random.default_rng(80)
    for loss, first, second, value in _WORKED:
        yield Case(f"worked {first} {second}", loss, _inputs(_UNIT[first:first + 1], _UNIT[second:second + 1]),
                   mean=value)
    for make in (_regular, _geometry, _magnitudes, _types, _not_finite):
        yield from make(random)
