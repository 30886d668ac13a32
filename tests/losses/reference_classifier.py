"""References of the classifier losses: all logits at once, angles by their definition.

An item is within 1e-5 (f32; 1e-13 in f64) of max(|loss|, scale), the scale of the logits: s for cosines, the largest
|x| |W_j| else. A row's tolerance is a tenth of that, so the measure is ten times it.
"""
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference

_MEASURE = 10


def _norm(x):
    return mp.sqrt(mp.fdot(x, x))


def _ratio(a, b):
    """0 for a zero vector: its cosines are 0."""
    return a / b if b != 0 else mpf(0)


def _cosine(parameters, x, w):
    return max(mpf(-1), min(mpf(1), _ratio(mp.fdot(x, w), _norm(x) * _norm(w))))


def _minus_margin(default):
    return lambda parameters, x, w: _cosine(parameters, x, w) - parameters("margin", default)


def _of_sum(parameters, x, w):
    cosine, margin = _cosine(parameters, x, w), parameters("margin", 0.5)
    if parameters("easy_margin", False) and cosine <= 0:
        return cosine
    return mp.cos(mp.acos(cosine) + margin)


def _multiple(parameters, x, w):
    """psi(t) = (-1)^k cos(m t) - 2 k, k the piece of [0, pi] that t is in, annealed."""
    m, annealing, cosine = int(parameters("margin", 4)), parameters("annealing", 0.0), _cosine(parameters, x, w)
    angle = mp.acos(cosine)
    k = min(int(mp.floor(m * angle / mp.pi)), m - 1)
    psi = (-1) ** k * mp.cos(m * angle) - 2 * k
    return (annealing * cosine + psi) / (1 + annealing)


def _finite(row):
    return all(mp.isfinite(number) for number in row)


def _item(logits, label):
    """-log softmax: infinite at a true class of -inf, NaN without a softmax."""
    own = logits[label]
    if any(mp.isnan(logit) or logit == mp.inf for logit in logits) or all(logit == -mp.inf for logit in logits):
        return mp.nan
    if own == -mp.inf:
        return mp.inf
    return mp.log1p(mp.fsum(mp.exp(logit - own) for j, logit in enumerate(logits) if j != label))


def _register(name, target=_cosine, unit_x=False, unit_w=False, scale=None):
    """`target` gives what stands for the cosine of the true class; `scale` is (parameter, default)."""
    @reference(name)
    def compute(inputs, parameters, dtype):
        table = [numbers(row) for row in inputs["classifier"]]
        norms = [mpf(1) if unit_w else _norm(w) for w in table]
        bias = numbers(inputs["bias"]) if "bias" in inputs else [mpf(0)] * len(table)
        factor = parameters(*scale) if scale else mpf(1)
        values, measures = [], []
        for x, label in zip((numbers(row) for row in inputs["embeddings"]), inputs["labels"]):
            label = label if 0 <= label < len(table) else 0  # of weight 0
            length = factor if unit_x else factor * _norm(x)
            if unit_w and not all(_finite(row) for row in (x, *table)) or unit_x and not _finite(x):
                value = mp.nan
            elif target is not _cosine and not _finite(table[label]) or not _finite(x):
                value = mp.nan  # an angle of nothing, or a product of infinities of both signs or with 0
            else:
                logits = [factor * mp.fdot(x, w) * (_ratio(mpf(1), _norm(x)) if unit_x else 1) *
                          (_ratio(mpf(1), _norm(w)) if unit_w else 1) + b for w, b in zip(table, bias)]
                if target is not _cosine:
                    logits[label] = length * norms[label] * target(parameters, x, table[label]) + bias[label]
                value = _item(logits, label)
            values.append(value)
            measures.append(_MEASURE * max([abs(value), factor] + [length * norm for norm in norms])
                            if mp.isfinite(value) else mpf(0))
        return Items(values, measures, (len(values),), row=True)


_register("softmax")
_register("modified_softmax", unit_w=True)
_register("l_softmax", _multiple)
_register("a_softmax", _multiple, unit_w=True)
_register("am_softmax", _minus_margin(0.35), unit_x=True, unit_w=True, scale=("scale", 30.0))
_register("cosface", _minus_margin(0.35), unit_x=True, unit_w=True, scale=("scale", 64.0))
_register("arcface", _of_sum, unit_x=True, unit_w=True, scale=("scale", 64.0))
_register("normface", unit_x=True, unit_w=True, scale=("scale", 20.0))
_register("coco", unit_x=True, unit_w=True, scale=("alpha", 10.0))
_register("l2_softmax", unit_x=True, scale=("alpha", 50.0))
