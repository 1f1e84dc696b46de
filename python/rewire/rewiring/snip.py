"""SNIP: a dense network is pruned once, before training.

Lee, Ajanthan, Torr, *SNIP: Single-Shot Network Pruning Based on Connection Sensitivity*, ICLR 2019.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, integer, number
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.budgets import common_slot, remove_links, slot_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import smallest_links
from rewire.rewiring.gmp import reserves
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import Once

__all__ = ["SNIP"]


@register_rule
class SNIP(Rule):
    """Before the first step all links but those of largest ``|gradient * weight|`` are dropped; then static.

    Parameters
    ----------
    density : float in (0, 1]
        The density afterwards, of the layers that take part. 0.1, twice that of rules that prune gradually,
        because pruning before training costs more accuracy.
    scope : {"global", "layer"}
        One threshold for all layers, the default as in the paper, or the same density in each.
    batches : int in [1, 1024]
        Number of batches whose gradients are used.
    step : int
        The step of training before which links are dropped; 0 is the first.
    reserve : float in [0, 1]
        With one threshold: the fraction that every layer keeps, whatever its scores, of the links that it
        would have in an Erdos-Renyi network (:func:`rewire.link_counts.erk_links`) of that density. 0, as in
        the paper: one slot.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    By definition the network starts dense, ``Sparse(..., density=1.0)``: its memory is that of all weights
    until the first step. One slot stays in every layer. A slot is scored by the sum over its rows.
    """

    name = "snip"
    starts_full = True

    def __init__(
        self,
        density: float = 0.1,
        *,
        scope: str = "global",
        batches: int = 1,
        step: int = 0,
        reserve: float = 0.5,
        layers: Layers = None,
    ) -> None:
        self.density = number("density", density, low=0.0, high=1.0, open_low=True)
        self.scope = choice("scope", scope, ("global", "layer"))
        self.reserve = number("reserve", reserve, low=0.0, high=1.0)
        self.batches = integer("batches", batches, low=1, high=1024)
        once = Once(step)
        self.step = once.step
        super().__init__(once, layers=layers)

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        return self.batches

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        return [parameter for parameter in parameters if parameter.core.slots > 0]

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        scores = [
            np.abs(context.probe.live(a).astype(np.float64) * a.core.get_field("weight")).sum(axis=1)
            for a in parameters
        ]
        if self.scope == "layer":
            return [
                self._alone(parameter, score, context)
                for parameter, score in zip(parameters, scores, strict=True)
            ]
        each = common_slot(parameters) or 1
        total = math.floor(self.density * (sum(a.n_out * a.n_in for a in parameters) // each) + 0.5) * each
        surplus = sum(a.nnz for a in parameters) - total
        counts = smallest_links(parameters, scores, surplus, reserves(parameters, self.density, self.reserve))
        plans = [context.plan(parameter) for parameter in parameters]
        for plan, parameter, score, count in zip(plans, parameters, scores, counts, strict=True):
            plan.prune_scores(score, count, *context.key(parameter), context.threads)
        return plans

    def _alone(
        self, parameter: SparseParameter, score: NDArray[np.float64], context: RewiringContext
    ) -> _core.Plan:
        """A plan that prunes one layer to the density."""
        each, key = slot_links(parameter) or 1, (*context.key(parameter), context.threads)
        wanted = max(1, math.floor(self.density * (parameter.n_out * parameter.n_in // each) + 0.5)) * each
        most = len(score) - 1
        return remove_links(
            lambda plan, count: plan.prune_scores(score, min(count, most), *key),
            parameter,
            parameter.nnz - wanted,
        )
