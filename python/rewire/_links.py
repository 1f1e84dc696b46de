"""Connections as people name them -- rows, columns, values -- turned into slots of a store.

A slot is what the core edits: one source of one group of rows. With ``group=1`` a slot is a
connection; with more, the rows of a group share their sources, so that a list of connections
must name whole groups. Every fault is found here or in the core, before anything changes, and
the message names the connection.
"""

from __future__ import annotations

import operator
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rewire._checks import describe, detached
from rewire._record import record

__all__ = [
    "Slots", "check_finite", "connections", "fitting", "index", "named_once", "slots_of", "values_of",
]  # fmt: skip


@record
class Slots:
    """Slots in canonical order, and where each named connection lies in them."""

    group: NDArray[np.int32]  # (n,)
    source: NDArray[np.int32]  # (n,)
    order: NDArray[np.int64]  # connections in the order of (group, source, row)
    owner: NDArray[np.int64]  # their slots
    inner: NDArray[np.int64]  # their rows, counted from the group's first

    def weights(self, values: NDArray[Any], width: int) -> NDArray[Any]:
        """Values of the connections as an array (n, width), zero where none is named."""
        weights = np.zeros((self.group.size, width), values.dtype)
        weights[self.owner, self.inner] = values[self.order]
        return weights


def _integers(name: str, value: ArrayLike, end: int) -> NDArray[np.int64]:
    """An array of integers; a bool, float or string is none."""
    try:
        x = np.asarray(detached(value, name))
    except ValueError:
        raise TypeError(f"{name} must be integers, got {describe(value)}") from None
    if x.size == 0 and not isinstance(value, np.ndarray):
        x = x.astype(np.int64)  # an empty list says nothing of its kind
    if x.dtype == object and all(
        isinstance(v, (int, np.integer)) and not isinstance(v, bool) for v in x.flat
    ):
        worst = next((v for v in x.flat if not 0 <= v < end), None)  # may not even fit 64 bits
        if worst is not None:
            raise IndexError(f"{name} must be in [0, {end}), got {worst}")
        x = x.astype(np.int64)
    if x.dtype.kind not in "iu":
        hint = f"; {name}.astype(np.int64) converts" if x.dtype.kind == "f" else ""
        if x.dtype.kind == "b" and x.ndim:
            hint = f"; np.nonzero({name}) are the positions of a mask"
        raise TypeError(f"{name} must be integers, got dtype {x.dtype}{hint}")
    if x.dtype == np.uint64:
        x = np.minimum(x, np.uint64(2**63 - 1))
    return x.astype(np.int64, copy=False)


def _as_form(x: NDArray[np.int64], form: tuple[int, ...]) -> NDArray[np.int64]:
    """As `numpy.broadcast_to`, as a copy: for a few numbers in less time."""
    made = np.empty(form, np.int64)
    made[...] = x
    return made


def connections(
    rows: ArrayLike, cols: ArrayLike, shape: tuple[int, int]
) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[int, ...]]:
    """Pairs within ``shape``: rows and columns broadcast as NumPy's indices are, flat, and their shape.

    Raises
    ------
    TypeError
        If ``rows`` or ``cols`` are not integers.
    ValueError
        If they cannot be broadcast together.
    IndexError
        For a pair outside ``shape``; the message names it.
    """
    r, c = _integers("rows", rows, shape[0]), _integers("cols", cols, shape[1])
    if r.shape != c.shape:
        try:
            form = np.broadcast(r, c).shape
        except ValueError:
            if r.ndim == c.ndim == 1:
                words = f"must have the same length, got {r.size} and {c.size}"
            else:
                words = f"must broadcast together, got shapes {r.shape} and {c.shape}"
            raise ValueError(f"rows and cols {words}") from None
        r, c = _as_form(r, form), _as_form(c, form)
    form, r, c = r.shape, r.ravel(), c.ravel()
    outside = (r.view(np.uint64) >= shape[0]) | (c.view(np.uint64) >= shape[1])  # negative ones are large
    if outside.any():
        at = int(np.argmax(outside))
        raise IndexError(f"connection (row {r[at]}, col {c[at]}) lies outside a store of shape {shape}")
    return r, c, form


def index(name: str, value: Any, end: int) -> int:
    """A row or column: an integer in [0, end).

    Raises
    ------
    TypeError, IndexError
        If it is none.
    """
    one = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
    try:
        found = None if isinstance(one, (bool, np.bool_)) else operator.index(one)
    except TypeError:
        found = None
    if found is None:
        raise TypeError(f"{name} must be an integer, got {describe(value)}")
    if not 0 <= found < end:
        raise IndexError(f"{name} must be in [0, {end}), got {found}")
    return found


def named_once(rows: NDArray[np.int64], cols: NDArray[np.int64], n_in: int) -> None:
    """ValueError for a connection that is named twice."""
    key = rows * n_in + cols  # below 2^62
    if np.all(key[1:] > key[:-1]):
        return
    order = np.argsort(key, kind="stable")
    twice = key[order][1:] == key[order][:-1]
    if twice.any():
        at = order[int(np.argmax(twice))]
        raise ValueError(f"connection (row {rows[at]}, col {cols[at]}) is named twice")


def check_finite(
    values: NDArray[Any], rows: NDArray[Any], cols: NDArray[Any], dtype: str | None = None
) -> NDArray[Any]:
    """Values rounded to ``dtype``; ValueError for one that is not finite there, naming its connection."""
    with np.errstate(all="ignore"):
        rounded = values if dtype is None else values.astype(dtype, copy=False)
    bad = ~np.isfinite(rounded)
    if bad.any():
        at = int(np.argmax(bad))
        must = "be finite" if not np.isfinite(values[at]) else f"fit {dtype}"
        raise ValueError(f"values must {must}, got {values[at]} for (row {rows[at]}, col {cols[at]})")
    return rounded


def fitting(name: str, values: ArrayLike, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array of ``dtype``: floats rounded, integers exact. An array of that dtype is not copied.

    Raises
    ------
    TypeError
        For what is no real number.
    ValueError
        For a value that ``dtype`` cannot hold; its position is named. NaN and infinity are held by floats.
    """
    x = _real_numbers(name, values)
    if x.dtype == dtype:
        return x
    with np.errstate(all="ignore"):
        y = x.astype(dtype)
        bad = ~np.isfinite(y) & np.isfinite(x) if dtype.kind == "f" else y.astype(x.dtype) != x
        if dtype.kind != "f" and x.dtype.kind == "f":  # 2^31 wraps to what may compare equal
            limits = np.iinfo(dtype)
            bad |= (x < limits.min) | (x >= float(limits.max) + (dtype.itemsize < 8))
    if bad.any():
        at = np.unravel_index(int(np.argmax(bad)), bad.shape)
        where = f" at position {', '.join(map(str, at))}" if at else ""
        raise ValueError(f"{name} must fit {dtype}, got {x[at]}{where}")
    return y


def _real_numbers(name: str, values: ArrayLike) -> NDArray[Any]:
    """An array of real numbers, of whatever dtype; TypeError says what came instead."""
    try:
        x = np.asarray(detached(values, name))
    except ValueError:
        raise TypeError(f"{name} must be numbers, got {describe(values)}") from None
    if x.dtype == object and all(isinstance(v, Real) and not isinstance(v, bool) for v in x.flat):
        try:
            return x.astype(np.float64)  # integers beyond 64 bits, fractions
        except OverflowError:
            raise ValueError(f"{name} must fit float64, got {describe(values)}") from None
    if x.dtype.kind not in "fiu" and (x.size or x.dtype.kind != "f"):
        raise TypeError(f"{name} must be real numbers, got dtype {x.dtype}")
    return x


def values_of(
    values: ArrayLike, rows: NDArray[np.int64], cols: NDArray[np.int64], form: tuple[int, ...], dtype: str
) -> NDArray[Any]:
    """One finite value for each connection, rounded to ``dtype``; a single number goes with all.

    ``form`` is the shape that `connections` gave. Values have it, or broadcast to one of more dimensions.

    Raises
    ------
    TypeError
        For something that is no real number.
    ValueError
        For another length, or a value that is not finite (in ``dtype``).
    """
    x = _real_numbers("values", values)
    if len(form) > 1:
        try:
            x = np.broadcast_to(x, form)
        except ValueError:
            raise ValueError(
                f"values must broadcast to the shape {form} of the connections, got shape {x.shape}"
            ) from None
    elif x.ndim > 1:
        raise ValueError(f"values must have one dimension, got shape {x.shape}")
    elif x.ndim and x.size != rows.size:
        raise ValueError(f"values must have one value for each of {rows.size} connections, got {x.size}")
    flat = x.ravel() if x.ndim else np.broadcast_to(x, rows.shape)
    return check_finite(flat, rows, cols, dtype)


def slots_of(
    rows: NDArray[np.int64],
    cols: NDArray[np.int64],
    shape: tuple[int, int],
    group: int,
    *,
    fill: bool = False,
    if_twice: str = "",
    if_short: str = "",
) -> Slots:
    """The slots that hold some connections, each of them named once.

    Parameters
    ----------
    rows, cols : ndarray of int64, shape (m,)
        Connections within ``shape``, in any order.
    shape : (int, int)
        ``(n_out, n_in)`` of the store.
    group : int
        Rows that share a list of sources.
    fill : bool, default False
        Accept that only some rows of a group are named.
    if_twice, if_short : str, default ""
        What the message adds for a connection named twice, and for a group not named as a whole.

    Raises
    ------
    ValueError
        For a connection named twice, or a group not named as a whole; the message names it.
    """
    n_out, n_in = shape
    key = (rows // group * n_in + cols) * group + rows % group  # below 2^62
    if np.all(key[1:] > key[:-1]):
        order = np.arange(key.size)
    else:
        order = np.argsort(key, kind="stable")
        key = key[order]
    twice = key[1:] == key[:-1]
    if twice.any():
        at = order[int(np.argmax(twice))]
        raise ValueError(f"connection (row {rows[at]}, col {cols[at]}) is named twice{if_twice}")
    slot, inner = np.divmod(key, group)
    begins = np.ones(slot.size, bool)
    begins[1:] = slot[1:] != slot[:-1]
    first = np.flatnonzero(begins)
    groups, sources = np.divmod(slot[first], n_in)
    if group > 1 and not fill:
        named = np.diff(first, append=slot.size)
        short = named < np.minimum(group, n_out - groups * group)
        if short.any():
            at = int(np.argmax(short))
            rows_named = inner[first[at] : first[at] + named[at]]
            raise ValueError(_missing(groups[at], sources[at], rows_named, n_out, group) + if_short)
    return Slots(groups.astype(np.int32), sources.astype(np.int32), order, np.cumsum(begins) - 1, inner)


def _missing(index: int, source: int, inner: NDArray[np.int64], n_out: int, group: int) -> str:
    """Says which rows of a group are not named."""
    start = index * group
    end = min(start + group, n_out)
    present = start + inner
    missing = ", ".join(f"({r}, {source})" for r in np.setdiff1d(np.arange(start, end), present))
    return (
        f"with group={group} rows {start} to {end - 1} share their sources, so that (row {present[0]}, "
        f"col {source}) cannot come or go without {missing}"
    )
