"""References of the pairs, the triplets and the regularisers of the feature space."""
import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference

# PyTorch adds it to squared norms, as a float.
_SQUARED_NORM_EPSILON = mpf(float(np.float32(1e-12)))


def _rows(inputs, name):
    return [numbers(row) for row in inputs[name]]


def _items(found):
    """Of [(value, measure)]."""
    return Items([v for v, _ in found], [mpf(0) if mp.isnan(m) else m for _, m in found], (len(found),), row=True)


def _dot(x, y):
    return sum((a * b for a, b in zip(x, y)), mpf(0))


def _positive(value):
    return value if mp.isnan(value) else max(mpf(0), value)


def _cosine(x, y, epsilon=mpf(0)):
    """0 where a norm is."""
    dot, norms = _dot(x, y), mp.sqrt((_dot(x, x) + epsilon) * (_dot(y, y) + epsilon))
    return mpf(0) if norms == 0 else dot / norms


@reference("cosine_embedding")
def cosine_embedding(inputs, parameters, dtype):
    margin = parameters("margin", 0.0)

    def item(x, y, target):
        cosine = _cosine(x, y, _SQUARED_NORM_EPSILON)
        return (1 - cosine if target > 0 else _positive(cosine - margin)), max(mpf(1), abs(margin))
    return _items([item(*row) for row in zip(_rows(inputs, "first"), _rows(inputs, "second"), inputs["targets"])])


@reference("contrastive")
def contrastive(inputs, parameters, dtype):
    margin = parameters("margin", 1.0)
    similar = 1 if parameters("label_convention") == "ONE_IS_SIMILAR" else 0

    def item(distance, target):
        if target == similar:
            value = distance * distance / 2
            return value, abs(value)
        missing = _positive(margin - distance)
        return missing * missing / 2, missing * max(abs(margin), abs(distance))
    if "distances" in inputs:
        found = [item(d, t) for d, t in zip(numbers(inputs["distances"]), inputs["targets"].ravel())]
        # The rounding of margin - D is relative to that difference itself.
        return Items([v for v, _ in found], [abs(v) for v, _ in found], inputs["distances"].shape, row=False)
    distances = (mp.sqrt(sum(((a - b) ** 2 for a, b in zip(x, y)), mpf(0)))
                 for x, y in zip(_rows(inputs, "first"), _rows(inputs, "second")))
    return _items([item(d, t) for d, t in zip(distances, inputs["targets"])])


def _distance(parameters):
    metric, p, eps = parameters("distance", "EUCLIDEAN"), parameters("p", 2.0), parameters("eps", 1e-6)

    def norm(x, y):
        differences = [abs(a - b + eps) for a, b in zip(x, y)]
        if any(mp.isnan(d) for d in differences):
            return mp.nan
        largest = max(differences)
        if largest == 0 or mp.isinf(largest):
            return largest
        return largest * sum((d / largest) ** p for d in differences) ** (1 / p)
    return {"EUCLIDEAN": norm,
            "SQUARED_EUCLIDEAN": lambda x, y: sum(((a - b + eps) ** 2 for a, b in zip(x, y)), mpf(0)),
            "COSINE": lambda x, y: 1 - _cosine(x, y)}[metric]


def triplet_distances(inputs, parameters):
    """(d(a,p), d(a,n)) of each row, the second with swap taken into account."""
    distance, swap = _distance(parameters), parameters("swap", False)
    for anchor, positive, negative in zip(*(_rows(inputs, name) for name in ("anchor", "positive", "negative"))):
        to_negative = distance(anchor, negative)
        if swap:
            between = distance(positive, negative)
            to_negative = mp.nan if mp.isnan(between) else min(to_negative, between)
        yield distance(anchor, positive), to_negative


@reference("triplet")
def triplet(inputs, parameters, dtype):
    margin = parameters("margin", 1.0)
    return _items([(_positive(margin + p - n), max(p, n, abs(margin)))
                   for p, n in triplet_distances(inputs, parameters)])


def _centered(inputs):
    centers = _rows(inputs, "centers")
    for x, label in zip(_rows(inputs, "embeddings"), inputs["labels"]):
        center = centers[label] if 0 <= label < len(centers) else centers[0]
        yield center, sum(((a - b) ** 2 for a, b in zip(x, center)), mpf(0))


@reference("center")
def center(inputs, parameters, dtype):
    return _items([(square / 2, square / 2) for _, square in _centered(inputs)])


@reference("center_invariant")
def center_invariant(inputs, parameters, dtype):
    gamma, weight = parameters("gamma", 1.0), parameters("center_weight", 1.0)
    mean = sum((_dot(c, c) for c in _rows(inputs, "centers")), mpf(0)) / len(inputs["centers"])

    def item(own, square):
        norm = _dot(own, own)
        pushed = gamma / 4 * (norm - mean) ** 2 if gamma else mpf(0)
        pulled = weight / 2 * square if weight else mpf(0)
        return pushed + pulled, max(pulled, gamma / 2 * abs(norm - mean) * max(norm, mean))
    return _items([item(*row) for row in _centered(inputs)])


@reference("ring")
def ring(inputs, parameters, dtype):
    radius = parameters("radius", 1.0)

    def item(x):
        norm = mp.sqrt(_dot(x, x))
        return (norm - radius) ** 2 / 2, abs(norm - radius) * max(norm, radius)
    return _items([item(x) for x in _rows(inputs, "embeddings")])
