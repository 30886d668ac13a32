#!/usr/bin/env python3
"""Draws docs/benchmarks.png and .svg: the share of its limit that each work reaches.

    plot.py FOLDER
"""

import pathlib
import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

import results  # noqa: E402

DOCS = pathlib.Path(__file__).resolve().parents[2] / "docs"
TITLES = {
    "element": "element-wise",
    "classes": "rows of logits",
    "pairs": "embeddings",
    "boxes": "boxes",
    "masks": "masks",
    "classifier": "face classifier (of the bare product)",
    "head": "language-model head (of the bare product)",
    "gradients": "gradients (with what is written)",
    "service": "service (of bare gRPC)",
}
COLOURS = ("#9ec5e8", "#1f5f99")  # one thread, all threads


def shares(rows):
    """{group: {work: [share with the fewest threads, ... with the most]}}."""
    found = {group: {} for group in TITLES}
    for row in rows:
        if row.group in found and row.share is not None:
            found[row.group].setdefault(row.work, []).append(row.share)
    return {group: works for group, works in found.items() if works}


def draw(found, threads):
    place, ticks, names = 0, [], []
    figure, axes = plt.subplots(figsize=(8.6, 0.235 * sum(len(w) + 1.6 for w in found.values()) + 0.9))
    for group, works in found.items():
        axes.text(0, place, TITLES[group], fontsize=9, fontweight="bold", va="center")
        for work, both in works.items():
            place += 1
            height = 0.8 / len(both)
            for i, share in enumerate(both):
                y = place - 0.4 + height * (i + 0.5)
                axes.barh(y, share, height, color=COLOURS[i if len(both) > 1 else 1])
            axes.text(max(both) + 0.01, place, f"{both[-1]:.2f}", fontsize=7.5, va="center",
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})
            ticks.append(place)
            names.append(work)
        place += 1.6
    axes.axvline(1, color="#444444", linewidth=0.8, linestyle="--")
    axes.set_yticks(ticks, names, fontsize=8)
    axes.set_ylim(place - 0.6, -1)
    axes.set_xlim(0, max(1.1, 1.08 * max(s for works in found.values() for both in works.values() for s in both)))
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlabel("share of the limit measured beside it (dashed: the limit); numbers: all threads", fontsize=8.5)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    handles = [plt.Rectangle((0, 0), 1, 1, color=colour) for colour in COLOURS]
    axes.legend(handles, ["1 thread", f"{threads} threads"], fontsize=8, loc="lower right", frameon=False,
                bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0)
    return figure


def main(folder):
    rows = results.kernel_rows(folder, DOCS / "accuracy.md") + results.service_rows(folder)
    figure = draw(shares(rows), results.context(folder)["num_cpus"])
    matplotlib.rcParams["svg.hashsalt"] = "lossd"  # the same file from the same numbers
    for suffix in ("png", "svg"):
        metadata = {"Date": None} if suffix == "svg" else None
        figure.savefig(DOCS / f"benchmarks.{suffix}", dpi=110, bbox_inches="tight", metadata=metadata)


if __name__ == "__main__":
    main(sys.argv[1])
