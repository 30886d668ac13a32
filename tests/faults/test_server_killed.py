"""The server goes away in the middle of an evaluation through the C++ SDK: the bits of the unbroken one.

200 MB in 50 batches (evaluate_batches.cc). Every broken run is of one client process, which never learns of it
but by its own retries; the server comes back on the same port.
"""
import os
import random
import signal
import time
import unittest

from tests.faults import disturbed
from tests.support import server

_BATCHES = 50
_ELEMENTS_OF_BATCH = 500_000
_KILLS = 10


class ServerKilledTest(unittest.TestCase):
    def start(self, listen="127.0.0.1:0", *flags):
        self.lossd = server.Server(*flags, listen=listen)
        self.addCleanup(self.lossd.close)

    def restart(self):
        address = self.lossd.address
        self.lossd.close()
        self.start(address)

    def evaluate(self):
        evaluation = disturbed.Evaluation(self.lossd.address, _BATCHES)
        self.addCleanup(evaluation.close)
        return evaluation

    def unbroken(self):
        result = self.evaluate().result()
        self.assertEqual(int(result[0]), _BATCHES * _ELEMENTS_OF_BATCH)
        return result

    def test_ten_kills(self):
        self.start()
        whole = self.unbroken()
        seed = int.from_bytes(os.urandom(4), "little")
        print(f"test_ten_kills: seed {seed}")
        moments = random.Random(seed)
        evaluation = self.evaluate()
        for number in sorted(moments.sample(range(_BATCHES), _KILLS)):
            evaluation.wait_for_batch(number)
            time.sleep(moments.uniform(0, 0.02))
            self.lossd.process.kill()
            self.lossd.process.wait()
            time.sleep(moments.uniform(0, 0.1))
            self.restart()
        # Items counted once: their number, the exact sum and the whole state.
        self.assertEqual(evaluation.result(), whole, f"seed {seed}")
        # The last kill may come when everything was answered; the others never do.
        self.assertGreaterEqual(evaluation.count("retry"), _KILLS - 1, f"seed {seed}")

    def test_drain(self):
        self.start("127.0.0.1:0", "--drain-seconds", "10")
        whole = self.unbroken()
        evaluation = self.evaluate()
        evaluation.wait_for_batch(_BATCHES // 2)
        self.lossd.process.send_signal(signal.SIGTERM)
        self.assertEqual(self.lossd.process.wait(timeout=10), 0)
        checkpoints = evaluation.count("checkpoint")
        self.restart()
        self.assertEqual(evaluation.result(), whole)
        self.assertGreater(evaluation.count("checkpoint"), checkpoints)
        # The last checkpoint of the old server covers all that it had counted, so what the new one is sent again
        # is at most what was on the way.
        asked = [int(event[1]) for event in evaluation.events if event[0] == "batch"]
        self.assertGreater(evaluation.count("retry"), 0)
        self.assertLess(len(asked) - len(set(asked)), _BATCHES // 4)


if __name__ == "__main__":
    unittest.main()
