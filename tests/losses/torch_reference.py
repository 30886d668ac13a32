"""PyTorch's items and mean of a case, where PyTorch has the function: its corner cases decide ours.

Works with PyTorch 1.13 and 2.x. `compute` gives None for what PyTorch does not have.
"""
import numpy as np
import torch
import torch.nn.functional as F
from torchvision.ops import (complete_box_iou_loss, distance_box_iou_loss, generalized_box_iou_loss,
                             sigmoid_focal_loss)

from tests.losses import torch_classifier, torch_whole

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


def _cosine_embedding(t, given, reduction):
    return F.cosine_embedding_loss(t["first"], t["second"], t["targets"], margin=given.get("margin", 0.0),
                                   reduction=reduction)


def _distance(given):
    """Between rows, as a metric of triplet says."""
    metric, eps = given.get("distance", "EUCLIDEAN"), given.get("eps", 1e-6)
    if metric == "COSINE":
        return lambda x, y: 1 - F.cosine_similarity(x, y)
    if metric == "SQUARED_EUCLIDEAN":
        return lambda x, y: ((x - y + eps) ** 2).sum(1)
    return lambda x, y: F.pairwise_distance(x, y, p=given.get("p", 2.0), eps=eps)


def _triplet(t, given, reduction):
    rows = (t["anchor"], t["positive"], t["negative"])
    common = {"margin": given.get("margin", 1.0), "swap": given.get("swap", False), "reduction": reduction}
    if given.get("distance", "EUCLIDEAN") == "EUCLIDEAN":
        return F.triplet_margin_loss(*rows, p=given.get("p", 2.0), eps=given.get("eps", 1e-6), **common)
    return F.triplet_margin_with_distance_loss(*rows, distance_function=_distance(given), **common)


def _reduced(items, reduction):
    return items if reduction == "none" else items.mean()


def _contrastive(t, given, reduction):
    distance = t["distances"] if "distances" in t else torch.linalg.vector_norm(t["first"] - t["second"], dim=1)
    missing = torch.relu(given.get("margin", 1.0) - distance)
    similar = 1 if given.get("label_convention") == "ONE_IS_SIMILAR" else 0
    return _reduced(torch.where(t["targets"] == similar, distance ** 2, missing ** 2) / 2, reduction)


def _center_distance(t):
    return ((t["embeddings"] - t["centers"][t["labels"]]) ** 2).sum(1) / 2


def _center(t, given, reduction):
    return _reduced(_center_distance(t), reduction)


def _center_invariant(t, given, reduction):
    norms = (t["centers"] ** 2).sum(1)
    excess = norms[t["labels"]] - norms.mean()
    items = given.get("gamma", 1.0) / 4 * excess ** 2 + given.get("center_weight", 1.0) * _center_distance(t)
    return _reduced(items, reduction)


def _ring(t, given, reduction):
    norms = torch.linalg.vector_norm(t["embeddings"], dim=1)
    return _reduced((norms - given.get("radius", 1.0)) ** 2 / 2, reduction)


def _iou(predictions, targets, reduction, eps):
    """1 - IoU has no function of its own: it is what distance_box_iou_loss is without the distance."""
    low, high = torch.max(predictions[:, :2], targets[:, :2]), torch.min(predictions[:, 2:], targets[:, 2:])
    sides = high - low
    intersection = torch.where((sides > 0).all(1), sides.prod(1), torch.zeros_like(sides[:, 0]))
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (predictions, targets)]
    found = 1 - intersection / (areas[0] + areas[1] - intersection + eps)
    return found if reduction == "none" else found.mean()


def _boxes(function):
    def compute(t, given, reduction):
        corners = []
        for name in ("predictions", "targets"):
            first, second = t[name][:, :2], t[name][:, 2:]
            if given.get("format") == "CXCYWH":
                first, second = first - second / 2, first + second / 2
            elif given.get("format") == "XYWH":
                second = first + second
            corners.append(torch.cat([first, second], 1))
        return function(*corners, reduction=reduction, eps=given.get("eps", 1e-7))
    return compute


def _masks(t, given):
    """Probabilities and targets as [N, C, positions]; 0 where a position is ignored."""
    prediction = t["logits"] if "logits" in t else t["probs"]
    if "labels" in t:
        p = prediction.softmax(1) if "logits" in t else prediction
        kept = t["labels"] != given.get("ignore_index", p.shape[1])
        g = F.one_hot(t["labels"].where(kept, torch.zeros_like(t["labels"])), p.shape[1]).movedim(-1, 1).to(p.dtype)
        kept = kept.unsqueeze(1)
    else:
        p, g = (prediction.sigmoid() if "logits" in t else prediction).unsqueeze(1), t["targets"].unsqueeze(1)
        kept = g != given.get("ignore_index", -1)
    p, g = p.where(kept, torch.zeros_like(p)), g.where(kept, torch.zeros_like(g))
    # A sample without positions has no number of columns that could be left out.
    columns = int(np.prod(p.shape[2:]))
    return p.reshape(p.shape[:2] + (columns,)), g.reshape(p.shape[:2] + (columns,))


def _overlap(coefficient):
    def items(t, given, reduction):
        p, g = _masks(t, given)
        sizes = (p * p + g * g).sum(2) if given.get("squared") else (p + g).sum(2)
        return _reduced(1 - coefficient((p * g).sum(2), sizes, given.get("smooth", 0.0)).mean(1), reduction)
    return items


def _tversky(t, given, reduction):
    p, g = _masks(t, given)
    both, smooth = (p * g).sum(2), given.get("smooth", 0.0)
    missed = given.get("alpha", 0.5) * (p * (1 - g)).sum(2) + given.get("beta", 0.5) * ((1 - p) * g).sum(2)
    ratio = (both + smooth) / (both + missed + smooth)
    return _reduced(((1 - ratio) ** given.get("gamma", 1.0)).mean(1), reduction)


def _ctc_of_log_probs(t, given):
    """The recursion itself: autograd of F.ctc_loss takes log_probs for the outcome of a log_softmax."""
    frames = t["log_probs"] if given.get("time_major") else t["log_probs"].transpose(0, 1)
    blank, items = given.get("blank", 0), []
    for n, (length, count) in enumerate(zip(t["input_lengths"].tolist(), t["label_lengths"].tolist())):
        states = [blank] + [c for label in t["labels"][n, :count].tolist() for c in (label, blank)]
        log_zero = frames.new_tensor(-np.inf)
        before = [frames.new_tensor(0.0)] + [log_zero] * (len(states) - 1)
        for frame in frames[:length, n]:
            after = []
            for s, c in enumerate(states):
                skips = s > 1 and c != blank and c != states[s - 2]
                found = [b for b in before[max(s - (2 if skips else 1), 0):s + 1] if b != log_zero]
                after.append(torch.logsumexp(torch.stack(found), 0) + frame[c] if found else log_zero)
            before = after
        if all(b == log_zero for b in before[-2:]):  # no alignment: NaN slopes, or none
            nothing = (frames[:length, n] * 0).sum()
            items.append(nothing if given.get("zero_infinity") else -nothing.log())
        else:
            items.append(-torch.logsumexp(torch.stack(before[-2:]), 0))
    return torch.stack(items)


def _ctc(t, given, reduction):
    if "log_probs" in t and t["log_probs"].requires_grad:
        items = _ctc_of_log_probs(t, given)
        return items if reduction == "none" else (items / t["label_lengths"].clamp(min=1)).mean()
    frames = t["log_probs"] if "log_probs" in t else F.log_softmax(t["logits"], 2)
    frames = frames if given.get("time_major") else frames.transpose(0, 1)
    return F.ctc_loss(frames, t["labels"], t["input_lengths"], t["label_lengths"], blank=given.get("blank", 0),
                      reduction=reduction, zero_infinity=given.get("zero_infinity", False))


def _multi_margin(t, given, reduction):
    return F.multi_margin_loss(t["logits"], t["labels"], p=given.get("p", 1), margin=given.get("margin", 1.0),
                               weight=t.get("class_weight"), reduction=reduction)


def _multilabel_margin(t, given, reduction):
    return F.multilabel_margin_loss(t["logits"], t["labels"], reduction=reduction)


def _multilabel_soft_margin(t, given, reduction):
    return F.multilabel_soft_margin_loss(t["logits"], t["targets"], weight=t.get("class_weight"), reduction=reduction)


_FUNCTIONS = {
    "ctc": _ctc,
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
    "multi_margin": _multi_margin,
    "multilabel_margin": _multilabel_margin,
    "multilabel_soft_margin": _multilabel_soft_margin,
    "iou": _boxes(_iou),
    "giou": _boxes(generalized_box_iou_loss),
    "diou": _boxes(distance_box_iou_loss),
    "ciou": _boxes(complete_box_iou_loss),
    "dice": _overlap(lambda both, sizes, smooth: (2 * both + smooth) / (sizes + smooth)),
    "jaccard": _overlap(lambda both, sizes, smooth: (both + smooth) / (sizes - both + smooth)),
    "tversky": _tversky,
    "cosine_embedding": _cosine_embedding,
    "contrastive": _contrastive,
    "triplet": _triplet,
    "center": _center,
    "center_invariant": _center_invariant,
    "ring": _ring,
    **torch_classifier.FUNCTIONS,
    **torch_whole.FUNCTIONS,
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


def gradients(case, names):
    """{"SUM": {input: gradient}, "MEAN": ...} in f64, or None; MEAN only where nothing is weighted."""
    function = _FUNCTIONS.get(case.loss)
    if case.loss == "smooth_l1" and case.parameters.get("beta") == 0:
        function = _FUNCTIONS["mae"]  # at the kink PyTorch 1.13 gives -1; later ones what l1_loss gives, 0
    if function is None or case.torch is not True:
        return None
    tensors = {}
    for name, array in case.widened().items():
        array = array.astype(np.float64) if array.dtype.kind == "f" else array
        tensors[name] = torch.from_numpy(np.ascontiguousarray(array)).requires_grad_(name in names)
    items = function(tensors, case.parameters, "none")
    if items is None:
        return None
    weight = tensors.get("sample_weight")
    if weight is None:
        values = {"SUM": items.sum(), "MEAN": function(tensors, case.parameters, "mean")}
    else:
        values = {"SUM": (items * weight.reshape(weight.shape + (1,) * (items.ndim - weight.ndim))).sum()}
    scale = 1 / np.log(2) if case.parameters.get("unit") == "BITS" else 1
    found = {}
    for reduction, value in values.items():
        slopes = [None] * len(names)
        if value.requires_grad:
            slopes = torch.autograd.grad(value, [tensors[name] for name in names], retain_graph=True,
                                         allow_unused=True)
        found[reduction] = {
            name: np.zeros(tensors[name].shape) if slope is None else slope.numpy() * scale
            for name, slope in zip(names, slopes)}
    return found
