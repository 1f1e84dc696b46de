"""Stores in pickles, written and read a little at a time.

A pickle keeps whatever it has written until it is finished, for the same object may come again: arrays and
bytes as well, so that they would take the memory of the store once more, or twice. Of all data it keeps
integers alone not. So a store is written as a row of integers, each of the bytes of one chunk, which pickle
asks for one after the other as it writes, and hands over as it reads.

Nobody can be kept from changing a store before its pickle is finished: a view, another thread. So what it
holds is hashed when the pickle begins, and again as it is written: a pickle is of one moment or an error.

Pickles without buffers of their own (`pickle.dumps`) hold what they return, of course. Buffers out of band
(protocol 5) are not made use of: whoever takes them would hold all of them at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import pickle
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import noted
from rewire._container import Array, Parts, blocks
from rewire._streaming import put, store_parts
from rewire._version import __version__

__all__ = ["WRITTEN", "ReceivedStore", "StreamedStore", "copied", "given_away", "of_version", "taken_later"]

WRITTEN = {"rewire": __version__}  # beside the state of what is pickled

_CHUNK = 1 << 15  # bytes: pickle hands over a thousand at a time. Whole slots of any width
_CHANGED = "the store has changed while it was pickled or copied"
_OLD = 2  # protocols below it write integers as decimal digits, and get bytes


class StreamedStore:
    """A store in the state of a network, or on its way through a pickle: as it was when this was made.

    Parameters
    ----------
    core : Store
    fields : collection of str
        Those that go with it, beside the weights.
    guard : callable, optional
        Called for every block that has been copied; raises if the store may have changed since.
    owned : bool
        Nobody else has the store, so that it needs no look at whether it has changed.

    Attributes
    ----------
    once : bool
        Whether what a pickle of this becomes has to give its store but once, which saves a copy.
    """

    def __init__(
        self,
        core: _core.Store,
        fields: Collection[str],
        guard: Callable[[], None] | None = None,
        *,
        owned: bool = False,
    ) -> None:
        self.once = False
        self._core, self._fields, self._guard = core, fields, guard
        self._generation = core.generation
        self._said = _described(core, fields)
        self._digest = None
        if not owned:
            self._digest = self._hashed()

    def taken(self) -> _core.Store:
        """A store that nobody else has.

        Raises
        ------
        RuntimeError
            If this one has changed since.
        """
        loader = _loader(self._said)
        for name, block in self._blocks():
            if block is not None:
                put(loader, name, block)
        return loader.finish()

    def _parts(self) -> dict[str, Array]:
        return store_parts(self._core, self._fields)

    def _hashed(self) -> bytes:
        """A digest of what the store holds."""
        found = hashlib.sha256()
        for array in self._parts().values():
            for block in blocks(array):
                found.update(block.data)
        return found.digest()

    def _refuse_changes(self) -> None:
        """RuntimeError if the store is known to have changed, without a look at its values."""
        if self._guard is not None:
            self._guard()
        if self._core.generation != self._generation or not set(self._fields) <= self._core.fields.keys():
            raise RuntimeError(_CHANGED)

    def _blocks(self) -> Iterator[tuple[str, NDArray[Any] | None]]:
        """What the store holds, None after the last block of each array; RuntimeError if it has changed."""
        found = hashlib.sha256()
        self._refuse_changes()
        for name, array in self._parts().items():
            for block in blocks(array):
                self._refuse_changes()
                if self._digest is not None:
                    found.update(block.data)
                yield name, block
            yield name, None
        if self._digest not in (None, found.digest()):
            raise RuntimeError(_CHANGED)

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamedStore:
        return StreamedStore(self.taken(), self._fields, owned=True)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        self._refuse_changes()
        layout = {name: np.dtype(part.dtype).name for name, part in self._parts().items()}
        return ReceivedStore, (self._said, layout, self.once), None, self._chunks(int(protocol))

    def _chunks(self, protocol: int) -> Iterator[int | bytes | None]:
        for _, block in self._blocks():
            if block is None:
                yield None
                continue
            data = block.astype(block.dtype.newbyteorder("<"), copy=False).tobytes()
            for start in range(0, len(data), _CHUNK):
                chunk = data[start : start + _CHUNK]
                # The last byte tells how many there are, for integers do not begin with zeros.
                yield chunk if protocol < _OLD else int.from_bytes(chunk + b"\1", "little")


class ReceivedStore(StreamedStore):
    """What :class:`StreamedStore` becomes in the process that reads the pickle; it has a store of its own."""

    def __init__(self, said: dict[str, Any], layout: dict[str, str], once: bool) -> None:
        self._loader: _core.Loader | None = _loader(said)
        self._arrays = iter(layout.items())
        self._name, self._dtype = next(self._arrays)
        self._fields, self._gives_away = list(said["fields"]), once

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
        put(self._loading(), self._name, block)

    def extend(self, chunks: Iterable[int | bytes | None]) -> None:
        """Take several."""
        for chunk in chunks:
            self.append(chunk)

    def taken(self) -> _core.Store:
        """A store that nobody else has: the one that came where this was asked for but once, or a copy.

        Raises
        ------
        ValueError
            If the store was given away, or has not come as a whole.
        """
        if self._gives_away:
            return self._loading().finish()
        self._complete()
        return super().taken()

    def __deepcopy__(self, memo: dict[int, Any]) -> StreamedStore:
        self._complete()
        return super().__deepcopy__(memo)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        self._complete()
        return super().__reduce_ex__(protocol)

    def _loading(self) -> _core.Loader:
        if self._loader is None:
            raise ValueError("load: the store has come as a whole already")
        return self._loader

    def _complete(self) -> None:
        """Become what can be asked as often as anybody likes."""
        if self._loader is not None:
            super().__init__(self._loader.finish(), self._fields, owned=True)
            self._loader, self._gives_away = None, False


def given_away(reduced: tuple[Any, ...]) -> tuple[Any, ...]:
    """What ``__reduce_ex__`` gave, whose state is set by the class that made it, once, and by nobody else."""
    for part in taken_later(reduced[2] if len(reduced) > 2 else None).values():
        if isinstance(part, StreamedStore):
            part.once = True
    return reduced


def taken_later(state: Any) -> dict[int, Any]:
    """A memo by which `copy.deepcopy` leaves stores as they are in a state: who takes them copies them."""
    parts = state.get("arrays", {}).values() if isinstance(state, Mapping) else ()
    return {id(part): part for part in parts if isinstance(part, Parts | StreamedStore)}


@contextlib.contextmanager
def of_version(state: Mapping[str, Any]) -> Iterator[None]:
    """Let an error in reading a state say which other version of this package has pickled it.

    A state is what a file holds and checked as that is: where nothing is said, nothing is wrong.
    """
    by = state.get("rewire", __version__)
    words = f"it was pickled by rewire {by} and is read by rewire {__version__}: files are for both"
    with contextlib.nullcontext() if by == __version__ else noted(words):
        yield


def copied(thing: Any) -> Any:
    """What `copy.copy` makes of a thing that has no ``__copy__``; one that has may hold a gate meanwhile."""
    make, arguments, *rest = thing.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    twin = make(*arguments)
    if rest and rest[0] is not None:
        twin.__setstate__(rest[0])
    return twin


def _described(core: _core.Store, fields: Collection[str]) -> dict[str, Any]:
    """What the loader has to know of a store."""
    kinds = core.fields
    return {
        "n_out": core.n_out, "n_in": core.n_in, "group": core.group, "dtype": core.dtype,
        "slots": core.slots, "birth": kinds["weight"][2], "fields": {name: kinds[name] for name in fields},
    }  # fmt: skip


def _loader(said: Mapping[str, Any]) -> _core.Loader:
    group = said["group"]
    loader = _core.Loader(
        said["slots"], n_out=said["n_out"], n_in=said["n_in"], group=group, dtype=said["dtype"]
    )
    loader.set_birth("weight", said["birth"])
    for name, (dtype, width, birth) in said["fields"].items():
        loader.add_field(name, dtype, per_slot=width != group, birth=birth)
    return loader
