"""One small case of every loss, as a reader would try it: docs/catalogue.md shows them, run.

In the catalogue's order. A loss without one fails tests/e2e/test_catalogue_page.py.
"""
import numpy as np

from tests.losses.case import Case


def _f(*values):
    return np.array(values, np.float32)


def _i(*values):
    return np.array(values, np.int64)


_REGRESSION = {"predictions": _f(4, 2, 1), "targets": _f(1, 2, 3)}
_BINARY = {"logits": _f(2, -1, 0.5), "targets": _f(1, 0, 0)}
_SIGNS = _f(1, -1, 1)
_LOGITS = {"logits": _f([5, 1, 1, 1], [0, 2, -1, 0])}
_LABELS = {"labels": _i(0, 3)}
_PAIR = {"first": _f([1, 0], [1, 1]), "second": _f([1, 0.5], [0, 1])}
_CENTERED = {"embeddings": _f([1, 2], [3, 4], [0, 1]), "centers": _f([1, 1], [2, 4]), "labels": _i(0, 1, 0)}
_BOXES = {"predictions": _f([0, 0, 2, 2], [1, 1, 3, 4]), "targets": _f([1, 0, 3, 2], [1, 1, 3, 3])}
_MASK = {"probs": _f([0.9, 0.8, 0.1, 0.2], [0.5, 0.5, 0.5, 0.5]), "targets": _f([1, 1, 0, 0], [1, 0, 0, 0])}
_CLASSIFIED = {"embeddings": _f([1, 2], [2, -1]), "classifier": _f([1, 1], [1, -1], [-1, 0.5]), "labels": _i(0, 1)}

_EXAMPLES = (
    ("mse", _REGRESSION, {}),
    ("mae", _REGRESSION, {}),
    ("mean_bias", _REGRESSION, {}),
    ("smooth_l1", _REGRESSION, {"beta": 2.0}),
    ("huber", _REGRESSION, {"delta": 2.0}),
    ("log_cosh", _REGRESSION, {}),
    ("quantile", _REGRESSION, {"q": 0.9}),
    ("poisson_nll", {"predictions": _f(0.5, 1, -1), "targets": _f(2, 3, 0)}, {"full": True}),
    ("gaussian_nll", _REGRESSION | {"variance": _f(1, 0.5, 4)}, {}),
    ("binary_cross_entropy", _BINARY, {}),
    ("weighted_binary_cross_entropy", _BINARY, {"weight": 2.0, "unit": "BITS"}),
    ("balanced_binary_cross_entropy", _BINARY, {}),
    ("focal", _BINARY, {"alpha": 0.25, "gamma": 2.0}),
    ("hinge", {"predictions": _f(0.9, 0.1, 1), "targets": _SIGNS}, {}),
    ("soft_margin", {"predictions": _f(0.9, 0.1, 1), "targets": _SIGNS}, {}),
    ("hinge_embedding", {"distances": _f(0.2, 0.4, 1.5), "targets": _SIGNS}, {}),
    ("margin_ranking", {"first": _f(0.9, 0.1, 1), "second": _f(0.5, 0.3, 2), "targets": _SIGNS},
     {"margin": 0.1}),
    ("zero_one", _LOGITS | _LABELS, {}),
    ("cross_entropy", _LOGITS | _LABELS, {}),
    ("entropy", _LOGITS, {"unit": "BITS"}),
    ("kl_divergence", _LOGITS | {"target_probs": _f([0.7, 0.1, 0.1, 0.1], [0.25, 0.25, 0.25, 0.25])}, {}),
    ("multi_margin", _LOGITS | _LABELS, {"margin": 0.5}),
    ("multilabel_margin", _LOGITS | {"labels": _i([0, 2, -1, 0], [1, -1, 0, 0])}, {}),
    ("multilabel_soft_margin", _LOGITS | {"targets": _f([1, 0, 0, 0], [0, 1, 0, 1])}, {}),
    ("ctc", {"logits": _f([[2, 1, 0], [0, 3, 0], [1, 0, 2]]), "labels": _i([1, 2]), "input_lengths": _i(3),
             "label_lengths": _i(2)}, {}),
    ("dice", _MASK, {"smooth": 1.0}),
    ("jaccard", _MASK, {}),
    ("tversky", {"logits": _f([[2, -1, 0], [0, 1, -2]], [[0, 0, 1], [3, 0, -1]]), "labels": _i([0, 1, 0], [1, 1, 0])},
     {"alpha": 0.3, "beta": 0.7}),
    ("iou", _BOXES, {}),
    ("giou", _BOXES, {}),
    ("diou", _BOXES, {"format": "XYXY"}),
    ("ciou", {"predictions": _f([0.5, 0.5, 0.2, 0.4]), "targets": _f([0.45, 0.5, 0.3, 0.3])}, {"format": "CXCYWH"}),
    ("yolo", {"predictions_0": _f([[[[1, 0, 0.5, 0, 2, 1, -1], [0, 0, 0, 0, -2, 0, 0]]]]),
              "boxes": _f([0, 1, 0.2, 0.5, 0.4, 0.8])}, {"scales": [[(1.0, 1.0)]]}),
    ("cosine_embedding", _PAIR | {"targets": _f(1, -1)}, {"margin": 0.5}),
    ("contrastive", _PAIR | {"targets": _f(0, 1)}, {"margin": 2.0}),
    ("triplet", {"anchor": _f([0, 0], [0, 0]), "positive": _f([1, 0], [3, 4]), "negative": _f([0, 3], [0, 4])}, {}),
    *((loss, _CLASSIFIED, parameters) for loss, parameters in (
        ("softmax", {}), ("modified_softmax", {}), ("l_softmax", {"margin": 2}),
        ("a_softmax", {"margin": 2, "annealing": 5.0}), ("am_softmax", {}), ("cosface", {"margin": 0.2}),
        ("arcface", {"scale": 16.0, "margin": 0.3}), ("normface", {}), ("coco", {}), ("l2_softmax", {"alpha": 10.0}))),
    ("center", _CENTERED, {"want_center_update": True}),
    ("center_invariant", _CENTERED, {"center_weight": 0.5}),
    ("ring", {"embeddings": _f([3, 4], [0.6, 0.8])}, {"radius": 2.0}),
    ("range", {"embeddings": _f([0, 0], [0, 1], [3, 4], [3, 6]), "labels": _i(0, 0, 1, 1)}, {"margin": 40.0}),
)


def cases():
    for loss, inputs, parameters in _EXAMPLES:
        yield Case("example", loss, inputs, parameters)


def by_loss():
    return {case.loss: case for case in cases()}
