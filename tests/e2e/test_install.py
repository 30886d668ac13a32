"""What `cmake --install` puts down: the SDK's sample and the README's program, built against it, outside the tree."""
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.support import server
from tests.support.readme import ADDRESS, fence
from tests.support.stubs import ROOT

_BUILD = pathlib.Path(server.binary()).resolve().parents[1]


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout


class InstallTest(unittest.TestCase):
    def test_the_sample(self):
        said = _run(ROOT / "tests/e2e/install_test.sh", _BUILD, server.shared().address)
        self.assertIn("equal to the bit\n", said)

    def test_the_program_of_the_readme(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            _run("cmake", "--install", _BUILD, "--prefix", folder / "installed")
            source = fence("cpp")
            (folder / "CMakeLists.txt").write_text(fence("cmake"))
            (folder / "app.cc").write_text(source.replace(ADDRESS, server.shared().address))
            _run("cmake", "-S", folder, "-B", folder / "build", f"-DCMAKE_PREFIX_PATH={folder / 'installed'}")
            _run("cmake", "--build", folder / "build")
            self.assertEqual(_run(folder / "build/app").strip(), re.search(r"// (huber \S+)\n", source)[1])


if __name__ == "__main__":
    unittest.main()
