"""What comes: at random, or where the gradient is largest."""

from __future__ import annotations

import numpy as np

from rewire import _core
from rewire.initializers import Initializer
from rewire.layers import Sparse
from rewire.rewiring.base import Comes, Occasion
from rewire.rewiring.budgets import first_links, removing, slot_links

__all__ = ["AtRandom", "ByGradient", "draw"]


def draw(init: Initializer, plan: _core.Plan, layer: Sparse, occasion: Occasion) -> None:
    """Weights for a plan's newcomers."""
    seed, stream, step = occasion.key(layer)
    init.draw(
        plan, layer.nnz, layer.activation.gain, seed=seed, stream=stream, step=step, threads=occasion.threads
    )


class AtRandom(Comes):
    """Uniformly over the empty places.

    Parameters
    ----------
    init : Initializer
        Weights of newcomers.
    returns : bool
        Whether a place just emptied may be filled again.
    """

    def __init__(self, init: Initializer, *, returns: bool = True) -> None:
        self.init, self.returns = init, returns

    def place(self, plan: _core.Plan, layer: Sparse, count: int, occasion: Occasion) -> None:
        if self.returns:
            plan.grow_random(count, *occasion.key(layer), occasion.threads)
        else:
            fresh = _core.Plan(layer.store)
            fresh.grow_random(count, *occasion.key(layer), occasion.threads)
            plan.insert(*fresh.inserted())
        self.weigh(plan, layer, occasion)

    def weigh(self, plan: _core.Plan, layer: Sparse, occasion: Occasion) -> None:
        draw(self.init, plan, layer, occasion)

    def place_links(self, plan: _core.Plan, layer: Sparse, links: int, occasion: Occasion) -> _core.Plan:
        if slot_links(layer):
            return super().place_links(plan, layer, links, occasion)
        # More than enough are drawn, and of these, in a random order, the first that make up so many links.
        store = layer.store
        enough = min(-(-links // (store.n_out % store.group)), self.room(plan, layer))
        fresh = removing(plan) if self.returns else _core.Plan(store)
        fresh.grow_random(enough, *occasion.key(layer), occasion.threads)
        groups, sources = fresh.inserted()
        order = occasion.generator(layer, "newcomers").permutation(enough)
        chosen = np.sort(order[: first_links(layer, groups[order], links)])
        plan.insert(groups[chosen], sources[chosen])
        self.weigh(plan, layer, occasion)
        return plan


class ByGradient(Comes):
    """Where |dL/dw| is largest of all empty places, exactly, in O(count) memory.

    Of a slot the sum over its rows; ties are broken by a hash of (seed, rewiring, row, source).

    Parameters
    ----------
    init : Initializer
        Weights of newcomers.
    returns : bool
        Whether a place just emptied competes. One that wins was never away: it keeps weight and momentum.

    Notes
    -----
    O(n_in * n_out * batch) operations, streamed group by group past a bounded selection.
    """

    probe_batches = 1

    def __init__(self, init: Initializer, *, returns: bool = True) -> None:
        self.init, self.returns = init, returns

    def place(self, plan: _core.Plan, layer: Sparse, count: int, occasion: Occasion) -> None:
        x, dz = occasion.probe.pair(layer)
        plan.grow_gradient(count, x, dz, self.returns, *occasion.key(layer), occasion.threads)
        if self.returns:
            plan.keep_common()
        self.weigh(plan, layer, occasion)

    def weigh(self, plan: _core.Plan, layer: Sparse, occasion: Occasion) -> None:
        draw(self.init, plan, layer, occasion)
