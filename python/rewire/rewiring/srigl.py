"""SRigL: RigL with the same fan-in for every neuron, and with ablation of neurons.

Lasby, Golubeva, Evci, Nica, Ioannou, *Dynamic Sparse Training with Structured Sparsity*, ICLR 2024.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rewire import _core
from rewire._checks import boolean, number
from rewire._positions import decode, encode, groups_of, positions_of
from rewire.initializers import Zeros
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rule, register_rule
from rewire.rewiring.budgets import empty_slots, removal, slot_sizes
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import DropSmallest, magnitudes
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import draw
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import ScheduleLike, schedule_from

__all__ = ["SRigL"]


@register_rule
class SRigL(Rule):
    """The smallest links of a layer are dropped; every neuron grows back to one fan-in by largest gradients.

    A neuron with fewer than ``salient`` times the fan-in of *salient* links, those that survive or are among
    the layer's largest gradients, is ablated: it loses all its links, and the fan-in of the others grows.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (0.3).
    salient : float in [0, 1]
        0.3 in the paper; 0 ablates nothing.
    every : int, str, Epochs, Steps or dict
        When to rewire: after every 100 steps.
    end : int or float
        No rewiring from this step on; a float is a fraction of the run.
    decay : {"cosine", "constant", "power"}
        How the fraction falls until ``end``.
    skip_step : bool
        Whether a rewiring replaces the optimizer's step on its batch.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    The number of links of a layer never changes. Where it is no multiple of the active neurons, the first of
    them have one more. A layer that starts otherwise gets constant fan-in at its first rewiring; start with
    ``Sparse(..., fan_in=)``. At least one neuron stays, and no more are ablated than leave room for all
    links. An ablated neuron stays so; outputs of the network are not ablated. With groups, a neuron is a
    group.
    """

    name = "srigl"
    unmergeable = "gives all neurons of a layer one fan-in"
    probe_batches = 1

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        salient: float = 0.3,
        every: ScheduleLike = 100,
        end: int | float = 0.75,
        decay: str = "cosine",
        skip_step: bool = True,
        layers: Layers = None,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, decay, end)
        self.salient = number("salient", salient, low=0.0, high=1.0)
        self.skip_step = boolean("skip_step", skip_step)
        super().__init__(schedule_from(every), end=end, layers=layers)
        self.fraction_schedule, self.drop = schedule, DropSmallest()
        self.fraction, self.decay = schedule.value, decay

    def run_fractions(self) -> dict[str, Any]:
        return super().run_fractions() | self.fraction_schedule.run_fractions()

    def workable(
        self, parameters: Sequence[SparseParameter], context: RewiringContext
    ) -> list[SparseParameter]:
        return [q for q in parameters if empty_slots(q) > 0]

    def plans(self, parameters: Sequence[SparseParameter], context: RewiringContext) -> list[_core.Plan]:
        value = self.fraction_schedule.at(context.progress)
        return [
            self._plan(parameter, value, 0.0 if context.gives_output(parameter) else self.salient, context)
            for parameter in parameters
        ]

    def _plan(
        self, parameter: SparseParameter, value: float, least: float, context: RewiringContext
    ) -> _core.Plan:
        store, key = parameter.core, context.key(parameter)
        x, dz = context.probe.pair(parameter)
        plan = context.plan(parameter)
        self.drop.mark(plan, parameter, value, context)
        lengths, (removed, sources) = np.diff(store.indptr()), plan.removed()
        kept = lengths - np.bincount(removed, minlength=store.n_groups)

        salient = kept
        if _weak(lengths, kept, least).size:  # the new links that RigL would choose may make them salient
            rigl = context.plan(parameter)
            self.drop.mark(rigl, parameter, value, context)
            rigl.grow_gradient(len(removed), x, dz, True, *key, context.threads)
            salient = kept + np.bincount(rigl.inserted()[0], minlength=store.n_groups)
        total = parameter.nnz + context.owed(parameter)
        context.wanted[parameter.name] = total
        rows = slot_sizes(parameter, np.arange(store.n_groups))
        wanted = _fan_ins(lengths, salient, least, store.n_in, rows, total)
        if (kept > wanted).any():
            plan = _without_surplus(parameter, removed, sources, kept, wanted)
            kept = np.minimum(kept, wanted)
        plan.grow_gradient((wanted - kept).astype(np.int32), x, dz, True, *key, context.threads)
        plan.keep_common()
        draw(Zeros(), plan, parameter, context)
        return plan


def _without_surplus(
    parameter: SparseParameter,
    removed: NDArray[np.int32],
    sources: NDArray[np.int32],
    kept: NDArray[np.int64],
    wanted: NDArray[np.int64],
) -> _core.Plan:
    """A plan that also removes the smallest links of groups above their fan-in; of equals higher sources."""
    store = parameter.core
    group, position = groups_of(store), positions_of(store)
    drop = np.zeros(len(position), bool)
    drop[np.searchsorted(position, encode(removed, sources, store.n_in))] = True

    at = np.flatnonzero(~drop & (kept > wanted)[group])
    at = at[np.lexsort((-magnitudes(parameter)[at], group[at]))]
    rank = np.arange(len(at)) - np.searchsorted(group[at], group[at])
    drop[at[rank >= wanted[group[at]]]] = True
    return removal(store, *decode(position[drop], store.n_in))


def _weak(lengths: NDArray[np.int64], salient: NDArray[np.int64], fraction: float) -> NDArray[np.int64]:
    """Groups that have links, but fewer salient ones than ``fraction`` of the mean fan-in."""
    active = np.flatnonzero(lengths)
    return active[salient[active] * len(active) < fraction * int(lengths.sum())]


def _fan_ins(
    lengths: NDArray[np.int64],
    salient: NDArray[np.int64],
    fraction: float,
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
    weak = _weak(lengths, salient, fraction)
    weak = weak[np.argsort(salient[weak], kind="stable")]
    stays = lengths > 0
    # So many are ablated that the neurons left can hold all links.
    left = n_in * (rows[stays].sum() - np.cumsum(rows[weak]))
    stays[weak[: np.searchsorted(-left, -total, side="right")]] = False
    stay = np.flatnonzero(stays)
    wanted[stay] = total // rows[stay].sum()
    rest = total - int((wanted * rows).sum())
    wanted[stay[: np.searchsorted(np.cumsum(rows[stay]), rest, side="right")]] += 1
    return np.minimum(wanted, n_in)
