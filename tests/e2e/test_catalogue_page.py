"""docs/catalogue.md is what the catalogue says now, of every loss, and its examples run as they stand."""
import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from docs import make_catalogue
from tests.losses import examples
from tests.support import lossctl

_HINT = "write it anew: /usr/bin/python3 -m docs.make_catalogue"


class CataloguePageTest(unittest.TestCase):
    maxDiff = 4000

    def test_every_loss_has_an_example(self):
        names = [loss["name"] for loss in make_catalogue.listed()]
        self.assertEqual(list(examples.by_loss()), names)

    def test_page_is_current(self):
        self.assertEqual(make_catalogue.PAGE.read_text(), make_catalogue.page(), _HINT)

    def test_examples_run_and_print_what_the_page_says(self):
        blocks = re.findall(r"^```sh\n(.*?)^```\n\n```text\n(.*?)^```$", make_catalogue.PAGE.read_text(),
                            re.MULTILINE | re.DOTALL)
        self.assertEqual(len(blocks), len(make_catalogue.listed()), _HINT)
        # Debian's python3 has NumPy.
        path = os.pathsep.join([str(pathlib.Path(lossctl.binary()).resolve().parent), "/usr/bin", os.environ["PATH"]])
        for commands, printed in blocks:
            with self.subTest(commands), tempfile.TemporaryDirectory() as folder:
                done = subprocess.run(["bash", "-euc", commands], cwd=folder, env={**os.environ, "PATH": path},
                                      capture_output=True, text=True, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                self.assertEqual([line.rstrip() for line in done.stdout.splitlines()], printed.splitlines())


if __name__ == "__main__":
    unittest.main()
