"""What comes: at random, or where the gradient is largest."""

from __future__ import annotations

import numpy as np

from rewire import _core
from rewire.initializers import Initializer
from rewire.layers import Sparse
from rewire.rewiring.budgets import empty_slots, first_links, links_in, removing, slot_links, slot_sizes
from rewire.rewiring.context import RewiringContext

__all__ = ["Grow", "GrowByGradient", "GrowRandom", "draw"]


class Grow:
    """What comes: places new links."""

    probe_batches: int = 0
    refill: bool = True  # whether a place just emptied may be filled again

    def place(self, plan: _core.Plan, layer: Sparse, count: int, context: RewiringContext) -> None:
        """Put insertions of ``count`` slots, with their weights, into a plan that has its removals."""
        raise NotImplementedError

    def weigh(self, plan: _core.Plan, layer: Sparse, context: RewiringContext) -> None:
        """Put the weights of new links into a plan that has them; zero without."""

    def room(self, plan: _core.Plan, layer: Sparse) -> int:
        """Slots that can come to a layer whose plan has its removals."""
        return empty_slots(layer) + (plan.n_removed if self.refill else 0)

    def place_links(
        self, plan: _core.Plan, layer: Sparse, links: int, context: RewiringContext
    ) -> _core.Plan:
        """A plan with the removals of ``plan`` and as many links that come, or less than a slot fewer."""
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
        # One that does not place the same slots and more when asked for more has placed too many.
        new_links = [np.asarray(a) for a in trial.inserted()]
        order = context.generator(layer, "surplus").permutation(len(new_links[0]))
        ends = np.cumsum(slot_sizes(layer, new_links[0])[order])
        kept = np.sort(order[np.searchsorted(ends, -missing) + 1 :])
        trial = removing(trial)
        trial.insert(*(a[kept] for a in new_links))
        self.weigh(trial, layer, context)
        return trial


def draw(init: Initializer, plan: _core.Plan, layer: Sparse, context: RewiringContext) -> None:
    """Weights for a plan's new links."""
    seed, stream, step = context.key(layer)
    init.draw(
        plan, layer.nnz, layer.activation.gain, seed=seed, stream=stream, step=step, threads=context.threads
    )


class GrowRandom(Grow):
    """Uniformly over the empty places.

    Parameters
    ----------
    init : Initializer
        Weights of new links.
    refill : bool
        Whether a place just emptied may be filled again.
    """

    def __init__(self, init: Initializer, *, refill: bool = True) -> None:
        self.init, self.refill = init, refill

    def place(self, plan: _core.Plan, layer: Sparse, count: int, context: RewiringContext) -> None:
        if self.refill:
            plan.grow_random(count, *context.key(layer), context.threads)
        else:
            fresh = _core.Plan(layer.core)
            fresh.grow_random(count, *context.key(layer), context.threads)
            plan.insert(*fresh.inserted())
        self.weigh(plan, layer, context)

    def weigh(self, plan: _core.Plan, layer: Sparse, context: RewiringContext) -> None:
        draw(self.init, plan, layer, context)

    def place_links(
        self, plan: _core.Plan, layer: Sparse, links: int, context: RewiringContext
    ) -> _core.Plan:
        if slot_links(layer):
            return super().place_links(plan, layer, links, context)
        # More than enough are drawn, and of these, in a random order, the first that make up so many links.
        store = layer.core
        enough = min(-(-links // layer.geometry.last_rows), self.room(plan, layer))
        fresh = removing(plan) if self.refill else _core.Plan(store)
        fresh.grow_random(enough, *context.key(layer), context.threads)
        groups, sources = fresh.inserted()
        order = context.generator(layer, "newcomers").permutation(enough)
        chosen = np.sort(order[: first_links(layer, groups[order], links)])
        plan.insert(groups[chosen], sources[chosen])
        self.weigh(plan, layer, context)
        return plan


class GrowByGradient(Grow):
    """Where |dL/dw| is largest of all empty places, exactly, in O(count) memory.

    Of a slot the sum over its rows; ties are broken by a hash of (seed, rewiring, row, source).

    Parameters
    ----------
    init : Initializer
        Weights of new links.
    refill : bool
        Whether a place just emptied competes. One that wins was never away: it keeps weight and momentum.

    Notes
    -----
    O(n_in * n_out * batch) operations, streamed group by group past a bounded selection.
    """

    probe_batches = 1

    def __init__(self, init: Initializer, *, refill: bool = True) -> None:
        self.init, self.refill = init, refill

    def place(self, plan: _core.Plan, layer: Sparse, count: int, context: RewiringContext) -> None:
        x, dz = context.probe.pair(layer)
        plan.grow_gradient(count, x, dz, self.refill, *context.key(layer), context.threads)
        if self.refill:
            plan.keep_common()
        self.weigh(plan, layer, context)

    def weigh(self, plan: _core.Plan, layer: Sparse, context: RewiringContext) -> None:
        draw(self.init, plan, layer, context)
