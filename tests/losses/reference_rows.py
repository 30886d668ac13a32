"""References of the losses over classes: cross_entropy, focal, zero_one, entropy, kl_divergence."""
import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import Items, log, numbers, reference, zero_times
from tests.losses.reference_elements import binary_focal

IGNORE_INDEX = -100


def log_softmax(row):
    """log p of one row of logits: NaN where a logit is NaN or +inf, or all are -inf."""
    peak = mp.ninf
    for i, x in enumerate(row):
        if mp.isnan(x) or x == mp.inf:
            return [mp.nan] * len(row)
        if x > peak:
            peak, place = x, i
    if peak == mp.ninf:
        return [mp.nan] * len(row)
    rest = sum(mp.exp(x - peak) for i, x in enumerate(row) if i != place)
    log_sum = mp.log1p(rest)
    return [x - peak - log_sum for x in row]


def _classes_last(array):
    """[N,C,...] as rows [positions, C], and the shape of the positions."""
    moved = np.moveaxis(array, 1, -1)
    return moved.reshape(-1, array.shape[1]), moved.shape[:-1]


def _log_predictions(inputs):
    """Rows of log p from logits, log_probs or probs, and the shape of the positions."""
    for name, convert in (("logits", log_softmax), ("log_probs", list),
                          ("probs", lambda row: [log(p) for p in row])):
        if name in inputs:
            rows, shape = _classes_last(inputs[name])
            return (convert(numbers(row)) for row in rows), shape
    raise KeyError("no prediction")


def _total(terms):
    """Sum and the largest term."""
    if any(mp.isnan(term) for term in terms):
        return mp.nan, mpf(0)
    return sum(terms, mpf(0)), max((abs(term) for term in terms), default=mpf(0))


def _items(found, shape, **fields):
    found = list(found)
    return Items([v for v, _ in found], [m for _, m in found], shape, row=True, **fields)


@reference("cross_entropy")
def cross_entropy(inputs, parameters, dtype):
    rows, shape = _log_predictions(inputs)
    smoothing = parameters("label_smoothing", 0.0)
    if "target_probs" in inputs:
        return _soft_cross_entropy(inputs, rows, shape, smoothing)
    labels = inputs["labels"].ravel()
    ignored = labels == int(parameters("ignore_index", float(IGNORE_INDEX)))

    def item(row, label):
        weights = numbers(inputs["class_weight"]) if "class_weight" in inputs else [mpf(1)] * len(row)
        terms = [(1 - smoothing) * weights[label] * -row[label]]
        if smoothing:
            terms += [zero_times(w * smoothing / len(row), -x) for w, x in zip(weights, row)]
        return _total(terms)
    found = [(mpf(0), mpf(0)) if skip else item(row, label)
             for row, label, skip in zip(rows, labels, ignored)]
    denominators = np.ones(shape)
    if "class_weight" in inputs:
        denominators = inputs["class_weight"].astype(np.float64)[np.where(ignored, 0, labels)].reshape(shape)
    return _items(found, shape, ignored=ignored.reshape(shape), denominators=denominators)


def _soft_cross_entropy(inputs, rows, shape, smoothing):
    targets, _ = _classes_last(inputs["target_probs"])

    def item(row, target):
        weights = numbers(inputs["class_weight"]) if "class_weight" in inputs else [mpf(1)] * len(row)
        mixed = [t * (1 - smoothing) + smoothing / len(row) for t in numbers(target)]
        return _total([zero_times(w * t, -x) for w, t, x in zip(weights, mixed, row)])
    return _items((item(row, target) for row, target in zip(rows, targets)), shape)


@reference("focal")
def focal(inputs, parameters, dtype):
    if "labels" not in inputs:
        return binary_focal(inputs, parameters)
    rows, shape = _log_predictions(inputs)
    gamma = parameters("gamma", 2.0)

    def item(row, label):
        weight = numbers(inputs["class_weight"])[label] if "class_weight" in inputs else mpf(1)
        wrong = sum(mp.exp(x) for i, x in enumerate(row) if i != label)
        if "probs" in inputs:  # taken as given, not as a distribution
            wrong = 1 - mp.exp(row[label])
        factor = weight * (wrong ** gamma if gamma else mpf(1))
        value = zero_times(factor, -row[label])
        return value, (1 + gamma) * abs(value)
    return _items((item(row, label) for row, label in zip(rows, inputs["labels"])), shape)


@reference("zero_one")
def zero_one(inputs, parameters, dtype):
    if "labels" not in inputs:
        name, threshold = next((n, t) for n, t in (("logits", 0.0), ("probs", 0.5), ("predictions", None))
                               if n in inputs)
        predictions, targets = inputs[name], inputs["targets"]
        predicted = predictions if threshold is None else predictions > threshold
        wrong = (predicted != targets).astype(float)
        wrong[np.isnan(predictions) | np.isnan(targets)] = np.nan
        return Items(numbers(wrong), [mpf(0)] * wrong.size, targets.shape, row=False)
    rows = inputs["logits"] if "logits" in inputs else inputs["probs"]
    labels, top_k = inputs["labels"], int(parameters("top_k", 1.0))
    ignored = labels == int(parameters("ignore_index", float(IGNORE_INDEX)))

    def item(row, label):
        if np.isnan(row).any():  # no order
            return mp.nan, mpf(0)
        before = sum(1 for i, x in enumerate(row) if x > row[label] or (x == row[label] and i < label))
        return mpf(int(before >= top_k)), mpf(0)
    return _items(((mpf(0), mpf(0)) if skip else item(row, label)
                   for row, label, skip in zip(rows, labels, ignored)), labels.shape, ignored=ignored)


@reference("entropy")
def entropy(inputs, parameters, dtype):
    rows, shape = _log_predictions(inputs)
    return _items((_total([-zero_times(mp.exp(x), x) for x in row]) for row in rows), shape)


@reference("kl_divergence")
def kl_divergence(inputs, parameters, dtype):
    rows, shape = _log_predictions(inputs)
    if "target_probs" in inputs:
        targets, _ = _classes_last(inputs["target_probs"])
        targets = ([(p, log(p)) for p in numbers(row)] for row in targets)
    else:
        targets, _ = _classes_last(inputs["target_log_probs"])
        targets = ([(mp.exp(x), x) for x in numbers(row)] for row in targets)

    def elements(row, target):
        for log_q, (p, log_p) in zip(row, target):
            own, cross = zero_times(p, log_p), zero_times(p, log_q)
            value = mp.inf if cross == mp.ninf and not mp.isnan(own) else own - cross
            yield value, max(abs(own), abs(cross)) if not mp.isinf(cross) else abs(own)
    found = [list(elements(row, target)) for row, target in zip(rows, targets)]
    if not parameters("pointwise", False):
        return _items(((_total([v for v, _ in row])[0], max((m for _, m in row), default=mpf(0)))
                       for row in found), shape)
    name = next(n for n in ("logits", "log_probs", "probs") if n in inputs)
    order = np.moveaxis(np.arange(inputs[name].size).reshape(np.moveaxis(inputs[name], 1, -1).shape), -1, 1)
    flat = [element for row in found for element in row]
    return _items((flat[i] for i in order.ravel()), inputs[name].shape)
