#!/usr/bin/env python3
"""PyTorch on the works of lossd_bench: eager and compiled, warm, medians, with the threads that are asked for.

    torch_peer.py [--filter REGEX] [--seconds S] [--threads N]... [--no-compile] > peer.json

One JSON object: versions, and rows with the name that lossd_bench gives the work, seconds eager and compiled (null, with
a note, where torch.compile fails), and the memory that an eager call takes beyond its inputs.
"""

import argparse
import gc
import json
import os
import re
import sys

import torch

import works
from measure import extra_megabytes, median_seconds


def call_of(loss, arguments, inputs):
    if not inputs:

        def forward():
            with torch.inference_mode():
                return loss(*arguments)

        return forward

    def forward_and_backward():
        for tensor in inputs:
            tensor.grad = None
        loss(*arguments).backward()

    return forward_and_backward


def measure(name, threads, seconds, compiled, made):
    loss, arguments, inputs = made
    torch.set_num_threads(threads)
    eager = call_of(loss, arguments, inputs)
    row = {"name": f"{name}/threads:{threads}", "extra_MB": extra_megabytes(eager)}
    row["eager_seconds"] = median_seconds(eager, seconds)
    if not compiled:
        return row
    torch._dynamo.reset()  # the code of another number of threads
    try:
        call = call_of(torch.compile(loss), arguments, inputs)
        call()
        row["compiled_seconds"] = median_seconds(call, seconds)
    except Exception as error:  # whatever the compiler raises: the row says so
        row["compiled_seconds"] = None
        row["note"] = f"torch.compile: {type(error).__name__}"
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--filter", default="")
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--threads", type=int, action="append", default=None)
    parser.add_argument("--no-compile", action="store_true")
    options = parser.parse_args()
    cores = os.cpu_count()
    rows = []
    for name, make in works.WORKS.items():
        if not re.search(options.filter, name):
            continue
        torch.manual_seed(1)
        made = make()
        for tensor in made[2]:
            tensor.requires_grad_()
        for threads in options.threads or sorted({1, cores}):
            if name.startswith("small/") and threads > 1:
                continue
            row = measure(name, threads, options.seconds, not options.no_compile, made)
            print(row, file=sys.stderr)
            rows.append(row)
        del made
        gc.collect()
    versions = {"torch": torch.__version__, "cpu": torch.backends.cpu.get_cpu_capability()}
    json.dump({"versions": versions, "rows": rows}, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
