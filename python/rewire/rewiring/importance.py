"""Importance pruning: neurons whose incoming weights are small are removed, with all their links.

Curci, Mocanu, Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732 (2022), section 3.3, and
the authors' code.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice
from rewire._positions import groups_of
from rewire.network import Sequential
from rewire.neurons import refuse_fixed_widths, take_out
from rewire.parameters import Field, SparseParameter
from rewire.rewiring.base import KINDS, Rewiring, register_rewiring
from rewire.rewiring.budgets import links_in, removal
from rewire.rewiring.context import RewiringRecord
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


@register_rewiring
class ImportancePruning(Rewiring):
    """A fraction of the hidden neurons is removed periodically; another rule rewires in between and after.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of the neurons of each hidden sparse layer that is removed (0.2; the authors' parallel code
        takes 0.1).
    rule : str, dict or Rewiring
        The other rule, with a schedule of its own.
    begin : int or float
        No neuron is removed before this step; a float is a fraction of the run (0.4: epoch 200 of the
        authors' 500).
    every : int, str, Epochs, Steps or dict
        When to prune: after every ten epochs (the authors' parallel code takes 20).
    variant : {"corrected", "published"}
        How neurons are removed, see below.

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

    def __init__(
        self,
        fraction: float = 0.2,
        *,
        rule: str | dict[str, Any] | Rewiring | Callable[..., Any] = "set",
        begin: int | float = 0.4,
        every: ScheduleLike = Epochs(10),
        variant: str = "corrected",
    ) -> None:
        self.rule = KINDS.build("static" if rule is None else rule, "rule")
        if isinstance(self.rule, ImportancePruning):
            raise ValueError("rule must be another rule than importance pruning itself")
        self.starts_full = self.rule.starts_full
        super().__init__(
            schedule_from(every),
            fraction,
            output_layer=self.rule.output_layer,
            last_epoch=self.rule.last_epoch,
        )
        self.begin = end_of("begin", begin, low=0)
        self.variant = choice("variant", variant, ("corrected", "published"))

    # --- when -----------------------------------------------------------------------------

    def prunes(self, progress: TrainingProgress) -> bool:
        """Whether neurons are removed before the next step."""
        return super().due(progress) and progress.step >= in_steps(self.begin, progress)

    def due(self, progress: TrainingProgress) -> bool:
        return self.prunes(progress) or self.rule.due(progress)

    def overdue(self, progress: TrainingProgress, memory: dict[str, Any]) -> bool:
        return self.rule.overdue(progress, memory)

    def parts(self) -> list[Rewiring]:
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
    def probe_batches(self) -> int:
        return self.rule.probe_batches

    def probe_weights(self, batches: int) -> Sequence[float]:
        return self.rule.probe_weights(batches)

    @property
    def skip_step(self) -> bool:  # type: ignore[override]
        """Whether a rewiring replaces a step: as for the other rule."""
        return self.rule.skip_step

    def layers(self, network: Sequential) -> list[SparseParameter]:
        return self.rule.layers(network)

    def prepare(self, network: Sequential) -> None:
        if self.variant == "corrected":
            refuse_fixed_widths(network, self._prunable(network))
        self.rule.prepare(network)

    def stepped(self, network: Sequential, progress: TrainingProgress, threads: int) -> None:
        self.rule.stepped(network, progress, threads)

    @property
    def fields(self) -> dict[str, Field]:  # type: ignore[override]
        """What the other rule keeps for every link."""
        return self.rule.fields

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        self.rule.check_state(network, memory, step)

    # --- one rewiring -----------------------------------------------------------------------

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
        begin = time.perf_counter()
        layers = network.weight_layers
        record = RewiringRecord([0] * len(layers), [0] * len(layers))
        if regrow and self.prunes(progress):
            published = self.variant == "published"
            record = self._publish(network, threads) if published else self._correct(network)
        stale = record.neurons is not None and self.probe_batches > 0  # of the wider layers
        due = self.rule.due(progress) or self.rule.overdue(progress, {} if memory is None else memory)
        if (due and not stale) or not regrow:
            inner = self.rule.rewire(
                network, progress, ordinal, threads, regrow=regrow, memory=memory, probe=probe
            )
            for mine, theirs in ((record.removed, inner.removed), (record.grown, inner.grown)):
                mine[:] = [a + b for a, b in zip(mine, theirs, strict=True)]
        record.seconds = time.perf_counter() - begin
        return record

    def _correct(self, network: Sequential) -> RewiringRecord:
        """Remove neurons from the layers."""
        layers = network.weight_layers
        removed = {}
        for layer in self._prunable(network):
            importance = group_importance(layer)
            alive = np.flatnonzero(np.diff(layer.core.indptr()))
            count = max(0, min(int(self.fraction * alive.size), alive.size - 1))
            chosen = alive[np.argsort(importance[alive], kind="stable")[:count]]
            neurons = (chosen[:, None] * layer.group + np.arange(layer.group)).ravel()
            removed[layers.index(layer.owner)] = neurons[neurons < layer.n_out]
        before = [layer.nnz for layer in layers]
        found = take_out(network, removed)
        lost = [n - layer.nnz for n, layer in zip(before, layers, strict=True)]
        return RewiringRecord(lost, [0] * len(lost), neurons=found if any(found.removed) else None)

    @staticmethod
    def _prunable(network: Sequential) -> list[SparseParameter]:
        """The layers that lose neurons: hidden ones."""
        return [layer for layer in network.sparse_parameters if layer.owner is not network.layers[-1]]

    def _publish(self, network: Sequential, threads: int) -> RewiringRecord:
        """Remove the incoming links of neurons."""
        network.refuse_views("rewired")
        layers, plans = network.weight_layers, []
        lost = [0] * len(layers)
        for layer in self._prunable(network):
            importance = group_importance(layer)
            small = importance <= np.percentile(importance, 100 * self.fraction)
            groups = groups_of(layer.core)
            slots = small[groups]
            plans.append(removal(layer.core, groups[slots].astype(np.int32), layer.core.sources()[slots]))
            lost[layers.index(layer.owner)] = links_in(plans[-1], removed=True)
        _core.commit(plans, threads)
        return RewiringRecord(lost, [0] * len(lost))


def group_importance(layer: SparseParameter) -> NDArray[np.float64]:
    """Mean importance of the neurons of each group, shape (n_groups,)."""
    begins = np.arange(0, layer.n_out, layer.group)
    sums = np.add.reduceat(layer.magnitudes_in(), begins)
    return sums / np.minimum(layer.group, layer.n_out - begins)
