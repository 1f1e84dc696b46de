"""Top-KAST, truly sparse: forward uses the largest links, backward trains some more.

Jayakumar, Pascanu, Rae, Osindero, Elsen, *Top-KAST: Top-K Always Sparse Training*, NeurIPS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, choice, number
from rewire._positions import groups_of
from rewire.initializers import Zeros
from rewire.layers import Sparse, Updates
from rewire.network import Sequential
from rewire.rewiring.base import Rewiring, check_by_layer, only, register_rewiring, slots_count
from rewire.rewiring.budgets import empty_links, empty_slots, links_in, remove_links, slot_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.schedule import (
    ScheduleLike,
    TrainingProgress,
)

__all__ = ["TopKAST"]

ASLEEP, AWAKE = "asleep", "awake"


@register_rewiring
class TopKAST(Rewiring):
    """A layer's largest links are used; the others have weight zero, learn all the same, and may take over.

    Parameters
    ----------
    forward : float in (0, 1]
        Fraction of a layer's links that forward uses: set A. All links are set B. In the paper's terms the
        density of the start is D + M, and ``forward_fraction`` times that is D.
    fraction : float in [0, 1]
        Fraction of the links outside A, the smallest, that is replaced at every refresh.
    penalty : float >= 0
        Strength of the exploration loss: ``penalty`` on links in A, ``penalty / D`` on the others.
    norm : {"l2", "l1"}
        Of that loss. The paper's equation has ``|theta|``; public implementations take the L2 norm.
    every : int, str, Epochs, Steps or dict
        When to refresh the sets: after every 100 steps.
    end : int or float
        At this step all links outside A go, and A is trained alone; a float is a fraction of the run.
    output_layer : bool
        Whether the output layer takes part.

    Notes
    -----
    The source keeps a dense theta. Set A has the D largest ``|theta|`` of a layer, B the D + M largest;
    gradients, of the network that consists of A, go to all of B, and what lies outside B rests with the theta
    it has. This is the truly sparse analogue: the store holds B. What a link outside A would weigh is in the
    field ``"asleep"``; its weight is zero, and what a step of the optimizer does to it goes to the field. At
    a refresh A becomes the ``forward_fraction`` fraction of largest ``|theta|``; of the others the smallest
    ``fraction`` go, and as many links come, at random places, outside A and at theta = 0. So the thetas that
    the source has outside B have no counterpart. Ties are broken by a hash. The number of links is that of
    the start until ``end``.

    The penalty follows the optimizer's step: theta -= lr * penalty * theta ("l2"), or lr * penalty towards
    zero ("l1"). Leave the optimizer's ``weight_decay`` at zero: it does not see links outside A. Momentum and
    Adam's moments follow a link in and out of A. With groups a slot is in A or not, by the sum of ``|theta|``
    over its rows. A layer that is full takes part, but nothing in it is replaced.

    The first refresh comes before the first step of a trainer. Saving the network alone writes links outside
    A with weight zero; what they would weigh is saved with the trainer. Cost: a step takes as long as with D
    + M links, forward too; memory: a weight and a byte more for every link. What follows a step is part of
    it, row by row: its time is not in ``seconds_rewiring``.
    """

    name = "top-kast"
    fields = {ASLEEP: ("weight", False, 0.0), AWAKE: ("uint8", True, 0.0)}

    def __init__(
        self,
        forward_fraction: float = 0.5,
        *,
        fraction: float = 0.3,
        penalty: float = 1e-4,
        norm: str = "l2",
        every: ScheduleLike = 100,
        end: int | float = 0.75,
        output_layer: bool = True,
    ) -> None:
        self.forward_fraction = number("forward_fraction", forward_fraction, low=0.0, high=1.0, open_low=True)
        self.penalty = number("penalty", penalty, low=0.0)
        self.norm = choice("norm", norm, ("l2", "l1"))
        super().__init__(
            every,
            fraction,
            DropSmallest(),
            GrowRandom(Zeros()),
            end=end,
            output_layer=output_layer,
        )

    # --- when ---------------------------------------------------------------------------

    def end_at(self, progress: TrainingProgress) -> int:
        """The step from which on A is alone."""
        return math.ceil(self.end * progress.steps) if isinstance(self.end, float) else self.end

    def due(self, progress: TrainingProgress) -> bool:
        return progress.step in (0, self.end_at(progress)) or super().due(progress)

    def overdue(self, progress: TrainingProgress, memory: dict[str, Any]) -> bool:
        return progress.step > self.end_at(progress) and not memory.get("ended", False)

    def layers(self, network: Sequential) -> list[Sparse]:
        return [layer for layer in self.eligible(network) if layer.core.slots > 0]

    # --- every step ---------------------------------------------------------------------

    def join(self, updates: Updates, network: Sequential) -> None:
        rate = updates.weights.lr * self.penalty
        for layer in self.layers(network):
            density = self.forward_fraction * layer.core.slots / layer.geometry.n_positions  # D
            updates.penalties[layer.index] = _core.Penalty(rate, rate / density, self.norm == "l1")

    # --- a refresh ----------------------------------------------------------------------

    def plans(self, layers: Sequence[Sparse], context: RewiringContext, regrow: bool) -> list[_core.Plan]:
        known = context.memory.get("links")
        ended = context.progress.step >= self.end_at(context.progress)
        context.notes["links"] = known or {str(layer.index): layer.nnz for layer in layers}
        plans = []
        for layer in layers:
            store, key = layer.core, (*context.key(layer), context.threads)
            weight, kept = store.get_field("weight"), store.get_field(ASLEEP)
            theta = np.abs(weight + kept, dtype=np.float64)  # one of them is zero
            score = theta[:, 0] if store.group == 1 else theta.sum(axis=1)
            total = context.notes["links"].get(str(layer.index), layer.nnz)
            others = self._others(layer, score, total, context)
            drop = outside = others.n_removed
            if not ended:
                drop = min(int(self.fraction * outside), empty_slots(layer)) if known else 0
            plan = _core.Plan(store)
            plan.prune_scores(score, drop, *key)  # the smallest of the others: the order is the same
            if regrow and not ended:
                removed = links_in(plan, removed=True)
                missing = min(max(0, total - layer.nnz + removed), empty_links(layer) + removed)
                plan = self.grow.place_links(plan, layer, missing, context)
            up = ~others.marked()
            turns = up != store.get_field(AWAKE)[:, 0]
            # Before the first refresh, or where somebody has set weights, they lie on the wrong side.
            turns |= (up & (kept.T != 0).any(axis=0)) | (~up & (weight.T != 0).any(axis=0))
            at = np.flatnonzero(turns & ~plan.marked())
            groups, sources = groups_of(store).take(at).astype(np.int32), store.sources().take(at)
            context.notes[layer.label] = groups, sources, up.take(at).view(np.uint8)
            plans.append(plan)
        return plans

    def _others(
        self, layer: Sparse, score: NDArray[np.float64], total: int, context: RewiringContext
    ) -> _core.Plan:
        """A plan that removes what set A leaves of a layer that has ``total`` links at full strength."""
        each, key = slot_links(layer) or 1, (*context.key(layer), context.threads)
        most = layer.core.slots - 1  # one slot is always in A
        inside = max(1, math.floor(self.forward_fraction * (total // each) + 0.5)) * each
        return remove_links(
            lambda plan, count: plan.prune_scores(score, min(count, most), *key), layer, layer.nnz - inside
        )

    def committed(self, layers: Sequence[Sparse], context: RewiringContext) -> None:
        for layer in layers:
            _core.topkast_select(layer.core, ASLEEP, AWAKE, *context.notes[layer.label])
        context.memory["links"] = context.notes["links"]
        context.memory["ended"] = context.progress.step >= self.end_at(context.progress)

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        super().check_state(network, memory, step)
        only(memory, "links", "ended")
        check_by_layer(memory, "links", network, slots_count)
        boolean("memory: ended", memory.get("ended", False))
        for layer in network.sparse_layers:
            layer.check_field(ASLEEP, network.dtype, birth=(0, 0))
            layer.check_field(AWAKE, "uint8", per_slot=True, low=0, high=1, birth=(0, 0))
