"""The base of all rewiring rules: when to rewire, what fraction to drop, by which criteria to drop and grow.

A rule makes one *plan* for every layer and all plans are committed together:
either the whole network is rewired or nothing has happened. Rules draw their
random numbers by (seed, layer, ordinal of the rewiring), so equal seeds give
equal networks whatever the threads.

WHEN EXACTLY? Before a step, never after the last one: a rewiring that is due
between epochs e and e + 1 is carried out when epoch e + 1 begins. So training
never ends with fresh links that have not seen a step, and training in two
pieces gives the same bits as training in one. A rule that asks for gradients
gets them of the batch that the next step trains on.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from rewire import _checks, _core
from rewire._checks import boolean, choice, describe, integer
from rewire._params import Parameters
from rewire._registry import Registry
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer
from rewire.network import Sequential
from rewire.parameters import Field, SparseParameter
from rewire.rewiring.budgets import empty_slots, links_in
from rewire.rewiring.context import OWED, RewiringContext, RewiringRecord
from rewire.rewiring.drop import Drop
from rewire.rewiring.fraction import Fraction
from rewire.rewiring.grow import Grow
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.redistribute import Redistribute
from rewire.rewiring.schedule import (
    Auto,
    RewiringSchedule,
    ScheduleLike,
    TrainingProgress,
    end_of,
    in_steps,
    run_fractions_among,
    schedule_from,
)

__all__ = ["Rewiring", "register_rewiring", "rewiring", "rewiring_class", "rewiring_names"]


class Rewiring(Parameters):
    """A rule composed of a schedule, a fraction, and criteria to drop, grow and redistribute links.

    Rules that are no such composition override :meth:`plans`, and leave out the criteria they do not need.

    Parameters
    ----------
    every : int, str, Epochs, Steps, Once, dict or None
        When to rewire; a bare number counts steps. None: never.
    fraction : Fraction or float
        What fraction of the links is dropped.
    drop : Drop, optional
        Which links are dropped.
    grow : Grow, optional
        Where links grow, and with what weights.
    redistribute : Redistribute, optional
        How many links grow in each layer; as many as were dropped from it, by default.
    end : int or float, optional
        No rewiring from this step on, whatever ``every`` says; a float is a fraction of the run.
    output_layer : bool
        Whether the last layer takes part.
    last_epoch : {"skip", "remove"}
        After the last epoch of ``fit``: nothing, or removal without regrowth as in the SET paper. A callback
        that ends training sooner leaves it out.

    Attributes
    ----------
    probe_batches : int
        Number of batches that the gradient probe of a rewiring covers: 0, 1 (the batch of the next step), or
        more (and others, at random).
    skip_step : bool
        Whether a rewiring replaces the optimizer's next step, as in RigL's code.
    starts_full : bool
        Whether the rule is made for layers that start full, or nearly: it brings the density down.
    fields : dict of str to Field
        What the rule keeps for every link.

    Notes
    -----
    A layer without empty positions is left alone: the links it drops could only be regrown in place.
    """

    name: ClassVar[str] = ""
    skip_step: bool = False
    starts_full: bool = False
    fields: ClassVar[dict[str, Field]] = {}

    def __init__(
        self,
        every: ScheduleLike | Auto | None,
        fraction: Fraction | float = 0.0,
        drop: Drop | None = None,
        grow: Grow | None = None,
        *,
        redistribute: Redistribute | None = None,
        end: int | float | None = None,
        output_layer: bool = True,
        last_epoch: str = "skip",
    ) -> None:
        self.every: RewiringSchedule | Auto | None = None
        if every is not None:
            self.every = every if isinstance(every, Auto) else schedule_from(every)
        # A rule whose parameters `fraction` and `end` mean something else sets these attributes afterwards;
        # what the base goes by is in `fraction_schedule` and `rewiring_end`. Its `every`, `output_layer` and
        # `last_epoch` are the base's own, and so are `drop`, `grow` and `redistribute`: see `__setattr__`.
        self.fraction_schedule = fraction if isinstance(fraction, Fraction) else Fraction(fraction)
        self.fraction: Any = fraction if isinstance(fraction, Fraction) else self.fraction_schedule.value
        self.drop = Drop() if drop is None else drop
        self.grow = Grow() if grow is None else grow
        self.redistribute = Redistribute() if redistribute is None else redistribute
        self.rewiring_end = None if end is None else end_of("end", end, low=0)
        self.end: Any = self.rewiring_end
        self.output_layer = boolean("output_layer", output_layer)
        self.last_epoch = choice("last_epoch", last_epoch, ("skip", "remove"))

    def __setattr__(self, name: str, value: Any) -> None:
        kind = _CRITERIA.get(name)
        if kind is not None and not isinstance(value, kind):
            raise TypeError(
                f"{type(self).__name__}.{name} must be a {kind.__name__}, as in every rule, "
                f"got {describe(value)}; a parameter that means something else needs another name"
            )
        super().__setattr__(name, value)

    @property
    def remembers_as(self) -> str:
        """The owner of the memory: a trainer whose rule gets another owner begins with an empty memory."""
        return self.name

    @property
    def probe_batches(self) -> int:
        """Number of batches that the gradient probe of a rewiring covers."""
        return max(self.drop.probe_batches, self.grow.probe_batches)

    def probe_weights(self, batches: int) -> Sequence[float]:
        """The weight of each batch of the gradient probe, the batch of the next step first."""
        return [1.0] * batches

    def due(self, progress: TrainingProgress) -> bool:
        """Whether to rewire before the next step."""
        if self.rewiring_end is not None and progress.step >= in_steps(self.rewiring_end, progress):
            return False
        return self.every is not None and self.every.due(progress)

    def overdue(self, progress: TrainingProgress, memory: dict[str, Any]) -> bool:
        """Whether to rewire before the next step although it is not due.

        For rules that promise something at an end. When epochs become shorter, an end that is a fraction of
        the run may have been passed without a rewiring; ``memory`` records whether there was one.
        """
        return False

    # --- the schedule of a run ------------------------------------------------------------

    def parts(self) -> list[Rewiring]:
        """The rule, and rules that it holds."""
        return [self]

    def run_fractions(self) -> dict[str, Any]:
        """Parameters that are fractions of the run, with their values."""
        found: dict[str, Any] = run_fractions_among(end=self.rewiring_end)
        for part in (self.every, self.fraction_schedule, self.drop):
            found |= part.run_fractions() if part is not None else {}
        return found

    def acts(self, progress: TrainingProgress) -> bool:
        """Whether its period, of those of :meth:`parts`, makes it due."""
        return self.due(progress)

    def layers(self, network: Sequential) -> list[SparseParameter]:
        """The layers that take part."""
        return [layer for layer in self.eligible(network) if empty_slots(layer) > 0]

    def eligible(self, network: Sequential) -> list[SparseParameter]:
        """All sparse layers, but the last one only with ``output_layer``."""
        return [
            layer
            for layer in network.sparse_parameters
            if self.output_layer or layer.owner is not network.layers[-1]
        ]

    # --- life with a trainer ------------------------------------------------------------

    def prepare(self, network: Sequential) -> None:
        """Before training: every call of ``fit`` makes sure that the fields are there."""
        for layer in network.sparse_parameters:
            layer.master = None
            for name, field in self.fields.items():
                if not layer.fits(name, field):  # it may have been left by another owner
                    layer.add_field(name, field)

    def stepped(self, network: Sequential, progress: TrainingProgress, threads: int) -> None:
        """After every step of the optimizer, whose rate is ``progress.lr``. The time counts as rewiring."""

    def committed(self, layers: Sequence[SparseParameter], context: RewiringContext) -> None:
        """After a rewiring was carried out: the place to change fields and ``context.memory``."""

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        """ValueError, TypeError or KeyError unless memory and fields are what this rule keeps.

        They may come from a file that somebody made up. A rule that changes ``context.memory`` in
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
        for layer in network.sparse_parameters:
            for name, field in self.fields.items():
                layer.check_field(name, field)

    # --- one rewiring -------------------------------------------------------------------

    def plans(
        self, layers: Sequence[SparseParameter], context: RewiringContext, regrow: bool
    ) -> list[_core.Plan]:
        """The change of every layer, ready to be committed together."""
        plans = [_core.Plan(layer.core) for layer in layers]
        self.drop.mark_all(plans, layers, self.fraction_schedule.at(context.progress), context)
        if regrow:
            counts = self.redistribute.counts(plans, layers, context)
            plans = [self.regrow(*each, context) for each in zip(plans, layers, counts, strict=True)]
            plans = list(self.redistribute.rebalance(plans, layers, self.grow, context))
        return plans

    def regrow(
        self,
        plan: _core.Plan,
        layer: SparseParameter,
        links: int,
        context: RewiringContext,
        grow: Grow | None = None,
    ) -> _core.Plan:
        """The plan with ``links`` new links (less than a slot fewer are owed until the next rewiring).

        Parameters
        ----------
        grow : Grow, optional
            The rule's own by default.
        """
        context.wanted[layer.name] = layer.nnz - links_in(plan, removed=True) + links
        return (self.grow if grow is None else grow).place_links(plan, layer, links, context)

    def rewire(
        self,
        network: Sequential,
        progress: TrainingProgress,
        ordinal: int,
        threads: int,
        *,
        regrow: bool = True,
        memory: dict[str, Any] | None = None,
        probe: GradientProbe | None = None,
    ) -> RewiringRecord:
        """Plan all layers, and commit all plans together.

        Raises
        ------
        BufferError
            If somebody views a store; the layer is named and nothing has changed.
        MemoryError
            Nothing has changed.
        """
        begin = time.perf_counter()
        memory = {} if memory is None else memory
        context = RewiringContext(network, progress, ordinal, threads, memory, probe)
        layers = self.layers(network)
        network.refuse_views("rewired")
        made = self.plans(layers, context, regrow)
        plans = {layer.name: plan for layer, plan in zip(layers, made, strict=True)}
        record = RewiringRecord()
        for names in network.weight_names:
            own = [plans[name] for name in names if name in plans]
            record.removed.append(sum(links_in(plan, removed=True) for plan in own))
            record.grown.append(sum(links_in(plan, removed=False) for plan in own))
        _core.commit(list(plans.values()), threads)
        self._note_owed(layers, context)
        self.committed(layers, context)
        record.seconds = time.perf_counter() - begin
        return record

    @staticmethod
    def _note_owed(layers: Sequence[SparseParameter], context: RewiringContext) -> None:
        """Remember how many links each layer lacks of the number it was to have."""
        lacks = {a: context.wanted.get(a.name, a.nnz) - a.nnz for a in layers}
        owed = {a.name: [n, a.nnz] for a, n in lacks.items() if n > 0}
        context.memory.pop(OWED, None)
        if owed:
            context.memory[OWED] = owed

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`rewiring` reads it back.

        Of a registered rule: its name and the attributes that are called like its parameters.

        Raises
        ------
        NotImplementedError
            For a class that is not registered under a name of its own; for a parameter without such an
            attribute, or whose value is no description.
        """
        word = KINDS.saved_as(self)
        names = list(inspect.signature(type(self).__init__).parameters)[1:]
        missing = [name for name in names if not hasattr(self, name)]
        if missing:
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: it has no attribute {missing[0]!r}, "
                "as its parameter is called, nor a config() of its own"
            )
        return {"name": word, **{name: self._described(name) for name in names}}

    def _described(self, name: str) -> Any:
        """What JSON can hold of an attribute."""
        value = getattr(self, name)
        if isinstance(value, tuple(_CRITERIA.values())):
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: its parameter {name!r} is a {type(value).__name__}, "
                "which has no name; let the rule make it from numbers and words"
            )
        if isinstance(value, Initializer):
            INITIALIZERS.saved_as(value)
        return value.config() if hasattr(value, "config") else value


_CRITERIA: dict[str, type] = {"drop": Drop, "grow": Grow, "redistribute": Redistribute}


def check_by_layer(
    memory: dict[str, Any], name: str, network: Sequential, check: Callable[[str, Any], Any]
) -> None:
    """ValueError unless an entry of a rule's memory, if it is there, holds a number for sparse layers.

    By their index, as text; ``check`` looks at the numbers.
    """
    known = [layer.name for layer in network.sparse_parameters]
    found = _checks.one_of_types(f"memory: {name}", memory.get(name, {}), dict, "a dict of layers")
    for index, value in found.items():
        choice(f"memory: a layer of {name}", index, known)
        check(f"memory: {name} of layer {index}", value)


def slots_count(name: str, value: Any) -> int:
    """A checked number of slots or links that a layer once had, perhaps before neurons were removed."""
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


KINDS = Registry(
    "rewiring", Rewiring, "a dict, a function, a Rewiring or None",
    to_save="give it a `name` of its own and decorate it with @rewire.rewiring.register_rewiring",
)  # fmt: skip


def register_rewiring(cls: type[Rewiring]) -> type[Rewiring]:
    """Make a rule known to :func:`rewiring` under its ``name``.

    From a file it is made by its constructor, from the entries of its ``config()``; what it keeps in
    ``context.memory`` goes through its :meth:`Rewiring.check_state`, which has to refuse what it does not
    know.
    """
    return KINDS.register(cls)


def rewiring_names() -> list[str]:
    """The names that :func:`rewiring` knows, sorted."""
    return KINDS.names()


def rewiring_class(name: str) -> type[Rewiring]:
    """The class of the rule with this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    return KINDS.named(name)


def rewiring(what: str | Rewiring | dict[str, Any] | Callable[..., Any] | None) -> Rewiring:
    """The rule that ``what`` names: an object, a name (its defaults), a ``config()``; None is static.

    A function becomes a :class:`~rewire.rewiring.Custom` rule.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build("static" if what is None else what)
