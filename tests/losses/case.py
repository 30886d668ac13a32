"""What a test case of a loss is. Cases are data: a loss is tested by adding cases to a list and one function
to a reference (`reference.REFERENCES`), nothing else.
"""
import dataclasses

import numpy as np

from tests.support.floats import Bfloat16, widen

# Inputs that are labels or lengths, of any integer type.
_INTEGERS = ("labels", "input_lengths", "label_lengths")
# Inputs that are not values: they do not decide the compute type.
_NOT_VALUES = ("labels", "sample_weight", "class_weight", "pos_weight")


@dataclasses.dataclass
class Case:
    name: str
    loss: str
    inputs: dict  # name -> numpy array or Bfloat16
    parameters: dict = dataclasses.field(default_factory=dict)
    # PyTorch decides too, where it has the function. A string says why it does not.
    torch: object = True
    # Differences of values tell the gradient. A string says why they do not.
    smooth: object = True
    mean: float = None  # a worked value of MEAN
    sum: float = None  # a worked value of SUM

    @property
    def compute_type(self):
        # What is only compared may be integers, and those of 32 and 64 bits need f64.
        if self.loss == "zero_one" and "predictions" in self.inputs:
            if any(getattr(array, "dtype", None) in (np.int32, np.int64) for array in self.inputs.values()):
                return np.float64
        for name, array in self.inputs.items():
            if name not in _NOT_VALUES and not isinstance(array, Bfloat16):
                if array.dtype == np.float64:
                    return np.float64
        return np.float32

    def widened(self):
        """The inputs as the loss computes with them: values in the compute type, labels as integers."""
        result = {}
        for name, array in self.inputs.items():
            array = widen(array)
            result[name] = array.astype(np.int64 if name in _INTEGERS else self.compute_type)
        return result

    def __str__(self):
        return f"{self.loss}: {self.name}"


def f32(*values):
    return np.array(values, np.float32)


def f64(*values):
    return np.array(values, np.float64)


def wide(random, shape, dtype=np.float32, low=-20, high=20):
    """Signed values whose magnitudes spread evenly over the decades low..high."""
    magnitude = 10.0 ** random.uniform(low, high, shape)
    return (magnitude * random.choice([-1, 1], shape)).astype(dtype)


def specials(dtype=np.float32):
    """Values at which arithmetic changes its ways."""
    info = np.finfo(dtype)
    tiny = np.array([info.smallest_subnormal, 3 * info.smallest_subnormal, info.tiny / 2, info.tiny], dtype)
    one = dtype(1)
    middle = np.array([info.eps, 1e-3, 0.5, np.nextafter(one, dtype(0)), 1, np.nextafter(one, dtype(2)),
                       2, 88.5, 104, 1e4], dtype)
    positive = np.concatenate([tiny, middle, np.array([info.max / 4, info.max, np.inf], dtype)])
    return np.concatenate([positive, -positive, np.array([0, -0.0, np.nan], dtype)])


def pairs(first, second):
    """Every value of `first` with every value of `second`."""
    a, b = np.meshgrid(first, second, indexing="ij")
    return np.ascontiguousarray(a.ravel()), np.ascontiguousarray(b.ravel())
