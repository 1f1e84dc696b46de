"""DSR: dynamic sparse reparameterization.

Mostafa, Wang, *Parameter Efficient Training of Deep Convolutional Neural Networks by Dynamic Sparse
Reparameterization*, ICML 2019, Algorithm 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire._checks import integer, number
from rewire.initializers import Zeros
from rewire.network import Sequential
from rewire.parameters import SparseParameter
from rewire.rewiring.base import Rewiring, only, register_rewiring
from rewire.rewiring.budgets import empty_links, empty_slots
from rewire.rewiring.context import RewiringContext
from rewire.rewiring.drop import magnitudes
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.redistribute import RedistributeBySurvivors
from rewire.rewiring.schedule import ScheduleLike, end_of, schedule_from

__all__ = ["DSR"]

# Bounds of the threshold, so that repeated halving or doubling never makes it 0 or infinite.
LEAST, MOST = 2.0**-100, 2.0**100


@register_rewiring
class DSR(Rewiring):
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
    output_layer : bool
        Whether the output layer takes part.

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

    def __init__(
        self,
        fraction: float | int = 0.1,
        *,
        every: ScheduleLike = 100,
        end: int | float = 0.95,
        threshold: float = 1e-3,
        tolerance: float = 0.1,
        output_layer: bool = True,
    ) -> None:
        if isinstance(fraction, float):
            fraction = number("fraction", fraction, low=0.0, high=1.0, open_low=True)
        else:
            fraction = integer("fraction", fraction, low=1)
        self.threshold = number("threshold", threshold, low=0.0, open_low=True)
        self.tolerance = number("tolerance", tolerance, low=0.0, high=1.0, open_high=True)
        super().__init__(
            schedule_from(every),
            grow=GrowRandom(Zeros()),
            redistribute=RedistributeBySurvivors(),
            end=end_of("end", end),
            output_layer=output_layer,
        )
        self.fraction = fraction

    def layers(self, network: Sequential) -> list[SparseParameter]:
        layers = self.eligible(network)
        return layers if any(empty_slots(layer) > 0 for layer in layers) else []

    def plans(
        self, layers: Sequence[SparseParameter], context: RewiringContext, regrow: bool
    ) -> list[_core.Plan]:
        threshold = context.memory.get("threshold", self.threshold)
        plans = [_core.Plan(layer.core) for layer in layers]
        for plan, layer in zip(plans, layers, strict=True):
            below = int((magnitudes(layer) < threshold * layer.group).sum())
            count = max(0, min(below, layer.core.slots - 1))
            plan.prune_smallest(count, *context.key(layer), context.threads)
        context.notes["removed"] = sum(plan.n_removed for plan in plans)
        if regrow:
            counts = self.redistribute.counts(plans, layers, context)
            plans = [
                self.regrow(
                    plan, layer, links, context, GrowRandom(Zeros(), refill=links > empty_links(layer))
                )
                for plan, layer, links in zip(plans, layers, counts, strict=True)
            ]
            plans = list(self.redistribute.rebalance(plans, layers, self.grow, context))
        return plans

    def committed(self, layers: Sequence[SparseParameter], context: RewiringContext) -> None:
        threshold = context.memory.get("threshold", self.threshold)
        wanted = self.fraction
        if isinstance(wanted, float):
            wanted *= sum(layer.core.slots for layer in layers)
        removed = context.notes["removed"]
        if removed > (1.0 + self.tolerance) * wanted:
            threshold = max(threshold / 2.0, LEAST)
        elif removed < (1.0 - self.tolerance) * wanted:
            threshold = min(threshold * 2.0, MOST)
        context.memory["threshold"] = threshold

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        super().check_state(network, memory, step)
        only(memory, "threshold")
        number("memory: threshold", memory.get("threshold", self.threshold), low=0.0, open_low=True)
