"""Grow criteria: where new links are placed, at random or where the gradient is largest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rewire import _core
from rewire._checks import integer, number
from rewire._params import shown
from rewire.initializers import Initializer
from rewire.parameters import SparseParameter
from rewire.rewiring.budgets import (
    empty_links,
    empty_slots,
    first_links,
    links_in,
    removing,
    slot_links,
    slot_sizes,
)
from rewire.rewiring.context import SURPLUS, WHOLE_SLOTS, RewiringContext

__all__ = ["Grow", "GrowByGradient", "GrowRandom", "draw"]


class Grow:
    """Base of all grow criteria: they place new links.

    One of your own defines :meth:`place`, for each layer by itself, or :meth:`place_all`, where layers
    compete for the new links.

    Attributes
    ----------
    probe_batches : int
        Batches of gradients that it looks at.
    needs_network : str
        What it needs the network for; "" if it does not.
    refill : bool
        Whether a link that is being dropped may be regrown.
    moves : bool
        Whether :meth:`place_all` moves links between layers: then the number of all of them is kept, to the
        link, whatever the layers grow.
    """

    probe_batches: int = 0
    needs_network: str = ""
    refill: bool = True
    moves: bool = False

    def __repr__(self) -> str:
        return shown(self)

    def probe_weights(self, batches: int) -> Sequence[float]:
        """The weight of each batch of the gradient probe, the batch of the next step first."""
        return [1.0] * batches

    def place(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        """Put insertions of ``count`` slots, with their weights, into a plan that has its removals."""
        raise NotImplementedError(f"{type(self).__name__} must define place or place_all")

    def weigh(self, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
        """Put the weights of new links into a plan that has them; zero without."""

    def place_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        counts: Sequence[int],
        context: RewiringContext,
    ) -> list[_core.Plan]:
        """Put insertions into the plans of all parameters, which have their removals.

        Criteria by which parameters compete for new links override this, and set ``moves``: ``sum(counts)``
        links are to grow, wherever.

        Parameters
        ----------
        plans : sequence of Plan
        parameters : sequence of SparseParameter
        counts : sequence of int
            Links that each is to grow, by the rule's redistribution. Those for which it has no room are left
            out.
        context : RewiringContext

        Returns
        -------
        list of Plan
            The plans that were given, or others in their place.
        """
        return [
            self.regrow(plan, parameter, min(links, self.most_links(plan, parameter)), context)
            for plan, parameter, links in zip(plans, parameters, counts, strict=True)
        ]

    def regrow(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        """:meth:`place_links`; what is less than a slot is owed until the next rewiring."""
        context.wanted[parameter.name] = parameter.nnz - links_in(plan, removed=True) + links
        return self.place_links(plan, parameter, links, context)

    def most_links(self, plan: _core.Plan, parameter: SparseParameter) -> int:
        """How many links can be grown in a parameter whose plan has its removals."""
        return empty_links(parameter) + (links_in(plan, removed=True) if self.refill else 0)

    def room(self, plan: _core.Plan, parameter: SparseParameter) -> int:
        """How many slots can be grown in a parameter whose plan has its removals."""
        return empty_slots(parameter) + (plan.n_removed if self.refill else 0)

    def place_links(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        """A plan with the removals of ``plan`` and ``links`` new links, or less than a slot fewer."""
        if alike := slot_links(parameter):
            self.place(plan, parameter, links // alike, context)
            return plan
        group, room = parameter.core.group, self.room(plan, parameter)
        gains = links - links_in(plan, removed=True)
        count = min(links // group, room)
        while True:
            self.place(trial := removing(plan), parameter, count, context)
            missing = gains - links_in(trial, removed=False) + links_in(trial, removed=True)
            more = min(missing // group, room - count)
            if more <= 0:
                break
            count += more
        if missing >= 0:
            return trial
        # Too many, if the slots for a larger count do not include those for a smaller one.
        new_links = [np.asarray(a) for a in trial.inserted()]
        order = context.generator(parameter, SURPLUS).permutation(len(new_links[0]))
        ends = np.cumsum(slot_sizes(parameter, new_links[0])[order])
        kept = np.sort(order[np.searchsorted(ends, -missing) + 1 :])
        trial = removing(trial)
        trial.insert(*(a[kept] for a in new_links))
        self.weigh(trial, parameter, context)
        return trial


def draw(init: Initializer, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
    """Draw weights for a plan's new links."""
    seed, stream, step = context.key(parameter)
    init.draw(
        plan, parameter.nnz, parameter.gain, seed=seed, stream=stream, step=step, threads=context.threads
    )


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

    def place(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        if self.refill:
            plan.grow_random(count, *context.key(parameter), context.threads)
        else:
            fresh = _core.Plan(parameter.core)
            fresh.grow_random(count, *context.key(parameter), context.threads)
            plan.insert(*fresh.inserted())
        self.weigh(plan, parameter, context)

    def weigh(self, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, parameter, context)

    def place_links(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        if slot_links(parameter):
            return super().place_links(plan, parameter, links, context)
        # Enough slots are drawn for any sizes; of these, in a random order, the first grow that fit.
        store = parameter.core
        enough = min(-(-links // parameter.geometry.last_rows), self.room(plan, parameter))
        fresh = removing(plan) if self.refill else _core.Plan(store)
        fresh.grow_random(enough, *context.key(parameter), context.threads)
        groups, sources = fresh.inserted()
        order = context.generator(parameter, WHOLE_SLOTS).permutation(enough)
        chosen = np.sort(order[: first_links(parameter, groups[order], links)])
        plan.insert(groups[chosen], sources[chosen])
        self.weigh(plan, parameter, context)
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
    batches : int in [1, 1024]
        Batches whose gradients are summed: the next one, and others drawn at random.
    beta : float in [0, 1]
        Weight of each further batch: ``|sum of beta ** i * gradient of batch i|`` is the score.

    Notes
    -----
    O(n_in * n_out * batch) operations, group by group, of which the top k are kept; and the activations of
    all batches in memory. All gradients are taken at the present weights.
    """

    def __init__(
        self, init: Initializer, *, refill: bool = True, batches: int = 1, beta: float = 1.0
    ) -> None:
        self.init, self.refill = init, refill
        self.batches = integer("batches", batches, low=1, high=1024)
        self.beta = number("beta", beta, low=0.0, high=1.0)

    @property
    def probe_batches(self) -> int:  # type: ignore[override]
        return self.batches

    def probe_weights(self, batches: int) -> Sequence[float]:
        return [self.beta**i for i in range(batches)]

    def place(
        self, plan: _core.Plan, parameter: SparseParameter, count: int, context: RewiringContext
    ) -> None:
        x, dz = context.probe.pair(parameter)
        plan.grow_gradient(count, x, dz, self.refill, *context.key(parameter), context.threads)
        if self.refill:
            plan.keep_common()
        self.weigh(plan, parameter, context)

    def weigh(self, plan: _core.Plan, parameter: SparseParameter, context: RewiringContext) -> None:
        draw(self.init, plan, parameter, context)
