"""A column of the history that somebody watches for its best row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Real
from typing import Any, NamedTuple

from rewire._checks import choice, describe, text
from rewire.callbacks.base import State

__all__ = ["MODES", "Watched"]

MODES = ("auto", "min", "max")


class Watched(NamedTuple):
    """Which column, and which direction is better.

    Parameters
    ----------
    argument : str
        What the column is called in errors: the argument that named it.
    column : str
        ``"val_loss"``, ``"accuracy"``, ...
    mode : {"auto", "min", "max"}
        auto: losses down, everything else up, but times and rates, which need one of the others.
    """

    argument: str
    column: str
    mode: str

    @classmethod
    def checked(cls, argument: str, column: Any, mode: Any) -> Watched:
        """From what a user gave: TypeError or ValueError unless it can be watched."""
        watched = cls(argument, text(argument, column), choice("mode", mode, MODES))
        if mode == "auto" and (column == "lr" or column.startswith("seconds_")):
            raise ValueError(f"mode must be 'min' or 'max' with {argument}={column!r}, got 'auto'")
        return watched

    @property
    def down(self) -> bool:
        """Whether less is better."""
        return self.mode == "min" or (self.mode == "auto" and self.column.endswith("loss"))

    def same(self, other: Watched) -> bool:
        """Whether the best of one is the best of the other."""
        return (self.column, self.down) == (other.column, other.down)

    def check_data(self, state: State, who: str) -> None:
        """ValueError for a figure of validation data when there are none."""
        if self.column.startswith("val_") and not state.validates:
            raise ValueError(
                f"{who} watches {self.column!r}, which needs validation_data; "
                f"give some to fit or use {self.argument}={self.column.removeprefix('val_')!r}"
            )

    def better(self, row: Mapping[str, Any], best: float | None, by_more_than: float = 0.0) -> float | None:
        """The figure of a new row if it is the best so far, else None.

        One that could not be computed (None), or is not finite, is never the best.

        Raises
        ------
        ValueError
            If the history has no such column, or not one of numbers.
        """
        if self.column not in row:
            raise ValueError(
                f"{self.argument} must be a column of the history ({', '.join(row)}), got {self.column!r}"
            )
        value = row[self.column]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, Real):
            raise ValueError(
                f"{self.argument} must be a column of numbers, {self.column!r} has {describe(value)}"
            )
        figure = float(value)
        if not math.isfinite(figure):
            return None
        if best is not None and not (best - figure if self.down else figure - best) > by_more_than:
            return None
        return figure
