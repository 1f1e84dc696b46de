"""Which kind of data that come piece by piece something is, if it is any."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire._checks import describe
from rewire._inputs import Source, is_lazy
from rewire.streams.iterated import Iterated, is_iterated
from rewire.streams.parquet import Tabled, is_table
from rewire.streams.pieces import Pieces, window_of
from rewire.streams.sliced import Rows, Sliced, is_mapped

__all__ = ["is_large", "pieces_of", "rows_of"]


def pieces_of(
    x: Any,
    y: Any = None,
    weight: Any = None,
    which: str = "",
    *,
    asked: bool = False,
    window: int | None = None,
) -> Pieces | None:
    """What reads X, y and weights piece by piece; None where they are arrays in memory, or anything else.

    Parameters
    ----------
    x, y, weight : object
    which : str
        What stands before ``X`` and ``y`` in errors.
    asked : bool
        Whether arrays in memory are to come in pieces, too.
    window : int, optional
        Samples that an array in a mapped file may have and counts as one in memory.

    Raises
    ------
    TypeError, ValueError
        For targets beside batches that have their own, and for shapes that do not fit.
    """
    if isinstance(x, Source):
        return None
    if is_table(x):
        return Tabled(x, y, weight, which)
    if is_iterated(x):
        for name, value in (("y", y), ("sample_weight", weight)):
            if value is not None:
                raise TypeError(
                    f"{which}{name} must not be given where X gives batches, {describe(x)}: they are "
                    f"(X, y) or (X, y, sample_weight), got {describe(value)}"
                )
        return Iterated(x, which)
    in_pieces = (
        is_lazy(x) or is_large(x, window) or ((asked or is_lazy(y) or is_lazy(weight)) and _is_matrix(x))
    )
    return Sliced(x, y, weight, which) if in_pieces else None


def _is_matrix(x: Any) -> bool:
    """Whether it is a matrix in memory; if not, who takes arrays says what is wrong with it, or makes one."""
    shape = getattr(x, "shape", None)
    return isinstance(shape, tuple) and len(shape) == 2


def is_large(x: Any, window: int | None = None) -> bool:
    """Whether an array in a mapped file has more samples than a window, and is read in pieces."""
    if not is_mapped(x) or x.ndim != 2:
        return False
    return bool(x.shape[0] > (window_of(x.shape[1]) if window is None else window))


def rows_of(x: Any, rows: NDArray[np.int64]) -> Any:
    """Some rows of X, ascending: of a large file they are read when they are needed."""
    return Rows(x, rows) if is_large(x) else x[rows]
