"""lossctl as a process. LOSSCTL_BIN names the binary (default: beside lossd)."""
import os
import pathlib
import subprocess

from tests.support import server


def binary():
    return os.environ.get("LOSSCTL_BIN", str(pathlib.Path(server.binary()).with_name("lossctl")))


def run(*arguments, timeout=60):
    """The finished process, with stdout and stderr as text."""
    return subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          check=False)
