"""Every rule by its name, where people name it: estimators and the command line."""

import json

import pytest

import rewire as rw
from rewire.cli import main
from rewire.rewiring import rewiring_names


@pytest.mark.parametrize("name", rewiring_names())
def test_an_estimator_takes_it(name):
    data = rw.datasets.load("digits")
    X, y = data.X[:300] / 16.0, data.y[:300]
    made = rw.SparseMLPClassifier((30,), rewiring=name, max_iter=3, batch_size=50, random_state=0).fit(X, y)
    again = rw.SparseMLPClassifier(
        (30,), rewiring=rw.rewiring.rewiring(name).config(), max_iter=3, batch_size=50, random_state=0
    ).fit(X, y)
    assert (made.predict_proba(X) == again.predict_proba(X)).all()


@pytest.mark.parametrize("name", rewiring_names())
def test_the_command_line_takes_it(name, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = f"train --data digits --hidden 20 --epochs 1 --quiet --rewiring {name} --json {out}".split()
    assert main(words) == 0
    assert json.loads(out.read_text())["rewiring"]["name"] == name
    assert main(["train", "--help"]) == 0
    assert name in " ".join(capsys.readouterr().out.split())
