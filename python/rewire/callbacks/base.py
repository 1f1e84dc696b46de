"""Callbacks: code that runs between epochs and steps.

A callback is any object with some of the methods of :class:`Callback`; what is
missing is not called. All of them get the same :class:`State`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from rewire._checks import describe
from rewire._foreign import HintedArguments
from rewire._registry import Registry
from rewire._training import TrainerLike
from rewire.network import Sequential
from rewire.rewiring import RewiringRecord

__all__ = [
    "EVENTS", "Callback", "State", "brings_network", "callback_config", "callback_from_config",
    "checked_callbacks", "fields_of_kind", "handlers", "has_state", "register_callback", "restorable",
    "taken_up",
]  # fmt: skip

EVENTS = ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_rewire", "on_epoch_end", "on_fit_end")


@dataclass
class State:
    """What callbacks see. They may read all of it, predict and save; ``stop`` ends training soon."""

    trainer: TrainerLike
    network: Sequential
    epoch: int = 0  # completed epochs over all calls of fit
    step: int = 0  # completed steps over all calls of fit
    last_epoch: int = 0  # the epoch count at which this call of fit ends
    steps: int = 1  # how many of them on_step_end tells of: several where workers learn alone
    loss: float = math.nan  # of the last batch, or the mean over these steps
    row: dict[str, Any] = field(default_factory=dict)  # on_epoch_end: the new row of the history
    rewired: RewiringRecord | None = None  # on_rewire: links removed and grown
    validates: bool = False  # whether there is validation data
    stop: bool = False  # end training after this epoch

    def multiples(self, n: int) -> int:
        """How many multiples of n are among the steps that on_step_end tells of."""
        return self.step // n - (self.step - self.steps) // n


class Callback(HintedArguments):
    """Base of callbacks; every method may be left out.

    Attributes
    ----------
    fields : tuple of str
        Fields that it keeps in the stores. Only those that a callback with a ``config()``, the optimizer or
        the rewiring rule names are saved, and brought back with a best network.
    saves : bool
        Whether it saves the trainer: it is then told of everything after all others, wherever it stands; but
        of the end of ``fit`` before them, since they may bring back another network then.
    """

    fields: ClassVar[tuple[str, ...]] = ()
    saves: ClassVar[bool] = False

    def on_fit_begin(self, state: State) -> None:
        """Before the first epoch of a call of ``fit``."""

    def on_epoch_begin(self, state: State) -> None:
        """Before the first step of an epoch; not again when an unfinished one is gone on with."""

    def on_step_end(self, state: State) -> None:
        """After a step."""

    def on_rewire(self, state: State) -> None:
        """After a rewiring; ``state.rewired`` counts dropped and grown links."""

    def on_epoch_end(self, state: State) -> None:
        """After an epoch and its validation; ``state.row`` is its row of the history."""

    def on_fit_end(self, state: State) -> None:
        """After the last epoch, also when training was interrupted."""

    def evaluated_network(self, network: Sequential) -> Sequential:
        """What validation and `Trainer.evaluate` look at in place of the network that is trained."""
        return network

    def config(self) -> dict[str, Any] | None:
        """JSON-able state, so that resuming continues where it stopped. None: cannot be saved, left out."""
        return None

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Arrays that belong to :meth:`config`."""
        return {}

    def restore(self, config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over what :meth:`config` and :meth:`arrays` gave.

        They may come from a file that somebody made up. Raise ValueError, TypeError or KeyError for what you
        do not know or cannot use; nothing else looks at your state.
        """

    def check(self, trainer: TrainerLike, network: Sequential) -> None:
        """ValueError if this callback's state does not fit the trainer; when saving and when resuming.

        ``network`` is the trainer's, or one that may be brought back in its place.
        """


def checked_callbacks(callbacks: Iterable[Any]) -> list[Any]:
    """A list of objects that each handle some event; TypeError otherwise."""
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a list of callbacks, got {describe(callbacks)}")
    found = list(callbacks)
    for i, callback in enumerate(found):
        if not any(callable(getattr(callback, event, None)) for event in EVENTS):
            raise TypeError(
                f"callbacks[{i}] must have one of the methods {', '.join(EVENTS)}, got {describe(callback)}"
            )
    return found


def handlers(callbacks: Iterable[Any]) -> dict[str, list[Callable[[State], None]]]:
    """The methods to call at each event: those that exist and are not the base's empty ones.

    In the order of the callbacks; but those who save come after all others, so that what they save has
    everybody's figures. At the end of ``fit`` they come first: a run is gone on with from where it stopped,
    not from the best network that is brought back then.
    """
    others: dict[str, list[Callable[[State], None]]] = {event: [] for event in EVENTS}
    savers: dict[str, list[Callable[[State], None]]] = {}
    for callback in callbacks:
        saves = getattr(callback, "saves", False)
        for event, nothing in _NOTHING:
            method = getattr(callback, event, None)
            if method is not None and getattr(method, "__func__", None) is not nothing:
                (savers.setdefault(event, []) if saves else others[event]).append(method)
    for event, last in savers.items():
        others[event] = last + others[event] if event == "on_fit_end" else others[event] + last
    return others


_NOTHING = [(event, getattr(Callback, event)) for event in EVENTS]


def brings_network(callback: Any) -> bool:
    """Whether a callback says which network is evaluated: it has the method, and not the base's."""
    method = getattr(callback, "evaluated_network", None)
    return callable(method) and getattr(method, "__func__", None) is not Callback.evaluated_network


def has_state(callback: Any) -> bool:
    """Whether a callback can be saved and given its state back."""
    config = getattr(callback, "config", None)
    own = callable(config) and getattr(config, "__func__", None) is not Callback.config
    return own and callable(getattr(callback, "restore", None))


def callback_config(callback: Any) -> dict[str, Any] | None:
    """A callback's ``config()``, or None when it has none."""
    config = getattr(callback, "config", None)
    return config() if callable(config) else None


def restorable(callback: Any, saved: Any) -> bool:
    """Whether ``saved``, a ``config()``, is of a callback of this kind that watches the same figure."""
    own = callback_config(callback)
    if own is None or not isinstance(saved, Mapping) or not hasattr(callback, "restore"):
        return False
    watches = getattr(callback, "_watches_as", None)
    return own.get("name") == saved.get("name") and (watches is None or watches(saved))


def taken_up(callbacks: Iterable[Any], saved: Iterable[Any]) -> list[int | None]:
    """For each callback the number of the saved ``config()`` whose state it takes up; None: it has none.

    Of those of its kind, with the same figure where it watches one, that is one with the same arguments; else
    the first one that is left. What stands between them does not matter.
    """
    callbacks, free = list(callbacks), dict(enumerate(saved))
    found: list[int | None] = [None] * len(callbacks)
    for alike in (True, False):
        for at, callback in enumerate(callbacks):
            if found[at] is not None:
                continue
            for i, config in free.items():
                if restorable(callback, config) and (not alike or _same_arguments(callback, config)):
                    found[at] = i
                    del free[i]
                    break
    return found


def _same_arguments(callback: Any, saved: Mapping[str, Any]) -> bool:
    own, its = ({**config, "state": None} for config in (callback_config(callback) or {}, saved))
    return own == its


KINDS = Registry(
    "callback", Callback, "a Callback", by_class=True,
    hint="; callbacks= takes one's own when a trainer is resumed",
)  # fmt: skip


def register_callback(cls: type[Callback]) -> type[Callback]:
    """Make a callback known to :func:`callback_from_config` under its name.

    From a file it is made by its constructor, from the entries of its ``config()`` but for ``"name"`` and
    ``"state"``; then :meth:`Callback.restore` gets all of them, and has to refuse what it does not know.
    """
    return KINDS.register(cls)


def fields_of_kind(saved: Mapping[str, Any]) -> tuple[str, ...]:
    """The fields that a callback of this ``config()`` keeps, if its kind is registered."""
    known = saved.get("name") in KINDS.names()
    return KINDS.named(saved["name"]).fields if known else ()


def callback_from_config(config: Mapping[str, Any]) -> Callback:
    """A built-in callback from its ``config()``, without its state."""
    if not isinstance(config, Mapping):
        raise TypeError(f"a callback must be a dict, got {describe(config)}")
    kind = KINDS.find(config.get("name"))
    return kind(**{k: v for k, v in config.items() if k not in ("name", "state")})
