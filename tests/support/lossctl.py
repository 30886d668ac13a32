"""lossctl as a process. LOSSCTL_BIN names the binary (default: beside lossd)."""
import os
import pathlib
import subprocess

from tests.support import server


def binary():
    named = os.environ.get("LOSSCTL_BIN", pathlib.Path(server.binary()).with_name("lossctl"))
    return str(pathlib.Path(named).resolve())  # it may run in another folder


def run(*arguments, timeout=60, cwd=None):
    """The finished process, with stdout and stderr as text."""
    return subprocess.run([binary(), *map(str, arguments)], capture_output=True, text=True, timeout=timeout,
                          check=False, cwd=cwd)
