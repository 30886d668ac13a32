"""numpy arrays <-> lossd.v1 messages."""
import re

import numpy as np

from tests.support.floats import Bfloat16
from tests.support.stubs import loss_service_pb2, losses_pb2, tensor_pb2

_DTYPES = {
    np.dtype("<f4"): tensor_pb2.DATA_TYPE_FLOAT32,
    np.dtype("<f8"): tensor_pb2.DATA_TYPE_FLOAT64,
    np.dtype("<f2"): tensor_pb2.DATA_TYPE_FLOAT16,
    np.dtype("<i4"): tensor_pb2.DATA_TYPE_INT32,
    np.dtype("<i8"): tensor_pb2.DATA_TYPE_INT64,
    np.dtype("u1"): tensor_pb2.DATA_TYPE_UINT8,
    np.dtype("?"): tensor_pb2.DATA_TYPE_BOOL,
}
_NUMPY = {value: key for key, value in _DTYPES.items()}


def tensor(array):
    if isinstance(array, Bfloat16):
        return tensor_pb2.Tensor(dtype=tensor_pb2.DATA_TYPE_BFLOAT16, shape=array.shape,
                                 data=array.tobytes())
    array = np.asarray(array)
    return tensor_pb2.Tensor(dtype=_DTYPES[array.dtype], shape=array.shape,
                             data=np.ascontiguousarray(array).tobytes())


def array(message):
    """The array of a tensor that came back."""
    return np.frombuffer(message.data, _NUMPY[message.dtype]).reshape(tuple(message.shape))


def loss(name, parameters=None, bindings=None, label="", weight=None):
    """A lossd.v1.Loss; enum parameters take the short form, `unit="BITS"`."""
    message = losses_pb2.Loss(label=label, inputs=bindings or {}, weight=weight)
    kind = getattr(message, name)
    kind.SetInParent()
    for key, value in (parameters or {}).items():
        enum = kind.DESCRIPTOR.fields_by_name[key].enum_type
        if enum and isinstance(value, str):
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", enum.name).upper()
            value = enum.values_by_name[f"{prefix}_{value}"].number
        if key == "scales":
            for anchors in value:
                kind.scales.add(anchors=[losses_pb2.YoloAnchor(width=w, height=h) for w, h in anchors])
            continue
        setattr(kind, key, value)
    return message


def request(losses, inputs, **fields):
    """A ComputeLossRequest."""
    return loss_service_pb2.ComputeLossRequest(
        losses=losses, inputs={name: tensor(value) for name, value in inputs.items()}, **fields)
