"""What happened while training, one row an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, overload

import numpy as np

from rewire._checks import boolean, describe, entries, integer, one_of_types
from rewire._foreign import ForeignAttributes

__all__ = ["History", "check_row"]


_COUNTS = ("nnz", "links_removed", "links_grown")
_SECONDS = ("training", "rewiring", "evaluation", "callbacks")
_FIGURES = ("loss", "accuracy", "r2", "lr", *(f"seconds_{what}" for what in _SECONDS))
_PLAIN = (str, int, float, type(None))


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row with Python's numbers in place of NumPy's; itself where there are none."""
    return {name: _python(value) for name, value in row.items()} if any(map(_numpy, row.values())) else row


def _numpy(value: Any) -> bool:
    return any(map(_numpy, value)) if isinstance(value, list | tuple) else isinstance(value, np.generic)


def _python(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_python(part) for part in value]
    return value.item() if isinstance(value, np.generic) else value


class History(ForeignAttributes):
    """Rows of numbers, one for every completed epoch, over all calls of ``fit``.

    Attributes
    ----------
    epochs : list of dict
        Keys: ``epoch`` (from 0), ``loss``, ``accuracy`` or ``r2`` (both over the epoch's training batches,
        dropout included; other than the accuracy of a cross entropy where ``metrics=True`` asks for it),
        ``val_loss`` and ``val_accuracy`` or ``val_r2`` (with validation data), ``lr``,
        ``nnz`` (links of each layer with weights), ``links_removed`` and ``links_grown`` (likewise, by the
        epoch's rewirings), ``seconds_training``, ``seconds_rewiring``, ``seconds_evaluation``,
        ``seconds_callbacks``. A :class:`rewire.LinkLog` adds ``links_survived``, ``links_explored``,
        ``link_age_mean``, ``link_age_median`` and ``exploration_rate``.
    interrupted : bool
        Whether the last call of ``fit`` ended by Ctrl-C.

    Examples
    --------
    ``history["loss"]`` is a column, and ``"loss" in history`` whether there is one; ``history[-1]`` is the
    last row, ``len(history)`` counts rows and ``for row in history`` walks through them, so that
    ``pandas.DataFrame(history)`` is a table.
    """

    def __init__(self) -> None:
        self.epochs: list[dict[str, Any]] = []
        self.interrupted = False

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.epochs)

    @overload
    def __getitem__(self, key: str) -> list[Any]: ...

    @overload
    def __getitem__(self, key: slice) -> list[dict[str, Any]]: ...

    @overload
    def __getitem__(self, key: int) -> dict[str, Any]: ...

    def __getitem__(self, key: str | int | slice) -> Any:
        if not isinstance(key, str):
            return self.epochs[key]
        if not any(key in row for row in self.epochs):
            raise KeyError(f"no column {key!r}; there are {', '.join(self.columns) or 'no rows yet'}")
        return [row.get(key) for row in self.epochs]

    def __contains__(self, key: object) -> bool:
        return any(key in row for row in self.epochs)

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order of appearance."""
        return list(dict.fromkeys(key for row in self.epochs for key in row))

    def to_dict(self, *, copy: bool = True) -> dict[str, Any]:
        """JSON-able description; :meth:`from_dict` reads it back.

        Parameters
        ----------
        copy : bool
            Whether rows are copies, or the history's own where these are JSON-able as they are.
        """
        rows = [dict(row) if copy else row for row in map(_plain, self.epochs)]
        return {"interrupted": self.interrupted, "epochs": rows}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any], *, copy: bool = True) -> History:
        """The history of a ``to_dict()``.

        Parameters
        ----------
        copy : bool
            False takes its rows over: for whoever has read them from a file, where there may be many.
        """
        one_of_types("found", found, Mapping, "a dict as to_dict() gives")
        entries("history", found, ("interrupted", "epochs"))
        history = cls()
        history.interrupted = boolean("interrupted", found["interrupted"])
        for row in one_of_types("epochs", found["epochs"], list, "a list of rows"):
            one_of_types("a row", row, Mapping, "a dict")
            history.epochs.append(dict(row) if copy else row)
        return history

    def check(self, epoch: int, layers: int) -> None:
        """ValueError or TypeError unless these are rows of a trainer after ``epoch`` epochs.

        Columns that :class:`History` does not know may hold numbers, NumPy's as well, words and flat lists of
        them.
        """
        before = -1
        for position, row in enumerate(map(_plain, self.epochs)):
            where = f"history row {position}"
            before = integer(f"{where}: epoch", row.get("epoch"), low=before + 1, high=epoch - 1)
            check_row(where, row, layers)

    def __repr__(self) -> str:
        note = ", interrupted" if self.interrupted else ""
        return f"History({len(self)} epochs{note})"


def check_row(where: str, row: Mapping[str, Any], layers: int) -> None:
    """ValueError or TypeError unless this is a row of a network of so many layers with weights.

    ``where`` is what the row is called.
    """
    for name, value in row.items():
        if name in _COUNTS:
            if not isinstance(value, list) or len(value) != layers:
                raise ValueError(f"{where}: {name} must be {layers} counts, got {describe(value)}")
            for count in value:
                integer(f"{where}: {name}", count, low=0)
        elif name in _FIGURES or name.startswith("val_"):
            if isinstance(value, bool) or not isinstance(value, int | float | None):
                raise TypeError(f"{where}: {name} must be a number or null, got {describe(value)}")
        else:
            parts = value if isinstance(value, list | tuple) else [value]
            if not isinstance(name, str) or not all(isinstance(p, _PLAIN) for p in parts):
                raise TypeError(f"{where}: {describe(name)} must be numbers or words in a row")
    for name in ("loss", "lr"):
        if name in row and (row[name] is None or not math.isfinite(row[name])):
            raise ValueError(f"{where}: {name} must be finite, got {describe(row[name])}")
