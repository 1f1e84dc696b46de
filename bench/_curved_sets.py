"""The made-up sets of `curved.py`: few features, targets that bend; with each its rows and its noise.

The seed is that of the rows. Alphabetically; every other one was for choosing defaults.
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


CURVED: dict[str, Maker] = {
    "circles": _made("circles", False, n_samples=300, noise=0.1, factor=0.6),
    "Friedman 1": _made("friedman1", n_samples=500, noise=1.0),
    "Friedman 2": _made("friedman2", n_samples=500, noise=100.0),
    "Friedman 3": _made("friedman3", n_samples=600, noise=0.1),
    "linear, 150 noisy rows": _made("regression", n_samples=150, n_features=10, noise=150.0),
    "linear, 50 rows": _made("regression", n_samples=50, n_features=5, noise=5.0),
    "linear, 500 rows": _made("regression", n_samples=500, n_features=20, noise=5.0),
    "moons": _made("moons", False, n_samples=300, noise=0.25),
    "spiral": _spiral,
    "waves, 1 feature": _waves(300, 1),
    "waves, 2 features": _waves(1500, 2),
}
CHOSEN_BY = list(CURVED)[::2]
REPORTED = list(CURVED)[1::2]
