"""References of the losses of masks: dice, jaccard, tversky; an item a sample."""
import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference, sigmoid
from tests.losses.reference_rows import log_softmax


def _binary_positions(inputs, sample, ignored):
    """One class: its (p, 1 - p, g), the two sides each with all digits."""
    targets = numbers(inputs["targets"][sample])
    if "logits" in inputs:
        sides = [(sigmoid(x), sigmoid(-x)) for x in numbers(inputs["logits"][sample])]
    else:
        sides = [(p, 1 - p) for p in numbers(inputs["probs"][sample])]
    return [[(p, q, g) for (p, q), g, skip in zip(sides, targets, ignored) if not skip]]


def _softmax_sides(row):
    """(p, 1 - p) of the classes."""
    p = [mp.exp(x) for x in log_softmax(row)]
    return [(x, sum(p[:c] + p[c + 1:], mpf(0)) if not mp.isnan(x) else mp.nan) for c, x in enumerate(p)]


def _class_positions(inputs, sample, ignored):
    """Of every class its (p, 1 - p, g)."""
    array = inputs["logits" if "logits" in inputs else "probs"][sample]
    rows = np.moveaxis(array, 0, -1).reshape(-1, array.shape[0])
    classes = [[] for _ in range(array.shape[0])]
    for row, label, skip in zip(rows, inputs["labels"][sample].ravel(), ignored):
        if skip:
            continue
        row = numbers(row)
        sides = _softmax_sides(row) if "logits" in inputs else [(p, 1 - p) for p in row]
        for c, (p, q) in enumerate(sides):
            classes[c].append((p, q, mpf(int(c == label))))
    return classes


def _samples(inputs, parameters):
    """The positions of the classes of every sample, without those that are ignored."""
    wanted = inputs["labels"] if "labels" in inputs else inputs["targets"]
    ignore = parameters("ignore_index")
    read = _class_positions if "labels" in inputs else _binary_positions
    for sample in range(wanted.shape[0]):
        flat = wanted[sample].ravel()
        ignored = np.zeros(flat.shape, bool) if ignore is None else flat == float(ignore)
        yield read(inputs, sample, ignored)


def _ratio(part, whole):
    if mp.isnan(part) or mp.isnan(whole):
        return mp.nan
    return mpf(0) if part == 0 and whole == 0 else part / whole


def _sum(terms):
    return sum(terms, mpf(0))


def _overlap(positions, parameters, shared):
    """1 - ratio, and the same of the terms' magnitudes."""
    both = _sum(p * g for p, _, g in positions)
    smooth = parameters("smooth", 0.0)
    if not parameters("squared", False):
        apart = _sum(p * (1 - g) + q * g for p, q, g in positions)
        return (_ratio(apart, apart + shared * both + smooth),) * 2
    apart = _sum((p * (1 - g) - q * g) ** 2 for p, q, g in positions)
    # p - g cancels where both are soft.
    magnitude = _sum((p * (1 - g)) ** 2 + (q * g) ** 2 for p, q, g in positions)
    whole = apart + shared * both + smooth
    return _ratio(apart, whole), 2 * abs(_ratio(magnitude, whole))


def _tversky(positions, parameters):
    both = _sum(p * g for p, _, g in positions)
    missed = (parameters("alpha", 0.5) * _sum(p * (1 - g) for p, _, g in positions) +
              parameters("beta", 0.5) * _sum(q * g for _, q, g in positions))
    ratio = _ratio(missed, both + missed + parameters("smooth", 0.0))
    gamma = parameters("gamma", 1.0)
    if mp.isnan(ratio):
        return mp.nan, mpf(0)
    loss = ratio ** gamma
    return loss, max(gamma, 1) * loss


_LOSSES = {
    "dice": lambda positions, parameters: _overlap(positions, parameters, 2),
    "jaccard": lambda positions, parameters: _overlap(positions, parameters, 1),
    "tversky": _tversky,
}


def _items(loss):
    def items(inputs, parameters, dtype):
        values, measures = [], []
        for classes in _samples(inputs, parameters):
            found = [loss(positions, parameters) for positions in classes]
            values.append(_sum(value for value, _ in found) / len(found))
            measures.append(_sum(measure for _, measure in found) / len(found))
        return Items(values, measures, (len(values),), row=True)
    return items


for _name, _loss in _LOSSES.items():
    reference(_name)(_items(_loss))
