"""Samples taken apart and put together: rows of checked data as checked data."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rewire._inputs import CsrSource, DenseSource, Source
from rewire._targets import Targets

__all__ = ["Gathered", "Samples", "chosen", "joined_targets", "joined_weights"]

Rows = slice | NDArray[np.int64]


class Samples(NamedTuple):
    """Data that have been checked and wrapped: all there are, or some of them."""

    source: Source
    targets: Targets
    weight: NDArray[np.float64] | None


def chosen(some: Samples, rows: Rows) -> Samples:
    """Rows of it; arrays are not copied for a slice."""
    weight = None if some.weight is None else some.weight[rows]
    return Samples(_source(some.source, rows), _targets(some.targets, rows), weight)


def _source(source: Source, rows: Rows) -> Source:
    if isinstance(source, DenseSource):
        found = DenseSource(source.x[rows], source.name)
        found.largest = source.largest
        return found
    assert isinstance(source, CsrSource)
    return _csr(source, rows)


def _csr(source: CsrSource, rows: Rows) -> CsrSource:
    which = np.arange(source.n_samples)[rows]
    lengths = np.diff(source.indptr)[which]
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    at = np.arange(indptr[-1]) + np.repeat(source.indptr[which] - indptr[:-1], lengths)
    return _new_csr(source, indptr, source.columns[at], source.values[at])


def _new_csr(like: CsrSource, indptr: Any, columns: NDArray[Any], values: NDArray[Any]) -> CsrSource:
    """Another one of these entries, which have been checked."""
    found = copy.copy(like)
    found.indptr, found.columns, found.values = indptr, columns, values
    found.n_samples = len(indptr) - 1
    found.longest = int(np.diff(indptr).max(initial=0))
    return found


def _targets(targets: Targets, rows: Rows) -> Targets:
    if targets.labels is not None:
        return Targets(labels=np.ascontiguousarray(targets.labels[rows]))
    if targets.sparse is not None:
        return Targets(sparse=_csr(targets.sparse, rows))
    assert targets.values is not None
    return Targets(values=targets.values[rows])


class Gathered:
    """Samples that are put together one piece after the other: no piece is in memory twice.

    Parameters
    ----------
    samples : int
        How many there are to be; there may be fewer in the end.
    """

    def __init__(self, samples: int) -> None:
        self._most = samples
        self._clear()

    def _clear(self) -> None:
        self.samples, self._largest, self._name = 0, 0.0, ""
        self._room: NDArray[Any] | None = None  # of a dense X
        self._csr: list[CsrSource] = []
        self._rest: list[tuple[Targets, NDArray[np.float64] | None]] = []

    def add(self, some: Samples) -> None:
        """Take these as well; TypeError if X is sparse in some pieces only."""
        source, n = some.source, some.source.n_samples
        dense = isinstance(source, DenseSource)
        if self.samples and dense != (self._room is not None):
            one, other = (source.name, self._name) if dense else (self._name, source.name)
            raise TypeError(f"X must be sparse in all batches, or in none: {other} is, and {one} is not")
        if isinstance(source, DenseSource):
            x = source.x
            if self._room is None:
                whole = n == self._most
                self._room = x if whole else np.empty((self._most, x.shape[1]), x.dtype)
            else:
                self._room = self._room.astype(np.result_type(self._room.dtype, x.dtype), copy=False)
            if self._room is not x:
                self._room[self.samples : self.samples + n] = x
        else:
            assert isinstance(source, CsrSource)
            self._csr.append(source)
        self.samples += n
        self._largest, self._name = max(self._largest, source.largest), source.name
        self._rest.append((some.targets, some.weight))

    def taken(self) -> Samples:
        """All of them; TypeError where y or weights are of several kinds. It is empty afterwards."""
        source: Source
        if self._room is not None:
            source = DenseSource(self._room[: self.samples], self._name)
            source.largest = self._largest
        else:
            source = _joined_csr(self._csr)
        found = Samples(
            source, joined_targets([y for y, _ in self._rest]), joined_weights([w for _, w in self._rest])
        )
        self._clear()
        return found


def joined_targets(each: list[Targets]) -> Targets:
    """All targets, one after the other; TypeError where they are of several kinds."""
    sparse = [one.sparse for one in each if one.sparse is not None]
    if len(sparse) == len(each):
        return Targets(sparse=_joined_csr(sparse))
    if sparse:
        raise TypeError("y must be sparse in all batches, or in none, got both")
    labels, values = _joined([one.labels for one in each], "y"), _joined([one.values for one in each], "y")
    return Targets(labels=labels, values=values)


def _joined_csr(each: Sequence[CsrSource]) -> CsrSource:
    if len(each) == 1:
        return each[0]
    lengths = np.concatenate([np.diff(one.indptr) for one in each])
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    columns = np.concatenate([one.columns for one in each])
    found = _new_csr(each[0], indptr, columns, np.concatenate([one.values for one in each]))
    found.largest = max(one.largest for one in each)
    return found


def joined_weights(each: list[NDArray[np.float64] | None]) -> NDArray[np.float64] | None:
    """All weights, or none; TypeError where some are there."""
    return _joined(each, "sample_weight")


def _joined(arrays: list[Any], name: str) -> NDArray[Any] | None:
    """Arrays one after the other, or none of them."""
    if all(a is None for a in arrays):
        return None
    if any(a is None for a in arrays):
        raise TypeError(f"{name} must be of one kind in all batches, got some without it or of another kind")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
