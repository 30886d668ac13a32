"""Accuracy definitions: losses over classes and distributions, an item a row."""
import numpy as np

from tests.accuracy.definition import ROW, WIDE, definition, distribution, log_softmax, pick

_CLASSES = 10
_ROWS = 50_000  # a request: two tensors of _CLASSES f64 a row


def _logits(random, n, dtype):
    scale = 10.0 ** random.uniform(-3, 1.5, (n, 1))
    return (random.normal(0, 1, (n, _CLASSES)) * scale).astype(dtype)


def _with_labels(prediction):
    def inputs(random, n, dtype):
        return prediction(random, n, dtype) | {"labels": random.integers(0, _CLASSES, n)}
    return inputs


def _of_logits(random, n, dtype):
    return {"logits": _logits(random, n, dtype)}


def _of_log_probs(random, n, dtype):
    return {"log_probs": np.log(distribution(random, (n, _CLASSES), dtype))}


def _of_probs(random, n, dtype):
    return {"probs": distribution(random, (n, _CLASSES), dtype)}


def _of_both(prediction):
    def inputs(random, n, dtype):
        return prediction(random, n, dtype) | {"target_probs": distribution(random, (n, _CLASSES), dtype)}
    return inputs


def _log_predictions(x):
    if "logits" in x:
        return log_softmax(x["logits"])
    return x["log_probs"] if "log_probs" in x else np.log(x["probs"])


def _total(terms):
    return terms.sum(-1), np.abs(terms).max(-1)


def _lead(x):
    """How much more a small loss of large logits may be off.

    Its shares are exp of differences of logits, which are large terms: neighbours in f32 are 1e-6 apart from 8 on.
    """
    return np.maximum(1, np.abs(x["logits"]).max(-1) / 8) if "logits" in x else 1


def _cross_entropy(x, p):
    log_p = _log_predictions(x)
    smoothing = p("label_smoothing", 0.0)
    if "labels" in x:
        targets = np.zeros(log_p.shape, WIDE)
        np.put_along_axis(targets, x["labels"][:, None], 1, -1)
        if not smoothing:
            value = -pick(log_p, x["labels"])
            return value, np.abs(value) * _lead(x)
    else:
        targets = x["target_probs"]
    value, measure = _total(-(targets * (1 - smoothing) + smoothing / _CLASSES) * log_p)
    return value, measure * _lead(x)


definition("zero_one", ROW, _with_labels(_of_logits), ({}, {"top_k": 3}), _ROWS)(
    lambda x, p: _wrong(x["logits"], x["labels"], p("top_k", 1)))


def _wrong(rows, labels, top_k):
    own = pick(rows, labels)[:, None]
    before = (rows > own) | ((rows == own) & (np.arange(_CLASSES) < labels[:, None]))
    return (before.sum(-1) >= top_k).astype(WIDE)


definition("cross_entropy", ROW, _with_labels(_of_logits), ({}, {"label_smoothing": 0.1}), _ROWS)(_cross_entropy)
definition("cross_entropy", ROW, _with_labels(_of_probs), ({},), _ROWS)(_cross_entropy)
definition("cross_entropy", ROW, _of_both(_of_logits), ({},), _ROWS)(_cross_entropy)


def _entropy(x, p):
    log_p = _log_predictions(x)
    value, measure = _total(-np.exp(log_p) * log_p)
    scale = 1 / np.log(WIDE(2)) if p("unit") == "BITS" else 1
    return value * scale, measure * scale * _lead(x)


for _prediction in (_of_logits, _of_log_probs, _of_probs):
    definition("entropy", ROW, _prediction, ({}, {"unit": "BITS"}), _ROWS)(_entropy)


def _kl(x, p):
    log_q, target = _log_predictions(x), x["target_probs"]
    own, cross = target * np.log(target), target * log_q
    return (own - cross).sum(-1), np.maximum(np.abs(own), np.abs(cross)).max(-1)


for _prediction in (_of_logits, _of_log_probs, _of_probs):
    definition("kl_divergence", ROW, _of_both(_prediction), ({},), _ROWS)(_kl)


def _class_focal(x, p):
    log_p, gamma = _log_predictions(x), p("gamma", 2.0)
    if "probs" in x:
        wrong = 1 - pick(x["probs"], x["labels"])
    else:
        shares = np.exp(log_p)
        np.put_along_axis(shares, x["labels"][:, None], 0, -1)
        wrong = shares.sum(-1)
    value = -(wrong ** gamma) * pick(log_p, x["labels"])
    return value, (1 + gamma) * np.abs(value) * _lead(x)


definition("focal", ROW, _with_labels(_of_logits), ({}, {"gamma": 0.5}), _ROWS)(_class_focal)
