"""Measures how exact every loss is: the worst of at least a million random items a loss and type.

    /usr/bin/python3 -m tests.accuracy.measure            (minutes; writes docs/accuracy.md)
    /usr/bin/python3 -m tests.accuracy.measure huber dice (prints those)

An item's error is taken of max(|item|, the largest term that its definition adds up): in ulp of the compute type
for element-wise losses, as a share for rows and boxes; of classifier losses as a share of max(|item|, scale).
LOSSD_BIN names the server's binary (default: build/release/bin/lossd).
"""
import dataclasses
import pathlib
import sys

import numpy as np

from tests.accuracy import classes, definition, elements, shapes, vectors, whole  # noqa: F401
from tests.accuracy.definition import BOUNDS, DEFINITIONS, ELEMENT, ROW, WIDE, Parameters
from tests.support import server, tensors
from tests.support.stubs import ROOT, loss_service_pb2

PAGE = pathlib.Path(ROOT, "docs/accuracy.md")
TYPES = (np.float32, np.float64)
ITEMS = 1_000_000
_SECONDS = 120
_NOT_VALUES = "iu"  # kinds of dtype that are labels

_INTRODUCTION = """\
# How exact the items are

<!-- Written by tests/accuracy/measure.py, which says how. -->

The worst error over random items of each loss, all its sets of inputs and several of its parameters, against the
definitions in x87 extended precision. An item's error is taken of max(|item|, the largest term that its definition
adds up): in ulp of the compute type for element-wise losses (bound: 4), as a share for rows and boxes (bounds: 1e-6
in f32, 1e-14 in f64), as a share of max(|item|, scale) for classifier losses (1e-5, 1e-13). Sums over items are
exact and add nothing. Bits are the same on every instruction set, and so are these numbers.

A small loss of large logits is judged more widely: its shares are exp of differences of logits, and neighbours in f32
are 1e-6 apart from 8 on, so that the share counts |logit| / 8 times. A power multiplies the relative error of its base
by its exponent: the measure of focal with labels counts 1 + gamma times. Losses of a whole batch have one item a request.

"""


@dataclasses.dataclass
class Worst:
    kind: str
    error: float = 0.0
    items: int = 0
    where: str = ""

    def take(self, errors, case):
        errors = np.where(np.isnan(errors), np.inf, errors)
        place = int(errors.argmax())
        self.items += errors.size
        if errors[place] >= self.error:
            self.error, self.where = float(errors[place]), case(place)

    def text(self):
        """The error with its unit, rounded up to two digits."""
        if not self.error:
            return "0"
        digits = np.floor(np.log10(self.error)) - 1
        rounded = np.ceil(self.error / 10.0 ** digits) * 10.0 ** digits
        return f"{rounded:.2g}" + (" ulp" if self.kind == ELEMENT else "")


def _compute(stub, loss, parameters, inputs):
    request = tensors.request([tensors.loss(loss, parameters)], inputs, reduction="REDUCTION_NONE")
    return tensors.array(stub.ComputeLoss(request, timeout=_SECONDS).results[0].values).ravel()


def _measure_batch(stub, defined, parameters, inputs, dtype, worst):
    found = _compute(stub, defined.loss, parameters, inputs)
    wide = {name: array if array.dtype.kind in _NOT_VALUES else array.astype(WIDE) for name, array in inputs.items()}
    right = defined.items(wide, Parameters(parameters, dtype))
    values, measures = right if isinstance(right, tuple) else (right, np.zeros(right.shape, WIDE))

    def case(place):
        given = {name: array[place].tolist() for name, array in inputs.items() if len(array) == len(found)}
        return f"{parameters} {given}: {found[place]!r}, not {values[place]!r}"
    worst.take(definition.error(found, values, measures, defined.kind, dtype), case)


def measure(stub, loss, dtype, items):
    """The worst of at least so many items; of several definitions of a loss the worst for its bound."""
    if loss in whole.BATCHES:
        batches = max(1, whole.BATCHES[loss][0] * items // ITEMS)
        worst = Worst(ROW)
        worst.take(whole.errors(loss, dtype, batches,
                                lambda parameters, inputs: _compute(stub, loss, parameters, inputs)), str)
        return worst
    sets = [(defined, parameters) for defined in DEFINITIONS if defined.loss == loss
            for parameters in defined.parameters]
    found = []
    for number, (defined, parameters) in enumerate(sets):
        random = np.random.default_rng([number, TYPES.index(dtype)])
        worst = Worst(defined.kind)
        wanted = -(-items // len(sets))
        while worst.items < wanted:
            inputs = defined.inputs(random, min(defined.batch, wanted - worst.items), dtype)
            _measure_batch(stub, defined, parameters, inputs, dtype, worst)
        found.append(worst)
    result = max(found, key=lambda worst: worst.error / BOUNDS[worst.kind, dtype])
    return dataclasses.replace(result, items=sum(worst.items for worst in found))


def names(stub):
    return [loss.name for loss in stub.ListLosses(loss_service_pb2.ListLossesRequest(), timeout=_SECONDS).losses]


def page_rows():
    """The table of docs/accuracy.md: loss, items, error in f32, in f64, bounds."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines]


def _bound(worst, dtype):
    return f"{BOUNDS[worst.kind, dtype]:g}" + (" ulp" if worst.kind == ELEMENT else "")


def main(arguments):
    stub = server.shared().stub
    rows = []
    for loss in arguments or names(stub):
        found = [measure(stub, loss, dtype, ITEMS) for dtype in TYPES]
        rows.append(f"| `{loss}` | {found[0].items:,} | {found[0].text()} | {found[1].text()} | " +
                    ", ".join(_bound(worst, dtype) for worst, dtype in zip(found, TYPES)) + " |\n")
        print(rows[-1], end="", flush=True)
        if arguments:
            print(*(worst.where for worst in found), sep="\n")
    if not arguments:
        header = "| loss | items a type | f32 | f64 | bounds |\n|---|---|---|---|---|\n"
        PAGE.write_text(_INTRODUCTION + header + "".join(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
