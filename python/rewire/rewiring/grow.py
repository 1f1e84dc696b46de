"""Grow criteria: where new links are placed, at random or where the gradient is largest."""

from __future__ import annotations

import numpy as np

from rewire import _core
from rewire._params import shown
from rewire.initializers import Initializer
from rewire.parameters import SparseParameter
from rewire.rewiring.budgets import empty_slots, first_links, links_in, removing, slot_links, slot_sizes
from rewire.rewiring.context import SURPLUS, WHOLE_SLOTS, RewiringContext

__all__ = ["Grow", "GrowByGradient", "GrowRandom", "draw"]


class Grow:
    """Base of all grow criteria: they place new links.

    A rule that grows nothing has one of this class.
    """

    probe_batches: int = 0
    refill: bool = True  # whether a link that is being dropped may be regrown

    def __repr__(self) -> str:
        return shown(self)

    def place(self, plan: _core.Plan, layer: SparseParameter, count: int, context: RewiringContext) -> None:
        """Put insertions of ``count`` slots, with their weights, into a plan that has its removals."""
        raise NotImplementedError

    def weigh(self, plan: _core.Plan, layer: SparseParameter, context: RewiringContext) -> None:
        """Put the weights of new links into a plan that has them; zero without."""

    def room(self, plan: _core.Plan, layer: SparseParameter) -> int:
        """How many slots can be grown in a layer whose plan has its removals."""
        return empty_slots(layer) + (plan.n_removed if self.refill else 0)

    def place_links(
        self, plan: _core.Plan, layer: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        """A plan with the removals of ``plan`` and ``links`` new links, or less than a slot fewer."""
        if alike := slot_links(layer):
            self.place(plan, layer, links // alike, context)
            return plan
        group, room = layer.core.group, self.room(plan, layer)
        gains = links - links_in(plan, removed=True)
        count = min(links // group, room)
        while True:
            self.place(trial := removing(plan), layer, count, context)
            missing = gains - links_in(trial, removed=False) + links_in(trial, removed=True)
            more = min(missing // group, room - count)
            if more <= 0:
                break
            count += more
        if missing >= 0:
            return trial
        # Too many, if the slots for a larger count do not include those for a smaller one.
        new_links = [np.asarray(a) for a in trial.inserted()]
        order = context.generator(layer, SURPLUS).permutation(len(new_links[0]))
        ends = np.cumsum(slot_sizes(layer, new_links[0])[order])
        kept = np.sort(order[np.searchsorted(ends, -missing) + 1 :])
        trial = removing(trial)
        trial.insert(*(a[kept] for a in new_links))
        self.weigh(trial, layer, context)
        return trial


def draw(init: Initializer, plan: _core.Plan, layer: SparseParameter, context: RewiringContext) -> None:
    """Draw weights for a plan's new links."""
    seed, stream, step = context.key(layer)
    init.draw(plan, layer.nnz, layer.gain, seed=seed, stream=stream, step=step, threads=context.threads)


class GrowRandom(Grow):
    """Uniformly over the empty positions.

    Parameters
    ----------
    init : Initializer
        Weights of new links.
    refill : bool
        Whether a link that is being dropped may be regrown.
    """

    def __init__(self, init: Initializer, *, refill: bool = True) -> None:
        self.init, self.refill = init, refill

    def place(self, plan: _core.Plan, layer: SparseParameter, count: int, context: RewiringContext) -> None:
        if self.refill:
            plan.grow_random(count, *context.key(layer), context.threads)
        else:
            fresh = _core.Plan(layer.core)
            fresh.grow_random(count, *context.key(layer), context.threads)
            plan.insert(*fresh.inserted())
        self.weigh(plan, layer, context)

    def weigh(self, plan: _core.Plan, layer: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, layer, context)

    def place_links(
        self, plan: _core.Plan, layer: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        if slot_links(layer):
            return super().place_links(plan, layer, links, context)
        # Enough slots are drawn for any sizes; of these, in a random order, the first grow that fit.
        store = layer.core
        enough = min(-(-links // layer.geometry.last_rows), self.room(plan, layer))
        fresh = removing(plan) if self.refill else _core.Plan(store)
        fresh.grow_random(enough, *context.key(layer), context.threads)
        groups, sources = fresh.inserted()
        order = context.generator(layer, WHOLE_SLOTS).permutation(enough)
        chosen = np.sort(order[: first_links(layer, groups[order], links)])
        plan.insert(groups[chosen], sources[chosen])
        self.weigh(plan, layer, context)
        return plan


class GrowByGradient(Grow):
    """Where |dL/dw| is largest of all empty positions, exactly, in O(count) memory.

    A slot is scored by the sum over its rows; ties are broken by a hash of (seed, rewiring, row, source).

    Parameters
    ----------
    init : Initializer
        Weights of new links.
    refill : bool
        Whether links that are being dropped are candidates too. One that is chosen stays, with weight and
        momentum.

    Notes
    -----
    O(n_in * n_out * batch) operations, group by group, of which the top k are kept.
    """

    probe_batches = 1

    def __init__(self, init: Initializer, *, refill: bool = True) -> None:
        self.init, self.refill = init, refill

    def place(self, plan: _core.Plan, layer: SparseParameter, count: int, context: RewiringContext) -> None:
        x, dz = context.probe.pair(layer)
        plan.grow_gradient(count, x, dz, self.refill, *context.key(layer), context.threads)
        if self.refill:
            plan.keep_common()
        self.weigh(plan, layer, context)

    def weigh(self, plan: _core.Plan, layer: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, layer, context)
