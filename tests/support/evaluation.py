"""Evaluate over the wire: streams of batches, cut where a test wants them cut."""
import hashlib
import threading

import numpy as np

from tests.support import tensors
from tests.support.stubs import evaluation_pb2, loss_service_pb2

_SECONDS = 60


def spec(losses, constants=None, every_batch=False, **fields):
    """An EvaluationSpec; `constants` are arrays by name; a checkpoint after every batch on request."""
    message = evaluation_pb2.EvaluationSpec(losses=losses, **fields)
    for name, array in (constants or {}).items():
        tensor = tensors.tensor(array)
        message.constants.add(name=name, dtype=tensor.dtype, shape=tensor.shape,
                              sha256=hashlib.sha256(tensor.data).digest())
    if every_batch:
        message.checkpoint_cadence.bytes = 1
    return message


def step(**fields):
    return loss_service_pb2.EvaluateRequest(**fields)


def batch(inputs, sequence=None):
    return step(batch=evaluation_pb2.Batch(
        sequence=sequence, inputs={name: tensors.tensor(value) for name, value in inputs.items()}))


def constant_steps(constants, piece=3):
    for name, array in (constants or {}).items():
        flat = np.asarray(array).ravel()
        for start in range(0, flat.size, piece):
            yield step(constant=evaluation_pb2.Constant(name=name, offset=start,
                                                        piece=tensors.tensor(flat[start:start + piece])))


def finish():
    return step(finish=evaluation_pb2.Finish())


def run(stub, steps):
    """Sends the steps and gives all events of the stream; a failed call raises."""
    return list(stub.Evaluate(iter(steps), timeout=_SECONDS))


def evaluate(stub, message, batches, constants=None):
    """The EvaluationResult of the batches (dicts of arrays)."""
    def steps():
        yield step(spec=message)
        yield from constant_steps(constants)
        for inputs in batches:
            yield batch(inputs)
        yield finish()
    return run(stub, steps())[-1].result


def broken(stub, message, batches, first, progress_wanted, cut):
    """Sends numbered batches and loses the stream after so many events, by cut(call).

    Gives the last Progress that arrived, or None.
    """
    enough = threading.Event()

    def steps():
        yield step(spec=message)
        for sequence in range(first, len(batches)):
            if enough.is_set():
                return
            yield batch(batches[sequence], sequence)
        enough.wait(_SECONDS)  # no finish: the stream stays open until it is cut
    call = stub.Evaluate(steps(), timeout=_SECONDS)
    last, seen = None, 0
    try:
        for event in call:
            last, seen = event.progress, seen + 1
            if seen >= progress_wanted or last.next_sequence >= len(batches):
                break
        cut(call)
        for event in call:
            last = event.progress
    except Exception:  # the stream is gone: what arrived counts
        pass
    finally:
        enough.set()
    return last


def resume(stub, message, batches, progress, resend=0):
    """Goes on from a Progress to the end, repeating `resend` batches that were counted already."""
    resumed = evaluation_pb2.EvaluationSpec()
    resumed.CopyFrom(message)
    start = 0
    if progress is not None:
        resumed.resume_from.CopyFrom(progress.checkpoint)
        resumed.next_sequence = start = progress.next_sequence

    def steps():
        yield step(spec=resumed)
        for sequence in range(max(0, start - resend), len(batches)):
            yield batch(batches[sequence], sequence)
        yield finish()
    return run(stub, steps())[-1].result
