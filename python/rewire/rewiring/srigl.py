"""SRigL: RigL with the same fan-in for every neuron, and neurons that may go.

Lasby, Golubeva, Evci, Nica, Ioannou, *Dynamic Sparse Training with Structured Sparsity*, ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, number
from rewire._places import apart, groups_of, places_of, together
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, Rewiring, register_rewiring
from rewire.rewiring.budgets import slot_sizes
from rewire.rewiring.comes import ByGradient, draw
from rewire.rewiring.goes import SmallestMagnitude, magnitudes
from rewire.rewiring.when import Every, Once, share, when

__all__ = ["SRigL"]


@register_rewiring
class SRigL(Rewiring):
    """The smallest links of a layer go; every neuron grows back to one fan-in by its largest gradients.

    A neuron with fewer than ``salient`` times the fan-in of *salient* links, those that survive or are among
    the layer's largest gradients, is ablated: it loses all its links, and the fan-in of the others grows.

    Parameters
    ----------
    alpha : float in [0, 1]
        Share of each layer's links that goes at the beginning (0.3).
    salient : float in [0, 1]
        0.3 in the paper; 0 ablates nothing.
    every : int, Every or dict
        Steps between rewirings (100), or a schedule.
    end : int or float
        No rewiring from this step on; a float is a share of the run.
    decay : {"cosine", "constant", "power"}
        How the share falls until ``end``.
    skip_step : bool
        Whether a rewiring takes the place of the optimizer's step on its batch.
    output_layer : bool
        Whether the output layer is rewired.

    Notes
    -----
    The number of links of a layer never changes. Where it is no multiple of the active neurons, the first of
    them have one more. A layer that starts otherwise gets constant fan-in at its first rewiring; start with
    ``Sparse(..., fan_in=)``. One neuron at least stays, and no more go than leave room for all links. An
    ablated neuron stays so; outputs of the network are not ablated. With groups, a neuron is a group.
    """

    name = "srigl"

    def __init__(
        self,
        alpha: float = 0.3,
        *,
        salient: float = 0.3,
        every: int | Every | Once | dict[str, Any] = 100,
        end: int | float = 0.75,
        decay: str = "cosine",
        skip_step: bool = True,
        output_layer: bool = True,
    ) -> None:
        how_many = share("alpha", alpha, decay, end)
        self.alpha, self.end, self.decay = how_many.value, end, decay
        self.salient = number("salient", salient, low=0.0, high=1.0)
        self.skip_step = boolean("skip_step", skip_step)
        super().__init__(
            when(every, "steps"),
            how_many,
            SmallestMagnitude(),
            ByGradient(Zeros()),
            until=end,
            output_layer=output_layer,
        )

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        value, last = self.how_many.at(occasion.moment), occasion.network.layers[-1]
        return [
            self._plan(layer, value, 0.0 if layer is last else self.salient, occasion) for layer in layers
        ]

    def _plan(self, layer: Sparse, value: float, least: float, occasion: Occasion) -> _core.Plan:
        store, key = layer.store, occasion.key(layer)
        x, dz = occasion.probe.pair(layer)
        plan = _core.Plan(store)
        self.goes.mark(plan, layer, value, occasion)
        lengths, (gone, sources) = np.diff(store.indptr()), plan.removed()
        kept = lengths - np.bincount(gone, minlength=store.n_groups)

        salient = kept
        if _weak(lengths, kept, least).size:  # newcomers may help: those that RigL would choose
            rigl = _core.Plan(store)
            self.goes.mark(rigl, layer, value, occasion)
            rigl.grow_gradient(len(gone), x, dz, True, *key, occasion.threads)
            salient = kept + np.bincount(rigl.inserted()[0], minlength=store.n_groups)
        total = layer.nnz + occasion.owed(layer)
        occasion.wanted[layer.index] = total
        rows = slot_sizes(layer, np.arange(store.n_groups))
        wanted = _fan_ins(lengths, salient, least, store.n_in, rows, total)
        if (kept > wanted).any():
            plan = _without_surplus(layer, gone, sources, kept, wanted)
            kept = np.minimum(kept, wanted)
        plan.grow_gradient((wanted - kept).astype(np.int32), x, dz, True, *key, occasion.threads)
        plan.keep_common()
        draw(Zeros(), plan, layer, occasion)
        return plan


def _without_surplus(
    layer: Sparse,
    gone: NDArray[np.int32],
    sources: NDArray[np.int32],
    kept: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> _core.Plan:
    """What goes already, and the smallest where more stay than are wanted; of equals the higher sources."""
    store = layer.store
    group, place = groups_of(store), places_of(store)
    goes = np.zeros(len(place), bool)
    goes[np.searchsorted(place, together(gone, sources, store.n_in))] = True

    at = np.flatnonzero(~goes & (kept > wanted)[group])
    at = at[np.lexsort((-magnitudes(layer)[at], group[at]))]
    rank = np.arange(len(at)) - np.searchsorted(group[at], group[at])
    goes[at[rank >= wanted[group[at]]]] = True
    plan, none = _core.Plan(store), np.zeros(0, np.int32)
    plan.pairs(*apart(place[goes], store.n_in), none, none, None)
    return plan


def _weak(lengths: NDArray[np.int64], salient: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """Groups that have links, but fewer salient ones than ``share`` of the mean fan-in."""
    active = np.flatnonzero(lengths)
    return active[salient[active] * len(active) < share * int(lengths.sum())]


def _fan_ins(
    lengths: NDArray[np.int64],
    salient: NDArray[np.int64],
    share: float,
    n_in: int,
    rows: NDArray[np.int64],
    total: int,
) -> NDArray[np.int64]:
    """The fan-in of every group after ablation: the same for all that stay, and one more for the first.

    ``rows`` are the neurons of each group, ``total`` the links that all of them together are to have.
    """
    wanted = np.zeros(len(lengths), np.int64)
    if not lengths.any():
        return wanted
    weak = _weak(lengths, salient, share)
    weak = weak[np.argsort(salient[weak], kind="stable")]
    stays = lengths > 0
    # As many go as leave neurons enough to hold all links.
    left = n_in * (rows[stays].sum() - np.cumsum(rows[weak]))
    stays[weak[: np.searchsorted(-left, -total, side="right")]] = False
    stay = np.flatnonzero(stays)
    wanted[stay] = total // rows[stay].sum()
    rest = total - int((wanted * rows).sum())
    wanted[stay[: np.searchsorted(np.cumsum(rows[stay]), rest, side="right")]] += 1
    return np.minimum(wanted, n_in)
