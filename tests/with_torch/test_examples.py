"""The examples run, in small."""

import runpy
import sys

import pytest

from pages import ROOT

EXAMPLES = {
    "torch_mlp": ["--steps", "100"],
    "torch_own_rule": ["--steps", "20"],
    "torch_pointwise_cnn": ["--steps", "10", "--width", "8"],
    "torch_transformer": ["--steps", "10", "--width", "32", "--depth", "1", "--length", "16"],
}


def test_every_example_is_tried():
    assert {path.stem for path in (ROOT / "examples").glob("torch_*.py")} == {*EXAMPLES}


@pytest.mark.parametrize("name", EXAMPLES)
def test_example(name, monkeypatch, capsys):
    path = ROOT / "examples" / f"{name}.py"
    monkeypatch.setattr(sys, "argv", [str(path), *EXAMPLES[name]])
    runpy.run_path(str(path), run_name="__main__")
    assert capsys.readouterr().out
