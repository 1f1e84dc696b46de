"""The command line: what each command prints and writes, and the exit code and the line of every error."""

import csv
import errno
import io
import itertools
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

import rewire as rw
from rewire import _container, files, info
from rewire.cli import main
from rewire.datasets import load
from small import HANG_SECONDS, SELDOM

TRAIN = ["train", "--data", "digits", "--hidden", "40,30", "--epochs", "2", "--quiet"]


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.delenv("REWIRE_DEBUG", raising=False)

    def call(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    yield call
    rw.set_num_threads(None)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A saved network of the digits."""
    path = tmp_path_factory.mktemp("model") / "m.safetensors"
    assert main([*TRAIN, "--epochs", "5", "--save", str(path), "--threads", "1"]) == 0
    rw.set_num_threads(None)
    return path


# --- train


@pytest.mark.parametrize("loss", [
    ["cross_entropy", "--loss-opt", "label_smoothing=0.1"], ["squared-hinge"],
    ["cross_entropy", "--loss-opt", "class_weight=1,1,1,1,1,5,1,1,1,2"],
])  # fmt: skip
def test_train_takes_losses_of_classes(run, tmp_path, loss):
    saved = tmp_path / "m.st"
    assert run(*TRAIN, "--loss", *loss, "--save", saved)[0] == 0
    config = files.read(saved).config["loss"]
    assert config["name"] == loss[0].replace("-", "_") and len(config) == (1 if len(loss) == 1 else 3)
    code, out, _ = run("eval", saved)
    assert code == 0 and float(re.search(r"accuracy ([\d.]+)", out)[1]) > 0.3
    code, out, _ = run("predict", saved, "--data", "digits")
    assert code == 0 and {*out.split()} <= {*map(str, range(10))}
    words = "--loss-opt cannot be changed with --resume"
    assert words in run("train", "--resume", saved, "--loss-opt", "label_smoothing=0.2")[2]


def test_train_takes_losses_of_numbers_and_of_a_yes_or_no(run, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    y = rng.poisson(np.exp(X[:, 0] + 1)).astype(float)
    counts, two, saved = tmp_path / "counts.npz", tmp_path / "two.npz", tmp_path / "m.st"
    np.savez(counts, X=X, y=y)
    np.savez(two, X=X, y=np.where(y > 2, "many", "few"))
    options = ["train", "--hidden", "20", "--epochs", "20", "--quiet", "--save", saved]
    assert run(*options, "--data", counts, "--loss", "poisson")[0] == 0
    lines = run("predict", saved, "--data", counts)[1].split()
    rates = np.exp(rw.Sequential.load(saved).predict(X)[:, 0])
    np.testing.assert_allclose(np.array(lines, float), rates, rtol=1e-5)
    assert np.corrcoef(np.log(rates), X[:, 0])[0, 1] > 0.8
    run("predict", saved, "--data", counts, "--out", tmp_path / "p.npz")
    found = np.load(tmp_path / "p.npz")
    np.testing.assert_array_equal(np.exp(found["output"]), found["prediction"])
    assert run(*options, "--data", counts, "--loss", "huber", "--loss-opt", "delta=0.5")[0] == 0
    assert files.read(saved).config["loss"] == {"name": "huber", "delta": 0.5}
    assert run(*options, "--data", two, "--loss", "binary_cross_entropy")[0] == 0
    assert rw.Sequential.load(saved).n_out == 1
    found = np.array(run("predict", saved, "--data", two)[1].split())
    assert (found == np.where(y > 2, "many", "few")).mean() > 0.7


SMALL = ["--hidden", "20", "--epochs", "1", "--threads", "1"]
READ = [
    # y of an archive, options, exit code, and words that are printed
    ("many", [], 0, "warning: y holds 200 different integers"),
    ("many", [], 0, "200 classes"),
    ("many", ["--loss", "mse"], 0, "regression"),
    ("many", ["--loss", "cross_entropy"], 0, "200 classes"),
    ("apart", [], 3, "y_test holds the class 160, which y has not (nor 39 others of it): if they are"),
    ("apart", ["--loss", "poisson"], 0, "regression"),
    ("floats", [], 0, "regression on 3 different whole numbers (y is float64: for classes store y.astype("),
    ("floats", ["--loss", "cross_entropy"], 0, "3 classes"),
    ("column", [], 0, "3 classes"),
    ("labels", [], 0, "2 labels"),
    ("numbers", ["--loss", "cross_entropy"], 2, "'cross_entropy' is one of classes, and numbers has numbers"),
    ("objects", [], 3, "y has dtype object"),
]  # fmt: skip


@pytest.mark.parametrize("name, options, code, words", READ)
def test_how_y_is_read(run, tmp_path, monkeypatch, name, options, code, words):
    monkeypatch.setenv("COLUMNS", "400")
    X, numbers = np.random.default_rng(0).normal(size=(200, 4)), np.arange(200)
    path = tmp_path / f"{name}.npz"
    y = {"many": numbers, "apart": numbers, "floats": numbers % 3 * 1.0, "column": numbers[:, None] % 3,
         "labels": np.c_[numbers % 2, numbers // 2 % 2], "numbers": X[:, 0],
         "objects": (numbers % 2).astype(object)}[name]  # fmt: skip
    test = {"X_test": X[160:], "y_test": y[160:]} if name == "apart" else {}
    np.savez(path, X=X[:160] if test else X, y=y[:160] if test else y, **test)
    with warnings.catch_warnings():
        warnings.simplefilter("default", UserWarning)
        found, out, error = run("train", "--data", path, *SMALL, *options, "--save", tmp_path / "m")
        assert found == code and words in out + error
        assert ("different integers" in error) == (name == "many" and not options)
        if code == 0:  # the loss of the file says the same to those that read it
            assert run("eval", tmp_path / "m", "--data", path)[0] == 0
            assert run("train", "--resume", tmp_path / "m", "--data", path, "--epochs", 2)[0] == 0
            assert run("predict", tmp_path / "m", "--data", path, "--out", tmp_path / "p.csv")[0] == 0
            columns = (tmp_path / "p.csv").read_text().splitlines()[0].split(",")
            assert columns[0] == ("prediction_0" if name == "labels" else "prediction")


@pytest.mark.parametrize("name, words", [
    ("d.txt", "table = numpy.loadtxt('d.txt', skiprows=1); numpy.savez('d.npz', X="),
    ("d.arff", "numpy.savez('d.npz', X=X, y=y) writes one; tables end in .csv, .tsv, .parquet, .npy"),
    ("mnist", "FILE.npz, .h5, .csv, .tsv, .parquet or .npy, got mnist"),
])  # fmt: skip
def test_other_files_are_converted(run, name, words):
    code, _, error = run("train", "--data", name)
    assert code == 2 and words in error


def test_a_table_becomes_an_archive_by_what_the_message_says(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("d.txt").write_text("a b class\n" + "0.5 1 0\n1 0.5 1\n" * 20)
    lines = run("train", "--data", "d.txt")[2].partition("last column: ")[2].partition(", with")[0]
    exec(lines.replace("y=table[:, -1]", "y=table[:, -1].astype(int)"), {"numpy": np})
    assert run("train", "--data", "d.npz", *SMALL, "--epsilon", 1, "--quiet")[0] == 0


@pytest.mark.parametrize("options, words", [
    (["--loss", "mse"], "loss 'mse' is one of numbers, and digits has 10 classes: use 'cross_entropy' or "),
    (["--loss", "poisson"], "loss 'poisson' is one of numbers"),
    (["--loss", "binary-cross-entropy"], "is one of two classes, or of a yes or no for each output"),
    (["--loss", "hing"], "loss must be one of 'cross_entropy', "),
    (["--loss-opt", "delta=1"], "loss 'cross_entropy' takes label_smoothing, class_weight, got 'delta'"),
    (["--loss", "squared_hinge", "--loss-opt", "margin=1"], "'squared_hinge' takes no options, got 'margin'"),
    (["--loss-opt", "label_smoothing"], "argument --loss-opt: must look like fraction=0.3"),
    (["--loss-opt", "label_smoothing=2"], "label_smoothing must be a number in [0, 1], got 2"),
])  # fmt: skip
def test_train_refuses_losses_that_make_no_sense(run, options, words):
    code, _, error = run(*TRAIN, *options)
    assert code == 2 and words in error and len(error.splitlines()) == 1


OWN = """
import numpy as np
import rewire as rw
from helper_of_mine import SLOPE

@rw.losses.register_loss
class Absolute(rw.losses.ArrayLoss):
    name = "absolute"
    def value_and_gradient(self, outputs, targets):
        return np.abs(outputs - targets).mean(axis=1), np.sign(outputs - targets) / outputs.shape[1]

@rw.rewiring.register_rule
class Never(rw.Static):
    name = "never"
"""


def test_modules_of_ones_own_are_imported_by_name_or_path(run, tmp_path, monkeypatch):
    for kinds in (rw.losses.base.KINDS, rw.rewiring.base.KINDS):
        monkeypatch.setattr(kinds, "_makers", dict(kinds._makers))
    monkeypatch.setattr(sys, "path", list(sys.path))
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "own_things.py").write_text(OWN)
    (mine / "helper_of_mine.py").write_text("SLOPE = 1")
    np.savez(tmp_path / "d.npz", X=np.eye(6), y=np.arange(6.0))
    own, saved = ["--import", mine / "own_things.py"], tmp_path / "m.st"
    options = ["--data", tmp_path / "d.npz", "--hidden", "5", "--epochs", "1", "--quiet"]
    options += ["--rewiring", "never"]
    assert "rewiring must be one of" in run("train", *options)[2]
    assert run("rules", "never")[2].startswith("rewire rules: rewiring must be one of ")
    code, _, error = run("train", *own, *options, "--loss", "absolute", "--save", saved)
    assert code == 0, error
    assert run("rules", "Never", *own)[1].startswith("never: ") and "\nnever " in run("rules", *own)[1]
    for command in (["eval"], ["predict"], ["inspect"]):
        data = [] if command == ["inspect"] else ["--data", tmp_path / "d.npz"]
        assert run(*command, saved, *own, *data)[0] == 0
    for name in ("own_things", "helper_of_mine"):
        monkeypatch.delitem(sys.modules, name)


@pytest.mark.parametrize("name, text, words", [
    ("no_such_module", None, "--import: there is no module no_such_module"),
    ("gone/mine.py", None, "--import: there is no file gone/mine.py"),
    ("two words.py", "", "a file must be called like a module, such as my_rules.py, got two words.py"),
    ("json.py", "", "--import: json.py has the name of another module, json: rename it"),
    ("wrong_thing.py", "1 / 0", "wrong_thing.py cannot be imported: ZeroDivisionError: division by zero"),
    ("wrong_words.py", "x = ", "wrong_words.py cannot be imported: SyntaxError: invalid syntax"),
    ("lacks_one.py", "import no_such_thing", "cannot be imported: ModuleNotFoundError: No module named"),
])  # fmt: skip
def test_modules_that_cannot_be_imported(run, tmp_path, monkeypatch, name, text, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    if text is not None:
        (tmp_path / name).write_text(text)
    code, _, error = run(*TRAIN, "--import", name)
    assert code == 2 and words in error and len(error.splitlines()) == 1


def test_train_prints_and_records(run, tmp_path):
    record, saved = tmp_path / "out.json", tmp_path / "m.safetensors"
    code, out, _ = run(
        "train", "--data", "digits", "--hidden", "50,40", "--epsilon", 6, "--activation", "all-relu",
        "--rewiring", "set", "--epochs", 3, "--batch-size", 64, "--lr", 0.05, "--momentum", 0.9,
        "--dropout", 0.1, "--seed", 5, "--threads", 2, "--json", record, "--save", saved,
    )  # fmt: skip
    assert code == 0
    assert out.count("\nepoch ") == 3 and "64-50-40-10, set" in out and "accuracy" in out

    r = json.loads(record.read_text())
    assert r["accuracy"]["test"] > 0.5 and 0 < r["accuracy"]["train"] <= 1
    assert len(r["accuracy"]["per_epoch"]["train"]) == len(r["accuracy"]["per_epoch"]["test"]) == 3
    assert r["accuracy"]["test"] == r["accuracy"]["per_epoch"]["test"][-1]
    assert set(r["seconds"]["per_epoch"]) == {"training", "rewiring", "evaluation", "callbacks"}
    assert all(len(column) == 3 for column in r["seconds"]["per_epoch"].values())
    assert r["seconds"]["total"] == pytest.approx(sum(map(sum, r["seconds"]["per_epoch"].values())))
    assert [layer["n_out"] for layer in r["layers"]] == [50, 40, 10]
    assert sum(layer["nnz"] for layer in r["layers"]) == r["nnz"]
    for layer in r["layers"]:
        assert layer["density"] == layer["nnz"] / (layer["n_in"] * layer["n_out"])
    assert r["peak_memory_bytes"] > 10_000_000
    assert (r["threads"], r["seed"], r["interrupted"], r["epochs"]) == (2, 5, False, 3)
    assert r["instruction_set"] == info.instruction_set()[0]
    assert {"rewire", "python", "numpy"} <= set(r["versions"])
    assert r["optimizer"]["lr"] == 0.05 and r["dropout"] == 0.1 and r["rewiring"]["name"] == "set"

    network = rw.load(saved)
    assert network.seed == 5 and network.nnz == r["nnz"] and network.standardizer is not None
    data = load("digits")
    accuracy = (network.predict(data.X_test).argmax(1) == data.y_test).mean()
    assert accuracy == pytest.approx(r["accuracy"]["test"])


def test_blas_is_held_to_a_number_it_understands(run, monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")
    asked, limits = [], threadpoolctl.threadpool_limits

    def watched(limit, user_api):
        asked.append(limit)
        return limits(limit, user_api)

    monkeypatch.setattr(threadpoolctl, "threadpool_limits", watched)
    assert run(*TRAIN, "--dense", "--threads", -1)[0] == 0
    assert asked == [rw.get_num_threads()] and asked[0] >= 1


def test_equal_seeds_give_equal_files(run, tmp_path):
    for name, threads in (("a", 1), ("b", 2)):
        assert run(*TRAIN, "--seed", 3, "--threads", threads, "--save", tmp_path / name)[0] == 0
    a, b = (files.read(tmp_path / name).arrays for name in "ab")
    assert a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


def test_preset_gives_what_is_not_said(run, tmp_path):
    path = tmp_path / "m"
    assert (
        run(*TRAIN, "--preset", "tsnn-2021", "--lr", 0.02, "--activation", "all-relu", "--save", path)[0] == 0
    )
    contents = files.read(path)
    optimizer = contents.config["optimizer"]
    assert (optimizer["lr"], optimizer["weight_decay"], optimizer["decay"]) == (0.02, 2e-4, "per_step")
    layers = contents.network_config["layers"]
    assert layers[1] == {"type": "Dropout", "p": 0.3}
    assert layers[0]["activation"] == {"name": "all-relu", "slope": 0.6}
    assert layers[0]["init"]["fan"] == "dense"
    assert contents.config["rewiring"]["layers"] == "hidden"


@SELDOM
@pytest.mark.parametrize(
    "options, check",
    [
        (["--dense"], lambda t: t.network.density == 1 and t.rewiring.name == "static"),
        (["--rewiring", "static"], lambda t: t.rewiring.name == "static"),
        (
            ["--rewiring-opt", "fraction=0.1", "--rewiring-opt", "every=2 epochs"],
            lambda t: t.rewiring.fraction == 0.1 and t.rewiring.every == rw.Epochs(2),
        ),
        (["--rewiring", "SET"], lambda t: t.rewiring.config() == rw.SET(decay="cosine", end=0.75).config()),
        (
            ["--rewiring-opt", "decay=constant", "--rewiring-opt", "end=none"],
            lambda t: t.rewiring.config() == rw.SET().config(),
        ),
        (["--preset", "tsnn-2021"], lambda t: (t.rewiring.decay, t.rewiring.end) == ("constant", None)),
        (
            ["--rewiring", "rigl", "--rewiring-opt", "redistribute=momentum"],
            lambda t: t.rewiring.redistribute.name == "momentum",
        ),
        (
            ["--rewiring", "CHT", "--rewiring-opt", "temperature=(1.0, 2)", "--activation", "ReLU"],
            lambda t: t.rewiring.temperature == [1, 2] and t.network.layers[0].activation == rw.ReLU(),
        ),
        (
            ["--rewiring", "mest", "--rewiring-opt", "fractions=0.1,0.2,0.3"],
            lambda t: t.rewiring.fractions == [0.1, 0.2, 0.3],
        ),
        (
            ["--rewiring", "mest", "--rewiring-opt", "fractions=[0.1,]", "--rewiring-opt", "ends=()"],
            lambda t: (t.rewiring.fractions, t.rewiring.ends) == ([0.1], []),
        ),
        (
            ["--optimizer", "Adam", "--init", "XAVIER"],
            lambda t: t.optimizer.name == "adam" and t.network.layers[0].init.name == "xavier",
        ),
        (["--density", "0.1"], lambda t: abs(t.network.density - 0.1) < 0.01),
        (["--density", "0.05", "--group", "1"], lambda t: t.network.nnz == int(0.05 * t.network.size + 0.5)),
        (
            ["--links", "900", "--distribution", "uniform", "--group", "1"],
            lambda t: (
                t.network.nnz == 900
                and np.ptp([layer.weight.density for layer in t.network.weight_layers]) < 0.003
            ),
        ),
        (["--epsilon", "1e9"], lambda t: t.network.density == 1),
        (["--group", "4"], lambda t: t.network.layers[0].group == 4),
        (["--optimizer", "adam", "--lr", "0.002"], lambda t: t.optimizer.lr == 0.002),
        (["--optimizer", "adamw", "--weight-decay", "0.1"], lambda t: t.optimizer.weight_decay == 0.1),
        (["--activation", "relu", "--init", "xavier"], lambda t: t.network.layers[0].init.name == "xavier"),
        (
            ["--activation", "leaky-relu", "--slope", "0.2"],
            lambda t: t.network.layers[0].activation.slope == 0.2,
        ),
        (["--slope", "0.3"], lambda t: t.network.layers[0].activation == rw.AllReLU(0.3)),
        (["--schedule", "cosine"], lambda t: t.optimizer.schedule == rw.Cosine(length=2)),
        (["--warmup", "1"], lambda t: t.optimizer.schedule == rw.Cosine(length=1, warmup=1)),
        (
            ["--warmup", "1", "--warmup-to", "3"],
            lambda t: t.optimizer.schedule == rw.Warmup(3, 38, unit="step", decay=rw.Cosine(2)),
        ),
        (
            ["--average", "swa", "--average-opt", "begin=1"],
            lambda t: t.callbacks[0].options() == {"decay": None, "begin": 1, "every": 1},
        ),
        (["--schedule", "step"], lambda t: t.optimizer.schedule.name == "step"),
        (["--clip-norm", "1"], lambda t: t.optimizer.clip_norm == 1),
        (["--nesterov", "--momentum", "0.5"], lambda t: t.optimizer.nesterov),
        (["--activation", "Two-Sided"], lambda t: isinstance(t.network.layers[1], rw.TwoSided)),
        (
            ["--activation", "k-winners", "--activation-opt", "fraction=0.3"],
            lambda t: t.network.layers[1].config()["fraction"] == 0.3,
        ),
        (["--dtype", "float64"], lambda t: t.network.dtype == "float64"),
        (["--dtype", "bfloat16"], lambda t: t.network.dtype == "bfloat16"),
        (["--preset", "set-2018"], lambda t: t.rewiring.last_epoch == "remove"),
    ],
    ids=lambda o: " ".join(o) if isinstance(o, list) else "",
)
def test_train_options_arrive(run, tmp_path, options, check):
    path = tmp_path / "m"
    code, _, error = run(*TRAIN, *options, "--save", path)
    assert code == 0, error
    assert check(rw.Trainer.resume(path))


def test_validation_share_is_held_out(run, tmp_path):
    code, out, _ = run(*TRAIN, "--validation", 0.2, "--json", tmp_path / "j")
    r = json.loads((tmp_path / "j").read_text())
    assert code == 0 and set(r["accuracy"]["per_epoch"]) == {"train", "validation"}
    assert r["accuracy"]["test"] is not None


def test_regression_from_an_archive(run, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 6))
    np.savez(tmp_path / "d.npz", X=X, y=X @ rng.normal(size=(6, 2)))
    code, out, _ = run(
        "train", "--data", tmp_path / "d.npz", "--hidden", "30", "--epochs", 20, "--quiet", "--json",
        tmp_path / "j", "--save", tmp_path / "m", "--lr", 0.02,
    )  # fmt: skip
    r = json.loads((tmp_path / "j").read_text())
    assert code == 0 and r["r2"]["train"] > 0.8 and r["r2"]["test"] is None
    code, _, error = run("eval", tmp_path / "m")
    assert code == 2 and "--data is needed" in error and "no path that a file names is opened" in error
    code, out, _ = run("eval", tmp_path / "m", "--data", tmp_path / "d.npz")
    assert code == 0 and "r2 0." in out
    code, out, _ = run("predict", tmp_path / "m", "--data", tmp_path / "d.npz")
    assert code == 0 and len(out.splitlines()) == 300 and len(out.splitlines()[0].split()) == 2


# --- resume


def test_resume_equals_one_run(run, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    options = [*TRAIN, "--dropout", "0.2", "--batch-size", "50", "--schedule", "constant", "--horizon", 4]
    assert run(*options, "--epochs", 4, "--save", whole)[0] == 0
    assert run(*options, "--epochs", 2, "--save", half)[0] == 0
    assert run("train", "--resume", half, "--epochs", 4, "--save", half, "--threads", 2, "--quiet")[0] == 0
    a, b = files.read(whole), files.read(half)
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    assert a.notes == b.notes and len(b.config["state"]["history"]["epochs"]) == 4


def test_averages_are_evaluated_saved_and_gone_on_with(run, tmp_path):
    whole, half = tmp_path / "whole", tmp_path / "half"
    options = [*TRAIN, "--average", "ema", "--average-opt", "decay=0.9", "--schedule", "constant"]
    options += ["--horizon", 4]
    code, out, _ = run(*options, "--epochs", 4, "--save", whole)
    assert code == 0
    trained, averaged = (
        rw.Trainer(net, loss="cross_entropy").evaluate(*digits_test())["loss"]
        for net in (rw.load(whole), rw.Trainer.resume(whole).evaluated_network())
    )
    assert trained != averaged
    assert f"loss {averaged:.4f}" in run("eval", whole)[1].splitlines()[1]
    assert run(*options, "--epochs", 2, "--save", half)[0] == 0
    assert run("train", "--resume", half, "--epochs", 4, "--save", half, "--quiet")[0] == 0
    a, b = files.read(whole), files.read(half)
    assert a.arrays.keys() == b.arrays.keys() and "layers.0.weight.field.average" in a.arrays
    assert all(np.array_equal(a.arrays[name], b.arrays[name]) for name in a.arrays)
    assert run("predict", whole, "--data", "digits")[1] != ""


def digits_test():
    data = rw.datasets.load("digits")
    return data.X_test, data.y_test


def test_cosine_is_the_default_and_grows_with_the_run(run, tmp_path):
    path = tmp_path / "m"
    assert run(*TRAIN, "--save", path)[0] == 0
    assert rw.Trainer.resume(path).optimizer.schedule == rw.Cosine(length=2)
    assert run("train", "--resume", path, "--epochs", 3, "--save", path, "--quiet")[0] == 0
    trainer = rw.Trainer.resume(path)
    assert trainer.optimizer.schedule == rw.Cosine(length=3)
    assert trainer.history["lr"][2] > 0
    assert run(*TRAIN, "--preset", "tsnn-2021", "--save", path)[0] == 0
    assert rw.Trainer.resume(path).optimizer.schedule == rw.Constant()


def test_resume_refuses_what_is_in_the_file(run, model):
    code, _, error = run("train", "--resume", model, "--lr", 0.1)
    assert code == 2 and "--lr cannot be changed with --resume" in error
    code, _, error = run("train", "--resume", model, "--epochs", 5)
    assert code == 2 and "5 behind it" in error


# --- eval, predict, inspect


def test_eval(run, model, tmp_path):
    code, out, _ = run("eval", model, "--json", tmp_path / "j")
    r = json.loads((tmp_path / "j").read_text())
    assert code == 0 and out.startswith("train  loss") and "\ntest   loss" in out
    assert r["test"]["accuracy"] > 0.7 and r["test"]["samples"] == 597


def test_eval_numbers_classes_as_in_training(run, model, tmp_path):
    data = load("digits")
    keep = data.y_test >= 5
    np.savez(tmp_path / "some.npz", X=data.X_test[keep], y=data.y_test[keep].astype("U1"))
    code, out, error = run("eval", model, "--data", tmp_path / "some.npz", "--json", tmp_path / "j")
    assert code == 0, error
    network = rw.load(model)
    wanted = (network.predict(data.X_test[keep]).argmax(1) == data.y_test[keep]).mean()
    assert json.loads((tmp_path / "j").read_text())["train"]["accuracy"] == pytest.approx(wanted)
    np.savez(tmp_path / "odd.npz", X=data.X_test[:2], y=np.array(["3", "x"]))
    code, _, error = run("eval", model, "--data", tmp_path / "odd.npz")
    assert code == 1 and "class 'x', which was not there in training" in error


def test_predict(run, model, tmp_path):
    data = load("digits")
    outputs = rw.load(model).predict(data.X_test)
    wanted = [str(k) for k in outputs.argmax(1)]
    code, out, _ = run("predict", model, "--data", "digits")
    assert code == 0 and out.split() == wanted

    np.savez(tmp_path / "x.npz", X=data.X_test)
    assert run("predict", model, "--data", tmp_path / "x.npz", "--out", tmp_path / "p.csv")[0] == 0
    rows = list(csv.reader((tmp_path / "p.csv").read_text().splitlines()))
    assert rows[0] == ["prediction", *"0123456789"] and [row[0] for row in rows[1:]] == wanted
    assert np.allclose(np.array(rows[1:])[:, 1:].astype(float), outputs)

    assert run("predict", model, "--data", "digits", "--out", tmp_path / "p.npz")[0] == 0
    with np.load(tmp_path / "p.npz") as found:
        assert found["prediction"].tolist() == wanted and np.array_equal(found["output"], outputs)


@pytest.mark.parametrize("final, loss, cut", [
    ("sigmoid", "binary_cross_entropy", 0.5),
    ("linear", "binary_cross_entropy", 0.0),  # logits
    ("linear", "squared_hinge", 0.0),
    ("linear", "mse", None),
    ("tanh", "mse", None),
    ("sigmoid", None, 0.5),
    ("linear", None, None),
])  # fmt: skip
def test_one_output_is_a_class_where_the_loss_says_so_else_a_number(run, tmp_path, final, loss, cut):
    X = np.random.default_rng(0).normal(size=(40, 5))
    net = rw.Sequential([rw.Sparse(5, 1, density=1.0, activation=final)], seed=0)
    saved = net if loss is None else rw.Trainer(net, loss=loss)
    saved.save(tmp_path / "m.st", notes={"classes": ["few", "many"]})
    np.savez(tmp_path / "x.npz", X=X)
    outputs = net.predict(X)[:, 0]
    found = run("predict", tmp_path / "m.st", "--data", tmp_path / "x.npz")[1].split()
    if cut is None:
        np.testing.assert_allclose(np.array(found, float), outputs, rtol=1e-6)
    else:
        assert {*found} == {"few", "many"} and ((0.0 < outputs) & (outputs < 0.5)).any()
        assert found == np.where(outputs > cut, "many", "few").tolist()


def test_a_boltzmann_machine_is_not_trained_on_targets(run, tmp_path):
    trainer = rw.Trainer(rw.Sequential([rw.layers.FreeEnergy(64, 9, density=0.5)]), loss=rw.losses.Contrast())
    trainer.save(tmp_path / "m.st")
    for command in (["train", "--resume", tmp_path / "m.st"], ["eval", tmp_path / "m.st"]):
        code, _, error = run(*command, "--data", "digits")
        assert code == 2 and "holds a Boltzmann machine, which learns without targets" in error
    assert len(run("predict", tmp_path / "m.st", "--data", "digits")[1].split()) == 597


def test_inspect(run, model, tmp_path):
    code, out, _ = run("inspect", model, "--json", tmp_path / "j")
    assert code == 0
    for words in (
        "trainer, ",
        "0 Sparse",
        "kept per connection: momentum",
        "trained 5 epochs",
        "digests ok",
    ):
        assert words in out
    told = json.loads((tmp_path / "j").read_text())
    unused = rw.analysis.unused_inputs(rw.load(model), dead_paths=True).tolist()
    assert told["kept_per_connection"] == ["momentum"] and told["unused_inputs"] == unused
    assert f"{len(unused)} of {rw.load(model).n_in} not used" in out
    rw.load(model).save(tmp_path / "n")
    code, out, _ = run("inspect", tmp_path / "n")
    assert code == 0 and "network, " in out and "momentum" not in out


def test_a_network_of_bfloat16_is_told_and_used_like_any_other(run, tmp_path):
    path = tmp_path / "m"
    options = ("--hidden", 20, "--epochs", 1, "--dtype", "bfloat16", "--save", path, "--json", tmp_path / "j")
    assert run("train", "--data", "digits", *options)[0] == 0
    assert json.loads((tmp_path / "j").read_text())["dtype"] == "bfloat16"
    code, out, _ = run("inspect", path, "--json", tmp_path / "i")
    assert code == 0 and "bfloat16 (weights in float32)" in out
    assert json.loads((tmp_path / "i").read_text())["dtype"] == "bfloat16"
    assert run("eval", path)[0] == 0
    predicted = run("predict", path, "--data", "digits")[1].split()
    data = load("digits")
    assert predicted == [str(k) for k in rw.load(path).predict(data.X_test).argmax(axis=1)]


# --- info, bench, help


def table_of(out):
    """Lines of a table as one string of words, wherever they are broken."""
    return " ".join(out.split())


@pytest.mark.parametrize("columns", [40, 50, 100])
def test_tables_fit_the_terminal(run, model, tmp_path, monkeypatch, columns):
    whole = run("rules")[1]
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.chdir(model.parent)
    for command in (["inspect", model.name], ["rules"]):
        code, out, _ = run(*command)
        assert code == 0 and all(len(line) <= columns for line in out.splitlines())
    assert table_of(out) == table_of(whole)
    told = run("inspect", model.name)[1]
    network = rw.load(model)
    for words in ("64 -> 40", "relu", f"{network.nnz:,}/{network.size:,}", "digests ok"):
        assert words in table_of(told)


@SELDOM
def test_inspect_tells_what_is_not_the_default(run, tmp_path):
    options = ["--rewiring", "set", "--rewiring-opt", "every=2 epochs", "--lr", "0.2"]
    options += ["--save", tmp_path / "m"]
    assert run("train", "--data", "digits", "--hidden", "30", "--epsilon", 5, "--epochs", 1, *options)[0] == 0
    out = run("inspect", tmp_path / "m")[1]
    whole = " ".join(out.split())  # lines may be folded
    assert "rewiring set(every=2 epochs, decay=cosine, end=0.75)" in whole
    assert "lr=0.2" in out and "clip_norm=5" in out and "weight_decay" not in out
    assert "{" not in out and "None" not in out


def test_short_times_are_not_zero(run, model):
    out = run("eval", model)[1]
    assert re.search(r"samples in \d+(\.\d+)? m?s", out) and "0.00 s" not in out


def test_a_scipy_archive_with_targets_is_data(run, tmp_path):
    """As the same numbers in an array: the same bits, or within rounding where means are subtracted."""
    sparse = pytest.importorskip("scipy.sparse")
    X, y = load("digits").X[:200] * 1.0, load("digits").y[:200]
    bare, whole, plain = (tmp_path / f"{name}.npz" for name in ("bare", "whole", "plain"))
    sparse.save_npz(bare, sparse.csr_matrix(X))
    np.savez(whole, y=y, **np.load(bare))
    np.savez(plain, y=y, X=X)
    code, _, err = run("train", "--data", bare)
    assert code == 3 and "lacks the array y beside its SciPy sparse matrix; numpy.savez(path, y=y, **" in err
    networks = {"scale": [], "yes": []}
    for standardize, data in itertools.product(networks, (whole, plain)):
        saved = tmp_path / f"{data.stem}.st"
        options = ("--hidden", "40", "--epochs", 2, "--validation", 0.2, "--save", saved)
        code, out, err = run("train", "--data", data, *options, "--standardize", standardize)
        assert (code, err) == (0, "") and "159 samples" in out
        networks[standardize].append(rw.load(saved).get_vector())
    np.testing.assert_array_equal(*networks["scale"])
    np.testing.assert_allclose(*networks["yes"], atol=1e-5)
    assert run("eval", saved, "--data", whole)[1].split("  in ")[0].count("200 samples") == 1
    assert run("predict", saved, "--data", bare)[:2] == run("predict", saved, "--data", plain)[:2]


def test_info(run, monkeypatch):
    code, out, _ = run("info")
    assert code == 0
    for words in (rw.__version__, "instruction set", "threads", "numpy", "scikit-learn"):
        assert words in out
    monkeypatch.setenv("REWIRE_NUM_THREADS", "1")
    assert "1, REWIRE_NUM_THREADS=1" in run("info")[1] or "built without OpenMP" in run("info")[1]


def test_info_says_when_the_instruction_set_is_forced():
    code = "from rewire.cli import main; main(['info'])"
    environment = {**os.environ, "REWIRE_ISA": "scalar"}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "scalar, forced by REWIRE_ISA=scalar" in out.stdout
    assert re.search("bfloat16 +right, not fast", out.stdout)


def test_bench(tmp_path):
    command = ["bench", "--width", "64", "--seconds", "0.1", "--threads", "1", "--json", str(tmp_path / "j")]
    command += ["--dtype", "bfloat16"]
    done = subprocess.run(
        [sys.executable, "-m", "rewire", *command], capture_output=True, text=True, timeout=HANG_SECONDS
    )
    assert done.returncode == 0 and "GFLOP/s" in done.stdout and "make bench" in done.stdout
    assert "GB/s of memory" in done.stdout
    told = json.loads((tmp_path / "j").read_text())
    assert told["operations"]["forward"]["gflops"] > 0
    assert told["dtype"] == "bfloat16" and ", bfloat16, 1 thread" in done.stdout


COMMANDS = "demo train eval predict select encode rules info bench inspect".split()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(run, command):
    code, out, _ = run(*command.split(), "--help")
    assert code == 0 and "usage: rewire" in out


def test_version(run):
    assert run("--version")[:2] == (0, f"rewire {rw.__version__}\n")


# --- errors


def spoiled(model, tmp_path):
    path = tmp_path / "spoiled"
    content = bytearray(model.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    return path


def test_without_a_command_there_is_help(run):
    code, out, err = run()
    assert (code, err) == (2, "") and run("--help")[:2] == (0, out)
    assert all(f"\n    {name} " in out for name in ("train", "eval", "demo"))


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["fly"], "fly"),
        (["train", "digits"], "unrecognized arguments: digits; data are named by --data digits"),
        ([*TRAIN, "--device", "cuda"], "rewire runs on the CPU, on --threads of its cores"),
        ([*TRAIN, "--class-weight", "balanced"], "it is --loss-opt class_weight=balanced here"),
        (["train"], "--data is needed"),
        (
            ["train", "--data", "mnist"],
            "--data must be one of digits, fashion-mnist, madelon or FILE.npz, .h5, .csv, .tsv, .parquet or "
            ".npy, got mnist",
        ),
        ([*TRAIN, "--hidden", "10,x"], "--hidden"),
        ([*TRAIN, "--hidden", "0"], "--hidden"),
        ([*TRAIN, "--epochs", "0"], "--epochs"),
        ([*TRAIN, "--epochs", "1.5"], "--epochs"),
        ([*TRAIN, "--lr", "nan"], "--lr"),
        ([*TRAIN, "--lr", "0"], "lr must be a number > 0"),
        ([*TRAIN, "--lr", "-1"], "--lr"),
        ([*TRAIN, "--dropout", "1"], "--dropout"),
        ([*TRAIN, "--density", "1.1"], "--density"),
        ([*TRAIN, "--density", "0.1", "--epsilon", "3"], "not allowed with"),
        ([*TRAIN, "--density", "0.1", "--dense"], "not allowed with"),
        ([*TRAIN, "--links", "100", "--density", "0.1"], "not allowed with"),
        ([*TRAIN, "--links", "0"], "--links"),
        ([*TRAIN, "--distribution", "uniform"], "--distribution does nothing without"),
        (
            ["train", "--data", "digits", "--dense", "--dtype", "bfloat16"],
            "--dtype bfloat16 does nothing with --dense",
        ),
        ([*TRAIN, "--warmup", "2"], "warmup must be less than the 2 epochs"),
        ([*TRAIN, "--warmup", "1", "--schedule", "step"], "warmup belongs to the cosine schedule"),
        ([*TRAIN, "--average", "all"], "--average"),
        ([*TRAIN, "--average-opt", "decay=0.5"], "--average-opt does nothing without"),
        ([*TRAIN, "--average", "ema", "--average-opt", "decay=1"], "decay must be a number in [0, 1), got 1"),
        ([*TRAIN, "--average", "ema", "--average-opt", "rate=1"], "takes decay, begin, every, got 'rate'"),
        ([*TRAIN, "--activation", "softmax"], "activation must not be softmax on a hidden layer"),
        ([*TRAIN, "--activation", "swoosh"], "activation must be one of 'linear'"),
        ([*TRAIN, "--optimizer", "lion-2"], "optimizer must be one of 'sgd'"),
        ([*TRAIN, "--activation", "relu", "--slope", "1"], "--slope belongs to"),
        ([*TRAIN, "--activation-opt", "slope=1", "--slope", "1"], "are the same: give one of them"),
        ([*TRAIN, "--activation", "relu", "--activation-opt", "k=1"], "'relu' takes no options, got 'k'"),
        ([*TRAIN, "--rewiring", "sett"], "'top-kast', got 'sett'"),
        ([*TRAIN, "--rewiring-opt", "fraction"], "must look like fraction=0.3"),
        ([*TRAIN, "--rewiring-opt", "fraction=2"], "fraction must be a number in [0, 1], got 2"),
        ([*TRAIN, "--rewiring-opt", "name=rigl"], "rewiring.name is rewiring itself"),
        ([*TRAIN, "--rewiring", "rigl", "--rewiring-opt", "name=set"], "rewiring.name is rewiring itself"),
        (
            [*TRAIN, "--connectivity", "random", "--connectivity-opt", "name=small-world"],
            "connectivity.name is connectivity itself",
        ),
        ([*TRAIN, "--rewiring-opt", "every=none"], 'in words "2 epochs" or "100 steps", got None'),
        ([*TRAIN, "--rewiring-opt", "every=often"], 'in words "2 epochs" or "100 steps", got \'often\''),
        ([*TRAIN, "--rewiring-opt", "speed=2"], "rewiring 'set' takes fraction, every"),
        ([*TRAIN, "--rewiring", "static", "--rewiring-opt", "fraction=0.1"], "does nothing"),
        ([*TRAIN, "--dense", "--rewiring", "set"], "does nothing"),
        ([*TRAIN, "--dense", "--group", "4"], "does nothing"),
        ([*TRAIN, "--optimizer", "adam", "--momentum", "0.9"], "--momentum belongs to sgd"),
        ([*TRAIN, "--threads", "0"], "threads"),
        ([*TRAIN, "--preset", "best"], "--preset"),
        ([*TRAIN, "--group", "3"], "--group"),
        ([*TRAIN, "--seed", "-1"], "--seed"),
        ([*TRAIN, "--save", "no/such/folder/m"], "the folder"),
        ([*TRAIN, "--json", "."], "it is a folder"),
        ([*TRAIN, "--save", "m/"], "no such folder"),
        ([*TRAIN, "--save", ""], "the file name is empty"),
        ([*TRAIN, "--json", ""], "the file name is empty"),
        (["train", "--resume", ""], "the file name is empty"),
        (["train", "--data", "digits", "--resume", ""], "the file name is empty"),
        (["eval", ""], "the file name is empty"),
        (["eval", "x", "--json", ""], "the file name is empty"),
        (["predict", "x", "--data", "digits", "--out", ""], "the file name is empty"),
        (["predict", "x", "--data", "digits", "--out", "p.txt"], "--out must end in .csv or .npz"),
        (["predict", "x"], "--data"),
        (["bench", "--density", "0"], "--density: must be a number in (0, 1], got 0"),
    ],
    ids=lambda a: " ".join(a[-3:]) if isinstance(a, list) else "",
)
def test_wrong_usage_exits_2(run, arguments, words):
    code, _, error = run(*arguments)
    assert code == 2 and words in error and "Traceback" not in error


@pytest.mark.parametrize(
    "arguments",
    [
        [*TRAIN, "--save", "new", "--json", "new"],
        [*TRAIN, "--save", "new", "--json", "./new"],
        ["train", "--data", "d.npz", "--save", "d.npz"],
        ["train", "--data", "d.npz", "--json", "link"],
        ["train", "--resume", "m", "--json", "m"],
        ["train", "--resume", "m", "--save", "m", "--json", "m"],
        ["eval", "m", "--json", "m"],
        ["eval", "m", "--data", "d.npz", "--json", "d.npz"],
        ["inspect", "m", "--json", "m"],
        ["predict", "m", "--data", "d.npz", "--out", "d.npz"],
        ["predict", "d.npz", "--data", "digits", "--out", "d.npz"],
    ],
    ids=" ".join,
)
def test_no_file_is_written_over_another_that_is_named(run, model, tmp_path, monkeypatch, arguments):
    monkeypatch.chdir(tmp_path)
    shutil.copy(model, "m")
    np.savez("d.npz", X=np.eye(4), y=np.arange(4) % 2)
    os.symlink("d.npz", "link")
    before = {name: (tmp_path / name).read_bytes() for name in ("m", "d.npz")}
    code, out, error = run(*arguments)
    assert code == 2 and not out and "this file is named for something else too" in error
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert sorted(os.listdir()) == ["d.npz", "link", "m"]


def test_resume_opens_no_path_that_the_file_names(run, tmp_path):
    data, path = tmp_path / "d.npz", tmp_path / "m"
    np.savez(data, X=np.eye(40), y=np.arange(40) % 2)
    options = ["train", "--hidden", "30", "--rewiring", "static", "--quiet"]
    assert run(*options, "--data", data, "--epochs", 1, "--save", path)[0] == 0
    code, _, error = run("train", "--resume", path, "--epochs", 2)
    assert code == 2 and "is opened unasked; if you trust it, repeat it by --data" in error
    assert run("train", "--resume", path, "--epochs", 2, "--data", data, "--quiet")[0] == 0


def test_demo_refuses_a_suffix_before_it_trains(run, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("rewire.demo.main", lambda *_, **__: pytest.fail("it trains"))
    monkeypatch.setattr("rewire.cli.demo.rerun_with_blas_threads", lambda _: None)
    code, out, error = run("demo", "--out", tmp_path / "x.txt")
    assert code == 2 and not out and "--out must end in one of" in error and "got .txt" in error


def test_a_missing_file_exits_1(run):
    for command in (["eval", "none"], ["inspect", "none"], ["train", "--resume", "none"]):
        code, _, error = run(*command)
        assert code == 1 and error == f"rewire {command[0]}: there is no file none\n"


def test_a_damaged_file_exits_3(run, model, tmp_path):
    path = spoiled(model, tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    for command in (
        ["inspect", path],
        ["eval", path],
        ["predict", path, "--data", "digits"],
        ["train", "--resume", path, "--epochs", 9],
        ["train", "--data", tmp_path / "bad.npz"],
    ):
        code, out, error = run(*command)
        assert code == 3 and error.count("\n") == 1 and error.startswith(f"rewire {command[0]}: {tmp_path}")


def test_data_that_does_not_fit_exits_1(run, model, tmp_path):
    np.savez(tmp_path / "d.npz", X=np.zeros((4, 3)), y=np.array(["0", "1", "0", "1"]))
    code, _, error = run("eval", model, "--data", tmp_path / "d.npz")
    assert code == 1 and error.count("\n") == 1 and "64 features" in error


def test_divergence_exits_1_with_one_line(run):
    code, _, error = run(*TRAIN, "--lr", "1e9", "--clip-norm", "1e30")
    assert code == 1 and error.count("\n") == 1 and "diverged in epoch" in error


def test_debug_shows_the_traceback(run, monkeypatch):
    monkeypatch.setenv("REWIRE_DEBUG", "1")
    code, _, error = run("eval", "none")
    assert code == 1 and "Traceback" in error and error.endswith("rewire eval: there is no file none\n")


# --- what a file says, on a terminal

ESCAPES = "\x1b]0;x\x07\x9b31m\r\x7f\u202e\u200b"  # window title, colours, overwriting, reversed text


def at(*path):
    """A change of a file's config: escapes under this key."""

    def change(config, arrays):
        for key in path[:-1]:
            config = config[key]
        config[path[-1]] = ESCAPES

    return change


NAMES_ESCAPES = {
    "version": None,
    "data": at("notes", "data"),
    "note": at("notes", "preset"),
    "name of a note": at("notes", ESCAPES),
    "class": at("notes", "classes", 3),
    "unknown entry": at(ESCAPES),
    "unknown entry of a trainer": at("trainer", ESCAPES),
    "unknown entry of a layer": at("trainer", "network", "layers", 0, ESCAPES),
    "layer type": at("trainer", "network", "layers", 0, "type"),
    "activation": at("trainer", "network", "layers", 0, "activation", "name"),
    "dtype": at("trainer", "network", "dtype"),
    "loss": at("trainer", "loss", "name"),
    "optimizer": at("trainer", "optimizer", "name"),
    "rule": at("trainer", "rewiring", "name"),
    "array": lambda config, arrays: arrays.update({"layers.0." + ESCAPES: np.zeros(1)}),
    "field": at("trainer", "network", "parameters", "layers.0.weight", "fields", ESCAPES),
    "callback": lambda config, arrays: config["trainer"].update(callbacks=[{"name": ESCAPES}]),
}


@pytest.mark.parametrize("change", NAMES_ESCAPES.values(), ids=NAMES_ESCAPES)
def test_no_escapes_reach_the_terminal(run, model, tmp_path, change):
    contents = files.read(model)
    config = {"trainer": json.loads(json.dumps(contents.config)), "notes": dict(contents.notes)}
    arrays = dict(contents.arrays)
    if change is not None:
        change(config, arrays)
    path = tmp_path / "forged"
    _container.write(path, "trainer", config, arrays, "1.0" if change else ESCAPES)
    said = ""
    for command in (
        ["inspect", path],
        ["eval", path],
        ["predict", path, "--data", "digits"],
        ["train", "--resume", path, "--epochs", 6],
    ):
        said += "".join(run(*command)[1:])
    assert said and all(c == "\n" or c.isprintable() for c in said)


# --- devices and pipes


@pytest.fixture
def device(tmp_path):
    """A device node of our own, of a kind that exists under /dev; tests never touch those."""

    def make(name, minor):
        try:
            os.mknod(tmp_path / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
            with open(tmp_path / name, "wb"):
                return tmp_path / name
        except OSError:
            pytest.skip("device nodes cannot be made here")

    return make


def test_save_to_a_device_is_refused_before_training(run, device):
    null = device("null", 3)
    for save, name in ((["--save", null], "null"), (["--save", null.parent / "pipe"], "pipe")):
        if name == "pipe":
            os.mkfifo(save[1])
        code, out, error = run(*TRAIN, *save)
        assert code == 2 and not out and "expected a regular file" in error
    assert stat.S_ISCHR(null.stat().st_mode) and stat.S_ISFIFO((null.parent / "pipe").stat().st_mode)


def test_a_full_device_is_noticed_and_stays(run, model, device):
    full = device("full.csv", 7)
    (full.parent / "link").symlink_to(full)
    for command in (
        ["inspect", model, "--json", full],
        ["inspect", model, "--json", full.parent / "link"],
        ["eval", model, "--json", full],
        ["predict", model, "--data", "digits", "--out", full],
    ):
        code, _, error = run(*command)
        assert code == 1 and "No space left on device" in error and str(full.parent) in error, command
    assert stat.S_ISCHR(full.stat().st_mode) and (full.parent / "link").is_symlink()
    assert {p.name for p in full.parent.iterdir()} == {"full.csv", "link"}


def test_text_goes_straight_into_a_pipe(run, model, tmp_path):
    os.mkfifo(tmp_path / "p")
    reader = os.open(tmp_path / "p", os.O_RDONLY | os.O_NONBLOCK)
    assert run("inspect", model, "--json", tmp_path / "p")[0] == 0
    assert json.loads(os.read(reader, 1 << 20))["kind"] == "trainer"
    os.close(reader)
    assert stat.S_ISFIFO((tmp_path / "p").stat().st_mode) and len(list(tmp_path.iterdir())) == 1


def test_text_goes_to_standard_output(model, tmp_path):
    """Alone, also where that is a file: the report then goes to standard error."""
    inspect = ["inspect", model, "--json", "/dev/stdout"]
    table = ["predict", model, "--data", "digits", "--out", "/dev/fd/1"]
    if not os.path.exists("/dev/fd/1"):
        pytest.skip("there is no /dev/fd/1 here")
    with start(*table) as process:
        out, _ = process.communicate(timeout=HANG_SECONDS)
    rows = list(csv.reader(out.splitlines()))
    assert process.returncode == 0 and rows[0] == ["prediction", *map(str, range(10))] and len(rows) == 598
    with open(tmp_path / "out", "w") as file:
        command = [sys.executable, "-m", "rewire", *map(str, inspect)]
        done = subprocess.run(command, stdout=file, stderr=subprocess.PIPE, text=True, timeout=HANG_SECONDS)
    assert done.returncode == 0 and "digests ok, structure ok" in done.stderr
    assert json.loads((tmp_path / "out").read_text())["kind"] == "trainer"


def test_a_record_on_standard_output_is_all_there_is(model, tmp_path):
    """Of training, evaluation and measuring too."""
    if not os.path.exists("/dev/stdout"):
        pytest.skip("there is no /dev/stdout here")
    for command, key in (
        ([*TRAIN[:-1], "--epochs", 1], "nnz"),
        (["eval", model], "test"),
        (["bench", "--width", 64, "--seconds", 0.1, "--threads", 1], "limits"),
    ):
        with start(*command, "--json", "/dev/stdout") as process:
            out, error = process.communicate(timeout=HANG_SECONDS)
        assert process.returncode == 0 and key in json.loads(out) and error


# --- signals and pipes


def start(*arguments, **options):
    command = [sys.executable, "-m", "rewire", *map(str, arguments)]
    streams = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **(streams | options))


def test_interrupt_saves_and_exits_130(tmp_path):
    path, record = tmp_path / "m", tmp_path / "j"
    options = ["train", "--data", "digits", "--hidden", "100", "--epochs", 100_000, "--threads", 1]
    with start(*options, "--save", path, "--json", record) as process:
        while not process.stdout.readline().startswith("epoch"):
            assert process.poll() is None
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=HANG_SECONDS)
    assert process.returncode == 130, error
    assert "interrupted after" in error and f"--resume {path}" in error and error.count("\n") == 1
    trainer = rw.Trainer.resume(path)
    trainer.network.validate()
    r = json.loads(record.read_text())
    assert r["interrupted"] and r["epochs"] == trainer.epoch >= 1 and r["accuracy"]["test"] is None
    more = ["train", "--resume", path, "--epochs", trainer.epoch + 1, "--quiet"]
    assert (
        subprocess.run([sys.executable, "-m", "rewire", *map(str, more)], timeout=HANG_SECONDS).returncode
        == 0
    )


def test_a_reader_that_leaves_is_no_drama(model):
    with start("predict", model, "--data", "digits") as process:
        process.stdout.readline()
        process.stdout.close()
        assert "Traceback" not in process.stderr.read()
        process.wait(timeout=HANG_SECONDS)


def test_training_outlives_its_reader(tmp_path):
    """`rewire train | head -1` trains to its end and saves."""
    options = ["train", "--data", "digits", "--hidden", 30, "--epsilon", 5, "--epochs", 30]
    with start(*options, "--save", tmp_path / "m") as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=HANG_SECONDS) == 0
    assert rw.Trainer.resume(tmp_path / "m").epoch == 30


@pytest.mark.parametrize("hung_up", [True, False], ids=["hung up", "nohup"])
def test_training_outlives_its_terminal(tmp_path, hung_up):
    """A terminal that is closed hangs the run up, or lets it go on; whatever is printed then goes nowhere."""
    fcntl, termios = map(pytest.importorskip, ("fcntl", "termios"))
    keyboard, terminal = os.openpty()

    def begin():
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        signal.signal(signal.SIGHUP, signal.SIG_DFL if hung_up else signal.SIG_IGN)

    options = ["train", "--data", "digits", "--hidden", 30, "--epsilon", 5, "--save", tmp_path / "m"]
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), terminal)
    epochs = 10**6 if hung_up else 60
    with start(*options, "--epochs", epochs, **streams, start_new_session=True, preexec_fn=begin) as process:
        os.close(terminal)
        said = b""
        while b"epoch" not in said:
            said += os.read(keyboard, 4096)
        os.close(keyboard)
        assert process.wait(timeout=HANG_SECONDS) == (129 if hung_up else 0)
    assert (rw.Trainer.resume(tmp_path / "m").epoch == epochs) is not hung_up


def test_training_outlives_a_full_disk_of_its_output(model, tmp_path, device):
    full = device("full.log", 7)
    options = ["train", "--data", "digits", "--hidden", 30, "--epsilon", 5, "--epochs", 2]
    with open(full, "w") as log, start(*options, "--save", tmp_path / "m", stdout=log) as process:
        error = process.stderr.read()
        assert process.wait(timeout=HANG_SECONDS) == 0
    assert "standard output cannot be written (No space left on device); training goes on" in error
    assert rw.Trainer.resume(tmp_path / "m").epoch == 2


def test_training_outlives_a_full_disk_where_warnings_are_errors(capsys, monkeypatch):
    class Full:
        def write(self, text):
            raise OSError(errno.ENOSPC, "No space left on this device")

        flush = write

    trainer = rw.Trainer(rw.Sequential([rw.Sparse(4, 1)]), loss="mse")
    monkeypatch.setattr(sys, "stdout", Full())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer.fit(np.eye(4), np.ones((4, 1)), epochs=3, verbose=1)
    assert trainer.epoch == 3
    said = "standard output cannot be written (No space left on this device); training goes on"
    assert capsys.readouterr().err.count(said) == 1


def test_names_of_files_do_not_steer_the_terminal(run, tmp_path):
    path = tmp_path / "a\x1b[2J\nb.st"
    code, out, _ = run(*TRAIN, "--save", path, "--json", tmp_path / "c\x1b[2J.json")
    assert code == 0 and path.exists() and "\x1b" not in out
    assert r"a\x1b[2J\nb.st" in out and r"c\x1b[2J.json" in out


def test_letters_that_a_terminal_has_not_are_printed_as_codes(model, tmp_path, monkeypatch):
    path = tmp_path / "ä\u65e5.st"
    shutil.copy(model, path)
    terminal = io.TextIOWrapper(io.BytesIO(), "ascii")
    monkeypatch.setattr(sys, "stdout", terminal)
    assert main(["inspect", str(path)]) == 0
    assert rb"\xe4\u65e5.st" in terminal.buffer.getvalue()


def test_closed_streams_are_no_drama(model, tmp_path):
    command = f'exec "{sys.executable}" -m rewire eval "{model}" --json "{tmp_path / "j"}" >&- 2>&-'
    assert subprocess.run(command, shell=True, timeout=HANG_SECONDS).returncode == 0
    assert "test" in json.loads((tmp_path / "j").read_text())


def test_module_and_console_script_agree(tmp_path):
    for command in (
        [sys.executable, "-m", "rewire"],
        [sys.executable, "-c", "from rewire.cli import main; raise SystemExit(main())"],
    ):
        done = subprocess.run(
            [*command, "eval", "none"], capture_output=True, text=True, timeout=HANG_SECONDS
        )
        assert done.returncode == 1 and done.stderr == "rewire eval: there is no file none\n"
