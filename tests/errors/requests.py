"""Wrong requests, as data: what is sent, and the status, reason and field that must come back."""
import dataclasses

import grpc
import numpy as np

from tests.support import tensors
from tests.support.stubs import loss_service_pb2, tensor_pb2

_INVALID = grpc.StatusCode.INVALID_ARGUMENT
_X = np.linspace(-1, 1, 6, dtype=np.float32)
_ROWS = _X.reshape(2, 3)
_LABELS = np.array([0, 2])


@dataclasses.dataclass
class Wrong:
    name: str
    request: object  # a ComputeLossRequest
    reason: str
    field: str  # "" where no field is to blame
    code: grpc.StatusCode = _INVALID
    says: tuple = ()  # parts of the message


def compute(loss, parameters=None, bindings=None, inputs=None, **fields):
    return tensors.request([tensors.loss(loss, parameters, bindings)], inputs or {}, **fields)


def pair(**changed):
    """predictions and targets, with changes; None takes an input away."""
    inputs = {"predictions": _X, "targets": _X} | changed
    return {name: array for name, array in inputs.items() if array is not None}


def classes(**changed):
    inputs = {"logits": _ROWS, "labels": _LABELS} | changed
    return {name: array for name, array in inputs.items() if array is not None}


def with_tensor(name, inputs=None, loss="mse", **fields):
    """A request one tensor of which is replaced, field by field."""
    request = compute(loss, inputs=inputs or pair())
    tensor = request.inputs[name]
    for field, value in fields.items():
        tensor.ClearField(field)
        if field == "shape":
            tensor.shape.extend(value)
        elif isinstance(value, list):
            getattr(tensor, field).extend(value)
        else:
            setattr(tensor, field, value)
    return request


def with_bytes(request, extra):
    """The request with bytes appended that this version does not know."""
    return loss_service_pb2.ComputeLossRequest.FromString(request.SerializeToString() + extra)


def _unknown_in_loss():
    request = compute("huber", {"delta": 2.0}, inputs=pair())
    request.losses[0].huber.MergeFromString(b"\xd2\x3f\x01x")  # field 1018, length-delimited
    return request


def _unknown_kind():
    request = compute("mse", inputs=pair())
    request.losses[0].ClearField("kind")
    request.losses[0].MergeFromString(b"\xd2\x3f\x00")  # a loss of a later version
    return request


def _no_kind():
    request = compute("mse", inputs=pair())
    request.losses[0].ClearField("kind")
    return request


def _input_errors():
    yield Wrong("an input that the loss does not have", compute("mse", bindings={"logits": "targets"}, inputs=pair()),
                "UNKNOWN_INPUT", 'losses[0].inputs["logits"]', says=("mse",))
    yield Wrong("bound to a tensor that was not uploaded",
                compute("mse", bindings={"predictions": "head_a"}, inputs=pair()),
                "MISSING_INPUT", 'losses[0].inputs["predictions"]', says=("head_a",))
    yield Wrong("a tensor that no loss reads", compute("mse", inputs=pair(logits=_X)), "UNKNOWN_INPUT",
                'inputs["logits"]', says=("mse", "logits"))
    yield Wrong("missing input", compute("mse", inputs=pair(targets=None)), "MISSING_INPUT", 'inputs["targets"]',
                says=("mse", "targets"))
    yield Wrong("missing labels", compute("cross_entropy", inputs=classes(labels=None)), "MISSING_INPUT",
                'inputs["labels"]', says=("cross_entropy", "labels"))
    yield Wrong("two alternatives",
                compute("cross_entropy", inputs=classes(probs=_ROWS)), "AMBIGUOUS_INPUT", "losses[0].inputs",
                says=("logits", "probs"))
    probs = {"probs": np.full(6, 0.5, np.float32), "targets": np.ones(6, np.float32), "pos_weight": np.ones(6, np.float32)}
    yield Wrong("an optional input that does not go with the others", compute("binary_cross_entropy", inputs=probs),
                "UNKNOWN_INPUT", 'inputs["pos_weight"]', says=("probs",))
    yield Wrong("predictions of a type for labels", compute("mse", inputs=pair(predictions=_X.astype(np.int32))),
                "DTYPE_MISMATCH", 'inputs["predictions"].dtype', says=("mse", "INT32"))
    yield Wrong("labels of floats", compute("cross_entropy", inputs=classes(labels=_LABELS.astype(np.float32))),
                "DTYPE_MISMATCH", 'inputs["labels"].dtype', says=("FLOAT32",))
    yield Wrong("no type", with_tensor("targets", dtype=0), "INVALID_DTYPE", 'inputs["targets"].dtype')
    yield Wrong("a type of a later version", with_tensor("targets", dtype=99), "INVALID_DTYPE",
                'inputs["targets"].dtype')
    yield Wrong("integer targets that f32 does not hold",
                compute("mse", inputs=pair(targets=np.array([0, 0, 16777217, 0, 0, 0]))),
                "INVALID_VALUE", 'inputs["targets"]', says=("16777217",))
    yield Wrong("gradients", compute("mse", inputs=pair(), gradients_of=["targets"]), "NO_GRADIENT",
                "gradients_of[0]")


def _shape_errors():
    yield Wrong("shapes that differ", compute("mse", inputs=pair(targets=_X[:5])), "SHAPE_MISMATCH",
                'inputs["targets"].shape', says=("[6]", "[5]"))
    yield Wrong("an extra dimension", compute("mse", inputs=pair(targets=_X.reshape(6, 1))), "SHAPE_MISMATCH",
                'inputs["targets"].shape')
    yield Wrong("labels of another N", compute("cross_entropy", inputs=classes(labels=np.array([0]))),
                "SHAPE_MISMATCH", 'inputs["labels"].shape')
    yield Wrong("logits of one dimension", compute("cross_entropy", inputs=classes(logits=_X)), "SHAPE_MISMATCH",
                'inputs["logits"].shape')
    yield Wrong("class_weight of another C", compute("cross_entropy", inputs=classes(class_weight=_X)),
                "SHAPE_MISMATCH", 'inputs["class_weight"].shape')
    yield Wrong("sample_weight of another N", compute("mse", inputs=pair(sample_weight=_X[3:])), "SHAPE_MISMATCH",
                'inputs["sample_weight"].shape')
    yield Wrong("data shorter than the shape", with_tensor("targets", data=_X.tobytes()[:-1]), "DATA_SIZE",
                'inputs["targets"].data', says=("24", "23"))
    yield Wrong("data longer than the shape", with_tensor("targets", data=_X.tobytes() + b"\0"), "DATA_SIZE",
                'inputs["targets"].data')
    yield Wrong("no data", with_tensor("targets", data=b""), "DATA_SIZE", 'inputs["targets"].data')
    yield Wrong("data twice", with_tensor("targets", float_values=[1.0] * 6), "AMBIGUOUS_DATA",
                'inputs["targets"].data')
    yield Wrong("too few values", with_tensor("targets", data=b"", float_values=[1.0] * 5), "DATA_SIZE",
                'inputs["targets"].float_values')
    yield Wrong("negative dimension", with_tensor("targets", shape=[-6]), "INVALID_SHAPE", 'inputs["targets"].shape')
    yield Wrong("two negative dimensions", with_tensor("targets", shape=[-2, -3]), "INVALID_SHAPE",
                'inputs["targets"].shape')
    yield Wrong("overflowing dimensions", with_tensor("targets", shape=[2 ** 32, 2 ** 32]), "INVALID_SHAPE",
                'inputs["targets"].shape')
    yield Wrong("bytes overflow", with_tensor("targets", shape=[2 ** 62]), "INVALID_SHAPE", 'inputs["targets"].shape')
    yield Wrong("too many dimensions", with_tensor("targets", shape=[1] * 8 + [6]), "INVALID_SHAPE",
                'inputs["targets"].shape')
    yield Wrong("a scalar", with_tensor("targets", shape=[], data=_X.tobytes()[:4]), "SHAPE_MISMATCH", None)


def _value_errors():
    for label in (-1, 3, 2 ** 40):
        yield Wrong(f"label {label}", compute("cross_entropy", inputs=classes(labels=np.array([0, label]))),
                    "LABEL_OUT_OF_RANGE", 'inputs["labels"]', says=(str(label), "[1]"))
    yield Wrong("label of zero_one", compute("zero_one", inputs=classes(labels=np.array([5, 0]))),
                "LABEL_OUT_OF_RANGE", 'inputs["labels"]', says=("5", "[0]"))
    yield Wrong("label of multi_margin", compute("multi_margin", inputs=classes(labels=np.array([0, 3]))),
                "LABEL_OUT_OF_RANGE", 'inputs["labels"]', says=("0 to 2", "3", "[1]"))
    for label in (-2, 3):
        labels = np.array([[0, -1, 99], [1, label, -1]])
        yield Wrong(f"label {label} of multilabel_margin",
                    compute("multilabel_margin", inputs=classes(labels=labels)), "LABEL_OUT_OF_RANGE",
                    'inputs["labels"]', says=("0 to 2", "-1", str(label), "[1,1]"))
    yield Wrong("target of multilabel_soft_margin",
                compute("multilabel_soft_margin",
                        inputs={"logits": _ROWS, "targets": np.float32([[0, 1, 0.5], [1, 2, 0]])}),
                "INVALID_VALUE", 'inputs["targets"]', says=("0 to 1", "2", "[1,1]"))
    for p in (0, 3):
        yield Wrong(f"p {p} of multi_margin", compute("multi_margin", {"p": p}, inputs=classes()),
                    "INVALID_PARAMETER", "losses[0].multi_margin.p", says=("1 to 2", str(p)))
    for value in (0, 2, 0.5, np.nan):
        targets = np.array([1, -1, value, 1, 1, 1], np.float32)
        yield Wrong(f"target {value} of hinge", compute("hinge", inputs=pair(targets=targets)), "INVALID_VALUE",
                    'inputs["targets"]', says=("[2]",))
    for value in (1.5, -0.1):
        targets = np.array([[0, 1, 0.5], [value, 1, 1]], np.float32)
        inputs = {"logits": _ROWS, "targets": targets}
        yield Wrong(f"target {value} of binary_cross_entropy", compute("binary_cross_entropy", inputs=inputs),
                    "INVALID_VALUE", 'inputs["targets"]', says=("[1,0]",))
    yield Wrong("negative variance", compute("gaussian_nll", inputs=pair(variance=_X)), "INVALID_VALUE",
                'inputs["variance"]', says=("[0]",))
    for value in (-1, np.nan, np.inf):
        weight = np.array([1, 1, 1, 1, 0, value], np.float32)
        yield Wrong(f"sample weight {value}", compute("mse", inputs=pair(sample_weight=weight)), "INVALID_VALUE",
                    'inputs["sample_weight"]', says=("[5]",))
    predictions = _X.copy()
    predictions[4] = np.nan
    yield Wrong("a NaN that is rejected",
                compute("mse", inputs=pair(predictions=predictions), non_finite="NON_FINITE_POLICY_REJECT"),
                "NON_FINITE_ITEM", None, says=("mse", "[4]"))


def _box_errors():
    boxes = np.array([[0, 0, 1, 1], [1, 1, 2, 2], [-2, -2, -1, -1]], np.float32)
    fine = np.abs(boxes)
    fine[2, 2:] = 3
    for loss in ("iou", "giou", "diou", "ciou"):
        for form, place, value in (("XYXY", 2, 0.5), ("XYXY", 3, 0.5), ("XYWH", 2, -0.5), ("CXCYWH", 3, -1e-30)):
            for name in ("predictions", "targets"):
                wrong = fine.copy()
                wrong[1, place] = value
                request = compute(loss, {"format": form}, inputs={"predictions": fine, "targets": fine} | {name: wrong})
                yield Wrong(f"{loss}, {form}, {name}: number {place} is {value}", request, "INVALID_VALUE",
                            f'inputs["{name}"]', says=(loss, f"[1,{place}]", "x2" if form == "XYXY" else "width"))
    yield Wrong("XYWH of boxes that are corners is no box", compute("iou", {"format": "XYWH"}, inputs={
        "predictions": boxes, "targets": boxes}), "INVALID_VALUE", None, says=("[2,2]", "-1"))
    for shape in ((3, 5), (12,), (3, 2, 4), (3, 0)):
        odd = np.zeros(shape, np.float32)
        yield Wrong(f"boxes of {shape}", compute("giou", inputs={"predictions": odd, "targets": odd}), "SHAPE_MISMATCH",
                    'inputs["predictions"].shape', says=("[N,4]",))
    yield Wrong("fewer targets than predictions", compute("diou", inputs={"predictions": boxes, "targets": boxes[:2]}),
                "SHAPE_MISMATCH", 'inputs["targets"].shape', says=("[3,4]", "[2,4]"))
    yield Wrong("an unknown format", compute("ciou", {"format": 4}, inputs={"predictions": boxes, "targets": boxes}),
                "UNKNOWN_FIELD", "losses[0].ciou.format", says=("4",))
    yield Wrong("eps below 0", compute("iou", {"eps": -1e-9}, inputs={"predictions": boxes, "targets": boxes}),
                "INVALID_PARAMETER", "losses[0].iou.eps", says=("eps",))


def _parameter_errors():
    bounds = (("huber", "delta", -1.0), ("huber", "delta", 0.0), ("huber", "delta", np.nan), ("huber", "delta", np.inf),
              ("smooth_l1", "beta", -1.0), ("smooth_l1", "beta", np.nan), ("quantile", "q", 1.5),
              ("quantile", "q", -0.5), ("poisson_nll", "eps", -1e-8), ("gaussian_nll", "eps", 0.0))
    for loss, parameter, value in bounds:
        inputs = pair(variance=np.abs(_X)) if loss == "gaussian_nll" else pair()
        yield Wrong(f"{loss} {parameter} {value}", compute(loss, {parameter: value}, inputs=inputs),
                    "INVALID_PARAMETER", f"losses[0].{loss}.{parameter}", says=(parameter,))
    for loss, parameter, value in (("cross_entropy", "label_smoothing", 1.5), ("zero_one", "top_k", 0),
                                   ("zero_one", "top_k", -3)):
        yield Wrong(f"{loss} {parameter} {value}", compute(loss, {parameter: value}, inputs=classes()),
                    "INVALID_PARAMETER", f"losses[0].{loss}.{parameter}")
    yield Wrong("a parameter that means nothing with these inputs", compute("focal", {"alpha": 0.5}, inputs=classes()),
                "UNUSED_PARAMETER", "losses[0].focal.alpha")
    request = compute("mse", inputs=pair())
    request.losses[0].weight = np.nan
    yield Wrong("weight NaN of a loss", request, "INVALID_PARAMETER", "losses[0].weight")
    yield Wrong("an unknown unit", compute("cross_entropy", {"unit": 7}, inputs=classes()), "UNKNOWN_FIELD",
                "losses[0].cross_entropy.unit", says=("7",))


def _request_errors():
    yield Wrong("no loss", tensors.request([], pair()), "NO_LOSS", "losses")
    yield Wrong("10,000 losses", tensors.request([tensors.loss("mse")] * 10000, pair()), "TOO_MANY_LOSSES", "losses",
                says=("64",))
    request = compute("mse", inputs=pair())
    request.losses[0].label = "x" * 129
    yield Wrong("a long label", request, "LABEL_TOO_LONG", "losses[0].label", says=("128",))
    request = compute("mse", inputs=pair())
    request.labels.model = "x" * 129
    yield Wrong("a long label of the evaluation", request, "LABEL_TOO_LONG", "labels.model")
    yield Wrong("a loss without a kind", _no_kind(), "NO_LOSS", "losses[0].kind")
    yield Wrong("a loss of a later version", _unknown_kind(), "UNKNOWN_FIELD", "losses[0]", says=("1018",))
    yield Wrong("an unknown field of a loss", _unknown_in_loss(), "UNKNOWN_FIELD", "losses[0].huber", says=("1018",))
    yield Wrong("an unknown field of the request", with_bytes(compute("mse", inputs=pair()), b"\xd8\x3f\x05"),
                "UNKNOWN_FIELD", None, says=("1019",))
    yield Wrong("an unknown reduction", compute("mse", inputs=pair(), reduction=9), "UNKNOWN_FIELD", "reduction",
                says=("9",))
    yield Wrong("an unknown policy", compute("mse", inputs=pair(), non_finite=9), "UNKNOWN_FIELD", "non_finite",
                says=("9",))


def _limit_errors():
    large = np.zeros(1_000_000, np.float32)
    request = tensors.request([tensors.loss("mse")] * 5, pair(predictions=large, targets=large),
                              reduction=loss_service_pb2.REDUCTION_NONE)
    yield Wrong("values of NONE over the limit of a message", request, "RESPONSE_TOO_LARGE", "reduction",
                code=grpc.StatusCode.RESOURCE_EXHAUSTED, says=("--max-message-bytes",))


def wrong_requests():
    for make in (_input_errors, _shape_errors, _value_errors, _box_errors, _parameter_errors, _request_errors,
                 _limit_errors):
        yield from make()


def empty_request():
    nothing = np.zeros((0, 3), np.float32)
    return compute("mse", inputs=pair(predictions=nothing, targets=nothing))


def hand_written(dtype="FLOAT32", shape=(2,), **values):
    return tensor_pb2.Tensor(dtype=f"DATA_TYPE_{dtype}", shape=shape, **values)
