"""What the image is made of, without an engine to build it: its packages, its command, its health check."""
import json
import os
import pathlib
import re
import subprocess
import tempfile
import time
import unittest

from tests.support import lossctl, server
from tests.support.stubs import ROOT

_DOCKERFILE = (ROOT / "Dockerfile").read_text()
_START_SECONDS = 20


def _command(instruction):
    """The exec form that follows an instruction of the Dockerfile."""
    return json.loads(re.search(rf"^\s*{instruction} (\[.*\])$", _DOCKERFILE, re.MULTILINE)[1])


def _output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _runtime_group():
    """The packages of install-deps.sh's group `runtime`."""
    script = (ROOT / "deploy/install-deps.sh").read_text()
    return set(re.search(r"^packages\[runtime\]='(.*?)'", script, re.MULTILINE | re.DOTALL)[1].split())


def _packages_of(libraries):
    """The packages that the files are of."""
    # A merged /usr has two names for a file, and dpkg knows one of them.
    names = {library: {library, os.path.realpath(library), f"/usr{library}"} for library in libraries}
    found = subprocess.run(["dpkg-query", "--search", *set().union(*names.values())], capture_output=True, text=True,
                           check=False).stdout
    owners = {path: package.split(":")[0] for package, path in re.findall(r"^(\S+): (/\S+)$", found, re.MULTILINE)}
    packages = set()
    for library, paths in names.items():
        of = {owners[path] for path in paths if path in owners}
        assert of, f"{library} is of no package"
        packages |= of
    return packages


class ImageTest(unittest.TestCase):
    def test_the_runtime_packages_are_what_the_binaries_link(self):
        linked = set()
        for binary in (server.binary(), lossctl.binary()):
            paths = dict(re.findall(r"(\S+) => (/\S+)", _output("ldd", binary)))
            # Those that the binary names itself; the loader is not looked up.
            linked |= {paths[name] for name in re.findall(r"NEEDED\s+(\S+)", _output("objdump", "-p", binary))
                       if name in paths}
        # Every Debian system has these.
        self.assertEqual(_packages_of(linked) - {"libc6", "libgcc-s1"}, _runtime_group())

    def test_the_command_serves_and_the_health_check_sees_it(self):
        with tempfile.TemporaryDirectory() as name:
            ports = pathlib.Path(name, "ports")
            lossd, *flags = _command("ENTRYPOINT")
            self.assertEqual(lossd, "lossd")
            free = [re.sub(r":\d+$", ":0", flag) for flag in flags]
            process = subprocess.Popen([server.binary(), *free, "--ports-file", ports], stderr=subprocess.DEVNULL)
            try:
                deadline = time.monotonic() + _START_SECONDS
                while not ports.exists() and time.monotonic() < deadline:
                    time.sleep(0.01)
                port = json.loads(ports.read_text())["listen"][0].rsplit(":")[-1]
                ctl, *check = _command("CMD")
                self.assertEqual(ctl, "lossctl")
                there = [flag.replace("127.0.0.1:50051", f"127.0.0.1:{port}") for flag in check]
                self.assertEqual(lossctl.run(*there).returncode, 0)
            finally:
                process.terminate()
                self.assertEqual(process.wait(timeout=20), 0)
            self.assertEqual(lossctl.run(*there).returncode, 1)

    def test_the_ports_are_those_that_compose_and_prometheus_name(self):
        ports = re.search(r"^EXPOSE (\d+) (\d+)$", _DOCKERFILE, re.MULTILINE).groups()
        listening = [flag.split(":")[1] for flag in _command("ENTRYPOINT") if ":" in flag]
        self.assertEqual(listening, list(ports))
        self.assertIn(f":{ports[0]}:{ports[0]}", (ROOT / "deploy/compose.yaml").read_text())
        self.assertIn(f"lossd:{ports[1]}", (ROOT / "deploy/prometheus/prometheus.yml").read_text())


if __name__ == "__main__":
    unittest.main()
