"""Stores in pickles, written and read a little at a time.

A pickle keeps whatever it has written until it is finished, for the same object may come again: arrays and
bytes as well, so that they would take the memory of the store once more, or twice. Of all data it keeps
integers alone not. So a store is written as a row of integers, each of the bytes of one chunk, which pickle
asks for one after the other as it writes, and hands over as it reads.

Pickles without buffers of their own (`pickle.dumps`) hold what they return, of course. Buffers out of band
(protocol 5) are not made use of: whoever takes them would hold all of them at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from rewire import _core
from rewire._container import Array, blocks
from rewire._streaming import filled, put, store_parts

__all__ = ["ReceivedStore", "StreamedStore"]

_CHUNK = 1 << 15  # bytes: pickle hands over a thousand at a time. Whole slots of any width
_OLD = 2  # protocols below it write integers as decimal digits, and get bytes


class StreamedStore:
    """A store on its way through a pickle.

    Parameters
    ----------
    core : Store
    fields : collection of str
        Those that go with it, beside the weights.
    guard : callable, optional
        Called for every block that has been copied; raises if the store may have changed since.
    """

    def __init__(
        self, core: _core.Store, fields: Collection[str], guard: Callable[[], None] | None = None
    ) -> None:
        self._core, self._fields, self._guard = core, fields, guard

    def taken(self) -> _core.Store:
        """A store that nobody else has."""
        return filled(_loader(self._said()), store_parts(self._core, self._fields))

    def _said(self) -> dict[str, Any]:
        """What the loader has to know."""
        core, kinds = self._core, self._core.fields
        return {
            "n_out": core.n_out, "n_in": core.n_in, "group": core.group, "dtype": core.dtype,
            "slots": core.slots, "birth": kinds["weight"][2],
            "fields": {name: kinds[name] for name in self._fields},
        }  # fmt: skip

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamedStore:
        return self  # what is taken of it is a copy anyway

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        parts = store_parts(self._core, self._fields)
        layout = {name: np.dtype(part.dtype).name for name, part in parts.items()}
        return ReceivedStore, (self._said(), layout), None, self._chunks(parts, int(protocol))

    def _chunks(self, parts: Mapping[str, Array], protocol: int) -> Iterator[int | bytes | None]:
        generation = self._core.generation
        for array in parts.values():
            for block in blocks(array):
                if self._core.generation != generation:
                    raise RuntimeError("the store has changed while it was pickled")
                if self._guard is not None:
                    self._guard()
                data = block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()
                for start in range(0, len(data), _CHUNK):
                    chunk = data[start : start + _CHUNK]
                    # The last byte tells how many there are, for integers do not begin with zeros.
                    yield chunk if protocol < _OLD else int.from_bytes(chunk + b"\1", "little")
            yield None


class ReceivedStore:
    """What :class:`StreamedStore` becomes in the process that reads the pickle."""

    def __init__(self, said: dict[str, Any], layout: dict[str, str]) -> None:
        self._loader = _loader(said)
        self._arrays = iter(layout.items())
        self._name, self._dtype = next(self._arrays)

    def append(self, chunk: int | bytes | None) -> None:
        """Take the next chunk, or the end of an array."""
        if chunk is None:
            self._name, self._dtype = next(self._arrays, ("", ""))
            return
        if isinstance(chunk, int):
            size = chunk.bit_length() // 8
            chunk = chunk.to_bytes(size + 1, "little")[:size]
        dtype = np.dtype(self._dtype)
        block = np.frombuffer(chunk, dtype.newbyteorder("<")).astype(dtype, copy=False)
        put(self._loader, self._name, block)

    def extend(self, chunks: Iterable[int | bytes | None]) -> None:
        """Take several."""
        for chunk in chunks:
            self.append(chunk)

    def taken(self) -> _core.Store:
        """The store, which nobody else has; once."""
        return self._loader.finish()


def _loader(said: Mapping[str, Any]) -> _core.Loader:
    group = said["group"]
    loader = _core.Loader(
        said["slots"], n_out=said["n_out"], n_in=said["n_in"], group=group, dtype=said["dtype"]
    )
    loader.set_birth("weight", said["birth"])
    for name, (dtype, width, birth) in said["fields"].items():
        loader.add_field(name, dtype, per_slot=width != group, birth=birth)
    return loader
