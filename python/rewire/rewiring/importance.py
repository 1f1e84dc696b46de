"""Importance pruning: neurons whose incoming weights are small are removed, with all their links.

Curci, Mocanu, Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732 (2022), section 3.3, and
the authors' code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, number
from rewire._positions import groups_of
from rewire.network import Sequential
from rewire.neurons import refuse_fixed_widths, take_out
from rewire.parameters import Field, SparseParameter
from rewire.parameters.sparse import refuse_views
from rewire.rewiring.base import KINDS, Rule, register_rule
from rewire.rewiring.budgets import links_in, removal
from rewire.rewiring.context import RewiringRecord
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers, gives_output
from rewire.rewiring.probe import GradientProbe
from rewire.rewiring.schedule import (
    Epochs,
    ScheduleLike,
    TrainingProgress,
    end_of,
    in_steps,
    run_fractions_among,
    schedule_from,
)

__all__ = ["ImportancePruning"]


@register_rule
class ImportancePruning(Rule):
    """A fraction of the hidden neurons is removed periodically; another rule rewires in between and after.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of the neurons of each hidden sparse layer that is removed (0.2; the authors' parallel code
        takes 0.1).
    rule : str, dict or Rule
        The other rule, with a schedule of its own.
    begin : int or float
        No neuron is removed before this step; a float is a fraction of the run (0.4: epoch 200 of the
        authors' 500).
    every : int, str, Epochs, Steps or dict
        When to prune: after every ten epochs (the authors' parallel code takes 20).
    variant : {"corrected", "published"}
        How neurons are removed, see below.
    layers : int, str, list or callable, optional
        Which hidden layers lose neurons; all by default: see :class:`~rewire.rewiring.Rule`. The other rule
        has its own.

    Notes
    -----
    The importance of a neuron is the sum of |w| over its incoming links; with groups the mean over
    the group, which is removed as a whole.

    Corrected: of the neurons that have incoming links, the floor(fraction * n) least important are removed,
    but never the last; of equals the first. Their incoming and outgoing links, biases and optimizer state are
    removed with them, and the layers become narrower (:func:`rewire.remove_neurons`), so that nothing can
    regrow there; so are neurons that change no output. The constant output that such a neuron has by its bias
    is added to the biases of the next layer. A rule with a gradient probe skips a rewiring before which
    neurons were removed.

    Published: all hidden neurons whose importance is at most the layer's percentile of that fraction lose
    their incoming links. Neurons that have lost them before still count in the percentile, so that later
    prunings remove few or none; outgoing links and biases stay; the other rule may grow new links into them,
    but keeps the number of links that are left. A layer whose neurons are all equally important loses all its
    links.
    """

    name = "importance"
    unmergeable = "changes the sizes of layers"

    def __init__(
        self,
        fraction: float = 0.2,
        *,
        rule: str | dict[str, Any] | Rule | Callable[..., Any] = "set",
        begin: int | float = 0.4,
        every: ScheduleLike = Epochs(10),
        variant: str = "corrected",
        layers: Layers = None,
    ) -> None:
        self.rule = KINDS.build("static" if rule is None else rule, "rule")
        if len(self.rule.parts()) > 1:
            raise ValueError("rule must be another rule than importance pruning itself")
        self.starts_full = self.rule.starts_full
        self.fraction = number("fraction", fraction, low=0.0, high=1.0)
        super().__init__(schedule_from(every), layers=layers, last_epoch=self.rule.last_epoch)
        self.begin = end_of("begin", begin, low=0)
        self.variant = choice("variant", variant, ("corrected", "published"))

    # --- when -----------------------------------------------------------------------------

    def prunes(self, progress: TrainingProgress) -> bool:
        """Whether neurons are removed before the next step."""
        return super().due(progress) and progress.step >= in_steps(self.begin, progress)

    def due(self, progress: TrainingProgress) -> bool:
        return self.prunes(progress) or self.rule.due(progress)

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        return self.rule.overdue(progress, memory)

    def parts(self) -> list[Rule]:
        return [self, *self.rule.parts()]

    def run_fractions(self) -> dict[str, Any]:
        assert self.every is not None
        return self.every.run_fractions() | run_fractions_among(begin=self.begin)

    def acts(self, progress: TrainingProgress) -> bool:
        return self.prunes(progress)

    # --- delegated to the other rule ----------------------------------------------------------

    @property
    def remembers_as(self) -> str:
        return f"{self.name} around {self.rule.remembers_as}"

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        return self.rule.probe_batches

    def probe_weights(self, batches: int) -> Sequence[float]:
        return self.rule.probe_weights(batches)

    @property
    def skip_step(self) -> bool:  # type: ignore[override]
        """Whether a rewiring replaces a step: as for the other rule."""
        return self.rule.skip_step

    @property
    def needs_network(self) -> str:  # type: ignore[override]
        """What the rule needs the network for."""
        return 'variant="corrected", which removes neurons' if self._narrows else self.rule.needs_network

    @property
    def _narrows(self) -> bool:
        """Whether layers become narrower."""
        return self.variant == "corrected"

    @property
    def fields(self) -> Mapping[str, Field]:  # type: ignore[override]
        """What the other rule keeps for every link."""
        return self.rule.fields

    @property
    def memory(self) -> Mapping[str, Entry]:  # type: ignore[override]
        """What the other rule keeps from one rewiring to the next."""
        return self.rule.memory

    def prepare(self, parameters: Sequence[SparseParameter], network: Sequential | None = None) -> None:
        if self._narrows and network is not None:
            refuse_fixed_widths(network, self._prunable(parameters, network))
        super().prepare(parameters, network)
        self.rule.prepare(parameters, network)

    def stepped(
        self,
        parameters: Sequence[SparseParameter],
        progress: TrainingProgress,
        threads: int,
        *,
        seed: int,
        network: Sequential | None = None,
    ) -> None:
        self.rule.stepped(parameters, progress, threads, seed=seed, network=network)

    def check_state(
        self, parameters: Sequence[SparseParameter], memory: Mapping[str, Any], step: int
    ) -> None:
        self.rule.check_state(parameters, memory, step)

    # --- one rewiring -----------------------------------------------------------------------

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
        begin = time.perf_counter()
        self.check_network(network)
        record = RewiringRecord()
        if regrow and self.prunes(progress):
            if self._narrows:
                assert network is not None
                record = self._correct(parameters, network)
            else:
                record = self._publish(parameters, network, threads)
        stale = record.neurons is not None and self.probe_batches > 0  # of the wider layers
        due = self.rule.due(progress) or self.rule.overdue(progress, {} if memory is None else memory)
        if (due and not stale) or not regrow:
            record.add(
                self.rule.rewire(
                    parameters,
                    progress,
                    ordinal,
                    threads,
                    seed=seed,
                    network=network,
                    regrow=regrow,
                    memory=memory,
                    probe=probe,
                )  # fmt: skip
            )
        record.seconds = time.perf_counter() - begin
        return record

    def _correct(self, parameters: Sequence[SparseParameter], network: Sequential) -> RewiringRecord:
        """Remove neurons from the layers."""
        number_of = {id(layer): number for number, layer in enumerate(network.weight_layers)}
        removed = {}
        for parameter in self._prunable(parameters, network):
            importance = group_importance(parameter)
            alive = np.flatnonzero(np.diff(parameter.core.indptr()))
            count = max(0, min(int(self.fraction * alive.size), alive.size - 1))
            chosen = alive[np.argsort(importance[alive], kind="stable")[:count]]
            neurons = (chosen[:, None] * parameter.group + np.arange(parameter.group)).ravel()
            removed[number_of[id(parameter.owner)]] = neurons[neurons < parameter.n_out]
        connections = {name: q for name, q in network.parameters().items() if q.connects}
        before = {name: q.size for name, q in connections.items()}
        found = take_out(network, removed)
        lost = {name: before[name] - q.size for name, q in connections.items()}
        return RewiringRecord(lost, dict.fromkeys(lost, 0), neurons=found if any(found.removed) else None)

    def _prunable(
        self, parameters: Sequence[SparseParameter], network: Sequential | None
    ) -> list[SparseParameter]:
        """The parameters of layers that lose neurons: hidden ones."""
        some = self.participants(parameters, network)
        return [q for q in some if not gives_output(q, parameters, network)]

    def _publish(
        self, parameters: Sequence[SparseParameter], network: Sequential | None, threads: int
    ) -> RewiringRecord:
        """Remove the incoming links of neurons."""
        refuse_views(parameters, "rewired")
        plans, lost = [], dict.fromkeys([q.name for q in parameters], 0)
        for parameter in self._prunable(parameters, network):
            importance, core = group_importance(parameter), parameter.core
            small = importance <= np.percentile(importance, 100 * self.fraction)
            groups = groups_of(core)
            slots = small[groups]
            plans.append(removal(core, groups[slots].astype(np.int32), core.sources()[slots]))
            lost[parameter.name] = links_in(plans[-1], removed=True)
        _core.commit(plans, threads)
        return RewiringRecord(lost, dict.fromkeys(lost, 0))


def group_importance(parameter: SparseParameter) -> NDArray[np.float64]:
    """Mean importance of the neurons of each group, shape (n_groups,)."""
    begins = np.arange(0, parameter.n_out, parameter.group)
    sums = np.add.reduceat(parameter.magnitudes_in(), begins)
    return sums / np.minimum(parameter.group, parameter.n_out - begins)
