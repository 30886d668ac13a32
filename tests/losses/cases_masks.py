"""Cases of dice, jaccard and tversky, an item a sample. Pooled ones are in test_pooled_masks.py."""
import numpy as np

from tests.losses.case import Case, f32, f64
from tests.losses.cases_classes import softmax
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
LOSSES = ("dice", "jaccard", "tversky")
_OVERLAP = ({}, {"smooth": 1.0}, {"squared": True}, {"squared": True, "smooth": 0.25, "pooling": "PER_SAMPLE"})
PARAMETERS = {
    "dice": _OVERLAP,
    "jaccard": _OVERLAP,
    "tversky": ({}, {"alpha": 0.3, "beta": 0.7}, {"alpha": 0.0, "beta": 1.0, "smooth": 1e-3},
                {"gamma": 0.75, "smooth": 1.0}, {"alpha": 2.0, "beta": 0.25, "gamma": 2.0, "pooling": "PER_SAMPLE"}),
}


def _text(parameters):
    return " ".join(f"{name} {value}" for name, value in parameters.items()) or "defaults"


def forms(random, samples, tail, classes, dtype=np.float32, scale=3):
    """The four sets of inputs."""
    logits = random.normal(0, scale, (samples,) + tail).astype(dtype)
    targets = random.integers(0, 2, logits.shape).astype(dtype)
    of_classes = random.normal(0, scale, (samples, classes) + tail).astype(dtype)
    labels = random.integers(0, classes, (samples,) + tail)
    yield "logits", {"logits": logits, "targets": targets}
    yield "probs", {"probs": random.uniform(0, 1, logits.shape).astype(dtype), "targets": targets}
    yield "class logits", {"logits": of_classes, "labels": labels}
    yield "class probs", {"probs": softmax(of_classes).astype(dtype), "labels": labels}


def _ordinary(random):
    for loss in LOSSES:
        for parameters in PARAMETERS[loss]:
            for dtype, suffix in _FLOATS:
                for form, inputs in forms(random, 3, (4, 5), 3, dtype):
                    yield Case(f"{form} {suffix}, {_text(parameters)}", loss, inputs, parameters)


def _shapes(random):
    for loss in LOSSES:
        for tail, classes in (((), 1), ((), 4), ((1,), 2), ((255,), 1), ((256,), 2), ((257,), 2), ((3, 5, 2), 21),
                              ((), 40), ((2,), 33)):
            for form, inputs in forms(random, 2, tail, classes):
                yield Case(f"{form} [2, C {classes}, {tail}]", loss, inputs)
        for form, inputs in forms(random, 0, (3,), 2):
            yield Case(f"{form}, empty batch", loss, inputs)
        for dtype, suffix in _FLOATS:
            for _, inputs in forms(random, 1, (700,), 3, dtype):
                yield Case(f"700 positions {suffix}", loss, inputs)


def _overlaps(random):
    left, right = f32(1, 1, 0, 0), f32(0, 0, 1, 1)
    some = f32(1, 0, 1, 0)
    zeros, ones = np.zeros(4, np.float32), np.ones(4, np.float32)
    pairs = {"identical": (left, left), "disjoint": (left, right), "half": (left, some), "both empty": (zeros, zeros),
             "nothing predicted": (zeros, left), "nothing to find": (left, zeros), "full": (ones, ones)}
    for loss in LOSSES:
        for smooth in (0.0, 1.0, 1e-30, 1e30):
            for name, (p, g) in pairs.items():
                yield Case(f"{name}, smooth {smooth}", loss,
                           {"probs": p[None].astype(float), "targets": g[None].astype(float)}, {"smooth": smooth})
        all_pairs = {"probs": np.stack([p for p, _ in pairs.values()]),
                     "targets": np.stack([g for _, g in pairs.values()])}
        yield Case("overlaps", loss, all_pairs)
        yield Case("overlaps as logits", loss, {"logits": (all_pairs["probs"] * 2 - 1) * np.float32(np.inf),
                                                "targets": all_pairs["targets"]})
        one_hot = np.eye(3, dtype=np.float32)[[0, 1, 1, 0]].T[None]
        yield Case("a class that is nowhere", loss, {"probs": one_hot, "labels": np.array([[0, 1, 1, 0]])})
        yield Case("a class with a wrong label", loss, {"probs": one_hot, "labels": np.array([[0, 1, 2, 0]])})
    for parameters in ({"alpha": 0.0, "beta": 0.0}, {"alpha": 0.0, "beta": 0.0, "smooth": 1.0},
                       {"alpha": 1e30, "beta": 1e30}, {"alpha": 1e30, "beta": 0.0, "smooth": 1e-6},
                       {"gamma": 1e-3}, {"gamma": 30.0}, {"alpha": 1.0, "beta": 1.0}):
        doubles = {name: array.astype(float) for name, array in all_pairs.items()}
        yield Case(f"overlaps, {_text(parameters)}", "tversky", doubles, parameters)


def _digits(random):
    """Where 1 - ratio cancels, and where sigmoids end."""
    for loss in LOSSES:
        for dtype, suffix in _FLOATS:
            x = np.array([[30, -30, 40, -88], [20, -20, 20, -20], [1e4, -1e4, 1e4, -1e4]], dtype)
            yield Case(f"nearly right {suffix}", loss, {"logits": x, "targets": (x > 0).astype(dtype)})
            yield Case(f"nearly wrong {suffix}", loss, {"logits": x, "targets": (x < 0).astype(dtype)})
            confident = np.zeros((2, 3, 4), dtype)
            confident[0, 0], confident[1, 2] = 60, 17
            labels = np.array([[0] * 4, [2] * 4])
            yield Case(f"confident and right {suffix}", loss, {"logits": confident, "labels": labels})
            soft = random.uniform(0, 1, (3, 30)).astype(dtype)
            near = np.clip(soft + random.normal(0, 1e-3, soft.shape), 0, 1).astype(dtype)
            for parameters in PARAMETERS[loss]:
                yield Case(f"soft targets {suffix}, {_text(parameters)}", loss, {"probs": near, "targets": soft},
                           parameters)
            yield Case(f"soft targets, logits {suffix}", loss,
                       {"logits": random.normal(0, 3, soft.shape).astype(dtype), "targets": soft})
            tiny = (10.0 ** random.uniform(-30, 0, (2, 50))).astype(dtype)
            yield Case(f"probs of 30 decades {suffix}", loss,
                       {"probs": tiny, "targets": random.integers(0, 2, tiny.shape).astype(dtype)})
        beyond = f32(-0.5, 1.5, 2, 0.25, 0, 1)[None]
        yield Case("probs are not clamped", loss, {"probs": beyond, "targets": f32(0, 1, 1, 0, 0, 1)[None]})


def _not_finite(random):
    for loss in LOSSES:
        x = np.tile(f32(1, -1, 2), (6, 1))
        x[range(6), [0, 1, 2, 0, 1, 2]] = f32(np.nan, np.inf, -np.inf, np.inf, -np.inf, np.nan)
        yield Case("logits that are not finite", loss, {"logits": x, "targets": np.tile(f32(1, 0, 1), (6, 1))})
        classes = random.normal(0, 1, (6, 3, 4)).astype(np.float32)
        places = (range(6), [0, 1, 2, 0, 1, 2], [0, 1, 2, 3, 0, 1])
        classes[places] = f32(np.nan, np.inf, -np.inf, -np.inf, -np.inf, -np.inf)
        classes[3, :, 3] = -np.inf  # no distribution
        yield Case("class logits that are not finite", loss,
                   {"logits": classes, "labels": np.tile(np.array([0, 1, 2, 0]), (6, 1))})
        yield Case("a target that is NaN", loss,
                   {"logits": x[1:3], "targets": f32(0, 1, np.nan, 1, 0, 1).reshape(2, 3)})


def _ignored(random):
    for loss in LOSSES:
        for form, inputs in forms(random, 4, (6,), 3):
            name = "labels" if "labels" in inputs else "targets"
            for ignore in (255, -100, 1):
                marked = inputs[name].copy()
                marked[0, ::2], marked[1], marked[2, 5] = ignore, ignore, ignore
                masked = {"logits" if "logits" in inputs else "probs": None, name: marked}
                prediction = next(iter(masked))
                masked[prediction] = inputs[prediction].copy()
                masked[prediction][0, ..., ::2] = np.nan
                yield Case(f"{form}, ignore_index {ignore}", loss, inputs | {name: marked}, {"ignore_index": ignore})
                yield Case(f"{form}, ignore_index {ignore} masks NaN", loss, masked, {"ignore_index": ignore})
                yield Case(f"{form}, ignore_index {ignore}, smooth", loss, masked,
                           {"ignore_index": ignore, "smooth": 2.0})


def _types(random):
    for loss in LOSSES:
        for form, inputs in forms(random, 5, (3, 7), 4):
            values = {name: array for name, array in inputs.items() if name != "labels"}
            yield Case(f"{form}, weights", loss, inputs | {"sample_weight": f32(1, 0, 0.5, 3, 1)})
            yield Case(f"{form}, all of weight 0", loss, inputs | {"sample_weight": np.zeros(5, np.float32)})
            yield Case(f"{form}, f16", loss, inputs | {k: v.astype(np.float16) for k, v in values.items()})
            yield Case(f"{form}, bf16", loss, inputs | {k: Bfloat16.rounded(v) for k, v in values.items()})
            name = "labels" if "labels" in inputs else "targets"
            for kind in (np.uint8, np.int32, np.int64):
                yield Case(f"{form}, {name} of {np.dtype(kind)}", loss, inputs | {name: inputs[name].astype(kind)})
        masked = random.normal(0, 1, (3, 4)).astype(np.float32)
        masked[1] = np.nan
        yield Case("weight 0 masks NaN", loss, {"logits": masked, "targets": np.ones((3, 4), np.bool_),
                                                "sample_weight": f64(1, 0, 2)})


def cases():
    random = np.random.default_rng(17)
    for make in (_ordinary, _shapes, _overlaps, _digits, _not_finite, _ignored, _types):
        yield from make(random)
