"""The base of all rewiring rules: when they act, on which layers, what they plan and what they keep.

A rule makes one *plan* for every parameter and all plans are committed together:
either everything is rewired or nothing has happened. Rules draw their random
numbers by (seed, parameter, ordinal of the rewiring), so equal seeds give equal
networks whatever the threads.

Rules work on a list of `SparseParameter`, so that any program with stores can use
them; a network is there for those that follow paths through it.

WHEN EXACTLY? Before a step, never after the last one: a rewiring that is due
between epochs e and e + 1 is carried out when epoch e + 1 begins. So training
never ends with fresh links that have not seen a step, and training in two
pieces gives the same bits as training in one. A rule that asks for gradients
gets them of the batch that the next step trains on.
"""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, float_vector, integer, noted, refuse_shadowed
from rewire._params import Parameters
from rewire._registry import Registry
from rewire.initializers import KINDS as INITIALIZERS
from rewire.initializers import Initializer
from rewire.network import Sequential
from rewire.parameters import Field, SparseParameter
from rewire.parameters.field import check_fields
from rewire.parameters.sparse import refuse_views
from rewire.rewiring.answers import check_wanted, members, plans_of, stores
from rewire.rewiring.budgets import links_in
from rewire.rewiring.context import RewiringContext, RewiringRecord
from rewire.rewiring.memory import LINKS_OWED, OWED, Entry, Facts, check_declared, check_memory
from rewire.rewiring.participation import Layers, checked_layers, participants
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.schedule import (
    RewiringSchedule,
    ScheduleLike,
    TrainingProgress,
    end_of,
    in_steps,
    run_fractions_among,
    schedule_from,
)

__all__ = ["Rule", "register_rule", "rewiring", "rewiring_class", "rewiring_names"]


class Rule(Parameters):
    """Base of all rules: when to rewire and which layers. What to change is said in :meth:`plans`.

    A rule that drops links and grows others is a :class:`~rewire.rewiring.Swap` and need not plan by itself.

    Parameters
    ----------
    every : int, str, Epochs, Steps, Once, dict or None
        When to rewire; a bare number counts steps. None: never.
    end : int or float, optional
        No rewiring from this step on, whatever ``every`` says; a float is a fraction of the run.
    layers : int, str, sequence of these, or callable, optional
        Which layers take part: positions in the network (negative from the end), names (``"layers.2"``), or
        a function of a `SparseParameter` that returns True or False. ``"hidden"``: all but the last. None:
        all. Without a network, positions are those of the parameters.
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
        What the rule keeps for every link of the layers that take part.
    memory : dict of str to Entry
        What else it keeps from one rewiring to the next, in ``context.memory``. Saved and resumed with the
        trainer; an entry that is not declared here, or that its check refuses, is refused.
    needs_network : str
        What the rule needs the network for; "" for rules that only need parameters.
    unmergeable : str
        What the rule does that a merge of networks with links of their own would break (``rewire.WASSP``);
        "" for rules that keep nothing but numbers of links.
    """

    name: ClassVar[str] = ""
    skip_step: bool = False
    starts_full: bool = False
    probe_batches: int = 0
    needs_network: str = ""
    unmergeable: str = ""
    fields: Mapping[str, Field] = MappingProxyType({})
    memory: Mapping[str, Entry] = MappingProxyType({})

    def __init__(
        self,
        every: ScheduleLike | None,
        *,
        end: int | float | None = None,
        layers: Layers = None,
        last_epoch: str = "skip",
    ) -> None:
        self.every: RewiringSchedule | None = None if every is None else schedule_from(every)
        # A rule whose parameter `end` means something else sets that attribute afterwards; the base goes by
        # `rewiring_end`.
        self.rewiring_end = None if end is None else end_of("end", end, low=0)
        self.end: Any = self.rewiring_end
        self.layers = checked_layers(layers)
        self.last_epoch = choice("last_epoch", last_epoch, ("skip", "remove"))

    @property
    def remembers_as(self) -> str:
        """The owner of the memory: a trainer whose rule gets another owner begins with an empty memory."""
        return self.name

    @property
    def label(self) -> str:
        """The rule in a message."""
        return repr(self.name) if self.name else type(self).__name__

    def probe_weights(self, batches: int) -> Sequence[float]:
        """The weight of each batch of the gradient probe, the batch of the next step first."""
        return [1.0] * batches

    def weights_of_probe(self, batches: int) -> NDArray[np.float64]:
        """:meth:`probe_weights`, checked: as many numbers >= 0."""
        who = f"rewiring {self.label}: probe_weights"
        return float_vector(who, self.probe_weights(batches), batches, low=0.0)

    # --- when ---------------------------------------------------------------------------

    def due(self, progress: TrainingProgress) -> bool:
        """Whether to rewire before the next step."""
        if self.rewiring_end is not None and progress.step >= in_steps(self.rewiring_end, progress):
            return False
        return self.every is not None and self.every.due(progress)

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        """Whether to rewire before the next step although it is not due.

        For rules that promise something at an end. When epochs become shorter, an end that is a fraction of
        the run may have been passed without a rewiring; ``memory`` records whether there was one.
        """
        return False

    def parts(self) -> list[Rule]:
        """The rule, and rules that it holds."""
        return [self]

    def run_fractions(self) -> dict[str, Any]:
        """Parameters that are fractions of the run, with their values."""
        found: dict[str, Any] = run_fractions_among(end=self.rewiring_end)
        return found | (self.every.run_fractions() if self.every is not None else {})

    def acts(self, progress: TrainingProgress) -> bool:
        """Whether its period, of those of :meth:`parts`, makes it due."""
        return self.due(progress)

    # --- on what ------------------------------------------------------------------------

    def participants(
        self, parameters: Sequence[SparseParameter], network: Sequential | None = None
    ) -> list[SparseParameter]:
        """The parameters that ``layers`` names.

        Raises
        ------
        ValueError
            If it names one that is not there; those there are are listed.
        """
        return participants(self.layers, parameters, network)

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        """Those that :meth:`plans` is to plan for, of the parameters that take part: all by default."""
        return list(parameters)

    def check_network(self, network: Sequential | None) -> None:
        """ValueError if the rule needs a network and there is none."""
        if self.needs_network and network is None:
            raise ValueError(
                f"rewiring {self.name!r} needs the network that the parameters belong to, for "
                f"{self.needs_network}: give network="
            )

    # --- life with a trainer ------------------------------------------------------------

    def prepare(self, parameters: Sequence[SparseParameter], network: Sequential | None = None) -> None:
        """Before training: every call of ``fit`` makes sure that the fields are there.

        Raises
        ------
        ValueError
            If ``layers`` names what is not there, or the rule needs a network and there is none.
        TypeError, ValueError
            For ``fields``, ``memory`` or ``probe_batches`` that are no such things. Nothing has changed then.
        """
        parameters = stores("parameters", parameters)
        self.check_network(network)
        self.check_declarations()
        own = self.participants(parameters, network)
        for parameter in parameters:
            parameter.master = None
        for parameter in own:
            for name, field in self.fields.items():
                if not parameter.fits(name, field):  # it may have been left by another owner
                    parameter.add_field(name, field)

    def check_declarations(self) -> None:
        """TypeError or ValueError unless the class says what it keeps and looks at as rules do."""
        who = f"rewiring {self.label}"
        refuse_shadowed(who, self)
        check_fields(self.fields, f"{who}: fields")
        check_declared(self.memory, f"{who}: memory")
        integer(f"{who}: probe_batches", self.probe_batches, low=0)

    def stepped(
        self,
        parameters: Sequence[SparseParameter],
        progress: TrainingProgress,
        threads: int,
        *,
        seed: int,
        network: Sequential | None = None,
    ) -> None:
        """After every step of the optimizer, whose rate is ``progress.lr``. The time counts as rewiring."""

    def committed(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> None:
        """After a rewiring was carried out: the place to change fields.

        What it raises comes too late for a program without a trainer, which undoes the rewiring.
        """

    def check_state(
        self, parameters: Sequence[SparseParameter], memory: Mapping[str, Any], step: int
    ) -> None:
        """ValueError, TypeError or KeyError unless memory and fields are what this rule keeps.

        They may come from a file that somebody made up.

        Parameters
        ----------
        parameters : sequence of SparseParameter
        memory : mapping
        step : int
            Steps the trainer has taken.
        """
        facts = Facts([parameter.name for parameter in parameters], step)
        check_memory(memory, {**self.memory, OWED: LINKS_OWED}, facts)
        for parameter in parameters:
            for name, field in self.fields.items():
                birth = None if field.ages else (field.birth, field.birth)
                parameter.check_field(name, field, birth=birth)

    # --- one rewiring -------------------------------------------------------------------

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        """The change of every parameter, ready to be committed together.

        Parameters
        ----------
        parameters : sequence of SparseParameter
            Those of :meth:`workable`.
        context : RewiringContext
            With ``regrow`` False nothing may grow.

        Returns
        -------
        list of Plan
            One for each parameter: ``context.plan(parameter)`` is an empty one.
        """
        raise NotImplementedError(f"{type(self).__name__} must define plans(parameters, context)")

    def rewire(
        self,
        parameters: Sequence[SparseParameter],
        progress: TrainingProgress,
        ordinal: int,
        threads: int,
        *,
        seed: int,
        network: Sequential | None = None,
        regrow: bool = True,
        memory: dict[str, Any] | None = None,
        probe: GradientProbe | None = None,
    ) -> RewiringRecord:
        """Plan the change of all parameters, and commit all plans together.

        Parameters
        ----------
        parameters : sequence of SparseParameter
            All of the network or program, each with a name of its own.
        progress : TrainingProgress
        ordinal : int
            1 for the first rewiring, 2 for the second: names random numbers, together with ``seed``.
        threads : int
        seed : int
        network : Sequential, optional
            That the parameters belong to.
        regrow : bool
            Whether links grow.
        memory : dict, optional
            What earlier calls have left there; changed once all plans are committed.
        probe : GradientProbe, optional
            Gradients, for rules whose ``probe_batches`` is not 0.

        Returns
        -------
        RewiringRecord

        Raises
        ------
        BufferError
            If somebody views a store; the parameter is named and nothing has changed.
        MemoryError
            Nothing has changed.
        TypeError, ValueError
            If parameters have no names, ``layers`` names what is not there, or the network is missing; if
            :meth:`plans` gives anything but a fresh plan for each parameter, or something was to be
            remembered that is not declared. Nothing has changed. What the rule itself raises comes with a
            note that names it.
        """
        begin = time.perf_counter()
        parameters = stores("parameters", parameters)
        names = [parameter.name for parameter in parameters]
        self.check_network(network)
        self.check_declarations()
        memory = {} if memory is None else memory
        context = RewiringContext(
            parameters, seed, network, progress, ordinal, threads, MappingProxyType(memory), regrow, probe,
            declared=self.memory,
        )  # fmt: skip
        refuse_views(parameters, "rewired")
        who = f"rewiring {self.label}"
        place = f"while {who} acted, before step {progress.step + 1}"
        with noted(place):
            able = self.workable(self.participants(parameters, network), context)
            own = members(f"{who}: the parameters of workable", able, parameters)
            plans = plans_of(f"{who}: plans", self.plans(own, context), own)
            check_wanted(who, context.wanted, names)
        record = RewiringRecord(dict.fromkeys(names, 0), dict.fromkeys(names, 0))
        for parameter, plan in zip(own, plans, strict=True):
            record.removed[parameter.name] = links_in(plan, removed=True)
            record.grown[parameter.name] = links_in(plan, removed=False)
        if not regrow and any(record.grown.values()):
            grown = {name: links for name, links in record.grown.items() if links}
            raise ValueError(f"{who}: nothing may grow where context.regrow is False, got {grown}")
        self._commit(own, plans, progress, threads)
        with noted(place):
            self.committed(own, context)
        memory.update(context.remembered)
        memory.pop(OWED, None)
        lacks = {q.name: [context.wanted.get(q.name, q.nnz) - q.nnz, q.nnz] for q in own}
        if owed := {name: both for name, both in lacks.items() if both[0] > 0}:
            memory[OWED] = owed
        record.seconds = time.perf_counter() - begin
        return record

    def _commit(
        self, parameters: Sequence[SparseParameter], plans: Sequence[_core.Plan], progress: TrainingProgress,
        threads: int,
    ) -> None:  # fmt: skip
        """Carry out all plans or none; new links were born before this step."""
        ages = [(q, name) for q in parameters for name, field in self.fields.items() if field.ages]
        before = [q.birth_of(name) for q, name in ages]
        try:
            for q, name in ages:
                q.set_birth(name, progress.step)
            _core.commit(plans, threads)
        except BaseException:
            for (q, name), birth in zip(ages, before, strict=True):
                if birth is not None:
                    q.set_birth(name, birth)
            raise

    # --- saving -------------------------------------------------------------------------

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`rewiring` reads it back.

        Of a registered rule: its name and the attributes that are called like its parameters.

        Raises
        ------
        NotImplementedError
            For a class that is not registered under a name of its own; for a parameter without such an
            attribute, or whose value is no description, such as a function.
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
        if isinstance(value, Initializer):
            INITIALIZERS.saved_as(value)
        if hasattr(value, "config"):
            return value.config()
        try:
            json.dumps(value)
        except (TypeError, ValueError):
            kind = "function" if callable(value) else type(value).__name__
            raise NotImplementedError(
                f"{type(self).__name__} cannot be saved: its parameter {name!r} is a {kind}, "
                "which has no name; let the rule make it from numbers and words"
            ) from None
        return value


KINDS = Registry(
    "rewiring", Rule, "a dict, a function, a Rule or None",
    to_save="give it a `name` of its own and decorate it with @rewire.rewiring.register_rule",
)  # fmt: skip


def register_rule(cls: type[Rule]) -> type[Rule]:
    """Make a rule known to :func:`rewiring` under its ``name``; a decorator.

    From a file it is made by its constructor, from the entries of its ``config()``; what it keeps goes
    through the checks of its :attr:`Rule.memory` and :attr:`Rule.fields`.
    """
    return KINDS.register(cls)


def rewiring_names() -> list[str]:
    """The names that :func:`rewiring` knows, sorted."""
    return KINDS.names()


def rewiring_class(name: str) -> type[Rule]:
    """The class of the rule with this name.

    Raises
    ------
    ValueError
        If there is none.
    """
    return KINDS.named(name)


def rewiring(what: str | Rule | dict[str, Any] | Callable[..., Any] | None) -> Rule:
    """The rule that ``what``, the argument ``rewiring`` of a trainer, names.

    An object, a name (its defaults), a ``config()``; None is static. A function becomes a
    :class:`~rewire.rewiring.Custom` rule.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return KINDS.build("static" if what is None else what)
