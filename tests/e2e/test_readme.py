"""What README.md says: its Python client runs, and its tables are those of the program."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest
import urllib.request

from docs import make_catalogue
from tests.support import lossctl, server
from tests.support.readme import ADDRESS, fence, table
from tests.support.stubs import ROOT


class ReadmeTest(unittest.TestCase):
    def test_python_client(self):
        server_address = server.shared().address
        with tempfile.TemporaryDirectory() as name:
            pathlib.Path(name, "proto").symlink_to(ROOT / "proto")
            subprocess.run(["bash", "-euc", fence("sh")], cwd=name, check=True)
            source = fence("python")
            done = subprocess.run(["/usr/bin/python3", "-c", source.replace(ADDRESS, server_address)], cwd=name,
                                  env={**os.environ, "PYTHONPATH": "stubs"}, capture_output=True, text=True,
                                  check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout.strip(), re.search(r"# (huber \S+)\n", source)[1])

    def test_losses(self):
        self.assertEqual(table("The losses of this version"), list(make_catalogue.readme_rows()),
                         "write it anew: /usr/bin/python3 -m docs.make_catalogue")

    def test_limits(self):
        told = subprocess.run([server.binary(), "--help"], capture_output=True, text=True, check=True).stdout
        rows = {flag.strip("`"): default for flag, default, _ in table("Limits")}
        for flag, default in rows.items():
            self.assertRegex(told, rf"{flag} \w+={default}\s")
        limits = server.shared().info.limits
        self.assertEqual(set(rows), {f"--{limit.flag}" for limit in limits})

    def test_metrics(self):
        inputs = ROOT / "tests/data/diabetes"
        done = lossctl.run("evaluate", "--server", server.shared().address, "--loss", "mse", "--model", "m",
                           "--input", f"predictions={inputs}/predictions.npy",
                           "--input", f"targets={inputs}/targets.npy")
        self.assertEqual(done.returncode, 0, done.stderr)
        with urllib.request.urlopen(f"http://{server.shared().metrics}/metrics", timeout=10) as page:
            text = page.read().decode()
        told = {name: set(re.findall(r"\w+", labels)) for names, labels in table("Metrics")
                for name in re.findall(r"`(\w+)`", names)}
        families = set(re.findall(r"^# TYPE (?!exposer_)(\w+)", text, re.MULTILINE))
        self.assertEqual(set(told), families)
        for name, labels in told.items():
            sample = re.search(rf"^{name}(?:_count)?(?:\{{(.*)\}})? ", text, re.MULTILINE)
            self.assertEqual(set(re.findall(r'(\w+)="', sample[1] or "")), labels, name)


if __name__ == "__main__":
    unittest.main()
