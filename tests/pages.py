"""The code in README and docs.

The blocks of one page belong together: they run in order, in one namespace. A comment
``<!-- not run: reason -->`` right before a block spares it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = [p for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))] if p.exists()]
FENCE = re.compile(r"^```(python|bash|sh|console)\n(.*?)^```$(?:\n+```text\n(.*?)^```$)?", re.M | re.S)
SPARED = re.compile(r"<!--\s*not run:.*?-->\s*\Z", re.S)


class Block(NamedTuple):
    """One piece of code."""

    page: Path
    line: int  # of its first line
    language: str
    text: str
    said: str | None  # the ``text`` block right after it: what it prints
    spared: bool


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of a page in order."""
    text = page.read_text()
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start(2)) + 1
        spared = SPARED.search(text[: match.start()]) is not None
        yield Block(page, line, *match.groups(), spared)
