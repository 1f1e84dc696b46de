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
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, Rewiring, register_rewiring
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
    ablated neuron stays so. With groups, a neuron is a group.
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
        self.skips_step = boolean("skip_step", skip_step)
        super().__init__(
            when(every, "steps", stop=end),
            how_many,
            SmallestMagnitude(),
            ByGradient(Zeros()),
            output_layer=output_layer,
        )

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        value = self.how_many.at(occasion.moment)
        return [self._plan(layer, value, occasion) for layer in layers]

    def _plan(self, layer: Sparse, value: float, occasion: Occasion) -> _core.Plan:
        store, key = layer.store, occasion.key(layer)
        x, dz = occasion.probe.pair(layer)
        lengths = np.diff(store.indptr())
        groups = np.repeat(np.arange(store.n_groups, dtype=np.int32), lengths)
        sources = store.sources()

        # The layer as RigL would have it says which links are salient.
        rigl = _core.Plan(store)
        self.goes.mark(rigl, layer, value, occasion)
        count = rigl.n_removed
        gone = _marked(rigl, groups, sources, store.n_in)
        _core.grow_gradient(rigl, count, x, dz, True, *key, occasion.threads)
        grown, _ = rigl.inserted()
        salient = np.bincount(groups[~gone], minlength=store.n_groups)
        salient += np.bincount(grown, minlength=store.n_groups)

        wanted = _fan_ins(lengths, salient, self.salient, store.n_in)
        goes = gone | (_rank(groups, magnitudes(layer), gone) >= wanted[groups])
        kept = np.bincount(groups[~goes], minlength=store.n_groups)
        plan = _core.Plan(store)
        none = np.zeros(0, np.int32)
        plan.pairs(groups[goes], sources[goes], none, none, None)
        _core.grow_gradient(plan, (wanted - kept).astype(np.int32), x, dz, True, *key, occasion.threads)
        plan.spare()
        draw(Zeros(), plan, layer, occasion)
        return plan

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "alpha": self.alpha,
            "salient": self.salient,
            "every": self.when.config(),
            "end": self.end,
            "decay": self.decay,
            "skip_step": self.skips_step,
            "output_layer": self.output_layer,
        }


def _marked(
    plan: _core.Plan, groups: NDArray[np.int32], sources: NDArray[np.int32], n_in: int
) -> NDArray[np.bool_]:
    """Which slots, in canonical order, a plan removes."""
    at, source = (a.astype(np.int64) for a in plan.removed())
    return np.isin(groups.astype(np.int64) * n_in + sources, at * n_in + source, assume_unique=True)


def _rank(
    groups: NDArray[np.int32], score: NDArray[np.float64], last: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The place of each slot within its group, the largest first; of equals the lower source first."""
    order = np.lexsort((-score, last, groups))
    rank = np.empty(len(groups), np.int64)
    starts = np.searchsorted(groups, groups, side="left")
    rank[order] = np.arange(len(groups)) - starts[order]
    return rank


def _fan_ins(
    lengths: NDArray[np.int64], salient: NDArray[np.int64], share: float, n_in: int
) -> NDArray[np.int64]:
    """The fan-in of every group after ablation: the same for all that stay, and one more for the first."""
    total, active = int(lengths.sum()), np.flatnonzero(lengths > 0)
    wanted = np.zeros(len(lengths), np.int64)
    if total == 0:
        return wanted
    weak = active[salient[active] < share * total / len(active)]
    fewest = max(1, -(-total // n_in))  # neurons that hold all links
    weak = weak[np.argsort(salient[weak], kind="stable")][: max(0, len(active) - fewest)]
    stay = np.setdiff1d(active, weak)
    wanted[stay] = total // len(stay)
    wanted[stay[: total % len(stay)]] += 1
    return wanted
