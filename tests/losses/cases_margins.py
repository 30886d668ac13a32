"""Cases of the margin losses over classes: multi_margin, multilabel_margin, multilabel_soft_margin."""
import numpy as np

from tests.losses.case import Case, f32, wide
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_CLASSES = (1, 2, 3, 10, 31, 32, 33, 100)
_INF = np.inf

WORKED = [
    # PyTorch's own documentation of multilabel_margin: 0.25 ((1 - (0.1 - 0.2)) + (1 - (0.1 - 0.4)) + ...).
    Case("worked number", "multilabel_margin",
         {"logits": f32(0.1, 0.2, 0.4, 0.8)[None], "labels": np.array([[3, 0, -1, 1]])}, mean=0.85),
    Case("worked number", "multi_margin", {"logits": f32(0.1, 0.2, 0.4, 0.8)[None], "labels": np.array([3])},
         mean=0.325),
]


def _multi_margin(random):
    for c in _CLASSES:
        for dtype, suffix in _FLOATS:
            inputs = {"logits": random.normal(0, 2, (5, c)).astype(dtype), "labels": random.integers(0, c, 5)}
            weight = {"class_weight": random.uniform(-1, 3, c).astype(dtype)}
            for parameters in ({}, {"p": 2}, {"margin": 0.3}, {"p": 2, "margin": -0.5}):
                yield Case(f"{suffix}, C {c}, {parameters}", "multi_margin", inputs, parameters)
            yield Case(f"{suffix}, C {c}, class_weight", "multi_margin", inputs | weight)
            yield Case(f"{suffix}, C {c}, class_weight, squared", "multi_margin", inputs | weight, {"p": 2})
    for c in (4097, 8200):
        yield Case(f"C {c}", "multi_margin", {"logits": random.normal(0, 1, (2, c)).astype(np.float32),
                                              "labels": np.array([0, c - 1])}, {"p": 2, "margin": 1.5})
    ties = f32(1, 1, 1, 0, 1, 2, 2, 1, 0, -1, -1, 0).reshape(4, 3)
    for label in range(3):
        for margin in (0.0, 1.0, -1.0, 2.0):
            for p in (1, 2):
                yield Case(f"ties and kinks, label {label}, margin {margin}, p {p}", "multi_margin",
                           {"logits": ties, "labels": np.full(4, label)}, {"margin": margin, "p": p})
    yield Case("a class of weight 0", "multi_margin",
               {"logits": ties, "labels": np.array([0, 1, 2, 0]), "class_weight": f32(0, 1, 2)})
    near = (1e6 + random.normal(0, 1, (4, 5))).astype(np.float32)
    yield Case("large logits, near each other", "multi_margin", {"logits": near, "labels": np.array([0, 1, 2, 3])})
    apart = f32(1e4, 0, -1e4, 3e38, -3e38, 0, -3e38, 3e38, 1e38, 1e30, 1e-30, -1e30).reshape(4, 3)
    for p in (1, 2):
        for label in range(3):
            yield Case(f"far apart, label {label}, p {p}", "multi_margin",
                       {"logits": apart, "labels": np.full(4, label)}, {"p": p})
    yield Case("sums beyond f32", "multi_margin",
               {"logits": np.tile(f32(0, 3e19), (2, 20)), "labels": np.array([0, 1]),
                "class_weight": np.full(40, 1e-4, np.float32)}, {"p": 2}, torch="cancels and overflows")
    infinite = f32(_INF, 0, 1, -_INF, 0, 1, 0, _INF, 1).reshape(3, 3)
    for label in (0, 2):
        yield Case(f"infinite logits, label {label}", "multi_margin",
                   {"logits": infinite, "labels": np.full(3, label)})
    yield Case("NaN, and infinities of one sign", "multi_margin",
               {"logits": f32(np.nan, 0, 1, 0, np.nan, 1, _INF, _INF, 0, -_INF, -_INF, 0).reshape(4, 3),
                "labels": np.zeros(4, np.int64)}, torch="takes NaN for a class that keeps its distance")
    yield Case("weight 0 masks NaN", "multi_margin",
               {"logits": f32(np.nan, 0, 1, 0).reshape(2, 2), "labels": np.array([0, 1]), "sample_weight": f32(0, 2)})
    yield Case("weighted", "multi_margin", {"logits": ties, "labels": np.array([0, 1, 2, 0]),
                                            "sample_weight": f32(0.5, 0, 2, 1)})
    yield Case("f16", "multi_margin", {"logits": ties.astype(np.float16), "labels": np.array([0, 1, 2, 0], np.uint8)})
    yield Case("bf16", "multi_margin", {"logits": Bfloat16.rounded(ties), "labels": np.array([0, 1, 2, 0], np.int32)})
    yield Case("empty batch", "multi_margin", {"logits": np.zeros((0, 3), np.float32), "labels": np.zeros(0, np.int64)},
               torch="a mean of nothing")


def _label_lists(random, n, c):
    """Rows of distinct labels, each up to a -1; behind it anything that PyTorch lets pass."""
    rows = np.stack([random.permutation(c) for _ in range(n)])
    ends = random.integers(0, c + 1, n)
    for row, end in zip(rows, ends):
        row[end:end + 1] = -1
    return rows


def _multilabel_margin(random):
    for c in _CLASSES:
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, C {c}", "multilabel_margin",
                       {"logits": random.normal(0, 2, (6, c)).astype(dtype), "labels": _label_lists(random, 6, c)})
    many = _label_lists(random, 2, 1000)
    many[:, 40] = -1
    yield Case("C 1000", "multilabel_margin",
               {"logits": random.normal(0, 1, (2, 1000)).astype(np.float32), "labels": many})
    yield Case("C 300, half of them labels", "multilabel_margin",
               {"logits": random.normal(0, 1, (1, 300)).astype(np.float32),
                "labels": np.where(np.arange(300) < 150, random.permutation(300), -1)[None]})
    few = np.where(np.arange(4100) < 3, 4099 - np.arange(4100), -1)
    yield Case("C 4100", "multilabel_margin",
               {"logits": random.normal(0, 1, (1, 4100)).astype(np.float32), "labels": few[None]})
    ties = f32(1, 1, 1, 0, 1, 2, 2, 1, 0, -1, -1, 0).reshape(4, 3)
    for labels in ((-1, 0, 1), (0, -1, 0), (0, 1, -1), (2, 0, 1), (1, 1, -1), (0, 0, 0), (2, -1, -1)):
        yield Case(f"ties and kinks, labels {labels}", "multilabel_margin",
                   {"logits": ties, "labels": np.tile(labels, (4, 1))})
    yield Case("what follows -1 is not read", "multilabel_margin",
               {"logits": ties, "labels": np.tile((1, -1, 99), (4, 1))}, torch="reads all labels")
    apart = f32(1e4, 0, -1e4, 3e38, -3e38, 0, -3e38, 3e38, 1e38, 1e30, 1e-30, -1e30).reshape(4, 3)
    for labels in ((0, -1, 0), (1, 2, -1)):
        yield Case(f"far apart, labels {labels}", "multilabel_margin",
                   {"logits": apart, "labels": np.tile(labels, (4, 1))})
    yield Case("large logits, near each other", "multilabel_margin",
               {"logits": (1e6 + random.normal(0, 1, (4, 5))).astype(np.float32), "labels": _label_lists(random, 4, 5)})
    yield Case("NaN and infinities", "multilabel_margin",
               {"logits": f32(np.nan, 0, 1, 0, np.nan, 1, _INF, _INF, 0, -_INF, _INF, 0, 0, 1, np.nan).reshape(5, 3),
                "labels": np.tile((0, -1, -1), (5, 1))}, torch="takes NaN for a class that keeps its distance")
    yield Case("infinite", "multilabel_margin", {"logits": f32(-_INF, 0, 1, _INF, 0, 1).reshape(2, 3),
                                                 "labels": np.tile((0, -1, -1), (2, 1))})
    yield Case("weight 0 masks labels out of range", "multilabel_margin",
               {"logits": ties, "labels": np.array([[0, -1, 0], [7, 1, 2], [1, 2, -1], [-1, 0, 0]]),
                "sample_weight": f32(2, 0, 0.5, 1)}, torch="refuses the labels")
    yield Case("bytes hold no -1", "multilabel_margin",
               {"logits": ties, "labels": np.tile((2, 1, 2), (4, 1)).astype(np.uint8)})
    yield Case("f16", "multilabel_margin", {"logits": ties.astype(np.float16),
                                            "labels": np.tile((2, 1, -1), (4, 1)).astype(np.int32)})
    yield Case("bf16", "multilabel_margin", {"logits": Bfloat16.rounded(ties), "labels": np.tile((2, 1, -1), (4, 1))})
    yield Case("empty batch", "multilabel_margin",
               {"logits": np.zeros((0, 3), np.float32), "labels": np.zeros((0, 3), np.int64)},
               torch="a mean of nothing")


def _multilabel_soft_margin(random):
    for c in _CLASSES + (4097,):
        for dtype, suffix in _FLOATS:
            n = 5 if c < 1000 else 1
            inputs = {"logits": random.normal(0, 3, (n, c)).astype(dtype),
                      "targets": random.integers(0, 2, (n, c)).astype(dtype)}
            yield Case(f"{suffix}, C {c}", "multilabel_soft_margin", inputs)
            weight = {"class_weight": random.uniform(-1, 3, c).astype(dtype)}
            yield Case(f"{suffix}, C {c}, class_weight", "multilabel_soft_margin", inputs | weight)
    logits = wide(random, (20, 7), np.float32, -30, 38)
    soft = random.choice([0, 1, 0.5, 0.1, 0.999], logits.shape)
    yield Case("68 decades, soft targets", "multilabel_soft_margin",
               {"logits": logits, "targets": soft.astype(np.float32)})
    yield Case("infinite logits", "multilabel_soft_margin",
               {"logits": f32(_INF, -_INF, 0, 1).reshape(2, 2), "targets": f32(1, 0, 0, 1).reshape(2, 2)},
               torch="0 * log 0 is 0")
    yield Case("infinitely wrong", "multilabel_soft_margin",
               {"logits": f32(_INF, -_INF, 0, 1).reshape(2, 2), "targets": f32(0, 1, 0, 1).reshape(2, 2)},
               torch="0 * log 0 is 0")
    yield Case("NaN", "multilabel_soft_margin",
               {"logits": f32(np.nan, 0, 0, 1).reshape(2, 2), "targets": f32(0, 1, np.nan, 1).reshape(2, 2)})
    yield Case("sums beyond f32", "multilabel_soft_margin",
               {"logits": np.full((1, 8), 3e38, np.float32), "targets": np.zeros((1, 8), np.float32)})
    yield Case("a class of weight 0 masks NaN", "multilabel_soft_margin",
               {"logits": f32(np.nan, 0, 3, 1).reshape(2, 2), "targets": f32(0, 1, 1, 1).reshape(2, 2),
                "class_weight": f32(0, 2)}, torch="0 * NaN is NaN")
    for kind in (np.uint8, np.int64, np.bool_):
        yield Case(f"targets of {np.dtype(kind)}", "multilabel_soft_margin",
                   {"logits": f32(1, 2, 3, 4).reshape(2, 2), "targets": np.array([[0, 1], [1, 1]], kind)})
    yield Case("weighted", "multilabel_soft_margin",
               {"logits": f32(1, 2, 3, np.nan).reshape(2, 2), "targets": f32(0, 1, 1, 1).reshape(2, 2),
                "sample_weight": f32(3, 0)})
    yield Case("f16", "multilabel_soft_margin", {"logits": f32(1, -2, 3, 0.5).reshape(2, 2).astype(np.float16),
                                                 "targets": f32(0, 1, 1, 1).reshape(2, 2).astype(np.float16)})
    yield Case("bf16", "multilabel_soft_margin", {"logits": Bfloat16.rounded(f32(1, -2, 3, 0.5).reshape(2, 2)),
                                                  "targets": Bfloat16.rounded(f32(0, 1, 1, 1).reshape(2, 2))})
    yield Case("empty batch", "multilabel_soft_margin",
               {"logits": np.zeros((0, 3), np.float32), "targets": np.zeros((0, 3), np.float32)},
               torch="a mean of nothing")


def cases():
    random = np.random.default_rng(54)
    yield from WORKED
    for make in (_multi_margin, _multilabel_margin, _multilabel_soft_margin):
        yield from make(random)
