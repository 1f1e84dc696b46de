"""Small and noisy data: default estimators beside scikit-learn's MLP and a linear model, ten random splits.

Every set of `_small_sets.py` is split ten times into 70 % to train on and 30 % to test on. The MLP and the
linear model (LogisticRegression, Ridge) have scikit-learn's defaults behind a StandardScaler; the second MLP
of a regression also has its targets standardised. Accuracy, or R2 of a regression, as a mean over splits. The
difference to the better of the linear model and the first MLP is taken split by split, with its standard
error. Defaults were chosen on every other set and are reported on the others.
"""

from __future__ import annotations

import os

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "REWIRE_NUM_THREADS"), "1")

import statistics
import time
import warnings
from typing import Any

import numpy as np
from _report import Report, options
from _small_sets import CHOSEN_BY, ENOUGH_ROWS, REPORTED, SETS, Task

SPLITS = 10
TINY = ("iris", "diabetes")  # of scikit-learn itself
POINT = 0.01


def models(regression: bool, **training: Any) -> dict[str, Any]:
    """Of each contestant a model that is not fitted; networks have these arguments as well."""
    from sklearn.base import clone
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from rewire import SparseMLPClassifier, SparseMLPRegressor

    if not regression:
        return {
            "linear": make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)),
            "MLP": make_pipeline(StandardScaler(), MLPClassifier(random_state=0, **training)),
            "rewire": SparseMLPClassifier(random_state=0, n_jobs=1, **training),
        }
    mlp = MLPRegressor(random_state=0, **training)
    scaled = TransformedTargetRegressor(clone(mlp), transformer=StandardScaler())
    return {
        "linear": make_pipeline(StandardScaler(), Ridge()),
        "MLP": make_pipeline(StandardScaler(), mlp),
        "MLP, scaled y": make_pipeline(StandardScaler(), scaled),
        "rewire": SparseMLPRegressor(random_state=0, n_jobs=1, **training),
    }


def run(task: Task, splits: int, **training: Any) -> dict[str, Any]:
    """Of each contestant test scores, training scores and CPU seconds of `fit`, one a split."""
    from sklearn.model_selection import train_test_split

    found: dict[str, Any] = {"shape": task.X.shape, "regression": task.regression, "models": {}}
    for split in range(splits):
        X, X_test, y, y_test = train_test_split(
            task.X, task.y, test_size=0.3, random_state=split, stratify=None if task.regression else task.y
        )
        for name, model in models(task.regression, **training).items():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an MLP that has not converged is what users get
                began = time.process_time()
                model.fit(X, y)
                seconds = time.process_time() - began
            scores = found["models"].setdefault(name, {"test": [], "train": [], "seconds": []})
            for key, value in (
                ("test", model.score(X_test, y_test)), ("train", model.score(X, y)), ("seconds", seconds)
            ):  # fmt: skip
                scores[key].append(value)
    return found


def measured(name: str, splits: int, **training: Any) -> dict[str, Any]:
    """`run` of a set by name; without its package the reason alone."""
    try:
        task = SETS[name]()
    except ImportError as error:
        return {"missing": str(error)}
    return run(task, splits, **training)


def against(cell: dict[str, Any], others: tuple[str, ...]) -> tuple[str, float, float]:
    """The best of the others by mean, our mean difference to it, and the standard error of this."""
    tests = {name: np.array(scores["test"]) for name, scores in cell["models"].items()}
    best = max(others, key=lambda other: tests[other].mean())
    difference = tests["rewire"] - tests[best]
    return best, difference.mean(), difference.std(ddof=1) / len(difference) ** 0.5


def holds(cell: dict[str, Any]) -> bool:
    """Whether a set's difference is within a point or two standard errors of what it is held to."""
    rivals = ("linear", "MLP") if cell["shape"][0] >= ENOUGH_ROWS else ("MLP",)
    _, difference, error = against(cell, rivals)
    return bool(difference >= -max(POINT, 2 * error))


def tables(report: Report, title: str, names: list[str], splits: int, **training: Any) -> None:
    """A table of some sets, and its verdict."""
    table = report.table(
        title,
        ["set", "rows x features", "linear", "MLP", "MLP, scaled y", "rewire (training)",
         "to the better", "s: MLP, rewire", ""],
    )  # fmt: skip
    kept = {}
    for name in names:
        cell = report.cell(name, lambda name=name: measured(name, splits, **training))
        if cell is None:
            continue
        if "missing" in cell:
            report.note(f"{name} left out: {cell['missing']}")
            continue
        kept[name] = holds(cell)
        mean = {
            model: {key: statistics.mean(values) for key, values in scores.items()}
            for model, scores in cell["models"].items()
        }
        best, difference, error = against(cell, ("linear", "MLP"))
        table.row(
            name + (" (R2)" if cell["regression"] else ""),
            f"{cell['shape'][0]} x {cell['shape'][1]}",
            *(f"{mean[m]['test']:.3f}" if m in mean else "" for m in ("linear", "MLP", "MLP, scaled y")),
            f"{mean['rewire']['test']:.3f} ({mean['rewire']['train']:.3f})",
            f"{difference:+.3f} +- {error:.3f} ({best})",
            f"{mean['MLP']['seconds']:.2f}, {mean['rewire']['seconds']:.2f}",
            "within" if kept[name] else "short",
        )
    if kept:
        short = [name for name, held in kept.items() if not held]
        words = f"{len(kept) - len(short)} of {len(kept)}" + (f", short: {', '.join(short)}" if short else "")
        report.judge("small data", f"{title.lower()}: all within", words, not short)


def main() -> None:
    report = Report("small_data", options(__doc__, share=300))
    tiny = report.arguments.tiny
    splits, training = (2, {"max_iter": 5}) if tiny else (SPLITS, {})
    for title, names in (("Sets the defaults were chosen by", CHOSEN_BY), ("Sets reported on", REPORTED)):
        tables(report, title, [n for n in names if not tiny or n in TINY], splits, **training)
    report.note(
        f"Within: from {ENOUGH_ROWS} rows on at most a point (0.01) or two standard errors below the better "
        "of linear model and MLP, with fewer rows below the MLP. Seconds are CPU time of `fit`."
    )
    report.save()


if __name__ == "__main__":
    main()
