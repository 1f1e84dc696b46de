"""The code of docs/torch.md and of the docstrings runs, and prints what stands there."""

import doctest
import importlib
import pkgutil

import pytest
import torch

import rewire.torch
from pages import ROOT, blocks


def test_page(capsys):
    namespace = {"__name__": "__main__"}
    page = ROOT / "docs" / "torch.md"
    found = [block for block in blocks(page) if block.language == "python" and not block.spared]
    assert len(found) >= 3
    for block in found:
        exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)
        printed = capsys.readouterr().out
        if block.said is not None:
            assert printed.split() == block.said.split()


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(rewire.torch.__path__)])
def test_docstrings(name):
    torch.manual_seed(0)
    module = importlib.import_module(f"rewire.torch.{name}")
    assert doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE).failed == 0
