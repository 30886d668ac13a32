"""The details of a failed call: google.rpc.Status from the trailer `grpc-status-details-bin`.

The messages are described here a second time, under their public names, so that the tests hold the
wire format and the type URLs, not the repository's copies of them.
"""
import dataclasses

from google.protobuf import any_pb2, descriptor_pb2, descriptor_pool, duration_pb2, message_factory

_STRING, _INT32, _MESSAGE = 9, 5, 11
_MESSAGES = {
    "Status": [("code", 1, _INT32, 1, ""), ("message", 2, _STRING, 1, ""),
               ("details", 3, _MESSAGE, 3, ".google.protobuf.Any")],
    "ErrorInfo": [("reason", 1, _STRING, 1, ""), ("domain", 2, _STRING, 1, "")],
    "FieldViolation": [("field", 1, _STRING, 1, ""), ("description", 2, _STRING, 1, "")],
    "BadRequest": [("field_violations", 1, _MESSAGE, 3, ".google.rpc.FieldViolation")],
    "RetryInfo": [("retry_delay", 1, _MESSAGE, 1, ".google.protobuf.Duration")],
}


def _build():
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(any_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(duration_pb2.DESCRIPTOR.serialized_pb)
    file = descriptor_pb2.FileDescriptorProto(
        name="public_status.proto", package="google.rpc", syntax="proto3",
        dependency=[any_pb2.DESCRIPTOR.name, duration_pb2.DESCRIPTOR.name])
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, number, kind, label, type_name in fields:
            message.field.add(name=field, number=number, type=kind, label=label,
                              type_name=type_name or None)
    pool.Add(file)
    factory = message_factory.MessageFactory(pool)
    return {name: factory.GetPrototype(pool.FindMessageTypeByName(f"google.rpc.{name}"))
            for name in _MESSAGES}


_TYPES = _build()


@dataclasses.dataclass
class Details:
    code: int = 0
    message: str = ""
    reason: str = ""
    domain: str = ""
    fields: tuple = ()
    retry_seconds: float = 0.0


def details(error):
    """The details of a grpc.RpcError; empty where it carries none."""
    found = Details()
    trailer = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin")
    if trailer is None:
        return found
    status = _TYPES["Status"].FromString(trailer)
    found.code, found.message = status.code, status.message
    for packed in status.details:
        prefix, _, name = packed.type_url.rpartition("google.rpc.")
        assert prefix == "type.googleapis.com/", packed.type_url
        detail = _TYPES[name].FromString(packed.value)
        if name == "ErrorInfo":
            found.reason, found.domain = detail.reason, detail.domain
        elif name == "BadRequest":
            found.fields = tuple(v.field for v in detail.field_violations)
        elif name == "RetryInfo":
            found.retry_seconds = detail.retry_delay.seconds + detail.retry_delay.nanos * 1e-9
    return found
