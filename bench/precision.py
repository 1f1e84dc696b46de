"""Networks of bfloat16 beside the same ones of float32, seed by seed: what rounding the operands costs.

Equal seeds mean equal links, weights, batches and dropout, so that a pair differs by rounding alone. All of
Fashion-MNIST at the defaults of `rewire train`; Madelon with the batch of `training.py`, and a set
of its kind for where nobody has put its files; prices of diamonds, standardised, as a regression. The test
set is looked at once, after the last epoch. A difference is that of bfloat16 minus float32, as a mean over
seeds with its standard error.

Runs are kept in `precision_*.jsonl`, and nothing is done twice: stopped by Ctrl-C, it goes on where it was.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import hashlib
import math
import statistics
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from _networks_readme import above
from _report import Report, parser, results, settle
from _trial_data import LOADERS, Arrays
from _trials import package_defaults

import rewire as rw

DTYPES = ("float32", "bfloat16")
SEEDS = 5
NOISY: dict[str, Any] = {"hidden": [400, 400, 400], "epochs": 60, "batch_size": 32, "weight_decay": 0.01}
SETTINGS: dict[str, dict[str, Any]] = {
    "fashion-mnist": {"hidden": [1000, 1000, 1000], "epochs": 10, "batch_size": 128},
    "madelon": {**NOISY, "lr": 0.03, "weight_decay": 0.005},  # with NOISY's, weights of some seeds go to 0
    "like madelon": NOISY,
    "diamonds": {"hidden": [200, 200], "epochs": 20, "batch_size": 128, "loss": "mse"},
}
TINY = {"digits": {"hidden": [30], "epochs": 1}}


def madelon() -> Arrays:
    """The set itself, from its files."""
    found = rw.datasets.load("madelon")
    return found.X, found.y, found.X_test, found.y_test


def like_madelon() -> Arrays:
    """2,600 samples as Madelon's were made: 5 features that count, 15 combinations of them, 480 of noise."""
    from sklearn.datasets import make_classification

    x, y = make_classification(
        2600, 500, n_informative=5, n_redundant=15, n_clusters_per_class=16, class_sep=2.0, random_state=0
    )
    return x[:2000].astype(np.float32), y[:2000], x[2000:].astype(np.float32), y[2000:]


ALL: dict[str, Callable[[], Arrays]] = {**LOADERS, "madelon": madelon, "like madelon": like_madelon}


def pairs(found: rw.Comparison, key: str) -> dict[str, list[float]]:
    """A figure of every run, by dtype, seed by seed; runs that diverged have none."""
    rows = sorted(
        (run for run in found if math.isfinite(run.get(key, math.nan))), key=lambda run: run["seed"]
    )
    return {dtype: [run[key] for run in rows if run["contender"] == f"dtype={dtype}"] for dtype in DTYPES}


def said(values: list[float], digits: int) -> str:
    """Mean, deviation, and every seed."""
    spread = f" +- {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    each = " ".join(f"{value:.{digits}f}" for value in values)
    return f"{statistics.mean(values):.{digits}f}{spread} ({each})" if values else "diverged"


def main() -> None:
    made = parser(__doc__, math.inf)
    made.add_argument("--seeds", type=int, default=SEEDS)
    arguments = settle(made.parse_args())
    report = Report("precision", arguments)
    seeds, kept = (1, "tiny") if arguments.tiny else (arguments.seeds, package_defaults())
    kept = hashlib.sha256(kept.encode()).hexdigest()[:8]
    table = report.table(
        "The same networks, test set", ["data", "figure", *DTYPES, "difference", "weights", "epochs"]
    )
    for name, settings in (TINY if arguments.tiny else SETTINGS).items():
        if arguments.only not in name:
            continue
        try:
            data = ALL[name]()
        except (ImportError, FileNotFoundError) as error:
            report.note(f"{name} left out: {error}")
            continue
        found = rw.compare(
            data, rw.grid(dtype=list(DTYPES)), validation=0, jobs=0, threads=1, seeds=seeds,
            save=results() / f"precision_{name.replace(' ', '-')}-{kept}.jsonl", **settings,
        )  # fmt: skip
        if found.interrupted:
            sys.exit("stopped; the same command goes on")
        metric = found[0]["metric"]
        facts = found[0]["weights"], settings["epochs"]
        cell: dict[str, Any] = {"metric": metric, "settings": settings}
        for key, factor, digits in ((f"test_{metric}", 100, 2), ("test_loss", 1, 4)):
            values = {dtype: [factor * one for one in each] for dtype, each in pairs(found, key).items()}
            cell[key] = values
            difference = above(*(values[dtype] for dtype in reversed(DTYPES)))
            words = "-" if difference is None else "{:+.{d}f} +- {:.{d}f}".format(*difference, d=digits)
            figure = f"{metric} x 100" if factor == 100 else "loss"
            table.row(name, figure, *(said(values[dtype], digits) for dtype in DTYPES), words, *facts)
        report.cells[name] = cell
    report.note(
        "In brackets every seed. +- is the deviation over seeds, and of a difference its standard error; "
        "weights and epochs are those of both."
    )
    report.save()


if __name__ == "__main__":
    main()
