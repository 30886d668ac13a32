"""References of the margin losses over classes: multi_margin, multilabel_margin, multilabel_soft_margin."""
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference, softplus, zero_times

_BORDER = mpf("1e-5")  # of its terms: a difference that rounding may put on either side of 0


def _violation(x, label, margin):
    """max(0, margin - label + x), and the largest term where it counts."""
    difference = x - label
    if mp.isnan(difference):
        return mp.nan, mpf(0)
    value = difference + margin
    largest = max(abs(difference), abs(margin))
    if value <= 0:
        return mpf(0), largest if -value < _BORDER * largest else mpf(0)
    return value, max(value, largest)


def _mean(terms, count):
    terms = list(terms)
    if any(mp.isnan(value) for value, _ in terms):
        return mp.nan, mpf(0)
    return sum((value for value, _ in terms), mpf(0)) / count, sum((size for _, size in terms), mpf(0)) / count


def _items(found):
    found = list(found)
    return Items([value for value, _ in found], [size for _, size in found], (len(found),), row=True)


def _weights(inputs, count):
    return numbers(inputs["class_weight"]) if "class_weight" in inputs else [mpf(1)] * count


@reference("multi_margin")
def multi_margin(inputs, parameters, dtype):
    power, margin = int(parameters("p", 1)), parameters("margin", 1.0)

    def item(row, label):
        weight = _weights(inputs, len(row))[label]
        if not weight:
            return mpf(0), mpf(0)
        terms = (_violation(x, row[label], margin) for i, x in enumerate(row) if i != label)
        if power == 2:
            terms = ((value * value, 2 * value * size) for value, size in terms)
        value, size = _mean(terms, len(row))
        return weight * value, abs(weight) * size
    return _items(item(numbers(row), label) for row, label in zip(inputs["logits"], inputs["labels"]))


@reference("multilabel_margin")
def multilabel_margin(inputs, parameters, dtype):
    def item(row, labels):
        labels = list(labels)
        if -1 in labels:
            labels = labels[:labels.index(-1)]
        if not set(labels) <= set(range(len(row))):  # of a row of weight 0: the service refuses others
            return mpf(0), mpf(0)
        others = [x for i, x in enumerate(row) if i not in labels]
        return _mean((_violation(x, row[label], mpf(1)) for label in labels for x in others), len(row))
    return _items(item(numbers(row), labels) for row, labels in zip(inputs["logits"], inputs["labels"]))


@reference("multilabel_soft_margin")
def multilabel_soft_margin(inputs, parameters, dtype):
    def item(row, targets):
        terms = [zero_times(y, softplus(-x)) + zero_times(1 - y, softplus(x)) for x, y in zip(row, targets)]
        terms = [w * term if w else mpf(0) for w, term in zip(_weights(inputs, len(row)), terms)]
        return _mean(((term, abs(term)) for term in terms), len(row))
    return _items(item(numbers(row), numbers(targets)) for row, targets in zip(inputs["logits"], inputs["targets"]))
