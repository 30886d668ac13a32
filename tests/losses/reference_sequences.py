"""Reference of ctc: the sum over alignments, in products of 100 digits, whose exponents have no limit."""
import numpy as np
from mpmath import mp, mpf

from tests.losses.reference import Items, numbers, reference
from tests.losses.reference_rows import log_softmax


def _frames(inputs, parameters):
    """[N,T,C], and whether they are logits."""
    name = "logits" if "logits" in inputs else "log_probs"
    frames = inputs[name]
    return (np.swapaxes(frames, 0, 1) if parameters("time_major", False) else frames), name == "logits"


def likelihood(log_probs, labels, blank):
    """The probability of the labels under frames of log-probabilities: all states, blanks among them, in a row."""
    states = [blank]
    for label in labels:
        states += [label, blank]
    before = [mpf(1)] + [mpf(0)] * len(labels) * 2  # of the blank before all labels, with no frame read
    for frame in log_probs:
        share = {c: mp.exp(frame[c]) for c in set(states)}
        after = []
        for s, c in enumerate(states):
            total = before[s] + (before[s - 1] if s > 0 else 0)
            if s > 1 and c != blank and c != states[s - 2]:
                total += before[s - 2]
            after.append(total * share[c])
        before = after
    return sum(before[-2:], mpf(0))


def item(log_probs, labels, blank):
    """The loss of a sample, and the largest term: a log-probability that an alignment may take."""
    total = likelihood(log_probs, labels, blank)
    terms = [abs(frame[c]) for frame in log_probs for c in {blank, *labels} if not mp.isinf(frame[c])]
    value = mp.nan if mp.isnan(total) else -mp.log(total) if total else mp.inf
    return value, max(terms, default=mpf(0))


@reference("ctc")
def ctc(inputs, parameters, dtype):
    frames, are_logits = _frames(inputs, parameters)
    blank = int(parameters("blank", 0.0))
    found = []
    for n, rows in enumerate(frames):
        if "sample_weight" in inputs and inputs["sample_weight"][n] == 0:
            found.append((mpf(0), mpf(0)))
            continue
        rows = [numbers(row) for row in rows[:inputs["input_lengths"][n]]]
        rows = [log_softmax(row) for row in rows] if are_logits else rows
        labels = [int(label) for label in inputs["labels"][n][:inputs["label_lengths"][n]]]
        value, measure = item(rows, labels, blank)
        found.append((mpf(0) if value == mp.inf and parameters("zero_infinity", False) else value, measure))
    return Items([v for v, _ in found], [m for _, m in found], frames.shape[:1], row=True,
                 divisors=np.maximum(inputs["label_lengths"], 1))
