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
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, Rewiring, Spread, empty_places, register_rewiring
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude, magnitudes
from rewire.rewiring.spread import split
from rewire.rewiring.when import Every, Once, Share, when

__all__ = ["DSR", "BySurvivors"]


class BySurvivors(Spread):
    """Newcomers in proportion to the links that each layer keeps; their sum is what went."""

    def counts(
        self, plans: Sequence[_core.Plan], layers: Sequence[Sparse], occasion: Occasion
    ) -> Sequence[int]:
        survivors = [layer.store.slots - plan.n_removed for plan, layer in zip(plans, layers, strict=True)]
        room = [empty_places(layer) + plan.n_removed for plan, layer in zip(plans, layers, strict=True)]
        return split(sum(plan.n_removed for plan in plans), survivors, room)


@register_rewiring
class DSR(Rewiring):
    """Links below one threshold go, in all layers; as many come at random, more where more survive.

    The threshold adapts: halved when more than ``target`` went by a tenth, doubled when fewer did.

    Parameters
    ----------
    target : float in (0, 1], or int
        Links that should go each time: a share of all, or a number (600 and 20,000 in the authors' scripts).
    every : int, Every or dict
        Steps between rewirings (100 at the beginning of the authors' runs, 800 at their end), or a schedule.
    end : int or float
        No rewiring from this step on; a float is a share of the run (190 of 200 epochs).
    threshold : float > 0
        The first one (1e-3).
    tolerance : float in [0, 1)
        How far the number that went may be from ``target`` before the threshold moves (0.1).
    output_layer : bool
        Whether the output layer takes part.

    Notes
    -----
    Newcomers start at zero, outside the places that were just emptied as long as there are others. At least
    one slot stays in every layer. With groups a slot goes when the mean of |w| over its rows is below the
    threshold, and numbers count slots. A layer that is full takes part: its links may move to others.
    """

    name = "dsr"

    def __init__(
        self,
        target: float | int = 0.05,
        *,
        every: int | Every | Once | dict[str, Any] = 100,
        end: int | float = 0.95,
        threshold: float = 1e-3,
        tolerance: float = 0.1,
        output_layer: bool = True,
    ) -> None:
        if isinstance(target, float):
            self.target: float | int = number("target", target, low=0.0, high=1.0, open_low=True)
        else:
            self.target = integer("target", target, low=1)
        self.end = end
        self.threshold = number("threshold", threshold, low=0.0, open_low=True)
        self.tolerance = number("tolerance", tolerance, low=0.0, high=1.0, open_high=True)
        super().__init__(
            when(every, "steps", stop=end),
            Share(0.0),
            SmallestMagnitude(),
            AtRandom(Zeros()),
            spread=BySurvivors(),
            output_layer=output_layer,
        )

    def layers(self, network: Any) -> list[Sparse]:
        layers = self.candidates(network)
        return layers if any(empty_places(layer) > 0 for layer in layers) else []

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        threshold = occasion.memory.get("threshold", self.threshold)
        plans = [_core.Plan(layer.store) for layer in layers]
        for plan, layer in zip(plans, layers, strict=True):
            below = int((magnitudes(layer) < threshold * layer.group).sum())
            count = max(0, min(below, layer.store.slots - 1))
            plan.prune_smallest(count, *occasion.key(layer), occasion.threads)
        occasion.notes["removed"] = sum(plan.n_removed for plan in plans)
        if regrow:
            counts = self.spread.counts(plans, layers, occasion)
            for plan, layer, count in zip(plans, layers, counts, strict=True):
                comes = AtRandom(Zeros(), returns=count > empty_places(layer))
                comes.place(plan, layer, count, occasion)
        return plans

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        threshold = occasion.memory.get("threshold", self.threshold)
        total = sum(layer.store.slots for layer in layers)
        target = self.target * total if isinstance(self.target, float) else self.target
        removed = occasion.notes["removed"]
        if removed > (1.0 + self.tolerance) * target:
            threshold /= 2.0
        elif removed < (1.0 - self.tolerance) * target:
            threshold *= 2.0
        occasion.memory["threshold"] = threshold

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "target": self.target,
            "every": self.when.config(),
            "end": self.end,
            "threshold": self.threshold,
            "tolerance": self.tolerance,
            "output_layer": self.output_layer,
        }
