"""Writes docs/catalogue.md: every loss as the table in lib/losses describes it, each with an example that runs.
And the table of losses in README.md, with the errors that docs/accuracy.md has.

    /usr/bin/python3 -m docs.make_catalogue    (from the repository's root, with lossctl built)

The text comes from `lossctl list`, the examples' inputs from tests/losses/examples.py, the numbers from
`lossctl compute`. LOSSCTL_BIN names the binary (default: build/release/bin/lossctl).
tests/e2e/test_catalogue_page.py fails when the page is not what this writes.
"""
import json
import pathlib
import re
import sys
import tempfile

import numpy as np

from tests.accuracy import measure
from tests.losses import examples
from tests.support import lossctl, tensors

PAGE = pathlib.Path(__file__).with_name("catalogue.md")
README = PAGE.parents[1] / "README.md"
_README_HEADER = """\
| name | family | gradient | streams | decided by | error in f32 | error in f64 |
|---|---|---|---|---|---|---|
"""

_INTRODUCTION = """\
# The loss catalogue

<!-- Written by docs/make_catalogue.py from the catalogue itself; edit lib/losses and tests/losses/examples.py. -->

What `lossctl list` and ListLosses say of every loss, with an example each. An example is a shell block that runs
as it stands (NumPy writes the inputs; `lossctl` is in `build/release/bin`), and under it what it prints.

- **Shapes.** N samples, C classes, D the size of an embedding, `...` any further dimensions.
- **Types.** *floating*: FLOAT32, FLOAT64, FLOAT16, BFLOAT16; *label*: INT32, INT64, UINT8, BOOL; *any*: all of them.
  FLOAT64 values are computed in f64, all others in f32.
- **Item.** What the loss gives one value for; MEAN is sum(w l) / sum(w) over the items, SUM is sum(w l), NONE gives
  the items. Every loss also takes `sample_weight`, [N] or item-shaped: the w.
- **Gradient.** The inputs that `gradients_of` may name.
- **Streams.** Whether `lossctl evaluate` takes it; a loss of the whole batch has no value in parts.
"""

_KINDS = {4: "floating", 8: "any"}


def _types(dtypes):
    floating = sum(dtype.split("_")[-1] in ("FLOAT32", "FLOAT64", "FLOAT16", "BFLOAT16") for dtype in dtypes)
    return "label" if floating == 0 else _KINDS[len(dtypes)]


def _escaped(text):
    return text.replace("|", "\\|")


def _table(header, rows):
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def _named(inputs):
    """(the names, the first of the inputs) of inputs that differ by nothing but a number at their end."""
    groups = {}
    for entry in inputs:
        stem = re.sub(r"(?<=_)\d+$", "", entry["name"])
        groups.setdefault((stem, entry["optional"]), []).append(entry)
    for entries in groups.values():
        last = f" to `{entries[-1]['name']}`" if len(entries) > 1 else ""
        yield f"`{entries[0]['name']}`{last}", entries[0]


def _signature(signature):
    named = list(_named(signature["inputs"]))
    needed = [f"{names} {entry['shape']}" for names, entry in named if not entry["optional"]]
    optional = [f"{names} {entry['shape']}" for names, entry in named if entry["optional"]]
    text = ", ".join(needed)
    return text + (f"; optional {', '.join(optional)}" if optional else "") + f": one item per {signature['item']}"


def _inputs(loss):
    """What the signatures say of each input, once."""
    rows = {}
    for signature in loss["signatures"]:
        for names, entry in _named(signature["inputs"]):
            row = [names, _types(entry["dtypes"]), entry["values"] or "anything",
                   "yes" if entry["gradient"] else ""]
            if row not in rows.setdefault(entry["name"], []):
                rows[entry["name"]].append(row)
    return [[_escaped(cell) for cell in row] for found in rows.values() for row in found]


def _parameters(loss):
    return [[f"`{entry['name']}`", *(_escaped(entry[key]) for key in ("type", "default_value", "bounds", "help"))]
            for entry in loss["parameters"]]


def _literal(array):
    """The array as an expression of NumPy."""
    def text(value):
        if isinstance(value, list):
            return "[" + ", ".join(text(each) for each in value) + "]"
        return value if isinstance(value, str) else str(value)
    shortest = np.array([str(x).removesuffix(".0") for x in array.ravel()], object).reshape(array.shape)
    return f"np.{array.dtype}({text(shortest.tolist())})"


def loss_text(case):
    """The loss in text form, enums short."""
    message = tensors.loss(case.loss, case.parameters)
    text = " ".join(str(message).split()).replace("{ }", "{}")
    for field in getattr(message, case.loss).DESCRIPTOR.fields:
        if field.enum_type:
            prefix = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", field.enum_type.name).upper()
            text = re.sub(rf"({field.name}: ){prefix}_", r"\1", text)
    return text


def compute_arguments(case):
    arguments = ["compute", "--local", "--loss", loss_text(case)]
    for name in case.inputs:
        arguments += ["--input", f"{name}={name}.npy"]
    return arguments


def _example(case):
    """The example as a shell block, and what it prints."""
    with tempfile.TemporaryDirectory() as folder:
        for name, array in case.inputs.items():
            np.save(pathlib.Path(folder, f"{name}.npy"), array)
        done = lossctl.run(*compute_arguments(case), cwd=folder)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr}")
    saves = "".join(f'np.save("{name}.npy", {_literal(array)})\n' for name, array in case.inputs.items())
    files = " ".join(f"--input {name}={name}.npy" for name in case.inputs)
    command = f"lossctl compute --local --loss '{loss_text(case)}' \\\n  {files}"
    printed = "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
    return f"```sh\npython3 -c '\nimport numpy as np\n{saves}'\n{command}\n```\n\n```text\n{printed}```\n"


def _section(loss, case):
    parts = [f"### {loss['name']}\n", f"{loss['help'][0].upper() + loss['help'][1:]}.\n",
             f"    {loss['formula']}\n",
             "".join(f"- {_signature(signature)}\n" for signature in loss["signatures"]) +
             ("" if loss["streams"] else "- needs the whole batch: not for streams\n") +
             f"- decided by: {loss['source']}\n",
             _table(["input", "type", "values", "gradient"], _inputs(loss))]
    if loss["parameters"]:
        parts.append(_table(["parameter", "type", "default", "bounds", "what it does"], _parameters(loss)))
    return "\n".join(parts + [_example(case)])


def listed():
    """The catalogue as lossctl lists it."""
    done = lossctl.run("list", "--local", "--format", "json")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return json.loads(done.stdout)["losses"]


def page():
    """The text of the page."""
    families = {}
    for loss in listed():
        families.setdefault(loss["family"], []).append(loss)
    cases = examples.by_loss()
    contents = "".join(f"- {family}: " + ", ".join(f"[{loss['name']}](#{loss['name']})" for loss in losses) + "\n"
                       for family, losses in families.items())
    parts = [_INTRODUCTION, contents]
    for family, losses in families.items():
        parts.append(f"## {family[0].upper() + family[1:]}\n")
        parts += [_section(loss, cases[loss["name"]]) for loss in losses]
    return "\n".join(parts)


def readme_rows():
    """The rows of README's table of losses."""
    errors = {row[0]: row[2:4] for row in measure.page_rows()}
    for loss in listed():
        gradient = any(entry["gradient"] for signature in loss["signatures"] for entry in signature["inputs"])
        name = loss["name"]
        yield [f"[`{name}`](docs/catalogue.md#{name})", loss["family"], "yes" if gradient else "no",
               "yes" if loss["streams"] else "no", loss["source"], *errors[name]]


def readme_text(text):
    """README's text with the table as it should be."""
    before, rest = text.split(_README_HEADER, 1)
    return before + _README_HEADER + "".join("| " + " | ".join(row) + " |\n" for row in readme_rows()) + \
        "\n" + rest.split("\n\n", 1)[1]


def main():
    PAGE.write_text(page())
    README.write_text(readme_text(README.read_text()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
