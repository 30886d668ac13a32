"""What the fault tests share: an evaluation that can be watched, and a look into a server from outside."""
import os
import pathlib
import queue
import re
import subprocess
import threading
import time
import urllib.request

from tests.support import server

_SECONDS = 60


def binary():
    """evaluate_batches.cc. LOSSD_EVALUATE_BATCHES names it (default: beside lossd)."""
    beside = pathlib.Path(server.binary()).with_name("evaluate_batches")
    return os.environ.get("LOSSD_EVALUATE_BATCHES", str(beside))


class Evaluation:
    """evaluate_batches as a process, its events as they happen."""

    def __init__(self, address, batches):
        self.process = subprocess.Popen([binary(), address, str(batches)], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        self.events = []
        self._queue = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._queue.put(line.split())
        self._queue.put(None)

    def _next(self):
        event = self._queue.get(timeout=_SECONDS)
        if event is not None:
            self.events.append(event)
        return event

    def wait_for_batch(self, number):
        """Until the SDK asks for this batch or a later one."""
        while (event := self._next()) is not None:
            if event[0] == "batch" and int(event[1]) >= number:
                return
        raise AssertionError(f"ended before batch {number}: {self.process.stderr.read()}")

    def result(self):
        """The fields of the result line; a failed evaluation is an error."""
        while self._next() is not None:
            pass
        told = self.process.stderr.read()
        if self.process.wait(timeout=_SECONDS) != 0:
            raise AssertionError(told)
        return self.events[-1][1:]

    def count(self, kind):
        return sum(event[0] == kind for event in self.events)

    def close(self):
        self.process.kill()
        self.process.wait()
        self._reader.join()
        self.process.stdout.close()
        self.process.stderr.close()


def metric(lossd, name):
    """A gauge without labels."""
    with urllib.request.urlopen(f"http://{lossd.metrics}/metrics", timeout=10) as page:
        text = page.read().decode()
    return float(re.search(rf"^{name} (\S+)$", text, re.MULTILINE).group(1))


def settles(condition, seconds=10):
    """Whether the condition holds within so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def resident_peak_bytes(process):
    """The most memory that the process ever had resident."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)) << 10
