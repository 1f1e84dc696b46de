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
from collections.abc import Callable, Container
from functools import partial
from itertools import compress
from typing import Any

import numpy as np

from rewire._signals import Interrupts
from rewire._training import TrainerLike
from rewire.callbacks import has_state
from rewire.parameters import Field
from rewire.store import WeightStore

__all__ = ["KEPT_BYTES", "AllOrNothing", "AttributesUndone"]

KEPT_BYTES = 256 << 20

# Attributes of parameters that hold nothing between two steps, or what others hold.
_SCRATCH = ("_room", "_gradient", "_view", "_derived", "_taken", "owner")


class AllOrNothing:
    """Whatever raises inside leaves the trainer as it was, its network and callbacks too; Ctrl-C does not.

    Of a network above `KEPT_BYTES` it leaves what there is, and the trainer that belongs to it. With ``part``
    only that is as it was, such as the optimizer.
    """

    def __init__(self, trainer: TrainerLike, interrupts: Interrupts, part: Any = None) -> None:
        self._trainer, self._interrupts, self._part = trainer, interrupts, part
        self._undo: list[Callable[[], Any]] | None = None

    def __enter__(self) -> None:
        if self._part is not None:
            self._undo = []
            _keep(self._part, self._undo)
        elif self._trainer.network.nbytes <= KEPT_BYTES:
            self._undo = _everything(self._trainer)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, KeyboardInterrupt):
            return  # what has been learnt is kept
        if self._undo is None:
            self._interrupts.forget()
            self._trainer.state.unfinished = None
            return
        with self._interrupts.wait_long:
            for step in self._undo:
                try:
                    step()
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
                _set_attributes(thing, values)


def _set_attributes(thing: Any, values: dict[str, Any]) -> None:
    """Let an object have these attributes and no others."""
    now = vars(thing)
    now.update(values)
    for name in now.keys() - values.keys():
        del now[name]


def _everything(trainer: TrainerLike) -> list[Callable[[], Any]]:
    """The steps back to where a trainer stands."""
    undo: list[Callable[[], Any]] = []
    network, history = trainer.network, trainer.state.history
    _keep(trainer, undo, shallow=None)
    for thing in trainer.state.parts():
        _keep(thing, undo)
    _keep(history, undo, shallow=None)
    # Not the rows: there may be thousands, and they are never changed.
    for items in (history.epochs, trainer.callbacks, network.layers):
        undo.append(_refill(items, "list"))
    _keep(network, undo, shallow=None)
    for layer in network.tree.layers.values():
        _keep(layer, undo)
    for parameter in network.tree.parameters.values():
        _keep(parameter, undo, shallow=_SCRATCH)
        undo.append(parameter.forget_derived)
    for buffer in network.tree.buffers.values():
        _keep(buffer, undo)
    stateful = [callback for callback in trainer.callbacks if has_state(callback)]
    parts = (trainer.optimizer, trainer.loss, network.standardizer)
    for thing in (*parts, *trainer.rewiring.parts(), *stateful):
        if thing is not None and hasattr(thing, "__dict__"):
            _keep(thing, undo)
    return undo


def _keep(thing: Any, undo: list[Callable[[], Any]], *, shallow: Container[str] | None = ()) -> None:
    """Attributes of an object, and their contents, but for those that are ``shallow``; None: all are."""
    values = dict(vars(thing))
    undo.append(partial(_set_attributes, thing, values))
    if shallow is None:
        return
    seen: set[int] = set()
    for name in compress(values, map(_HOLDS.__getitem__, map(type, values.values()))):
        if name not in shallow:
            _contents(values[name], _HOLDS[type(values[name])], undo, seen)


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


def _contents(value: Any, holds: str, undo: list[Callable[[], Any]], seen: set[int]) -> None:
    """Stores, arrays and plain containers, to any depth; all other objects are kept as they are."""
    if holds == "store":
        undo.append(partial(value._core.revert, value._core.clone()))
        return
    if holds == "array":
        if id(value) not in seen and value.flags.writeable and value.size and not value.dtype.hasobject:
            seen.add(id(value))
            undo.append(partial(np.copyto, value, value.copy()))
        return
    items = value
    if holds != "tuple":
        if id(value) in seen:
            return
        seen.add(id(value))
        undo.append(_refill(value, holds))
        if holds == "dict":
            items = value.values()
    for item in items:
        if inside := _HOLDS[type(item)]:
            _contents(item, inside, undo, seen)


def _refill(container: Any, holds: str) -> Callable[[], None]:
    """A step that gives a list, dict, set or deque the items that it has now."""
    if holds == "list":
        return partial(container.__setitem__, slice(None), list(container))
    items = type(container).copy(container)
    return partial(_put_back, container, container.extend if holds == "deque" else container.update, items)


def _put_back(container: Any, add: Callable[[Any], Any], items: Any) -> None:
    container.clear()
    add(items)
