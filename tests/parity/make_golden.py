#!/usr/bin/env python3
"""Writes golden.npz: what the newest PyTorch computes for the cases of tests/losses. Run by hand.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch torchvision numpy mpmath
    /tmp/golden/bin/python -m tests.parity.make_golden      # from the root of the repository

The file holds the inputs too, so that the test needs neither PyTorch nor the random generator of one numpy. It is
two arrays: `index`, JSON with the versions and one entry a case, and `data`, the bytes of all arrays one after
the other.
"""
import json
import pathlib
import platform

import numpy as np
import torch
import torchvision

from tests.losses import catalogue, torch_reference
from tests.support.floats import Bfloat16

_LARGEST = 2000  # elements of a case's inputs: keeps the file at a few megabytes


class Writer:
    def __init__(self):
        self.data, self.offset = [], 0

    def put(self, array):
        """Where the array lies: (type, shape, offset)."""
        kind = "bfloat16" if isinstance(array, Bfloat16) else array.dtype.str
        data = array.tobytes()
        entry = [kind, list(array.shape), self.offset]
        self.data.append(data)
        self.offset += len(data)
        return entry


def main():
    writer, entries = Writer(), []
    for case in catalogue.cases():
        if sum(int(np.prod(array.shape)) for array in case.inputs.values()) > _LARGEST:
            continue
        decided = torch_reference.compute(case)
        if decided is None:
            continue
        items, mean = decided
        entries.append({"name": case.name, "loss": case.loss, "parameters": case.parameters,
                        "inputs": {name: writer.put(array) for name, array in case.inputs.items()},
                        "items": writer.put(np.ascontiguousarray(items)),
                        "mean": mean.hex() if np.isfinite(mean) else str(mean)})
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": np.__version__,
                "python": platform.python_version(), "machine": platform.machine()}
    index = json.dumps({"versions": versions, "cases": entries}, sort_keys=True).encode()
    path = pathlib.Path(__file__).with_name("golden.npz")
    np.savez_compressed(path, index=np.frombuffer(index, np.uint8),
                        data=np.frombuffer(b"".join(writer.data), np.uint8))
    print(f"{len(entries)} cases, {path.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
