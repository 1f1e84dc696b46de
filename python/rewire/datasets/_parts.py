"""Data in many files, of which each process reads its own."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Mapping, Set
from functools import partial
from typing import Any

import numpy as np

from rewire import _checks
from rewire._fileio import FileError, open_regular
from rewire.datasets._tables import ARRAYS, kind_of, missing, position, readable, refuse_twice
from rewire.streams.parts import Parts

__all__ = ["KINDS", "files_of", "opened", "parts"]

_NO_LISTS = (bytes, bytearray, Set, Mapping)  # bytes hold numbers, and a set has another order in every run
KINDS = (".npy", ".parquet", *ARRAYS)


def parts(
    what: str | os.PathLike[str] | Iterable[Any],
    *,
    y: str | int | None = None,
    read: Callable[[Any], Any] | None = None,
) -> Parts:
    """Data in parts, for ``Trainer.fit``: with several workers each reads its own.

    Shard k of n, of those that a batch is cut into, has parts k, k + n, k + 2 n and so on. A batch has as
    many samples of each shard, so that the number of shards decides the bits, and not that of processes.

    Parameters
    ----------
    what : str, path-like or iterable
        A pattern of file names, such as ``"data/*.npy"``, which are sorted; or a list of one thing for each
        part, in this order: the name of a file, ``(X, y)`` or ``(X, y, sample_weight)`` as ``fit`` takes
        them, what gives batches of these, or whatever ``read`` opens.
    y : str or int, optional
        The column of the files that is y: the last one by default. Of ``.npy`` the first or the last. Whole
        floating-point numbers are labels for a loss of classes.
    read : function, optional
        Opens a part: gets one of ``what`` and gives ``(X, y)`` or ``(X, y, sample_weight)``, where X is
        anything with a shape and slices, an array, a table of pyarrow (then y is the name of a column), or a
        function of the epoch that gives batches alone. It is called in the process that reads the part. By
        default files in ``.npy``, ``.parquet`` (needs pyarrow) and ``.h5`` (needs h5py; data sets ``X`` and
        ``y``) are opened, and read in pieces. A part may be opened several times.

    Returns
    -------
    Parts
        For ``fit`` and ``evaluate`` of a trainer, and ``predict`` of a network: a part is opened once to be
        counted, and when it is read; 4 of a shard stay open.

    Raises
    ------
    TypeError, ValueError
        For a pattern that no file has, no parts, a set of them, and files of another kind.

    Examples
    --------
    >>> import numpy as np, rewire as rw
    >>> rng = np.random.default_rng(0)
    >>> data = rw.datasets.parts([(rng.normal(size=(50, 4)), rng.integers(0, 2, 50)) for _ in range(4)])
    >>> len(data), data.names[1]
    (4, 'part 1')
    """
    if isinstance(what, (str, os.PathLike)):
        given: list[Any] = files_of(os.fspath(what))
        if not given:
            raise ValueError(f"what must be a pattern that names of files have, got {os.fspath(what)!r}")
    else:
        if not isinstance(what, Iterable) or isinstance(what, _NO_LISTS):
            raise TypeError(
                f"what must be a pattern or one thing for each part, got {_checks.describe(what)}"
            )
        given = [os.fspath(one) if isinstance(one, os.PathLike) else one for one in what]
        if not given:
            raise ValueError("what must hold at least one part, got none")
    if read is not None:
        if not callable(read):
            raise TypeError(f"read must be a function that opens a part, got {_checks.describe(read)}")
        if y is not None:
            raise ValueError(f"y must not be given beside read, which knows it, got {y!r}")
        return Parts(given, read)
    given = [tuple(one) if isinstance(one, tuple) else one for one in given]  # not of a class of somebody's
    for one in given:
        if isinstance(one, str) and kind_of(one) not in KINDS:
            raise ValueError(
                f"what must name files in {', '.join(KINDS)}, which can be read in pieces, got {one!r}: "
                "read=..., a function, opens others"
            )
    if y is not None and not isinstance(y, str):
        y = _checks.integer("y", y)
    return Parts(given, partial(opened, y=y))


def files_of(pattern: str) -> list[str]:
    """The files that have such a name, sorted; one that has it as it is goes before all others."""
    return [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern))


def opened(one: Any, y: str | int | None) -> Any:
    """A part; what is no name of a file is open."""
    if not isinstance(one, str):
        return one
    with open_regular(one):
        pass
    kind = kind_of(one)
    try:
        return _array(one, y) if kind == ".npy" else _table(one, y) if kind == ".parquet" else _sets(one, y)
    except FileError:
        raise
    except (EOFError, OSError, ValueError) as error:  # those of pyarrow are such, too
        raise FileError(one, f"cannot be read: {error}") from error


def _array(path: str, y: str | int | None) -> Any:
    table = np.load(path, "r", allow_pickle=False)
    if table.ndim != 2 or table.shape[1] < 2:
        raise FileError(path, f"must be a table of two columns or more, got shape {table.shape}")
    at, last = position(path, -1 if y is None else y, [""] * table.shape[1], None), table.shape[1] - 1
    if at == last:
        return table[:, :-1], table[:, -1]
    if at == 0:
        return table[:, 1:], table[:, 0]
    raise FileError(path, f"must have y in its first or last column, of {table.shape[1]}, got y={y!r}")


def _table(path: str, y: str | int | None) -> Any:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise missing("pyarrow", path) from error
    table = pyarrow.parquet.ParquetFile(path)
    schema = table.schema_arrow
    refuse_twice(path, schema.names)
    names = readable(schema, y)
    at = position(path, -1 if y is None else y, names, None)
    assert at is not None
    return table, names[at]


def _sets(path: str, y: str | int | None) -> Any:
    if y is not None:
        raise FileError(path, f"has data sets X and y, and no columns, got y={y!r}")
    try:
        import h5py
    except ImportError as error:
        raise missing("h5py", path) from error
    file = h5py.File(path, "r")
    for name in ("X", "y"):
        if name not in file:
            raise FileError(path, f"lacks the data set {name}")
    return file["X"], file["y"]
