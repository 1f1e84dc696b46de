"""rewire.compare runs what is asked, in processes or here; what fails, dies or stops costs its own run."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

import rewire as rw
from rewire.cli import main
from rewire.comparison import _compare, pool, sizing
from rewire.comparison.contender import Contender, described
from rewire.comparison.record import Record
from rewire.comparison.task import Task
from rewire.layers import base as layers
from rewire.recipe import Recipe
from small import HANG_SECONDS, SELDOM, T, X, Y, normal

DATA = X, Y, normal(60, 8).astype("f4"), np.arange(60) % 3
SMALL = {"hidden": [20], "density": 0.5, "group": 1, "epochs": 2, "batch_size": 30}
TIMED = ("seconds", "memory", "curve")
SPARSE = {"type": "Sparse", "n_out": 20}
PAIR = {"SET": {"rewiring": "set"}, "dense": {"dense": True, "lr": 0.01}}


def compared(contenders=PAIR, data=DATA, **options):
    return rw.compare(data, contenders, **{"jobs": 0, "seeds": 2, "verbose": 0, **SMALL, **options})


def figures(found):
    """All rows without what a clock or the memory says."""
    rows = [{k: v for k, v in row.items() if not any(word in k for word in TIMED)} for row in found]
    return sorted(rows, key=lambda row: (row["contender"], row["seed"]))


# --- functions that stand for networks; processes import them from here


def small_net(data, seed):
    return [rw.Sparse(data.X.shape[1], 9, links=40), rw.Sparse(9, 3, links=15, activation="softmax")]


def with_budget(data, seed, weights):
    return [rw.Sparse(data.X.shape[1], 3, links=min(24, weights or 9), activation="softmax")]


def own_trainer(data, seed, epochs):
    net = rw.Sequential(small_net(data, seed), seed=seed)
    return rw.Trainer(net, loss="cross_entropy", optimizer=rw.SGD(0.1, schedule=rw.Cosine(epochs)))


def own_network(data, seed):
    return rw.Sequential(small_net(data, seed), seed=seed + 1)


def odd(data, seed):
    return 3


def dies(data, seed):
    if seed == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return small_net(data, seed)


def raises(data, seed):
    if seed == 1:
        raise RuntimeError("not this one")
    return small_net(data, seed)


def sleeps(data, seed):
    if "REWIRE_TEST_PIDS" in os.environ and not os.environ.get("REWIRE_TEST_PARENT") == str(os.getpid()):
        Path(os.environ["REWIRE_TEST_PIDS"], str(os.getpid())).touch()
        time.sleep(HANG_SECONDS)
    return small_net(data, seed)


# --- rows, columns, table


def test_rows_columns_summary():
    found = compared(validation=0.2)
    assert [(row["contender"], row["seed"]) for row in found] == [
        ("SET", 0), ("dense", 0), ("SET", 1), ("dense", 1),
    ]  # fmt: skip
    assert len(found) == 4 and found[-1]["contender"] == "dense" and "test_loss" in found and "x" not in found
    row = found[0]
    assert row["weights"] == round(0.5 * (8 * 20 + 20 * 3)) == row["weights_at_first"]
    assert row["parameters"] == row["weights"] + 23 and row["epochs"] == 2 and row["rewirings"] == 1
    parts = [row[f"seconds_{part}"] for part in ("training", "rewiring", "callbacks")]
    assert row["seconds"] == pytest.approx(sum(parts)) and row["seconds"] > 0
    assert len(row["curve"]["validation_accuracy"]) == len(row["curve"]["seconds"]) == 2
    assert row["curve"]["validation_accuracy"][-1] == row["validation_accuracy"]
    assert "peak_memory" not in row  # of this process it would be everybody's
    (dense,) = [one for one in found.summary() if one["contender"] == "dense"]
    values = found.of("dense", "test_accuracy")
    assert dense["test_accuracy_mean"] == pytest.approx(values.mean())
    assert dense["test_accuracy_sd"] == pytest.approx(values.std(ddof=1))
    assert (dense["test_accuracy_lowest"], dense["test_accuracy_highest"]) == (values.min(), values.max())
    assert (dense["seeds"], dense["failed"], dense["error"]) == (2, 0, None)
    by = [one["validation_accuracy_mean"] for one in found.summary()]
    assert by == sorted(by, reverse=True) and found.best == found.summary()[0]["contender"]
    assert found.chosen_by == "validation_accuracy"
    table = str(found)
    assert (
        "test accuracy, %" in table
        and f"{100 * values.mean():.2f} +- {100 * values.std(ddof=1):.2f}" in table
    )
    held = found.asked["data"]["validation"]
    assert 17 <= held <= 19
    assert f"{90 - held} samples to train on, {held} held out, 60 for the test; 2 seeds" in table
    assert repr(found) == "Comparison(2 contenders, 4 runs)"
    with pytest.raises(KeyError, match="no column 'x'; there are contender, seed"):
        found["x"]
    with pytest.raises(KeyError, match="no contender 'x'; there are SET, dense"):
        found.of("x", "seconds")
    with pytest.raises(KeyError, match="no column 'x'; there are"):
        found.of("SET", "x")


def test_a_table_of_pandas():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(compared(seeds=1))
    assert list(frame["contender"]) == ["SET", "dense"] and frame["weights"].dtype.kind == "i"


def test_as_rewire_train(tmp_path, capsys):
    """A contender is what ``rewire train`` with the same options trains, to the last digit."""
    options = ["--hidden", "40", "--density", "0.1", "--rewiring", "rigl", "--rewiring-opt", "every=4",
               "--epochs", "2", "--activation", "relu", "--validation", "0.1"]  # fmt: skip
    record = tmp_path / "j"
    assert main(["train", "--data", "digits", "--quiet", "--seed", "3", "--json", str(record), *options]) == 0
    r = json.loads(record.read_text())
    also = " ".join(options[:-2])
    words = [
        "compare",
        "--data",
        "digits",
        "--also",
        f"mine: {also}",
        "--seeds",
        "3,5",
        "--jobs",
        "0",
        "--quiet",
    ]
    assert main([*words, "--json", str(record)]) == 0
    found = json.loads(record.read_text())
    row = found["runs"][0]
    assert (row["seed"], row["weights"]) == (3, r["nnz"])
    assert (row["test_accuracy"], row["test_loss"]) == (r["accuracy"]["test"], r["loss"]["test"])
    assert row["curve"]["validation_accuracy"] == r["accuracy"]["per_epoch"]["validation"]
    assert found["versions"]["rewire"] == rw.__version__
    capsys.readouterr()


def test_precisions_beside_each_other():
    """Of the same links and batches; what all have in common is nothing to dense networks."""
    found = compared(rw.grid(dtype=["float32", "bfloat16"]), seeds=1)
    (wide, narrow), key = found, "test_loss"
    assert wide["weights"] == narrow["weights"]
    assert 0 < abs(wide[key] - narrow[key]) < 0.05
    also = compared({"set": {}, "dense": PAIR["dense"]}, dtype="bfloat16", seeds=1)
    plain = compared({"dense": PAIR["dense"]}, seeds=1)
    assert [also.of("set", key), also.of("dense", key)] == [[narrow[key]], plain[key]]


def test_test_set_alone():
    found = compared(validation=0, seeds=[7])
    assert found.chosen_by == "test_accuracy" and "validation_accuracy" not in found
    assert "validation_accuracy" not in found[0]["curve"] and found["seed"] == [7, 7]
    assert found.asked["validation"] == 0 and found.asked["data"]["train"] == 90


def test_regression_and_other_data(tmp_path):
    targets = T[:, 0] + 1.0
    found = compared({"one": {}}, (X, targets), validation=0.3, lr=0.05, epochs=20, density=0.9)
    assert found.metric == "r2" and found[0]["validation_r2"] > 0.5 and "test_r2" not in found
    assert "validation r2" in str(found) and "%" not in str(found).splitlines()[0]
    words = np.array(["a", "b", "c"])
    dense = compared(data=(X, words[Y], X, words[Y]), seeds=1)
    assert figures(dense) == figures(compared(data=(X, Y, X, Y), seeds=1))
    sparse = compared(data=(sp.csr_array(X), Y, sp.csr_array(X), Y), seeds=1)
    assert [row["weights"] for row in sparse] == [row["weights"] for row in dense]
    assert sparse["test_loss"] == pytest.approx(dense["test_loss"], rel=1e-3)
    yes = (T > 0).astype(int)
    found = compared({"one": {}}, (X, yes), loss="binary_cross_entropy", seeds=1)
    assert found.metric == "accuracy" and found[0]["weights"] == round(0.5 * (8 * 20 + 20 * 2))
    np.savez(tmp_path / "d.npz", X=X, y=Y)
    assert compared({"one": {}}, tmp_path / "d.npz", seeds=1).asked["data"]["name"] == "d"
    task = Task.of((sp.csr_array(X), Y), 0.2)
    task.store(tmp_path)
    again = Task.stored(tmp_path)
    assert again.description() == task.description() and sp.issparse(again.data.X)


def test_functions_of_all_kinds():
    contenders = {"list": small_net, "trainer": own_trainer, "network": own_network, "budget": with_budget}
    found = compared(contenders, seeds=1, rewiring="set")
    weights = dict(zip(found["contender"], found["weights"], strict=True))
    assert weights == {"list": 55, "trainer": 55, "network": 55, "budget": 9}
    rewirings = dict(zip(found["contender"], found["rewirings"], strict=True))
    assert rewirings == {"list": 1, "trainer": 0, "network": 1, "budget": 1}  # a trainer has its own rule


def test_same_figures_in_processes():
    contenders = {"SET": PAIR["SET"], "own": small_net}
    here = compared(contenders, seeds=1)
    there = compared(contenders, seeds=1, jobs=2, threads=1)
    assert figures(there) == figures(here)
    assert all(row["peak_memory"] > row["memory_before"] > 1 << 20 for row in there)


# --- equal weights


@pytest.mark.parametrize(
    "options, note",
    [
        ({"density": 0.9}, "density"),
        ({"density": 0.01, "distribution": "uniform"}, "density"),
        ({"links": 15, "density": None}, "links"),
        ({"epsilon": 3}, "epsilon"),
        ({"density": None}, "epsilon"),
        ({"density": 0.9, "group": 4}, "density"),
        ({"connectivity": "correlated"}, "density"),
        ({"layers": [SPARSE | {"links": 9}, {"type": "Sparse", "density": 0.5}]}, "layers"),
        ({"layers": [SPARSE | {"fan_in": 8}, {"type": "Sparse"}]}, "layers"),
        ({"layers": [{"type": "Residual", "layers": [SPARSE | {"n_out": 8}]}, {"type": "Dense"}]}, "layers"),
    ],
)  # fmt: skip
def test_equal_weights(options, note):
    found = compared({"it": options}, weights=80, seeds=1, **{"hidden": [20]} | SMALL)
    assert found[0]["weights"] <= 80 and found[0]["weights"] >= 70
    assert len(found.notes) == 1 and note in found.notes[0] and found.notes[0] in str(found)


def test_equal_weights_of_short_groups():
    """The last group of 10 outputs has 2: how many of its slots there are is drawn."""
    layer = {"n_in": 300, "n_out": 10, "group": 4}
    drawn = [rw.Sequential([rw.Sparse(**layer, links=1500)], seed=seed).nnz for seed in range(20)]
    most = sizing.weights_of([rw.Sparse(**layer, links=1500)], 300)
    assert len({*drawn}) > 1 and max(drawn) <= most < 1.1 * np.mean(drawn)
    assert sizing.weights_of([rw.Sparse(**layer, density=1.0)], 300) == 3000
    assert sizing.weights_of([rw.Sparse(300, 3, group=4, links=400)], 300) == 399


def test_equal_weights_of_others(monkeypatch):
    contenders = {
        "small": {"links": None, "density": 0.2}, "dense": {"dense": True}, "full": {"density": 1.0},
        "told": with_budget, "gmp": {"rewiring": "gmp", "rewiring.every": 1},
    }  # fmt: skip
    del contenders["small"]["links"]
    found = compared(contenders, weights="small", seeds=1)
    weights = dict(zip(found["contender"], found["weights"], strict=True))
    assert weights["small"] == weights["full"] == weights["gmp"] == 44 and weights["told"] == 24  # it is full
    assert weights["dense"] == 44 and found.contenders["dense"]["hidden"] == [4]
    (gmp,) = [row for row in found if row["contender"] == "gmp"]
    assert gmp["weights_at_first"] == 220  # it begins full, and ends as the others
    assert sizing.weights_of(Recipe({"hidden": [20], "dense": True}).layers(Task.of(DATA, 0).data), 8) == 220


def test_what_cannot_have_as_many_says_how_many_it_has():
    """Blocks of switches have theirs; density says something of the last layer alone."""
    contenders = {"blocks": {"activation": "switchnet4", "hidden": [8]}, "links": {"density": 0.2}}
    found = compared(contenders, weights=700, seeds=1)
    weights = dict(zip(found["contender"], found["weights"], strict=True))
    for name, note in zip(contenders, found.notes, strict=True):
        words = rf"{name}: density (0\.9\d*|1), which is all that it can have \({weights[name]}\) for .*"
        assert re.fullmatch(words, note)


@pytest.mark.parametrize(
    "contender, words",
    [
        ({"dense": True}, "weights must be at least 11, as few as it can have by its hidden, got 5"),
        ({"layers": [{"type": "Dense"}]}, "weights needs layers that are described and say how many"),
        ({"layers": lambda n, m: [rw.Dense(n, m)]}, "weights needs layers .* got a function"),
        (small_net, "its network must have at most 5 weights, got 55: a function"),
        ({"rewiring": "gmp", "layers": [{"type": "Dense"}]}, "weights must be more than 24"),
    ],
)
def test_too_few_weights(contender, words):
    with pytest.raises(ValueError, match=f"^contender 'it': {words}"):
        compared({"it": contender}, weights=5)


# --- equal time


def paced(paces):
    """A clock that says so many seconds an epoch of each contender."""
    said = []

    def measure(task, contender, *, epochs, threads=None):
        said.append((contender.name, epochs))
        pace = paces[contender.name]
        if isinstance(pace, Exception):
            raise pace
        return {"seconds_per_epoch": pace}

    return said, measure


def test_equal_time(monkeypatch, tmp_path):
    said, clock = paced({"SET": 0.5, "dense": 2.0, "slow": 99.0})
    monkeypatch.setattr(pool, "measure", clock)
    options = {"seconds": 4.1, "epochs": None, "save": tmp_path / "r.jsonl"}
    found = compared(PAIR | {"slow": {"lr": 0.1}}, **options, seeds=1)
    epochs = dict(zip(found["contender"], found["epochs"], strict=True))
    assert epochs == {"SET": 8, "dense": 2, "slow": 1}
    # They take turns, until they were measured for as long as they are given.
    assert said == [(name, 2) for name in ("SET", "dense", "slow", "SET", "dense", "SET")]
    assert found.measured["SET"]["each"] == [0.5] * 3 and found.measured["SET"]["seconds_given"] == 4.1
    assert "SET: took" in str(found) and "of 4.10 s that it was given" in str(found)
    # Going on, what was measured counts: of a busier hour it would be other epochs.
    _, clock = paced({"SET": 0.1, "dense": 0.1, "slow": 0.1, "new": 4.0})
    monkeypatch.setattr(pool, "measure", clock)
    found = compared(PAIR | {"new": {"lr": 0.2}}, **options, seeds=2)
    assert found.of("SET", "epochs").tolist() == [8, 8] and found.of("new", "epochs").tolist() == [1, 1]


def test_the_time_of_another(monkeypatch):
    _, clock = paced({"SET": 0.5, "dense": 2.0})
    monkeypatch.setattr(pool, "measure", clock)
    found = compared(seconds="dense", seeds=1)
    assert dict(zip(found["contender"], found["epochs"], strict=True)) == {"SET": 8, "dense": 2}
    _, clock = paced({"SET": ValueError("no clock"), "dense": 2.0})
    monkeypatch.setattr(pool, "measure", clock)
    found = compared(seconds="dense", seeds=1)
    assert [row.get("error") for row in found] == ["ValueError: no clock", None]
    with pytest.raises(
        RuntimeError, match="seconds cannot be those of 'SET', whose measurement failed: ValueError"
    ):
        compared(seconds="SET", seeds=1)


@SELDOM
def test_a_clock_of_its_own():
    found = compared(seconds=0.05, epochs=None, seeds=1, jobs=0)
    for row in found:
        measured = found.measured[row["contender"]]
        assert row["epochs"] == max(1, int(0.05 / measured["seconds_per_epoch"]))
        assert 1 <= len(measured["each"]) <= _compare.ROUNDS and min(measured["each"]) > 0


# --- going on


@pytest.fixture
def counted(monkeypatch):
    """The runs that are really done."""
    done, run = [], pool.run

    def counting(task, contender, **options):
        done.append((contender.name, options["seed"]))
        return run(task, contender, **options)

    monkeypatch.setattr(pool, "run", counting)
    return done


def test_it_goes_on(tmp_path, counted):
    path = tmp_path / "r.jsonl"
    first = compared(save=path)
    assert len(counted) == 4 and len(path.read_text().splitlines()) == 1 + 2 + 4
    again = compared(save=path)
    assert len(counted) == 4 and again.runs == first.runs and again.asked == first.asked
    text = path.read_text()
    path.write_text(text[:-40])  # killed while it wrote
    third = compared(save=path)
    assert counted[4:] == [("dense", 1)] and figures(third) == figures(first)
    more = compared(PAIR | {"new": {"lr": 0.2}}, save=path, seeds=3)
    assert sorted(counted[5:]) == [("SET", 2), ("dense", 2), ("new", 0), ("new", 1), ("new", 2)]
    loaded = rw.Comparison.load(path)
    assert figures(loaded) == figures(more) and loaded.summary() == more.summary()
    fewer = compared({"SET": PAIR["SET"]}, save=path, seeds=[1])
    assert len(counted) == 10 and len(fewer) == 1
    loaded.to_json(tmp_path / "j")
    assert json.loads((tmp_path / "j").read_text())["summary"][0]["contender"] == loaded.best


def test_another_question_is_refused(tmp_path):
    path = tmp_path / "r.jsonl"
    compared(save=path, seeds=1)
    for contenders, options, words in (
        (PAIR, {"validation": 0.2}, "was made with validation 0.1, asked is 0.2"),
        (PAIR, {"weights": 99}, "was made with weights none, asked is 99"),
        (PAIR, {"data": (X + 1, Y, *DATA[2:])}, "was made with data of another digest, '"),
        (PAIR, {"data": (X[:80], Y[:80], *DATA[2:])}, "was made with data of another train, 81, asked is 72"),
        ({"SET": {"rewiring": "set", "lr": 0.5}}, {}, "contender 'SET' was made with lr none, asked is 0.5"),
        (PAIR, {"epochs": 3}, "contender 'SET' was made with epochs 2, asked is 3"),
        ({"SET": small_net}, {}, "contender 'SET' was made with density 0.5, asked is none"),
    ):
        with pytest.raises(rw.FileError, match=words):
            compared(contenders, **{"save": path, "seeds": 1, **options})
    assert len(compared(save=path, seeds=1)) == 2


def test_files_that_are_none(tmp_path):
    path = tmp_path / "r.jsonl"
    for text, words in (
        ("{}\n", "is no file of a comparison: its first line"),
        ("x\n", "line 1 is no JSON object"),
        ("[]\n", "line 1 is no JSON object: no object"),
        ("{", "it has no line"),
        ('{"format": "rewire comparison 1"}\n', "does not say what was asked"),
        (
            '{"format": "rewire comparison 1", "asked": {}}\n{"run": "a"}\n',
            "line 2 is nothing that a comparison",
        ),
        ('{"format": "rewire comparison 1", "asked": {}}\n{"x": 1}\n', "line 2 is nothing that a comparison"),
    ):
        path.write_text(text)
        with pytest.raises(rw.FileError, match=words):
            rw.Comparison.load(path)
        with pytest.raises(rw.FileError):
            compared(save=path, seeds=1)
        assert path.read_text() == text
    with pytest.raises(FileNotFoundError):
        rw.Comparison.load(tmp_path / "none")
    with pytest.raises(OSError, match="does not exist"):
        compared(save=tmp_path / "no" / "r.jsonl")


def test_one_comparison_a_file(tmp_path):
    pytest.importorskip("fcntl")
    path = str(tmp_path / "r.jsonl")
    record = Record(path, {})
    with pytest.raises(OSError, match="another comparison is writing it"):
        Record(path, {})
    record.close()
    Record(path, {}).close()


# --- what goes wrong


def test_a_run_that_raises_or_dies(tmp_path, counted):
    path = tmp_path / "r.jsonl"
    found = compared({"raises": raises, "dies": dies}, jobs=2, threads=1, save=path)
    errors = {(row["contender"], row["seed"]): row.get("error") for row in found}
    assert [key for key, error in errors.items() if error] == [("raises", 1), ("dies", 1)]
    assert errors["raises", 1] == "RuntimeError: not this one"
    assert errors["dies", 1].startswith("the process was killed by SIGKILL, maybe for want of memory")
    (row,) = [row for row in found if row.get("error", "").startswith("Runtime")]
    assert "in raises" in row["traceback"]
    assert "raises: RuntimeError: not this one" in str(found) and "(1 failed)" in str(found)
    assert repr(found) == "Comparison(2 contenders, 4 runs, 2 failed)"
    one = next(one for one in found.summary() if one["contender"] == "dies")
    assert (one["seeds"], one["failed"]) == (1, 1) and math.isnan(one["test_accuracy_sd"])
    # What failed is tried again, here without the one that would end this process too.
    compared({"raises": raises}, save=path)
    assert counted == [("raises", 1)]


def test_divergence_is_a_result(tmp_path, counted):
    path = tmp_path / "r.jsonl"
    contenders = {"wild": {"dense": True, "lr": 1e6, "activation": "relu", "clip_norm": 1e30}, "tame": {}}
    found = compared(contenders, save=path, seeds=1, epochs=5)
    assert found[0]["error"].startswith("DivergenceError: training diverged in epoch")
    assert found.best == "tame" and found.summary()[-1]["contender"] == "wild"
    assert "wild  failed: DivergenceError" in str(found)
    compared(contenders, save=path, seeds=1, epochs=5)
    assert len(counted) == 2
    with pytest.raises(ValueError, match="no run has ended well; the first error is: DivergenceError"):
        compared({"wild": contenders["wild"]}, seeds=1, epochs=5).best  # noqa: B018


def test_warnings_of_runs_are_told_once():
    found = compared({"rigl": {"rewiring": "rigl"}})
    assert str(found).count("rigl: warning: rewiring 'rigl' never acts") == 1
    assert "SET" not in str(found) and found[0]["warnings"] == found[1]["warnings"]


@pytest.mark.parametrize(
    "contenders, options, words",
    [
        ({}, {}, "contenders must hold at least one"),
        ("set", {}, "contenders must be a dict of names and options"),
        ({1: {}}, {}, "contenders must have words for names, got 1"),
        ({"a": 3}, {}, r"contenders\['a'\] must be a dict of options or a function, got 3"),
        ({"a": {"densty": 1}}, {}, "contender 'a': a network takes no argument 'densty': did you mean"),
        ({"a": {"dense": True, "group": 4}}, {}, "contender 'a': group does nothing with dense"),
        ({"a": {"epsilon": -1}}, {}, "contender 'a': epsilon must be a number > 0"),
        ({"a": odd}, {}, "contender 'a': test_compare.odd must give a Trainer, a Sequential or a list"),
        ({"a": {"rewiring": "nope"}}, {}, "contender 'a': rewiring must be one of"),
        ({"a": {"batch_size": 0}}, {}, "contender 'a': batch_size must be an integer >= 1"),
        ({"a": {"layers": lambda n, m: [rw.Sparse(9, 3)]}}, {}, "contender 'a': its network"),
        ({"a": {"layers": lambda n, m: [rw.Sparse(n, 2)]}}, {}, "contender 'a': y must hold"),
        ({"a": {}, "b": {"loss": "mse", "output": "linear"}}, {}, "contender 'b': loss 'mse' is one of"),
        (PAIR, {"densty": 1}, "a network takes no argument 'densty'"),
        (PAIR, {"seeds": 0}, "seeds must be an integer >= 1"),
        (PAIR, {"seeds": [1, 1]}, "seeds must differ"),
        (PAIR, {"seeds": []}, "seeds must differ, and be at least one"),
        (PAIR, {"seeds": [-1]}, r"seeds\[0\] must be an integer in \[0"),
        (PAIR, {"validation": 1.0}, r"validation must be a number in \[0, 1\)"),
        (PAIR, {"validation": 0.001}, "validation 0.001 of 90 samples leaves nothing"),
        (PAIR, {"data": (X, Y), "validation": 0}, "validation must be > 0 for arrays, which has no test set"),
        (PAIR, {"seconds": 0}, "seconds must be a number > 0"),
        (PAIR, {"seconds": "nobody"}, "seconds must be one of 'SET', 'dense', got 'nobody'"),
        (PAIR, {"seconds": 3}, "contender 'SET': epochs does nothing beside seconds"),
        ({"a": {"epochs": 3}, "b": {}}, {"seconds": "b"}, "contender 'a': epochs does nothing"),
        (PAIR, {"weights": 0}, "weights must be an integer >= 1"),
        (PAIR, {"weights": "nobody"}, "weights must be one of"),
        (PAIR, {"jobs": "all"}, "jobs must be an integer"),
        (PAIR, {"threads": 0}, "threads must be >= 1"),
        (PAIR, {"verbose": 2}, "verbose must be one of 0, 1"),
        (PAIR, {"save": 3}, "save must be a string or a path"),
        (PAIR, {"data": 3}, "data must be the name of a data set, a path"),
        (PAIR, {"data": "nope"}, "name must be one of digits"),
        (PAIR, {"data": (X, Y[:9])}, "X and y must have as many rows, got 90 and 9"),
        (PAIR, {"data": (X, Y, X[:, :3], Y)}, "X_test must have 8 features"),
        (PAIR, {"data": (X, Y, X, Y + 1)}, "y_test holds the class 3"),
        (PAIR, {"data": (X[0], Y)}, "X must have shape"),
        (PAIR, {"data": (X * np.nan, Y)}, "X .*finite"),
        (PAIR, {"data": (X, np.zeros((90, 2, 2)))}, "y must be a vector of classes or an array of numbers"),
    ],
)  # fmt: skip
def test_wrong_questions_are_named(contenders, options, words):
    with pytest.raises((TypeError, ValueError), match=words):
        compared(contenders, **options)


def test_losses_of_two_kinds():
    yes = (X, (T > 0).astype(float))
    with pytest.raises(ValueError, match="measured by one metric, got accuracy of 'b' and r2 of 'a'"):
        compared({"a": {}, "b": {"loss": "binary_cross_entropy"}}, yes)


def test_what_no_process_can_find_is_refused(monkeypatch):
    for module in ("cloudpickle", "joblib.externals"):
        monkeypatch.setitem(sys.modules, module, None)
    started = []
    monkeypatch.setattr(subprocess, "Popen", lambda *a, **k: started.append(a))
    with pytest.raises(TypeError, match="contender 'mine': it cannot be taken into a process .* jobs=0"):
        compared({"fine": {}, "mine": lambda data, seed: small_net(data, seed)}, jobs=1)
    for kinds in (layers.KINDS,):
        monkeypatch.setattr(kinds, "_makers", dict(kinds._makers))

    @layers.register_layer
    class Halved(rw.layers.ArrayLayer, rw.layers.Elementwise):
        def outputs(self, x, p):
            return x / 2

        def gradients(self, dy, p):
            return dy / 2, {}

    described = [{"type": "Halved"}, {"type": "Sparse"}]
    with pytest.raises(TypeError, match="layer type Halved: it cannot be taken into a process"):
        compared({"mine": {"layers": described}}, jobs=1)
    assert not started
    assert len(compared({"mine": {"layers": described}}, seeds=1)) == 1


SCRIPT = """
import sys
import rewire as rw

@rw.layers.register_layer
class Halved(rw.layers.ArrayLayer, rw.layers.Elementwise):
    def outputs(self, x, p):
        return x / 2
    def gradients(self, dy, p):
        return dy / 2, {}

@rw.rewiring.register_rule
class Never(rw.Static):
    name = "never"

def build(data, seed):
    return [rw.Sparse(64, 10, links=100, activation="softmax")]

own = {"layers": [{"type": "Halved"}, {"type": "Sparse"}], "rewiring": "never"}
found = rw.compare("digits", {"own": own, "function": build}, epochs=1, seeds=1, verbose=0, jobs=2, threads=1)
assert not any("error" in row for row in found), found.runs
print(found["weights"])
"""


def test_what_a_script_defines_is_found_in_processes(tmp_path):
    """Without a guard around the call, and without a module: cloudpickle takes it along."""
    pytest.importorskip("cloudpickle")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py"],
        capture_output=True,
        text=True,
        timeout=HANG_SECONDS,
        cwd=tmp_path,
    )
    assert done.stdout.split() == ["[640,", "100]"], done.stdout + done.stderr


# --- signals


def started(tmp_path, call):
    """A program with a run under way that does not end, and the number of its process."""
    pids = tmp_path / "pids"
    pids.mkdir()
    text = f"""
        import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})
        import os; os.environ["REWIRE_TEST_PARENT"] = str(os.getpid())
        import rewire as rw
        from test_compare import DATA, SMALL, sleeps
        found = rw.compare(DATA, {call}, verbose=0, threads=1, **SMALL)
        print(found.interrupted, len(found), flush=True)
    """
    (tmp_path / "files").mkdir()
    environment = {**os.environ, "REWIRE_TEST_PIDS": str(pids), "TMPDIR": str(tmp_path / "files")}
    program = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(text)], env=environment, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    until(lambda: len(list(pids.iterdir())) == 1, program)
    return program, [int(path.name) for path in pids.iterdir()]


def until(true, program=None):
    end = time.monotonic() + HANG_SECONDS
    while not true():
        assert time.monotonic() < end and (program is None or program.poll() is None)
        time.sleep(0.05)


def gone(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return True
    return state == "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes under /proc")
def test_signals(tmp_path):
    program, (pid,) = started(
        tmp_path, f"{{'fine': {{}}, 'sleeps': sleeps}}, save={str(tmp_path / 'r.jsonl')!r}, seeds=1"
    )
    program.send_signal(signal.SIGINT)
    assert program.communicate(timeout=HANG_SECONDS)[0] == "True 1\n"
    assert gone(pid) and len(rw.Comparison.load(tmp_path / "r.jsonl")) == 1
    assert not list((tmp_path / "files").iterdir())


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks at processes under /proc")
def test_nobody_is_left_behind(tmp_path):
    program, (pid,) = started(tmp_path, "{'sleeps': sleeps}, seeds=1")
    program.kill()
    program.communicate()
    until(lambda: gone(pid))
    assert not list((tmp_path / "files").iterdir())


def test_interrupt_here(monkeypatch, tmp_path):
    run = pool.run

    def interrupted(task, contender, **options):
        if options["seed"] == 1:
            raise KeyboardInterrupt
        return run(task, contender, **options)

    monkeypatch.setattr(pool, "run", interrupted)
    found = compared(save=tmp_path / "r.jsonl")
    assert found.interrupted and len(found) == 2 and "interrupted: not all runs are there" in str(found)
    monkeypatch.setattr(pool, "run", run)
    found = compared(save=tmp_path / "r.jsonl")
    assert not found.interrupted and len(found) == 4


# --- grids and descriptions


def test_grids():
    found = rw.grid({"rewiring.fraction": [0.1, 0.25]}, rewiring=["set", rw.RigL()], hidden=[[9, 8], 7])
    assert len(found) == 8 and found["rewiring.fraction=0.25, set, hidden=9-8"] == {
        "rewiring.fraction": 0.25, "rewiring": "set", "hidden": [9, 8],
    }  # fmt: skip
    assert [*rw.grid(dense=[True, False], lr=[1e-2])] == ["dense, lr=0.01", "sparse, lr=0.01"]
    assert len(rw.grid(rewiring=[rw.SET(0.1), rw.SET(0.2)])) == 2
    assert [*rw.grid(dropout=[None, 0.1])] == ["dropout=None", "dropout=0.1"]
    for wrong, words in (
        ({"rewiring": "set"}, "rewiring must be a list of values, got 'set'"),
        ({"rewiring": []}, "rewiring must have at least one value"),
        ({"lr": [0.1, 0.1]}, "values must differ, got lr=0.1 twice"),
        ({"densty": [1]}, "takes no argument 'densty'"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            rw.grid(wrong)


def test_descriptions_tell_contenders_apart():
    assert described(rw.SET(0.2)) == rw.SET(0.2).config() and described(np.float32(0.5)) == 0.5
    one, two = described(small_net), described(odd)
    assert one["function"] == "test_compare.small_net" and one["source"] != two["source"]
    custom = described(rw.rewiring.Custom(lambda layer: None))
    assert custom["type"] == "rewire.rewiring.custom.Custom"
    with pytest.raises(TypeError, match="callbacks must be a number, a word, a function or something with"):
        Contender("a", {"callbacks": [object.__new__(type("Odd", (), {"__slots__": ()}))]}).description()


# --- pictures


def test_pictures():
    pytest.importorskip("matplotlib")
    found = compared()
    for over in ("seconds", "weights", "network_bytes"):
        (axes,) = rw.plots.comparison(found, over=over).axes
        marks = {
            line.get_label(): line.get_xydata()[0] for line in axes.get_lines() if len(line.get_xdata()) == 1
        }
        assert set(marks) == {"SET", "dense"}
        assert marks["SET"] == pytest.approx(
            [found.of("SET", over).mean(), found.of("SET", "test_accuracy").mean()]
        )
    (axes,) = rw.plots.comparison(found, over="curve", measure="validation_loss").axes
    assert axes.get_lines()[0].get_ydata() == pytest.approx(
        np.mean([row["curve"]["validation_loss"] for row in found if row["contender"] == "SET"], axis=0)
    )
    for wrong, options, words in (
        (found, {"over": "time"}, "over must be one of"),
        (found, {"measure": "x"}, "measure must be one of"),
        (found, {"over": "peak_memory"}, "runs must have peak_memory"),
        ([{"error": "x"}], {}, "runs must hold at least one"),
        (3, {}, "runs must be a Comparison"),
        (compared(validation=0), {"over": "curve"}, "runs must have accuracy over epochs"),
    ):
        with pytest.raises((TypeError, ValueError), match=words):
            rw.plots.comparison(wrong, **options)


# --- the command


COMMAND = [
    "compare",
    "--data",
    "digits",
    "--hidden",
    "20",
    "--epochs",
    "1",
    "--density",
    "0.2",
    "--jobs",
    "0",
]


@pytest.fixture
def run(capsys, monkeypatch):
    """Run a command line in this process: (exit code, standard output, standard error)."""
    monkeypatch.delenv("REWIRE_DEBUG", raising=False)

    def call(*arguments):
        code = main([str(a) for a in arguments])
        return code, *capsys.readouterr()

    yield call
    rw.set_num_threads(None)


def test_command(run, tmp_path):
    contenders = {"layers": {"layers": [{"type": "Sparse", "n_out": 9, "links": 99}, {"type": "Sparse"}]}}
    (tmp_path / "c.json").write_text(json.dumps(contenders))
    options = [
        "--grid", "rewiring=static,SET", "--grid", "rewiring.fraction=0.1", "--grid", "hidden=10;8,8",
    ]  # fmt: skip
    code, out, error = run(*COMMAND, *options)
    assert code == 1 or "rewiring.fraction does nothing without rewiring" in error
    code, out, error = run(
        *COMMAND, "--grid", "rewiring=static,SET", "--grid", "hidden=10;8,8", "--seeds", 1, "--also",
        "dense one: --dense --lr 0.01 --set optimizer.momentum=0.5", "--contenders", tmp_path / "c.json",
        "--save", tmp_path / "r.jsonl", "--json", tmp_path / "j", "--plot", tmp_path / "p.png",
        "--set", "lr=0.1",
    )  # fmt: skip
    assert code == 0, error
    names = [
        "static, hidden=10",
        "static, hidden=8-8",
        "set, hidden=10",
        "set, hidden=8-8",
        "dense one",
        "layers",
    ]
    found = json.loads((tmp_path / "j").read_text())
    assert [row["contender"] for row in found["runs"]] == names and all(name in out for name in names)
    assert found["contenders"]["dense one"] == {
        "dense": True, "epochs": 1, "hidden": [20], "lr": 0.01, "optimizer.momentum": 0.5,
    }  # fmt: skip
    assert found["contenders"]["set, hidden=8-8"]["lr"] == 0.1 and out.count("\n[") == 5
    assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")
    assert len(rw.Comparison.load(tmp_path / "r.jsonl")) == 6


def test_command_says_what_failed(run):
    wild = "wild: --lr 1e9 --activation relu --clip-norm 1e30"
    code, out, _ = run(*COMMAND, "--also", wild, "--also", "tame:", "--seeds", "0,4", "--quiet")
    assert code == 1 and "wild  failed: DivergenceError" in out and "[1/" not in out


def test_command_interrupted(run, tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(pool, "run", interrupted)
    code, out, error = run(*COMMAND, "--also", "a:", "--save", tmp_path / "r.jsonl")
    assert code == 130 and "no run yet" in out and f"interrupted; go on with --save {tmp_path}" in error
    code, _, error = run(*COMMAND, "--also", "a:")
    assert code == 130 and "interrupted; nothing kept, for want of --save" in error


def test_command_imports(run, tmp_path, monkeypatch):
    for kinds in (layers.KINDS, rw.rewiring.base.KINDS):
        monkeypatch.setattr(kinds, "_makers", dict(kinds._makers))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_own_rules.py").write_text(
        'import rewire as rw\n\n\n@rw.rewiring.register_rule\nclass Never(rw.Static):\n    name = "never"\n'
    )
    code, _, error = run(*COMMAND, "--import", "my_own_rules", "--also", "x: --set rewiring=never", "--seeds",
                         1,
                         "--quiet")  # fmt: skip
    assert code == 0, error
    monkeypatch.delitem(sys.modules, "my_own_rules")


@pytest.mark.parametrize(
    "options, words",
    [
        ([], "no network to compare: give --grid, --also or --contenders"),
        (["--grid", "rewiring"], "--grid must look like rewiring=set,rigl, got 'rewiring'"),
        (["--grid", "activation=foo"], "contender 'foo': activation must be one of 'linear', "),
        (["--grid", "lr=0.1", "--grid", "lr=0.2"], "--grid: lr is given twice"),
        (["--grid", "lr=0.1,0.1"], "values must differ"),
        (["--also", "dense"], "--also must look like 'dense: --dense --lr 0.01'"),
        (["--also", "a: --lr x"], "--also 'a': argument --lr: invalid number value: 'x'"),
        (["--also", "a: --bogus"], "--also 'a': unrecognized arguments: --bogus"),
        (["--also", "a:", "--also", "a:"], "--also: there is a 'a' already"),
        (["--also", "a: --dense --group 4"], "contender 'a': group does nothing with dense"),
        (["--also", "a:", "--set", "densty=1"], "a network takes no argument 'densty'"),
        (["--also", "a:", "--set", "density"], "must look like rewiring.fraction=0.3"),
        (["--also", "a:", "--seeds", "x"], "must be a number >= 1, or seeds between commas"),
        (["--also", "a:", "--seconds", "b"], "seconds must be one of 'a', got 'b'"),
        (["--also", "a:", "--data", "nope"], "--data must be one of digits"),
        (["--also", "a:", "--plot", "x.xyz"], "--plot must end with one of"),
        (
            ["--also", "a:", "--plot", "x.png", "--over", "curve", "--validation", "0"],
            "--over curve needs samples",
        ),
        (["--also", "a:", "--import", "no.such.module"], "--import: there is no module no.such.module"),
        (["--contenders", "bad.json"], "--contenders bad.json is no JSON"),
        (["--contenders", "list.json"], "--contenders list.json must hold an object of names"),
        (["--also", "a:", "--save", "x", "--json", "x"], "this file is named for something else too"),
    ],
)
def test_wrong_commands(run, tmp_path, monkeypatch, options, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text('{"a": 3}')
    code, _, error = run(*COMMAND, *options)
    assert code == 2 and words in error and error.count("\n") == 1
