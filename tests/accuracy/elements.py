"""Accuracy definitions: regression, binary and margin losses, an item an element."""
import numpy as np

from tests.accuracy.definition import (ELEMENT, WIDE, definition, fractions, pair, sigmoid, signs, softplus, unit,
                                       values)


def _difference(loss, *parameters):
    def register(function):
        definition(loss, ELEMENT, pair, parameters or ({},))(
            lambda x, p: function(x["predictions"] - x["targets"], p))
        return function
    return register


@_difference("mse")
def _mse(d, p):
    return d * d


@_difference("mae")
def _mae(d, p):
    return np.abs(d)


@_difference("mean_bias")
def _mean_bias(d, p):
    return d


@_difference("smooth_l1", {}, {"beta": 0.3}, {"beta": 0.0})
def _smooth_l1(d, p):
    beta, size = p("beta", 1.0), np.abs(d)
    if not beta:
        return size
    linear = size >= beta
    return np.where(linear, size - beta / 2, d * d / (2 * beta)), np.where(linear, np.maximum(size, beta / 2), 0)


@_difference("huber", {}, {"delta": 0.3}, {"delta": 20.0})
def _huber(d, p):
    delta, size = p("delta", 1.0), np.abs(d)
    linear = size > delta
    return np.where(linear, delta * (size - delta / 2), d * d / 2), np.where(linear, delta * size, 0)


@_difference("log_cosh")
def _log_cosh(d, p):
    size = np.abs(d)
    small = np.log1p(2 * np.sinh(np.minimum(size, 1) / 2) ** 2)
    return np.where(size > 1, size + np.log1p(np.exp(-2 * size)) - np.log(WIDE(2)), small)


@_difference("quantile", {}, {"q": 0.9})
def _quantile(d, p):
    q = p("q", 0.5)
    return np.maximum(-q * d, p.rest("q", 0.5) * d)


def _rates(log_input):
    def inputs(random, n, dtype):
        rate = random.normal(0, 5, n) if log_input else 10.0 ** random.uniform(-6, 4, n)
        counts = np.where(random.random(n) < 0.7, random.poisson(5, n), 10.0 ** random.uniform(-3, 4, n))
        return {"predictions": rate.astype(dtype), "targets": counts.astype(dtype)}
    return inputs


def _poisson(x, p):
    rate, t, eps = x["predictions"], x["targets"], p("eps", 1e-8)
    if p("log_input", True):
        terms, rounding = [np.exp(rate), -t * rate], 0
    else:
        terms, rounding = [rate, -t * np.log(rate + eps)], t  # rate + eps is rounded once
    if p("full", False):
        above = np.where(t > 1, t, 1)
        stirling = [above * np.log(above), -above, np.log(2 * WIDE(np.pi) * above) / 2]
        terms += [np.where(t > 1, term, 0) for term in stirling]
    return sum(terms), np.maximum(np.max(np.abs(terms), axis=0), rounding)


definition("poisson_nll", ELEMENT, _rates(True), ({}, {"full": True}))(_poisson)
definition("poisson_nll", ELEMENT, _rates(False), ({"log_input": False}, {"log_input": False, "full": True}))(_poisson)


def _gaussian_inputs(random, n, dtype):
    return pair(random, n, dtype) | {"variance": (10.0 ** random.uniform(-8, 5, n)).astype(dtype)}


@definition("gaussian_nll", ELEMENT, _gaussian_inputs, ({}, {"full": True}))
def _gaussian(x, p):
    v = np.maximum(x["variance"], p("eps", 1e-6))
    terms = [np.log(v) / 2, (x["predictions"] - x["targets"]) ** 2 / v / 2]
    if p("full", False):
        terms.append(np.full(v.shape, np.log(2 * _PI) / 2))
    return sum(terms), np.max(np.abs(terms), axis=0)


_PI = 4 * np.arctan(WIDE(1))


# --- binary

def _logits(random, n, dtype):
    return {"logits": np.clip(values(random, n, dtype), -80, 80), "targets": fractions(random, n, dtype)}


def _probs(random, n, dtype):
    return {"probs": unit(random, n, dtype), "targets": fractions(random, n, dtype)}


def _parts(x):
    """-log p, -log(1 - p), p, 1 - p, y."""
    y = x["targets"]
    if "logits" in x:
        return softplus(-x["logits"]), softplus(x["logits"]), sigmoid(x["logits"]), sigmoid(-x["logits"]), y
    return -np.log(x["probs"]), -np.log1p(-x["probs"]), x["probs"], 1 - x["probs"], y


def _both(positive, negative):
    return positive + negative, np.maximum(np.abs(positive), np.abs(negative))


def _unit_of(p):
    return 1 / np.log(WIDE(2)) if p("unit") == "BITS" else 1


def _binary(loss, *parameters):
    def register(function):
        for inputs in (_logits, _probs):
            definition(loss, ELEMENT, inputs, parameters)(function)
        return function
    return register


@_binary("binary_cross_entropy", {}, {"unit": "BITS"})
def _cross_entropy(x, p):
    a, b, _, _, y = _parts(x)
    return _both(_unit_of(p) * y * a, _unit_of(p) * (1 - y) * b)


@_binary("weighted_binary_cross_entropy", {}, {"weight": 3.7})
def _weighted(x, p):
    a, b, _, _, y = _parts(x)
    return _both(p("weight", 1.0) * y * a, (1 - y) * b)


@_binary("balanced_binary_cross_entropy", {"beta": 0.3}, {"beta": 0.9})
def _balanced(x, p):
    a, b, _, _, y = _parts(x)
    return _both(p("beta") * y * a, p.rest("beta") * (1 - y) * b)


@_binary("focal", {}, {"gamma": 0.5}, {"gamma": 3.0, "alpha": 0.25}, {"gamma": 5.0})
def _focal(x, p):
    a, b, prob, rest, y = _parts(x)
    gamma, alpha = p("gamma", 2.0), p("alpha")
    value, measure = _both(y * a, (1 - y) * b)
    factor = (y * rest + (1 - y) * prob) ** gamma
    if alpha is not None:
        factor = factor * (alpha * y + (1 - alpha) * (1 - y))
    return factor * value, factor * measure


# --- margins

def _signed(*names):
    def inputs(random, n, dtype):
        given = pair(random, n, dtype, names) if len(names) == 2 else {names[0]: values(random, n, dtype)}
        return given | {"targets": signs(random, n, dtype)}
    return inputs


@definition("hinge", ELEMENT, _signed("predictions"), ({}, {"margin": 0.3, "squared": True}))
def _hinge(x, p):
    margin, score = p("margin", 1.0), x["targets"] * x["predictions"]
    value, squared = np.maximum(0, margin - score), p("squared", False)
    return value ** (2 if squared else 1)


@definition("soft_margin", ELEMENT, _signed("predictions"))
def _soft_margin(x, p):
    return softplus(-x["targets"] * x["predictions"])


@definition("hinge_embedding", ELEMENT, _signed("distances"), ({}, {"margin": 2.7}))
def _hinge_embedding(x, p):
    return np.where(x["targets"] == 1, x["distances"], np.maximum(0, p("margin", 1.0) - x["distances"]))


@definition("margin_ranking", ELEMENT, _signed("first", "second"), ({}, {"margin": 0.7}))
def _margin_ranking(x, p):
    margin, difference = p("margin", 0.0), -x["targets"] * (x["first"] - x["second"])
    return np.maximum(0, difference + margin), np.maximum(np.abs(difference), np.abs(margin))
