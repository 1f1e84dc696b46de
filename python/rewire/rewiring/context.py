"""One rewiring: what a rule knows of it, the names of its random numbers, and the record of its changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from rewire import _core
from rewire.network import Sequential
from rewire.neurons import RemovedNeurons
from rewire.parameters import SparseParameter
from rewire.rewiring.answers import plain
from rewire.rewiring.memory import OWED, Entry, Facts, check_memory
from rewire.rewiring.participation import gives_output
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.schedule import TrainingProgress

__all__ = [
    "CANDIDATES", "CUSTOM", "DORMANT_LINKS", "REBALANCE", "SOFT_DROP", "SURPLUS", "WHOLE_SLOTS",
    "Key", "RewiringContext", "RewiringRecord",
]  # fmt: skip

# Purposes of random streams. Their bytes are part of the seed of a stream: other words would change results.
CANDIDATES = "candidates"  # the candidates of GSE
CUSTOM = "custom"  # what a function of the user draws
DORMANT_LINKS = "awakening"  # how many dormant links of soft DEEP R become active
REBALANCE = "settle"  # which new links are left out so that the network's number of links stays
SOFT_DROP = "soft removal"  # which links the soft rule of CHT keeps
SURPLUS = "surplus"  # which new links are left out where more than wanted were placed
WHOLE_SLOTS = "newcomers"  # the order in which slots of different sizes are tried until the budget is used up


class Key(NamedTuple):
    """The name of the random numbers of one parameter in one rewiring."""

    seed: int
    stream: int  # the parameter's
    step: int  # the rewiring: 1, 2, ...


@dataclass
class RewiringContext:
    """What a rule knows of one rewiring.

    Attributes
    ----------
    parameters : sequence of SparseParameter
        All there are, those that take no part included.
    seed : int
    network : Sequential or None
        That they belong to; None in a program that has only parameters.
    progress : TrainingProgress
    ordinal : int
        1 for a trainer's first rewiring.
    threads : int
    memory : mapping
        What the rule keeps from one rewiring to the next, see :attr:`Rule.memory`. Saved and resumed with the
        trainer. It is changed by :meth:`remember`.
    regrow : bool
        Whether links grow; False after the last epoch with ``last_epoch="remove"``.
    notes : dict
        What :meth:`Rule.plans` hands on to :meth:`Rule.committed`.
    wanted : dict of str to int
        Links that parameters, by name, are to have afterwards. What is missing of these is owed: the next
        rewiring makes up for it.
    """

    parameters: Sequence[SparseParameter]
    seed: int
    network: Sequential | None
    progress: TrainingProgress
    ordinal: int
    threads: int
    memory: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    regrow: bool = True
    _probe: GradientProbe | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)
    remembered: dict[str, Any] = field(default_factory=dict)  # what the memory gets once all is committed
    declared: Mapping[str, Entry] | None = None  # the rule's memory; None: nobody says

    def plan(self, parameter: SparseParameter) -> _core.Plan:
        """An empty plan of a change to this parameter's connections."""
        return _core.Plan(parameter.core)

    # --- the rule's memory --------------------------------------------------------------

    def remember(self, name: str, value: Any) -> None:
        """Put a copy of an entry into the rule's memory once the rewiring was carried out: not if it fails.

        Raises
        ------
        TypeError, ValueError
            If the rule does not declare it, its check refuses it, or no file can hold it.
        """
        value = plain(f"memory: {name}", value)
        if self.declared is not None:
            facts = Facts([parameter.name for parameter in self.parameters], self.progress.step)
            check_memory({name: value}, self.declared, facts)
        self.remembered[name] = value

    def recall(self, name: str, default: Any) -> Any:
        """An entry as it will be after this rewiring; the default where there is none."""
        return self.remembered.get(name, self.memory.get(name, default))

    def first(
        self, name: str, parameters: Sequence[SparseParameter], value: Callable[[SparseParameter], Any]
    ) -> dict[str, Any]:
        """What ``value`` said of each parameter when the rule first met it, by name; it is remembered."""
        found = {q.name: value(q) for q in parameters} | self.memory.get(name, {})
        self.remember(name, found)
        return found

    def owed(self, parameter: SparseParameter) -> int:
        """Links that earlier rewirings left out, less than a slot: see ``rewiring/budgets.py``."""
        owed, links = self.memory.get(OWED, {}).get(parameter.name, (0, 0))
        return int(owed) if links == parameter.nnz else 0  # with other links it was changed elsewhere

    # --- what there is to look at ---------------------------------------------------------

    @property
    def probe(self) -> GradientProbe:
        """Gradients of the next batch, for rules whose ``probe_batches`` is not 0.

        Raises
        ------
        RuntimeError
            If there are none.
        """
        if self._probe is None:
            raise RuntimeError(
                "there are no gradients to look at: set probe_batches = 1 on the Drop or Grow (or the rule) "
                "that looks at them, and train with a Trainer, or give rewire() a probe"
            )
        return self._probe

    def gives_output(self, parameter: SparseParameter) -> bool:
        """Whether it belongs to the last layer; without a network, whether it is the last parameter."""
        return gives_output(parameter, self.parameters, self.network)

    # --- random numbers -------------------------------------------------------------------

    def key(self, parameter: SparseParameter) -> Key:
        """The name of the random numbers of this parameter in this rewiring."""
        return Key(self.seed, parameter.stream, self.ordinal)

    def generator(self, parameter: SparseParameter, purpose: str) -> np.random.Generator:
        """A generator for rules in NumPy: a function of seed, parameter, rewiring and purpose alone."""
        words = [self.seed, parameter.stream, self.ordinal, *purpose.encode()]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass
class RewiringRecord:
    """What one rewiring did.

    Attributes
    ----------
    removed, grown : dict of str to int
        Links, by the names of parameters; 0 where nothing happened.
    seconds : float
    neurons : RemovedNeurons or None
        If neurons were removed for good.
    """

    removed: dict[str, int] = field(default_factory=dict)
    grown: dict[str, int] = field(default_factory=dict)
    seconds: float = 0.0
    neurons: RemovedNeurons | None = None

    def by_layer(self, names: Sequence[Sequence[str]]) -> tuple[list[int], list[int]]:
        """Removed and grown links of layers, by the names of their parameters: `Sequential.weight_names`."""
        removed, grown = (
            [sum(links.get(name, 0) for name in own) for own in names] for links in (self.removed, self.grown)
        )
        return removed, grown

    def add(self, other: RewiringRecord) -> None:
        """Count the links of another one as well."""
        for mine, theirs in ((self.removed, other.removed), (self.grown, other.grown)):
            for name, links in theirs.items():
                mine[name] = mine.get(name, 0) + links
