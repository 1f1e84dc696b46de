"""Redistribution: how many links grow in each layer when budgets move between layers.

Links are dropped and grown in whole slots, and slots differ in how many links they hold: between layers of
different groups, and in a last group that is not whole. The slots that all layers grow then seldom hold as
many links as those that were dropped. :func:`rebalance` corrects this before anything is committed: it takes
back as few removals and insertions as possible so that the network's number of links stays. Taking back all
of them is always a solution.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import number
from rewire._params import parameters_of, shown
from rewire._positions import encode
from rewire._registry import Registry
from rewire.link_counts import largest_remainder
from rewire.parameters import SparseParameter
from rewire.rewiring.budgets import common_slot, empty_links, empty_slots, links_in, slot_sizes
from rewire.rewiring.context import REBALANCE, RewiringContext
from rewire.rewiring.drop import magnitudes
from rewire.rewiring.grow import Grow

__all__ = [
    "Redistribute", "RedistributeByMomentum", "RedistributeBySurvivors", "RedistributeLike", "rebalance",
    "redistribution", "split", "split_links",
]  # fmt: skip

EPSILON = 1e-8  # is added to the root of Adam's second moment, as in the code of sparse momentum


class Redistribute:
    """Base of all redistributions: here, every layer grows as many links as it dropped.

    Attributes
    ----------
    name : str
        Its word, by which rules take it; "" for the base.
    moves : bool
        Whether links move between layers: then the number of all of them is kept, to the link.
    probe_batches : int
        Batches of gradients that it may look at.
    """

    name: ClassVar[str] = ""
    moves: bool = False
    probe_batches: int = 0

    def workable(self, parameters: Sequence[SparseParameter]) -> list[SparseParameter]:
        """Those that can take part: with empty positions, or, where links move, all if any has some."""
        able = [q for q in parameters if empty_slots(q) > 0]
        return list(parameters) if able and self.moves else able

    def counts(
        self, plans: Sequence[_core.Plan], parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> Sequence[int]:
        """How many links each parameter is to grow; those for which it has no room are left out then."""
        return [
            links_in(plan, removed=True) + context.owed(parameter)
            for plan, parameter in zip(plans, parameters, strict=True)
        ]

    def config(self) -> dict[str, Any] | None:
        """JSON-able description; :func:`redistribution` reads it back. None for the base."""
        if type(self) is Redistribute:
            return None
        return {"name": KINDS.saved_as(self), **parameters_of(self)}

    def __repr__(self) -> str:
        return shown(self)


class RedistributeBySurvivors(Redistribute):
    """As many links grow as all layers dropped, in proportion to the links that each layer keeps.

    Positions of links that are being dropped count as room only if there is not enough elsewhere. The
    redistribution of DSR: see :class:`~rewire.rewiring.DSR`.
    """

    name = "survivors"
    moves = True

    def counts(
        self, plans: Sequence[_core.Plan], parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> Sequence[int]:
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(removed) + sum(map(context.owed, parameters))
        survivors = [parameter.nnz - n for parameter, n in zip(parameters, removed, strict=True)]
        room = [empty_links(parameter) for parameter in parameters]
        if sum(room) < total:
            room = [r + n for r, n in zip(room, removed, strict=True)]
        return split_links(total, survivors, room, parameters)


class RedistributeByMomentum(Redistribute):
    """As many links grow as all layers dropped, in proportion to each layer's mean ``|momentum|``.

    The redistribution of sparse momentum: see :class:`~rewire.rewiring.SNFS`, and :func:`mean_momentum`.

    Parameters
    ----------
    cap : float in [0, 1]
        A layer fills at most this fraction of the positions that are empty once links are dropped, rounded
        down; all of them only if the layers together lack room otherwise. What does not fit grows in the
        other layers, in the same proportions.

    Notes
    -----
    Where the optimizer keeps no momentum it goes by the gradients of the rule's gradient probe, of one batch
    at least.
    """

    name = "momentum"
    moves = True
    probe_batches = 1

    def __init__(self, cap: float = 0.99) -> None:
        self.cap = number("cap", cap, low=0.0, high=1.0)

    def counts(
        self, plans: Sequence[_core.Plan], parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> Sequence[int]:
        removed = [links_in(plan, removed=True) for plan in plans]
        total = sum(removed) + sum(map(context.owed, parameters))
        room = [empty_links(parameter) + n for parameter, n in zip(parameters, removed, strict=True)]
        each = common_slot(parameters) or 1
        most = [int(self.cap * (r // each)) * each for r in room]
        means = [mean_momentum(parameter, context) for parameter in parameters]
        return split_links(total, means, most if sum(most) >= total else room, parameters)


KINDS = Registry("redistribute", Redistribute, "a dict, a Redistribute or None")
for _kind in (RedistributeByMomentum, RedistributeBySurvivors):
    KINDS.register(_kind)


RedistributeLike = Redistribute | str | dict[str, Any] | None  # what a parameter ``redistribute`` takes


def redistribution(what: RedistributeLike) -> Redistribute:
    """The redistribution that ``what`` names.

    Parameters
    ----------
    what : str, dict, Redistribute or None
        ``"momentum"``, ``"survivors"``, a ``config()`` such as ``{"name": "momentum", "cap": 0.9}``; None:
        every layer grows as many links as it dropped.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    return Redistribute() if what is None else KINDS.build(what)


def mean_momentum(parameter: SparseParameter, context: RewiringContext) -> float:
    """Mean ``|momentum|`` of a layer's links; 0 for a layer without links.

    With Adam that of ``|m| / (sqrt(v) + 1e-8)``; with an optimizer that keeps no momentum that of
    ``|gradient|``, of the rule's gradient probe.
    """
    store = parameter.core
    if store.slots == 0:
        return 0.0
    values: NDArray[np.float64]
    kept = [parameter.field_of_power(power) for power in (1, 2)]
    if kept[0] is not None:
        values = store.get_field(kept[0]).astype(np.float64)
        if kept[1] is not None:
            values /= np.sqrt(store.get_field(kept[1]).astype(np.float64)) + EPSILON
    else:
        values = context.probe.live(parameter).astype(np.float64)
    return float(np.abs(values).sum() / parameter.nnz)


def split_links(
    total: int, proportions: Sequence[float], most: Sequence[int], parameters: Sequence[SparseParameter]
) -> list[int]:
    """:func:`split` of links: in whole slots where those of all layers hold equally many links.

    Links for which there is no room are left out.
    """
    each = common_slot(parameters) or 1
    most = [n // each for n in most]
    return [n * each for n in split(min(total // each, sum(most)), proportions, most)]


def split(total: int, proportions: Sequence[float], most: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``proportions``, none above ``most``; the others get what does not fit.

    Exact: rounded by largest remainder, ties to the lower index. Where all proportions that have room are
    zero, the room of each is its proportion.

    Raises
    ------
    ValueError
        If there is room for fewer than ``total``, or a proportion is negative or no finite number.
    """
    if sum(most) < total:
        raise ValueError(f"cannot place {total} links where there is room for {sum(most)}")
    if not all(math.isfinite(proportion) and proportion >= 0 for proportion in proportions):
        raise ValueError(f"proportions must be finite numbers >= 0, got {list(proportions)}")
    ratios = [float(proportion).as_integer_ratio() for proportion in proportions]
    scale = max((below for _, below in ratios), default=1)  # all are powers of two
    exact = [above * (scale // below) for above, below in ratios]
    counts = [0] * len(proportions)
    while total > 0:
        room = [limit - n for limit, n in zip(most, counts, strict=True)]
        weights = [w if r > 0 else 0 for w, r in zip(exact, room, strict=True)]
        if not any(weights):
            weights = room
        over = sum(weights)
        wanted = [total * weight for weight in weights]  # over `over`
        if all(w <= r * over for w, r in zip(wanted, room, strict=True)):
            more = largest_remainder(wanted, total, room, over=over)
        else:  # fill those that overflow, and divide the rest among the others
            more = [r if w > r * over else 0 for w, r in zip(wanted, room, strict=True)]
        counts = [n + m for n, m in zip(counts, more, strict=True)]
        total -= sum(more)
    return counts


# --- over the network, as many links grow as are dropped --------------------------------


def rebalance(
    plans: Sequence[_core.Plan], parameters: Sequence[SparseParameter], grow: Grow, context: RewiringContext
) -> list[_core.Plan]:
    """The plans of all layers, changed so that together they grow as many links as they drop and owe.

    As few slots as possible are taken back: of the removals those of largest magnitude, in whatever layer; of
    the insertions some at random. ``grow`` draws the weights of the insertions that are left.
    """
    missing = sum(
        links_in(plan, removed=True) - links_in(plan, removed=False) + context.owed(parameter)
        for plan, parameter in zip(plans, parameters, strict=True)
    )
    if missing:
        drop = [plan.removed() for plan in plans]
        news = [plan.inserted() for plan in plans]
        # A link that is dropped and regrown cannot stay as it was as well.
        may_stay = np.concatenate([
            ~np.isin(encode(*out, parameter.n_in), encode(*new, parameter.n_in))
            for parameter, out, new in zip(parameters, drop, news, strict=True)
        ])  # fmt: skip
        of_drop = np.concatenate([slot_sizes(a, out[0]) for a, out in zip(parameters, drop, strict=True)])
        of_news = np.concatenate([slot_sizes(a, new[0]) for a, new in zip(parameters, news, strict=True)])
        found = taken_back(missing, _tally(of_drop[may_stay]), _tally(of_news))
        if found is None:
            return list(plans)  # a file claimed links to be owed that no plan can make up for: they stay owed
        size = np.concatenate([
            magnitudes(parameter)[plan.marked()] for parameter, plan in zip(parameters, plans, strict=True)
        ])  # fmt: skip
        out_of, new_of = np.ones(len(of_drop), bool), np.ones(len(of_news), bool)
        random = context.generator(parameters[0], REBALANCE)
        for links, count in found.items():
            if count > 0:
                among = np.flatnonzero(may_stay & (of_drop == links))
                out_of[among[np.argsort(-size[among], kind="stable")[:count]]] = False
            else:
                new_of[random.permutation(np.flatnonzero(of_news == links))[:-count]] = False
        left = zip(_parts(out_of, drop), _parts(new_of, news), strict=True)
        plans = [
            _part(plan, *those, parameter, grow, context)
            for plan, parameter, those in zip(plans, parameters, left, strict=True)
        ]
    for plan, parameter in zip(plans, parameters, strict=True):  # so that nothing is owed
        change = links_in(plan, removed=False) - links_in(plan, removed=True)
        context.wanted[parameter.name] = parameter.nnz + change
    return list(plans)


def _tally(sizes: NDArray[np.int64]) -> dict[int, int]:
    return dict(zip(*(a.tolist() for a in np.unique(sizes, return_counts=True)), strict=True))


def _parts(flags: NDArray[np.bool_], lists: Sequence[tuple[NDArray[Any], ...]]) -> list[NDArray[np.bool_]]:
    return np.split(flags, np.cumsum([len(groups) for groups, _ in lists])[:-1])


def _part(
    plan: _core.Plan, drop: NDArray[np.bool_], news: NDArray[np.bool_], parameter: SparseParameter,
    grow: Grow, context: RewiringContext,
) -> _core.Plan:  # fmt: skip
    """A plan with these of another one's removals and insertions."""
    if drop.all() and news.all():
        return plan
    left = _core.Plan(plan.store)
    (out_groups, out_sources), (new_groups, new_sources) = plan.removed(), plan.inserted()
    left.pairs(out_groups[drop], out_sources[drop], new_groups[news], new_sources[news], None)
    grow.weigh(left, parameter, context)
    return left


def taken_back(missing: int, drop: Mapping[int, int], news: Mapping[int, int]) -> dict[int, int] | None:
    """How many slots of each size to take back for ``missing`` links more; None if it cannot be.

    As few slots as possible; of equally few the fewest of the smallest size, counted with their sign.

    Parameters
    ----------
    missing : int
    drop, news : mapping of int to int
        By the links that a slot holds, how many slots are dropped and grown.

    Returns
    -------
    dict of int to int
        By the same: a count > 0 of slots that are not dropped after all, or < 0 of slots that are not grown.
    """
    most = max([*drop, *news], default=0)
    reach = abs(missing) + most * most  # no partial sum of a shortest solution is larger
    best: dict[int, tuple[int, tuple[int, ...]]] = {0: (0, ())}
    sizes = sorted({*drop, *news})
    for size in sizes:
        some = most + abs(missing) // size  # more of one size would cancel out with slots of other sizes
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
