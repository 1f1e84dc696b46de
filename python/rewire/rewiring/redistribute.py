"""How new links are spread over layers when budgets move between them, and that none is lost on the way.

Links come and go in whole slots, and slots differ in how many they hold: between layers of different groups,
and in a last group that is not whole. Where places are chosen freely, the new links of all layers then seldom
hold as many links as have gone. :func:`settle` makes up for it before anything is committed, by taking back
as little as possible of both: some slots that were to go stay, and some new links stay away. As nothing at
all would be an answer too, there is always one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction as Rational
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import number
from rewire._positions import encode
from rewire.layers import Sparse
from rewire.link_counts import largest_remainder
from rewire.rewiring.budgets import common_slot, empty_links, links_in, slot_sizes
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import magnitudes
from rewire.rewiring.grow import Grow

__all__ = [
    "Redistribute", "RedistributeByMomentum", "RedistributeBySurvivors", "settle", "split", "split_links",
]  # fmt: skip

EPSILON = 1e-8  # beside the root of Adam's second moment, as in the code of sparse momentum


class Redistribute:
    """How new links are spread over layers: here, every layer gets as many as went."""

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], context: RewiringContext
    ) -> Sequence[int]:
        """Links that come, layer by layer; at most the places that will be empty."""
        return [
            min(removed + context.owed(layer), removed + empty_links(layer))
            for removed, layer in zip((links_in(plan, removed=True) for plan in plans), layers, strict=True)
        ]

    def settle(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], grow: Grow, context: RewiringContext
    ) -> Sequence[_core.Plan]:
        """The plans once they are whole; one that moves budgets makes sure here that no link is lost."""
        return plans


class _Moving(Redistribute):
    """Budgets move between layers, and the network's number of links stays."""

    def settle(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], grow: Grow, context: RewiringContext
    ) -> Sequence[_core.Plan]:
        return settle(plans, layers, grow, context)


class RedistributeBySurvivors(_Moving):
    """As many as went in all, in proportion to the links that each layer keeps.

    Places that are emptied now count as room only if there is not enough elsewhere. The redistribution of
    DSR: see :class:`~rewire.rewiring.DSR`.
    """

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], context: RewiringContext
    ) -> Sequence[int]:
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(removed) + sum(map(context.owed, layers))
        survivors = [layer.nnz - n for layer, n in zip(layers, removed, strict=True)]
        room = [empty_links(layer) for layer in layers]
        if sum(room) < total:
            room = [r + n for r, n in zip(room, removed, strict=True)]
        return split_links(total, survivors, room, layers)


class RedistributeByMomentum(_Moving):
    """As many as went in all, in proportion to the mean ``|momentum|`` of each layer's links.

    The redistribution of sparse momentum: see :class:`~rewire.rewiring.SNFS`, and :func:`mean_momentum`.

    Parameters
    ----------
    cap : float in [0, 1]
        Of the places that are empty once its links have gone, a layer takes at most floor(cap * places); all
        of them only if the layers together lack room otherwise. What does not fit goes to the others, in the
        same proportions.
    """

    def __init__(self, cap: float = 0.99) -> None:
        self.cap = number("cap", cap, low=0.0, high=1.0)

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], context: RewiringContext
    ) -> Sequence[int]:
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(removed) + sum(map(context.owed, layers))
        room = [empty_links(layer) + n for layer, n in zip(layers, removed, strict=True)]
        each = common_slot(layers) or 1
        most = [int(self.cap * (r // each)) * each for r in room]
        means = [mean_momentum(layer, context) for layer in layers]
        return split_links(total, means, most if sum(most) >= total else room, layers)


def mean_momentum(layer: Sparse, context: RewiringContext) -> float:
    """Mean ``|momentum|`` of a layer's links; 0 for a layer without links.

    Adam: ``|m| / (sqrt(v) + 1e-8)``. An optimizer that keeps no momentum: ``|gradient|``, of what the rule
    looks at.
    """
    store = layer.core
    if store.slots == 0:
        return 0.0
    values: NDArray[np.float64]
    if "momentum" in store.fields:
        values = store.get_field("momentum").astype(np.float64)
    elif "adam_m" in store.fields:
        root = np.sqrt(store.get_field("adam_v").astype(np.float64))
        values = store.get_field("adam_m") / (root + EPSILON)
    else:
        values = context.probe.live(layer).astype(np.float64)
    return float(np.abs(values).sum() / layer.nnz)


def split_links(
    total: int, proportions: Sequence[float], most: Sequence[int], layers: Sequence[Sparse]
) -> list[int]:
    """:func:`split` of links: in whole slots where those of all layers hold equally many links.

    What there is no room for is left out.
    """
    each = common_slot(layers) or 1
    most = [n // each for n in most]
    return [n * each for n in split(min(total // each, sum(most)), proportions, most)]


def split(total: int, proportions: Sequence[float], most: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``shares``, none above ``most``; what does not fit goes to the others.

    Exact: rounded by largest remainder, ties to the lower index. Where all shares that have room are zero,
    room itself is the fraction.

    Raises
    ------
    ValueError
        If there is room for fewer than ``total``, or a fraction is negative or no finite number.
    """
    if sum(most) < total:
        raise ValueError(f"cannot place {total} links where there is room for {sum(most)}")
    if not all(math.isfinite(proportion) and proportion >= 0 for proportion in proportions):
        raise ValueError(f"proportions must be finite numbers >= 0, got {list(proportions)}")
    counts = [0] * len(proportions)
    while total > 0:
        room = [limit - n for limit, n in zip(most, counts, strict=True)]
        weights = [
            Rational(proportion) if r > 0 else Rational(0)
            for proportion, r in zip(proportions, room, strict=True)
        ]
        if not any(weights):
            weights = [Rational(r) for r in room]
        wanted = [total * weight / sum(weights) for weight in weights]
        if all(w <= r for w, r in zip(wanted, room, strict=True)):
            more = largest_remainder(wanted, total, room)
        else:  # fill those that overflow, and spread the rest again
            more = [r if w > r else 0 for w, r in zip(wanted, room, strict=True)]
        counts = [n + m for n, m in zip(counts, more, strict=True)]
        total -= sum(more)
    return counts


# --- over the network, as many come as go -----------------------------------------------


def settle(
    plans: Sequence[_core.Plan], layers: Sequence[Sparse], grow: Grow, context: RewiringContext
) -> list[_core.Plan]:
    """The plans of all layers, changed so that in all as many links come as go, and those that are owed.

    As few slots as possible are taken back. Of the slots that were to go those of largest magnitude stay, in
    whatever layer; of the new links any stay away, at random. ``grow`` draws the weights of the others.
    """
    missing = sum(
        links_in(plan, removed=True) - links_in(plan, removed=False) + context.owed(layer)
        for plan, layer in zip(plans, layers, strict=True)
    )
    if missing:
        drop = [plan.removed() for plan in plans]
        news = [plan.inserted() for plan in plans]
        # A place that is emptied and filled again cannot stay as it was as well.
        may_stay = np.concatenate([
            ~np.isin(encode(*out, layer.n_in), encode(*new, layer.n_in))
            for layer, out, new in zip(layers, drop, news, strict=True)
        ])  # fmt: skip
        of_goes = np.concatenate([slot_sizes(a, out[0]) for a, out in zip(layers, drop, strict=True)])
        of_news = np.concatenate([slot_sizes(a, new[0]) for a, new in zip(layers, news, strict=True)])
        found = taken_back(missing, _tally(of_goes[may_stay]), _tally(of_news))
        if found is None:
            return list(plans)  # what a file said was owed and cannot be had: it stays owed
        size = np.concatenate([
            magnitudes(layer)[plan.marked()] for layer, plan in zip(layers, plans, strict=True)
        ])  # fmt: skip
        out_of, new_of = np.ones(len(of_goes), bool), np.ones(len(of_news), bool)
        random = context.generator(layers[0], "settle")
        for links, count in found.items():
            if count > 0:
                among = np.flatnonzero(may_stay & (of_goes == links))
                out_of[among[np.argsort(-size[among], kind="stable")[:count]]] = False
            else:
                new_of[random.permutation(np.flatnonzero(of_news == links))[:-count]] = False
        left = zip(_parts(out_of, drop), _parts(new_of, news), strict=True)
        plans = [
            _part(plan, *those, layer, grow, context)
            for plan, layer, those in zip(plans, layers, left, strict=True)
        ]
    for plan, layer in zip(plans, layers, strict=True):  # nothing is owed
        change = links_in(plan, removed=False) - links_in(plan, removed=True)
        context.wanted[layer.index] = layer.nnz + change
    return list(plans)


def _tally(sizes: NDArray[np.int64]) -> dict[int, int]:
    return dict(zip(*(a.tolist() for a in np.unique(sizes, return_counts=True)), strict=True))


def _parts(flags: NDArray[np.bool_], lists: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[np.bool_]]:
    return np.split(flags, np.cumsum([len(groups) for groups, _ in lists])[:-1])


def _part(
    plan: _core.Plan, drop: NDArray[np.bool_], news: NDArray[np.bool_], layer: Sparse, grow: Grow,
    context: RewiringContext,
) -> _core.Plan:  # fmt: skip
    """A plan with these of another one's removals and insertions."""
    if drop.all() and news.all():
        return plan
    left = _core.Plan(plan.store)
    (out_groups, out_sources), (new_groups, new_sources) = plan.removed(), plan.inserted()
    left.pairs(out_groups[drop], out_sources[drop], new_groups[news], new_sources[news], None)
    grow.weigh(left, layer, context)
    return left


def taken_back(missing: int, drop: Mapping[int, int], news: Mapping[int, int]) -> dict[int, int] | None:
    """How many slots of each size to take back for ``missing`` links more; None if it cannot be.

    As few slots as possible; of equally few the fewest of the smallest size, counted with their sign.

    Parameters
    ----------
    missing : int
    goes, news : mapping of int to int
        By the links that a slot holds, how many slots go and come.

    Returns
    -------
    dict of int to int
        By the same: > 0, so many of those that go stay; < 0, so many of those that come stay away.
    """
    most = max([*drop, *news], default=0)
    reach = abs(missing) + most * most  # no sum of a shortest answer's parts is larger
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    sizes = sorted({*drop, *news})
    for size in sizes:
        some = most + abs(missing) // size  # with more of one size, they and others would cancel
        counts = range(-min(news.get(size, 0), some), min(drop.get(size, 0), some) + 1)
        longer: dict[int, tuple[int, tuple[int, ...]]] = {}
        for links, (moved, chosen) in best.items():
            for n in counts:
                total, way = links + n * size, (moved + abs(n), (*chosen, n))
                if abs(total) <= reach and (total not in longer or way < longer[total]):
                    longer[total] = way
        best = longer
    if missing not in best:
        return None
    return {size: n for size, n in zip(sizes, best[missing][1], strict=True) if n}
