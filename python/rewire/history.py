"""What happened while training, one row an epoch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from rewire._checks import one_of_types

__all__ = ["History"]


class History:
    """Rows of numbers, one for every completed epoch, over all calls of ``fit``.

    Attributes
    ----------
    epochs : list of dict
        Keys: ``epoch`` (from 0), ``loss``, ``accuracy`` or ``r2`` (both over the epoch's training batches,
        dropout included), ``val_loss`` and ``val_accuracy`` or ``val_r2`` (with validation data), ``lr``,
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

    def to_dict(self) -> dict[str, Any]:
        """JSON-able copy; :meth:`from_dict` reads it back."""
        return {"interrupted": self.interrupted, "epochs": [dict(row) for row in self.epochs]}

    @classmethod
    def from_dict(cls, found: Mapping[str, Any]) -> History:
        """The history of a ``to_dict()``."""
        one_of_types("found", found, Mapping, "a dict as to_dict() gives")
        history = cls()
        history.interrupted = bool(found["interrupted"])
        history.epochs = [dict(row) for row in found["epochs"]]
        return history

    def __repr__(self) -> str:
        note = ", interrupted" if self.interrupted else ""
        return f"History({len(self)} epochs{note})"
