"""What every rewiring rule is: when, how many, what goes, what comes.

A rule makes one *plan* for every layer and all plans are committed together:
either the whole network is rewired or nothing has happened. Rules draw their
random numbers by (seed, layer, ordinal of the rewiring), so equal seeds give
equal networks whatever the threads.

WHEN EXACTLY? Before a step, never after the last one: a rewiring that is due
between epochs e and e + 1 is carried out when epoch e + 1 begins. So training
never ends with fresh links that have not seen a step, and training in two
pieces gives the same bits as training in one. A rule that asks for gradients
gets them of the batch that the coming step trains on.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import numpy as np

from rewire import _checks, _core
from rewire._checks import boolean, choice, describe, integer
from rewire._params import Parameters
from rewire.layers import Sparse, Updates
from rewire.network import Sequential
from rewire.neurons import RemovedNeurons
from rewire.rewiring.budgets import (
    empty_links,
    empty_places,
    links_in,
    removing,
    slot_links,
    slot_sizes,
)
from rewire.rewiring.probe import Probe
from rewire.rewiring.when import Auto, Every, Moment, Once, Share, end_of, in_steps, shares_among

__all__ = [
    "Comes", "Goes", "Key", "Occasion", "Record", "Rewiring", "Spread", "register_rewiring", "rewiring",
    "rewiring_class", "rewiring_names",
]


OWED = "owed"  # in a rule's memory, by layer: links that are owed, and links that the layer has


class Key(NamedTuple):
    """Names the random numbers of one layer in one rewiring."""

    seed: int
    stream: int  # the layer
    step: int  # the rewiring: 1, 2, ...


@dataclass
class Occasion:
    """One rewiring of one network, and what a rule may look at.

    Attributes
    ----------
    network : Sequential
    moment : Moment
    ordinal : int
        1 for a trainer's first rewiring.
    threads : int
    memory : dict
        What the rule keeps from one rewiring to the next: numbers, words, lists of them and arrays, by names.
        Saved and resumed with the trainer. Change it in :meth:`Rewiring.committed` only.
    notes : dict
        What :meth:`Rewiring.plans` hands on to :meth:`Rewiring.committed`.
    wanted : dict of int to int
        Links that layers, by index, are to have afterwards: see :meth:`Rewiring.regrow`.
    """

    network: Sequential
    moment: Moment
    ordinal: int
    threads: int
    memory: dict[str, Any]
    _probe: Probe | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    wanted: dict[int, int] = field(default_factory=dict)

    def owed(self, layer: Sparse) -> int:
        """Links that earlier rewirings left out, less than a slot: see ``rewiring/budgets.py``."""
        owed, links = self.memory.get(OWED, {}).get(str(layer.index), (0, 0))
        return int(owed) if links == layer.nnz else 0  # else somebody else has changed the layer

    @property
    def probe(self) -> Probe:
        """Gradients of the coming batch, for rules whose ``probe_batches`` is not 0."""
        if self._probe is None:
            raise RuntimeError("this rule looks at gradients, and none were given: train with a Trainer")
        return self._probe

    def key(self, layer: Sparse) -> Key:
        """Names the random numbers of this layer in this rewiring."""
        return Key(self.network.seed, layer.index, self.ordinal)

    def generator(self, layer: Sparse, purpose: str) -> np.random.Generator:
        """A generator for rules in NumPy: a function of seed, layer, rewiring and purpose alone."""
        words = [self.network.seed, layer.index, self.ordinal, *purpose.encode()]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass
class Record:
    """What one rewiring did, layer by layer (all layers with weights, zeros where nothing happened)."""

    removed: list[int] = field(default_factory=list)  # links
    grown: list[int] = field(default_factory=list)
    seconds: float = 0.0
    neurons: RemovedNeurons | None = None  # if neurons were removed for good


# --- the choices ------------------------------------------------------------------------


class Goes:
    """What goes: marks links for removal."""

    probe_batches: int = 0  # batches of gradients that it looks at

    def run_shares(self) -> dict[str, Any]:
        """The parameters that are shares of the run."""
        return {}

    def mark(self, plan: _core.Plan, layer: Sparse, share: float, occasion: Occasion) -> None:
        """Put the removals of one layer into its empty plan."""
        raise NotImplementedError

    def mark_all(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], share: float, occasion: Occasion
    ) -> None:
        """Put the removals of all layers into their plans; rules with a global scope override this."""
        for plan, layer in zip(plans, layers, strict=True):
            self.mark(plan, layer, share, occasion)


class Spread:
    """How newcomers are spread over layers: here, every layer gets as many as went."""

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], occasion: Occasion
    ) -> Sequence[int]:
        """Links that come, layer by layer; at most the places that will be empty."""
        return [
            min(gone + occasion.owed(layer), gone + empty_links(layer))
            for gone, layer in zip((links_in(plan, removed=True) for plan in plans), layers, strict=True)
        ]

    def settle(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], comes: Comes, occasion: Occasion
    ) -> Sequence[_core.Plan]:
        """The plans once they are whole; one that moves budgets makes sure here that no link is lost."""
        return plans


class Comes:
    """What comes: places new links."""

    probe_batches: int = 0
    returns: bool = True  # whether a place just emptied may be filled again

    def place(self, plan: _core.Plan, layer: Sparse, count: int, occasion: Occasion) -> None:
        """Put insertions of ``count`` slots, with their weights, into a plan that has its removals."""
        raise NotImplementedError

    def weigh(self, plan: _core.Plan, layer: Sparse, occasion: Occasion) -> None:
        """Put the weights of newcomers into a plan that has them; zero without."""

    def room(self, plan: _core.Plan, layer: Sparse) -> int:
        """Slots that can come to a layer whose plan has its removals."""
        return empty_places(layer) + (plan.n_removed if self.returns else 0)

    def place_links(self, plan: _core.Plan, layer: Sparse, links: int, occasion: Occasion) -> _core.Plan:
        """A plan with the removals of ``plan`` and as many links that come, or less than a slot fewer."""
        if alike := slot_links(layer):
            self.place(plan, layer, links // alike, occasion)
            return plan
        group, room = layer.store.group, self.room(plan, layer)
        gains = links - links_in(plan, removed=True)
        count = min(links // group, room)
        while True:
            self.place(trial := removing(plan), layer, count, occasion)
            missing = gains - links_in(trial, removed=False) + links_in(trial, removed=True)
            more = min(missing // group, room - count)
            if more <= 0:
                break
            count += more
        if missing >= 0:
            return trial
        # One that does not place the same slots and more when asked for more has placed too many.
        newcomers = [np.asarray(a) for a in trial.inserted()]
        order = occasion.generator(layer, "surplus").permutation(len(newcomers[0]))
        ends = np.cumsum(slot_sizes(layer, newcomers[0])[order])
        kept = np.sort(order[np.searchsorted(ends, -missing) + 1 :])
        trial = removing(trial)
        trial.insert(*(a[kept] for a in newcomers))
        self.weigh(trial, layer, occasion)
        return trial


# --- the rule ---------------------------------------------------------------------------


class Rewiring(Parameters):
    """A rule, composed of choices. Subclass it, or override :meth:`plans`, for rules that are not.

    Parameters
    ----------
    when : Every, Once or None
        None: never.
    how_many : Share
    goes : Goes
    comes : Comes
    spread : Spread, optional
        Every layer gets as many as went, by default.
    until : int or float, optional
        No rewiring from this step on, whatever ``when`` says; a float is a share of the run.
    output_layer : bool
        Whether the last layer takes part.
    last_epoch : {"skip", "remove"}
        After the last epoch of ``fit``: nothing, or removal without regrowth as in the SET paper. A callback
        that ends training sooner leaves it out.

    Attributes
    ----------
    probe_batches : int
        Batches whose gradients the rule looks at: 0, 1 (the coming one), or more (and others, at random).
    skip_step : bool
        Whether a rewiring takes the place of the optimizer's step on the coming batch, as in RigL's code.
    starts_full : bool
        Whether the rule is made for layers that start full, or nearly: it brings the density down.
    fields : dict of str to (dtype, per_slot, birth)
        What the rule keeps for every link; see ``WeightStore.add_field``. A dtype "weight" is the network's.

    Notes
    -----
    A layer with no empty place is left alone: its links could only come back where they went.
    """

    name: ClassVar[str] = ""
    skip_step: bool = False
    starts_full: bool = False
    fields: ClassVar[dict[str, tuple[str, bool, float]]] = {}

    def __init__(
        self,
        when: Every | Once | Auto | None,
        how_many: Share,
        goes: Goes,
        comes: Comes,
        *,
        spread: Spread | None = None,
        until: int | float | None = None,
        output_layer: bool = True,
        last_epoch: str = "skip",
    ) -> None:
        self.when, self.how_many, self.goes, self.comes = when, how_many, goes, comes
        self.spread = Spread() if spread is None else spread
        self.until = None if until is None else end_of("end", until, low=0)
        self.output_layer = boolean("output_layer", output_layer)
        self.last_epoch = choice("last_epoch", last_epoch, ("skip", "remove"))

    @property
    def remembers_as(self) -> str:
        """Whose memory this is: a trainer that gets a rule of another kind begins with an empty one."""
        return self.name

    @property
    def probe_batches(self) -> int:
        """Batches whose gradients the rule looks at."""
        return max(self.goes.probe_batches, self.comes.probe_batches)

    def probe_weights(self, batches: int) -> Sequence[float]:
        """The weight of each of the batches looked at, the coming one first."""
        return [1.0] * batches

    def due(self, moment: Moment) -> bool:
        """Whether to rewire before the next step."""
        if self.until is not None and moment.step >= in_steps(self.until, moment):
            return False
        return self.when is not None and self.when.due(moment)

    def overdue(self, moment: Moment, memory: dict[str, Any]) -> bool:
        """Whether to rewire before the next step although it is not due.

        For rules that promise something at an end: where epochs become shorter, an end that is a share of the
        run may lie behind all at once. ``memory`` says whether the rule has been there.
        """
        return False

    # --- what it says of a run ------------------------------------------------------------

    def parts(self) -> list[Rewiring]:
        """The rule, and rules that it holds."""
        return [self]

    def run_shares(self) -> dict[str, Any]:
        """Parameters that are shares of the run, with their values."""
        found: dict[str, Any] = shares_among(end=self.until)
        for part in (self.when, self.how_many, self.goes):
            found |= part.run_shares() if part is not None else {}
        return found

    def acts(self, moment: Moment) -> bool:
        """Whether its period, of those of :meth:`parts`, makes it due."""
        return self.due(moment)

    def layers(self, network: Sequential) -> list[Sparse]:
        """The layers that take part."""
        return [layer for layer in self.eligible(network) if empty_places(layer) > 0]

    def eligible(self, network: Sequential) -> list[Sparse]:
        """All sparse layers, but the last one only with ``output_layer``."""
        return [
            layer for layer in network.sparse_layers if self.output_layer or layer is not network.layers[-1]
        ]

    # --- life with a trainer ------------------------------------------------------------

    def prepare(self, network: Sequential) -> None:
        """Before training: every call of ``fit`` makes sure that the fields are there."""
        for layer in network.sparse_layers:
            for name, (dtype, per_slot, birth) in self.fields.items():
                kind = network.dtype if dtype == "weight" else dtype
                there = layer.store.fields.get(name)
                if there is not None and there[:2] != (kind, 1 if per_slot else layer.group):
                    layer.store.drop_field(name)  # of another owner
                    there = None
                if there is None:
                    layer.store.add_field(name, kind, per_slot=per_slot, birth=birth)

    def join(self, updates: Updates, network: Sequential) -> None:
        """Before every step of the optimizer: what it is to do beside its own, into ``updates.settle``."""

    def stepped(self, network: Sequential, moment: Moment, threads: int) -> None:
        """After every step of the optimizer; ``moment.lr`` is that step's. Its time counts as rewiring."""

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        """After a rewiring was carried out: the place to change fields and ``occasion.memory``."""

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        """ValueError, TypeError or KeyError unless memory and fields are what this rule keeps.

        They may come from a file that somebody made up. A rule that changes ``occasion.memory`` in
        :meth:`committed` overrides this, and refuses what it does not know.

        Parameters
        ----------
        network : Sequential
        memory : dict
        step : int
            Steps the trainer has taken.
        """
        check_by_layer(memory, OWED, network, _owed_and_has)
        if set(memory) - {OWED} and type(self).committed is Rewiring.committed:
            raise ValueError(f"memory: {type(self).__name__} keeps nothing, got {describe(memory)}")
        for layer in network.sparse_layers:
            for name, (dtype, per_slot, _) in self.fields.items():
                layer.check_field(name, network.dtype if dtype == "weight" else dtype, per_slot=per_slot)

    # --- one rewiring -------------------------------------------------------------------

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        """The change of every layer, ready to be committed together."""
        plans = [_core.Plan(layer.store) for layer in layers]
        self.goes.mark_all(plans, layers, self.how_many.at(occasion.moment), occasion)
        if regrow:
            counts = self.spread.counts(plans, layers, occasion)
            plans = [self.regrow(*each, occasion) for each in zip(plans, layers, counts, strict=True)]
            plans = list(self.spread.settle(plans, layers, self.comes, occasion))
        return plans

    def regrow(
        self, plan: _core.Plan, layer: Sparse, links: int, occasion: Occasion, comes: Comes | None = None
    ) -> _core.Plan:
        """The plan with as many links that come (less than a slot fewer are owed until the next time).

        Parameters
        ----------
        comes : Comes, optional
            The rule's own by default.
        """
        occasion.wanted[layer.index] = layer.nnz - links_in(plan, removed=True) + links
        return (self.comes if comes is None else comes).place_links(plan, layer, links, occasion)

    def rewire(
        self,
        network: Sequential,
        moment: Moment,
        ordinal: int,
        threads: int,
        *,
        regrow: bool = True,
        memory: dict[str, Any] | None = None,
        probe: Probe | None = None,
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
        occasion = Occasion(network, moment, ordinal, threads, {} if memory is None else memory, probe)
        layers = self.layers(network)
        network.refuse_views("rewired")
        made = self.plans(layers, occasion, regrow)
        plans = {layer.index: plan for layer, plan in zip(layers, made, strict=True)}
        record = Record()
        for layer in network.weight_layers:
            plan = plans.get(layer.index)
            record.removed.append(links_in(plan, removed=True) if plan else 0)
            record.grown.append(links_in(plan, removed=False) if plan else 0)
        _core.commit(list(plans.values()), threads)
        self._note_owed(layers, occasion)
        self.committed(layers, occasion)
        record.seconds = time.perf_counter() - begin
        return record

    @staticmethod
    def _note_owed(layers: Sequence[Sparse], occasion: Occasion) -> None:
        """Remember what layers lack of what they were to have."""
        lacks = {a: occasion.wanted.get(a.index, a.nnz) - a.nnz for a in layers}
        owed = {str(a.index): [n, a.nnz] for a, n in lacks.items() if n > 0}
        occasion.memory.pop(OWED, None)
        if owed:
            occasion.memory[OWED] = owed

    @property
    def every(self) -> Every | Once | Auto | None:
        """The schedule, by the name that rules give it."""
        return self.when

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`rewiring` reads it back.

        Of a registered rule: its name and the attributes that are called like its parameters.
        """
        if _KINDS.get(self.name) is None:
            raise NotImplementedError(f"{type(self).__name__} cannot be saved: it has no config()")
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: it has no attribute {missing[0]!r}, "
                "as its parameter is called, nor a config() of its own"
            )
        return {"name": self.name, **{name: _plain(getattr(self, name)) for name in names}}

    def __repr__(self) -> str:
        words = ", ".join(f"{k}={v!r}" for k, v in self.config().items() if k != "name")
        return f"{type(self).__name__}({words})"


def _plain(value: Any) -> Any:
    """What JSON can hold of a rule's attribute."""
    return value.config() if hasattr(value, "config") else value


def check_by_layer(
    memory: dict[str, Any], name: str, network: Sequential, check: Callable[[str, Any], Any]
) -> None:
    """ValueError unless an entry of a rule's memory, if it is there, holds a number for sparse layers.

    By their index, as text; ``check`` looks at the numbers.
    """
    known = [str(layer.index) for layer in network.sparse_layers]
    found = _checks.one_of_types(f"memory: {name}", memory.get(name, {}), dict, "a dict of layers")
    for index, value in found.items():
        choice(f"memory: a layer of {name}", index, known)
        check(f"memory: {name} of layer {index}", value)


def slots_count(name: str, value: Any) -> int:
    """A checked number of slots: what a layer once had, perhaps before neurons went."""
    return integer(name, value, low=0, high=2**62)


def only(memory: dict[str, Any], *names: str) -> None:
    """ValueError for an entry of a rule's memory that is none of these."""
    for name in memory:
        choice("memory: an entry", name, (*names, OWED))


def _owed_and_has(name: str, value: Any) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError(f"{name} must be two numbers of links, got {describe(value)}")
    for links in value:
        slots_count(name, links)


_KINDS: dict[str, type[Rewiring]] = {}


def register_rewiring(cls: type[Rewiring]) -> type[Rewiring]:
    """Make a rule known to :func:`rewiring` under its ``name``.

    From a file it is made by its constructor, from the entries of its ``config()``; what it keeps in
    ``occasion.memory`` goes through its :meth:`Rewiring.check_state`, which has to refuse what it does not
    know.
    """
    _KINDS[cls.name] = cls
    return cls


def rewiring_names() -> list[str]:
    """The names that :func:`rewiring` knows, sorted."""
    return sorted(_KINDS)


def rewiring_class(name: str) -> type[Rewiring]:
    """The class of the rule with this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    return _KINDS[choice("rewiring", name, _KINDS)]


def rewiring(what: str | Rewiring | dict[str, Any] | Callable[..., Any] | None) -> Rewiring:
    """The rule that ``what`` names: an object, a name (its defaults), a ``config()``; None is static.

    A function becomes a :class:`~rewire.rewiring.Custom` rule.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, Rewiring):
        return what
    if callable(what) and not isinstance(what, type):
        from rewire.rewiring.custom import Custom  # it stands on this file

        return Custom(what)
    options: dict[str, Any] = {}
    if isinstance(what, dict):
        what, options = _checks.named("rewiring", what)
    listed = ", ".join(repr(k) for k in _KINDS)
    if what is None:
        what = "static"
    if not isinstance(what, str):
        raise TypeError(f"rewiring must be one of {listed}, a Rewiring or None, got {describe(what)}")
    kind = _KINDS.get(what.lower())
    if kind is None:
        raise ValueError(f"rewiring must be one of {listed} or None, got {what!r}")
    _checks.options(f"rewiring {what!r}", options, kind)
    return kind(**options)
