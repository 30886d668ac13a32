"""Accuracy of the losses of a whole batch: one item a request, so thousands and not a million, with 100 digits."""
import numpy as np

from tests.losses import reference, reference_whole  # noqa: F401
from tests.losses.case import Case

_ANCHORS = {"scales": [[(1.25, 1.625), (2.0, 3.75)]]}


def _range(random, dtype):
    labels = random.integers(0, 3, 8)
    means = random.normal(0, 2, (3, 4))
    return Case("random", "range", {"embeddings": (means[labels] + random.normal(0, 1, (8, 4))).astype(dtype),
                                    "labels": labels}, {"margin": 8.0})


def _yolo(random, dtype):
    boxes = np.concatenate([random.integers(0, 2, (3, 1)), random.integers(0, 3, (3, 1)), random.uniform(0, 1, (3, 2)),
                            random.uniform(0.05, 1, (3, 2))], -1)
    return Case("random", "yolo", {"predictions_0": random.normal(0, 2, (2, 2, 2, 2, 8)).astype(dtype),
                                   "boxes": boxes.astype(dtype)}, _ANCHORS)


# How many batches stand for a million items, and how they are made.
BATCHES = {"range": (5000, _range), "yolo": (1000, _yolo)}


def errors(loss, dtype, batches, compute):
    """The error of each batch's item as a share of its largest term; compute(parameters, inputs) -> item."""
    random, found = np.random.default_rng(7), []
    for _ in range(batches):
        case = BATCHES[loss][1](random, dtype)
        right = reference.items(case)
        off = abs(float(compute(case.parameters, case.inputs)[0]) - right.values[0])
        found.append(float(off / max(abs(right.values[0]), right.measures[0])))
    return np.array(found)
