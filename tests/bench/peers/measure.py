"""Medians, and the memory that a call takes."""

import ctypes
import gc
import re
import statistics
import time


def median_seconds(call, seconds, samples=3):
    """The median of calls for so many seconds and at least so many; short calls are repeated. Call it warm."""
    start = time.perf_counter()
    call()
    each = time.perf_counter() - start
    repeats = max(1, int(2e-3 / max(each, 1e-7)))
    taken = [each] if repeats == 1 else []
    end = time.perf_counter() + seconds - each
    while len(taken) < samples or time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(repeats):
            call()
        taken.append((time.perf_counter() - start) / repeats)
    return statistics.median(taken)


def resident(field):
    with open("/proc/self/status", encoding="ascii") as status:
        return int(re.search(rf"{field}:\s+(\d+)", status.read())[1]) / 1e3


def extra_megabytes(call):
    """Resident memory that the call takes at most beyond what is there before it."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as refs:
        refs.write("5")  # the peak is now what is there
    before = resident("VmRSS")
    call()
    return max(0.0, resident("VmHWM") - before)
