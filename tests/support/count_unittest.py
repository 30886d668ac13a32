"""How many tests of a `python -m unittest` run passed and failed: `count_unittest LOG` prints two numbers.

A skipped test has failed, as has a run without a test or without an end.
"""
import pathlib
import re
import sys


def count(log):
    ran = re.findall(r"^Ran (\d+) tests? in ", log, re.MULTILINE)
    end = re.findall(r"^(OK|FAILED)(?: \((.*)\))?$", log, re.MULTILINE)
    if not ran or not end:
        return 0, 1
    bad = sum(int(number) for number in re.findall(r"=(\d+)", end[-1][1]))
    total = int(ran[-1])
    if total == 0 or (end[-1][0] == "FAILED" and bad == 0):
        bad = max(bad, 1)
    return max(0, total - bad), bad


if __name__ == "__main__":
    print(*count(pathlib.Path(sys.argv[1]).read_text()))
