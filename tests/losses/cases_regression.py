"""Cases of the regression family."""
import numpy as np

from tests.losses.case import Case, f32, f64, pairs, specials, wide
from tests.support.floats import Bfloat16

_PLAIN = ("mse", "mae", "mean_bias", "smooth_l1", "huber", "log_cosh", "quantile")
_FLOATS = ((np.float32, "f32"), (np.float64, "f64"))
# Most 40 decades that squares keep representable, and for f64 ten times as many.
_DECADES = {np.float32: 19, np.float64: 150}

WORKED = [
    Case("worked number", "mae", {"predictions": f32(1, 2, 3), "targets": f32(1, 3, 6)}, mean=1.3333334),
    Case("worked number", "mean_bias", {"predictions": f32(3, 2, 1), "targets": f32(1, 2, 3)}, mean=0.0),
    Case("worked number", "huber", {"predictions": f32(4, 2, 1), "targets": f32(1, 2, 3)}, {"delta": 2.0},
         mean=2.0),
    Case("worked number", "log_cosh", {"predictions": f32(4, 2, 1), "targets": f32(1, 2, 3)}, sum=3.6343312),
]


def _wide_pairs(random, dtype, count):
    """Errors of every size beside targets of every size: half near their target, half far from it."""
    decades = _DECADES[dtype]
    targets = wide(random, count, dtype, -decades, decades)
    predictions = wide(random, count, dtype, -decades, decades)
    near = np.arange(count) % 2 == 0
    predictions[near] = (targets[near] * (1 + wide(random, near.sum(), np.float64, -7, 0))).astype(dtype)
    return {"predictions": predictions, "targets": targets}


def _plain(random):
    for loss in _PLAIN:
        for dtype, suffix in _FLOATS:
            yield Case(f"{suffix}, 40 decades and more", loss, _wide_pairs(random, dtype, 300))
            near = random.normal(0, 2, (2, 13, 7)).astype(dtype)
            yield Case(f"{suffix}, around the kink", loss, {"predictions": near[0], "targets": near[1]})
            p, t = pairs(specials(dtype), specials(dtype)[::2])
            yield Case(f"{suffix}, special pairs", loss, {"predictions": p, "targets": t})


def _parameter(loss, name, values):
    for dtype, suffix in _FLOATS:
        for value in values:
            around = dtype(min(value, 1e30))
            edges = np.array([np.nextafter(around, dtype(0)), around, np.nextafter(around, dtype(np.inf)),
                              0, around / 2, around * 2, 1e-3, 1, 1e3, 1e18], dtype)
            p = np.concatenate([edges, -edges])
            yield Case(f"{suffix}, {name} {value:g}", loss, {"predictions": p, "targets": np.zeros_like(p)},
                       {name: value})


def _parameters(random):
    yield from _parameter("smooth_l1", "beta", (0.0, 1e-10, 0.1, 2.0, 1e4))
    yield from _parameter("huber", "delta", (1e-10, 0.1, 2.0, 1e4))
    yield from _parameter("quantile", "q", (0.0, 0.1, 0.5, 0.9, 1.0))


_REPRESENTABLE = "PyTorch overflows or underflows; the true value is representable"


def _extremes(random):
    big = f32(3e38, -3e38, 3e38, 1e30)
    yield Case("1e30", "log_cosh", {"predictions": f32(1e30, -1e30, 3e38), "targets": f32(0, 0, 0)})
    yield Case("tiny", "log_cosh", {"predictions": f32(1e-3, 1e-10, 1e-20, 1e-30), "targets": f32(0, 0, 0, 0)})
    yield Case("tiny f64", "log_cosh", {"predictions": f64(1e-3, 1e-9, 1e-100, 1e-160), "targets": f64(0, 0, 0, 0)})
    yield Case("the difference overflows, the loss does not", "huber",
               {"predictions": big, "targets": -big}, {"delta": 1e-3}, torch=_REPRESENTABLE)
    yield Case("the square overflows, its half does not", "huber",
               {"predictions": f32(2e19, -2.5e19), "targets": f32(0, 0)}, {"delta": 1e30}, torch=_REPRESENTABLE)
    yield Case("the square overflows, its half does not", "gaussian_nll",
               {"predictions": f32(2e19, -2.5e19), "targets": f32(0, 0), "variance": f32(1, 1)}, torch=_REPRESENTABLE)
    yield Case("the square overflows, the loss does not", "smooth_l1",
               {"predictions": f32(1e30, -2e25, 1e38), "targets": f32(0, 0, 0)}, {"beta": 1.5e38},
               torch=_REPRESENTABLE)
    yield Case("the square underflows, the loss does not", "smooth_l1",
               {"predictions": f32(1e-30, 3e-25, -1e-27), "targets": f32(0, 0, 0)}, {"beta": 1e-24},
               torch=_REPRESENTABLE)
    yield Case("the difference overflows, the loss does not", "quantile",
               {"predictions": big, "targets": -big}, {"q": 0.9})


def _poisson(random):
    for dtype, suffix in _FLOATS:
        top = 80 if dtype == np.float32 else 700
        p = random.uniform(-top, top, 300).astype(dtype)
        t = np.abs(wide(random, 300, dtype, -20, 3))
        t[::5] = 0
        for full in (False, True):
            yield Case(f"{suffix}, log_input, full {full}", "poisson_nll", {"predictions": p, "targets": t},
                       {"full": full})
            yield Case(f"{suffix}, rates, full {full}", "poisson_nll",
                       {"predictions": np.abs(wide(random, 300, dtype)), "targets": t},
                       {"log_input": False, "full": full})
    counts = np.arange(12)
    stirling = {"predictions": np.linspace(-3, 3, 12).astype(np.float32), "targets": counts.astype(np.uint8)}
    yield Case("integer counts, Stirling above 1 only", "poisson_nll", stirling, {"full": True})
    rates = {"predictions": f32(0, 0, 1e-9, 1e-3, np.nan, -1), "targets": f32(0, 2, 3, 1.5, 1, 1)}
    for eps in (1e-8, 1e-3, 1.0):
        yield Case(f"rates around eps {eps:g}", "poisson_nll", rates, {"log_input": False, "eps": eps})
    yield Case("eps 0: 0 * log 0 is 0", "poisson_nll", {"predictions": f32(0, 1, 0), "targets": f32(0, 0, 2)},
               {"log_input": False, "eps": 0.0}, torch="0 * log 0 is 0")
    yield Case("rate 0 as a logarithm", "poisson_nll",
               {"predictions": f32(-np.inf, -np.inf, -1e4, np.nan), "targets": f32(0, 1, 0, 1)},
               torch="0 * log 0 is 0")


def _gaussian(random):
    for dtype, suffix in _FLOATS:
        inputs = _wide_pairs(random, dtype, 300)
        inputs["variance"] = np.abs(wide(random, 300, dtype, -_DECADES[dtype], _DECADES[dtype]))
        for full in (False, True):
            yield Case(f"{suffix}, wide, full {full}", "gaussian_nll", inputs, {"full": full})
        near = random.normal(0, 1, (2, 5, 4, 3)).astype(dtype)
        variance = random.uniform(0.5, 2, (5, 4, 3)).astype(dtype)
        yield Case(f"{suffix}, near", "gaussian_nll",
                   {"predictions": near[0], "targets": near[1], "variance": variance}, {"full": True})
    around = f32(0, 1e-7, 1e-6, 1.1e-6, 0.5, 1, 3e38, 1, 1)
    inputs = {"predictions": f32(1, 1, 1, 1, 1, 1, 1, np.nan, np.inf), "targets": f32(*[0] * 9),
              "variance": around}
    for eps in (1e-6, 0.5, 1e-30):
        yield Case(f"variance around eps {eps:g}", "gaussian_nll", inputs, {"eps": eps})
    yield Case("the square overflows, the loss does not", "gaussian_nll",
               {"predictions": f32(1e30, 1e25), "targets": f32(0, -1e24), "variance": f32(1e30, 1e20)},
               torch=_REPRESENTABLE)


def _types(random):
    values = random.normal(0, 3, (2, 4, 9)).astype(np.float32)
    half = values.astype(np.float16)
    brain = Bfloat16.rounded(values[0]), Bfloat16.rounded(values[1])
    for loss in _PLAIN:
        yield Case("f16", loss, {"predictions": half[0], "targets": half[1]})
        yield Case("bf16", loss, {"predictions": brain[0], "targets": brain[1]})
    integers = np.round(values[1])
    for array in (integers.astype(np.int32), integers.astype(np.int64), np.abs(integers).astype(np.uint8),
                  integers > 0):
        yield Case(f"targets of {array.dtype}", "mse", {"predictions": values[0], "targets": array})
    yield Case("f16 with f32", "mae", {"predictions": half[0], "targets": values[1]})
    yield Case("f32 with f64 computes in f64", "mae", {"predictions": values[0], "targets": values[1].astype(float)})
    yield Case("f16 specials", "mse", {"predictions": np.array([65504, 6e-8, np.inf, np.nan, -0.0], np.float16),
                                       "targets": np.array([-65504, 0, 1, 1, 0], np.float16)})


def _shapes(random):
    weight = np.abs(random.normal(0, 1, (6, 5))).astype(np.float32)
    weight[1] = 0
    weight[:, 2] = 0
    p, t = random.normal(0, 1, (2, 6, 5)).astype(np.float32)
    masked = p.copy()
    masked[1, 3], masked[4, 2] = np.nan, np.inf
    for loss in _PLAIN:
        yield Case("empty batch", loss, {"predictions": np.zeros((0, 3), np.float32),
                                         "targets": np.zeros((0, 3), np.float32)}, torch="a mean of nothing")
        yield Case("one sample", loss, {"predictions": f32(2.5), "targets": f32(-1)})
        yield Case("item-shaped weight masks NaN", loss, {"predictions": masked, "targets": t,
                                                          "sample_weight": weight})
    yield Case("weight [N]", "mse", {"predictions": p, "targets": t, "sample_weight": weight[:, 0].copy()})
    yield Case("f64 and weight [N]", "mean_bias", {"predictions": p.astype(float), "targets": t.astype(float),
                                                   "sample_weight": weight[:, 0].astype(float)})
    yield Case("all weights 0", "mse", {"predictions": p, "targets": t, "sample_weight": np.zeros(6, np.float32)})
    wild = wide(random, (6, 5), np.float32)
    yield Case("weights of 40 decades", "mean_bias", {"predictions": wild, "targets": t,
                                                      "sample_weight": np.abs(wide(random, (6, 5)))})
    for count in (31, 32, 33, 1023, 1024, 1025, 4100):
        values = random.normal(0, 1, (2, count)).astype(np.float32)
        yield Case(f"{count} items", "mse", {"predictions": values[0], "targets": values[1]})


def cases():
    random = np.random.default_rng(11)
    yield from WORKED
    for make in (_plain, _parameters, _extremes, _poisson, _gaussian, _types, _shapes):
        yield from make(random)
