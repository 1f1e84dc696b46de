"""Which kind of data that come piece by piece something is, if it is any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe, detached
from rewire._inputs import Source, as_source, is_lazy
from rewire._mapped import is_mapped, mapped_source
from rewire.streams.iterated import Iterated, is_iterated
from rewire.streams.joined import Joined
from rewire.streams.parquet import Tabled, is_table
from rewire.streams.parts import Parts
from rewire.streams.pieces import Pieces, window_of
from rewire.streams.sliced import Rows, Sliced

__all__ = ["is_large", "joined", "pieces_of", "refuse_beside", "rows_of", "stays_in_file"]

_LESS_THAN_NOTHING = -1  # samples of a window: an array is read in pieces then, also one without rows


def pieces_of(
    x: Any,
    y: Any = None,
    weight: Any = None,
    which: str = "",
    *,
    window: int | None = None,
) -> Pieces | None:
    """What reads X, y and weights piece by piece; None where they are arrays in memory, or anything else.

    Parameters
    ----------
    x, y, weight : object
    which : str
        What stands before ``X`` and ``y`` in errors.
    window : int, optional
        Samples that an array may have, also in a mapped file, and is taken as a whole. By default those of
        the usual window for a mapped file, and as many as there are for one in memory.

    Raises
    ------
    TypeError, ValueError
        For targets beside batches that have their own, for shapes that do not fit, and for no rows.
    """
    found = _of_its_kind(x, y, weight, which, window)
    if found is not None and found.n_samples == 0:
        raise ValueError(f"{which}X must have at least one row, got {found.described()}")
    return found


def _of_its_kind(x: Any, y: Any, weight: Any, which: str, window: int | None) -> Pieces | None:
    """The same, also without rows."""
    if isinstance(x, Source):
        return None
    if is_table(x):
        return Tabled(x, y, weight, which)
    if isinstance(x, Parts):
        refuse_beside(x, y, weight, which)
        return joined(x, range(len(x)))
    if is_iterated(x):
        refuse_beside(x, y, weight, which)
        return Iterated(x, which)
    if is_lazy(x) or is_large(x, window):
        return Sliced(x, y, weight, which)
    beside = is_lazy(y) or is_lazy(weight)
    if not beside and (window is None or is_mapped(x)):
        return None
    x = _matrix(x)
    return Sliced(x, y, weight, which) if x is not None and (beside or x.shape[0] > (window or 0)) else None


def refuse_beside(x: Any, y: Any, weight: Any, which: str = "") -> None:
    """TypeError for targets or weights beside X that has its own."""
    what = "is in parts, which" if isinstance(x, Parts) else f"gives batches, {describe(x)}: they"
    for name, value in (("y", y), ("sample_weight", weight)):
        if value is not None:
            raise TypeError(
                f"{which}{name} must not be given where X {what} are (X, y) or (X, y, sample_weight), got "
                f"{describe(value)}"
            )


def joined(parts: Parts, numbers: Sequence[int]) -> Joined:
    """Some parts, opened: they are read one after the other."""
    return Joined(parts, numbers, _pieces_of_part)


def _pieces_of_part(x: Any, y: Any, weight: Any, which: str) -> Pieces:
    """What reads a part, also one that lies in memory."""
    if isinstance(x, Parts):
        raise TypeError(f"{which}X must be no parts again, got {describe(x)}")
    found = _of_its_kind(x, y, weight, which, _LESS_THAN_NOTHING)
    if found is None:  # which is no matrix
        as_source(x, None, f"{which}X")
    assert found is not None
    return found


def _matrix(x: Any) -> Any:
    """A matrix in memory; None where there is none: who takes arrays says what is wrong."""
    if not isinstance(getattr(x, "shape", None), tuple):
        try:
            x = np.asarray(detached(x))
        except Exception:  # of rows that are no rows
            return None
    return x if len(x.shape) == 2 else None


def is_large(x: Any, window: int | None = None) -> bool:
    """Whether an array in a mapped file has more samples than a window, and is read in pieces."""
    if not is_mapped(x) or x.ndim != 2:
        return False
    return bool(x.shape[0] > (window_of(x.shape[1]) if window is None else window))


def rows_of(x: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of X: of a large file they are read when they are needed."""
    if isinstance(x, Rows):
        return Rows(x.array, x.rows[rows])
    return Rows(x, rows) if is_large(x) else x[rows]


def stays_in_file(x: Any) -> Any:
    """A large array in a mapped file, or rows of one, checked, in the order and to the bits of one in memory.

    Its rows are read batch by batch. All else is given back as it is.
    """
    if not isinstance(x, Rows) and not is_large(x):
        return x
    array, rows = (x.array, x.rows) if isinstance(x, Rows) else (x, None)
    found = mapped_source(array, "X", rows)
    if found is None:  # by columns, or a map that is this process's alone: it lies there anyway
        return np.asarray(x)
    found.check_finite()
    return found
