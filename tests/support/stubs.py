"""Python stubs of lossd.v1, generated from the repository's protos when the tests start.

Needs protoc and grpc_python_plugin (Debian: protobuf-compiler, protobuf-compiler-grpc).
"""
import atexit
import importlib
import pathlib
import shutil
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
_FILES = ("tensor", "losses", "evaluation", "loss_service")


def _generate():
    folder = tempfile.mkdtemp(prefix="lossd-stubs-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = ["protoc", f"-I{ROOT / 'proto'}", f"--python_out={folder}", f"--grpc_out={folder}",
               f"--plugin=protoc-gen-grpc={shutil.which('grpc_python_plugin')}"]
    subprocess.run(command + [f"lossd/v1/{name}.proto" for name in _FILES], check=True)
    sys.path.insert(0, folder)


_generate()
tensor_pb2 = importlib.import_module("lossd.v1.tensor_pb2")
losses_pb2 = importlib.import_module("lossd.v1.losses_pb2")
evaluation_pb2 = importlib.import_module("lossd.v1.evaluation_pb2")
loss_service_pb2 = importlib.import_module("lossd.v1.loss_service_pb2")
loss_service_pb2_grpc = importlib.import_module("lossd.v1.loss_service_pb2_grpc")
