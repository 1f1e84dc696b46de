"""What has a name is there by it: on the command line, in comparisons, in estimators."""

import json
import pickle

import numpy as np
import pytest
from sklearn.base import clone

import rewire as rw
from rewire import files
from rewire.cli import main
from rewire.recipe import Recipe
from rewire.units import Unit, hidden_names
from small import T, X, Y, normal

DATA = X, Y, normal(60, 8).astype("f4"), np.arange(60) % 3
UNITS = [name for name in hidden_names() if isinstance(rw.activations.activation(name), Unit)]
KINDS = {
    "srelu": "SReLU", "prelu": "PReLU", "two-sided": "TwoSided", "k-winners": "KWinners",
    "two-sided-winners": "KWinners", "switchnet4": "SwitchNet4",
}  # fmt: skip
MIXES = [[{"type": "Mix", "mix": mix}] for mix in ("wht", "dct", "hartley", "permutation")]
SPARSE = {"type": "Sparse", "density": 0.5}
NETWORKS = {
    "normed": [
        SPARSE | {"n_out": 12}, {"type": "BatchNorm"}, {"type": "SReLU"}, {"type": "LayerNorm"}, SPARSE,
    ],
    "mixed": [{"type": "Concat", "layers": [*MIXES, []]}, SPARSE],
    "winners": [SPARSE | {"n_out": 12}, {"type": "KWinners", "k": 3, "two_sided": True}, SPARSE],
    "branched": [
        SPARSE | {"n_out": 12}, {"type": "PReLU"},
        {"type": "Residual", "layers": [{"type": "TwoSided"}, SPARSE | {"n_out": 12}]}, SPARSE,
    ],
    "switches": [{"type": "SwitchNet4", "width": 12, "depth": 2}, {"type": "Switches"}, SPARSE],
    "energy": [{"type": "FreeEnergy", "n_hidden": 9}, SPARSE | {"density": 1.0}],
}  # fmt: skip


@pytest.fixture
def run(capsys):
    """Run a command line in this process: (exit code, standard output, standard error)."""

    def call(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    yield call
    rw.set_num_threads(None)


@pytest.fixture
def archive(tmp_path):
    """The data as a file."""
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=Y, X_test=DATA[2], y_test=DATA[3])
    return path


def kinds(network):
    """Names of its layers' classes."""
    return [type(layer).__name__ for layer in network.layers]


def test_all_units_are_here():
    assert sorted(UNITS) == sorted(KINDS)


# --- rewire train, inspect, eval


@pytest.mark.parametrize("name", UNITS)
def test_trained_looked_at_and_resumed(run, archive, tmp_path, name):
    whole, half = tmp_path / "whole", tmp_path / "half"
    train = ["train", "--data", archive, "--hidden", "12,12", "--activation", name, "--batch-size", 16,
             "--schedule", "constant", "--quiet", "--horizon", 4]  # fmt: skip
    assert run(*train, "--epochs", 4, "--save", whole, "--threads", 1)[0] == 0
    assert run(*train, "--epochs", 2, "--save", half, "--threads", 1)[0] == 0
    again = ["train", "--resume", half, "--data", archive, "--epochs", 4, "--save", half, "--quiet"]
    assert run(*again, "--threads", 2)[0] == 0
    a, b = files.read(whole).arrays, files.read(half).arrays
    assert a.keys() == b.keys() and all(np.array_equal(a[key], b[key]) for key in a)
    code, out, _ = run("inspect", whole)
    assert code == 0 and KINDS[name] in out and "digests ok, structure ok" in out
    assert run("eval", whole, "--data", archive)[0] == 0
    code, out, _ = run("predict", whole, "--data", archive)
    assert code == 0 and len(out.splitlines()) == len(DATA[2])


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_from_a_file(run, archive, tmp_path, name):
    (tmp_path / "layers.json").write_text(json.dumps(NETWORKS[name]))
    saved = tmp_path / "m"
    train = ["train", "--data", archive, "--layers", tmp_path / "layers.json", "--epochs", 1, "--quiet"]
    code, _, error = run(*train, "--save", saved)
    assert code == 0, error
    assert [type(layer).__name__ for layer in rw.load(saved).layers] == [
        one["type"] for one in NETWORKS[name]
    ]
    assert run("inspect", saved)[0] == run("eval", saved, "--data", archive)[0] == 0
    again = ["train", "--resume", saved, "--data", archive, "--epochs", 2, "--quiet"]
    assert run(*again)[0] == 0
    code, _, error = run(*again, "--layers", tmp_path / "layers.json")
    assert code == 2 and "--layers cannot be changed with --resume" in error


def test_wrong_layers_from_a_file(run, archive, tmp_path):
    def told(text, *options):
        (tmp_path / "l").write_text(text)
        code, _, error = run("train", "--data", archive, "--layers", tmp_path / "l", *options)
        assert code == 2
        return error

    assert "is no JSON" in told("[{")
    assert "must hold a list of layers" in told("{}")
    assert "layers[0], a Sparse, must say its n_out" in told('[{"type": "Sparse"}, {"type": "Sparse"}]')
    assert "hidden does nothing beside layers" in told("[]", "--hidden", 9)
    assert "this file is named for something else too" in told("[]", "--save", tmp_path / "l")
    assert run("train", "--data", archive, "--layers", tmp_path / "none")[0] == 1


# --- rewire compare, rw.compare


def test_compared_by_name(run, archive, tmp_path):
    """Units with options of their own, beside networks that are given layer by layer."""
    contenders = {name: {"layers": layers} for name, layers in NETWORKS.items()}
    contenders["few winners"] = {"activation": "k-winners", "activation.fraction": 0.4}
    contenders["in order"] = {"activation": "switchnet4", "activation.mix": "permutation"}
    (tmp_path / "c.json").write_text(json.dumps(contenders))
    command = ["compare", "--data", archive, "--epochs", 1, "--batch-size", 30, "--seeds", 1, "--jobs", 0]
    (tmp_path / "layers.json").write_text(json.dumps(NETWORKS["normed"]))
    code, out, error = run(
        *command, "--hidden", "12,12", "--grid", f"activation={','.join(UNITS)}", "--also",
        f"one more: --layers {tmp_path / 'layers.json'}", "--contenders", tmp_path / "c.json", "--json",
        tmp_path / "found", "--quiet",
    )  # fmt: skip
    assert code == 0, out + error
    found = json.loads((tmp_path / "found").read_text())
    assert [row["contender"] for row in found["runs"]] == [*UNITS, "one more", *contenders]
    assert not any("error" in row for row in found["runs"])


@pytest.mark.parametrize("dense", [False, True])
def test_at_equal_weights(dense):
    """Blocks of switches are as they are; what can be changed beside them is."""
    common = {"hidden": [16, 16], "dense": dense} | ({} if dense else {"group": 1})
    contenders = {name: {"activation": name} for name in UNITS}
    found = rw.compare(
        DATA, contenders, **common, weights=300, epochs=1, batch_size=30, seeds=1, jobs=0, verbose=0
    )
    weights = dict(zip(found["contender"], found["weights"], strict=True))
    assert all(200 < n <= 300 for n in weights.values()), weights
    if dense:
        assert found.contenders["switchnet4"]["hidden"] == [12, 12]


def test_switches_have_blocks_and_all_inputs():
    """As narrow as they can be is not as narrow as was asked."""
    with pytest.raises(ValueError, match="weights must be at least 152, as few as it can have by its hidden"):
        options = {"activation": "switchnet4", "dense": True, "hidden": [16, 16]}
        rw.compare(DATA, {"it": options}, weights=100, epochs=1, seeds=1, jobs=0, verbose=0)


# --- estimators, presets


@pytest.mark.parametrize("name", UNITS)
def test_estimators(name):
    shared = {"hidden_layer_sizes": (12,), "activation": name, "max_iter": 2, "random_state": 0}
    found = rw.SparseMLPClassifier(**shared).fit(X, Y)
    assert KINDS[name] in {type(layer).__name__ for layer in found.network_.layers}
    assert rw.SparseMLPRegressor(**shared).fit(X, T).predict(X).shape == T.shape
    stream = rw.SparseMLPClassifier(**shared)
    for rows in (slice(0, 40), slice(40, 90)):
        stream.partial_fit(X[rows], Y[rows], classes=range(3))
    assert stream.predict(X).shape == Y.shape


@pytest.mark.parametrize("name", NETWORKS)
def test_estimators_of_layers(name):
    shared = {"layers": NETWORKS[name], "max_iter": 2, "random_state": 0}
    model = clone(rw.SparseMLPClassifier(**shared)).fit(X, Y)
    assert [type(layer).__name__ for layer in model.network_.layers] == [
        one["type"] for one in NETWORKS[name]
    ]
    assert model.predict_proba(X).sum(axis=1) == pytest.approx(1, abs=1e-5)
    again = pickle.loads(pickle.dumps(model))
    assert np.array_equal(again.predict(X), model.predict(X))
    assert sum(matrix.nnz for matrix in model.coefs_) == model.nnz_
    assert rw.SparseMLPRegressor(**shared).fit(X, T).predict(X).shape == T.shape
    stream = rw.SparseMLPClassifier(**shared)
    for rows in (slice(0, 40), slice(40, 90)):
        stream.partial_fit(X[rows], Y[rows], classes=range(3))
    with pytest.raises(ValueError, match="layers must stay .* while the same network is trained on"):
        stream.set_params(layers=[SPARSE]).partial_fit(X, Y)


def test_estimators_take_layers_and_functions():
    layers = [rw.Sparse(8, 12), rw.LayerNorm(), rw.Sparse(12, 3, activation="softmax")]
    model = rw.SparseMLPClassifier(layers=layers, max_iter=1, random_state=0).fit(X, Y)
    assert model.network_.layers[0] is not layers[0] and not hasattr(layers[0], "store")
    model.set_params(
        layers=lambda n, m: [rw.Sparse(n, 9), rw.TwoSided(), rw.Dense(18, m, activation="softmax")]
    )
    assert [matrix.shape for matrix in model.fit(X, Y).coefs_] == [(8, 9), (18, 3)]
    switches = rw.SparseMLPClassifier((8, 8), activation="switchnet4", max_iter=1).fit(X, Y)
    assert [matrix.shape for matrix in switches.coefs_] == [(16, 8), (16, 8), (8, 3)]


@pytest.mark.parametrize(
    "layers, words",
    [
        (
            [rw.Sparse(8, 3)],
            "layers must end with the activation 'softmax' that the targets ask for, got 'linear'",
        ),
        (
            [rw.Sparse(8, 4, activation="softmax")],
            "must take the 8 features of X and give 3 outputs, got 8 -> 4",
        ),
        (lambda n, m: [rw.Sparse(7, 3, activation="softmax")], "got 7 -> 3"),
        ([{"type": "Sparse"}, {"type": "Sparse"}], "must say its n_out"),
        ("relu", "layers must be a list of descriptions, or a function that gives layers, got 'relu'"),
        ([3], r"layers\[0\] must be a dict with a type, or a Layer, got 3"),
    ],
)
def test_layers_that_do_not_fit(layers, words):
    with pytest.raises((TypeError, ValueError), match=words):
        rw.SparseMLPClassifier(layers=layers, max_iter=1).fit(X, Y)


def test_the_paper_of_set_has_srelu():
    layers = rw.preset("set-2018").layers([8, 12, 3])
    assert repr(layers[1]) == "SReLU('published')"
    assert Recipe({"preset": "set-2018", "activation": "relu"}).activation == rw.ReLU()
    assert rw.SparseMLPClassifier.from_preset("set-2018", max_iter=1).fit(X, Y).predict(X).shape == Y.shape
