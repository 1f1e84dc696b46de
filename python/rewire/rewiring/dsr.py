"""DSR: dynamic sparse reparameterization.

Mostafa, Wang, *Parameter Efficient Training of Deep Convolutional Neural Networks by Dynamic Sparse
Reparameterization*, ICML 2019, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence

from rewire import _core
from rewire._checks import integer, number
from rewire.initializers import Zeros
from rewire.parameters import SparseParameter
from rewire.rewiring.base import register_rule
from rewire.rewiring.budgets import empty_links
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import Drop, magnitudes
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.memory import Entry
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeBySurvivors
from rewire.rewiring.schedule import ScheduleLike, end_of, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["DSR"]

# Bounds of the threshold, so that repeated halving or doubling never makes it 0 or infinite.
LEAST, MOST = 2.0**-100, 2.0**100


class DropBelow(Drop):
    """Slots whose mean ``|w|`` is below a threshold, which adapts; one slot stays in each layer.

    Parameters
    ----------
    threshold : float > 0
        The first one.
    wanted : float or int
        Slots to drop: a fraction of all of them, or their number.
    tolerance : float in [0, 1)
    """

    def __init__(self, threshold: float, wanted: float | int, tolerance: float) -> None:
        self.threshold, self.wanted, self.tolerance = threshold, wanted, tolerance

    def mark_all(
        self,
        plans: Sequence[_core.Plan],
        parameters: Sequence[SparseParameter],
        fraction: float,
        context: RewiringContext,
    ) -> list[_core.Plan]:
        threshold = context.memory.get("threshold", self.threshold)
        for plan, parameter in zip(plans, parameters, strict=True):
            below = int((magnitudes(parameter) < threshold * parameter.group).sum())
            count = max(0, min(below, parameter.core.slots - 1))
            plan.prune_smallest(count, *context.key(parameter), context.threads)
        slots, removed = sum(q.core.slots for q in parameters), sum(plan.n_removed for plan in plans)
        wanted = self.wanted * slots if isinstance(self.wanted, float) else self.wanted
        if removed > (1.0 + self.tolerance) * wanted:
            threshold = max(threshold / 2.0, LEAST)
        elif removed < (1.0 - self.tolerance) * wanted:
            threshold = min(threshold * 2.0, MOST)
        context.remember("threshold", threshold)
        return list(plans)


class GrowElsewhere(GrowRandom):
    """At random where it was empty before; links just dropped are regrown if there is no other room."""

    def place_links(
        self, plan: _core.Plan, parameter: SparseParameter, links: int, context: RewiringContext
    ) -> _core.Plan:
        grow = GrowRandom(self.init, refill=links > empty_links(parameter))
        return grow.place_links(plan, parameter, links, context)


@register_rule
class DSR(Swap):
    """Links below one threshold for all layers are dropped; as many grow at random, more where more survive.

    The threshold adapts: it is halved when more than ``fraction`` were dropped by a tenth, doubled when
    fewer.

    Parameters
    ----------
    fraction : float in (0, 1], or int
        Slots to drop at every rewiring: a fraction of all of them, or their number (the paper's N_p: 600 for
        the small network of the authors' script).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every 100 steps (the authors' runs have 100 at first and 800 at last).
    end : int or float
        No rewiring from this step on; a float is a fraction of the run (in the authors' runs 190 of 200
        epochs).
    threshold : float > 0
        The initial threshold (1e-3 in the authors' script).
    tolerance : float in [0, 1)
        How far the number of dropped slots may be from ``fraction``, as a fraction of it, before the
        threshold changes.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    A slot is dropped when the mean of ``|w|`` over its rows is below the threshold, but one slot stays in
    every layer that has any. New links start at zero, without momentum, at positions that were empty before
    (links just dropped are regrown only if the layers together have no other room). As many grow as were
    dropped, redistributed in proportion to the links that each layer keeps, by largest remainder: the
    network's total never changes. A layer that is full takes part: other layers grow the links it drops. The
    present threshold stays with the trainer, and is saved with it.
    """

    name = "dsr"
    memory = {"threshold": Entry.number(low=0.0, open_low=True)}

    def __init__(
        self,
        fraction: float | int = 0.1,
        *,
        every: ScheduleLike = 100,
        end: int | float = 0.95,
        threshold: float = 1e-3,
        tolerance: float = 0.1,
        layers: Layers = None,
    ) -> None:
        if isinstance(fraction, float):
            fraction = number("fraction", fraction, low=0.0, high=1.0, open_low=True)
        else:
            fraction = integer("fraction", fraction, low=1)
        self.threshold = number("threshold", threshold, low=0.0, open_low=True)
        self.tolerance = number("tolerance", tolerance, low=0.0, high=1.0, open_high=True)
        super().__init__(
            schedule_from(every),
            0.0,
            DropBelow(self.threshold, fraction, self.tolerance),
            GrowElsewhere(Zeros()),
            redistribute=RedistributeBySurvivors(),
            end=end_of("end", end),
            layers=layers,
        )
        self.fraction = fraction
