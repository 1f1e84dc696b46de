"""Networks that are sparse in name only: who is told, of what, and how often."""

import contextlib
import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

import rewire as rw
from rewire import DensityWarning, Sparse
from rewire.estimators import _network

RNG = np.random.default_rng(1)
X = RNG.normal(size=(40, 6))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def told(call):
    """Words of the density warnings of a call; any other but those of periods is an error."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "rewiring '")  # too short a run for its period, or one that grows
        warnings.simplefilter("always", DensityWarning)
        call()
    assert all(w.filename == __file__ for w in found)  # they point at the line that trains
    return [str(w.message) for w in found]


def trainer(*hidden, output=None, **options):
    """Hidden layers from 6 inputs on, each given by its width and arguments, and an output layer."""
    layers, n = [], 6
    for width, how in hidden:
        layers.append(Sparse(n, width, **how))
        n = width
    layers.append(Sparse(n, 2, activation="softmax", **(output or {})))
    return rw.Trainer(rw.Sequential(layers), loss="cross_entropy", **options)


# Arguments of the hidden layers, more arguments, and the layers that are named (None: silence).
CASES = [
    ([(30, {})], {}, [0]),  # 20 * 36 of 180
    ([(30, {}), (30, {})], {}, [0, 1]),
    ([(30, {}), (200, {})], {}, None),  # the second is not full, and nobody gave the first its epsilon
    ([(30, {"epsilon": 20}), (200, {})], {}, [0]),
    ([(30, {"epsilon": 3}), (200, {"epsilon": 40})], {}, [1]),
    ([(30, {"density": 0.96}), (200, {})], {}, [0]),
    ([(30, {"density": 0.95}), (200, {})], {}, None),
    ([(30, {"density": 1.0})], {}, None),  # a dense baseline, on purpose
    ([(30, {"density": 1.0}), (30, {})], {}, [1]),
    ([(30, {"links": 180})], {}, None),
    ([(30, {"fan_in": 6})], {}, None),
    ([(30, {"epsilon": 2})], {}, None),
    ([(30, {"epsilon": 2})], {"output": {"epsilon": 50}}, None),  # a full output layer alone
    ([], {"output": {"epsilon": 50}}, None),
    ([(30, {})], {"rewiring": "gmp"}, None),  # it brings the density down
    ([(30, {})], {"rewiring": "granet"}, None),
    ([(30, {})], {"rewiring": "snip"}, None),
    ([(30, {})], {"rewiring": "rigl"}, [0]),
    ([(30, {})], {"rewiring": "importance"}, [0]),
    ([(30, {})], {"rewiring": {"name": "importance", "rule": "gmp"}}, None),
    ([(30, {"density": 0.0})], {}, [0]),
    ([(30, {"epsilon": 2})], {"output": {"links": 0}}, [1]),
    ([(30, {"epsilon": 0.001})], {"output": {"epsilon": 0.001}}, [0, 1]),
    ([(30, {"epsilon": 0.001})], {"rewiring": "gmp"}, [0]),
]


@pytest.mark.parametrize("hidden, options, named", CASES, ids=str)
def test_trainer(hidden, options, named):
    t = trainer(*hidden, **options)
    words = told(lambda: t.fit(X, Y, verbose=0))
    assert len(words) == (named is not None)
    for layer in t.network.layers if named else ():
        assert (layer.label in words[0]) == (layer.index in named), words
    again = told(lambda: [t.fit(X, Y, verbose=0) for _ in range(3)])
    assert not again


@given(
    n_in=st.integers(1, 60),
    width=st.integers(1, 60),
    epsilon=st.floats(1e-3, 1e3),
    group=st.sampled_from([1, 4]),
)
def test_what_is_advised_helps(n_in, width, epsilon, group):
    """Over 0.95 full, or without a link, and not else; the epsilon that is named gives about half."""

    def fit(epsilon):
        first = Sparse(n_in, width, epsilon=epsilon, group=group)
        net = rw.Sequential([first, Sparse(width, 3, density=1.0, activation="softmax")])
        x = np.linspace(-1, 1, 4 * n_in).reshape(4, n_in)
        t = rw.Trainer(net, loss="cross_entropy")
        return told(lambda: t.fit(x, [0, 1, 2, 0], verbose=0)), first.density

    words, density = fit(epsilon)
    assert len(words) == (density > 0.95 or density == 0.0)
    assert not any("e+" in w for w in words)
    if density > 0.95 and n_in * width >= 40 * group and width % group == 0:
        (better,) = re.findall(r"epsilon=([0-9.]+)", words[0])
        assert 0.4 < fit(float(better))[1] < 0.6


def test_what_a_file_or_matrix_brings_is_meant(tmp_path):
    layer = Sparse.from_dense(np.ones((8, 6)), activation="relu")
    t = rw.Trainer(rw.Sequential([layer, Sparse(8, 2, activation="softmax")]), loss="cross_entropy")
    assert not told(lambda: t.fit(X, Y, verbose=0))
    t = trainer((30, {}))
    t.save(tmp_path / "t")
    assert not told(lambda: rw.Trainer.resume(tmp_path / "t").fit(X, Y, verbose=0))


def test_a_dense_layer_is_dense_on_purpose():
    net = rw.Sequential([rw.Dense(6, 20, activation="relu"), Sparse(20, 2, activation="softmax")])
    assert not told(lambda: rw.Trainer(net, loss="cross_entropy").fit(X, Y, verbose=0))


def test_as_an_error_it_leaves_the_trainer_as_it_was():
    t = trainer((30, {}))
    before = t.network.predict(X)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DensityWarning):
            t.fit(X, Y, verbose=0)
    assert (t.epoch, t.step, len(t.history)) == (0, 0, 0)
    assert np.array_equal(t.network.predict(X), before)


class Nothing(rw.rewiring.Redistribute):
    """Nothing comes, whatever goes."""

    def counts(self, plans, layers, context):
        return [0] * len(layers)


def test_layers_that_lose_all_links_are_named_once():
    rule = rw.SET(1.0)
    rule.redistribute = Nothing()
    t = trainer((30, {"epsilon": 2}), rewiring=rule)
    (words,) = told(lambda: t.fit(X, Y, epochs=3, batch_size=10, verbose=0))
    assert "no connections are left in layer 0" in words
    assert not told(lambda: t.fit(X, Y, epochs=3, batch_size=10, verbose=0))


# --- estimators


@pytest.fixture(scope="module")
def classes():
    pytest.importorskip("sklearn")
    return rw.SparseMLPClassifier, rw.SparseMLPRegressor


@pytest.mark.parametrize("which", [0, 1])
def test_estimators(classes, which):
    options = {"max_iter": 2, "n_jobs": 1, "random_state": 0}
    full = classes[which]((30,), **options)
    (words,) = told(lambda: full.fit(X, Y))
    assert "layer 0 (Sparse 6 -> 30)" in words and "100 %" in words and "epsilon=2.5 " in words
    assert told(lambda: full.fit(X, Y))  # a new network
    assert not told(lambda: full.set_params(warm_start=True).fit(X, Y))
    assert not told(lambda: classes[which]((30,), **options, epsilon=2.5).fit(X, Y))
    assert not told(lambda: classes[which]((100, 100), **options).fit(X, Y))
    (words,) = told(lambda: classes[which]((30,), **options, epsilon=1e-9).fit(X, Y))
    assert "no connections in layer 0" in words and "layer 1" in words


def test_partial_fit_warns_once(classes):
    clf = classes[0]((30,), n_jobs=1, random_state=0)
    pieces = np.array_split(np.arange(40), 4)
    assert len(told(lambda: [clf.partial_fit(X[i], Y[i], classes=[0, 1]) for i in pieces])) == 1


def test_defaults_on_tiny_data_are_silent(classes):
    for n in (1, 5, 30):
        x = RNG.normal(size=(4, n))
        assert not told(lambda: classes[0](max_iter=1, n_jobs=1).fit(x, [0, 1, 0, 1]))  # noqa: B023


# --- the command line, and how fractions are written


@pytest.mark.parametrize(
    "arguments, warned",
    [
        (["--hidden", "20"], True),
        (["--hidden", "20", "--density", "1.0"], False),
        (["--hidden", "20", "--density", "0.97"], True),
        (["--hidden", "20", "--rewiring", "gmp"], False),
        (["--hidden", "20", "--dense"], False),
        (["--hidden", "300,300", "--epsilon", "5"], False),
    ],
    ids=str,
)
def test_command_line(capsys, arguments, warned):
    from rewire.cli import main

    with warnings.catch_warnings():
        warnings.simplefilter("always", DensityWarning)
        assert main(["train", "--data", "digits", "--epochs", "1", *arguments]) == 0
    out, err = capsys.readouterr()
    lines = [line for line in err.splitlines() if line.startswith("rewire train: warning: ")]
    assert len(lines) == warned and "Warning" not in err
    assert not re.search(r"\de[+-]\d\d", out + err)


@given(n_in=st.integers(1, 99), n_out=st.integers(1, 99), fraction=st.floats(0, 1))
def test_a_fraction_is_never_written_with_an_exponent(n_in, n_out, fraction):
    links = round(fraction * n_in * n_out)
    printed = str(rw.Sequential([Sparse(n_in, n_out, links=links, bias=False)]))
    for number in re.findall(r"\((.*) %\)", printed):
        assert re.fullmatch(r"\d+(\.\d+)?", number), printed
        assert (float(number) == 100.0) == (links == n_in * n_out)
        assert (float(number) == 0.0) == (links == 0)
        assert float(number) == pytest.approx(100 * links / (n_in * n_out), rel=0.006)
    assert printed.count(" %)") == 2


def test_a_full_network_without_a_rule_has_nothing_to_move():
    words = told(lambda: trainer((30, {"epsilon": 20}), rewiring=None).fit(X, Y, verbose=0))
    assert len(words) == 1 and "Dense layer" in words[0] and "move" not in words[0]


@pytest.mark.parametrize("make", [sp.csr_array, np.asarray])
@pytest.mark.parametrize("columns, told", [(100, True), (12, False)])
def test_many_links_for_columns_that_hold_nothing_are_told(make, columns, told, monkeypatch):
    """As of words hashed into 2^20 columns, for which the default makes 21 million."""
    monkeypatch.setattr(_network, "MANY", 100)
    wide = np.zeros((40, columns))
    wide[:, :6] = X
    words = f"most of them for the {columns - 6} of {columns} columns of X that are 0 in every row: hash into"
    told = told and make is sp.csr_array
    with pytest.warns(UserWarning, match=words) if told else contextlib.nullcontext():
        rw.SparseMLPClassifier((20,), epsilon=2, max_iter=1, n_jobs=1).fit(make(wide), Y)
