"""Gradual magnitude pruning: a network becomes sparse while it trains.

Zhu, Gupta, *To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression*, ICLR workshop
2018, equation 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire._checks import choice, number
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.network import Sequential
from rewire.rewiring.base import Occasion, Rewiring, register_rewiring
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude, counts_below, magnitudes
from rewire.rewiring.when import Every, Moment, Once, Share, end_of, when

__all__ = ["GMP", "Cubic"]


class Cubic:
    """density(t) = final + (first - final) * (1 - (t - begin) / (end - begin)) ** 3, cut to [begin, end]."""

    def __init__(self, final: float, begin: int | float, end: int | float) -> None:
        self.final = number("density", final, low=0.0, high=1.0, open_low=True)
        self.begin, self.end = end_of("begin", begin, low=0), end_of("end", end)

    def at(self, first: float, moment: Moment) -> float:
        """The density that is wanted, never above ``first``."""
        begin, end = (t * moment.steps if isinstance(t, float) else t for t in (self.begin, self.end))
        progress = (moment.step - begin) / (end - begin) if end > begin else float(moment.step >= end)
        left = 1.0 - min(max(progress, 0.0), 1.0)
        return min(first, self.final + (first - self.final) * left**3)

    def surplus(self, layers: Sequence[Sparse], scope: str, occasion: Occasion) -> list[int]:
        """Slots of each layer that go, smallest magnitude first; one stays in every layer.

        The densities of the start are those when the rule was first asked: ``occasion.memory["start"]``.
        """
        start = occasion.memory.get("start") or {str(a.index): a.store.slots for a in layers}
        occasion.notes["start"] = start
        sizes = [a.store.n_groups * a.n_in for a in layers]
        firsts = [start[str(a.index)] for a in layers]
        if scope == "layer":
            wanted = [
                math.floor(size * self.at(first / size, occasion.moment) + 0.5)
                for size, first in zip(sizes, firsts, strict=True)
            ]
            return [
                max(0, min(a.store.slots - n, a.store.slots - 1)) for a, n in zip(layers, wanted, strict=True)
            ]
        total = math.floor(sum(sizes) * self.at(sum(firsts) / sum(sizes), occasion.moment) + 0.5)
        count = max(0, sum(a.store.slots for a in layers) - total)
        return counts_below([magnitudes(a) for a in layers], count, keep=1)


@register_rewiring
class GMP(Rewiring):
    """The smallest links go, ever fewer at a time, until a density is reached; nothing comes.

    Parameters
    ----------
    density : float in (0, 1]
        Of the layers that take part, at the end.
    begin, end : int or float
        Steps, or shares of the run, between which the density falls from that of the start.
    every : int, Every or dict
        Steps between rewirings (100), or a schedule.
    scope : {"global", "layer"}
        One threshold for all layers, or every layer down to ``density`` by itself.
    output_layer : bool
        Whether the output layer takes part.

    Notes
    -----
    Start from dense layers, ``Sparse(..., density=1.0)``, or any density above. Nothing happens to layers
    that are sparser. One slot stays in every layer. Numbers count slots.
    """

    name = "gmp"

    def __init__(
        self,
        density: float = 0.05,
        *,
        begin: int | float = 0,
        end: int | float = 0.75,
        every: int | Every | Once | dict[str, Any] = 100,
        scope: str = "global",
        output_layer: bool = True,
    ) -> None:
        self.cubic = Cubic(density, begin, end)
        self.scope = choice("scope", scope, ("global", "layer"))
        super().__init__(
            when(every, "steps"),
            Share(0.0),
            SmallestMagnitude(),
            AtRandom(Zeros()),
            output_layer=output_layer,
        )

    def layers(self, network: Sequential) -> list[Sparse]:
        return [layer for layer in self.candidates(network) if layer.store.slots > 0]

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        plans = [_core.Plan(layer.store) for layer in layers]
        counts = self.cubic.surplus(layers, self.scope, occasion) if layers else []
        for plan, layer, count in zip(plans, layers, counts, strict=True):
            plan.prune_smallest(count, *occasion.key(layer), occasion.threads)
        return plans

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        if "start" in occasion.notes:
            occasion.memory["start"] = occasion.notes["start"]

    def config(self) -> dict[str, Any]:
        assert self.when is not None
        return {
            "name": self.name,
            "density": self.cubic.final,
            "begin": self.cubic.begin,
            "end": self.cubic.end,
            "every": self.when.config(),
            "scope": self.scope,
            "output_layer": self.output_layer,
        }
