"""What all contenders are trained and measured on: training samples, some held out, a test set.

Processes get it through a folder of arrays that they map into their memory: it is there once, however many
there are.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe, detached, number, refuse_iterables
from rewire._inputs import as_source
from rewire._record import record
from rewire.datasets import Dataset, hold_out, load
from rewire.datasets._dataset import unknown_classes, warn_of_many

__all__ = ["Task", "as_dataset"]

_CSR = ("data", "indices", "indptr")
_PARTS = ("X", "y", "X_validation", "y_validation", "X_test", "y_test")


@record
class Task:
    """Samples to train on, to choose by and to report on.

    Attributes
    ----------
    data : Dataset
        Training samples, without those held out, and the test set where there is one.
    validation : (X, y) or None
        Training samples that are held out, the same ones for all contenders and seeds.
    fraction : float
        Of the training samples, that is held out.
    """

    data: Dataset
    validation: tuple[Any, Any] | None
    fraction: float

    @classmethod
    def of(cls, data: Any, fraction: float) -> Task:
        """From what :func:`as_dataset` takes.

        Raises
        ------
        TypeError, ValueError
            As :func:`as_dataset`; if there would be nothing to measure on.
        """
        fraction = number("validation", fraction, low=0.0, high=1.0, open_high=True)
        found = as_dataset(data)
        if fraction == 0.0:
            if found.X_test is None:
                raise ValueError(
                    f"validation must be > 0 for {found.name}, which has no test set: there is nothing to "
                    "measure on"
                )
            return cls(found, None, fraction)
        held = hold_out(found, fraction)
        kept = replace(found, X=found.X[~held], y=found.y[~held])
        return cls(kept, (found.X[held], found.y[held]), fraction)

    @property
    def arrays(self) -> dict[str, Any]:
        """All arrays by name."""
        data, (X, y) = self.data, self.validation or (None, None)
        values = (data.X, data.y, X, y, data.X_test, data.y_test)
        return {name: value for name, value in zip(_PARTS, values, strict=True) if value is not None}

    def description(self) -> dict[str, Any]:
        """JSON-able: what tells these data from others."""
        digest = hashlib.blake2b(digest_size=16)
        for name, array in self.arrays.items():
            for part, plain in _plain_parts(name, array).items():
                digest.update(f"{part} {plain.dtype.str} {plain.shape}".encode())
                digest.update(np.ascontiguousarray(plain).data.cast("B") if plain.size else b"")
        counts = {name: int(array.shape[0]) for name, array in self.arrays.items() if name.startswith("X")}
        return {
            "name": self.data.name,
            "features": int(self.data.X.shape[1]),
            "classes": None if self.data.classes is None else len(self.data.classes),
            "train": counts["X"],
            "validation": counts.get("X_validation", 0),
            "test": counts.get("X_test", 0),
            "digest": digest.hexdigest(),
        }

    # --- for processes ------------------------------------------------------------------

    def store(self, folder: Path) -> None:
        """Write all arrays into a folder."""
        said: dict[str, Any] = {}
        for name, array in self.arrays.items():
            parts = _plain_parts(name, array)
            said[name] = None if len(parts) == 1 else list(array.shape)
            for part, plain in parts.items():
                np.save(folder / f"{part}.npy", plain)
        data = self.data
        # Classes are positions by now: children need to know how many there are.
        said["classes"] = None if data.classes is None else len(data.classes)
        said["words"] = [data.name, data.source, list(data.feature_shape), self.fraction]
        (folder / "task.json").write_text(json.dumps(said))

    @classmethod
    def stored(cls, folder: Path) -> Task:
        """What :meth:`store` has written, mapped."""
        said = json.loads((folder / "task.json").read_text())
        found: dict[str, Any] = {
            name: _mapped(folder, name, said[name]) if name in said else None for name in _PARTS
        }
        name, source, feature_shape, fraction = said["words"]
        classes = None if said["classes"] is None else tuple(range(said["classes"]))
        data = Dataset(
            name,
            found["X"],
            found["y"],
            found["X_test"],
            found["y_test"],
            classes,
            tuple(feature_shape),
            source,
        )
        held = None if found["X_validation"] is None else (found["X_validation"], found["y_validation"])
        return cls(data, held, fraction)


def as_dataset(data: Any) -> Dataset:
    """A data set: by name or path, as it is, or of arrays.

    Parameters
    ----------
    data : str, path-like, Dataset, or (X, y) or (X, y, X_test, y_test)
        X of shape (samples, features), arrays or SciPy CSR. y holds classes if it is a vector of integers,
        booleans or words; floating-point numbers are targets of a regression, and so are tables (samples,
        outputs), but those of 0 and 1 as integers or booleans, which are labels.

    Raises
    ------
    TypeError, ValueError
        For something else; the array is named.
    """
    if isinstance(data, Dataset):
        return data
    if isinstance(data, str | os.PathLike):
        return load(data)
    if not isinstance(data, Sequence) or len(data) not in (2, 4):
        raise TypeError(
            "data must be the name of a data set, a path, a Dataset, (X, y) or (X, y, X_test, y_test), "
            f"got {describe(data)}"
        )
    X, y, X_test, y_test = (*data, None, None)[:4]
    X, y = _features("X", X), _targets("y", y)
    if X_test is not None:
        X_test, y_test = _features("X_test", X_test), _targets("y_test", y_test)
        if X_test.shape[1] != X.shape[1]:
            raise ValueError(f"X_test must have {X.shape[1]} features as X has, got {X_test.shape[1]}")
    for name, samples, targets in (("", X, y), ("_test", X_test, y_test)):
        if samples is not None and samples.shape[0] != targets.shape[0]:
            raise ValueError(
                f"X{name} and y{name} must have as many rows, got {samples.shape[0]} and {targets.shape[0]}"
            )
    classes = None
    if y.ndim == 1 and y.dtype.kind not in "f":
        given, (classes, y) = y, np.unique(y, return_inverse=True)
        warn_of_many(given, len(classes))
        if y_test is not None:
            unknown = np.setdiff1d(y_test, classes)
            if unknown.size:
                raise ValueError(unknown_classes(given, unknown))
            y_test = np.searchsorted(classes, y_test).astype(np.int64)
        y = y.astype(np.int64)
    names = None if classes is None else tuple(classes.tolist())
    return Dataset("arrays", X, y, X_test, y_test, names, (int(X.shape[1]),), "arrays")


def _features(name: str, X: Any) -> Any:
    """X in rows; a mask of rows has to work."""
    refuse_iterables(name, X)
    found = X.tocsr() if hasattr(X, "tocsr") else np.asarray(detached(X, name))
    if found.ndim != 2 or 0 in found.shape:
        raise ValueError(f"{name} must have shape (samples, features) without a zero, got {found.shape}")
    as_source(found, int(found.shape[1]), name)
    return found


def _targets(name: str, y: Any) -> Any:
    refuse_iterables(name, y, "(samples,)")
    found = y.tocsr() if hasattr(y, "tocsr") else np.asarray(detached(y, name))
    if found.dtype == object:  # words in a table of pandas
        found = np.array(found.tolist())
    if found.ndim not in (1, 2) or found.dtype.kind not in "biufUS" or 0 in found.shape:
        raise ValueError(
            f"{name} must be a vector of classes or an array of numbers, got shape {found.shape} "
            f"of {found.dtype}"
        )
    return found


def _plain_parts(name: str, array: Any) -> dict[str, NDArray[Any]]:
    """The arrays that a matrix is made of, by names of files."""
    if hasattr(array, "indptr"):
        return {f"{name}.{part}": getattr(array, part) for part in _CSR}
    return {name: np.asarray(array)}


def _mapped(folder: Path, name: str, shape: list[int] | None) -> Any:
    if shape is None:
        return np.load(folder / f"{name}.npy", mmap_mode="r")
    from scipy.sparse import csr_array

    parts = [np.load(folder / f"{name}.{part}.npy", mmap_mode="r") for part in _CSR]
    return csr_array(tuple(parts), shape=tuple(shape))
