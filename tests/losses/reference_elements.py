"""References of the element-wise families: regression, binary, margin."""
import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import (Items, log, numbers, reference, sigmoid, softplus, zero_times)


def _elementwise(inputs, names, function):
    """Items of function(element of each input) -> value or (value, measure)."""
    shape = inputs[names[0]].shape
    values, measures = [], []
    for elements in zip(*(numbers(inputs[name]) for name in names)):
        found = function(*elements)
        value, measure = found if isinstance(found, tuple) else (found, abs(found))
        values.append(value)
        measures.append(mpf(0) if mp.isnan(measure) else measure)
    return Items(values, measures, shape, row=False)


def _regression(inputs, function):
    return _elementwise(inputs, ("predictions", "targets"), lambda p, t: function(p - t))


@reference("mse")
def mse(inputs, parameters, dtype):
    return _regression(inputs, lambda d: d * d)


@reference("mae")
def mae(inputs, parameters, dtype):
    return _regression(inputs, abs)


@reference("mean_bias")
def mean_bias(inputs, parameters, dtype):
    return _regression(inputs, lambda d: d)


@reference("smooth_l1")
def smooth_l1(inputs, parameters, dtype):
    beta = parameters("beta", 1.0)

    def item(d):
        if abs(d) < beta:
            return d * d / (2 * beta)
        return abs(d) - beta / 2, max(abs(d), beta / 2)
    return _regression(inputs, item)


@reference("huber")
def huber(inputs, parameters, dtype):
    delta = parameters("delta", 1.0)

    def item(d):
        if abs(d) <= delta:
            return d * d / 2
        return delta * (abs(d) - delta / 2), delta * abs(d)
    return _regression(inputs, item)


@reference("log_cosh")
def log_cosh(inputs, parameters, dtype):
    def item(d):
        d = abs(d)
        if d > 1:
            return d + mp.log1p(mp.exp(-2 * d)) - mp.log(2)
        return mp.log1p(2 * mp.sinh(d / 2) ** 2)
    return _regression(inputs, item)


@reference("quantile")
def quantile(inputs, parameters, dtype):
    q = parameters("q", 0.5)

    def item(d):
        if mp.isnan(d):
            return mp.nan
        return max(zero_times(q, -d), zero_times(q - 1, -d))
    return _regression(inputs, item)


@reference("poisson_nll")
def poisson_nll(inputs, parameters, dtype):
    log_input, full, eps = parameters("log_input", True), parameters("full", False), parameters("eps", 1e-8)

    def item(p, t):
        rate, fit = (mp.exp(p), zero_times(t, p)) if log_input else (p, zero_times(t, log(p + eps)))
        terms = [rate, -fit]
        if full and t > 1:
            terms += [zero_times(t, log(t)), -t, log(2 * mp.pi * t) / 2]
        # p + eps is rounded once, which moves its logarithm by an ulp of 1 and the term by one of t.
        rounding = mpf(0) if log_input else t
        return sum(terms), max(abs(term) for term in terms + [rounding])
    return _elementwise(inputs, ("predictions", "targets"), item)


@reference("gaussian_nll")
def gaussian_nll(inputs, parameters, dtype):
    full, eps = parameters("full", False), parameters("eps", 1e-6)

    def item(p, t, v):
        v = v if mp.isnan(v) else max(v, eps)
        terms = [log(v) / 2, (p - t) ** 2 / v / 2]
        if full:
            terms.append(log(2 * mp.pi) / 2)
        return sum(terms), max(abs(term) for term in terms)
    return _elementwise(inputs, ("predictions", "targets", "variance"), item)


def _binary(inputs, item):
    """Items of item(-log p, -log(1 - p), p, 1 - p, y) of the logits or the probs."""
    if "logits" in inputs:
        return _elementwise(inputs, ("logits", "targets"), lambda x, y: item(
            softplus(-x), softplus(x), sigmoid(x), sigmoid(-x), y))
    return _elementwise(inputs, ("probs", "targets"), lambda p, y: item(
        -log(p), -_log1m(p), p, 1 - p, y))


def _log1m(p):
    """log(1 - p)."""
    if mp.isnan(p) or p > 1:
        return mp.nan
    return mp.log1p(-p) if p < 1 else -mp.inf


def _weighted_sum(positive_weight, positive, negative_weight, negative):
    terms = zero_times(positive_weight, positive), zero_times(negative_weight, negative)
    return sum(terms), max(abs(term) for term in terms)


@reference("binary_cross_entropy")
def binary_cross_entropy(inputs, parameters, dtype):
    if "probs" in inputs:
        def clamped(term):
            return term if mp.isnan(term) else min(term, mpf(100))
        return _binary(inputs, lambda a, b, p, q, y: _weighted_sum(y, clamped(a), 1 - y, clamped(b)))
    weight = np.broadcast_to(inputs.get("pos_weight", np.ones((), dtype)), inputs["logits"].shape)
    inputs = inputs | {"weight": weight}
    return _elementwise(inputs, ("logits", "targets", "weight"), lambda x, y, w: _weighted_sum(
        w * y, softplus(-x), 1 - y, softplus(x)))


@reference("weighted_binary_cross_entropy")
def weighted_binary_cross_entropy(inputs, parameters, dtype):
    w = parameters("weight", 1.0)
    return _binary(inputs, lambda a, b, p, q, y: _weighted_sum(w * y, a, 1 - y, b))


def request_beta(inputs):
    """1 - (sum of w y) / (sum of w) over a request, weights 0 left out."""
    targets = inputs["targets"]
    weight = inputs.get("sample_weight", np.ones(targets.shape[:1]))
    weight = np.broadcast_to(weight.reshape(weight.shape + (1,) * (targets.ndim - weight.ndim)), targets.shape)
    total = sum(numbers(weight))
    positives = sum(w * y for w, y in zip(numbers(weight), numbers(targets)) if w)
    return 1 - positives / total if total else mp.nan


@reference("balanced_binary_cross_entropy")
def balanced_binary_cross_entropy(inputs, parameters, dtype):
    b = parameters("beta")
    if b is None:
        b = request_beta(inputs)
    return _binary(inputs, lambda p_part, n_part, p, q, y: _weighted_sum(
        b * y, p_part, (1 - b) * (1 - y), n_part))


def binary_focal(inputs, parameters):
    gamma, alpha = parameters("gamma", 2.0), parameters("alpha")

    def item(positive, negative, p, q, y):
        cross_entropy, measure = _weighted_sum(y, positive, 1 - y, negative)
        wrong = y * q + (1 - y) * p  # 1 - p_t
        factor = wrong ** gamma if gamma else mpf(1)
        if alpha is not None:
            factor *= alpha * y + (1 - alpha) * (1 - y)
        return zero_times(factor, cross_entropy), zero_times(factor, measure)
    return _binary(inputs, item)


def _margin(inputs, names, function):
    return _elementwise(inputs, names + ("targets",), function)


def _positive(x):
    """max(0, x), NaN kept."""
    return x if mp.isnan(x) or x > 0 else mpf(0)


@reference("hinge")
def hinge(inputs, parameters, dtype):
    margin, power = parameters("margin", 1.0), 2 if parameters("squared", False) else 1
    return _margin(inputs, ("predictions",), lambda p, y: _positive(margin - y * p) ** power)


@reference("soft_margin")
def soft_margin(inputs, parameters, dtype):
    return _margin(inputs, ("predictions",), lambda p, y: softplus(-y * p))


@reference("hinge_embedding")
def hinge_embedding(inputs, parameters, dtype):
    margin = parameters("margin", 1.0)
    return _margin(inputs, ("distances",), lambda d, y: d if y == 1 else _positive(margin - d))


@reference("margin_ranking")
def margin_ranking(inputs, parameters, dtype):
    margin = parameters("margin", 0.0)

    def item(first, second, y):
        difference = -y * (first - second)
        return _positive(difference + margin), max(abs(difference), abs(margin))
    return _margin(inputs, ("first", "second"), item)
