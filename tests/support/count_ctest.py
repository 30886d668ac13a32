"""How many test cases of a CTest run passed and failed: `count_ctest JUNIT_FILE` prints two numbers.

A GoogleTest binary counts by its cases, as the summary in its output gives them; any other entry, and a binary
that ended before its summary, counts as one. A case that was skipped or disabled has failed: it shows nothing.
"""
import re
import sys
import xml.etree.ElementTree as ElementTree

_PASSED = re.compile(r"^\[  PASSED  \] (\d+) tests?\.$", re.MULTILINE)
_OTHERS = re.compile(r"^(?:\[  (?:FAILED |SKIPPED) \] (\d+) tests?, listed below:|  YOU HAVE (\d+) DISABLED TESTS?)$",
                     re.MULTILINE)


def count(junit):
    passed = failed = 0
    for entry in ElementTree.parse(junit).getroot().iter("testcase"):
        output = entry.findtext("system-out") or ""
        good = sum(map(int, _PASSED.findall(output)))
        bad = sum(int(listed or disabled) for listed, disabled in _OTHERS.findall(output))
        if entry.get("status") == "run":
            good = good if good + bad > 0 else 1
        else:
            bad = max(bad, 1)
        passed += good
        failed += bad
    return passed, failed


if __name__ == "__main__":
    print(*count(sys.argv[1]))
