"""What a store holds, in the order in which files have it, a little at a time: out of stores and into them.

Windows of groups lie anywhere in the arena; files have them one after the other. A whole copy would be as
large as the store itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._container import Array, Parts, blocks

__all__ = ["filled", "put", "slot_blocks", "store_parts"]

_GROUPS = 1 << 13  # that are looked at together
_VALUES = 1 << 17  # that are copied together


def slot_blocks(core: _core.Store, field: str) -> Iterator[NDArray[Any]]:
    """Values of a field, ``"weight"`` or ``"source"`` among them, or parts of it, slot after slot.

    The store is pinned while a block is copied, and not in between.
    """
    for first in range(0, core.n_groups, _GROUPS):
        yield from _blocks(core, field, first, min(first + _GROUPS, core.n_groups))


def _blocks(core: _core.Store, field: str, first: int, end: int) -> Iterator[NDArray[Any]]:
    """Of groups [first, end): of half of them at a time where these are too many values."""
    values, width, slots = _block(core, field, first, end)
    if values is not None:
        yield values
    elif end - first > 1:
        half = (first + end) // 2
        yield from _blocks(core, field, first, half)
        yield from _blocks(core, field, half, end)
    else:
        step = max(1, _VALUES // width)
        for at in range(0, slots, step):
            yield _window(core, field, first, at, min(at + step, slots))


def _block(core: _core.Store, field: str, first: int, end: int) -> tuple[NDArray[Any] | None, int, int]:
    """Values of these groups, None where there are too many; values a slot, and how many slots."""
    lent = core.lend()
    values, length = lent[field], lent["length"][first:end]
    width = 1 if values.ndim == 1 else int(values.shape[1])
    slots = int(length.sum(dtype=np.int64))
    if slots * width > _VALUES:
        return None, width, slots
    before = np.cumsum(length, dtype=np.int64) - length
    where = np.repeat(lent["start"][first:end] - before, length)
    where += np.arange(slots)
    return values[where], width, slots


def _window(core: _core.Store, field: str, group: int, a: int, b: int) -> NDArray[Any]:
    """Values of slots [a, b) of one group."""
    lent = core.lend()
    start = int(lent["start"][group])
    return lent[field][start + a : start + b].copy()


def _ends(core: _core.Store) -> Iterator[NDArray[np.int64]]:
    """Where the slots of each group begin, and where those of the last one end."""
    yield np.zeros(1, np.int64)
    total = 0
    for first in range(0, core.n_groups, _GROUPS):
        ends = total + np.cumsum(core.lend()["length"][first : first + _GROUPS], dtype=np.int64)
        total = int(ends[-1])
        yield ends


def _group_parts(core: _core.Store) -> Parts:
    """``indptr`` for a file."""
    return Parts("int64", (core.n_groups + 1,), partial(_ends, core))


def _slot_parts(core: _core.Store, field: str) -> Parts:
    """A field, or the sources, for a file."""
    if field == "source":
        return Parts("int32", (core.slots,), partial(slot_blocks, core, field))
    dtype, width, _ = core.fields[field]
    return Parts(dtype, (core.slots, width), partial(slot_blocks, core, field))


def store_parts(core: _core.Store, fields: Collection[str]) -> dict[str, Array]:
    """``indptr``, ``sources``, ``values`` and ``field.NAME`` of these fields, for a file."""
    found: dict[str, Array] = {"indptr": _group_parts(core), "sources": _slot_parts(core, "source")}
    found["values"] = _slot_parts(core, "weight")
    return found | {f"field.{name}": _slot_parts(core, name) for name in fields}


def put(loader: _core.Loader, name: str, block: NDArray[Any]) -> None:
    """Hand over the next block of ``indptr``, ``sources``, ``values`` or ``field.NAME``."""
    if name == "indptr":
        loader.indptr(block)
    elif name == "sources":
        loader.sources(block)
    else:
        loader.values("weight" if name == "values" else name.removeprefix("field."), block)


def filled(loader: _core.Loader, arrays: Mapping[str, Array], where: str) -> _core.Store:
    """The store of these arrays, which are in the order of :func:`put`, block by block.

    Raises
    ------
    ValueError
        For arrays that make no store; the first that does not fit is named.
    """
    for name, array in arrays.items():
        for block in blocks(array):
            try:
                put(loader, name, block)
            except (_core.LinkError, ValueError) as error:
                raise ValueError(f"{where}: array {name!r} does not fit: {error}") from error
    try:
        return loader.finish()
    except RuntimeError as error:
        raise ValueError(f"{where}: {error}") from error
