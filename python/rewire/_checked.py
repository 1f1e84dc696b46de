"""Pieces of data, checked as they come, in whatever process: errors say which piece it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _checks
from rewire._inputs import Source, as_source
from rewire._moments import levels
from rewire._targets import is_whole
from rewire.losses import Loss, Targets
from rewire.streams.joining import Samples
from rewire.streams.pieces import Piece

__all__ = ["checked", "checked_inputs", "checked_targets", "targets_of_part"]


def checked_inputs(piece: Piece, n_in: int, which: str = "") -> tuple[Source, NDArray[np.float64] | None]:
    """The inputs of a piece, and the weights of its samples; ``which`` stands before X in errors."""
    source = as_source(piece.x, n_in, f"{which}X{piece.place}")
    if piece.weight is None:
        return source, None
    name = f"{which}sample_weight{piece.place}"
    weight = _checks.float_vector(name, piece.weight, source.n_samples, low=0.0)
    if levels(weight[weight > 0]).any():
        raise ValueError(
            f"{name} must be 0 or within 2^-200 and 2^200, so that those of all pieces can be compared, "
            f"got {weight[levels(weight) != 0][0]:g}"
        )
    return source, weight


def checked(
    piece: Piece, n_in: int, check_targets: Callable[[Any, str], Targets], which: str = ""
) -> Samples:
    """All of a piece; ``check_targets`` wraps y, and gets its name in errors."""
    if piece.y is None:
        raise TypeError(
            f"{which}y must be there: {which}X{piece.place} has come without it, got None; batches are "
            "tuples (X, y), and arrays and tables have y beside them"
        )
    source, weight = checked_inputs(piece, n_in, which)
    targets = check_targets(piece.y, f"{which}y{piece.place}")
    if targets.n_samples != source.n_samples:
        raise ValueError(
            f"{which}X and y must have as many rows, got {source.n_samples} and {targets.n_samples}"
            f"{piece.place and f' in {which}X{piece.place}'}"
        )
    return Samples(source, targets, weight)


def checked_targets(y: Any, name: str, loss: Loss, n_out: int, dtype: str | None) -> Targets:
    """Targets of a part, within its range in the network's dtype; None: whoever knows their units looks."""
    targets = targets_of_part(y, name, loss, n_out)
    if dtype is not None:
        loss.check_range(targets, dtype, name)
    return targets


def targets_of_part(y: Any, name: str, loss: Loss, n_out: int) -> Targets:
    """Targets of a loss. A file that has one type for all columns has labels as floating-point numbers.

    Whole ones are labels where the loss takes no others: whoever names files cannot convert them.
    """
    try:
        return loss.targets(y, n_out, name)
    except TypeError:
        if not isinstance(y, np.ndarray) or y.ndim != 1 or not is_whole(y):
            raise
        return loss.targets(y.astype(np.int64), n_out, name)
