"""What has a name is there by it: on the command line, in comparisons, in estimators."""

import json

import numpy as np
import pytest

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


# --- rewire compare, rw.compare


def test_compared_by_name(run, archive, tmp_path):
    """Units with options of their own, beside networks that are given layer by layer."""
    contenders = {name: {"layers": layers} for name, layers in NETWORKS.items()}
    contenders["few winners"] = {"activation": "k-winners", "activation.fraction": 0.4}
    contenders["in order"] = {"activation": "switchnet4", "activation.mix": "permutation"}
    (tmp_path / "c.json").write_text(json.dumps(contenders))
    command = ["compare", "--data", archive, "--epochs", 1, "--batch-size", 30, "--seeds", 1, "--jobs", 0]
    code, out, error = run(
        *command, "--hidden", "12,12", "--grid", f"activation={','.join(UNITS)}", "--contenders",
        tmp_path / "c.json", "--json", tmp_path / "found", "--quiet",
    )  # fmt: skip
    assert code == 0, out + error
    found = json.loads((tmp_path / "found").read_text())
    assert [row["contender"] for row in found["runs"]] == [*UNITS, *contenders]
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


def test_the_paper_of_set_has_srelu():
    layers = rw.preset("set-2018").layers([8, 12, 3])
    assert repr(layers[1]) == "SReLU('published')"
    assert Recipe({"preset": "set-2018", "activation": "relu"}).activation == rw.ReLU()
    assert rw.SparseMLPClassifier.from_preset("set-2018", max_iter=1).fit(X, Y).predict(X).shape == Y.shape
