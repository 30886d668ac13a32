"""The service as a Python engineer would write it: grpcio and PyTorch, for comparison.

    python_server.py --listen 127.0.0.1:50051 --listen unix:/tmp/peer.sock

It knows mse with its mean, over float32. The tensors are views of the bytes that arrived (torch.frombuffer: no
copy), malloc keeps its memory as lossd's does, messages may have any size. Needs grpcio, protobuf, torch; the stubs
are made from the repository's protos (tests/support/stubs.py).
"""
import argparse
import concurrent.futures
import ctypes
import os
import pathlib
import sys
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3]))

import grpc  # noqa: E402
import torch  # noqa: E402

from tests.support.stubs import loss_service_pb2, loss_service_pb2_grpc  # noqa: E402

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def _tune_allocator():
    """As server/lifecycle/allocator.h does."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_TRIM_THRESHOLD, 2_000_000_000)
    libc.mallopt(_M_TOP_PAD, 64 << 20)
    libc.mallopt(_M_MMAP_THRESHOLD, 32 << 20)


def _view(tensor):
    return torch.frombuffer(tensor.data, dtype=torch.float32).view(tuple(tensor.shape))


class LossService(loss_service_pb2_grpc.LossServiceServicer):
    def ComputeLoss(self, request, context):
        predictions = _view(request.inputs["predictions"])
        targets = _view(request.inputs["targets"])
        value = torch.nn.functional.mse_loss(predictions, targets).item()
        response = loss_service_pb2.ComputeLossResponse(total=value)
        response.results.add(loss="mse", value=value, items=predictions.numel())
        return response

    def Evaluate(self, request_iterator, context):
        total, items = 0.0, 0
        for request in request_iterator:
            if request.WhichOneof("step") != "batch":
                continue
            predictions = _view(request.batch.inputs["predictions"])
            targets = _view(request.batch.inputs["targets"])
            total += torch.nn.functional.mse_loss(predictions, targets, reduction="sum").item()
            items += predictions.numel()
        response = loss_service_pb2.EvaluateResponse()
        result = response.result.summaries.add().result
        result.loss, result.value, result.sum, result.items = "mse", total / max(1, items), total, items
        yield response


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--listen", action="append", required=True)
    arguments = parser.parse_args()
    _tune_allocator()
    warnings.filterwarnings("ignore", message="The given buffer is not writable")
    cores = os.cpu_count() or 1
    torch.set_num_threads(cores)
    torch.set_grad_enabled(False)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=2 * cores),
                         options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)])
    loss_service_pb2_grpc.add_LossServiceServicer_to_server(LossService(), server)
    for address in arguments.listen:
        server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
