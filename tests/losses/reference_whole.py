"""References of the losses of a whole batch, from the definitions, in 100 digits."""
import itertools

import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference, sigmoid, softplus, zero_times

_EPS = mpf(1e-7)


def _item(terms, samples):
    """The one item; a measure is its largest term."""
    if samples == 0:
        return Items([], [], (0,), row=True)
    measure = max(abs(term) for term in terms)
    return Items([sum(terms)], [measure], (1,), row=True)


def _rows(array):
    return [numbers(row) for row in array]


def _squared_distance(a, b):
    return mp.fsum((x - y) ** 2 for x, y in zip(a, b))


def _harmonic_mean(distances):
    if not distances:
        return mpf(0)
    if min(distances) == 0:
        return mpf(0)
    return len(distances) / mp.fsum(1 / d for d in distances)


@reference("range")
def range_loss(inputs, parameters, dtype):
    rows, labels = _rows(inputs["embeddings"]), inputs["labels"]
    if not rows:
        return _item([], 0)
    classes = [[rows[i] for i in np.flatnonzero(labels == label)] for label in np.unique(labels)]
    spread, k = mpf(0), int(parameters("k", 2))
    for members in classes:
        distances = [_squared_distance(a, b) for a, b in itertools.combinations(members, 2)]
        if any(mp.isnan(d) for d in distances):
            return _item([mp.nan], 1)
        spread += _harmonic_mean(sorted(distances, reverse=True)[:k])
    terms = [parameters("alpha", 1.0) * spread]
    if len(classes) > 1:
        means = [[mp.fsum(column) / len(members) for column in zip(*members)] for members in classes]
        gaps = [_squared_distance(a, b) for a, b in itertools.combinations(means, 2)]
        closest = mp.nan if any(mp.isnan(gap) for gap in gaps) else min(gaps)
        beta, margin = parameters("beta", 1.0), parameters("margin", 1.0)
        if mp.isnan(closest) or closest < margin:
            terms += [beta * margin, -beta * closest]
    return _item(terms, 1)


class _Head:
    def __init__(self, array, anchors):
        self.array, self.anchors = array, [tuple(mpf(float(x)) for x in anchor) for anchor in anchors]
        self.images, _, self.height, self.width, channels = array.shape
        self.classes = channels - 5

    def size(self, box):
        return box[4] * self.width, box[5] * self.height


def _ratio(size, anchor):
    return max(max(a / b, b / a) for a, b in zip(size, anchor))


def _shape_iou(size, anchor):
    both = min(size[0], anchor[0]) * min(size[1], anchor[1])
    return both / (size[0] * size[1] + anchor[0] * anchor[1] - both)


def _pairs(heads, boxes, parameters):
    """(head, place of the prediction in it, anchor, box relative to the cell in grid units, class)."""
    for box in boxes:
        chosen = [(h, a) for h, head in enumerate(heads) for a, _ in enumerate(head.anchors)]
        if parameters("assignment", "ANCHOR_RATIO") == "BEST_IOU":
            overlaps = [_shape_iou(heads[h].size(box), heads[h].anchors[a]) for h, a in chosen]
            chosen = [chosen[overlaps.index(max(overlaps))]]
        else:
            threshold = parameters("anchor_threshold", 4.0)
            chosen = [(h, a) for h, a in chosen if _ratio(heads[h].size(box), heads[h].anchors[a]) < threshold]
        for h, a in chosen:
            head = heads[h]
            x, y = box[2] * head.width, box[3] * head.height
            column, row = min(int(x), head.width - 1), min(int(y), head.height - 1)
            yield (h, (int(box[0]), a, row, column), head.anchors[a], (x - column, y - row, *head.size(box)),
                   int(box[1]))


def _decode(prediction, anchor):
    tx, ty, tw, th = numbers(prediction[:4])
    return sigmoid(tx), sigmoid(ty), anchor[0] * mp.exp(tw), anchor[1] * mp.exp(th)


def _compare(p, t):
    """(IoU, ciou) of two boxes given by center and size."""
    low = [(p[i] - p[i + 2] / 2, t[i] - t[i + 2] / 2) for i in (0, 1)]
    high = [(p[i] + p[i + 2] / 2, t[i] + t[i + 2] / 2) for i in (0, 1)]
    sides = [max(mpf(0), min(h) - max(l)) for l, h in zip(low, high)]
    both = sides[0] * sides[1]
    iou = both / (p[2] * p[3] + t[2] * t[3] - both + _EPS)
    diagonal = sum((max(h) - min(l)) ** 2 for l, h in zip(low, high)) + _EPS
    distance = (p[0] - t[0]) ** 2 + (p[1] - t[1]) ** 2
    v = 4 / mp.pi ** 2 * (mp.atan(t[2] / t[3]) - mp.atan(p[2] / p[3])) ** 2
    return iou, 1 - iou + distance / diagonal + v * v / (1 - iou + v + _EPS)


def _bce(x, t):
    return zero_times(t, softplus(-x)) + zero_times(1 - t, softplus(x))


@reference("yolo")
def yolo(inputs, parameters, dtype):
    heads = [_Head(inputs[f"predictions_{i}"], anchors) for i, anchors in enumerate(parameters("scales"))]
    if heads[0].images == 0:
        return _item([], 0)
    located, classified, targets = [], [], {}
    for h, place, anchor, target, label in _pairs(heads, _rows(inputs["boxes"]), parameters):
        prediction = heads[h].array[place]
        found = _decode(prediction, anchor)
        iou, ciou = _compare(found, target)
        if parameters("localization", "CIOU") == "MSE":
            located.append(mp.fsum((a - b) ** 2 for a, b in zip(found, target)) / 4)
        else:
            located.append(ciou)
        targets[h, place] = max(iou, targets.get((h, place), mpf(0)))
        classified += [_bce(x, mpf(int(k == label))) for k, x in enumerate(numbers(prediction[5:]))]
    cells = []
    for h, head in enumerate(heads):
        for place in np.ndindex(head.array.shape[:4]):
            x = mpf(float(head.array[place][4]))
            if (h, place) in targets:
                cells.append(_bce(x, targets[h, place]))
            else:
                cells.append(zero_times(parameters("no_object_weight", 1.0), _bce(x, mpf(0))))
    means = [mp.fsum(values) / len(values) if values else mpf(0)
             for values in (located, cells, classified if heads[0].classes > 1 else [])]
    weights = (parameters("box_weight", 0.05), parameters("objectness_weight", 1.0),
               parameters("classification_weight", 0.5))
    return _item([zero_times(weight, mean) for weight, mean in zip(weights, means)], 1)
