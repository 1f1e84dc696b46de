"""How newcomers are spread over layers when budgets move between them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import number
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, Spread
from rewire.rewiring.budgets import common_slot, empty_links, links_in
from rewire.topology import largest_remainder

__all__ = ["ByMomentum", "BySurvivors", "split", "split_links"]

EPSILON = 1e-8  # beside the root of Adam's second moment, as in the code of sparse momentum


class BySurvivors(Spread):
    """As many as went in all, in proportion to the links that each layer keeps.

    Places that are emptied now count as room only if there is not enough elsewhere. The redistribution of
    DSR: see :class:`~rewire.rewiring.DSR`.
    """

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], occasion: Occasion
    ) -> Sequence[int]:
        gone = [links_in(plan, removed=True) for plan in plans]
        total = sum(gone) + sum(map(occasion.owed, layers))
        survivors = [layer.nnz - n for layer, n in zip(layers, gone, strict=True)]
        room = [empty_links(layer) for layer in layers]
        if sum(room) < total:
            room = [r + n for r, n in zip(room, gone, strict=True)]
        return split_links(total, survivors, room, layers)


class ByMomentum(Spread):
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
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], occasion: Occasion
    ) -> Sequence[int]:
        gone = [links_in(plan, removed=True) for plan in plans]
        total = sum(gone) + sum(map(occasion.owed, layers))
        room = [empty_links(layer) + n for layer, n in zip(layers, gone, strict=True)]
        each = common_slot(layers) or 1
        most = [int(self.cap * (r // each)) * each for r in room]
        means = [mean_momentum(layer, occasion) for layer in layers]
        return split_links(total, means, most if sum(most) >= total else room, layers)


def mean_momentum(layer: Sparse, occasion: Occasion) -> float:
    """Mean ``|momentum|`` of a layer's links; 0 for a layer without links.

    Adam: ``|m| / (sqrt(v) + 1e-8)``. An optimizer that keeps no momentum: ``|gradient|``, of what the rule
    looks at.
    """
    store = layer.store
    if store.slots == 0:
        return 0.0
    values: NDArray[np.float64]
    if "momentum" in store.fields:
        values = store.get_field("momentum").astype(np.float64)
    elif "adam_m" in store.fields:
        root = np.sqrt(store.get_field("adam_v").astype(np.float64))
        values = store.get_field("adam_m") / (root + EPSILON)
    else:
        values = occasion.probe.live(layer).astype(np.float64)
    return float(np.abs(values).sum() / layer.nnz)


def split_links(
    total: int, shares: Sequence[float], most: Sequence[int], layers: Sequence[Sparse]
) -> list[int]:
    """:func:`split` of links: in whole slots where those of all layers hold equally many links.

    What there is no room for is left out.
    """
    each = common_slot(layers) or 1
    most = [n // each for n in most]
    return [n * each for n in split(min(total // each, sum(most)), shares, most)]


def split(total: int, shares: Sequence[float], most: Sequence[int]) -> list[int]:
    """``total`` in proportion to ``shares``, none above ``most``; what does not fit goes to the others.

    Exact: rounded by largest remainder, ties to the lower index. Where all shares that have room are zero,
    room itself is the share.

    Raises
    ------
    ValueError
        If there is room for fewer than ``total``, or a share is negative or no finite number.
    """
    if sum(most) < total:
        raise ValueError(f"cannot place {total} links where there is room for {sum(most)}")
    if not all(math.isfinite(share) and share >= 0 for share in shares):
        raise ValueError(f"shares must be finite numbers >= 0, got {list(shares)}")
    counts = [0] * len(shares)
    while total > 0:
        room = [limit - n for limit, n in zip(most, counts, strict=True)]
        weights = [Fraction(share) if r > 0 else Fraction(0) for share, r in zip(shares, room, strict=True)]
        if not any(weights):
            weights = [Fraction(r) for r in room]
        wanted = [total * weight / sum(weights) for weight in weights]
        if all(w <= r for w, r in zip(wanted, room, strict=True)):
            more = largest_remainder(wanted, total, room)
        else:  # fill those that overflow, and spread the rest again
            more = [r if w > r else 0 for w, r in zip(wanted, room, strict=True)]
        counts = [n + m for n, m in zip(counts, more, strict=True)]
        total -= sum(more)
    return counts
