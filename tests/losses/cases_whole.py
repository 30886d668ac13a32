"""Cases of the losses of a whole batch: range and yolo."""
import numpy as np

from tests.losses.case import Case, f32, f64
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_NAN, _INF = np.nan, np.inf

WORKED = [
    # H of class 0: distances 1, 4, 9, of which 9 and 4: 2 / (1/9 + 1/4). The means are 4/3 and 2.
    Case("worked number", "range",
         {"embeddings": f32(0, 1, 3, 2)[:, None], "labels": np.array([0, 0, 0, 5])},
         mean=2 / (1 / 9 + 1 / 4) + 1 - 4 / 9),
]


def _text(parameters):
    return " ".join(f"{name} {value}" for name, value in parameters.items()) or "defaults"


def _clusters(random, sizes, width, dtype=np.float32, spread=0.5):
    labels = random.permutation(np.repeat(np.arange(len(sizes)) * 3, sizes))
    centers = random.normal(0, 1, (len(sizes), width))
    return {"embeddings": (centers[labels // 3] + random.normal(0, spread, (len(labels), width))).astype(dtype),
            "labels": labels}


def _range(random):
    for dtype, suffix in _FLOATS:
        for parameters in ({}, {"k": 1}, {"k": 3, "alpha": 0.25}, {"k": 1024, "margin": 20.0},
                           {"alpha": 0.0, "margin": 30.0}, {"beta": 0.0}, {"beta": 2.5, "margin": 9.0},
                           {"margin": -1.0}):
            for width in (1, 3, 33):
                yield Case(f"{suffix}, D {width}, {_text(parameters)}", "range",
                           _clusters(random, (5, 1, 4, 2), width, dtype), parameters)
        yield Case(f"{suffix}, one class", "range", _clusters(random, (6,), 4, dtype), {"margin": 100.0})
        yield Case(f"{suffix}, one sample", "range", _clusters(random, (1,), 4, dtype))
        yield Case(f"{suffix}, a sample a class", "range", _clusters(random, (1,) * 6, 4, dtype), {"margin": 50.0})
        far = _clusters(random, (3, 3), 5, dtype, 1e-3 if dtype == np.float64 else 0.5)
        far["embeddings"] += dtype(3e4)
        yield Case(f"{suffix}, far from the origin", "range", far, {"margin": 40.0},
                   torch=True if dtype == np.float64 else "PyTorch's f32 means cancel")
    yield from _range_edges(random)


def _range_edges(random):
    twins = f64([0, 0], [0, 0], [3, 4], [7, 7])
    cancels = "1 / 0 has no gradient in PyTorch"
    labels = np.array([1, 1, 1, 2])
    yield Case("a distance of 0 among the largest", "range", {"embeddings": twins, "labels": labels}, {"k": 3},
               torch=cancels)
    yield Case("a distance of 0 that does not count", "range", {"embeddings": twins, "labels": labels}, {"k": 2})
    yield Case("all of a class equal", "range",
               {"embeddings": twins[[0, 1, 0, 1]], "labels": np.array([0, 0, 0, 1])}, torch=cancels)
    square = f64([0, 0], [1, 0], [1, 1], [0, 1])
    for k in (1, 2, 3, 5):
        yield Case(f"equal distances, k {k}", "range", {"embeddings": square, "labels": np.zeros(4, int)}, {"k": k})
    line = f64(0, 1, 2, 3)[:, None]
    yield Case("equally distant means", "range", {"embeddings": line, "labels": np.arange(4)}, {"margin": 3.0})
    yield Case("at the margin", "range", {"embeddings": line[:2], "labels": np.arange(2)}, {"margin": 1.0})
    yield Case("equal means", "range", {"embeddings": line[[1, 1]], "labels": np.arange(2)}, {"margin": 2.0})
    yield Case("NaN", "range", {"embeddings": f32([0, _NAN], [1, 2], [4, 4]), "labels": np.array([3, 3, 4])},
               torch="NaN")
    yield Case("NaN in a class of one", "range", {"embeddings": f32([0, _NAN], [1, 2]), "labels": np.array([3, 4])},
               torch="NaN")
    huge = f64(1e-160, 3e-160, -1e-160, 8e-160)[:, None]
    yield Case("distances of 1e-319", "range", {"embeddings": huge, "labels": np.zeros(4, int)},
               torch="1 / d overflows")
    inputs = _clusters(random, (4, 3), 6)
    yield Case("f16", "range", dict(inputs, embeddings=inputs["embeddings"].astype(np.float16)))
    yield Case("bf16", "range", dict(inputs, embeddings=Bfloat16.rounded(inputs["embeddings"])))
    for kind in (np.int32, np.uint8):
        yield Case(f"labels of {np.dtype(kind)}", "range", dict(inputs, labels=inputs["labels"].astype(kind)))
    yield Case("a weight", "range", inputs | {"sample_weight": f32(2.5)})
    yield Case("weight 0", "range", inputs | {"sample_weight": f32(0)}, torch="an item of weight 0")
    yield Case("empty batch", "range", {"embeddings": np.zeros((0, 3), np.float32), "labels": np.zeros(0, int)},
               torch="no item")


_ANCHORS = [[(1.25, 1.625), (2.0, 3.75), (4.125, 2.875)], [(1.875, 3.8125), (3.875, 2.8125), (3.6875, 7.4375)]]


def _boxes(random, count, images, classes, dtype):
    boxes = np.empty((count, 6), dtype)
    boxes[:, 0] = random.integers(0, images, count)
    boxes[:, 1] = random.integers(0, max(classes, 1), count)
    boxes[:, 2:4] = random.uniform(0, 1, (count, 2))
    boxes[:, 4:] = random.uniform(0.05, 1, (count, 2))
    return boxes


def _detections(random, images, classes, grids, boxes, dtype=np.float32, scale=1.0):
    inputs = {f"predictions_{i}": random.normal(0, scale, (images, 3, *grid, 5 + classes)).astype(dtype)
              for i, grid in enumerate(grids)}
    return inputs | {"boxes": _boxes(random, boxes, images, classes, dtype)}


def _yolo(random):
    for dtype, suffix in _FLOATS:
        for parameters in ({}, {"box_weight": 7.5, "classification_weight": 0.0}, {"objectness_weight": 0.0},
                           {"no_object_weight": 0.25, "objectness_weight": 2.0}, {"no_object_weight": 0.0},
                           {"localization": "MSE", "box_weight": 1.0}, {"assignment": "BEST_IOU"},
                           {"anchor_threshold": 1.5}, {"anchor_threshold": 1.0},
                           {"assignment": "BEST_IOU", "localization": "MSE", "classification_weight": 3.0}):
            inputs = _detections(random, 2, 4, ((3, 5), (2, 3)), 7, dtype)
            yield Case(f"{suffix}, {_text(parameters)}", "yolo", inputs, {"scales": _ANCHORS} | parameters)
        for classes in (0, 1, 2, 40):
            yield Case(f"{suffix}, K {classes}", "yolo", _detections(random, 1, classes, ((2, 3),), 3, dtype),
                       {"scales": _ANCHORS[:1]})
        yield Case(f"{suffix}, no boxes", "yolo", _detections(random, 2, 3, ((2, 2),), 0, dtype),
                   {"scales": _ANCHORS[:1]})
        yield Case(f"{suffix}, boxes share predictions", "yolo",
                   _detections(random, 1, 3, ((1, 1), (1, 2)), 9, dtype), {"scales": _ANCHORS})
        yield Case(f"{suffix}, wide outputs", "yolo", _detections(random, 1, 3, ((2, 2),), 5, dtype, 6.0),
                   {"scales": _ANCHORS[:1]}, torch=True if dtype == np.float64 else "PyTorch's f32 cancels")
    yield from _yolo_edges(random)


def _one(head, boxes, **more):
    return {"predictions_0": head, "boxes": boxes} | more


def _yolo_edges(random):
    plain = {"scales": [[(1.0, 1.0), (2.0, 2.0)]]}
    head = random.normal(0, 1, (1, 2, 2, 2, 7))
    corners = f64([0, 0, 0, 0, 0.5, 0.5], [0, 1, 1, 1, 0.5, 0.5], [0, 1, 0.5, 0.5, 1, 1], [0, 0, 1, 0, 0.25, 1])
    yield Case("centers on edges of cells and of the image", "yolo", _one(head, corners), plain)
    same = {"scales": [[(1.0, 1.0), (1.0, 1.0)], [(1.0, 1.0)]], "assignment": "BEST_IOU"}
    yield Case("anchors of equal IoU", "yolo",
               _one(head, corners[:2], predictions_1=random.normal(0, 1, (1, 1, 2, 2, 7))), same)
    ratio = {"scales": [[(1.0, 1.0), (4.0, 1.0)]], "anchor_threshold": 2.0}
    yield Case("a ratio at the threshold", "yolo", _one(head, f64([0, 0, 0.3, 0.3, 1, 0.5], [0, 1, 0.6, 0.9, 1, 1])),
               ratio)
    exact = np.zeros((1, 2, 1, 1, 7))
    exact[0, 1, 0, 0, 4] = 30
    yield Case("the very box", "yolo", _one(exact, f64([0, 1, 0.5, 0.5, 1, 1])),
               {"scales": [[(5.0, 5.0), (1.0, 1.0)]], "box_weight": 1.0}, torch="ties of corners")
    apart = head.copy()
    apart[..., 2:4] = -8
    yield Case("disjoint and nested boxes", "yolo", _one(apart, corners), plain)
    for value in (80.0, -80.0, 1e4, -1e4):
        wide = head.copy()
        wide[..., 4:] = value
        yield Case(f"logits of {value:g}", "yolo", _one(wide, corners), plain)
    for size, ratio in ((800, 2), (-800, 1), (320, -3), (-330, 0), (0, -900), (0, 900)):
        extreme = head.copy()
        extreme[..., 2], extreme[..., 3] = size + ratio, size
        yield Case(f"sizes of exp({size}) and exp({size + ratio})", "yolo", _one(extreme, corners), plain,
                   torch="PyTorch overflows or underflows; the true value is representable")
    broken = head.copy().astype(np.float32)
    broken[0, 0, 0, 0, 4] = _NAN
    yield Case("NaN objectness", "yolo", _one(broken, corners.astype(np.float32)), plain, torch="NaN")
    limits = head.copy()
    limits[0, 0, 1, 0, 4], limits[0, 1, 0, 0, 6] = -_INF, -_INF
    yield Case("logits of -inf", "yolo", _one(limits, corners[:1]), plain, torch="limits")
    yield Case("logits of inf", "yolo", _one(-limits, corners[:1]), plain, torch="limits")
    half = _detections(random, 2, 3, ((3, 2),), 4)
    yield Case("f16", "yolo", {k: v.astype(np.float16) for k, v in half.items()}, {"scales": _ANCHORS[:1]})
    yield Case("bf16", "yolo", {k: Bfloat16.rounded(v) for k, v in half.items()}, {"scales": _ANCHORS[:1]})
    yield Case("f32 with f64 boxes computes in f64", "yolo", dict(half, boxes=half["boxes"].astype(float)),
               {"scales": _ANCHORS[:1]})
    integers = np.array([[0, 0, 1, 0, 1, 1], [0, 1, 0, 1, 1, 1]], np.int64)
    yield Case("integer boxes", "yolo", _one(head.astype(np.float32), integers), plain)
    many = {f"predictions_{i}": random.normal(0, 1, (1, 1, 2, 2, 7)) for i in range(8)}
    yield Case("eight scales", "yolo", many | {"boxes": corners}, {"scales": [[(1.0, 1.0 + i / 4)] for i in range(8)]})
    yield Case("a weight", "yolo", half | {"sample_weight": f32(0.75)}, {"scales": _ANCHORS[:1]})
    yield Case("weight 0", "yolo", half | {"sample_weight": f32(0)}, {"scales": _ANCHORS[:1]},
               torch="an item of weight 0")
    yield Case("no images", "yolo", _one(np.zeros((0, 2, 2, 2, 7)), np.zeros((0, 6))), plain, torch="no item")


def cases():
    random = np.random.default_rng(19)
    yield from WORKED
    for make in (_range, _yolo):
        yield from make(random)
