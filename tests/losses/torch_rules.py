"""When an item is what PyTorch says. Needs no PyTorch."""
import numpy as np

# PyTorch adds many terms in f32 and cancels where lossd must not: this is for definitions, not for digits.
TOLERANCE = {np.float32: 2e-5, np.float64: 1e-11}


def differs(actual, decided, value, measure, dtype):
    """Why an item is not what PyTorch says; empty if it is, or if PyTorch lost a true value.

    `value` and `measure` are the high-precision reference: where PyTorch overflows, cancels or divides infinities
    and the true value is representable, the true value wins.
    """
    if np.isnan(decided) or np.isinf(decided):
        same = np.isnan(actual) if np.isnan(decided) else actual == decided
        return "" if same or np.isfinite(float(value)) else f"PyTorch says {decided}"
    if not np.isfinite(actual):
        largest = float(np.finfo(dtype).max) * (1 - 1e-6)
        return "" if abs(float(value)) >= largest else f"PyTorch says {decided}"
    limit = TOLERANCE[dtype] * max(1.0, abs(float(decided)), float(measure))
    return "" if abs(float(actual) - float(decided)) <= limit else f"PyTorch says {decided}"
