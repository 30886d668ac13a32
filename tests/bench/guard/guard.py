#!/usr/bin/env python3
"""The regression guard: instructions per element of small works of each form, against committed ones.

    tests/bench/guard/guard.py            compares; exits 1 if a count grew by more than 10%, and names it
    tests/bench/guard/guard.py --update   writes the counts of this compiler anew

Counts instructions under valgrind, on AVX2 (valgrind knows no AVX-512). Unlike time, they are the same on a loaded
machine and on every processor; they say nothing about memory or about what an instruction costs: lossd_bench does.
They depend on the compiler, so the baseline is one for each; docs/benchmarks-guide.md says more.
"""

import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import subprocess
import sys

BASELINE = pathlib.Path(__file__).parent / "baseline.json"
GUARD = os.environ.get("LOSSD_GUARD", "build/release/bin/lossd_guard")
TOLERANCE = 0.10
# A work is run once and so many times more: the difference has neither the start of the program nor what the first
# call prepares. About as many elements in all: the start varies by up to 100,000 instructions from run to run.
ELEMENTS = 2_000_000
MOST_TIMES = 4000


def output_of(*arguments):
    return subprocess.run([GUARD, *arguments], check=True, capture_output=True, text=True).stdout


def instructions(work, times):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", GUARD, work, str(times)]
    run = subprocess.run(command, env={**os.environ, "LOSSD_TARGET": "avx2"}, capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or collected is None:
        raise RuntimeError(f"{work}: {run.stderr}")
    return int(collected[1])


def per_element(work, elements):
    times = min(MOST_TIMES, max(2, ELEMENTS // elements))
    spent = instructions(work, 1 + times) - instructions(work, 1)
    return float(f"{spent / times / elements:.4g}")


def measure():
    works = [line.split("\t") for line in output_of().splitlines()]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda work: per_element(work[0], int(work[1])), works)
        return dict(zip([name for name, _ in works], counts))


def compare(baseline, counts):
    """Prints a line a work; returns how many grew, or are in one of the two only."""
    bad = 0
    shrank = False
    for name in {**baseline, **counts}:
        before, now = baseline.get(name), counts.get(name)
        if before is None or now is None:
            verdict = "no such work any more: --update" if now is None else "not in the baseline: --update"
            bad += 1
        elif now > before * (1 + TOLERANCE):
            verdict = "GREW"
            bad += 1
        elif now < before * (1 - TOLERANCE):
            verdict = "shrank: --update keeps it so"
            shrank = True
        else:
            verdict = ""
        change = f"{now / before - 1:+7.1%}" if before and now else ""
        print(f"{name:58} {before or '-':>10} {now or '-':>10} {change:8} {verdict}".rstrip())
    if shrank:
        print("Some works take fewer instructions: hold what was won by tests/bench/guard/guard.py --update")
    return bad


def main():
    parser = argparse.ArgumentParser(description="instructions per element against committed ones")
    parser.add_argument("--update", action="store_true", help="write the counts of this compiler anew")
    arguments = parser.parse_args()
    compiler = output_of("--compiler").strip()
    baselines = json.loads(BASELINE.read_text()) if BASELINE.exists() else {}
    counts = measure()
    if arguments.update:
        baselines[compiler] = counts
        BASELINE.write_text(json.dumps(baselines, indent=2, sort_keys=True) + "\n")
        print(f"{BASELINE}: {len(counts)} works of {compiler}")
        return 0
    if compiler not in baselines:
        print(f"{BASELINE} has no counts of {compiler}: write them by --update, from a tree that is known to be good")
        return 1
    print(f"{'work, by ' + compiler:58} {'before':>10} {'now':>10}  instructions per element")
    bad = compare(baselines[compiler], counts)
    print(f"{len(counts)} works, {bad} above the baseline by more than {TOLERANCE:.0%} or without one")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
