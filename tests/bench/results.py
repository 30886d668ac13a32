"""What a run of tests/bench/run.sh left in its folder, as rows that report.py and plot.py show."""

import collections
import dataclasses
import json
import pathlib
import re
import statistics
from typing import Optional

SECONDS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1}
# Rows that are for who works on a kernel, not for the table.
LEFT_OUT = ("cache",)
# Works whose memory is no limit worth the name: they take far longer than reading it.
WITHOUT_LIMIT = ("sequences",)


@dataclasses.dataclass
class Row:
    group: str
    work: str
    threads: str
    speed: str  # with its unit
    limit: str = ""
    ratio: str = ""
    share: Optional[float] = None  # of the limit's speed, where there is a limit
    eager: str = ""  # how often as long the peer takes
    compiled: str = ""
    memory: str = ""
    error: str = ""


def read(folder, pattern):
    return [json.loads(path.read_text()) for path in sorted(pathlib.Path(folder).glob(pattern))]


def medians(samples):
    """{name: [{field: number}, ...]} to {name: {field: median}}."""
    merged = {}
    for name, rows in samples.items():
        fields = {field for row in rows for field in row if isinstance(row[field], (int, float))}
        merged[name] = {f: statistics.median(row[f] for row in rows if row.get(f) is not None) for f in fields}
    return merged


def kernels(folder):
    samples = collections.defaultdict(list)
    for run in read(folder, "lossd-*.json"):
        for row in run["benchmarks"]:
            row["seconds"] = row["real_time"] * SECONDS[row["time_unit"]]
            samples[re.sub(r"/iterations.*", "", row["name"])].append(row)
    return medians(samples)


def peers(folder):
    samples = collections.defaultdict(list)
    for run in read(folder, "torch-*.json"):
        for row in run["rows"]:
            samples[row["name"]].append(row)
    return medians(samples)


def products(folder):
    """The bare products, and the libraries that were the fastest."""
    samples = collections.defaultdict(list)
    libraries = {}
    for run in read(folder, "products-*.json"):
        for row in run["rows"]:
            samples[row["name"]].append(row)
            libraries[row["name"]] = row["library"]
    return {name: (row["seconds"], libraries[name]) for name, row in medians(samples).items()}


def errors(page):
    """{loss: (f32, f64)} of docs/accuracy.md, as it words them."""
    found = {}
    for line in pathlib.Path(page).read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if re.fullmatch(r"`\w+`", cells[0]):
            found[cells[0].strip("`")] = (cells[2], cells[3])
    return found


def time_text(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def times_text(peer_seconds, seconds):
    return f"{peer_seconds / seconds:.2g}x" if peer_seconds else ""


def against_product(row, size, threads, all_kernels, all_products):
    """Of a classifier: limit, ratio and share by the bare product, which computes in f32 unless in f64."""
    dtype, sizes = size
    name = f"{sizes} {'f64' if dtype == 'f64' else 'f32'}/threads:{threads}"
    if name not in all_products:
        return "", "", None
    seconds, library = all_products[name]
    limit = f"product {time_text(seconds)} ({library})"
    forward = all_kernels.get(row.replace(", gradients", ""))
    if ", gradients" in row and forward:
        beside = all_kernels[row]["seconds"] - forward["seconds"]
        return limit, f"{beside / seconds:.2f} products beside the forward", None
    taken = all_kernels[row]["seconds"]
    ratio = f"{taken / seconds:.2f} times the product"
    if row.startswith("head/"):
        ratio += f"; {1 / all_kernels[row]['ratio']:.2f} reads of the input"
    return limit, ratio, seconds / taken


def kernel_rows(folder, accuracy_page):
    all_kernels, all_peers, all_products = kernels(folder), peers(folder), products(folder)
    error = errors(accuracy_page)
    rows = []
    for name, numbers in all_kernels.items():
        group, rest = name.split("/", 1)
        work, threads = rest.rsplit("/threads:", 1)
        if group in LEFT_OUT:
            continue
        row = Row(group, work, threads, time_text(numbers["seconds"]))
        if "GBps" in numbers and group not in WITHOUT_LIMIT:
            row.speed += f", {numbers['GBps']:.3g} GB/s"
            row.limit = f"{numbers['limit']:.3g} GB/s"
            row.share = numbers["ratio"]
            row.ratio = f"{row.share:.2f}"
        size = re.search(r"(\w+) (\[[\d,]+\]x\d+)", work)
        if size:
            row.limit, row.ratio, row.share = against_product(name, size.groups(), threads, all_kernels, all_products)
        if "of_dearest" in numbers:
            row.ratio = f"{numbers['of_dearest']:.2f} times the dearest alone"
        full = all_kernels.get(name.replace(" bf16 ", " f32 "))
        if group == "classes" and " bf16 " in name and full:
            row.ratio += f"; {full['seconds'] / numbers['seconds']:.2f} times the rows a second of f32"
        peer = all_peers.get(name, {})
        row.eager = times_text(peer.get("eager_seconds"), numbers["seconds"])
        row.compiled = times_text(peer.get("compiled_seconds"), numbers["seconds"])
        if group in ("classifier", "head"):
            row.memory = f"{numbers['extra_MB']:.3g} MB"
            if "extra_MB" in peer:
                row.memory += f" (PyTorch {peer['extra_MB']:.4g})"
        loss = re.match(r"\w+", work)[0]
        if loss in error and group not in ("several", "gradients") and ", gradients" not in work:
            row.error = error[loss][1 if " f64" in work else 0]
        rows.append(row)
    return rows


def service_rows(folder):
    rows = []
    for listed in read(folder, "service.json"):
        for r in listed:
            row = Row("service", r["work"], "", f"{r['value']:.4g} {r['unit']}")
            if r.get("limit"):
                row.limit = f"{r['limit_value']:.4g} {r['unit']} ({r['limit']})"
                row.share = None if r["unit"] == "MB" else r["ratio"]
                row.ratio = "; ".join(filter(None, [f"{r['ratio']:.2f}", r["note"]]))
            if r.get("peer"):
                row.eager = f"{r['peer_ratio']:.2g}x ({r['peer']})"
            rows.append(row)
    return rows


def context(folder):
    """What the first runs say of machine and versions."""
    runs, torch_runs = read(folder, "lossd-*.json"), read(folder, "torch-*.json")
    facts = dict(runs[0]["context"])
    facts["torch"] = torch_runs[0]["versions"]["torch"] if torch_runs else None
    return facts
