#!/usr/bin/env python3
"""Writes golden_classifier.npz: what pytorch-metric-learning computes for classifier losses. Run by hand.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch numpy pytorch-metric-learning
    /tmp/golden/bin/python -m tests.parity.make_golden_classifier      # from the root of the repository

The file holds the inputs, the gradients of the mean, and `index`, JSON with the versions and one entry a loss with
its parameters as lossd names them. Beyond an angle of pi - margin its ArcFaceLoss goes on with another function,
where lossd keeps to cos(t + margin): such rows are left out. Its normalised rows divide by at least 1e-12 and its
cosines by nothing more, so all but zero vectors agree.
"""
import json
import pathlib

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning import losses

_ROWS, _CLASSES, _WIDTH = 24, 7, 6


def make_inputs():
    random = np.random.default_rng(29)
    return {"embeddings": random.normal(0, 1, (_ROWS, _WIDTH)), "classifier": random.normal(0, 1, (_CLASSES, _WIDTH)),
            "labels": random.integers(0, _CLASSES, _ROWS)}


def make_losses():
    """(loss, parameters, the library's)."""
    sizes = {"num_classes": _CLASSES, "embedding_size": _WIDTH}
    for scale, margin in ((64.0, 0.35), (10.0, 0.2), (30.0, 0.0)):
        yield "cosface", {"scale": scale, "margin": margin}, losses.CosFaceLoss(margin=margin, scale=scale, **sizes)
    for scale, margin in ((64.0, 0.5), (10.0, 0.2), (30.0, 1.0)):
        function = losses.ArcFaceLoss(margin=float(np.degrees(margin)), scale=scale, **sizes)
        yield "arcface", {"scale": scale, "margin": margin}, function
    for margin in (1, 2, 3, 4, 5):
        yield "l_softmax", {"margin": margin}, losses.LargeMarginSoftmaxLoss(margin=margin, **sizes)
        yield "a_softmax", {"margin": margin}, losses.SphereFaceLoss(margin=margin, scale=1, **sizes)
    for scale in (20.0, 2.0):
        yield "normface", {"scale": scale}, losses.NormalizedSoftmaxLoss(temperature=1 / scale, **sizes)


def compute(function, inputs):
    """(mean, gradient of the embeddings, of the classifier)."""
    embeddings = torch.from_numpy(inputs["embeddings"]).requires_grad_(True)
    function.W = torch.nn.Parameter(torch.from_numpy(inputs["classifier"].T.copy()))
    value = function(embeddings, torch.from_numpy(inputs["labels"]))
    value.backward()
    return value.item(), embeddings.grad.numpy(), function.W.grad.numpy().T


def rows_of(loss, parameters, inputs):
    """The rows on which the two definitions are one."""
    if loss != "arcface":
        return np.arange(_ROWS)
    x, w = inputs["embeddings"], inputs["classifier"][inputs["labels"]]
    cosines = (x * w).sum(1) / np.linalg.norm(x, axis=1) / np.linalg.norm(w, axis=1)
    return np.flatnonzero(np.arccos(cosines) <= np.pi - parameters["margin"])


def main():
    inputs, entries, arrays = make_inputs(), [], {}
    for number, (loss, parameters, function) in enumerate(make_losses()):
        rows = rows_of(loss, parameters, inputs)
        used = inputs | {name: inputs[name][rows] for name in ("embeddings", "labels")}
        value, of_embeddings, of_classifier = compute(function, used)
        arrays[f"{number}.embeddings"], arrays[f"{number}.classifier"] = of_embeddings, of_classifier
        entries.append({"loss": loss, "parameters": parameters, "rows": rows.tolist(), "mean": value.hex()})
    versions = {"pytorch_metric_learning": pytorch_metric_learning.__version__, "torch": torch.__version__,
                "numpy": np.__version__}
    index = json.dumps({"versions": versions, "entries": entries}, sort_keys=True).encode()
    path = pathlib.Path(__file__).with_name("golden_classifier.npz")
    np.savez_compressed(path, index=np.frombuffer(index, np.uint8), **inputs, **arrays)
    print(f"{len(entries)} losses, {path.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
