"""Reads golden.npz, which make_golden.py wrote."""
import json
import pathlib

import numpy as np

from tests.losses.case import Case
from tests.support.floats import Bfloat16


def _array(data, kind, shape, offset):
    dtype = np.dtype("<u2" if kind == "bfloat16" else kind)
    count = int(np.prod(shape))
    found = np.frombuffer(data, dtype, count, offset).reshape(shape)
    if kind != "bfloat16":
        return found
    return Bfloat16((found.astype(np.uint32) << 16).view(np.float32))


def load():
    """(versions, [(case, items, mean)])."""
    with np.load(pathlib.Path(__file__).with_name("golden.npz")) as file:
        index, data = json.loads(file["index"].tobytes()), file["data"].tobytes()
    found = []
    for entry in index["cases"]:
        inputs = {name: _array(data, *place) for name, place in entry["inputs"].items()}
        case = Case(entry["name"], entry["loss"], inputs, entry["parameters"])
        mean = entry["mean"]
        found.append((case, _array(data, *entry["items"]),
                      float.fromhex(mean) if "0x" in mean else float(mean)))
    return index["versions"], found
