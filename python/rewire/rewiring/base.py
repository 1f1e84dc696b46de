"""What every rewiring rule is: when, how many, what goes, what comes.

A rule makes one *plan* for every layer and all plans are committed together:
either the whole network is rewired or nothing has happened. Rules draw their
random numbers by (seed, layer, ordinal of the rewiring), so equal seeds give
equal networks whatever the threads.

WHEN EXACTLY? Before a step, never after the last one: a rewiring that is due
between epochs e and e + 1 is carried out when epoch e + 1 begins. So training
never ends with fresh links that have not seen a step, and training in two
pieces gives the same bits as training in one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

from rewire import _core
from rewire._checks import boolean, choice, describe, integer, number
from rewire.layers import Sparse
from rewire.network import Sequential

__all__ = [
    "Comes", "Every", "Goes", "Key", "Moment", "Record", "Rewiring", "Share", "register_rewiring", "rewiring",
]


class Key(NamedTuple):
    """Names the random numbers of one layer in one rewiring."""

    seed: int
    stream: int  # the layer
    step: int  # the rewiring: 1, 2, ...


class Moment(NamedTuple):
    """Where training stands: whole epochs and steps behind it, and whether an epoch is about to begin."""

    epoch: int
    step: int
    epoch_begins: bool


@dataclass
class Record:
    """What one rewiring did, layer by layer (all layers with weights, zeros where nothing happened)."""

    removed: list[int] = field(default_factory=list)  # links
    grown: list[int] = field(default_factory=list)
    seconds: float = 0.0


# --- the four choices -------------------------------------------------------------------


@dataclass(frozen=True)
class Every:
    """When: every so many epochs, or every so many steps.

    Parameters
    ----------
    epochs, steps : int, optional
        Exactly one; ``Every()`` is every epoch.
    stop : int, optional
        No rewiring from this epoch (or step) on.
    """

    epochs: int | None = None
    steps: int | None = None
    stop: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None and self.steps is not None:
            raise ValueError(f"give epochs or steps, got epochs={self.epochs!r} and steps={self.steps!r}")
        if self.steps is None:
            epochs = 1 if self.epochs is None else integer("epochs", self.epochs, low=1)
            object.__setattr__(self, "epochs", epochs)
        else:
            object.__setattr__(self, "steps", integer("steps", self.steps, low=1))
        if self.stop is not None:
            object.__setattr__(self, "stop", integer("stop", self.stop, low=0))

    def due(self, moment: Moment) -> bool:
        """Whether to rewire now."""
        if self.steps is not None:
            count, period, now = moment.step, self.steps, True
        else:
            count, period, now = moment.epoch, self.epochs or 1, moment.epoch_begins
        return now and count > 0 and count % period == 0 and (self.stop is None or count < self.stop)


@dataclass(frozen=True)
class Share:
    """How many: a fixed share of a layer's links."""

    value: float = 0.3

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("zeta", self.value, low=0.0, high=1.0))

    def at(self, moment: Moment) -> float:
        """The share at a moment."""
        return self.value


class Goes:
    """What goes: marks links of one layer for removal."""

    def mark(self, plan: _core.Plan, share: float, key: Key, threads: int) -> None:
        """Put removals into an empty plan."""
        raise NotImplementedError


class Comes:
    """What comes: places as many links as go."""

    def place(self, plan: _core.Plan, layer: Sparse, key: Key, threads: int) -> None:
        """Put ``plan.n_removed`` insertions, with their weights, into a plan."""
        raise NotImplementedError


# --- the rule ---------------------------------------------------------------------------


class Rewiring:
    """A rule, composed of four choices. Subclass it, or override :meth:`plan`, for rules that are not.

    Parameters
    ----------
    when : Every or None
        None: never.
    how_many : Share
    goes : Goes
    comes : Comes
    output_layer : bool
        Whether the last layer takes part.
    last_epoch : {"skip", "remove"}
        After the last epoch of ``fit``: nothing, or removal without regrowth as in the SET paper. A callback
        that ends training sooner leaves it out.

    Notes
    -----
    A layer with no empty place is left alone: its links could only come back where they went.
    """

    name: ClassVar[str] = ""

    def __init__(
        self,
        when: Every | None,
        how_many: Share,
        goes: Goes,
        comes: Comes,
        *,
        output_layer: bool = True,
        last_epoch: str = "skip",
    ) -> None:
        self.when, self.how_many, self.goes, self.comes = when, how_many, goes, comes
        self.output_layer = boolean("output_layer", output_layer)
        self.last_epoch = choice("last_epoch", last_epoch, ("skip", "remove"))

    def due(self, moment: Moment) -> bool:
        """Whether to rewire before the next step."""
        return self.when is not None and self.when.due(moment)

    def layers(self, network: Sequential) -> list[Sparse]:
        """The layers that take part."""
        return [
            layer
            for layer in network.sparse_layers
            if (self.output_layer or layer is not network.layers[-1])
            and layer.store.slots < layer.store.n_groups * layer.n_in
        ]

    def plan(
        self, layer: Sparse, network: Sequential, moment: Moment, key: Key, regrow: bool, threads: int
    ) -> _core.Plan:
        """The change of one layer."""
        plan = _core.Plan(layer.store)
        self.goes.mark(plan, self.how_many.at(moment), key, threads)
        if regrow:
            self.comes.place(plan, layer, key, threads)
        return plan

    def rewire(
        self, network: Sequential, moment: Moment, ordinal: int, threads: int, *, regrow: bool = True
    ) -> Record:
        """Plan all layers, commit all plans together.

        Raises
        ------
        BufferError
            If somebody views a store; the layer is named and nothing has changed.
        MemoryError
            Nothing has changed.
        """
        begin = time.perf_counter()
        layers = self.layers(network)
        network.refuse_views("rewired")
        plans = {
            layer.index: self.plan(
                layer, network, moment, Key(network.seed, layer.index, ordinal), regrow, threads
            )
            for layer in layers
        }
        record = Record()
        for layer in network.weight_layers:
            plan = plans.get(layer.index)
            record.removed.append(links_in(plan, removed=True) if plan else 0)
            record.grown.append(links_in(plan, removed=False) if plan else 0)
        _core.commit(list(plans.values()), threads)
        record.seconds = time.perf_counter() - begin
        return record

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`rewiring` reads it back."""
        raise NotImplementedError(f"{type(self).__name__} cannot be saved: it has no config()")

    def __repr__(self) -> str:
        words = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({words})"


def links_in(plan: _core.Plan, *, removed: bool) -> int:
    """Links of a plan's slots: ``group`` each, fewer in a last group that is not whole."""
    store = plan.store
    slots = plan.n_removed if removed else plan.n_inserted
    missing = store.n_groups * store.group - store.n_out
    links = slots * store.group
    if missing and slots:
        groups, _ = plan.removed() if removed else plan.inserted()
        links -= missing * int((groups == store.n_groups - 1).sum())
    return links


_KINDS: dict[str, Callable[..., Rewiring]] = {}


def register_rewiring(cls: type[Rewiring]) -> type[Rewiring]:
    """Make a rule known to :func:`rewiring` under its ``name``."""
    _KINDS[cls.name] = cls
    return cls


def rewiring(what: str | Rewiring | dict[str, Any] | None) -> Rewiring:
    """The rule that ``what`` names: an object, a name (its defaults), a ``config()``; None is static.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, Rewiring):
        return what
    options: dict[str, Any] = {}
    if isinstance(what, dict):
        options = {k: v for k, v in what.items() if k != "name"}
        what = what.get("name", "")
    listed = ", ".join(repr(k) for k in _KINDS)
    if what is None:
        what = "static"
    if not isinstance(what, str):
        raise TypeError(f"rewiring must be one of {listed}, a Rewiring or None, got {describe(what)}")
    kind = _KINDS.get(what.lower())
    if kind is None:
        raise ValueError(f"rewiring must be one of {listed} or None, got {what!r}")
    return kind(**options)
