"""Samples for what learns without targets: these, if there are any, are carried along as they are stored."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import atomic_write
from rewire._record import record
from rewire.datasets._dataset import (
    Dataset,
    lacks,
    name_of,
    read_arrays,
    read_features,
    refuse_lengths,
    source_of,
)

__all__ = ["Samples", "samples_of", "load_samples", "write_samples"]


@record
class Samples:
    """Features, and targets that nobody looks at.

    Attributes
    ----------
    name : str
    X, X_test : ndarray or SciPy csr_array, (n, n_features)
        To learn from and for the test; ``X_test`` is None where there is none.
    targets : dict of str to ndarray
        ``y`` and ``y_test``, as far as there are such, as an archive holds them.
    feature_shape : tuple of int
        How the features of a sample are laid out.
    source : str
        Where the data came from, in words.
    """

    name: str
    X: Any
    X_test: Any
    targets: dict[str, NDArray[Any]]
    feature_shape: tuple[int, ...]
    source: str


def samples_of(data: Dataset) -> Samples:
    """A data set's, its classes by their names."""
    both = {"y": data.y, "y_test": data.y_test}
    names = None if data.classes is None else np.array(data.classes)
    targets = {key: y if names is None else names[y] for key, y in both.items() if y is not None}
    return Samples(data.name, data.X, data.X_test, targets, data.feature_shape, data.source)


def load_samples(path: str | os.PathLike[str], y: str | int | None = None) -> Samples:
    """``X``, and where they are there ``X_test``, ``y`` and ``y_test`` of a file.

    Features are checked as for a data set; of targets no more is asked than that they are as many. A table
    has features alone, but for a column that ``y`` names.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileError
        If it is not what its name says, is damaged, lacks ``X``, or its arrays do not fit together.
    """
    arrays, held = read_arrays(path, y)
    if "X" not in arrays:
        raise lacks(path, "X", held)
    X, X_test, feature_shape = read_features(path, arrays)
    targets = {name: y for name, y in arrays.items() if name in ("y", "y_test")}
    refuse_lengths(path, X, targets.get("y"), X_test, targets.get("y_test"))
    return Samples(name_of(path), X, X_test, targets, feature_shape, source_of(path))


def write_samples(path: str, X: Any, X_test: Any, samples: Samples, **more: NDArray[Any]) -> None:
    """Write an archive that `rewire.datasets.load` reads: new features for these samples, their targets.

    Parameters
    ----------
    path : str
        Replaced as a whole or not at all.
    X, X_test : ndarray or SciPy csr_array
        A sparse ``X`` is stored as `scipy.sparse.save_npz` does; an archive has no place for a second one.
    samples : Samples
        Whose features these are.
    **more : ndarray
        Other arrays for the archive, which data sets do not read.
    """
    arrays: dict[str, Any] = {**more, **samples.targets}
    if hasattr(X, "tocsr"):
        parts = {name: getattr(X, name) for name in ("data", "indices", "indptr")}
        arrays |= {**parts, "shape": np.array(X.shape), "format": np.array(b"csr")}
    else:
        arrays["X"] = X
    if X_test is not None:
        arrays["X_test"] = X_test
    with atomic_write(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)
