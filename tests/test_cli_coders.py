"""``rewire select`` and ``rewire encode``: what learns without targets, and data sets that come of it."""

import csv
import json
import signal

import numpy as np
import pytest

import rewire as rw
from rewire.cli import main
from rewire.cli._coders import coder_parameters
from rewire.cli.options import build_parser
from rewire.datasets import load
from small import X, Y

WORDS = np.array(["low", "middle", "high"])[Y]
FAST = ["--epochs", "2", "--batch-size", "30", "--density", "0.5"]
SELECT = ["select", "--features", "3", "--runs", "2", "--hidden", "12", *FAST]
MODELS = {
    "rbm": ["encode", "--model", "rbm", "--hidden", "6", *FAST, "--quiet"],
    "autoencoder": ["encode", "--model", "autoencoder", "--hidden", "6", *FAST, "--quiet"],
}


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.delenv("REWIRE_DEBUG", raising=False)

    def call(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    yield call
    rw.set_num_threads(None)


@pytest.fixture
def data(tmp_path):
    """An archive of words, with a test set whose values go further than those of training."""
    path = tmp_path / "data.npz"
    np.savez(path, X=X, y=WORDS, X_test=2 * X[:20], y_test=WORDS[:20])
    return path


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


# --- select


def test_selected_columns_are_a_data_set(run, data, tmp_path):
    out, record = tmp_path / "s.npz", tmp_path / "s.json"
    code, said, error = run(*SELECT, "--data", data, "--seed", 5, "--out", out, "--json", record)
    assert (code, error) == (0, ""), error
    coder = rw.SparseDenoisingAutoencoder(12, max_iter=2, batch_size=30, density=0.5)
    wanted = rw.QuickSelection(3, estimator=coder, n_runs=2, random_state=5).fit(X)
    found, told = arrays(out), json.loads(record.read_text())
    assert found["columns"].tolist() == told["columns"] == np.flatnonzero(wanted.support_).tolist()
    assert told["strengths"] == wanted.strengths_.tolist()
    np.testing.assert_array_equal(found["X"], X[:, wanted.support_])
    np.testing.assert_array_equal(found["X_test"], 2 * X[:20, wanted.support_])
    assert found["X"].dtype == X.dtype and (found["y"] == WORDS).all() and len(found["y_test"]) == 20
    printed = [int(line.split()[0]) for line in said.splitlines()[2:5]]
    assert printed == sorted(told["columns"], key=lambda column: -wanted.strengths_[column])
    assert told["data"]["train"] == 90 and (told["runs"], told["epochs"], told["seed"]) == (2, 2, 5)
    assert {"nnz", "optimizer", "rewiring", "seconds", "threads", "versions"} <= told.keys()
    assert run("train", "--data", out, "--hidden", 9, "--epochs", 1, "--quiet")[0] == 0


def test_selected_columns_as_numbers(run, data, tmp_path):
    """The same ones in a table, in JSON, and printed where there is no file."""
    printed = run(*SELECT, "--data", data, "--threads", 2)[1]
    for name in ("c.csv", "c.json"):
        assert run(*SELECT, "--data", data, "--threads", 1, "--out", tmp_path / name)[0] == 0
    rows = list(csv.reader((tmp_path / "c.csv").read_text().splitlines()))
    assert rows[0] == ["column", "strength"] and len(rows) == 4
    assert [row[0] for row in rows[1:]] == [line.split()[0] for line in printed.splitlines()[2:5]]
    assert json.loads((tmp_path / "c.json").read_text()) == sorted(int(row[0]) for row in rows[1:])


def test_pixels_have_positions_and_classes_their_names(run, tmp_path):
    options = ["--data", "digits", "--features", 0.4, "--runs", 1, "--hidden", 20, "--epochs", 1]
    code, said, error = run("select", *options, "--out", tmp_path / "d.npz")
    assert code == 0, error
    for line in said.splitlines()[2:22]:
        column, _, position = line.split()
        assert position == f"{int(column) // 8},{int(column) % 8}"
    assert "5 more in" in said and "selected  25 of 64 features" in said
    kept, digits = load(tmp_path / "d.npz"), load("digits")
    assert kept.classes == digits.classes and kept.X.dtype == np.uint8
    assert (kept.y == digits.y).all() and (kept.y_test == digits.y_test).all()


@pytest.mark.parametrize("kind", ["sparse", "integers", "without targets"])
def test_targets_are_carried_along_unread(run, tmp_path, kind):
    """Also those of which a data set of classes could not be made, and none."""
    sparse, path, out = pytest.importorskip("scipy.sparse"), tmp_path / "d.npz", tmp_path / "s.npz"
    given = {"X": X, "y": np.arange(90), "X_test": X[:2], "y_test": np.array([200, 300])}
    if kind == "without targets":
        given = {"X": X}
    if kind == "sparse":
        sparse.save_npz(path, sparse.csr_matrix(X))
        given = {"y": np.arange(90)}
        np.savez(path, **given, **arrays(path))
    else:
        np.savez(path, **given)
    assert run(*SELECT, "--data", path, "--out", out)[::2] == (0, "")
    found = arrays(out)
    assert all(np.array_equal(found[name], y) for name, y in given.items() if name.startswith("y"))
    assert ("y" in found) == ("y" in given)
    kept = sparse.load_npz(out).toarray() if kind == "sparse" else found["X"]
    np.testing.assert_array_equal(kept, X[:, found["columns"]])
    assert run(*MODELS["rbm"], "--data", path, "--out", out)[::2] == (0, "")
    assert arrays(out)["X"].shape == (90, 6)


# --- encode


@pytest.mark.parametrize("model", MODELS)
def test_encoded_data_are_a_data_set(run, data, tmp_path, model):
    out, record, saved = tmp_path / "e.npz", tmp_path / "e.json", tmp_path / "m.st"
    code, said, error = run(
        *MODELS[model], "--data", data, "--seed", 5, "--out", out, "--json", record, "--save", saved
    )
    assert (code, error) == (0, ""), error
    samples, test = X.astype("f8"), 2.0 * X[:20]
    if model == "rbm":
        low, width = samples.min(axis=0), np.ptp(samples, axis=0)
        samples, test = (samples - low) / width, np.clip((test - low) / width, 0, 1)
        wanted = rw.SparseBernoulliRBM(6, n_iter=2, batch_size=30, density=0.5, random_state=5).fit(samples)
    else:
        wanted = rw.SparseDenoisingAutoencoder(6, max_iter=2, batch_size=30, density=0.5, random_state=5)
        wanted.fit(samples)
    found, told = load(out), json.loads(record.read_text())
    np.testing.assert_allclose(found.X, wanted.transform(samples), atol=1e-6)
    np.testing.assert_allclose(found.X_test, wanted.transform(test), atol=1e-6)
    assert found.classes == ("high", "low", "middle") and len(found.y_test) == 20
    figure = "pseudo_likelihood" if model == "rbm" else "reconstructed"
    assert told[figure]["train"] == pytest.approx(wanted.score(samples), abs=1e-5)
    assert told["scaled"] == ("brought to 0 to 1" in said) == (model == "rbm")
    assert told["nnz"] == wanted.nnz_ and len(told["loss"]["per_epoch"]["train"]) == told["epochs"] == 2

    # The file takes features as they come: free energies, or features in units of the network.
    outputs = rw.load(saved).predict(X)
    energies = model == "rbm"
    inputs = wanted.free_energy(samples)[:, None] if energies else wanted.network_.predict(
        (X - wanted.mean_) / wanted.scale_
    )  # fmt: skip
    np.testing.assert_allclose(outputs, inputs, atol=1e-4)
    assert run("inspect", saved)[0] == 0
    command = ["compare", "--data", out, "--hidden", 9, "--epochs", 1, "--grid", "rewiring=static,set"]
    assert run(*command, "--seeds", 1, "--jobs", 0, "--quiet")[0] == 0


@pytest.mark.parametrize("model", MODELS)
def test_codes_do_not_depend_on_threads(run, data, tmp_path, model):
    for threads in (1, 2):
        command = [*MODELS[model], "--data", data, "--threads", threads, "--rewiring", "static"]
        assert run(*command, "--out", tmp_path / f"{threads}.npz")[0] == 0
    one, two = arrays(tmp_path / "1.npz"), arrays(tmp_path / "2.npz")
    assert one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


def test_probabilities_are_left_as_they_are(run, tmp_path):
    np.savez(tmp_path / "p.npz", X=np.random.default_rng(0).random((40, 5)) / 2)
    out = run(*MODELS["rbm"], "--data", tmp_path / "p.npz", "--out", tmp_path / "e.npz")[1]
    assert "brought to" not in out and "pseudo-likelihood  train -" in out


def test_epochs_are_told(run, data, tmp_path):
    for model, words in (("rbm", "Iteration 2, pseudo-likelihood"), ("autoencoder", "epoch 2/2  loss")):
        said = run(*MODELS[model][:-1], "--data", data, "--out", tmp_path / "e.npz")[1]
        assert said.startswith("data: 90 samples, 20 for the test, 8 features, from ") and words in said


# --- options


CODER, MACHINE = rw.SparseDenoisingAutoencoder, rw.SparseBernoulliRBM
GIVEN = [
    (CODER, "--hidden 7 --lr 0.1 --epochs 3", {"n_components": 7, "learning_rate_init": 0.1, "max_iter": 3}),
    (MACHINE, "--hidden 7 --lr 0.1 --epochs 3", {"n_components": 7, "learning_rate": 0.1, "n_iter": 3}),
    (CODER, "--noise 0.5 --dropout 0.1 --standardize no --activation SReLU",
     {"noise": 0.5, "dropout": 0.1, "standardize": False, "activation": "srelu"}),
    (CODER, "--activation k-winners --activation-opt k=2", {"activation": {"name": "k-winners", "k": 2}}),
    (MACHINE, "--links 90 --gibbs-steps 2 --persistent", {"links": 90, "gibbs_steps": 2, "persistent": True}),
    (MACHINE, "--connectivity small-world --connectivity-opt beta=0.5",
     {"connectivity": {"name": "small-world", "beta": 0.5}}),
    (CODER, "--rewiring RigL --rewiring-opt every=9", {"rewiring": {"name": "rigl", "every": 9}}),
    (CODER, "--rewiring static --group 4 --dtype float64",
     {"rewiring": "static", "group": 4, "dtype": "float64"}),
    (MACHINE, "--rewiring-opt fraction=0.1 --init he --epsilon 5",
     {"drop_fraction": 0.1, "init": "he", "epsilon": 5.0}),
    (MACHINE, "--momentum 0.5 --weight-decay 0.1 --batch-size 9 --seed 3 --threads 1",
     {"momentum": 0.5, "weight_decay": 0.1, "batch_size": 9}),
]  # fmt: skip


@pytest.mark.parametrize("kind, options, wanted", GIVEN)
def test_options_are_parameters(kind, options, wanted):
    command = ["encode", "--data", "digits", "--model", "rbm" if kind is MACHINE else "autoencoder"]
    arguments = build_parser().parse_args([*command, "--out", "e.npz", *options.split()])
    found = coder_parameters(kind, arguments)
    assert found == wanted
    kind(**found | {"n_components": 12}).fit(np.random.default_rng(0).random((20, 10)))


OUT = ["--data", "digits", "--out", "e.npz"]
REFUSED = [
    (["select"], "the following arguments are required: --data"),
    (["select", "--data", "mnist"], "--data must be one of digits, fashion-mnist, madelon or FILE.npz"),
    (["select", "--data", "d.txt"], "two lines of Python make one"),
    (["select", *OUT, "--features", "0"], "--features: must be a whole number >= 1, or a part between 0 and"),
    (["select", *OUT, "--features", "1.5"], "--features: must be a whole number >= 1, or a part"),
    (["select", *OUT, "--features", "65"], "--features must be at most 64, which digits has, got 65"),
    (["select", *OUT, "--runs", "0"], "--runs"),
    (["select", *OUT, "--links", "9"], "unrecognized arguments: --links 9"),
    (["select", *OUT, "--lr", "0"], "learning_rate_init must be a number > 0"),
    (["select", *OUT, "--rewiring", "sett"], "rewiring must be one of"),
    (["select", *OUT, "--rewiring-opt", "end=0.5"], "--rewiring-opt of set takes fraction here, got 'end'"),
    (["select", *OUT, "--rewiring", "static", "--rewiring-opt", "fraction=1"], "does nothing without rewir"),
    (["select", "--data", "digits", "--out", "s.txt"], "--out must end in .npz, .csv or .json, got s.txt"),
    (["select", "--data", "digits", "--out", "s.json", "--json", "s.json"], "named for something else too"),
    (["encode", *OUT], "the following arguments are required: --model"),
    (["encode", *OUT, "--model", "pca"], "--model"),
    (["encode", "--data", "digits", "--model", "rbm"], "the following arguments are required: --out"),
    (["encode", "--data", "digits", "--model", "rbm", "--out", "e.csv"], "--out must end in .npz, got e.csv"),
    (["encode", *OUT, "--model", "rbm", "--noise", "1"], "--noise does nothing with --model rbm"),
    (["encode", *OUT, "--model", "autoencoder", "--links", "9"], "--links does nothing with --model auto"),
    (["encode", *OUT, "--model", "rbm", "--gibbs-steps", "0"], "--gibbs-steps"),
    (["encode", *OUT, "--model", "rbm", "--density", "0.1", "--links", "9"], "not allowed with"),
    (["encode", *OUT, "--model", "rbm", "--connectivity-opt", "beta=1"], "does nothing without --connectiv"),
    (["encode", *OUT, "--model", "rbm", "--save", "e.npz"], "this file is named for something else too"),
    (["encode", *OUT, "--model", "rbm", "--save", "no/such/m"], "the folder"),
    (["encode", *OUT, "--model", "autoencoder", "--activation", "softmax"], "softmax on a hidden layer"),
    (["encode", *OUT, "--model", "autoencoder", "--activation", "switchnet4"], "stands for whole layers"),
]  # fmt: skip


@pytest.mark.parametrize("arguments, words", REFUSED, ids=[" ".join(row[0]) for row in REFUSED])
def test_wrong_usage_exits_2_and_writes_nothing(run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    code, _, error = run(*arguments)
    assert code == 2 and words in error and len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_data_are_not_written_over(run, data):
    before = data.read_bytes()
    for command in ([*SELECT], MODELS["rbm"], [*MODELS["rbm"], "--save", data]):
        out = data if "--save" not in command else data.parent / "e.npz"
        code, said, error = run(*command, "--data", data, "--out", out)
        assert code == 2 and not said and "this file is named for something else too" in error
    assert data.read_bytes() == before and len(list(data.parent.iterdir())) == 1


def test_wrong_archives(run, tmp_path):
    path = tmp_path / "d.npz"
    for given, words in (
        ({"y": np.arange(4)}, "lacks the array X; it has y"),
        ({"X": X, "y": np.arange(4)}, "X has 90 samples, y has 4"),
        ({"X": X, "y": np.float64(4)}, "X has 90 samples, y has no"),
        ({"X": X, "X_test": X[:, :3]}, "X has samples of shape (8,), X_test of shape (3,)"),
        ({"X": np.where(X > 2, np.nan, X)}, "X holds NaN or infinity"),
    ):
        np.savez(path, **given)
        for command in (SELECT, MODELS["rbm"]):
            code, _, error = run(*command, "--data", path, "--out", tmp_path / "o.npz")
            assert code == 3 and words in error and error.count("\n") == 1
    assert run(*SELECT, "--data", tmp_path / "none.npz")[0] == 1


def test_divergence_exits_1_with_one_line(run, data, tmp_path):
    command = [*MODELS["autoencoder"], "--activation", "relu", "--lr", "1e30", "--out", tmp_path / "e.npz"]
    code, _, error = run(*command, "--data", data)
    assert code == 1 and "diverged in epoch" in error and not (tmp_path / "e.npz").exists()


def test_without_scikit_learn_it_says_so(run, monkeypatch, tmp_path):
    def missing(name):
        raise ModuleNotFoundError("No module named 'sklearn'", name="sklearn")

    monkeypatch.setattr(rw, "import_module", missing)
    for command in (["select"], ["encode", "--model", "rbm"]):
        code, _, error = run(*command, "--data", "digits", "--out", tmp_path / "e.npz")
        assert code == 1 and error.count("\n") == 1
        assert 'needs scikit-learn, which is not installed: pip install "rewire[sklearn]"' in error


@pytest.mark.parametrize("number, code, word", [
    (signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated"),
])  # fmt: skip
@pytest.mark.parametrize("command", [SELECT, *MODELS.values()], ids=["select", *MODELS])
def test_signals_end_it_and_nothing_is_written(run, data, monkeypatch, command, number, code, word):
    """At the first rewiring: a whole epoch is done, which in Python would be kept."""
    rewire = rw.SET.rewire

    def interrupted(*arguments, **options):
        signal.raise_signal(number)
        return rewire(*arguments, **options)

    monkeypatch.setattr(rw.SET, "rewire", interrupted)
    out = data.parent / "o.npz"
    command = [*command, "--epochs", 3, "--batch-size", 1]
    found = run(*command, "--data", data, "--out", out, "--json", data.parent / "j")
    assert found[0] == code and found[2] == f"rewire {command[0]}: {word}\n"
    assert [path.name for path in data.parent.iterdir()] == [data.name]


def test_a_test_set_beyond_the_training_set_is_cut_aloud(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X, X_test = rng.random((40, 6)), np.vstack([rng.random((8, 6)), [[-5.0] * 6], [[14.0] * 6]])
    data, out = tmp_path / "unit.npz", tmp_path / "codes.npz"
    np.savez(data, X=X, y=np.arange(40) % 2, X_test=X_test, y_test=np.arange(10) % 2)
    given = [*MODELS["rbm"], "--data", str(data), "--out", str(out)]
    assert main(given) == 0
    said = capsys.readouterr().out
    assert "12 values of the test set that lie beyond 0 to 1" in said and "brought to" not in said
    np.savez(data, X=X, y=np.arange(40) % 2, X_test=np.clip(X_test, 0, 1), y_test=np.arange(10) % 2)
    codes = np.load(out)["X_test"]
    assert main(given) == 0
    assert np.array_equal(np.load(out)["X_test"], codes) and "cut" not in capsys.readouterr().out


def test_no_targets_are_learnt_by_an_autoencoder_of_a_file(tmp_path, capsys):
    saved = str(tmp_path / "coder.st")
    given = [*MODELS["autoencoder"], "--data", "digits"]
    assert main([*given, "--out", str(tmp_path / "codes.npz"), "--save", saved]) == 0
    for command in (["train", "--resume", saved, "--data", "digits"], ["eval", saved, "--data", "digits"]):
        assert main(command) == 2
        assert "holds an autoencoder, which learns without targets" in capsys.readouterr().err
