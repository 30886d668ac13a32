#!/usr/bin/env python3
"""Writes docs/benchmarks.md from what tests/bench/run.sh measured.

    report.py FOLDER
"""

import pathlib
import platform
import re
import subprocess
import sys

import results

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "benchmarks.md"

TEXT = """# Benchmarks

<!-- Written by tests/bench/report.py from a run of tests/bench/run.sh. -->

{machine}, {cores} cores, {memory} GB; {system}. {date}. lossd {commit} by {compiler}, kernels for {target}.
{peer}

[benchmarks-guide.md](benchmarks-guide.md) says what the columns are and how far they can be trusted. In short: GB/s
counts input once (and gradients written); the limit is a plain pass over the same memory by as many threads, or the
bare matrix product, measured in turn with the work; PyTorch's columns are how often as long it takes; error is the
worst of a million random items.

![Share of the limit](benchmarks.png)

| work | threads | lossd | limit | ratio | PyTorch eager | compiled | memory beside input | error |
|---|---|---|---|---|---|---|---|---|
{rows}
"""


def cells(row):
    return [f"{row.group}: {row.work}", row.threads, row.speed, row.limit, row.ratio, row.eager, row.compiled,
            row.memory, row.error]


def machine():
    text = pathlib.Path("/proc/cpuinfo").read_text()
    found = re.search(r"model name\s*: (.*)", text)
    return found[1] if found else platform.machine()


def memory_gigabytes():
    kilobytes = re.search(r"MemTotal:\s+(\d+)", pathlib.Path("/proc/meminfo").read_text())[1]
    return round(int(kilobytes) / 1e6)


def page(folder):
    rows = results.kernel_rows(folder, REPOSITORY / "docs" / "accuracy.md") + results.service_rows(folder)
    facts = results.context(folder)
    commit = subprocess.run(["git", "-C", REPOSITORY, "rev-parse", "--short", "HEAD"], capture_output=True, text=True)
    peer = f"PyTorch {facts['torch']}." if facts["torch"] else "PyTorch was not measured: it could not be installed."
    return TEXT.format(
        machine=machine(), cores=facts["num_cpus"], memory=memory_gigabytes(),
        system=platform.freedesktop_os_release()["PRETTY_NAME"], date=facts["date"][:10],
        commit=commit.stdout.strip() or "(no git)", compiler=f"g++ {facts['compiler']}",
        target=facts["target"], peer=peer, rows="\n".join("| " + " | ".join(cells(row)) + " |" for row in rows))


if __name__ == "__main__":
    PAGE.write_text(page(sys.argv[1]))
    print(PAGE)
