"""Code in README and docs runs as it stands there, and prints what stands there.

The blocks of one page run in order, in one namespace and one empty folder: ``python`` blocks as
they are, and of ``bash`` blocks the lines that start with ``rewire``. A ``text`` block right after a
``python`` block is what that prints; numbers may differ by 5 %, for another instruction set adds
in another order.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pages import PAGES, blocks
from rewire import optim
from rewire.layers import base as layers
from rewire.rewiring import base
from small import HANG_SECONDS

NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?")
# The page on PyTorch runs where that is: tests/with_torch/test_page.py.
BLOCKS = [block for page in PAGES if page.stem != "torch" for block in blocks(page) if not block.spared]


def commands(text):
    """The ``rewire ...`` lines of a shell block, continuation lines joined, prompts and comments gone."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line.removeprefix("$ "), comments=True)
        if words and words[0] == "rewire":
            yield words


def check_printed(said, printed):
    """Equal words and nearly equal numbers."""
    assert NUMBER.sub("#", printed).split() == NUMBER.sub("#", said).split()
    values = [[float(n.replace(",", "")) for n in NUMBER.findall(text)] for text in (printed, said)]
    assert values[0] == pytest.approx(values[1], rel=0.05)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Folder and namespace of each page."""
    return {page: (tmp_path_factory.mktemp(page.stem), {"__name__": "__main__"}) for page in PAGES}


@pytest.fixture(scope="module", autouse=True)
def kinds_as_before():
    """What a page registers, rules, layers and optimizers, is known to that page alone."""
    with pytest.MonkeyPatch.context() as patch:
        for kinds in (base.KINDS, layers.KINDS, optim.KINDS):
            patch.setattr(kinds, "_makers", dict(kinds._makers))
        yield


@pytest.mark.parametrize("block", BLOCKS, ids=[f"{block.page.name}:{block.line}" for block in BLOCKS])
def test_block_runs(block, places, monkeypatch, capsys):
    folder, namespace = places[block.page]
    monkeypatch.chdir(folder)
    if block.language == "python":
        padded = "\n" * (block.line - 1) + block.text  # so that a traceback shows the page's own lines
        exec(compile(padded, str(block.page), "exec"), namespace)
        if block.said is not None:
            check_printed(block.said, capsys.readouterr().out)
        return
    for words in commands(block.text):
        program = Path(sys.executable).with_name("rewire")
        env = {**os.environ, "MPLBACKEND": "Agg"}
        done = subprocess.run(
            [program, *words[1:]], capture_output=True, text=True, timeout=HANG_SECONDS, env=env
        )
        assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
