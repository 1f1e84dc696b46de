"""Every rule and every start by its name, where people name it: estimators and the command line."""

import inspect
import json
import shlex

import numpy as np
import pytest

import rewire as rw
from rewire._positions import positions_of
from rewire.cli import main
from rewire.connectivity import connectivity_names
from rewire.presets import mlp_layers
from rewire.rewiring import rewiring_class, rewiring_names
from small import SELDOM


@SELDOM
@pytest.mark.parametrize("name", rewiring_names())
def test_an_estimator_takes_it(name):
    data = rw.datasets.load("digits")
    X, y = data.X[:300] / 16.0, data.y[:300]
    made = rw.SparseMLPClassifier((30,), rewiring=name, max_iter=3, batch_size=50, random_state=0).fit(X, y)
    rule = rw.SET(every=100) if name == "set" else rw.rewiring.rewiring(name)  # an epoch has six steps
    again = rw.SparseMLPClassifier(
        (30,), rewiring=rule.config(), max_iter=3, batch_size=50, random_state=0
    ).fit(X, y)
    assert (made.predict_proba(X) == again.predict_proba(X)).all()


@SELDOM
@pytest.mark.parametrize("name", rewiring_names())
def test_the_command_line_takes_it(name, tmp_path, capsys):
    out = tmp_path / "out.json"
    words = f"train --data digits --hidden 20 --epochs 1 --quiet --rewiring {name} --json {out}".split()
    assert main(words) == 0
    assert json.loads(out.read_text())["rewiring"]["name"] == name
    assert main(["train", "--help"]) == 0
    assert name in " ".join(capsys.readouterr().out.split())


def test_the_command_line_tells_what_rules_there_are(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # of a terminal; pytest's workers set it
    assert main(["rules"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(rewiring_names())]] == rewiring_names()
    assert all(len(line) > 30 for line in lines[: len(rewiring_names())])


@pytest.mark.parametrize("name", rewiring_names())
def test_the_command_line_tells_a_rule_s_options(name, capsys):
    assert main(["rules", name]) == 0
    out = capsys.readouterr().out
    for option, parameter in inspect.signature(rewiring_class(name)).parameters.items():
        assert f"--rewiring-opt {shlex.quote(f'{option}={parameter.default}')}\n" in out
        assert option in out.partition("Defaults")[0]  # the docstring
    assert main(["rules", name.upper().replace("-", "_")]) == 0
    assert capsys.readouterr().out == out
    assert main(["rules", "sett"]) == 2


def test_an_option_that_there_is_not_names_those_there_are(capsys):
    words = "takes fraction, every, end, decay"
    with pytest.raises(TypeError, match=f"rewiring 'rigl' {words}.*, got 'salient'"):
        rw.rewiring.rewiring({"name": "rigl", "salient": 0.3})
    train = "train --data digits --quiet --rewiring rigl --rewiring-opt salient=0.3".split()
    assert main(train) == 2 and words in capsys.readouterr().err


@SELDOM
def test_a_grid_of_rules_with_options():
    from sklearn.base import clone
    from sklearn.model_selection import GridSearchCV

    data = rw.datasets.load("digits")
    rules = ["set", {"name": "rigl", "fraction": 0.2, "every": 2}, rw.ITOP(every=3), None]
    model = rw.SparseMLPClassifier((30,), max_iter=3, batch_size=50, random_state=0)
    search = GridSearchCV(model, {"rewiring": rules}, cv=2).fit(data.X[:200], data.y[:200])
    assert len(set(search.cv_results_["mean_test_score"])) > 1
    made = clone(model).set_params(rewiring=rules[1])
    assert clone(made).get_params()["rewiring"] == rules[1]
    assert made.fit(data.X[:100], data.y[:100]).trainer_.rewiring.fraction == 0.2


# --- starts


@pytest.mark.parametrize("name", connectivity_names())
def test_an_estimator_takes_a_connectivity(name):
    from sklearn.base import clone

    data = rw.datasets.load("digits")
    X, y = data.X[:300], data.y[:300]
    options = {"max_iter": 1, "epsilon": 2, "rewiring": None, "random_state": 0}
    made = clone(rw.SparseMLPClassifier((40, 30), connectivity=name, **options)).fit(X, y)
    layers = mlp_layers([64, 40, 30, 10], epsilon=2, connectivity=name, X=X)
    expected = rw.Sequential(layers, seed=0)
    for mine, theirs in zip(made.network_.weight_layers, expected.weight_layers, strict=True):
        assert (mine.store.sources() == theirs.store.sources()).all()
        assert (mine.store.indptr() == theirs.store.indptr()).all()


def test_a_correlated_connectivity_is_for_the_first_layer():
    import scipy.sparse as sp

    rng = np.random.default_rng(0)
    X = rng.normal(size=(25_000, 30))
    X[:, 15:] = X[:, :15]  # pairs of equal features
    nets = [
        rw.Sequential(mlp_layers([30, 60, 50, 2], epsilon=1, connectivity=start, X=x), seed=3)
        for start, x in (("correlated", X), ("correlated", sp.csr_array(X)), ("random", None))
    ]
    positions = [[positions_of(layer.store).tolist() for layer in net.weight_layers] for net in nets]
    first, again, other = positions
    assert first == again and first[0] != other[0] and first[1:] == other[1:]
    alone = rw.Sparse(
        30, 60, links=90, connectivity=rw.connectivity.Correlated(X[::3])
    )  # of 25,000 every third
    rw.Sequential([alone], seed=3)
    assert positions_of(alone.store).tolist() == positions[0][0]


def test_connectivity_on_the_command_line(tmp_path, capsys):
    train = "train --data digits --hidden 40 --epochs 1 --quiet --epsilon 2 --group 1".split()
    saved = tmp_path / "run"
    words = ["--connectivity", "Small_World", "--connectivity-opt", "beta=0", "--save", str(saved)]
    assert main([*train, "--rewiring", "static", *words]) == 0
    ring = rw.Sparse(64, 40, links=208, connectivity=rw.connectivity.SmallWorld(0.0))
    rw.Sequential([ring], seed=0)
    assert positions_of(rw.load(saved).weight_layers[0].store).tolist() == positions_of(ring.store).tolist()
    assert main(["train", "--resume", str(saved), "--epochs", "2", "--quiet"]) == 0
    assert main([*train, "--connectivity", "correlated"]) == 0
    capsys.readouterr()
    for wrong, message in (
        (["--connectivity", "tree"], "connectivity must be one of 'random', "),
        (
            ["--connectivity", "small-world", "--connectivity-opt", "gamma=1"],
            "connectivity 'small-world' takes beta, got 'gamma'",
        ),
        (["--connectivity-opt", "beta=1"], "--connectivity-opt does nothing without --connectivity"),
        (["--connectivity", "random", "--dense"], "--connectivity does nothing with --dense"),
    ):
        assert main([*train[:-4], *wrong]) == 2
        assert message in capsys.readouterr().err
    assert main(["train", "--resume", str(saved), "--connectivity", "random"]) == 2


def test_connectivity_that_is_none():
    with pytest.raises(ValueError, match="connectivity must be one of .*'correlated', got 'tree'"):
        rw.connectivity.connectivity("tree")
    with pytest.raises(TypeError, match="connectivity must be one of .*, a dict or a Connectivity, got 3"):
        rw.Sparse(4, 3, connectivity=3)
    with pytest.raises(TypeError, match="connectivity 'random' takes no options, got 'beta'"):
        rw.connectivity.connectivity({"name": "random", "beta": 1})
    with pytest.raises(ValueError, match="connectivity 'correlated' needs samples"):
        rw.Sparse(4, 3, connectivity="correlated")
    with pytest.raises(ValueError, match="connectivity must be one of"):
        rw.SparseMLPClassifier(connectivity="tree").fit([[0.0], [1.0]], [0, 1])


def test_removed_neurons_do_not_end_a_warm_start():
    data = rw.datasets.load("digits")
    X, y = data.X[:300], data.y[:300]
    rule = {"name": "importance", "begin": 0, "every": {"epochs": 1}}
    made = rw.SparseMLPClassifier((40,), rewiring=rule, max_iter=3, warm_start=True, random_state=0).fit(X, y)
    before = made.network_.weight_layers[0].n_out
    assert before < 40 and made.fit(X, y).network_.weight_layers[0].n_out < before
    with pytest.raises(ValueError, match=r"must stay \(40,\) while .*, got \(30,\)"):
        made.set_params(hidden_layer_sizes=(30,)).fit(X, y)
