"""The benchmark suite in a few seconds: every script on tiny shapes, without the libraries it compares with.

What a figure is made of (turns, dropped spans, budgets, verdicts) is tested by itself; the scripts are run
to see that their files are well formed. Their figures mean nothing here.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from small import HANG_SECONDS

BENCH = Path(__file__).resolve().parent.parent / "bench"
if not BENCH.is_dir():
    pytest.skip("bench/ is not part of what is tested here", allow_module_level=True)
sys.path.insert(0, str(BENCH))

import _apart  # noqa: E402
import _clock  # noqa: E402
import _docs  # noqa: E402
import _measure  # noqa: E402
import _networks_readme  # noqa: E402
import _report  # noqa: E402
import giant  # noqa: E402
from _measure import ENOUGH, Call, Figure, Side, SideError, measure  # noqa: E402
from _report import Report, markdown, options  # noqa: E402
from targets import TARGETS, load, rows, summary  # noqa: E402

BELIEVE_ANYTHING = 1e9  # cores that others may take


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Results of their own, and the machine may be busy."""
    monkeypatch.setenv("REWIRE_BENCH_RESULTS", str(tmp_path))
    monkeypatch.setattr(_clock, "FOREIGN_LIMIT", BELIEVE_ANYTHING)
    monkeypatch.setattr(_clock, "SPAN_SECONDS", 0.02)
    return tmp_path


def script(name, *arguments):
    command = [sys.executable, BENCH / f"{name}.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=HANG_SECONDS, env=os.environ)


# --- figures ----------------------------------------------------------------------------------


def test_a_figure_needs_seven_blocks():
    assert str(Figure.of([1.0] * (ENOUGH - 1))) == "not measurable (6 clean blocks)"
    figure = Figure.of([3.0, 1.0, 2.0, 4.0, 5.0, 7.0, 6.0])
    assert (figure.median, figure.low, figure.high, figure.kept) == (4.0, 1.0, 7.0, 7)
    assert figure.inverse(8.0).median == 2.0 and figure.scaled(10).high == 70.0
    assert Figure(**json.loads(json.dumps(figure.json()))) == figure


def test_contestants_take_turns():
    turns = []
    contestants = {"a": lambda: turns.append("a") or time.sleep(0.01), "b": lambda: turns.append("b")}
    result = measure(contestants, budget=60.0, rounds=ENOUGH)
    assert result.figure("a").kept >= ENOUGH and result.ratio("a", "b").median > 1
    assert result.figure(("a", "b")).median > result.figure("a").median > 0.009
    assert result.figure({"a": 2}).median == pytest.approx(2 * result.figure("a").median)
    assert result.fastest({"slow": "a", "quick": "b", "absent": "c"}) == "quick"
    assert "".join(turns).count("ab") >= ENOUGH


def test_dropped_spans_lead_to_no_figure(monkeypatch):
    monkeypatch.setattr(_clock, "FOREIGN_LIMIT", -1.0)  # nobody is that quiet
    result = measure({"a": lambda: None}, budget=1.0)
    assert result.rounds and not any(result.rounds)
    assert result.figure("a").median is None and result.ratio("a", "a").median is None
    assert result.fastest({"a": "a"}) is None and "a" not in result


def test_what_does_not_fit_is_left_out():
    result = measure({"quick": lambda: None, "slow": lambda: time.sleep(0.3)}, budget=1.5)
    assert "too slow for the budget" in result.left_out["slow"] and "quick" in result


def test_preparation_is_not_timed(monkeypatch):
    now = [0.0]

    def takes(seconds):
        now[0] += seconds

    monkeypatch.setattr(_measure.time, "perf_counter", lambda: now[0])
    assert Call(lambda: takes(0.25), before=lambda: takes(1.0)).time(3) == 0.75


def test_a_side_answers_and_refuses():
    with Side("_kernel_sides:numpy_dense", 1) as side:
        operations = side.prepare(n_in=8, n_out=8, batch=4)
        assert operations["numpy fwd"].time(2) > 0
        side.clear()
        with pytest.raises(SideError, match="KeyError"):
            operations["numpy fwd"].time(1)
        with pytest.raises(SideError, match="TypeError"):
            side.prepare(wrong=1)
    with Side("no_such_module:f", 1) as side, pytest.raises(SideError, match="no_such_module"):
        side.prepare()


# --- reports ----------------------------------------------------------------------------------


def test_a_report_leaves_its_files(folder, capsys):
    report = Report("trial", options("Words.", share=1, argv=["--only", "yes"]))
    table = report.table("Title", ["a", "b"])
    table.row(1234, None)
    with pytest.raises(ValueError, match="2 columns"):
        table.row(1)
    assert report.cell("no", lambda: 1 / 0) is None
    assert report.cell("yes", lambda: {"figure": Figure.of([1.0] * 7)})["figure"]["median"] == 1.0
    report.judge("S1", "asked", None, None)
    report.save()
    saved = json.loads((folder / "trial.json").read_text())
    assert saved["cells"] == {"yes": {"figure": {"median": 1.0, "low": 1.0, "high": 1.0, "kept": 7}}}
    assert saved["judgements"] == [
        {"target": "S1", "asked": "asked", "measured": "not measurable", "met": None}
    ]
    text = (folder / "trial.md").read_text()
    assert "| 1,234 | not measurable |" in text and "| S1 | asked | not measurable | not measurable |" in text
    assert "S1: asked: not measurable" in capsys.readouterr().out


def test_a_run_is_resumed_by_its_commit_only(folder, monkeypatch):
    machine = {"cpu": "one", "commit": "abc"}
    monkeypatch.setattr(_report, "fingerprint", lambda: dict(machine))
    first = Report("trial", options("Words.", share=1, argv=[]))
    first.cell("key", lambda: 1)
    first.save()
    resume = options("Words.", share=1, argv=["--resume"])
    assert Report("trial", resume).cell("key", lambda: 2) == 1
    machine["commit"] = "abd"
    assert Report("trial", resume).cell("key", lambda: 2) == 2


def test_targets_without_results(folder):
    assert load() == {}
    assert [(row[0], row[3]) for row in rows({})] == [(target, "not run") for target in TARGETS]
    (folder / "kernels.json").write_text("cut off {")
    done = script("targets")
    assert done.returncode == 0 and done.stdout.count("not run") == len(TARGETS)
    machine = {"cpu": "x", "commit": "y"}
    run = {"judgements": [{"target": "S4", "asked": "a", "measured": "m", "met": False}], "machine": machine}
    assert ["S4", "a", "m", "NOT met"] in rows({"kernels": run})
    other = {**run, "machine": {**machine, "commit": "z"}}
    assert "Not one run" in summary({"kernels": run, "epoch": other})


def test_cells_of_a_table_are_escaped():
    assert markdown("", ["a"], [["x|y"]]).splitlines()[-1] == "| x\\|y |"


# --- scripts ----------------------------------------------------------------------------------

COMMON = ("--tiny", "--threads", "1")
ARGUMENTS = {"kernels": ("--peers", "rewire,numpy")}
QUICK = (
    "kernels", "rewiring", "quick", "epoch", "training", "online", "store", "merge", "local_sgd", "workers",
    "small_data", "curved", "defaults", "scale", "giant", "losses", "parts", "mixing", "boltzmann",
    "selection", "networks", "precision", "one_sample", "sparse_inputs", "sparse_wht",
)  # fmt: skip
SLOW = ("beside_torch", "memory", "published", "rules")  # seconds, most of them of processes of their own
ELSEWHERE = {"densities", "over_time", "torch_layers", "torch_quality"}  # in files of tests of their own
NOT_TINY = {"accuracy"}  # ten minutes of `rewire train`, which has tests of its own


@pytest.mark.parametrize("name", [*QUICK, *(pytest.param(name, marks=pytest.mark.soak) for name in SLOW)])
def test_scripts(folder, name):
    done = script(name, *COMMON, *ARGUMENTS.get(name, ()))
    assert done.returncode == 0, done.stderr
    saved = json.loads((folder / f"{name}.json").read_text())
    assert saved["machine"]["instruction set"] and saved["judgements"] is not None and saved["cells"]
    rows = [row for table in saved["tables"] for row in table["rows"]]
    assert rows and all(
        len(row) == len(table["header"]) for table in saved["tables"] for row in table["rows"]
    )
    assert (folder / f"{name}.md").read_text().startswith(f"# {name}\n")


def test_no_script_is_forgotten():
    """One that never runs breaks unseen with the names it uses, as `rewiring` did."""
    files = {path.stem for path in BENCH.glob("[!_]*.py") if "__main__" in path.read_text(encoding="utf-8")}
    assert files == {*QUICK, *SLOW, *ELSEWHERE, *NOT_TINY, "noise", "targets"}


DYING = """
import os, signal, sys
def die(threads):
    print("a warning", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
def fail(threads):
    raise ValueError("no")
"""


def test_a_process_apart_tells_what_it_died_of(tmp_path, monkeypatch):
    """Also where it has printed something before."""
    (tmp_path / "dying.py").write_text(DYING)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert _apart.apart("dying:die") == {"error": "a warning", "returncode": -9}
    assert _apart.apart("dying:fail") == {"error": "ValueError: no", "returncode": 1}


@pytest.mark.parametrize("begun, straight, fits", [(3, 0, True), (4, 0, True), (0, 0, False), (3, 3, False)])
def test_the_giant_has_to_be_killed_where_it_was_meant_to(begun, straight, fits, tmp_path):
    """A process that is killed for want of memory dies of the same signal."""
    each = {"seconds": 1.0, "peak": 1}
    parts = {"train": {**each, "rewiring": 1.0}, "save": {**each, "disk": 1}}
    train = {"parts": parts, "neurons": 10, "links": 10, "bytes": 10, "counted": 1, "loss": 1.0}
    cells = {
        "train": train, "evaluate": {"parts": {}, "accuracy": 0.5}, "killed": {"killed": True},
        "straight on": {"parts": {}, "digest": "a", "begun": straight},
        "resumed": {"parts": {}, "digest": "a", "begun": begun},
    }  # fmt: skip
    shape = {"neurons": 310, "threads": [1], "shards": 2, "micro": 8, "images": 96}
    report = SimpleNamespace(
        arguments=SimpleNamespace(**shape, data="digits", test=1), cell=lambda part, run: cells[part],
        table=lambda title, header: SimpleNamespace(row=lambda *row: None), note=lambda text: None,
    )  # fmt: skip
    if fits:
        giant.giant(report, tmp_path)
    else:
        with pytest.raises(SystemExit, match="a process was killed elsewhere, maybe for want of memory"):
            giant.giant(report, tmp_path)


def test_noise_script(folder):
    done = script("noise", "--tiny")
    assert done.returncode == 0, done.stderr
    rows = done.stdout.splitlines()[2:]
    assert len(rows) == 8 and all(row.count("|") == 7 for row in rows)


def test_who_is_above_whom(folder, monkeypatch):
    """README's table and the page, without a figure that is typed."""
    page = f"before\n{_networks_readme.BEGIN}\nold\n{_networks_readme.END}\nafter\n"
    row = {"weights": 100, "epochs": 20, "rate": 0.1}
    rows = {
        "dense": {**row, "scores": [80.0, 81.0, 82.0]},
        "static": {**row, "scores": [79.0, 80.1, 80.9]},
        "SET": {**row, "scores": [79.5, 79.6, 80.9]},
        "winners": {**row, "scores": [70.0, 71.0, 72.0]},
        "wild": {**row, "scores": []},
    }
    timed = {**rows, "dense": {**rows["dense"], "weights": 900, "epochs": 5}}
    cells = {
        "weights": rows, "time": timed, "seconds": 6.71, "baseline": "static", "samples": 12_000, "seeds": 3,
    }  # fmt: skip
    machine = {"cpu": "one", "instruction set": "avx2", "commit": "abc"}
    notes = ["a note", f"{_networks_readme.ENDS}: wild."]
    run = {"cells": cells, "machine": machine, "tables": [], "plots": [], "notes": notes}
    text = _networks_readme.put(page, run)
    assert f"has all of it. {_networks_readme.ENDS}: wild.\n" in text and "a note" not in text
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "| dense | 81.00 +- 1.00 | 81.00 +- 1.00 (5, 900 weights) |" in text
    assert "| wild | diverged | diverged |" in text and "fewer than the 5" in text
    said = (
        "Above static: dense (+1.00). Level with it: SET (+0.00). Below it: winners (-9.00); wild (diverged)."
    )
    assert text.count(said) == 2
    assert _networks_readme.put("no place", run) == "no place"
    monkeypatch.setattr(_docs, "DOCS", folder / "docs")
    (folder / "docs").mkdir()
    (folder / "README.md").write_text(page)
    assert _docs.write_networks(None) is None
    assert said in _docs.write_networks(run).read_text() and (folder / "README.md").read_text() == text


def test_the_page_for_the_docs(folder, monkeypatch):
    report = Report("kernels", options("Words.", share=1, argv=[]))
    report.table("Title", ["a"]).row("figure")
    report.judge("S6", "asked", "measured", True)
    report.save()
    monkeypatch.setattr(_docs, "DOCS", folder)
    page = _docs.write(load(), summary(load())).read_text()
    assert "## One layer" in page and "| figure |" in page
    assert "| S6 | asked | measured | met |" in page and "- commit: " in page
