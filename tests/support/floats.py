"""The narrow floating types: bfloat16, which numpy does not have, and how f16 and bf16 widen."""
import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Bfloat16:
    """An array of bfloat16, which numpy does not have: the upper halves of `widened`'s float32."""

    widened: np.ndarray

    @staticmethod
    def rounded(array):
        """The nearest bfloat16 of finite values, ties to even."""
        bits = np.asarray(array, np.float32).view(np.uint32).astype(np.uint64)
        bits = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16 << 16).astype(np.uint32)
        return Bfloat16(bits.view(np.float32))

    @property
    def shape(self):
        return self.widened.shape

    def tobytes(self):
        return (self.widened.view(np.uint32) >> 16).astype("<u2").tobytes()


def widen(array):
    """The values as numpy knows them: float16 and bfloat16 as float32, everything else unchanged."""
    if isinstance(array, Bfloat16):
        return array.widened
    return array.astype(np.float32) if array.dtype == np.float16 else array
