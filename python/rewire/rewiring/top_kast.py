"""Top-KAST, truly sparse: the forward pass uses the top k links, the backward pass trains some more.

Jayakumar, Pascanu, Rae, Osindero, Elsen, *Top-KAST: Top-K Always Sparse Training*, NeurIPS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice, number
from rewire._positions import groups_of
from rewire.initializers import Zeros
from rewire.network import Sequential
from rewire.parameters import Field, SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.budgets import empty_links, empty_slots, links_in, remove_links, slot_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import (
    ScheduleLike,
    TrainingProgress,
    schedule_from,
)

__all__ = ["TopKAST"]

# Fields: what the optimizer trains in place of the weights, and whether a slot is in the forward set.
THETA, MASK = "theta", "mask"


@register_rule
class TopKAST(Rule):
    """The forward pass uses a layer's largest links; the others have weight zero, but train, and may enter.

    Parameters
    ----------
    forward_fraction : float in (0, 1]
        Fraction of a layer's links that the forward pass uses: set A, the forward set. All links are set B,
        the backward set. In the paper's terms the initial density is D + M, and ``forward_fraction`` times
        that is D: a fraction of links, not a density, because the layer already has the density of B.
    fraction : float in [0, 1]
        Fraction of the links outside A, the smallest, that is dropped at every refresh; as many grow.
    penalty : float >= 0
        Strength of the exploration loss: ``penalty`` on links in A, ``penalty / D`` on the others.
    norm : {"l2", "l1"}
        The norm of that loss. The paper's equation has ``|theta|``; public implementations take the L2 norm.
    every : int, str, Epochs, Steps or dict
        When to refresh the sets: after every 100 steps.
    end : int or float
        At this step all links outside A are dropped, and A is trained alone; a float is a fraction of the
        run.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    The source keeps a dense theta. Set A has the D largest ``|theta|`` of a layer, B the D + M largest;
    all of B gets gradients, those of the network that consists of A, and thetas outside B stay as they are.
    This is the truly sparse analogue: the store holds B. The thetas of all its links are in the field
    ``"theta"``, which a step of the optimizer changes instead of the weights; then the weight of a link in A
    is its theta, and that of any other is zero.
    At a refresh A becomes the ``forward_fraction`` of largest ``|theta|``; the smallest ``fraction`` of the
    others are dropped, and as many links grow at random positions, outside A and with theta = 0. So the
    thetas that the source has outside B have no counterpart. Ties are broken by a hash. The number of links
    stays the initial one until ``end``.

    The penalty follows the optimizer's step: theta -= lr * penalty * theta ("l2"), or lr * penalty towards
    zero ("l1"). The optimizer's ``weight_decay``, if any, is applied to all thetas beside it.
    Momentum and Adam's moments stay with a link that enters or leaves A. With groups a slot is in A or not,
    by the sum of ``|theta|`` over its rows. A layer that is full takes part, but nothing in it is replaced.

    The first refresh is before the first step of a trainer. Saving the network alone writes links outside A
    with weight zero; their thetas are saved with the trainer. Weights that were set from outside are taken
    over, as links of A, when ``fit`` is called; during a call they follow from the thetas after every step.
    Cost: a step takes as long as with D + M links, the forward pass included; memory: a weight and a byte
    more for every link.
    """

    name = "top-kast"
    memory = {"links": Entry.integer().by_parameter(), "ended": Entry.flag()}
    fields = {THETA: Field(power=0), MASK: Field("uint8", per_slot=True, low=0, high=1)}

    def __init__(
        self,
        forward_fraction: float = 0.5,
        *,
        fraction: float = 0.3,
        penalty: float = 1e-4,
        norm: str = "l2",
        every: ScheduleLike = 100,
        end: int | float = 0.75,
        layers: Layers = None,
    ) -> None:
        self.forward_fraction = number("forward_fraction", forward_fraction, low=0.0, high=1.0, open_low=True)
        self.penalty = number("penalty", penalty, low=0.0)
        self.norm = choice("norm", norm, ("l2", "l1"))
        super().__init__(
            schedule_from(every),
            end=end,
            layers=layers,
        )
        self.fraction = number("fraction", fraction, low=0.0, high=1.0)
        self.grow = GrowRandom(Zeros())

    # --- when ---------------------------------------------------------------------------

    def end_at(self, progress: TrainingProgress) -> int:
        """The step from which on only A is left."""
        return math.ceil(self.end * progress.steps) if isinstance(self.end, float) else self.end

    def due(self, progress: TrainingProgress) -> bool:
        return progress.step in (0, self.end_at(progress)) or super().due(progress)

    def overdue(self, progress: TrainingProgress, memory: Mapping[str, Any]) -> bool:
        return progress.step > self.end_at(progress) and not memory.get("ended", False)

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        return [parameter for parameter in parameters if parameter.core.slots > 0]

    # --- every step ---------------------------------------------------------------------

    def prepare(self, parameters: Sequence[SparseParameter], network: Sequential | None = None) -> None:
        super().prepare(parameters, network)
        for parameter in self._masked(parameters, network):
            _take_over_weights(parameter.core)
            parameter.master = THETA

    def stepped(
        self,
        parameters: Sequence[SparseParameter],
        progress: TrainingProgress,
        threads: int,
        *,
        seed: int,
        network: Sequential | None = None,
    ) -> None:
        for parameter in self._masked(parameters, network):
            core, rate = parameter.core, progress.lr * parameter.rate * self.penalty
            density = self.forward_fraction * core.slots / parameter.geometry.n_positions  # D
            _core.topkast_derive(core, THETA, MASK, rate, rate / density, self.norm == "l1", threads)
            parameter.touch()

    def _masked(
        self, parameters: Sequence[SparseParameter], network: Sequential | None
    ) -> list[SparseParameter]:
        """Those that take part and have links."""
        return [q for q in self.participants(parameters, network) if q.core.slots > 0]

    # --- a refresh ----------------------------------------------------------------------

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        known = context.memory.get("links")
        links = context.first("links", parameters, lambda parameter: parameter.nnz)
        ended = context.progress.step >= self.end_at(context.progress)
        context.remember("ended", ended)
        plans = []
        for parameter in parameters:
            store, key = parameter.core, (*context.key(parameter), context.threads)
            theta = np.abs(store.get_field(THETA), dtype=np.float64)
            score = theta[:, 0] if store.group == 1 else theta.sum(axis=1)
            total = links[parameter.name]
            others = self._others(parameter, score, total, context)
            drop = outside = others.n_removed
            if not ended:
                drop = min(int(self.fraction * outside), empty_slots(parameter)) if known else 0
            plan = context.plan(parameter)
            plan.prune_scores(score, drop, *key)  # the smallest of the others, because the order is the same
            if context.regrow and not ended:
                removed = links_in(plan, removed=True)
                missing = min(max(0, total - parameter.nnz + removed), empty_links(parameter) + removed)
                plan = self.grow.place_links(plan, parameter, missing, context)
            up = ~others.marked()
            at = np.flatnonzero((up != store.get_field(MASK)[:, 0]) & ~plan.marked())
            groups, sources = groups_of(store).take(at).astype(np.int32), store.sources().take(at)
            context.notes[parameter.name] = groups, sources, up.take(at).view(np.uint8)
            plans.append(plan)
        return plans

    def _others(
        self, parameter: SparseParameter, score: NDArray[np.float64], total: int, context: RewiringContext
    ) -> _core.Plan:
        """A plan that removes the links outside A of a layer that is to have ``total`` links."""
        each, key = slot_links(parameter) or 1, (*context.key(parameter), context.threads)
        most = parameter.core.slots - 1  # one slot is always in A
        inside = max(1, math.floor(self.forward_fraction * (total // each) + 0.5)) * each
        return remove_links(
            lambda plan, count: plan.prune_scores(score, min(count, most), *key),
            parameter,
            parameter.nnz - inside,
        )

    def committed(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> None:
        for parameter in parameters:
            _core.topkast_select(parameter.core, THETA, MASK, *context.notes[parameter.name])
            parameter.touch()


def _take_over_weights(store: _core.Store) -> None:
    """Let slots whose weights somebody has set, and are not as thetas say, join the forward set."""
    weight, theta, mask = (store.get_field(name) for name in ("weight", THETA, MASK))
    others = (weight != np.where(mask, theta, 0)).any(axis=1)
    if others.any():
        theta[others], mask[others] = weight[others], 1
        store.set_field(THETA, theta)
        store.set_field(MASK, mask)
