"""What a call of ``fit`` goes back to when something raises: everything as it was before.

A copy is taken of what moves: weights, structure, biases, optimizer state, counters, the attributes of
optimizer, rewiring rule and callbacks that have a state. Going back puts the contents into the objects there
were, so that whoever holds a layer, a store or a list holds the old contents again. It needs no memory and
cannot fail.

Price: memory of the network and its optimizer's state once more (of a best network that a callback keeps as
well), and the time of copying it in every call. A network of more than `KEPT_BYTES` is not copied.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from rewire._signals import Interrupts
from rewire._training import TrainerLike
from rewire.callbacks import has_state
from rewire.store import WeightStore

__all__ = ["KEPT_BYTES", "all_or_nothing", "attributes_undone"]

KEPT_BYTES = 256 << 20

_CONTAINERS = (list, dict, set, deque)
_PLAIN = {type(None), bool, int, float, str}  # what has no contents; only a short cut
_SCRATCH = ("_bias_grad", "weight_grad")  # attributes of layers that hold nothing between two steps


@contextlib.contextmanager
def all_or_nothing(trainer: TrainerLike, interrupts: Interrupts) -> Iterator[None]:
    """Whatever raises inside leaves the trainer as it was, its network and callbacks too; Ctrl-C does not.

    Of a network above `KEPT_BYTES` it leaves what there is, and the trainer that belongs to it.
    """
    undo = _everything(trainer) if trainer.network.nbytes <= KEPT_BYTES else None
    try:
        yield
    except KeyboardInterrupt:
        raise  # what has been learnt is kept
    except BaseException as error:
        if undo is None:
            interrupts.forget()
            trainer.unfinished = None
            raise
        with interrupts.wait_long:
            for step in undo:
                try:
                    step()
                except Exception as second:  # the first error is the one to be seen
                    error.add_note(f"and {second!r} while everything was put back")
            # The call ends anyway, and Ctrl-C in place of the error would say that something is kept.
            interrupts.forget()
        raise


@contextlib.contextmanager
def attributes_undone(thing: Any, *, kept: tuple[type[BaseException], ...] = ()) -> Iterator[None]:
    """Attributes that an object gets, loses or changes inside are as before if something raises.

    Unless it is one of ``kept``.
    """
    before = dict(vars(thing))
    try:
        yield
    except kept:
        raise
    except BaseException:
        _set_attributes(thing, before)
        raise


def _set_attributes(thing: Any, values: dict[str, Any]) -> None:
    """Let an object have these attributes and no others."""
    now = vars(thing)
    now.update(values)
    for name in now.keys() - values.keys():
        del now[name]


def _everything(trainer: TrainerLike) -> list[Callable[[], Any]]:
    """The steps back to where a trainer stands."""
    undo: list[Callable[[], Any]] = []
    network, history = trainer.network, trainer.history
    _keep(trainer, undo, contents=("_memory",))
    _keep(history, undo, contents=())
    # Not the rows: there may be thousands, and they are never changed.
    for items in (history.epochs, trainer.callbacks, network.layers):
        undo.append(_refill(items))
    _keep(network, undo, contents=())
    for layer in network.layers:
        _keep(layer, undo, contents=[name for name in vars(layer) if name not in _SCRATCH])
    stateful = [callback for callback in trainer.callbacks if has_state(callback)]
    parts = (trainer.optimizer, trainer.loss, network.standardizer, trainer.unfinished)
    for thing in (*parts, *trainer.rewiring.parts(), *stateful):
        if hasattr(thing, "__dict__"):
            _keep(thing, undo)
    if trainer.unfinished is not None:
        _keep(trainer.unfinished.metric, undo)
    return undo


def _keep(thing: Any, undo: list[Callable[[], Any]], contents: Any = None) -> None:
    """Attributes of an object, and the contents of those named (all, by default)."""
    values = dict(vars(thing))
    undo.append(partial(_set_attributes, thing, values))
    seen: set[int] = set()
    for name in values if contents is None else contents:
        value = values[name]
        if type(value) not in _PLAIN:
            _contents(value, undo, seen)


def _contents(value: Any, undo: list[Callable[[], Any]], seen: set[int]) -> None:
    """Stores, arrays and plain containers, to any depth; all other objects are kept as they are."""
    if isinstance(value, WeightStore):
        undo.append(partial(value._core.revert, value._core.clone()))
    elif isinstance(value, np.ndarray):
        if value.flags.writeable and value.size and not value.dtype.hasobject and id(value) not in seen:
            seen.add(id(value))
            undo.append(partial(np.copyto, value, value.copy()))
    elif isinstance(value, tuple):
        for item in value:
            if type(item) not in _PLAIN:
                _contents(item, undo, seen)
    elif isinstance(value, _CONTAINERS) and id(value) not in seen:
        seen.add(id(value))
        undo.append(_refill(value))
        for item in value.values() if isinstance(value, dict) else value:
            if type(item) not in _PLAIN:
                _contents(item, undo, seen)


def _refill(container: Any) -> Callable[[], None]:
    """A step that gives a list, dict, set or deque the items that it has now."""
    items = type(container).copy(container) if not isinstance(container, list) else list(container)

    def put_back() -> None:
        if isinstance(container, list):
            container[:] = items
        else:
            container.clear()
            (container.extend if isinstance(container, deque) else container.update)(items)

    return put_back
