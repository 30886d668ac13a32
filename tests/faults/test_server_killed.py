"""kill -9 of the server at random moments of an evaluation through the C++ SDK: the bits of the unbroken one."""
import json
import os
import pathlib
import random
import subprocess
import tempfile
import time
import unittest

import numpy as np

from tests.support import lossctl, server

_KILLS = 10
_ELEMENTS = 25_000_000  # two files of 100 MB


class ServerKilledTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)
        self.socket = self.folder / "lossd.sock"
        self.process = None
        self.addCleanup(lambda: self.process and self.stop())
        values = np.random.default_rng(5)
        for name in ("predictions", "targets"):
            scale = 10.0 ** values.integers(-10, 10, _ELEMENTS, dtype="i1")
            np.save(self.folder / name, (values.normal(size=_ELEMENTS) * scale).astype("f4"))

    def start(self):
        self.socket.unlink(missing_ok=True)
        self.process = subprocess.Popen(
            [server.binary(), "--listen", f"unix:{self.socket}", "--metrics-listen", "127.0.0.1:0"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not self.socket.exists():
            self.assertIsNone(self.process.poll(), "lossd did not start")
            time.sleep(0.005)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def evaluate(self):
        return subprocess.Popen(
            [lossctl.binary(), "evaluate", "--server", f"unix:{self.socket}", "--loss", "mse", "--loss", "mean_bias",
             "--format", "json", "--input", f"predictions={self.folder}/predictions.npy",
             "--input", f"targets={self.folder}/targets.npy"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def test_equals_the_unbroken_evaluation(self):
        self.start()
        begin = time.monotonic()
        whole, told = self.evaluate().communicate(timeout=60)
        seconds = time.monotonic() - begin
        self.assertTrue(whole, told)
        self.assertEqual(json.loads(whole)["summaries"][0]["result"]["items"], str(_ELEMENTS))

        seed = int.from_bytes(os.urandom(4), "little")
        moments = random.Random(seed)
        kills = 0
        broken = None
        while kills < _KILLS:
            if broken is None or broken.poll() is not None:
                # It came through between two kills: checked, and the next one takes the rest of them.
                self.check(broken, whole, seed)
                broken = self.evaluate()
            time.sleep(moments.uniform(0.05, 0.8) * seconds)
            if broken.poll() is not None:
                continue
            self.stop()
            kills += 1
            time.sleep(moments.uniform(0, 0.2))
            self.start()
        self.check(broken, whole, seed)

    def check(self, process, whole, seed):
        if process is None:
            return
        result, told = process.communicate(timeout=120)
        self.assertEqual(process.returncode, 0, f"seed {seed}: {told}")
        self.assertEqual(result, whole, f"seed {seed}")


if __name__ == "__main__":
    unittest.main()
