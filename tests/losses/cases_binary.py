"""Cases of the binary and margin family."""
import numpy as np

from tests.losses.case import Case, f32, f64, pairs, specials, wide
from tests.support.floats import Bfloat16

_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
_BINARY = ("binary_cross_entropy", "weighted_binary_cross_entropy", "balanced_binary_cross_entropy", "focal")
_PARAMETERS = {
    "binary_cross_entropy": ({}, {"unit": "BITS"}),
    "weighted_binary_cross_entropy": ({}, {"weight": 0.0}, {"weight": 0.3}, {"weight": 7.5, "unit": "BITS"}),
    "balanced_binary_cross_entropy": ({"beta": 0.0}, {"beta": 0.25}, {"beta": 1.0, "unit": "BITS"}, {}),
    "focal": ({}, {"gamma": 0.0}, {"gamma": 1.0, "alpha": 0.25}, {"gamma": 0.5, "alpha": 0.0},
              {"gamma": 5.0, "alpha": 1.0, "unit": "BITS"}),
}
_MARGINS = {"hinge": ("predictions",), "soft_margin": ("predictions",), "hinge_embedding": ("distances",),
            "margin_ranking": ("first", "second")}
_CLIPPED = (np.float32([0.9, 0.1, 1]) * np.float32(1 - 1e-5)).astype(np.float32)

WORKED = [
    Case("worked number", "weighted_binary_cross_entropy", {"probs": _CLIPPED, "targets": f32(1, 0, 1)},
         {"weight": 1.0, "unit": "BITS"}, mean=0.10134452),
    Case("worked number", "focal", {"probs": _CLIPPED, "targets": f32(1, 0, 1)},
         {"alpha": 0.25, "gamma": 2.0, "unit": "BITS"}, mean=0.0005067004),
    Case("worked number", "hinge", {"predictions": f32(0.9, 0.1, 1), "targets": f32(1, -1, 1)}, mean=0.4),
]


def _text(parameters):
    return " ".join(f"{name} {value}" for name, value in parameters.items()) or "defaults"


def _logits(random):
    for loss in _BINARY:
        for parameters in _PARAMETERS[loss]:
            for dtype, suffix in _FLOATS:
                spread = random.uniform(-40, 40, 200) if dtype == np.float32 else random.uniform(-300, 300, 200)
                logits = np.concatenate([spread, random.normal(0, 1, 60), wide(random, 60, float, -30, 1)])
                targets = random.choice([0, 1, 0.5, 0.1, 0.999], logits.size)
                yield Case(f"logits {suffix}, {_text(parameters)}", loss,
                           {"logits": logits.astype(dtype), "targets": targets.astype(dtype)}, parameters)


def _probs(random):
    for loss in _BINARY:
        for parameters in _PARAMETERS[loss]:
            for dtype, suffix in _FLOATS:
                low = -30 if loss != "focal" else -10
                probs = np.concatenate([random.uniform(0.001, 0.999, 100), 10.0 ** random.uniform(low, 0, 60),
                                        1 - 10.0 ** random.uniform(-6, 0, 60)]).astype(dtype)
                targets = random.choice([0, 1, 0.5, 0.1], probs.size).astype(dtype)
                yield Case(f"probs {suffix}, {_text(parameters)}", loss, {"probs": probs, "targets": targets},
                           parameters)


def _limits(random):
    for dtype, suffix in _FLOATS:
        yield Case(f"{suffix}: -30 with target 0 is 9.4e-14", "binary_cross_entropy",
                   {"logits": np.array([-30, 30], dtype), "targets": np.array([0, 1], dtype)})
    x, y = pairs(f32(-np.inf, np.inf, np.nan, -1e4, 1e4, -3e38, 3e38, -104, -88, 88, 0, -0.0, 1e-45, -1e-38),
                 f32(0, 1, 0.5))
    for loss in _BINARY:
        yield Case("limits of logits", loss, {"logits": x, "targets": y},
                   {"beta": 0.5} if loss.startswith("balanced") else {}, torch="PyTorch gives NaN for limits")
    p, y = pairs(f32(0, 1, 1e-45, 1e-38, 0.5, np.nextafter(np.float32(1), np.float32(0))), f32(0, 1, 0.5))
    yield Case("clamped at -100", "binary_cross_entropy", {"probs": p, "targets": y})
    yield Case("clamped at -100, in bits", "binary_cross_entropy", {"probs": p, "targets": y}, {"unit": "BITS"})
    yield Case("NaN", "binary_cross_entropy", {"probs": f32(np.nan, 0.5), "targets": f32(0, 1)},
               torch="PyTorch refuses NaN")
    yield Case("clamped at -100, f64", "binary_cross_entropy",
               {"probs": f64(0, 1, 5e-324, 1e-50, 0.5, 1 - 2.0 ** -53), "targets": f64(1, 0, 1, 1, 0.5, 0)})
    yield Case("probs 0 and 1 on the right side", "weighted_binary_cross_entropy",
               {"probs": f32(0, 1, 0.5), "targets": f32(0, 1, 1)}, {"weight": 2.0})
    yield Case("probs 0 and 1 on the right side", "focal", {"probs": f32(0, 1, 0.5), "targets": f32(0, 1, 1)})


def _weights(random):
    logits = random.normal(0, 3, (5, 4, 3)).astype(np.float32)
    targets = random.integers(0, 2, (5, 4, 3))
    values = targets.astype(np.float32)
    yield Case("pos_weight", "binary_cross_entropy",
               {"logits": logits, "targets": values, "pos_weight": f32(0, 0.5, 20)})
    yield Case("pos_weight, soft targets, bits", "binary_cross_entropy",
               {"logits": logits, "targets": values * 0.75, "pos_weight": f32(1, 0.5, 20)}, {"unit": "BITS"})
    yield Case("pos_weight f64", "binary_cross_entropy",
               {"logits": logits.astype(float), "targets": values.astype(float), "pos_weight": f64(3, 0.5, 20)})
    yield Case("pos_weight of [N]", "binary_cross_entropy",
               {"logits": f32(-1, 2, 3), "targets": f32(0, 1, 1), "pos_weight": f32(5, 2, 0.1)})
    weight = np.abs(random.normal(0, 1, (5, 4, 3))).astype(np.float32)
    weight[2], weight[:, 1, 1] = 0, 0
    masked = logits.copy()
    masked[2, 0, 0] = np.nan
    for loss in _BINARY:
        yield Case("item-shaped weight masks NaN", loss, {"logits": masked, "targets": values,
                                                          "sample_weight": weight})
        yield Case("weight [N]", loss, {"logits": logits, "targets": values,
                                        "sample_weight": weight[:, 0, 0].copy()})
        yield Case("all ignored", loss, {"logits": logits, "targets": values,
                                         "sample_weight": np.zeros(5, np.float32)})
        yield Case("empty batch", loss, {"logits": np.zeros((0,), np.float32), "targets": np.zeros((0,), np.float32)},
                   torch="a mean of nothing")
        yield Case("one sample", loss, {"logits": f32(0.25), "targets": f32(1)})
        for kind in (np.uint8, np.int32, np.int64, np.bool_):
            yield Case(f"targets of {np.dtype(kind)}", loss, {"logits": logits, "targets": targets.astype(kind)})
        yield Case("f16", loss, {"logits": logits.astype(np.float16), "targets": values.astype(np.float16)})
        yield Case("bf16", loss, {"logits": Bfloat16.rounded(logits), "targets": Bfloat16.rounded(values)})


def _margins(random):
    for loss, names in _MARGINS.items():
        for dtype, suffix in _FLOATS:
            margins = ({},) if loss == "soft_margin" else ({}, {"margin": 0.0}, {"margin": -0.5}, {"margin": 1e3})
            for parameters in margins:
                inputs = {name: np.concatenate([wide(random, 150, dtype), random.normal(0, 2, 50).astype(dtype)])
                          for name in names}
                inputs["targets"] = random.choice([-1, 1], 200).astype(dtype)
                yield Case(f"{suffix}, {_text(parameters)}", loss, inputs, parameters)
            values, targets = pairs(specials(dtype), np.array([-1, 1], dtype))
            inputs = {name: values[::-1 if i else 1].copy() for i, name in enumerate(names)}
            yield Case(f"{suffix}, specials", loss, inputs | {"targets": targets})
        inputs = {name: random.normal(0, 1, (3, 4)).astype(np.float32) for name in names}
        for kind in (np.int32, np.int64):
            targets = random.choice([-1, 1], (3, 4)).astype(kind)
            yield Case(f"targets of {np.dtype(kind)}", loss, inputs | {"targets": targets})
        weight = f32(0, 2, 0.5)
        yield Case("weight [N]", loss, inputs | {"targets": np.ones((3, 4), np.float32), "sample_weight": weight})
        yield Case("bf16", loss, {k: Bfloat16.rounded(v) for k, v in inputs.items()}
                   | {"targets": np.ones((3, 4), np.float32)})
        none = {name: np.zeros((0, 4), np.float32) for name in names + ("targets",)}
        yield Case("empty batch", loss, none, torch="a mean of nothing")
    edges = f32(0.999, 1, np.nextafter(np.float32(1), np.float32(2)), 2, -2, 0)
    for squared in (False, True):
        yield Case(f"at the margin, squared {squared}", "hinge",
                   {"predictions": np.concatenate([edges, edges]), "targets": np.repeat(f32(1, -1), 6)},
                   {"squared": squared})
    p = wide(random, 200, np.float32, -15, 15)
    yield Case("squared, wide", "hinge", {"predictions": p, "targets": np.sign(wide(random, 200))},
               {"squared": True, "margin": 0.25})
    yield Case("ties", "margin_ranking", {"first": f32(1, 1, 2), "second": f32(1, 1, 2), "targets": f32(1, -1, 1)},
               torch="at a kink PyTorch 2.14 takes another subgradient than those before")


def cases():
    random = np.random.default_rng(12)
    yield from WORKED
    for make in (_logits, _probs, _limits, _weights, _margins):
        yield from make(random)
