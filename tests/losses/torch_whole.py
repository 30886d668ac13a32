"""The losses of a whole batch in PyTorch, for autograd: functions as torch_reference.py wants them."""
import torch
import torch.nn.functional as F


def _reduced(item, reduction):
    return item.reshape(1) if reduction == "none" else item


def _squared_distances(x):
    """Of all pairs of rows, earlier rows first."""
    first, second = torch.triu_indices(len(x), len(x), 1)
    return ((x[first] - x[second]) ** 2).sum(1)


def _range(t, given, reduction):
    x, labels = t["embeddings"], t["labels"]
    spread, means = 0 * x.sum(), []
    for label in torch.unique(labels):
        members = x[labels == label]
        means.append(members.mean(0))
        distances = _squared_distances(members)
        if len(distances):
            largest = torch.sort(distances, descending=True, stable=True).values[:given.get("k", 2)]
            spread = spread + len(largest) / (1 / largest).sum()
    item = given.get("alpha", 1.0) * spread
    if len(means) > 1:
        distances = _squared_distances(torch.stack(means))
        closest = distances[int(torch.sort(distances, stable=True).indices[0])]
        item = item + given.get("beta", 1.0) * torch.relu(given.get("margin", 1.0) - closest)
    return _reduced(item, reduction)


def _ciou(p, t):
    """(IoU, ciou) of boxes given by center and size, the trade-off of ciou held constant."""
    low, high = [torch.cat([p[:, :2] + s * p[:, 2:] / 2, t[:, :2] + s * t[:, 2:] / 2], 1).reshape(-1, 2, 2)
                 for s in (-1, 1)]
    both = (high.min(1).values - low.max(1).values).clamp_min(0).prod(1)
    iou = both / (p[:, 2:].prod(1) + t[:, 2:].prod(1) - both + 1e-7)
    diagonal = ((high.max(1).values - low.min(1).values) ** 2).sum(1) + 1e-7
    distance = ((p[:, :2] - t[:, :2]) ** 2).sum(1)
    v = 4 / torch.pi ** 2 * (torch.atan(t[:, 2] / t[:, 3]) - torch.atan(p[:, 2] / p[:, 3])) ** 2
    alpha = (v / (1 - iou + v + 1e-7)).detach()
    return iou, 1 - iou + distance / diagonal + alpha * v


def _assigned(sizes, anchors, given):
    """[M] sizes of boxes on each scale's grid -> a mask [M, A] a scale."""
    ratios = [size[:, None] / anchor for size, anchor in zip(sizes, anchors)]
    if given.get("assignment") == "BEST_IOU":
        both = [torch.minimum(size[:, None], anchor).prod(2) for size, anchor in zip(sizes, anchors)]
        overlaps = [b / (size.prod(1)[:, None] + anchor.prod(1) - b)
                    for b, size, anchor in zip(both, sizes, anchors)]
        every = torch.cat(overlaps, 1)
        best = F.one_hot(every.argmax(1), every.shape[1]).bool()
        return best.split([len(anchor) for anchor in anchors], 1)
    return [torch.maximum(r, 1 / r).max(2).values < given.get("anchor_threshold", 4.0) for r in ratios]


def _match(head, boxes, size, mask, anchors, given):
    """Of one scale: box losses, class losses, objectness losses."""
    grid = head.new_tensor([head.shape[3], head.shape[2]])
    center = boxes[:, 2:4] * grid
    cell = torch.minimum(center.floor(), grid - 1).long()
    m, a = mask.nonzero(as_tuple=True)
    place = (boxes[m, 0].long(), a, cell[m, 1], cell[m, 0])
    found = head[place]
    decoded = torch.cat([found[:, :2].sigmoid(), anchors[a] * found[:, 2:4].exp()], 1)
    target = torch.cat([center[m] - cell[m], size[m]], 1)
    iou, located = _ciou(decoded, target)
    if given.get("localization") == "MSE":
        located = ((decoded - target) ** 2).mean(1)
    wanted = F.one_hot(boxes[m, 1].long(), max(head.shape[4] - 5, 1)).to(head.dtype)[:, :head.shape[4] - 5]
    classified = F.binary_cross_entropy_with_logits(found[:, 5:], wanted, reduction="none")
    objectness = torch.full(head.shape[:4], -1.0, dtype=head.dtype)
    for i, overlap in enumerate(iou.detach()):
        here = tuple(int(axis[i]) for axis in place)
        objectness[here] = max(objectness[here], overlap)
    weight = torch.where(objectness < 0, given.get("no_object_weight", 1.0), 1.0)
    cells = weight * F.binary_cross_entropy_with_logits(head[..., 4], objectness.clamp_min(0), reduction="none")
    return located, classified, cells


def _yolo(t, given, reduction):
    anchors = [t["boxes"].new_tensor(scale) for scale in given["scales"]]
    heads = [t[f"predictions_{i}"] for i, _ in enumerate(anchors)]
    boxes = t["boxes"]
    sizes = [boxes[:, 4:] * boxes.new_tensor([head.shape[3], head.shape[2]]) for head in heads]
    parts = zip(*(_match(head, boxes, size, mask, anchor, given) for head, size, mask, anchor in
                  zip(heads, sizes, _assigned(sizes, anchors, given), anchors)))
    means = []
    for part in parts:
        every = torch.cat([losses.reshape(-1) for losses in part])
        means.append(every.mean() if every.numel() else every.sum())
    if heads[0].shape[4] < 7:
        means[1] = means[1] * 0
    item = (given.get("box_weight", 0.05) * means[0] + given.get("classification_weight", 0.5) * means[1] +
            given.get("objectness_weight", 1.0) * means[2])
    return _reduced(item, reduction)


FUNCTIONS = {"range": _range, "yolo": _yolo}
