"""Accuracy definitions: margins over classes, masks, boxes and sequences."""
import numpy as np

from tests.accuracy.definition import (ELEMENT, ROW, WIDE, definition, fractions, log_softmax, pick, sigmoid, softplus,
                                       unit, values)

_CLASSES = 7
_ROWS = 40_000


# --- margins over classes

def _class_weight(random, dtype):
    return random.uniform(0.2, 3, _CLASSES).astype(dtype)


def _multi_margin_inputs(random, n, dtype):
    return {"logits": values(random, (n, _CLASSES), dtype), "labels": random.integers(0, _CLASSES, n),
            "class_weight": _class_weight(random, dtype)}


@definition("multi_margin", ROW, _multi_margin_inputs, ({}, {"p": 2}, {"margin": 2.5}), _ROWS)
def _multi_margin(x, p):
    rows, margin, power = x["logits"], p("margin", 1.0), p("p", 1)
    own = pick(rows, x["labels"])[:, None]
    missing = np.maximum(0, margin - own + rows)
    np.put_along_axis(missing, x["labels"][:, None], 0, -1)
    weight = x["class_weight"][x["labels"]]
    terms = np.maximum(np.maximum(np.abs(own), np.abs(rows)), abs(margin)) * missing ** (power - 1)
    return weight * (missing ** power).sum(-1) / _CLASSES, weight * terms.max(-1)


def _multilabel_inputs(random, n, dtype):
    labels = np.argsort(random.random((n, _CLASSES)), axis=-1)
    labels[np.arange(_CLASSES) >= random.integers(0, _CLASSES + 1, (n, 1))] = -1
    return {"logits": values(random, (n, _CLASSES), dtype), "labels": labels}


@definition("multilabel_margin", ROW, _multilabel_inputs, batch=_ROWS)
def _multilabel_margin(x, p):
    rows, labels = x["logits"], x["labels"]
    mine = np.zeros((len(rows), _CLASSES + 1), bool)
    np.put_along_axis(mine, labels, True, -1)  # -1 is the column beyond
    mine = mine[:, :_CLASSES]
    missing = np.maximum(0, 1 - rows[:, :, None] + rows[:, None, :])
    missing[~(mine[:, :, None] & ~mine[:, None, :])] = 0
    return missing.sum((1, 2)) / _CLASSES, np.abs(rows).max(-1) + 1


def _multilabel_soft_inputs(random, n, dtype):
    return {"logits": values(random, (n, _CLASSES), dtype), "class_weight": _class_weight(random, dtype),
            "targets": fractions(random, n * _CLASSES, dtype).reshape(n, _CLASSES)}


@definition("multilabel_soft_margin", ROW, _multilabel_soft_inputs, batch=_ROWS)
def _multilabel_soft_margin(x, p):
    y, rows = x["targets"], x["logits"]
    return (x["class_weight"] * (y * softplus(-rows) + (1 - y) * softplus(rows))).mean(-1)


# --- masks

_POSITIONS = 24


def _mask_inputs(name):
    def inputs(random, n, dtype):
        shape = (n, _POSITIONS)
        given = unit(random, shape, dtype) if name == "probs" else np.clip(values(random, shape, dtype), -80, 80)
        targets = fractions(random, n * _POSITIONS, dtype).reshape(shape)
        targets[random.random(n) < 0.1] = 0
        return {name: given, "targets": targets}
    return inputs


def _class_mask_inputs(random, n, dtype):
    return {"logits": np.clip(values(random, (n, 3, _POSITIONS // 3), dtype), -80, 80),
            "labels": random.integers(0, 3, (n, _POSITIONS // 3))}


def _masks(x):
    """Predictions and targets, [N, classes, positions]."""
    if "labels" in x:
        shares = np.exp(log_softmax(np.moveaxis(x["logits"], 1, -1)))
        return np.moveaxis(shares, -1, 1), (x["labels"][:, None, :] == np.arange(3)[:, None]).astype(WIDE)
    prediction = sigmoid(x["logits"]) if "logits" in x else x["probs"]
    return prediction[:, None], x["targets"][:, None]


def _ratio(above, below):
    return np.where(below == 0, 1, above / np.where(below == 0, 1, below))


def _dice(x, p):
    prediction, target = _masks(x)
    power, smooth = (2 if p("squared", False) else 1), p("smooth", 0.0)
    below = (prediction ** power).sum(-1) + (target ** power).sum(-1)
    return 1 - _ratio(2 * (prediction * target).sum(-1) + smooth, below + smooth).mean(-1), WIDE(1)


def _jaccard(x, p):
    prediction, target = _masks(x)
    power, smooth = (2 if p("squared", False) else 1), p("smooth", 0.0)
    both = (prediction * target).sum(-1)
    union = (prediction ** power).sum(-1) + (target ** power).sum(-1) - both
    return 1 - _ratio(both + smooth, union + smooth).mean(-1), WIDE(1)


def _tversky(x, p):
    prediction, target = _masks(x)
    smooth, gamma = p("smooth", 0.0), p("gamma", 1.0)
    both = (prediction * target).sum(-1)
    below = (both + p("alpha", 0.5) * (prediction * (1 - target)).sum(-1) +
             p("beta", 0.5) * ((1 - prediction) * target).sum(-1))
    base = 1 - _ratio(both + smooth, below + smooth)
    return (base ** gamma).mean(-1), np.maximum(1, gamma * base ** (gamma - 1)).max(-1)


for _name in ("probs", "logits"):
    definition("dice", ROW, _mask_inputs(_name), ({}, {"smooth": 1.0, "squared": True}), _ROWS)(_dice)
    definition("jaccard", ROW, _mask_inputs(_name), ({}, {"smooth": 1.0, "squared": True}), _ROWS)(_jaccard)
    definition("tversky", ROW, _mask_inputs(_name), ({}, {"alpha": 0.3, "beta": 0.7, "gamma": 2.0}), _ROWS)(_tversky)
definition("dice", ROW, _class_mask_inputs, ({},), _ROWS)(_dice)
definition("jaccard", ROW, _class_mask_inputs, ({},), _ROWS)(_jaccard)
definition("tversky", ROW, _class_mask_inputs, ({},), _ROWS)(_tversky)


# --- boxes

def _box_inputs(random, n, dtype):
    """Apart, overlapping, within one another, almost the same."""
    def boxes():
        corner = random.uniform(0, 20, (n, 2))
        return np.concatenate([corner, corner + 10.0 ** random.uniform(-1, 1.5, (n, 2))], -1)
    first, second = boxes(), boxes()
    near = random.random(n) < 0.3
    second[near] = first[near] + random.normal(0, 0.01, (near.sum(), 4))
    second[:, 2:] = np.maximum(second[:, :2], second[:, 2:])
    return {"predictions": first.astype(dtype), "targets": second.astype(dtype)}


def _box_parts(x, eps):
    a, b = x["predictions"], x["targets"]
    size_a, size_b = a[:, 2:] - a[:, :2], b[:, 2:] - b[:, :2]
    inner = np.maximum(0, np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])).prod(-1)
    union = size_a.prod(-1) + size_b.prod(-1) - inner
    hull = np.maximum(a[:, 2:], b[:, 2:]) - np.minimum(a[:, :2], b[:, :2])
    centers = (a[:, 2:] + a[:, :2] - b[:, 2:] - b[:, :2]) / 2
    return inner / (union + eps), union, hull, (centers ** 2).sum(-1), size_a, size_b


_EPS = 1e-7


@definition("iou", ROW, _box_inputs)
def _iou(x, p):
    return 1 - _box_parts(x, p("eps", _EPS))[0], WIDE(1)


@definition("giou", ROW, _box_inputs)
def _giou(x, p):
    eps = p("eps", _EPS)
    iou, union, hull, _, _, _ = _box_parts(x, eps)
    return 1 - iou + (hull.prod(-1) - union) / (hull.prod(-1) + eps), WIDE(1)


def _diou(x, p):
    eps = p("eps", _EPS)
    iou, _, hull, distance, _, _ = _box_parts(x, eps)
    return 1 - iou + distance / ((hull ** 2).sum(-1) + eps)


@definition("diou", ROW, _box_inputs)
def _diou_item(x, p):
    return _diou(x, p), WIDE(1)


@definition("ciou", ROW, _box_inputs)
def _ciou(x, p):
    eps = p("eps", _EPS)
    iou, _, _, _, size_a, size_b = _box_parts(x, eps)
    slopes = np.arctan2(size_b[:, 0], size_b[:, 1]) - np.arctan2(size_a[:, 0], size_a[:, 1])
    v = 4 / (4 * np.arctan(WIDE(1))) ** 2 * slopes ** 2
    return _diou(x, p) + v * v / (1 - iou + v + eps), WIDE(1)


# --- sequences

_FRAMES, _SYMBOLS, _LABELS = 10, 5, 3


def _ctc_inputs(random, n, dtype):
    scale = 10.0 ** random.uniform(-1, 1, (n, 1, 1))
    return {"logits": (random.normal(0, 1, (n, _FRAMES, _SYMBOLS)) * scale).astype(dtype),
            "labels": random.integers(1, _SYMBOLS, (n, _LABELS)),
            "input_lengths": random.integers(2 * _LABELS, _FRAMES + 1, n),
            "label_lengths": random.integers(0, _LABELS + 1, n)}


def _log_add(a, b):
    top = np.maximum(a, b)
    safe = np.where(np.isinf(top), 0, top)
    return safe + np.log(np.exp(a - safe) + np.exp(b - safe))


@definition("ctc", ROW, _ctc_inputs, batch=20_000)
def _ctc(x, p):
    with np.errstate(divide="ignore"):
        return -_ctc_log_probability(x), WIDE(1)


def _ctc_log_probability(x):
    log_p, labels = log_softmax(x["logits"]), x["labels"]
    n, states = len(labels), 2 * _LABELS + 1
    path = np.zeros((n, states), np.int64)
    path[:, 1::2] = labels
    skips = np.zeros((n, states), bool)
    skips[:, 3::2] = labels[:, 1:] != labels[:, :-1]
    alpha = np.full((n, states), -np.inf, WIDE)
    alpha[:, :2] = np.take_along_axis(log_p[:, 0], path[:, :2], -1)
    for t in range(1, _FRAMES):
        come = alpha.copy()
        come[:, 1:] = _log_add(come[:, 1:], alpha[:, :-1])
        come[:, 2:] = np.where(skips[:, 2:], _log_add(come[:, 2:], alpha[:, :-2]), come[:, 2:])
        come += np.take_along_axis(log_p[:, t], path, -1)
        alpha = np.where((t < x["input_lengths"])[:, None], come, alpha)
    last = 2 * x["label_lengths"]
    before = np.where(last > 0, pick(alpha, np.maximum(last - 1, 0)), -np.inf)
    return _log_add(pick(alpha, last), before)


# --- distances given, not made

def _distance_inputs(random, n, dtype):
    return {"distances": np.abs(values(random, n, dtype)), "targets": random.integers(0, 2, n).astype(dtype)}


@definition("contrastive", ELEMENT, _distance_inputs, ({}, {"margin": 2.7}))
def _contrastive(x, p):
    missing = np.maximum(0, p("margin", 1.0) - x["distances"])
    similar = x["targets"] == 0
    return (np.where(similar, x["distances"], missing) ** 2 / 2,
            np.where(similar, 0, missing * np.maximum(p("margin", 1.0), x["distances"])))
