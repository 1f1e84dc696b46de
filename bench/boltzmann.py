"""Restricted Boltzmann machines on the digits: sparse beside dense, and beside scikit-learn's BernoulliRBM.

100 hidden units, 30 passes, batches of 10, pixels / 16 as probabilities. Pseudo-likelihoods are of all 64
units of the test images' pixels above one half, not of one unit at random; the classifier is a logistic
regression on the hidden units' probabilities. scikit-learn's learning rate is the best of a grid on held-out
training images, chosen once for each of the two figures; rewire's is its default.
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

SEEDS, HIDDEN, PASSES = 5, 100, 30
RATES = (0.01, 0.03, 0.06, 0.1, 0.2, 0.3)
PART = 30.0  # percent of scikit-learn's weights, at most
OURS: dict[str, dict[str, Any]] = {
    "rewire, SET": {},
    "rewire, links stay": {"rewiring": None},
    "rewire, SET, persistent chains": {"persistent": True, "learning_rate": 0.01},
    "rewire, all weights": {"density": 1.0, "rewiring": None},
}


def data(tiny: bool) -> tuple[np.ndarray, ...]:
    """X, y, X_test, y_test of the digits, in [0, 1]."""
    import rewire as rw

    found = rw.datasets.load("digits")
    X, X_test = found.X / 16.0, found.X_test / 16.0
    some = slice(200 if tiny else None)
    return X[some], found.y[some], X_test[some], found.y_test[some]


def pseudo_likelihood(W: np.ndarray, b: np.ndarray, c: np.ndarray, X: np.ndarray) -> float:
    """Mean over samples of the sum over all units of log P(unit | all others), by dense arrays."""

    def energy(v: np.ndarray) -> np.ndarray:
        return -(v @ b) - np.logaddexp(0.0, v @ W.T + c).sum(axis=1)

    v = (X > 0.5).astype(np.float64)
    whole, found = energy(v), np.zeros(len(v))
    for i in range(v.shape[1]):
        flipped = v.copy()
        flipped[:, i] = 1.0 - v[:, i]
        found -= np.logaddexp(0.0, whole - energy(flipped))
    return float(found.mean())


def figures(model: Any, weights: Any, sets: tuple[np.ndarray, ...], seconds: float) -> dict[str, float]:
    """Of a machine that was trained."""
    from sklearn.linear_model import LogisticRegression

    X, y, X_test, y_test = sets
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # iterations of the solver
        classifier = LogisticRegression(C=100.0, max_iter=500).fit(model.transform(X), y)
    W = weights.toarray() if hasattr(weights, "toarray") else weights
    b, c = model.intercept_visible_.astype(np.float64), model.intercept_hidden_.astype(np.float64)
    return {
        "weights": int(weights.nnz if hasattr(weights, "nnz") else weights.size),
        "likelihood": pseudo_likelihood(W.astype(np.float64), b, c, X_test),
        "accuracy": 100 * classifier.score(model.transform(X_test), y_test),
        "seconds": seconds,
    }


def trained(model: Any, sets: tuple[np.ndarray, ...]) -> dict[str, float]:
    began = time.process_time()
    model.fit(sets[0])
    return figures(model, model.components_, sets, time.process_time() - began)


def theirs(sets: tuple[np.ndarray, ...], seed: int, rate: float, passes: int) -> dict[str, float]:
    from sklearn.neural_network import BernoulliRBM

    return trained(BernoulliRBM(HIDDEN, learning_rate=rate, n_iter=passes, random_state=seed), sets)


def ours(sets: tuple[np.ndarray, ...], seed: int, given: dict[str, Any], passes: int) -> dict[str, float]:
    from rewire import SparseBernoulliRBM

    changes = {"n_components": HIDDEN, "n_iter": passes, "random_state": seed, "n_jobs": 1, **given}
    return trained(SparseBernoulliRBM(**changes), sets)


def held_out(sets: tuple[np.ndarray, ...]) -> tuple[np.ndarray, ...]:
    """A fifth of the training images instead of the test images."""
    X, y = sets[:2]
    order = np.random.default_rng(0).permutation(len(X))
    some, rest = order[: len(X) // 5], order[len(X) // 5 :]
    return X[rest], y[rest], X[some], y[some]


def mean(rows: list[dict[str, float]], name: str) -> float:
    return statistics.mean(row[name] for row in rows)


def main() -> None:
    report = Report("boltzmann", options(__doc__, share=240))
    tiny = report.arguments.tiny
    sets, seeds, passes = data(tiny), range(1 if tiny else SEEDS), 1 if tiny else PASSES
    grid = {}
    for rate in RATES[:: 3 if tiny else 1]:
        rows = [
            report.cell(f"grid/{rate}/{seed}", lambda r=rate, s=seed: theirs(held_out(sets), s, r, passes))
            for seed in seeds
        ]
        if None not in rows:
            grid[rate] = rows
    table = report.table(
        f"Digits, {HIDDEN} hidden units, {passes} passes, {len(seeds)} seeds",
        ["machine", "weights", "pseudo-likelihood", "logistic regression on top, %", "s"],
    )

    def row(name: str, rows: list[dict[str, float]]) -> None:
        spread = [
            f"{min(r[k] for r in rows):.1f}..{max(r[k] for r in rows):.1f}"
            for k in ("likelihood", "accuracy")
        ]
        table.row(
            name, int(mean(rows, "weights")), f"{mean(rows, 'likelihood'):.2f} ({spread[0]})",
            f"{mean(rows, 'accuracy'):.1f} ({spread[1]})", f"{mean(rows, 'seconds'):.1f}",
        )  # fmt: skip

    best: dict[str, list[dict[str, float]]] = {}
    for name in ("likelihood", "accuracy") if grid else ():
        rate = max(grid, key=lambda rate: mean(grid[rate], name))
        best[name] = [
            report.cell(f"scikit-learn/{rate}/{seed}", lambda r=rate, s=seed: theirs(sets, s, r, passes))
            for seed in seeds
        ]
        about = {"likelihood": "pseudo-likelihood", "accuracy": "the classifier"}[name]
        row(f"scikit-learn, rate {rate:g}, best for {about}", best[name])
    for name, given in OURS.items():
        rows = [
            report.cell(f"{name}/{seed}", lambda g=given, s=seed: ours(sets, s, g, passes)) for seed in seeds
        ]
        if None in rows:
            continue
        row(name, rows)
        if not given and best:
            part = 100 * mean(rows, "weights") / mean(best["likelihood"], "weights")
            for figure, words in (("likelihood", "nats"), ("accuracy", "points")):
                gained = mean(rows, figure) - mean(best[figure], figure)
                report.judge(
                    "RBM", f"{figure} above scikit-learn's best with at most {PART:g} % of its weights",
                    f"{gained:+.2f} {words} with {part:.1f} %", gained > 0 and part <= PART,
                )  # fmt: skip
    report.save()


if __name__ == "__main__":
    main()
