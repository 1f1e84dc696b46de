"""Data sets in files that a pattern names, as the command line has them: each process reads its own parts.

Of all files the targets are looked at once, for the classes that there are; X stays where it is.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._fileio import FileError
from rewire._format import plural
from rewire._targets import class_numbers
from rewire._warn import warn
from rewire.datasets._dataset import Dataset, name_of, read_targets, source_of
from rewire.datasets._parts import KINDS, files_of, opened
from rewire.datasets._tables import ARRAYS, Column, columns_of_csv, data_set, kind_of, read_table
from rewire.streams.joined import Columns, refuse_other_columns
from rewire.streams.parquet import ClassColumn, columns_of, values_of, width_of
from rewire.streams.parts import Parts

__all__ = ["FileParts", "beside", "is_pattern", "load_pattern"]

_TEXT = (".csv", ".tsv")  # which are in memory as long as they are open
_VALIDATION = 0x46696C65  # "File": which files are held out depends on their number alone


class FileParts(Parts):
    """Files of which it is known how many samples they have.

    Attributes
    ----------
    shape : (int, int)
        Samples of all of them, and features.
    """

    def __init__(self, files: Sequence[str], read: Any, rows: Sequence[int], n_features: int) -> None:
        super().__init__(files, read)
        self._files, self._rows = list(files), list(rows)
        self.shape = sum(rows), n_features

    def steps(self, batch: int, shards: int) -> int:
        """Steps of an epoch in which each shard has so many samples of a batch: those of the longest."""
        return -(-max(sum(self._rows[k::shards]) for k in range(shards)) // batch)

    def held_out(self, fraction: float) -> tuple[FileParts, FileParts]:
        """Those to learn from, and so many, whole ones, to follow an accuracy on.

        Raises
        ------
        ValueError
            If nothing would be left on one of the two sides.
        """
        n = len(self)
        count = round(fraction * n)
        if not 0 < count < n:
            raise ValueError(
                f"validation {fraction:g} of {plural(n, 'file')} leaves nothing on one of the two sides: "
                "whole files are held out"
            )
        held = np.random.default_rng([n, _VALIDATION]).permutation(n)[:count].tolist()
        return self._some([k for k in range(n) if k not in held]), self._some(sorted(held))

    def _some(self, numbers: Sequence[int]) -> FileParts:
        files, rows = [self._files[k] for k in numbers], [self._rows[k] for k in numbers]
        return FileParts(files, self._read, rows, self.shape[1])


def beside(X: Any, y: Any) -> Any:
    """What ``fit`` and ``evaluate`` take beside X: parts have their targets themselves."""
    return None if isinstance(X, Parts) else y


def is_pattern(name: str) -> bool:
    """Whether a name means the files that it is a pattern of, and none has it as it is."""
    return glob.has_magic(name) and not os.path.exists(name)


def load_pattern(
    pattern: str, targets: str = "auto", y: Column = -1, classes: Sequence[Any] | None = None
) -> Dataset:
    """A data set whose X is parts, a file each, and whose y is that of all of them.

    Parameters
    ----------
    pattern : str
        Of files of one kind: ``.npy``, ``.parquet``, ``.h5``, ``.csv`` or ``.tsv``.
    targets, y
        As of `rewire.datasets.load`.
    classes : sequence, optional
        Those that are known from before; others are refused.

    Raises
    ------
    ValueError
        Where no file has such a name, and for files that cannot be parts of one data set.
    FileError, ImportError
        As of `rewire.datasets.load`.
    """
    files = files_of(pattern)
    if not files:
        raise ValueError(f"no file has a name like {pattern}")
    kinds = sorted({kind_of(file) for file in files})
    if len(kinds) > 1 or kinds[0] not in (*KINDS, *_TEXT):
        raise ValueError(
            f"files of a pattern must be of one kind, of {', '.join((*KINDS, *_TEXT))}, got "
            f"{', '.join(kinds)} of {pattern}"
        )
    if kinds[0] in ARRAYS:
        _tell_of_test_set(files[0])
    first: tuple[str, Columns] = "", None
    seen: list[_Seen] = []
    for file in files:
        seen.append(_looked_at(file, y))
        refuse_other_columns(first, file, seen[-1].columns)
        if first[1] is None:
            first = file, seen[-1].columns
    typical = next((one for one in seen if len(one.y)), seen[0])
    for one in seen:
        _refuse_others(one, typical)
    each, width = [one.y for one in seen], typical.width
    whole, _, found_classes = read_targets(pattern, np.concatenate(each), None, targets)
    if found_classes is not None and classes is not None:
        known = np.array(classes)
        for file, found in zip(files, each, strict=True):
            class_numbers(found.reshape(-1), known, f"y of {file}")
        whole = class_numbers(np.array(found_classes), known, "y")[whole]
        found_classes = tuple(classes)
    labels: NDArray[Any] | None = None if found_classes is None else np.array(found_classes)
    if labels is not None and labels.dtype.kind in "iu" and np.array_equal(labels, np.arange(len(labels))):
        labels = None if each[0].ndim == 1 else labels  # those that are their numbers can stay where they are
    parts = FileParts(files, partial(_part, y=y, classes=labels), [len(one) for one in each], width)
    source = f"{plural(len(files), 'file')}, {source_of(pattern)}"
    return Dataset(name_of(pattern), parts, whole, None, None, found_classes, (width,), source)


class _Seen(NamedTuple):
    """What is known of a file: targets as they are stored, and columns where they have names."""

    path: str
    y: NDArray[Any]
    width: int
    columns: Columns

    def words(self) -> str:
        """What its targets are."""
        return "words" if self.y.dtype.kind in "US" else "numbers"


def _tell_of_test_set(path: str) -> None:
    """Warn of what is read of one file, and not of many."""
    X, _ = opened(path, None)
    if held := [name for name in ("X_test", "y_test") if name in X.parent]:
        warn(
            f"{path} holds {' and '.join(held)}, which nobody reads of many files: --validation holds out "
            "whole ones",
            UserWarning,
        )


def _refuse_others(one: _Seen, typical: _Seen) -> None:
    """FileError for a file whose features or targets are no such as those of another."""
    if one.width != typical.width:
        features = plural(one.width, "feature")
        raise FileError(one.path, f"has {features}, where {typical.path} has {typical.width}")
    if one.y.shape[1:] != typical.y.shape[1:]:
        raise FileError(
            one.path, f"holds y of shape {one.y.shape}, where {typical.path} has {typical.y.shape}"
        )
    if len(one.y) and one.words() != typical.words():
        raise FileError(
            one.path, f"holds {one.words()} for y, where {typical.path} has {typical.words()}: labels are "
            "words in all files, or numbers in all"
        )  # fmt: skip


def _looked_at(path: str, y: Column) -> _Seen:
    """Targets, features and columns of a file."""
    X, found = _opened(path, y)
    names: list[str] = []
    if isinstance(found, str):
        schema, names = X.schema_arrow, columns_of(X.schema_arrow)
        width = sum(width_of(schema, name) for name in names if name != found)
        try:
            found = values_of(X.read(columns=[found]).column(0), found)
        except ValueError as error:
            raise FileError(path, str(error)) from None
    else:
        width = X.shape[1] if len(X.shape) == 2 else 0
        if not width:
            raise FileError(path, f"must hold X of shape (n, n_features) to be one of many, got {X.shape}")
        if kind_of(path) in _TEXT:
            names = columns_of_csv(path)
    found = np.array(found)
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise FileError(path, "y holds NaN or infinity")
    return _Seen(path, found, width, tuple(names) if any(names) else None)


def _opened(path: str, y: Column) -> tuple[Any, Any]:
    """X, to be read in pieces where it is no text, and y, or the name of its column."""
    if kind_of(path) in _TEXT:
        arrays = read_table(path, y)
        return arrays["X"], arrays["y"]
    if kind_of(path) not in ARRAYS:
        return opened(path, y)
    X, found = opened(path, None)
    found = data_set(path, found)
    return X, np.char.decode(found, "utf-8") if found.dtype.kind == "S" else found


def _part(path: str, y: Column, classes: NDArray[Any] | None) -> tuple[Any, Any]:
    """A part, with classes by their numbers."""
    X, found = _opened(path, y)
    if classes is None:
        return X, found
    if isinstance(found, str):
        return X, ClassColumn(found, classes)
    return X, class_numbers(np.asarray(found).reshape(-1), classes, f"y of {path}")
