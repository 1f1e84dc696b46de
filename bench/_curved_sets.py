"""The made-up sets of `curved.py`: few features, targets that bend; with each its rows and its noise.

The seed is that of the rows. Every set that a default was ever tried on is among those that defaults were
chosen by.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from _small_sets import Task

Maker = Callable[[int], Task]


def _made(name: str, regression: bool = True, **given: float) -> Maker:
    """One of scikit-learn's."""

    def make(seed: int) -> Task:
        from sklearn import datasets

        return Task(*getattr(datasets, f"make_{name}")(random_state=seed, **given), regression)

    return make


def _waves(rows: int, features: int) -> Maker:
    """sin(3 x), or sin(2 x) cos(2 y)."""

    def make(seed: int) -> Task:
        rng = np.random.default_rng(seed)
        X = rng.uniform(-3, 3, (rows, features))
        y = np.sin(3 * X[:, 0]) if features == 1 else np.sin(2 * X[:, 0]) * np.cos(2 * X[:, 1])
        return Task(X, y + 0.05 * rng.normal(size=rows), True)

    return make


def _spiral(seed: int) -> Task:
    """Two arms of a turn and a half."""
    rng = np.random.default_rng(seed)
    turn, y = np.sqrt(rng.uniform(0, 1, 400)) * 3 * np.pi, rng.integers(0, 2, 400)
    angle = turn + np.pi * y
    X = np.stack([turn * np.cos(angle), turn * np.sin(angle)], axis=1) / 5
    return Task(X + 0.08 * rng.normal(size=X.shape), y, False)


def _squares(seed: int) -> Task:
    """A board of 3 x 3."""
    X = np.random.default_rng(seed).uniform(0, 3, (400, 2))
    return Task(X, np.floor(X).sum(axis=1).astype(int) % 2, False)


def _hills(seed: int) -> Task:
    """R. Franke, Scattered Data Interpolation: Tests of Some Methods, Math. of Computation 38 (1982)."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(0, 1, (400, 2))
    u, v = 9 * X.T
    y = (
        0.75 * np.exp(-((u - 2) ** 2 + (v - 2) ** 2) / 4) + 0.75 * np.exp(-((u + 1) ** 2) / 49 - (v + 1) / 10)
        + 0.5 * np.exp(-((u - 7) ** 2 + (v - 3) ** 2) / 4) - 0.2 * np.exp(-((u - 4) ** 2) - (v - 7) ** 2)
    )  # fmt: skip
    return Task(X, y + 0.02 * rng.normal(size=400), True)


def _sums(seed: int) -> Task:
    """A sine, a square and a product of four features, beside two that say nothing."""
    rng = np.random.default_rng(seed)
    X = rng.uniform(-2, 2, (400, 6))
    y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2 + X[:, 2] * X[:, 3]
    return Task(X, y + 0.3 * rng.normal(size=400), True)


CHOSEN_BY: dict[str, Maker] = {
    "circles": _made("circles", False, n_samples=300, noise=0.1, factor=0.6),
    "Friedman 1": _made("friedman1", n_samples=500, noise=1.0),
    "Friedman 3": _made("friedman3", n_samples=600, noise=0.1),
    "linear, 150 noisy rows": _made("regression", n_samples=150, n_features=10, noise=150.0),
    "linear, 50 rows": _made("regression", n_samples=50, n_features=5, noise=5.0),
    "moons": _made("moons", False, n_samples=300, noise=0.25),
    "spiral": _spiral,
    "waves, 1 feature": _waves(300, 1),
}
REPORTED: dict[str, Maker] = {
    "Friedman 2": _made("friedman2", n_samples=500, noise=100.0),
    "hills": _hills,
    "linear, 500 rows": _made("regression", n_samples=500, n_features=20, noise=5.0),
    "shells": _made("gaussian_quantiles", False, n_samples=400, n_features=3, n_classes=3),
    "squares": _squares,
    "sums": _sums,
    "waves, 2 features": _waves(1500, 2),
}
CURVED = CHOSEN_BY | REPORTED
