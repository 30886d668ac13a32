"""Cases of ctc."""
import numpy as np

from tests.losses.case import Case
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_INF = np.inf


def log_softmax(logits):
    x = np.asarray(logits, np.float64)
    x = x - x.max(-1, keepdims=True)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _inputs(random, n, t, c, s, dtype=np.float32, role="logits", blank=0, scale=2.0):
    """A batch with lengths at their most for the first sample, and anything that fits for the others."""
    logits = random.normal(0, scale, (n, t, c))
    labels = random.integers(0, c - 1, (n, s)) if c > 1 else np.zeros((n, 0), np.int64)
    labels = labels + (labels >= blank)
    label_lengths = random.integers(0, labels.shape[1] + 1, n)
    label_lengths[0] = labels.shape[1]
    input_lengths = np.minimum(t, np.maximum(2 * label_lengths, 1) + random.integers(0, t + 1, n))
    input_lengths[0] = t
    frames = logits if role == "logits" else log_softmax(logits)
    return {role: frames.astype(dtype), "labels": labels, "input_lengths": input_lengths,
            "label_lengths": label_lengths}


def _one(role, frames, labels, dtype=np.float32, input_length=None, label_length=None):
    """A batch of one sample."""
    frames, labels = np.array(frames, dtype), np.array(labels, np.int64)
    return {role: frames[None], "labels": labels[None],
            "input_lengths": np.array([len(frames) if input_length is None else input_length]),
            "label_lengths": np.array([len(labels) if label_length is None else label_length])}


def _time_major(inputs):
    return {name: np.ascontiguousarray(np.swapaxes(array, 0, 1)) if name in ("logits", "log_probs") else array
            for name, array in inputs.items()}


def _plain(random):
    for role in ("logits", "log_probs"):
        for dtype, suffix in _FLOATS:
            for n, t, c, s in ((4, 12, 5, 4), (3, 30, 33, 9), (5, 9, 2, 3), (1, 40, 3, 17)):
                yield Case(f"{role} {suffix}, [{n},{t},{c}], {s} labels", "ctc",
                           _inputs(random, n, t, c, s, dtype, role))
            inputs = _inputs(random, 4, 10, 6, 3, dtype, role, blank=4)
            yield Case(f"{role} {suffix}, blank 4", "ctc", inputs, {"blank": 4})
            last = _inputs(random, 3, 8, 3, 2, dtype, role, blank=2)
            yield Case(f"{role} {suffix}, the last class is the blank", "ctc", last, {"blank": 2})
            yield Case(f"{role} {suffix}, time major", "ctc", _time_major(inputs), {"blank": 4, "time_major": True})
            weighted = inputs | {"sample_weight": np.array([1, 0, 0.5, 3], dtype)}
            yield Case(f"{role} {suffix}, weights", "ctc", weighted, {"blank": 4})
        yield Case(f"{role}, f16", "ctc", _inputs(random, 3, 7, 4, 2, np.float16, role))
        frames = _inputs(random, 3, 7, 4, 2, np.float32, role)
        yield Case(f"{role}, bf16", "ctc", frames | {role: Bfloat16.rounded(frames[role])})
    for kind in (np.int32, np.uint8):
        inputs = _inputs(random, 3, 9, 6, 3)
        yield Case(f"integers of {np.dtype(kind)}", "ctc",
                   {name: array.astype(kind) if array.dtype == np.int64 else array
                    for name, array in inputs.items()})
    yield Case("bool labels", "ctc", _one("logits", random.normal(0, 1, (4, 2)), [1, 1]) |
               {"labels": np.array([[True, True]])})


def _alignments(random):
    """Repeats, no labels, and frames that are only just enough or too few."""
    for role in ("logits", "log_probs"):
        frames = log_softmax(random.normal(0, 1, (7, 4)))
        for labels in ([1, 1], [1, 1, 1, 1], [1, 2, 1], [2, 2, 3, 3], [1, 2, 3, 1, 2, 3, 1], []):
            yield Case(f"{role}, labels {labels}", "ctc", _one(role, frames, labels, np.float64))
            yield Case(f"{role}, labels {labels}, zero_infinity", "ctc", _one(role, frames, labels),
                       {"zero_infinity": True})
        yield Case(f"{role}, one frame too few", "ctc", _one(role, frames, [1, 2, 2, 3], input_length=4))
        yield Case(f"{role}, one frame too few, zero_infinity", "ctc",
                   _one(role, frames, [1, 2, 2, 3], input_length=4), {"zero_infinity": True})
        yield Case(f"{role}, just enough frames", "ctc", _one(role, frames, [1, 2, 2, 3], input_length=5))
        yield Case(f"{role}, one frame", "ctc", _one(role, frames[:1], [3]))
        yield Case(f"{role}, one frame without labels", "ctc", _one(role, frames[:1], [3], label_length=0))
        yield Case(f"{role}, two labels, one frame", "ctc", _one(role, frames[:1], [3, 1]))
        yield Case(f"{role}, no labels at all", "ctc", _one(role, frames, []))
        yield Case(f"{role}, one class", "ctc", _one(role, -np.ones((5, 1)), []))
        yield Case(f"{role}, no frames and no labels", "ctc", _one(role, frames, [1], input_length=0, label_length=0),
                   torch="some versions refuse an input length of 0")
        yield Case(f"{role}, no frames", "ctc", _one(role, frames, [1], input_length=0),
                   torch="some versions refuse an input length of 0")
        none = {role: np.zeros((0, 5, 4), np.float32), "labels": np.zeros((0, 2), np.int64),
                "input_lengths": np.zeros(0, np.int64), "label_lengths": np.zeros(0, np.int64)}
        yield Case(f"{role}, empty batch", "ctc", none, torch="a mean of nothing")


def _limits(random):
    sure = np.full((30, 3), -60.0)
    sure[np.arange(30), np.repeat([0, 1, 0, 2, 2], 6)] = 60
    # Of 1e-52 times 30: a sum of probabilities just under 1.
    yield Case("all but certain", "ctc", _one("logits", sure / 2, [1, 2]), torch="PyTorch rounds to 0")
    yield Case("all but certain f64", "ctc", _one("logits", sure, [1, 2], np.float64), torch="PyTorch rounds to 0")
    yield Case("all but impossible", "ctc", _one("logits", -sure, [1, 2]))
    far = random.choice([0.0, -1e4, 1e4], (50, 4))
    yield Case("logits 1e4 apart", "ctc", _one("logits", far, [1, 2, 3, 3]))
    yield Case("logits 1e4 apart f64", "ctc", _one("logits", far, [1, 2, 3, 3], np.float64))
    for dtype, suffix in _FLOATS:
        inputs = _inputs(random, 2, 2000, 3, 60, dtype)
        yield Case(f"2000 frames {suffix}", "ctc", inputs)
        yield Case(f"2000 frames of little chance {suffix}", "ctc",
                   _one("log_probs", np.full((2000, 3), -700.0), random.integers(1, 3, 90), dtype),
                   torch="PyTorch adds 2000 terms in f32")
    masked = log_softmax(random.normal(0, 1, (8, 4)))
    masked[:, 2] = -_INF
    yield Case("a class at -inf", "ctc", _one("log_probs", masked, [1, 3]))
    yield Case("a label at -inf", "ctc", _one("log_probs", masked, [1, 2]))
    yield Case("a label at -inf, zero_infinity", "ctc", _one("log_probs", masked, [1, 2]), {"zero_infinity": True})
    yield Case("a logit at -inf", "ctc", _one("logits", masked, [1, 3]))
    for value in (np.nan, _INF):
        for role in ("logits", "log_probs"):
            frames = log_softmax(random.normal(0, 1, (6, 4)))
            frames[2, 3] = value
            if role == "log_probs" and value == _INF:
                continue  # no logarithm of a probability
            yield Case(f"{value} past the input length, {role}", "ctc", _one(role, frames, [1, 3], input_length=2))
            yield Case(f"{value} among the {role}", "ctc", _one(role, frames, [1, 3]),
                       torch="PyTorch's maxima lose a NaN")
    wrong = _one("logits", random.normal(0, 1, (6, 4)), [1, 3, 0, 77, -1], label_length=2)
    yield Case("labels past the label length", "ctc", wrong, torch="PyTorch reads them")
    skipped = _inputs(random, 3, 6, 4, 2)
    skipped["labels"][1], skipped["input_lengths"][1] = 99, -5
    yield Case("a sample of weight 0 is not looked at", "ctc",
               skipped | {"sample_weight": np.array([1, 0, 2], np.float32)}, torch="PyTorch has no weights")


def cases():
    random = np.random.default_rng(17)
    for make in (_plain, _alignments, _limits):
        yield from make(random)
