"""Which sample it is whose values are no numbers, where scikit-learn's checks do not say."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from rewire._inputs import numbers_of
from rewire._targets import refuse_where

__all__ = ["named_values"]

_LOOKED_AT = 1000  # rows at a time, to tell columns of words from others


@contextlib.contextmanager
def named_values(**values: Any) -> Iterator[None]:
    """Let what is no number be named by argument, row and column: too large an integer of Python's, a word.

    scikit-learn says what came but not of which argument. The kind of error stays the same. Columns of words
    are said with what makes numbers of them.
    """
    try:
        yield
    except (OverflowError, TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        for name, value in values.items():
            if "string" in str(error) and (words := _words_in(name, value)) is not None:
                raise kind(words) from None
        if any(re.search(rf"\b{name}\b", str(error)) for name in values):
            raise
        for name, value in values.items():
            if (objects := _objects(value)) is None:
                continue
            try:
                numbers = numbers_of(objects, name)
            except (TypeError, ValueError) as named:
                raise kind(str(named)) from None
            refuse_where(~np.isfinite(numbers), numbers, name, "be finite")
        raise


def _objects(value: Any) -> NDArray[Any] | None:
    """An array of text or of objects; None for all else, and for a ragged list, of which NumPy makes none."""
    if issparse(value):
        return None
    try:
        found = np.asarray(value)
    except ValueError:
        return None
    return found.astype(object) if found.dtype.kind in "OSUT" else None


def _words_in(name: str, value: Any) -> str | None:
    """What to say of the first word, or of numbers that are text; None where there is neither."""
    for first in range(0, _rows_of(value), _LOOKED_AT):
        cells = _cells(value, first)
        found = np.array([_is_word(cell) for cell in cells.flat], bool).reshape(cells.shape)
        if found.any():
            break
    else:
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "SU" or not value.size:
            return None
        return f"{name} must hold real numbers, got {value.dtype}: give {name}.astype(float)"
    row, column = np.argwhere(found)[0].tolist()
    must = f"{name} must hold real numbers, got {str(cells[row, column])!r} in row {first + row}"
    if name != "X":
        return f"{must}: words are classes, for a classifier"
    columns = list(getattr(value, "columns", range(cells.shape[1])))
    with_words = [columns[at] for at in np.flatnonzero(found.any(axis=0))]
    return (
        f"{must}, column {columns[column]!r}: numbers of words are made by sklearn.pipeline.make_pipeline("
        "sklearn.compose.make_column_transformer((sklearn.preprocessing.OneHotEncoder("
        f"handle_unknown='ignore'), {with_words!r}), remainder='passthrough'), model)"
    )


def _rows_of(value: Any) -> int:
    """How many rows there are; none of what is no table."""
    with contextlib.suppress(TypeError):
        return len(value)
    return 0


def _cells(value: Any, first: int) -> NDArray[Any]:
    """Rows from this one on as objects, shape (rows, columns); none of numbers, or of what is no table."""
    rows = slice(first, first + _LOOKED_AT)
    with contextlib.suppress(TypeError, ValueError):
        table = value.iloc[rows] if hasattr(value, "iloc") else value
        part = table[rows] if isinstance(table, list | tuple | np.ndarray) else np.asarray(table, object)
        cells = np.asarray(part, object)[:_LOOKED_AT]
        if cells.ndim in (1, 2) and np.asarray(part).dtype.kind not in "biuf":
            return cells.reshape(len(cells), -1)
    return np.empty((0, 1), object)


def _is_word(cell: Any) -> bool:
    """Whether this is text, and not that of a number."""
    try:
        return isinstance(cell, str) and float(cell) is None
    except ValueError:
        return True
