"""References of the losses of boxes, from the definitions, in 100 digits."""
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference


def _corners(box, form):
    """(x1, y1, x2, y2)."""
    a, b, c, d = box
    if form == "XYWH":
        return a, b, a + c, b + d
    if form == "CXCYWH":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


class _Pair:
    """Areas and lengths of a prediction and a target."""

    def __init__(self, prediction, target, eps):
        self.eps = eps
        p, t = prediction, target
        self.width, self.height = p[2] - p[0], p[3] - p[1]
        self.target_width, self.target_height = t[2] - t[0], t[3] - t[1]
        overlap = [max(mpf(0), min(p[i + 2], t[i + 2]) - max(p[i], t[i])) for i in (0, 1)]
        self.hull_sides = [max(p[i + 2], t[i + 2]) - min(p[i], t[i]) for i in (0, 1)]
        self.intersection = overlap[0] * overlap[1]
        self.union = self.width * self.height + self.target_width * self.target_height - self.intersection
        self.centers = [(p[i] + p[i + 2] - t[i] - t[i + 2]) / 2 for i in (0, 1)]

    def one_minus_iou(self):
        return 1 - _ratio(self.intersection, self.union + self.eps)


def _ratio(a, b):
    """a / b, a >= 0: NaN for 0 / 0."""
    if b == 0:
        return mp.nan if a == 0 else mp.inf
    return a / b


def _iou(pair):
    return [pair.one_minus_iou()]


def _giou(pair):
    hull = pair.hull_sides[0] * pair.hull_sides[1]
    return [pair.one_minus_iou(), _ratio(hull - pair.union, hull + pair.eps)]


def _diou(pair):
    distance, diagonal = (sum(side ** 2 for side in sides) for sides in (pair.centers, pair.hull_sides))
    return [pair.one_minus_iou(), _ratio(distance, diagonal + pair.eps)]


def _angle(width, height):
    if height == 0:
        return mp.pi / 2 if width else mp.nan
    return mp.atan(width / height)


def _ciou(pair):
    difference = _angle(pair.target_width, pair.target_height) - _angle(pair.width, pair.height)
    v = 4 / mp.pi ** 2 * difference ** 2
    shape = v * v / (pair.one_minus_iou() + v + pair.eps) if v else v
    return _diou(pair) + [shape]


_TERMS = {"iou": _iou, "giou": _giou, "diou": _diou, "ciou": _ciou}


def _of(terms):
    def items(inputs, parameters, dtype):
        boxes = zip(*(numbers(inputs[name])[i::4] for name in ("predictions", "targets") for i in range(4)))
        form, eps = parameters("format", "XYXY"), parameters("eps", 1e-7)
        values, measures = [], []
        for box in boxes:
            if any(mp.isnan(x) for x in box):
                values.append(mp.nan)
                measures.append(mpf(0))
            elif any(mp.isinf(x) for x in box):  # an infinite box has no part in common with a finite one
                values.append(mpf(1) if terms is _iou else mp.nan)
                measures.append(mpf(1))
            else:
                found = terms(_Pair(_corners(box[:4], form), _corners(box[4:], form), eps))
                values.append(sum(found))
                # The sums are of terms of one sign, so nothing cancels: stricter than the largest term, which is 1.
                measures.append(mpf(0))
        return Items(values, measures, inputs["predictions"].shape[:1], row=True)
    return items


for _name, _terms in _TERMS.items():
    reference(_name)(_of(_terms))
