"""The README's code and tables."""
import re

from tests.support.stubs import ROOT

ADDRESS = "127.0.0.1:50051"  # where the programs of the README look for lossd

_TEXT = (ROOT / "README.md").read_text()


def fence(language):
    """The only code block of that language."""
    block, = re.findall(rf"^```{language}\n(.*?)^```$", _TEXT, re.MULTILINE | re.DOTALL)
    return block


def table(heading):
    """The rows of the section's table, as lists of cells, without the header."""
    section = _TEXT.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]
