#!/usr/bin/env python3
"""Writes golden_masks.npz: what MONAI and segmentation-models compute for masks. Run by hand.

    python3 -m venv /tmp/golden && /tmp/golden/bin/pip install torch numpy monai segmentation-models-pytorch
    /tmp/golden/bin/python -m tests.parity.make_golden_masks      # from the root of the repository

The file holds the inputs, named form.input, and `index`, JSON with the versions and one entry a value: the library,
the form, the loss with its parameters as lossd names them, and the value. MONAI adds its smooth terms to
doubled sums for jaccard, segmentation-models to halved ones for dice. segmentation-models pools the sums of the
batch, gives a class that no target has a loss of 0 (here every class has some), and takes the power of the mean over
the classes, which is why its gamma stands with one class only.
"""
import json
import pathlib

import monai
import numpy as np
import segmentation_models_pytorch
import torch
from monai.losses import DiceLoss, TverskyLoss
from segmentation_models_pytorch import losses as smp

_SMOOTH = (0.0, 1.0, 0.125)
_WEIGHTS = ((0.5, 0.5), (0.3, 0.7), (1.0, 1.0))
_CLASSES = 3


def make_forms():
    random = np.random.default_rng(23)
    shape, classes = (4, 6, 5), (4, _CLASSES, 6, 5)
    targets, labels = random.integers(0, 2, shape), random.integers(0, _CLASSES, shape)
    probs = random.uniform(0.01, 1, classes)
    return {
        "logits": {"logits": random.normal(0, 2, shape), "targets": targets.astype(float)},
        "probs": {"probs": random.uniform(0, 1, shape), "targets": targets.astype(float)},
        "class_logits": {"logits": random.normal(0, 2, classes), "labels": labels},
        "class_probs": {"probs": probs / probs.sum(1, keepdims=True), "labels": labels},
    }


def of_monai(form, inputs):
    """(loss, parameters, items or the one value)."""
    classes = "labels" in inputs
    prediction = torch.from_numpy(inputs["logits" if "logits" in inputs else "probs"])
    if classes:  # MONAI's own one-hot targets are f32
        target = torch.nn.functional.one_hot(torch.from_numpy(inputs["labels"])).movedim(-1, 1).double()
    else:
        target, prediction = torch.from_numpy(inputs["targets"]).unsqueeze(1), prediction.unsqueeze(1)
    common = {"sigmoid": form == "logits", "softmax": form == "class_logits", "reduction": "none"}
    for whole in (False, True):
        pooling = {"pooling": "WHOLE" if whole else "PER_SAMPLE"}
        for smooth in _SMOOTH:
            for squared in (False, True):
                given = pooling | {"smooth": smooth, "squared": squared}
                for loss, scale in (("dice", 1), ("jaccard", 2)):
                    function = DiceLoss(squared_pred=squared, jaccard=loss == "jaccard", smooth_nr=scale * smooth,
                                        smooth_dr=scale * smooth, batch=whole, **common)
                    yield loss, given, function(prediction, target).numpy(), whole
            for alpha, beta in _WEIGHTS:
                function = TverskyLoss(alpha=alpha, beta=beta, smooth_nr=smooth, smooth_dr=smooth, batch=whole,
                                       **common)
                yield ("tversky", pooling | {"smooth": smooth, "alpha": alpha, "beta": beta},
                       function(prediction, target).numpy(), whole)


def of_smp(form, inputs):
    classes = "labels" in inputs
    mode = "multiclass" if classes else "binary"
    logits = "logits" in inputs
    prediction = torch.from_numpy(inputs["logits" if logits else "probs"])
    target = torch.from_numpy(inputs["labels" if classes else "targets"])
    prediction = prediction if classes else prediction.unsqueeze(1)
    for smooth in _SMOOTH:
        given = {"pooling": "WHOLE", "smooth": smooth}
        for loss, function, scale in (("dice", smp.DiceLoss, 0.5), ("jaccard", smp.JaccardLoss, 1)):
            value = function(mode, from_logits=logits, smooth=scale * smooth, eps=1e-30)(prediction, target)
            yield loss, given, float(value)
        for alpha, beta in _WEIGHTS:
            for gamma in (1.0,) if classes else (1.0, 0.75, 2.0):
                value = smp.TverskyLoss(mode, from_logits=logits, smooth=smooth, eps=1e-30, alpha=alpha, beta=beta,
                                        gamma=gamma)(prediction, target)
                yield "tversky", given | {"alpha": alpha, "beta": beta, "gamma": gamma}, float(value)


def main():
    forms, entries = make_forms(), []
    for form, inputs in forms.items():
        for loss, parameters, found, whole in of_monai(form, inputs):
            # Over the classes the mean; of the batch, where it is pooled, there is one row.
            items = found.reshape(1 if whole else 4, -1).mean(1)
            entries.append({"library": "monai", "form": form, "loss": loss, "parameters": parameters,
                            "values": items.tolist()})
        for loss, parameters, value in of_smp(form, inputs):
            entries.append({"library": "segmentation_models_pytorch", "form": form, "loss": loss,
                            "parameters": parameters, "values": [value]})
    versions = {"monai": monai.__version__, "segmentation_models_pytorch": segmentation_models_pytorch.__version__,
                "torch": torch.__version__, "numpy": np.__version__}
    index = json.dumps({"versions": versions, "entries": entries}, sort_keys=True).encode()
    arrays = {f"{form}.{name}": array for form, inputs in forms.items() for name, array in inputs.items()}
    path = pathlib.Path(__file__).with_name("golden_masks.npz")
    np.savez_compressed(path, index=np.frombuffer(index, np.uint8), **arrays)
    print(f"{len(entries)} values, {path.stat().st_size} bytes, {versions}")


if __name__ == "__main__":
    main()
