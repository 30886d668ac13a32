"""Accuracy definitions: pairs and triplets of embeddings, classifier losses, regularisers."""
import numpy as np

from tests.accuracy.definition import CLASSIFIER, ROW, WIDE, definition, log_softmax, pick, signs

_WIDTH, _CLASSES = 16, 20
_ROWS = 40_000


def _near(random, other, share, dtype):
    """Vectors of which some are close to, or a multiple of, the other ones."""
    shape = other.shape
    found = random.normal(0, 1, shape) * 10.0 ** random.uniform(-1, 1, (shape[0], 1))
    choice = random.random(shape[0])
    found = np.where((choice < share)[:, None], other + random.normal(0, 0.1, shape), found)
    found = np.where((choice > 1 - share)[:, None], other * random.uniform(-2, 2, (shape[0], 1)), found)
    return found.astype(dtype)


def _embeddings(random, n):
    return random.normal(0, 1, (n, _WIDTH)) * 10.0 ** random.uniform(-1, 1, (n, 1))


# --- pairs and triplets

def _pairs(targets):
    def inputs(random, n, dtype):
        first = _embeddings(random, n)
        return {"first": first.astype(dtype), "second": _near(random, first, 0.2, dtype),
                "targets": targets(random, n, dtype)}
    return inputs


def _cosine(a, b):
    tiny = WIDE(np.float32(1e-12))  # a float in PyTorch, for f64 too
    return (a * b).sum(-1) / np.sqrt(((a * a).sum(-1) + tiny) * ((b * b).sum(-1) + tiny))


@definition("cosine_embedding", ROW, _pairs(signs), ({}, {"margin": 0.3}), _ROWS)
def _cosine_embedding(x, p):
    cosine, margin = _cosine(x["first"], x["second"]), p("margin", 0.0)
    return np.where(x["targets"] == 1, 1 - cosine, np.maximum(0, cosine - margin)), WIDE(1)


@definition("contrastive", ROW, _pairs(lambda random, n, dtype: random.integers(0, 2, n)), ({}, {"margin": 5.3}), _ROWS)
def _contrastive(x, p):
    margin, distance = p("margin", 1.0), np.sqrt(((x["first"] - x["second"]) ** 2).sum(-1))
    missing = np.maximum(0, margin - distance)
    similar = x["targets"] == 0
    return (np.where(similar, distance, missing) ** 2 / 2,
            np.where(similar, 0, missing * np.maximum(margin, distance)))


def _triplets(random, n, dtype):
    anchor = _embeddings(random, n)
    return {"anchor": anchor.astype(dtype), "positive": _near(random, anchor, 0.3, dtype),
            "negative": _near(random, anchor, 0.1, dtype)}


def _distance(a, b, p):
    kind = p("distance", "EUCLIDEAN")
    if kind == "COSINE":
        length = np.sqrt((a * a).sum(-1) * (b * b).sum(-1))
        return 1 - np.where(length == 0, 0, (a * b).sum(-1) / np.where(length == 0, 1, length))
    difference = np.abs(a - b + p("eps", 1e-6))
    if kind == "SQUARED_EUCLIDEAN":
        return (difference ** 2).sum(-1)
    power = p("p", 2.0)
    return (difference ** power).sum(-1) ** (1 / power)


@definition("triplet", ROW, _triplets,
            ({}, {"p": 1.0}, {"p": 3.0, "swap": True}, {"distance": "SQUARED_EUCLIDEAN"}, {"distance": "COSINE"}), _ROWS)
def _triplet(x, p):
    near, far = (_distance(x["anchor"], x[name], p) for name in ("positive", "negative"))
    if p("swap", False):
        far = np.minimum(far, _distance(x["positive"], x["negative"], p))
    margin = p("margin", 1.0)
    return np.maximum(0, near - far + margin), np.maximum(np.maximum(near, far), max(1, margin))


# --- classifier losses

def _classified(random, n, dtype):
    classifier = random.normal(0, 1, (_CLASSES, _WIDTH)) * 10.0 ** random.uniform(-0.5, 0.5, (_CLASSES, 1))
    labels = random.integers(0, _CLASSES, n)
    return {"embeddings": _near(random, classifier[labels], 0.3, dtype), "classifier": classifier.astype(dtype),
            "labels": labels}


def _with_bias(random, n, dtype):
    return _classified(random, n, dtype) | {"bias": random.normal(0, 1, _CLASSES).astype(dtype)}


def _norm(rows):
    return np.sqrt((rows * rows).sum(-1))


def _cosines(x):
    return np.clip(_unit(x["embeddings"]) @ _unit(x["classifier"]).T, -1, 1)


def _unit(rows):
    return rows / _norm(rows)[:, None]


def _angle(x):
    """Between each embedding and the row of its label; from cosines near 1 half the digits would be lost."""
    first, second = _unit(x["embeddings"]), _unit(x["classifier"])[x["labels"]]
    return 2 * np.arctan2(_norm(first - second), _norm(first + second))


def _loss(logits, x, own=None, scale=None):
    """-log softmax of the label, the label's logit replaced by `own`; judged by the scale or the largest logit."""
    if own is not None:
        np.put_along_axis(logits, x["labels"][:, None], own[:, None], -1)
    largest = np.abs(logits).max(-1) if scale is None else scale
    return -pick(log_softmax(logits), x["labels"]), largest


@definition("softmax", CLASSIFIER, _with_bias, batch=_ROWS)
def _softmax(x, p):
    return _loss(x["embeddings"] @ x["classifier"].T + x["bias"], x)


@definition("modified_softmax", CLASSIFIER, _classified, batch=_ROWS)
def _modified_softmax(x, p):
    return _loss(_norm(x["embeddings"])[:, None] * _cosines(x), x)


def _psi(angle, p):
    margin, annealing = p("margin", 4), p("annealing", 0.0)
    k = np.minimum(np.floor(angle * margin / (4 * np.arctan(WIDE(1)))), margin - 1)
    psi = (1 - 2 * (k % 2)) * np.cos(margin * angle) - 2 * k
    return (annealing * np.cos(angle) + psi) / (1 + annealing)


def _multiplied_angle(x, p, length):
    cosines = _cosines(x)
    own = _psi(_angle(x), p)
    return _loss(length * cosines, x, own * pick(np.broadcast_to(length, cosines.shape), x["labels"]))


_MARGINS = ({}, {"margin": 3, "annealing": 5.0})


@definition("l_softmax", CLASSIFIER, _classified, _MARGINS, _ROWS)
def _l_softmax(x, p):
    return _multiplied_angle(x, p, _norm(x["embeddings"])[:, None] * _norm(x["classifier"]))


@definition("a_softmax", CLASSIFIER, _classified, _MARGINS, _ROWS)
def _a_softmax(x, p):
    return _multiplied_angle(x, p, _norm(x["embeddings"])[:, None])


def _scaled(default, own):
    def items(x, p):
        cosines, scale = _cosines(x), p("scale", default)
        return _loss(scale * cosines, x, scale * own(_angle(x), p), scale)
    return items


definition("am_softmax", CLASSIFIER, _classified, batch=_ROWS)(
    _scaled(30.0, lambda angle, p: np.cos(angle) - p("margin", 0.35)))
definition("cosface", CLASSIFIER, _classified, batch=_ROWS)(
    _scaled(64.0, lambda angle, p: np.cos(angle) - p("margin", 0.35)))
definition("normface", CLASSIFIER, _classified, batch=_ROWS)(_scaled(20.0, lambda angle, p: np.cos(angle)))


def _arc(angle, p):
    turned = np.cos(angle + p("margin", 0.5))
    return np.where(np.cos(angle) > 0, turned, np.cos(angle)) if p("easy_margin", False) else turned


definition("arcface", CLASSIFIER, _classified, ({}, {"easy_margin": True}), _ROWS)(_scaled(64.0, _arc))


@definition("coco", CLASSIFIER, _classified, batch=_ROWS)
def _coco(x, p):
    return _loss(p("alpha", 10.0) * _cosines(x), x, scale=p("alpha", 10.0))


@definition("l2_softmax", CLASSIFIER, _with_bias, batch=_ROWS)
def _l2_softmax(x, p):
    return _loss(p("alpha", 50.0) * _unit(x["embeddings"]) @ x["classifier"].T + x["bias"], x)


# --- regularisers

def _centered(random, n, dtype):
    given = _classified(random, n, dtype)
    return {"embeddings": given["embeddings"], "centers": given["classifier"], "labels": given["labels"]}


def _to_center(x):
    return ((x["embeddings"] - x["centers"][x["labels"]]) ** 2).sum(-1) / 2


@definition("center", ROW, _centered, batch=_ROWS)
def _center(x, p):
    return _to_center(x)


@definition("center_invariant", ROW, _centered, ({}, {"gamma": 0.3, "center_weight": 2.0}), _ROWS)
def _center_invariant(x, p):
    squares = (x["centers"] ** 2).sum(-1)
    off = squares[x["labels"]] - squares.mean()
    first, second = p("gamma", 1.0) / 4 * off ** 2, p("center_weight", 1.0) * _to_center(x)
    lost = p("gamma", 1.0) / 2 * np.abs(off) * np.maximum(squares[x["labels"]], squares.mean())
    return first + second, np.maximum(np.maximum(first, second), lost)


@definition("ring", ROW, lambda random, n, dtype: {"embeddings": _embeddings(random, n).astype(dtype)},
            ({}, {"radius": 3.3}), _ROWS)
def _ring(x, p):
    norm, radius = _norm(x["embeddings"]), p("radius", 1.0)
    return (norm - radius) ** 2 / 2, np.abs(norm - radius) * np.maximum(norm, radius)
