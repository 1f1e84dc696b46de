"""From tensors that say which links there are to stores in which the kernels compute.

To PyTorch the links of a layer are two tensors, ``indptr`` and ``sources``, in the order of `WeightStore`;
they are saved, copied, exported and sent to other processes as all tensors are. A store is made from them
when they are first computed with, and kept as long as they are: by the storage that they lie in, which a
`Structure` holds, so that no other tensor can take its place. A change in place is seen by the version that
tensors count, and read again.

The weights of a store are those of one call: they are copied in, under the lock of the structure.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rewire import _core

__all__ = ["Structure", "Watch", "structure_of"]

PATIENCE = 4  # backward passes with one structure, from which on a mirror is built
# Structures without a module that are kept, of exported programs or graphs from before a rewiring: so many at
# most, and of so many slots together, unless it is one alone.
RECENT, RECENT_SLOTS = 256, 1 << 22

Pair = tuple[_core.Tiles, _core.Tiles]


class Watch:
    """Inputs and gradients of the outputs of backward passes, as one who wants to see them has them.

    Attributes
    ----------
    pairs : list of (Tiles, Tiles)
    over : bool
        Whether the step that these belong to is over: the next backward pass begins anew.
    """

    def __init__(self) -> None:
        self.pairs: list[Pair] = []
        self.over = False


class Structure:
    """The links of one layer; made by :func:`structure_of`.

    Attributes
    ----------
    tensors : (Tensor, Tensor)
        ``indptr`` and ``sources``.
    lock : threading.Lock
        Held by whoever computes: the weights in a store are those of one call.
    watched : mapping of object to Watch
        Who wants to see backward passes, as long as they live.
    """

    def __init__(
        self, indptr: torch.Tensor, sources: torch.Tensor, n_in: int, n_out: int, group: int
    ) -> None:
        self.n_in, self.n_out, self.group = n_in, n_out, group
        self.lock = threading.Lock()
        self.watched: weakref.WeakKeyDictionary[Any, Watch] = weakref.WeakKeyDictionary()
        self.tensors = indptr.detach(), sources.detach()  # share their storage, and their version
        self._at = indptr.data_ptr(), sources.data_ptr()
        self._read: tuple[int, int] | None = None
        self._stores: dict[str, _core.Store] = {}
        self._filled: dict[str, object] = {}
        self._biases: dict[str, NDArray[Any]] = {}
        self._passes = 0

    def is_of(self, indptr: torch.Tensor, sources: torch.Tensor) -> bool:
        """Whether these are the tensors, or lie where they do."""
        mine = self.tensors
        return (
            self._at == (indptr.data_ptr(), sources.data_ptr())
            and indptr.shape == mine[0].shape
            and sources.shape == mine[1].shape
            and indptr.stride() == mine[0].stride()
            and sources.stride() == mine[1].stride()
        )

    def store(self, dtype: str) -> _core.Store:
        """The store of this dtype, with the links that the tensors name now; its weights are anybody's.

        Raises
        ------
        ValueError
            If the tensors do not describe links of this layer.
        """
        now = _versions(self.tensors)
        if now is None or now != self._read:
            self._reread()
            self._read = now
        found = self._stores.get(dtype)
        if found is None:
            found = self._stores[dtype] = self._made(dtype)
        return found

    def filled(self, dtype: str, weight: torch.Tensor) -> tuple[_core.Store, object]:
        """The store of this dtype with these weights, and a mark of this filling.

        The mark goes into `again`. To be called, as that is, under the lock.
        """
        store = self.store(dtype)
        store.set_field("weight", weight.detach().resolve_neg().contiguous().numpy())
        mark = self._filled[dtype] = object()
        return store, mark

    def again(self, dtype: str, weight: torch.Tensor, mark: object) -> _core.Store:
        """The store with the weights of this mark: these are copied in if it has got others since."""
        store = self.store(dtype)
        if self._filled.get(dtype) is not mark:
            store.set_field("weight", weight.detach().resolve_neg().contiguous().numpy())
            self._filled[dtype] = mark
        return store

    def padded(self, dtype: str, bias: torch.Tensor | None) -> NDArray[Any] | None:
        """A bias as kernels on tiles read it, until the next call; under the lock."""
        if bias is None:
            return None
        kept = self._biases.get(dtype)
        if kept is None:
            kept = self._biases[dtype] = _core.aligned_zeros((self.n_out + 7) // 8 * 8, dtype)
        kept[: self.n_out] = bias.detach().resolve_neg().numpy()
        return kept

    def _arrays(self) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        indptr, sources = (np.ascontiguousarray(tensor.numpy()) for tensor in self.tensors)
        return indptr, sources

    def _reread(self) -> None:
        """Forget stores of other links than the tensors name."""
        indptr, sources = self._arrays()
        store = next(iter(self._stores.values()), None)
        if store is None:
            return
        same = np.array_equal(store.indptr(), indptr) and np.array_equal(store.sources(), sources)
        if not same:
            self._stores.clear()
            self._filled.clear()
            self._passes = 0

    def _made(self, dtype: str) -> _core.Store:
        store = _core.Store(n_out=self.n_out, n_in=self.n_in, group=self.group, dtype=dtype)
        indptr, sources = self._arrays()
        try:
            store.load(indptr, sources, np.zeros((len(sources), self.group), dtype))
            store.check()
        except (_core.LinkError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"indptr and sources must be the links of a layer of {self.n_in} inputs and {self.n_out} "
                f"outputs in groups of {self.group}: {error}"
            ) from error
        return store

    def version(self) -> tuple[int, int] | None:
        """Another one once the tensors have been changed in place; None where nobody counts."""
        return _versions(self.tensors)

    def show(self, pair: Pair) -> None:
        """Add what a backward pass has seen."""
        for watch in list(self.watched.values()):
            if watch.over:
                watch.pairs, watch.over = [], False
            watch.pairs.append(pair)

    def ready_mirror(self, store: _core.Store, batch: int, threads: int) -> None:
        """Build the mirror where gathering through it pays; the bits are the same either way.

        Building takes as long as it saves in two or three passes, so it waits until a structure has lasted.
        """
        self._passes += 1
        if self._passes == PATIENCE and not store.has_mirror and _core.gather_pays(store, batch):
            store.build_mirror(threads)


def _versions(tensors: tuple[torch.Tensor, torch.Tensor]) -> tuple[int, int] | None:
    """Another answer whenever tensors are changed in place; None where nobody counts."""
    indptr, sources = tensors
    if indptr.is_inference() or sources.is_inference():
        return None
    return indptr._version, sources._version


_known: weakref.WeakValueDictionary[tuple[Any, ...], Structure] = weakref.WeakValueDictionary()
_recent: deque[Structure] = deque(maxlen=RECENT)


def structure_of(
    indptr: torch.Tensor, sources: torch.Tensor, n_in: int, n_out: int, group: int, *, held: bool = False
) -> Structure:
    """What is kept of these tensors; ``held`` by a module as long as it has them, or else for a while."""
    key = _place(indptr), _place(sources), n_in, n_out, group
    found = _known.get(key)
    if found is None:
        found = _known[key] = Structure(indptr, sources, n_in, n_out, group)
        if not held:
            _recent.append(found)
            while len(_recent) > 1 and sum(len(kept.tensors[1]) for kept in _recent) > RECENT_SLOTS:
                _recent.popleft()
    return found


def _place(tensor: torch.Tensor) -> tuple[int, ...]:
    """Where a tensor's values lie: of two that live at a time, no two are equal and of different values."""
    return (tensor.untyped_storage()._cdata, tensor.storage_offset(), *tensor.shape, *tensor.stride())
