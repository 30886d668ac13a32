"""PyTorch's items and mean of a case, where PyTorch has the function: its corner cases decide ours.

Works with PyTorch 1.13 and 2.x. `compute` gives None for what PyTorch does not have.
"""
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import sigmoid_focal_loss

IGNORE_INDEX = -100


def _regression(function, **parameters):
    return lambda t, given, reduction: function(
        t["predictions"], t["targets"], reduction=reduction,
        **{name: given.get(name, default) for name, default in parameters.items()})


def _poisson(t, given, reduction):
    return F.poisson_nll_loss(t["predictions"], t["targets"], log_input=given.get("log_input", True),
                              full=given.get("full", False), eps=given.get("eps", 1e-8), reduction=reduction)


def _gaussian(t, given, reduction):
    return F.gaussian_nll_loss(t["predictions"], t["targets"], t["variance"], full=given.get("full", False),
                               eps=given.get("eps", 1e-6), reduction=reduction)


def _binary(t, given, reduction):
    if "probs" in t:
        return F.binary_cross_entropy(t["probs"], t["targets"], reduction=reduction)
    return F.binary_cross_entropy_with_logits(t["logits"], t["targets"], pos_weight=t.get("pos_weight"),
                                              reduction=reduction)


def _weighted_binary(t, given, reduction):
    if "logits" not in t:
        return None
    weight = torch.tensor(given.get("weight", 1.0), dtype=t["logits"].dtype)
    return F.binary_cross_entropy_with_logits(t["logits"], t["targets"], pos_weight=weight,
                                              reduction=reduction)


def _focal(t, given, reduction):
    if "logits" not in t or "labels" in t:
        return None
    return sigmoid_focal_loss(t["logits"], t["targets"], alpha=given.get("alpha", -1),
                              gamma=given.get("gamma", 2.0), reduction=reduction)


def _soft_margin(t, given, reduction):
    return F.soft_margin_loss(t["predictions"], t["targets"], reduction=reduction)


def _hinge_embedding(t, given, reduction):
    return F.hinge_embedding_loss(t["distances"], t["targets"], margin=given.get("margin", 1.0),
                                  reduction=reduction)


def _margin_ranking(t, given, reduction):
    return F.margin_ranking_loss(t["first"], t["second"], t["targets"], margin=given.get("margin", 0.0),
                                 reduction=reduction)


def _log_predictions(t):
    if "logits" in t:
        return F.log_softmax(t["logits"], 1)
    return t["log_probs"] if "log_probs" in t else t["probs"].log()


def _cross_entropy(t, given, reduction):
    weight, ignore = t.get("class_weight"), given.get("ignore_index", IGNORE_INDEX)
    if "logits" in t:
        target = t["labels"] if "labels" in t else t["target_probs"]
        return F.cross_entropy(t["logits"], target, weight, ignore_index=ignore, reduction=reduction,
                               label_smoothing=given.get("label_smoothing", 0.0))
    if "labels" not in t or given.get("label_smoothing"):
        return None
    return F.nll_loss(_log_predictions(t), t["labels"], weight, ignore_index=ignore, reduction=reduction)


def _kl(t, given, reduction):
    log_target = "target_log_probs" in t
    found = F.kl_div(_log_predictions(t), t["target_log_probs" if log_target else "target_probs"],
                     log_target=log_target, reduction="none")
    if not given.get("pointwise"):
        found = found.sum(1)
    return found if reduction == "none" else found.mean()


_FUNCTIONS = {
    "mse": _regression(F.mse_loss),
    "mae": _regression(F.l1_loss),
    "smooth_l1": _regression(F.smooth_l1_loss, beta=1.0),
    "huber": _regression(F.huber_loss, delta=1.0),
    "poisson_nll": _poisson,
    "gaussian_nll": _gaussian,
    "binary_cross_entropy": _binary,
    "weighted_binary_cross_entropy": _weighted_binary,
    "focal": _focal,
    "soft_margin": _soft_margin,
    "hinge_embedding": _hinge_embedding,
    "margin_ranking": _margin_ranking,
    "cross_entropy": _cross_entropy,
    "kl_divergence": _kl,
}


def compute(case):
    """(items, mean) in the compute type, or None."""
    function = _FUNCTIONS.get(case.loss)
    if function is None or case.torch is not True:
        return None
    tensors = {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in case.widened().items()}
    found = function(tensors, case.parameters, "none")
    if found is None:
        return None
    mean = function(tensors, case.parameters, "mean")
    scale = 1 / np.log(2) if case.parameters.get("unit") == "BITS" else 1
    return found.numpy() * case.compute_type(scale), float(mean) * scale
