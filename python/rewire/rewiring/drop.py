"""Drop criteria: which links a rule removes, by magnitude, in each layer or over the network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import choice
from rewire._params import shown
from rewire._positions import groups_of
from rewire.parameters import SparseParameter
from rewire.rewiring.budgets import common_slot, slot_sizes
from rewire.rewiring.context import RewiringContext

__all__ = [
    "Drop", "DropNearestZero", "DropSmallest", "comparable", "counts_below", "magnitudes", "smallest_links",
]  # fmt: skip


class Drop:
    """Base of all drop criteria: they mark links for removal.

    One of your own defines :meth:`mark`, for each layer by itself, or :meth:`mark_all`.

    Attributes
    ----------
    probe_batches : int
        Batches of gradients that it looks at.
    needs_network : str
        What it needs the network for; "" if it does not.
    """

    probe_batches: int = 0
    needs_network: str = ""

    def __repr__(self) -> str:
        return shown(self)

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run."""
        return {}

    def mark(
        self, plan: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> None:
        """Put the removals of one parameter into its empty plan."""
        raise NotImplementedError(f"{type(self).__name__} must define mark or mark_all")

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        """Put the removals of all parameters into their empty plans.

        Criteria that compare parameters with each other override this.

        Returns
        -------
        list of Plan
            The plans that were given, or others in their place.
        """
        for plan, parameter in zip(plans, parameters, strict=True):
            self.mark(plan, parameter, fraction, context)
        return list(plans)


class DropNearestZero(Drop):
    """The links nearest zero: floor(fraction * n) of the n positive ones, and of the negative ones likewise.

    +-0 counts as positive and is dropped first; ties are broken by a hash of (seed, rewiring, row, source).
    With groups a slot is scored by the sum of |w| over its rows, without the split by sign.
    """

    def mark(
        self, plan: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> None:
        plan.prune_set(fraction, *context.key(parameter), context.threads)


class DropSmallest(Drop):
    """floor(fraction * n) of the links, smallest |w| first (of a slot, the sum over its rows).

    Parameters
    ----------
    scope : {"layer", "global"}
        That fraction of each layer, or of the whole network by one threshold; of equals at the global
        threshold those of the lower layer are dropped first. Per layer by default, as in RigL and in most
        sources.
    """

    def __init__(self, scope: str = "layer") -> None:
        self.scope = choice("scope", scope, ("layer", "global"))

    def mark(
        self, plan: _core.Plan, parameter: SparseParameter, fraction: float, context: RewiringContext
    ) -> None:
        plan.prune_smallest(int(fraction * parameter.core.slots), *context.key(parameter), context.threads)

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        if self.scope == "layer":
            return super().mark_all(plans, parameters, fraction, context)
        total = int(fraction * sum(parameter.core.slots for parameter in parameters))
        counts = counts_below([comparable(parameter) for parameter in parameters], total)
        for plan, parameter, count in zip(plans, parameters, counts, strict=True):
            plan.prune_smallest(count, *context.key(parameter), context.threads)
        return list(plans)


def magnitudes(parameter: SparseParameter) -> NDArray[np.float64]:
    """|w| of every slot in canonical order, summed over its rows: shape (slots,)."""
    return comparable(parameter).astype(np.float64, copy=False)


def comparable(parameter: SparseParameter) -> NDArray[Any]:
    """As :func:`magnitudes`, but of the weights' dtype without groups, where nothing is summed."""
    rows = parameter.core.get_field("weight").T
    return np.abs(rows[0]) if len(rows) == 1 else np.abs(rows, dtype=np.float64).sum(axis=0)


def smallest_links(
    parameters: Sequence[SparseParameter], scores: Sequence[NDArray[Any]], links: int, keep: Sequence[int]
) -> list[int]:
    """How many slots each layer drops so that ``links`` links of smallest score are dropped in all.

    At least ``keep`` slots of a layer stay.
    """
    if not parameters:
        return []
    if each := common_slot(parameters):
        return counts_below(scores, max(0, links) // each, keep=keep)
    ranks = [np.argsort(s, kind="stable")[: max(0, len(s) - k)] for s, k in zip(scores, keep, strict=True)]
    sizes = [slot_sizes(a, groups_of(a.core)[rank]) for a, rank in zip(parameters, ranks, strict=True)]
    owners = np.repeat(np.arange(len(parameters)), [len(rank) for rank in ranks])
    joined = np.concatenate([s[rank] for s, rank in zip(scores, ranks, strict=True)])
    order = np.argsort(joined, kind="stable")
    count = np.searchsorted(np.cumsum(np.concatenate(sizes)[order]), links, side="right")
    return np.bincount(owners[order[:count]], minlength=len(parameters)).tolist()


def counts_below(scores: Sequence[NDArray[Any]], total: int, *, keep: int | Sequence[int] = 0) -> list[int]:
    """How many of the ``total`` smallest of all scores lie in each of the lists; ties to the lower list.

    ``keep`` of every list stay; the next smallest of other lists are counted instead, if there are any.
    """
    counts = [0] * len(scores)
    keep = [keep] * len(scores) if isinstance(keep, int) else keep
    open_ = [i for i, s in enumerate(scores) if len(s) > keep[i]]
    while open_ and total > 0:
        found = _below([scores[i] for i in open_], min(total, sum(len(scores[i]) for i in open_)))
        over = [i for i, n in zip(open_, found, strict=True) if n > len(scores[i]) - keep[i]]
        if not over:
            for i, n in zip(open_, found, strict=True):
                counts[i] = n
            break
        for i in over:
            counts[i] = len(scores[i]) - keep[i]
            total -= counts[i]
        open_ = [i for i in open_ if i not in over]
    return counts


def _smallest(scores: NDArray[Any], k: int) -> np.floating[Any]:
    """The k-th smallest of scores >= 0: as integers their bits have the same order.

    ``np.partition`` is faster for integers than for floats.
    """
    words = scores.view(f"int{8 * scores.itemsize}")
    return np.partition(words, k - 1)[k - 1 : k].view(scores.dtype)[0]


def _below(scores: Sequence[NDArray[Any]], total: int) -> list[int]:
    joined = np.concatenate(scores)  # of one dtype, in which all comparisons are
    threshold = _smallest(joined, total)
    scores = np.split(joined, np.cumsum([len(s) for s in scores])[:-1])
    counts = [int(np.count_nonzero(s < threshold)) for s in scores]
    left = total - sum(counts)
    for i, s in enumerate(scores):
        if left == 0:
            break
        ties = min(left, int(np.count_nonzero(s == threshold)))
        counts[i] += ties
        left -= ties
    return counts
