"""The classifier losses in PyTorch, all logits at once: for its autograd."""
import math

import torch
from torch.nn import functional as F


def _same(cosine, given):
    return cosine


def _minus_margin(cosine, given):
    return cosine - given.get("margin", 0.35)


def _of_sum(cosine, given):
    margin = given.get("margin", 0.5)
    moved = cosine * math.cos(margin) - torch.sqrt((1 - cosine) * (1 + cosine)) * math.sin(margin)
    return torch.where(cosine > 0, moved, cosine) if given.get("easy_margin") else moved


def _multiple(cosine, given):
    m, annealing = given.get("margin", 4), given.get("annealing", 0.0)
    angle = torch.acos(cosine)
    k = torch.clamp(torch.floor(m * angle.detach() / math.pi), max=m - 1)
    psi = (1 - 2 * (k % 2)) * torch.cos(m * angle) - 2 * k
    return (annealing * cosine + psi) / (1 + annealing)


def _loss(target=_same, unit_x=False, unit_w=False, scale=None):
    def compute(t, given, reduction):
        x, w, labels = t["embeddings"], t["classifier"], t["labels"]
        cosines = F.normalize(x) @ F.normalize(w).T
        lengths = torch.ones_like(cosines)
        if not unit_x:
            lengths = lengths * torch.linalg.vector_norm(x, dim=1)[:, None]
        if not unit_w:
            lengths = lengths * torch.linalg.vector_norm(w, dim=1)
        factor = given.get(*scale) if scale else 1.0
        own = F.one_hot(labels, w.shape[0]).bool()
        if target is not _same:
            # Angles of the true classes only: at others a slope may be infinite.
            moved = target(cosines[own], given)
            cosines = cosines.masked_scatter(own, moved)
        logits = factor * lengths * cosines + t.get("bias", 0.0)
        return F.cross_entropy(logits, labels, reduction=reduction)
    return compute


FUNCTIONS = {
    "softmax": lambda t, given, reduction: F.cross_entropy(
        F.linear(t["embeddings"], t["classifier"], t.get("bias")), t["labels"], reduction=reduction),
    "modified_softmax": _loss(unit_w=True),
    "l_softmax": _loss(_multiple),
    "a_softmax": _loss(_multiple, unit_w=True),
    "am_softmax": _loss(_minus_margin, unit_x=True, unit_w=True, scale=("scale", 30.0)),
    "cosface": _loss(_minus_margin, unit_x=True, unit_w=True, scale=("scale", 64.0)),
    "arcface": _loss(_of_sum, unit_x=True, unit_w=True, scale=("scale", 64.0)),
    "normface": _loss(unit_x=True, unit_w=True, scale=("scale", 20.0)),
    "coco": _loss(unit_x=True, unit_w=True, scale=("alpha", 10.0)),
    "l2_softmax": _loss(unit_x=True, scale=("alpha", 50.0)),
}
