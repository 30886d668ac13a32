"""Real lossd processes for tests.

LOSSD_BIN names the binary (default build/release/bin/lossd of the repository); LOSSD_TARGETS the instruction
sets to force, separated by commas (default: all that this machine has).
"""
import atexit
import json
import os
import pathlib
import platform
import shutil
import subprocess
import tempfile
import time

import grpc

from tests.support.stubs import ROOT, loss_service_pb2, loss_service_pb2_grpc

_MAX_MESSAGE_BYTES = 64 << 20
_START_SECONDS = 20


def binary():
    return os.environ.get("LOSSD_BIN", str(ROOT / "build/release/bin/lossd"))


def targets():
    """The instruction sets to test, the best one last."""
    if "LOSSD_TARGETS" in os.environ:
        return os.environ["LOSSD_TARGETS"].split(",")
    if platform.machine() == "aarch64":
        return ["neon"]
    flags = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    wide = {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}
    return ["avx2", "avx512"] if wide <= flags else ["avx2"]


class Server:
    """A lossd process and a channel to it."""

    def __init__(self, *flags, target=None, listen="127.0.0.1:0"):
        self._folder = tempfile.mkdtemp(prefix="lossd-test-")
        ports = pathlib.Path(self._folder, "ports.json")
        self.channel = None
        self.log = pathlib.Path(self._folder, "log")
        environment = {k: v for k, v in os.environ.items() if not k.startswith("LOSSD_")}
        if target:
            environment["LOSSD_TARGET"] = target
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary(), "--listen", listen, "--metrics-listen", "127.0.0.1:0",
                 "--ports-file", str(ports), *flags],
                stdout=log, stderr=log, env=environment)
        atexit.register(self.close)
        deadline = time.monotonic() + _START_SECONDS
        while not ports.exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"lossd did not start: {self.log.read_text()}")
            time.sleep(0.01)
        bound = json.loads(ports.read_text())
        self.address = bound["listen"][0]
        self.metrics = bound["metrics_listen"]
        self.channel = connect(self.address)
        self.stub = loss_service_pb2_grpc.LossServiceStub(self.channel)
        self.info = self.stub.GetServerInfo(loss_service_pb2.GetServerInfoRequest(), timeout=10)

    def alive(self):
        """The process runs and answers."""
        if self.process.poll() is not None:
            return False
        self.stub.GetServerInfo(loss_service_pb2.GetServerInfoRequest(), timeout=10)
        return True

    def close(self):
        """Ends the process in order and gives its exit code."""
        if self.channel:
            self.channel.close()
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)
        return self.process.returncode


def connect(address):
    return grpc.insecure_channel(address, options=[
        ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
        ("grpc.use_local_subchannel_pool", 1)])


_shared = {}


def shared(target=None, threads=None):
    """A server that tests share; one for each pair of arguments, ended with the interpreter."""
    key = (target, threads)
    if key not in _shared:
        flags = ("--threads", str(threads)) if threads else ()
        _shared[key] = Server(*flags, target=target)
    return _shared[key]
