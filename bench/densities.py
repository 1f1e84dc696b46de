"""Fewer and fewer weights: static, SET, RigL and SNFS at 4.5, 1 and 0.3 % of the links, beside dense.

Fashion-MNIST, the network and the defaults of `rewire train`; `--density` spreads the links over the layers.
40 epochs each, five seeds: test accuracy at the end, weights, seconds, peak memory. The dense row is what
`over_time.py` chose for ten epochs, from the same ledger of trials: run that first. Goes on where it stopped.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from typing import Any

from _paces import WAYS, paces
from _report import Report, Table, parser, results, settle
from _trials import Ledger, Trial

DATA = "fashion-mnist"
DROPOUT = {0.045: 0.2, 0.01: 0.1, 0.003: 0.0}  # density: less to drop out where less is left
# Neurons in groups have fewer sources between them, which costs accuracy where links are few: after 18 epochs
# of SNFS 89.8 and 88.7 % of a validation split are right at 1 and 0.3 %, and 89.3 and 87.3 % in groups of
# four, which take 0.75 and 0.5 of the time.
GROUP = {0.045: 4, 0.01: 1, 0.003: 1}
# At 1 % SNFS takes twice the rate: 90.4, 90.7 and 89.7 % of a validation split are right after 40 epochs at
# 0.1, 0.2 and 0.3 (two seeds). At 0.3 % the rate of 0.2 brings 0.04 and 0.41 points: left as it is.
RATE = {0.01: 0.2}
RULES = {"static": "static", "SET": "set", "RigL": "rigl", "SNFS": "snfs"}
TURNS = 3


def dense_of_ten_epochs(threads: int) -> Trial | None:
    """The trial behind the first length of `over_time.py`; None where that has not run."""
    try:
        saved = json.loads((results() / "over_time.json").read_text())
        points = saved["cells"][DATA]["points"]
    except (OSError, ValueError, KeyError):
        return None
    for point in points:
        if (point["side"], point["length"]) == ("dense", 1.0):
            return Trial("dense", DATA, "test", point["epochs"], 0, threads, point["setting"])
    return None


def rows(threads: int, epochs: int, tiny: bool) -> dict[str, Trial]:
    """Name of a row -> its trial at seed 0."""
    if tiny:
        options = {"density": 0.05, "rewiring": "snfs", "hidden": "20,20"}
        return {"5 %, SNFS": Trial("sparse", "digits", "test", 1, 0, threads, options)}
    found = {}
    dense = dense_of_ten_epochs(threads)
    if dense is not None:
        found[f"dense, {dense.epochs:g} epochs"] = dense
    for density, dropout in DROPOUT.items():
        for name, rule in RULES.items():
            options = {"density": density, "rewiring": rule, "dropout": dropout, "group": GROUP[density]}
            if density in RATE:
                options["lr"] = RATE[density]
            found[f"{100 * density:g} %, {name}"] = Trial("sparse", DATA, "test", epochs, 0, threads, options)
    return found


def add(page: Table, name: str, runs: list[dict[str, Any]], seconds: float) -> None:
    """One row: mean and spread over seeds."""
    kept = [run for run in runs if run["score"] is not None]
    if not kept:
        page.row(name, "diverged", *["-"] * 5)
        return
    scores = [100 * run["score"] for run in kept]
    page.row(
        name, f"{statistics.mean(scores):.2f}", f"{min(scores):.2f}..{max(scores):.2f}",
        str(len(kept)) + ("" if len(kept) == len(runs) else f" of {len(runs)}"), kept[0]["weights"], seconds,
        max(run["peak_bytes"] for run in kept) / 2**20,
    )  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    made = parser(__doc__, share=math.inf)
    made.set_defaults(threads="1")
    made.add_argument("--epochs", type=int, default=40, help="of the sparse runs (40)")
    made.add_argument("--seeds", type=int, default=5, help="runs of every row (5)")
    report = Report("densities", settle(made.parse_args(argv)))
    args = report.arguments
    ledger = Ledger(results() / "trials.jsonl", time.monotonic() + args.budget)
    trials = {n: t for n, t in rows(args.threads[-1], args.epochs, args.tiny).items() if args.only in n}
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in trials}
    for seed in range(1 if args.tiny else args.seeds):
        for name, trial in trials.items():
            found = ledger.result(trial.with_seed(seed))
            if found is not None:
                runs[name].append(found)
    trained = {name: trial for name, trial in trials.items() if runs[name]}
    clock = paces(ledger, trained, 1 if args.tiny else TURNS)
    page = report.table(
        f"{DATA}: fewer and fewer weights, {args.epochs} epochs, {args.threads[-1]} thread(s)",
        ["", "test accuracy, %", "lowest..highest", "runs", "weights", "seconds", "peak, MiB"],
    )
    for name, trial in trained.items():
        add(page, name, runs[name], trial.epochs * clock["seconds"].get(name, math.nan))
    if not any(trial.side == "dense" for trial in trials.values()):
        report.note("No dense row: bench/over_time.py has not chosen its setting here.")
    given = ", ".join(f"{p:g} at {100 * d:g} %" for d, p in DROPOUT.items())
    groups = ", ".join(f"{n} at {100 * d:g} %" for d, n in GROUP.items())
    rates = ", ".join(f"{r:g} at {100 * d:g} %" for d, r in RATE.items())
    report.note(
        f"Dropout {given}; groups of {groups}; a rate of {rates}; everything else as `rewire train` has it. "
        "Chosen on a validation split."
    )
    report.note(f"Seconds are epochs x seconds an epoch, all rows in turns ({WAYS[clock['way']]}).")
    report.cells = {name: {"scores": [run["score"] for run in found]} for name, found in runs.items()}
    report.save()


if __name__ == "__main__":
    main()
