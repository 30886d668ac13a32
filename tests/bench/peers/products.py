#!/usr/bin/env python3
"""The bare matrix products that classifier losses are held against, by the fastest library at hand.

    products.py [--seconds S] > products.json

Candidates: PyTorch's mm (MKL in PyPI's wheels), oneDNN through PyTorch's mkldnn tensors, OpenBLAS through numpy with
each OPENBLAS_CORETYPE that suits AVX2 and AVX-512 processors: no library knows every processor. A smaller product of
each size picks the candidate that is then measured.
"""

import argparse
import json
import os
import subprocess
import sys

from measure import median_seconds

# Rows, width, classes, type: the sizes of lossd_bench's groups classifier and head.
SIZES = [(1024, 512, 100000, "f32"), (1024, 512, 100000, "f64"), (64, 4096, 128256, "f32"), (16, 4096, 128256, "f32")]
FEWER_CLASSES = 8  # times, in the trial
OPENBLAS_CORES = ["", "SkylakeX", "Cooperlake", "Zen", "Haswell"]  # "": what OpenBLAS itself picks


def product_of_torch(candidate, rows, width, classes, dtype, threads):
    import torch

    torch.set_num_threads(threads)
    kind = {"f32": torch.float32, "f64": torch.float64}[dtype]
    x, w = torch.randn(rows, width, dtype=kind), torch.randn(classes, width, dtype=kind)
    if candidate == "torch.mm":
        return lambda: torch.mm(x, w.T)
    x, w = x.to_mkldnn(), w.to_mkldnn()
    return lambda: torch.nn.functional.linear(x, w)


def product_of_numpy(rows, width, classes, dtype):
    import numpy

    kind = {"f32": numpy.float32, "f64": numpy.float64}[dtype]
    random = numpy.random.default_rng(1)
    x = random.standard_normal((rows, width)).astype(kind)
    w = random.standard_normal((classes, width)).astype(kind)
    return lambda: x @ w.T


def measured(candidate, size, threads, seconds):
    """Seconds of one candidate, in a process of its own: libraries take their settings when they start."""
    environment = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
    if candidate.startswith("OpenBLAS "):
        environment["OPENBLAS_CORETYPE"] = candidate.split()[1]
    command = [sys.executable, __file__, "--one", candidate, json.dumps([*size, threads, seconds])]
    run = subprocess.run(command, env=environment, capture_output=True, text=True)
    return float(run.stdout) if run.returncode == 0 else None


def one(candidate, text):
    rows, width, classes, dtype, threads, seconds = json.loads(text)
    if candidate.startswith("OpenBLAS"):
        call = product_of_numpy(rows, width, classes, dtype)
    else:
        call = product_of_torch(candidate, rows, width, classes, dtype, threads)
    call()
    print(median_seconds(call, seconds))


def candidates(dtype):
    found = ["torch.mm"] + (["oneDNN"] if dtype == "f32" else [])
    return found + [f"OpenBLAS {core}".strip() for core in OPENBLAS_CORES]


def fastest(size, threads, seconds):
    rows, width, classes, dtype = size
    trial = (rows, width, classes // FEWER_CLASSES, dtype)
    trials = {c: measured(c, trial, threads, 0.1) for c in candidates(dtype)}
    trials = {c: t for c, t in trials.items() if t is not None}
    best = min(trials, key=trials.get)
    return {
        "name": f"[{rows},{width}]x{classes} {dtype}/threads:{threads}",
        "library": best,
        "seconds": measured(best, size, threads, seconds),
        "trials": trials,
    }


def main():
    if sys.argv[1:2] == ["--one"]:
        one(*sys.argv[2:])
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=0.5)
    options = parser.parse_args()
    rows = []
    for size in SIZES:
        for threads in sorted({1, os.cpu_count()}):
            rows.append(fastest(size, threads, options.seconds))
            print(rows[-1], file=sys.stderr)
    json.dump({"rows": rows}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
