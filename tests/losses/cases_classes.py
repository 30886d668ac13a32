"""Cases of cross_entropy, multi-class focal, zero_one, entropy and kl_divergence."""
import numpy as np

from tests.losses.case import Case, f32, f64, wide
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_INF = np.inf

WORKED = [
    Case("worked number", "cross_entropy", {"logits": f32(5, 1, 1, 1)[None], "labels": np.array([0])},
         mean=0.05349045),  # exp(-loss) = 0.9479
]


def softmax(logits, axis=1):
    logits = np.asarray(logits, np.float64)
    e = np.exp(logits - logits.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def _random(random, n, c, dtype=np.float32, scale=3, tail=()):
    logits = random.normal(0, scale, (n, c) + tail).astype(dtype)
    return logits, random.integers(0, c, (n,) + tail)


def _cross_entropy_labels(random):
    for c in (1, 2, 3, 10, 31, 32, 33, 100, 1000):
        for dtype, suffix in _FLOATS:
            logits, labels = _random(random, 6, c, dtype)
            yield Case(f"{suffix}, C {c}", "cross_entropy", {"logits": logits, "labels": labels})
    for c in (4095, 4096, 4097, 8200):
        logits, labels = _random(random, 2, c)
        yield Case(f"C {c}", "cross_entropy", {"logits": logits, "labels": labels})
    for dtype, suffix in _FLOATS:
        logits, labels = _random(random, 2, 4100, dtype)
        yield Case(f"C 4100, smoothing, {suffix}", "cross_entropy", {"logits": logits, "labels": labels},
                   {"label_smoothing": 0.2})
        yield Case(f"C 4100, target_probs, {suffix}", "cross_entropy",
                   {"logits": logits[:1], "target_probs": softmax(logits[1:]).astype(dtype)})
    logits, labels = _random(random, 40, 10, scale=1)
    decades = (logits * 10.0 ** random.uniform(-20, 4, (40, 1))).astype(np.float32)
    yield Case("logits of 24 decades", "cross_entropy", {"logits": decades, "labels": labels})
    apart = f32(1e4, 0, -1e4, 0, 0, 1e4, -1e4, -1e4, 0).reshape(3, 3)
    yield Case("logits 1e4 apart", "cross_entropy",
               {"logits": np.tile(apart, (3, 1)), "labels": np.repeat([0, 1, 2], 3)})
    confident = f32(50, 0, 0, 0, 30, 0, 20, 0, 0, 0, 100, 0).reshape(3, 4)
    yield Case("confident and right", "cross_entropy", {"logits": confident, "labels": np.array([0, 0, 2])})
    yield Case("confident and right f64", "cross_entropy",
               {"logits": confident.astype(float) * 3, "labels": np.array([0, 0, 2])})
    edge = np.array([[1, -_INF, 0], [-_INF, 2, 1], [_INF, 0, 0], [np.nan, 0, 0], [-_INF] * 3, [3e38, -3e38, 0]],
                    np.float32)
    for label in range(3):
        yield Case(f"infinite logits, label {label}", "cross_entropy",
                   {"logits": edge, "labels": np.full(6, label)})
    for c in (33, 200, 4200):
        logits, labels = _random(random, 6, c)
        for row, value in enumerate((np.nan, np.inf, -np.inf)):
            logits[row, random.integers(0, c)] = value
            logits[row + 3, [0, c - 1]] = value
        yield Case(f"not finite somewhere in {c} classes", "cross_entropy", {"logits": logits, "labels": labels})
        yield Case(f"not finite somewhere in {c} classes", "entropy", {"logits": logits})
    for kind in (np.uint8, np.int32, np.int64):
        logits, labels = _random(random, 5, 7)
        yield Case(f"labels of {np.dtype(kind)}", "cross_entropy", {"logits": logits, "labels": labels.astype(kind)})
    yield Case("f16", "cross_entropy", {"logits": logits.astype(np.float16), "labels": labels})
    yield Case("bf16", "cross_entropy", {"logits": Bfloat16.rounded(logits), "labels": labels})


def _cross_entropy_forms(random):
    for dtype, suffix in _FLOATS:
        logits, labels = _random(random, 8, 6, dtype)
        probs = softmax(logits).astype(dtype)
        log_probs = np.log(softmax(logits)).astype(dtype)
        for name, array in (("probs", probs), ("log_probs", log_probs)):
            yield Case(f"{suffix}, {name}", "cross_entropy", {name: array, "labels": labels})
            yield Case(f"{suffix}, {name}, smoothing", "cross_entropy", {name: array, "labels": labels},
                       {"label_smoothing": 0.1, "unit": "BITS"})
            soft = softmax(random.normal(0, 1, (8, 6))).astype(dtype)
            yield Case(f"{suffix}, {name}, target_probs", "cross_entropy", {name: array, "target_probs": soft})
            weight = {"class_weight": np.array([1, 0, 2, 0.25, 9, 1], dtype)}
            yield Case(f"{suffix}, {name}, class_weight", "cross_entropy", {name: array, "labels": labels} | weight)
            yield Case(f"{suffix}, {name}, target_probs, class_weight", "cross_entropy",
                       {name: array, "target_probs": soft} | weight)
    yield Case("probability 0", "cross_entropy",
               {"probs": f32(0, 1, 0.5, 0.5, 0, 1).reshape(3, 2), "labels": np.array([0, 1, 1])})
    yield Case("log_probs are read at the label only", "cross_entropy",
               {"log_probs": f32(-1, np.nan, -_INF, -0.5, -2, _INF).reshape(3, 2), "labels": np.array([0, 1, 0])})
    logits, labels = _random(random, 2, 5, tail=(3, 4))
    yield Case("[N,C,H,W]", "cross_entropy", {"logits": logits, "labels": labels})
    masked = labels.copy()
    masked[0, 1], masked[1, 2, 3] = -100, -100
    yield Case("[N,C,H,W], ignored", "cross_entropy", {"logits": logits, "labels": masked,
                                                       "class_weight": f32(1, 0.5, 2, 0, 3)})
    yield Case("[N,C,H,W], log_probs", "cross_entropy",
               {"log_probs": np.log(softmax(logits)).astype(np.float32), "labels": masked})
    yield Case("[N,C,H,W], target_probs", "cross_entropy",
               {"logits": logits, "target_probs": softmax(random.normal(0, 1, logits.shape)).astype(np.float32)})
    yield Case("[N,C,L], item-shaped weight", "cross_entropy",
               {"logits": logits[:, :, 0].copy(), "labels": labels[:, 0].copy(),
                "sample_weight": np.abs(random.normal(0, 1, (2, 4))).astype(np.float32)})
    yield Case("[N,C,H,W] with many pixels", "cross_entropy",
               dict(zip(("logits", "labels"), _random(random, 1, 3, tail=(9, 37)))))
    yield Case("all ignored", "cross_entropy", {"logits": logits[:, :, 0, 0].copy(), "labels": np.full(2, -100)},
               torch="a mean of nothing")
    yield Case("another ignore_index", "cross_entropy",
               {"logits": logits[:, :, 0].copy(), "labels": labels[:, 0].copy()},
               {"ignore_index": int(labels[0, 0, 0])})
    yield Case("an ignore_index below 0", "cross_entropy",
               {"logits": logits[:, :, 0, 0].copy(), "labels": np.array([-1, 2])}, {"ignore_index": -1})
    yield Case("empty batch", "cross_entropy",
               {"logits": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)},
               torch="a mean of nothing")


def _cross_entropy_weights(random):
    logits, labels = _random(random, 12, 5)
    soft = softmax(random.normal(0, 2, (12, 5))).astype(np.float32)
    weight = f32(0.1, 0, 3, 1, 20)
    ignored = labels.copy()
    ignored[::3] = -100
    for smoothing in (0.0, 1e-3, 0.1, 0.5, 1.0):
        parameters = {"label_smoothing": smoothing}
        yield Case(f"smoothing {smoothing}", "cross_entropy", {"logits": logits, "labels": ignored}, parameters)
        yield Case(f"smoothing {smoothing}, class_weight", "cross_entropy",
                   {"logits": logits, "labels": ignored, "class_weight": weight}, parameters)
        yield Case(f"smoothing {smoothing}, class_weight, target_probs", "cross_entropy",
                   {"logits": logits, "target_probs": soft, "class_weight": weight}, parameters)
    yield Case("bits", "cross_entropy", {"logits": logits, "labels": labels}, {"unit": "BITS"})
    yield Case("class_weight and sample_weight", "cross_entropy",
               {"logits": logits, "labels": ignored, "class_weight": weight,
                "sample_weight": np.abs(random.normal(0, 1, 12)).astype(np.float32)})
    yield Case("f64 weights", "cross_entropy",
               {"logits": logits.astype(float), "labels": labels, "class_weight": weight.astype(float),
                "sample_weight": np.abs(random.normal(0, 1, 12))})
    yield Case("class_weight below 0", "cross_entropy", {"logits": logits, "labels": labels, "class_weight": -weight})
    nan = logits.copy()
    nan[3] = np.nan
    mask = np.ones(12, np.float32)
    mask[3] = 0
    yield Case("weight 0 masks NaN", "cross_entropy", {"logits": nan, "labels": labels, "sample_weight": mask})
    nan_ignored = labels.copy()
    nan_ignored[3] = -100
    yield Case("an ignored label masks NaN", "cross_entropy", {"logits": nan, "labels": nan_ignored})
    mask_logits = np.where(soft < 0.1, -_INF, logits).astype(np.float32)
    mask_target = np.where(soft < 0.1, 0, soft).astype(np.float32)
    for name, inputs in (("target_probs", {"target_probs": mask_target}),
                         ("target_probs, class_weight", {"target_probs": mask_target, "class_weight": weight + 1})):
        yield Case(f"zero {name} at logit -inf", "cross_entropy", {"logits": mask_logits} | inputs,
                   torch="0 * log 0 is 0")
    yield Case("one class", "cross_entropy", {"logits": f32(-3, 7)[:, None], "target_probs": f32(1, 0.5)[:, None]})


def _focal(random):
    for dtype, suffix in _FLOATS:
        logits, labels = _random(random, 10, 6, dtype)
        for parameters in ({}, {"gamma": 0.0}, {"gamma": 0.5, "unit": "BITS"}, {"gamma": 5.0}):
            yield Case(f"multi-class {suffix}, {parameters}", "focal", {"logits": logits, "labels": labels}, parameters)
        yield Case(f"multi-class probs {suffix}", "focal",
                   {"probs": softmax(logits).astype(dtype), "labels": labels})
        weight = {"class_weight": np.array([1, 0, 2, 0.25, 9, 1], dtype)}
        yield Case(f"multi-class class_weight {suffix}", "focal", {"logits": logits, "labels": labels} | weight)
        yield Case(f"multi-class probs class_weight {suffix}", "focal",
                   {"probs": softmax(logits).astype(dtype), "labels": labels} | weight)
    confident = f32(50, 0, 0, 0, 30, 0, 20, 0, 0, 0, 1e4, 0).reshape(3, 4)
    yield Case("multi-class, confident", "focal", {"logits": np.tile(confident, (2, 1)),
                                                   "labels": np.array([0, 0, 2, 1, 1, 0])})


def _zero_one(random):
    scores = random.integers(0, 4, (30, 6)).astype(np.float32)
    labels = random.integers(0, 6, 30)
    for top_k in (1, 2, 5, 6, 7, 1000000):
        yield Case(f"ties, top_k {top_k}", "zero_one", {"logits": scores, "labels": labels}, {"top_k": top_k})
    yield Case("probs f64", "zero_one", {"probs": softmax(scores), "labels": labels.astype(np.int32)})
    ignored = labels.copy()
    ignored[::4] = 2
    yield Case("ignore_index", "zero_one", {"logits": scores, "labels": ignored.astype(np.uint8)}, {"ignore_index": 2})
    ignored[::4] = -100
    yield Case("ignored and weighted", "zero_one", {"logits": scores, "labels": ignored,
                                                    "sample_weight": np.abs(scores[:, 0])})
    logits, labels = _random(random, 3, 5000)
    yield Case("many classes, top_k", "zero_one", {"logits": logits, "labels": labels}, {"top_k": 2500})
    yield Case("infinite logits", "zero_one", {"logits": f32(_INF, 0, -_INF, 0, -_INF, -_INF).reshape(3, 2),
                                               "labels": np.array([0, 0, 1])})
    yield Case("NaN has no order", "zero_one",
               {"logits": f32(np.nan, 0, 1, 2).reshape(2, 2), "labels": np.array([1, 1])})
    yield Case("NaN equals nothing", "zero_one", {"predictions": f32(np.nan, 1, 0), "targets": f32(0, np.nan, -0.0)})
    edge = np.nextafter(np.float32(0.5), np.float32(1))
    yield Case("at the threshold of probs", "zero_one",
               {"probs": f32(0.5, 0.5, edge, edge), "targets": f32(0, 1, 0, 1)})
    yield Case("at the threshold of logits", "zero_one",
               {"logits": f32(0, -0.0, 1e-45, -1e-45, np.nan), "targets": f32(0, 1, 1, 0, 0)})
    binary = random.normal(0, 1, (7, 3)).astype(np.float32)
    truth = random.integers(0, 2, (7, 3))
    for kind in (np.float32, np.uint8, np.bool_):
        yield Case(f"binary logits, targets of {np.dtype(kind)}", "zero_one",
                   {"logits": binary, "targets": truth.astype(kind)})
    yield Case("binary probs", "zero_one", {"probs": (1 / (1 + np.exp(-binary))).astype(np.float32),
                                            "targets": truth.astype(np.float32)})
    for kind in (np.int32, np.int64, np.uint8, np.float32, np.float16, np.bool_):
        both = random.integers(0, 2, (2, 9, 2)).astype(kind)
        yield Case(f"predictions and targets of {np.dtype(kind)}", "zero_one",
                   {"predictions": both[0], "targets": both[1]})
    ids = np.array([2 ** 24, 2 ** 24 + 1, -3])
    yield Case("integers that f32 does not hold", "zero_one", {"predictions": ids, "targets": ids[[1, 1, 2]]})
    yield Case("empty batch", "zero_one", {"logits": np.zeros((0, 4), np.float32), "labels": np.zeros(0, np.int64)})


def _entropy(random):
    for dtype, suffix in _FLOATS:
        for c in (1, 2, 10, 33, 4100):
            logits, _ = _random(random, 3, c, dtype)
            yield Case(f"{suffix}, logits, C {c}", "entropy", {"logits": logits})
        logits, _ = _random(random, 5, 7, dtype)
        yield Case(f"{suffix}, probs, bits", "entropy", {"probs": softmax(logits).astype(dtype)}, {"unit": "BITS"})
        yield Case(f"{suffix}, log_probs", "entropy", {"log_probs": np.log(softmax(logits)).astype(dtype)})
    yield Case("one-hot", "entropy", {"probs": f32(0, 1, 0, 1, 0, 0).reshape(2, 3)})
    yield Case("log_probs -inf", "entropy", {"log_probs": f32(-_INF, 0, np.log(0.5), np.log(0.5)).reshape(2, 2)})
    yield Case("masked logits", "entropy", {"logits": f32(-_INF, 0, 1, 5, -_INF, -_INF).reshape(2, 3)})
    yield Case("logits 1e4 apart", "entropy", {"logits": f32(1e4, 0, -1e4, 0, 0, -1e4).reshape(2, 3)})
    yield Case("confident", "entropy", {"logits": f32(50, 0, 0, 20, 0, 0, 0, 30, 0).reshape(3, 3)})
    yield Case("NaN and inf", "entropy", {"logits": f32(np.nan, 0, _INF, 0, 0, 0).reshape(3, 2)})
    yield Case("empty batch", "entropy", {"logits": np.zeros((0, 4), np.float32)})
    yield Case("bf16, weighted", "entropy", {"logits": Bfloat16.rounded(logits), "sample_weight": f32(0, 1, 2, 3, 0.5)})


def _kl(random):
    for dtype, suffix in _FLOATS:
        for shape in ((6, 1), (6, 5), (3, 1000), (2, 4, 3, 2)):
            logits = random.normal(0, 2, shape).astype(dtype)
            p = softmax(random.normal(0, 2, shape))
            q = softmax(random.normal(0, 2, shape))
            for pointwise in (False, True):
                text = f"{suffix}, {list(shape)}, pointwise {pointwise}"
                parameters = {"pointwise": pointwise}
                yield Case(f"logits {text}", "kl_divergence",
                           {"logits": logits, "target_probs": p.astype(dtype)}, parameters)
                if shape[1] > 100:
                    continue
                log_p = np.log(p).astype(dtype)
                yield Case(f"logits, target_log_probs {text}", "kl_divergence",
                           {"logits": logits, "target_log_probs": log_p}, parameters)
                yield Case(f"log_probs, target_log_probs {text}", "kl_divergence",
                           {"log_probs": np.log(q).astype(dtype), "target_log_probs": log_p}, parameters)
                yield Case(f"log_probs {text}", "kl_divergence",
                           {"log_probs": np.log(q).astype(dtype), "target_probs": p.astype(dtype)}, parameters)
                yield Case(f"probs {text}", "kl_divergence",
                           {"probs": q.astype(dtype), "target_log_probs": log_p},
                           parameters | {"unit": "BITS"})
    yield Case("zero target at -inf", "kl_divergence",
               {"logits": f32(-_INF, 0, 1, 0, -_INF, 2).reshape(2, 3),
                "target_probs": f32(0, 0.5, 0.5, 1, 0, 0).reshape(2, 3)}, torch="0 * log 0 is 0")
    yield Case("target where the prediction is 0", "kl_divergence",
               {"probs": f32(0, 1, 0.5, 0.5).reshape(2, 2), "target_probs": f32(0.5, 0.5, 1, 0).reshape(2, 2)})
    yield Case("target_log_probs -inf", "kl_divergence",
               {"log_probs": f32(-1, -2, -_INF, 0).reshape(2, 2),
                "target_log_probs": f32(-_INF, 0, -_INF, 0).reshape(2, 2)}, torch="0 * log 0 is 0")
    tiny = np.abs(wide(random, (20, 4), np.float32, -30, 0))
    yield Case("40 decades", "kl_divergence", {"probs": tiny[:, ::-1].copy(), "target_probs": tiny})
    yield Case("equal distributions", "kl_divergence", {"probs": tiny, "target_probs": tiny})
    yield Case("weighted", "kl_divergence", {"probs": tiny, "target_probs": tiny[::-1].copy(),
                                             "sample_weight": np.arange(20).astype(np.float32)})
    yield Case("pointwise, item-shaped weight", "kl_divergence",
               {"probs": tiny, "target_probs": tiny[::-1].copy(), "sample_weight": np.sqrt(tiny)}, {"pointwise": True})
    yield Case("f16", "kl_divergence", {"probs": f32(0.25, 0.75)[None].astype(np.float16),
                                        "target_probs": f32(0.5, 0.5)[None].astype(np.float16)})
    yield Case("f64 tiny", "kl_divergence", {"probs": f64(1e-300, 1)[None], "target_probs": f64(1e-310, 1)[None]})
    yield Case("empty batch", "kl_divergence", {"probs": np.zeros((0, 4), np.float32),
                                                "target_probs": np.zeros((0, 4), np.float32)},
               torch="a mean of nothing")


def cases():
    random = np.random.default_rng(13)
    yield from WORKED
    for make in (_cross_entropy_labels, _cross_entropy_forms, _cross_entropy_weights, _focal, _zero_one, _entropy, _kl):
        yield from make(random)
