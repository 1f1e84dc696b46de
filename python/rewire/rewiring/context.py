"""One rewiring: what a rule knows of it, the names of its random numbers, and the record of its changes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from rewire.network import Sequential
from rewire.neurons import RemovedNeurons
from rewire.parameters import SparseParameter
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.schedule import TrainingProgress

__all__ = [
    "CANDIDATES", "CUSTOM", "DORMANT_LINKS", "OWED", "REBALANCE", "SOFT_DROP", "SURPLUS", "WHOLE_SLOTS",
    "Key", "RewiringContext", "RewiringRecord",
]  # fmt: skip

OWED = "owed"  # in a rule's memory, by layer: links that are owed, and links that the layer has

# Purposes of random streams. Their bytes are part of the seed of a stream: other words would change results.
CANDIDATES = "candidates"  # the candidates of GSE
CUSTOM = "custom"  # what a function of the user draws
DORMANT_LINKS = "awakening"  # how many dormant links of soft DEEP R become active
REBALANCE = "settle"  # which new links are left out so that the network's number of links stays
SOFT_DROP = "soft removal"  # which links the soft rule of CHT keeps
SURPLUS = "surplus"  # which new links are left out where more than wanted were placed
WHOLE_SLOTS = "newcomers"  # the order in which slots of different sizes are tried until the budget is used up


class Key(NamedTuple):
    """The name of the random numbers of one layer in one rewiring."""

    seed: int
    stream: int  # the layer
    step: int  # the rewiring: 1, 2, ...


@dataclass
class RewiringContext:
    """What a rule knows of one rewiring of one network.

    Attributes
    ----------
    network : Sequential
    progress : TrainingProgress
    ordinal : int
        1 for a trainer's first rewiring.
    threads : int
    memory : dict
        What the rule keeps from one rewiring to the next: numbers, words, lists of them and arrays, by names.
        Saved and resumed with the trainer. Change it in :meth:`Rewiring.committed` only.
    notes : dict
        What :meth:`Rewiring.plans` hands on to :meth:`Rewiring.committed`.
    wanted : dict of str to int
        Links that parameters, by name, are to have afterwards: see :meth:`Rewiring.regrow`.
    """

    network: Sequential
    progress: TrainingProgress
    ordinal: int
    threads: int
    memory: dict[str, Any]
    _probe: GradientProbe | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    wanted: dict[str, int] = field(default_factory=dict)

    def owed(self, layer: SparseParameter) -> int:
        """Links that earlier rewirings left out, less than a slot: see ``rewiring/budgets.py``."""
        owed, links = self.memory.get(OWED, {}).get(layer.name, (0, 0))
        return int(owed) if links == layer.nnz else 0  # with other links the layer was changed elsewhere

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
                "that looks at them, and train with a Trainer"
            )
        return self._probe

    def key(self, layer: SparseParameter) -> Key:
        """The name of the random numbers of this layer in this rewiring."""
        return Key(self.network.seed, layer.stream, self.ordinal)

    def generator(self, layer: SparseParameter, purpose: str) -> np.random.Generator:
        """A generator for rules in NumPy: a function of seed, layer, rewiring and purpose alone."""
        words = [self.network.seed, layer.stream, self.ordinal, *purpose.encode()]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


@dataclass
class RewiringRecord:
    """What one rewiring did, layer by layer (all layers with weights, zeros where nothing happened)."""

    removed: list[int] = field(default_factory=list)  # links
    grown: list[int] = field(default_factory=list)
    seconds: float = 0.0
    neurons: RemovedNeurons | None = None  # if neurons were removed for good
