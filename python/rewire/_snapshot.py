"""What a call of ``fit`` goes back to when something raises: everything as it was before.

A copy is taken of what moves: weights, structure, biases, optimizer state, counters, the attributes of
optimizer, rewiring rule and callbacks that have a state. Going back puts the contents into the objects there
were, so that whoever holds a layer, a store or a list holds the old contents again. It needs no memory and
cannot fail.

Price: memory of the network and its optimizer's state once more (of a best network that a callback keeps as
well), and the time of copying it in every call. A network of more than `KEPT_BYTES` is not copied.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from rewire import _core
from rewire._signals import Interrupts
from rewire._training import TrainerLike
from rewire.callbacks import has_state
from rewire.parameters import Field
from rewire.store import WeightStore

__all__ = ["KEPT_BYTES", "AllOrNothing", "AttributesUndone"]

KEPT_BYTES = 256 << 20
LITTLE = 1 << 20  # bytes of a network up to which it pays to keep the copies of attributes for the next call

Undo = tuple[Callable[..., Any], *tuple[Any, ...]]  # a call and what it is given

# Attributes of parameters that hold nothing between two steps, or what others hold.
_SCRATCH = ("_room", "_gradient", "_view", "_derived", "_taken", "owner")

# Those of a standardiser that are replaced, and never changed inside.
_VALUES = ("moments", "extremes", "_latest")


class AllOrNothing:
    """Whatever raises inside leaves the trainer as it was, its network and callbacks too; Ctrl-C does not.

    Of a network above `KEPT_BYTES` it leaves what there is, and the trainer that belongs to it. With ``part``
    only that is as it was, such as the optimizer.
    """

    def __init__(self, trainer: TrainerLike, interrupts: Interrupts, part: Any = None) -> None:
        self._trainer, self._interrupts, self._part = trainer, interrupts, part
        self._undo: list[Undo] | None = None
        self._kept: dict[int, _core.Kept] | None = None

    def __enter__(self) -> None:
        if self._part is not None:
            self._undo = []
            _core.keep(self._part, _HOLDS, self._undo)
        elif (size := self._trainer.network.nbytes) <= KEPT_BYTES:
            self._undo, kept = _everything(self._trainer)
            self._kept = kept if size <= LITTLE else None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            self._trainer._kept = self._kept
            return  # what has been learnt is kept
        if self._undo is None:
            self._interrupts.forget()
            self._trainer.state.unfinished = None
            return
        with self._interrupts.wait_long:
            for call, *given in self._undo:
                try:
                    call(*given)
                except Exception as second:  # the first error is the one to be seen
                    error.add_note(f"and {second!r} while everything was put back")
            # The call ends anyway, and Ctrl-C in place of the error would say that something is kept.
            self._interrupts.forget()


class AttributesUndone:
    """Attributes that objects get, lose or change inside are as before if something raises.

    Unless it is one of ``kept``.
    """

    def __init__(self, *things: Any, kept: tuple[type[BaseException], ...] = ()) -> None:
        self._things, self._kept = things, kept

    def __enter__(self) -> None:
        self._before = [dict(vars(thing)) for thing in self._things]

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and not issubclass(kind, self._kept):
            for thing, values in zip(self._things, self._before, strict=True):
                _core.set_attributes(thing, values)


def _everything(trainer: TrainerLike) -> tuple[list[Undo], dict[int, _core.Kept]]:
    """The steps back to where a trainer stands, and what the next call may begin them with.

    That is of the parts of a network and of what trains it, which stay the same objects with nearly the same
    attributes. Of others it would hold what they have long given up, such as the samples of a callback.
    """
    undo: list[Undo] = []
    network, history = trainer.network, trainer.state.history
    before, trainer._kept = trainer._kept or {}, None  # this call's own from now on
    kept: dict[int, _core.Kept] = {}

    def keep(thing: Any, shallow: tuple[str, ...] = ()) -> None:
        kept[id(thing)] = _core.keep(thing, _HOLDS, undo, shallow, before.get(id(thing)))

    # Not what is in the rows, which are never changed; a stream may have brought a hundred thousand.
    trainer._kept_rows = _core.keep_rows(history.epochs, trainer._kept_rows or [], undo)
    _core.keep(trainer, _HOLDS, undo, None)
    for thing in trainer.state.parts():
        _core.keep(thing, _HOLDS, undo)
    _core.keep(history, _HOLDS, undo, None)
    for items in (trainer.callbacks, network.layers):
        _core.keep_items(items, "list", undo)
    _core.keep(network, _HOLDS, undo, None)
    for layer in network.tree.layers.values():
        keep(layer)
    for parameter in network.tree.parameters.values():
        keep(parameter, _SCRATCH)
        undo.append((parameter.forget_derived,))
    for buffer in network.tree.buffers.values():
        keep(buffer)
    for thing in (trainer.optimizer, trainer.loss, *trainer.rewiring.parts()):
        if hasattr(thing, "__dict__"):
            keep(thing)
    stateful = [callback for callback in trainer.callbacks if has_state(callback)]
    if network.standardizer is not None:
        _core.keep(network.standardizer, _HOLDS, undo, _VALUES)
    for thing in stateful:
        if hasattr(thing, "__dict__"):
            _core.keep(thing, _HOLDS, undo)
    return undo, kept


class _Kinds(dict[Any, str]):
    """What may change inside an instance of a class: that of a store, array, tuple, container; or nothing.

    Each class is looked at once: every call of ``fit`` asks for some 200 attributes.
    """

    NAMES = {
        WeightStore: "store", np.ndarray: "array", tuple: "tuple", list: "list", dict: "dict", set: "set",
        deque: "deque",
    }  # fmt: skip
    MOST = 1024  # classes that are remembered: somebody may make them without end

    def __missing__(self, kind: Any) -> str:
        found = next((name for base, name in self.NAMES.items() if issubclass(kind, base)), "")
        if len(self) < self.MOST:
            self[kind] = found
        return found


# A field is a tuple of what never changes.
_HOLDS = _Kinds({Field: ""})
