"""Accuracy over seconds: trials are run once, settings are chosen on held-out samples, losses are told.

Trials here are functions of their settings instead of training runs; one test makes a real run.
"""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest

BENCH = Path(__file__).resolve().parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("bench/ is not part of what is tested here", allow_module_level=True)
sys.path.insert(0, str(BENCH))

import _clock  # noqa: E402
import _docs  # noqa: E402
import _paces  # noqa: E402
import _time_readme  # noqa: E402
import _trial_data  # noqa: E402
import _trial_runs  # noqa: E402
import _trials  # noqa: E402
import densities  # noqa: E402
import over_time  # noqa: E402
from _grids import DENSE, SPARSE, UnfinishedError, best, drawn, grid, halving, rates_for  # noqa: E402
from _time_page import Lead, asked_for, verdict  # noqa: E402
from _trials import Ledger, Trial  # noqa: E402
from targets import TIME_SCRIPTS, load  # noqa: E402

PACES = {"dense": 10.0, "sparse": 1.0, "narrow": 0.8}  # seconds an epoch


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Results of their own; data sets of four samples."""
    monkeypatch.setenv("REWIRE_BENCH_RESULTS", str(tmp_path))
    arrays = np.zeros((24, 3), np.uint8), np.arange(24) % 2, np.zeros((8, 3), np.uint8), np.arange(8) % 2
    monkeypatch.setattr(_trial_data, "LOADERS", dict.fromkeys(_trial_data.LOADERS, lambda: arrays))
    return tmp_path


@pytest.fixture
def runs(monkeypatch):
    """Trials in place of training: the trials that were run, in order."""
    made = []

    def run(trial):
        made.append(trial)
        if trial.options.get("lr") == 0.1:
            return {"score": None, "diverged": "training diverged"}
        side = "narrow" if trial.options.get("hidden", [1000])[0] < 1000 else trial.side
        pace = PACES[side] * (3 if trial.options.get("dtype") == "bfloat16" else 1)
        score = 0.7 + 0.01 * math.log(trial.epochs * pace) * (2 if side == "dense" else 1)
        score += {0.03: 0.02}.get(trial.options.get("lr"), 0.0) + 0.001 * trial.seed
        score += 0.08 * (side == "sparse")
        return {
            "score": score, "weights": 100, "seconds": pace * trial.epochs, "per_epoch": [pace],
            "cpu_seconds": pace * trial.epochs, "rewiring_seconds": 0.0, "peak_bytes": 2**20,
        }  # fmt: skip

    monkeypatch.setattr(Trial, "run", run)
    monkeypatch.setattr(_clock, "FOREIGN_LIMIT", math.inf)
    return made


# --- trials and their ledger ------------------------------------------------------------------


def test_a_trial_is_run_once(folder, runs):
    trial = Trial("sparse", "digits", "test", 2, 0)
    first = Ledger(folder / "trials.jsonl").result(trial)
    again = Ledger(folder / "trials.jsonl").result(trial)
    assert again["score"] == first["score"] and len(runs) == 1
    Ledger(folder / "trials.jsonl").result(trial.with_seed(1))
    assert len(runs) == 2


def test_a_line_that_was_cut_off_is_written_again(folder, runs):
    file = folder / "trials.jsonl"
    trials = [Trial("sparse", "digits", "test", 2, seed) for seed in range(3)]
    ledger = Ledger(file)
    for trial in trials[:2]:
        ledger.result(trial)
    file.write_bytes(file.read_bytes()[:-20])
    ledger = Ledger(file)
    for trial in trials:
        ledger.result(trial)
    assert [trial.seed for trial in runs] == [0, 1, 1, 2]
    assert all(Ledger(file).get(trial.key) for trial in trials)


def test_a_failure_is_not_kept_and_time_runs_out(folder, monkeypatch):
    trial = Trial("dense", "digits", "test", 1, 0)
    monkeypatch.setattr(Trial, "run", lambda self: {"error": "no PyTorch"})
    assert Ledger(folder / "trials.jsonl").result(trial) is None
    monkeypatch.setattr(Trial, "run", lambda self: {"score": 0.5})
    assert Ledger(folder / "trials.jsonl", until=-math.inf).result(trial) is None
    assert Ledger(folder / "trials.jsonl").result(trial)["score"] == 0.5


def test_other_defaults_are_other_trials(monkeypatch):
    sparse, dense = Trial("sparse", "digits", "test", 1, 0), Trial("dense", "digits", "test", 1, 0)
    keys = sparse.key, dense.key
    monkeypatch.setattr("_trials.package_defaults", lambda: "others")
    assert sparse.key != keys[0] and dense.key == keys[1]


def test_defaults_of_numbers_are_defaults_too():
    """Dropout is one of classes alone, and only targets that are numbers are standardised."""
    kinds = json.loads(_trials.package_defaults.__wrapped__())
    trainers = [kinds[kind]["trainer"] for kind in ("classes", "numbers")]
    dropped = [sum(layer["type"] == "Dropout" for layer in one["network"]["layers"]) for one in trainers]
    assert dropped[0] > dropped[1] == 0
    assert [one.get("standardize_targets", False) for one in trainers] == [False, True]


def test_a_real_run_is_the_command(folder):
    arrays = folder / "a.npz"
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((64, 4)).astype(np.float32), rng.integers(0, 2, 64)
    np.savez(arrays, X=x, y=y, X_test=x, y_test=y)
    found = _trial_runs.sparse(
        threads=1, data=str(arrays), epochs=2, seed=0, options={"hidden": "8", "lr": 0.02, "group": 4}
    )
    assert 0 <= found["score"] <= 1 and found["weights"] > 0 and found["took"]["optimizer"]["lr"] == 0.02
    assert len(found["per_epoch"]) == 2 and 0 < found["cpu_seconds"] and 0 < found["seconds"]
    with pytest.raises(RuntimeError, match="--group"):
        _trial_runs.sparse(threads=1, data=str(arrays), epochs=1, seed=0, options={"group": 3})


def test_what_is_held_out_is_trained_on_by_nobody(monkeypatch):
    x = np.arange(60, dtype=np.uint8).reshape(30, 2)
    monkeypatch.setitem(_trial_data.LOADERS, "digits", lambda: (x, x[:, 0], x[:3] + 100, x[:3, 0]))
    with np.load(_trial_data.archive("digits", "validation")) as held:
        assert len(held["y_test"]) == 5 and sorted([*held["y"], *held["y_test"]]) == sorted(x[:, 0])
    with np.load(_trial_data.archive("digits", "test")) as whole:
        assert len(whole["y"]) == 30 and (whole["X_test"] == x[:3] + 100).all()


# --- grids ------------------------------------------------------------------------------------


def test_grids_are_as_stated():
    dense, sparse = grid(DENSE, hidden=[5]), grid(SPARSE)
    assert len(dense) == 48 and all(setting["hidden"] == [5] for setting in dense)
    assert {setting.get("rewiring") for setting in sparse} == {None, "static"}
    some = drawn(sparse, 24)
    assert rates_for(DENSE, False) is DENSE and rates_for(DENSE, True)["lr"] == (0.001, 0.003, 0.005, 0.01)
    assert len(some) == 24 and some == drawn(sparse, 24) and all(setting in sparse for setting in some)


def test_halving_keeps_the_better_half(folder, runs):
    settings = [{"lr": lr, "n": n} for lr in (0.1, 0.01, 0.03) for n in (0, 1)]
    made = Ledger(folder / "trials.jsonl")
    scores = halving(
        made, settings, (1, 3), lambda s, rung: Trial("sparse", "digits", "validation", rung, 0, 1, s)
    )
    assert [len(rung) for rung in scores] == [6, 3]
    assert [s["lr"] for _, s in scores[0]] == [0.03, 0.03, 0.01, 0.01, 0.1, 0.1]
    assert scores[0][-1][0] == -math.inf and scores[1][0][1]["lr"] == 0.03
    assert {trial.part for trial in runs} == {"validation"}
    assert best((1, 3), scores, 1.2) is scores[0][0][1] and best((1, 3), scores, 9) is scores[1][0][1]


def test_halving_says_when_all_diverge(folder, runs):
    ledger = Ledger(folder / "trials.jsonl")
    with pytest.raises(UnfinishedError, match="every setting diverges in the rung at 1"):
        halving(
            ledger, [{"lr": 0.1}], (1, 2), lambda s, rung: Trial("sparse", "digits", "test", rung, 0, 1, s)
        )


def test_halving_says_what_is_missing(folder):
    late = Ledger(folder / "trials.jsonl", until=-math.inf)
    with pytest.raises(UnfinishedError, match="2 of 2 trials of the rung at 1 are missing"):
        halving(
            late,
            [{"lr": 1}, {"lr": 2}],
            (1,),
            lambda s, rung: Trial("sparse", "digits", "test", rung, 0, 1, s),
        )


# --- seconds ----------------------------------------------------------------------------------


def block(wall, cpu, foreign):
    return {"wall": wall, "cpu": cpu, "lowest": wall / 2, "foreign": foreign}


def test_everybody_is_clocked_in_the_same_way():
    quiet, busy = [block(1.0, 0.9, 0.0)] * 7, [block(5.0, 0.8, 1.0)] * 7
    judged = _paces.judged
    assert judged({"a": quiet, "b": quiet}, 7, 1) == {
        "seconds": {"a": 1.0, "b": 1.0},
        "way": "quiet",
        "blocks": (7, 7),
    }
    assert judged({"a": quiet, "b": busy}, 7, 1)["seconds"] == {"a": 0.9, "b": 0.8}
    assert judged({"a": quiet, "b": busy}, 7, 2)["seconds"] == {"a": 0.5, "b": 2.5}


def test_paces_are_kept_and_measured_anew_on_request(folder, runs):
    trials = {"a": Trial("dense", "digits", "test", 9, 5), "b": Trial("sparse", "digits", "test", 9, 5)}
    ledger = Ledger(folder / "trials.jsonl")
    assert _paces.paces(ledger, trials, 2)["seconds"] == {"a": pytest.approx(10.0), "b": pytest.approx(1.0)}
    assert len(runs) == 4
    _paces.paces(ledger, trials, 2)
    assert len(runs) == 4
    assert _paces.paces(ledger, trials, 2, again=True) == {}
    assert _paces.paces(ledger, trials, 2, again=True, anew=True)["seconds"] and len(runs) == 8
    assert _paces.paces(ledger, trials, 2, again=True)["seconds"] and len(runs) == 8


# --- what is said -----------------------------------------------------------------------------


def lead(length, points, seeds=3, error=0.1):
    return Lead(length, 100 * length, points, error, seeds)


@pytest.mark.parametrize(
    "points, says",
    [
        ([1.0, 0.5], "sparse ahead from 25 s to 50 s; dense is nowhere ahead in what was measured"),
        ([1.0, 0.2], "sparse ahead at 25 s, level at 50 s; dense is nowhere ahead in what was measured"),
        ([-1.0, -0.5], "dense ahead from 25 s on"),
        ([1.0, -0.5], "sparse ahead at 25 s, dense ahead from 50 s on"),
        ([-1.0, -0.5, 0.5], "dense ahead from 25 s to 50 s, sparse ahead at 100 s"),
        ([1.0, -0.5, 1.0], "sparse ahead at 25 s, dense ahead at 50 s, sparse ahead at 100 s"),
    ],
)
def test_losses_are_told(points, says):
    assert verdict([lead(0.25 * 2**i, p) for i, p in enumerate(points)]) == says


def test_one_seed_has_no_error():
    alone = lead(1.0, 0.05, seeds=1, error=math.nan)
    assert (alone.who, str(alone), str(lead(1.0, 0.05))) == ("sparse ahead", "+0.05", "+0.05 +- 0.10")


def test_what_is_asked_is_judged_when_all_is_there():
    good = [lead(0.25, 0.5), lead(0.5, 0.6), lead(1.0, 0.7), lead(2.0, 0.1)]
    assert asked_for(good) is True
    assert asked_for([*good[:3], lead(2.0, 0.0)]) is False
    assert asked_for([lead(0.25, 0.4), *good[1:]]) is False
    assert asked_for(good[:3]) is None and asked_for([lead(0.25, 0.5, seeds=2), *good[1:]]) is None


def test_the_whole_course(folder, runs, monkeypatch):
    over_time.main(["--data", "fashion-mnist", "--rungs", "1,2", "--lengths", "0.25,0.5,1,2"])
    saved = json.loads((folder / "over_time.json").read_text())
    chosen_by = [t for t in runs if t.part == "validation" and t.side == "dense"]
    assert len(chosen_by) == 2 * (24 + 12)  # no bfloat16: it is slower here
    assert any("bfloat16 autocast at batch 128 is not in the dense grid" in note for note in saved["notes"])
    points = saved["cells"]["fashion-mnist"]["points"]
    assert len(points) == 16 and all(len(point["scores"]) == 3 for point in points)
    assert all(point["setting"]["lr"] == 0.03 for point in points if point["side"] != "default")
    by = {(point["side"], point["length"]): point for point in points}
    assert by["dense", 0.25]["epochs"] == 2.5 and by["default", 0.25]["epochs"] == 25
    assert by["dense", 2.0]["seconds"] == pytest.approx(200) == by["default", 2.0]["seconds"]
    assert by["narrow", 0.25]["epochs"] == 31.25 and by["narrow", 2.0]["seconds"] == pytest.approx(200)
    assert {t.part for t in runs if t.seed} == {"test"}
    judged = saved["judgements"][0]
    assert judged["met"] is (by["default", 1.0]["scores"][0] - by["dense", 1.0]["scores"][0] >= 0.5)
    # Run again, nothing is trained; the pages say what the files say.
    count = len(runs)
    over_time.main(["--data", "fashion-mnist", "--rungs", "1,2", "--lengths", "0.25,0.5,1,2"])
    densities.main(["--seeds", "2"])
    assert {t.data for t in runs[count:]} == {"fashion-mnist"} and all(t.seed < 2 for t in runs[count:])
    assert not any(t.side == "dense" and t.epochs == 10 and t.seed < 2 for t in runs[count:])
    (folder / "README.md").write_text(f"# Title\n{_time_readme.BEGIN}\nold\n{_time_readme.END}\nrest\n")
    monkeypatch.setattr(_docs, "DOCS", folder / "docs")
    (folder / "docs").mkdir()
    page = _docs.write_over_time(load(TIME_SCRIPTS)).read_text()
    assert "## Dense beside sparse" in page and "## Fewer and fewer weights" in page and "SNFS" in page
    readme = (folder / "README.md").read_text()
    assert "old" not in readme and readme.endswith(f"{_time_readme.END}\nrest\n")
    assert all(sentence in readme for sentence in saved["cells"]["fashion-mnist"]["words"])
    assert (folder / "docs" / "figures" / "over_time-fashion-mnist.png").exists()


def test_without_pytorch_the_sparse_sides_remain(folder, runs, monkeypatch):
    run = Trial.run
    monkeypatch.setattr(Trial, "run", lambda t: {"error": "no torch"} if t.side == "dense" else run(t))
    over_time.main(["--data", "digits", "--rungs", "1", "--lengths", "1", "--seeds", "1"])
    saved = json.loads((folder / "over_time.json").read_text())
    assert {point["side"] for point in saved["cells"]["digits"]["points"]} == {"default", "sparse"}
    assert "dense left out: no torch" in saved["notes"] and saved["judgements"] == []


def test_a_command_that_diverges_is_shown(folder, runs, monkeypatch):
    run = Trial.run
    monkeypatch.setattr(
        Trial, "run", lambda t: run(t) if t.options else {"score": None, "diverged": "at once"}
    )
    course = [
        "--data",
        "digits",
        "--rungs",
        "1",
        "--lengths",
        "1",
        "--seeds",
        "1",
        "--sides",
        "dense,default",
    ]
    over_time.main(course)
    saved = json.loads((folder / "over_time.json").read_text())
    rows = {row[1]: row for row in saved["tables"][0]["rows"]}
    assert rows["sparse, the default command"][4:7] == ["diverged", "-", "0 of 1"]
    assert saved["cells"]["digits"]["words"] == []


def test_what_fails_on_the_clock_is_left_out(folder, runs, monkeypatch):
    run = Trial.run
    monkeypatch.setattr(Trial, "run", lambda t: {"error": "no memory"} if len(t.options) == 1 else run(t))
    over_time.main(
        ["--data", "digits", "--rungs", "1", "--lengths", "1", "--seeds", "1", "--sides", "dense,default"]
    )
    saved = json.loads((folder / "over_time.json").read_text())
    assert {point["side"] for point in saved["cells"]["digits"]["points"]} == {"dense"}
    assert "default nothing said left out: no memory" in saved["notes"]


def test_what_other_machines_measured_stays_on_the_page(tmp_path, monkeypatch):
    def left(data, features, commit, picture=True):
        title = f"{data}: test accuracy"
        machine = {"commit": commit, "torch": "2", "cpu": "a processor", "features": features}
        (tmp_path / f"over_time-{data}.png").write_bytes(commit.encode())
        return {
            "script": "over_time", "machine": machine, "notes": [f"{data} was quick"], "judgements": [],
            "cells": {}, "plots": [f"over_time-{data}.png"] if picture else [],
            "tables": [{"title": title, "header": ["points"], "rows": [[commit]]}],
        }  # fmt: skip

    monkeypatch.setattr(_docs, "DOCS", tmp_path / "docs")
    monkeypatch.setattr(_docs, "results", lambda: tmp_path)
    (tmp_path / "docs").mkdir()
    assert _docs.write_over_time({}) is None
    runs = {"over_time": left("cats", "narrow", "old"), "over_time-dogs": left("dogs", "narrow", "first")}
    page = _docs.write_over_time({**runs, "densities": left("cats", "narrow", "thin", picture=False)})
    before = page.read_text()
    assert _docs.write_over_time({"over_time-dogs": runs["over_time-dogs"]}) == page
    assert sorted(page.read_text().split()) == sorted(before.split())
    _docs.write_over_time({"over_time": left("cats", "wide", "new")})
    after = page.read_text()
    assert all(f"Measured at commit {c}, PyTorch 2, on a " in after for c in ("old", "new", "first", "thin"))
    assert after.count("over_time-cats.png") == 1 and after.count("over_time-dogs.png") == 1
    assert after.index("processor, wide") < after.index("processor, narrow")
    _docs.write_over_time({"over_time": left("cats", "wide", "newer")})
    assert " new, " not in page.read_text() and " newer, " in page.read_text()
    assert page.read_text().count("## Fewer and fewer weights") == 1
