"""Gradual magnitude pruning: a network becomes sparse while it trains.

Zhu, Gupta, *To Prune, or Not to Prune: Exploring the Efficacy of Pruning for Model Compression*,
arXiv:1710.01878 (2017), equation 1.
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
from rewire.rewiring.base import (
    Occasion,
    Rewiring,
    check_by_layer,
    only,
    register_rewiring,
    slots_count,
)
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude, comparable, counts_below
from rewire.rewiring.when import Every, Moment, Once, Share, end_of, in_steps, when

__all__ = ["GMP", "Cubic"]


class Cubic:
    """density(t) = final + (first - final) * (1 - (t - begin) / (end - begin)) ** 3, cut to [begin, end].

    Parameters
    ----------
    final : float in (0, 1]
    begin, end : int or float
        Steps, or shares of the run. The end is in the run: at most its last step.
    """

    def __init__(self, final: float, begin: int | float, end: int | float) -> None:
        self.final = number("density", final, low=0.0, high=1.0, open_low=True)
        self.begin, self.end = end_of("begin", begin, low=0), end_of("end", end)
        if type(self.begin) is type(self.end) and self.begin > self.end:
            raise ValueError(f"begin must not come after end, got begin={self.begin} and end={self.end}")

    def first_step(self, moment: Moment) -> int:
        """The first step at or after ``begin``."""
        return math.ceil(in_steps(self.begin, moment))

    def last_step(self, moment: Moment) -> int:
        """The step at which the final density is reached."""
        end = math.ceil(in_steps(self.end, moment))
        return min(end, moment.steps - 1) if isinstance(self.end, float) else end

    def at(self, first: float, moment: Moment) -> float:
        """The density that is wanted, never above ``first``."""
        begin, end = self.first_step(moment), self.last_step(moment)
        done = (moment.step - begin) / (end - begin) if end > begin else float(moment.step >= end)
        left = 1.0 - min(max(done, 0.0), 1.0)
        return min(first, self.final + (first - self.final) * left**3)


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
    Start from full layers, ``Sparse(..., density=1.0)``, or from any density above the final one; the source
    starts dense, and prunes every layer by itself. At step t between ``begin`` and ``end``, with

        density(t) = final + (start - final) * (1 - (t - begin) / (end - begin)) ** 3,

    a layer (or all together) keeps round(density * places) slots, halves up. ``start`` is the density when
    the rule first acts, and stays with the trainer. One rewiring at ``end`` itself makes sure that the
    final density is met. One slot stays in every layer that has any; layers sparser than asked for are left
    alone. Memory shrinks with the layers.
    """

    name = "gmp"
    starts_full = True

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
        self.density, self.begin, self.end = self.cubic.final, self.cubic.begin, self.cubic.end
        self.scope = choice("scope", scope, ("global", "layer"))
        super().__init__(
            when(every, "steps"),
            Share(0.0),
            SmallestMagnitude(),
            AtRandom(Zeros()),
            output_layer=output_layer,
        )

    def due(self, moment: Moment) -> bool:
        begin, end = self.cubic.first_step(moment), self.cubic.last_step(moment)
        return moment.step == end or (begin <= moment.step < end and super().due(moment))

    def layers(self, network: Sequential) -> list[Sparse]:
        return self.eligible(network)

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        plans = [_core.Plan(layer.store) for layer in layers]
        for plan, layer, count in zip(plans, layers, self.surplus(layers, occasion), strict=True):
            plan.prune_smallest(count, *occasion.key(layer), occasion.threads)
        return plans

    def surplus(self, layers: Sequence[Sparse], occasion: Occasion) -> list[int]:
        """Slots of each layer that go."""
        slots = [layer.store.slots for layer in layers]
        start = {str(a.index): n for a, n in zip(layers, slots, strict=True)}
        start.update(occasion.memory.get("start", {}))
        occasion.notes["start"] = start
        places = [layer.store.n_groups * layer.n_in for layer in layers]
        first = [start[str(layer.index)] for layer in layers]
        if self.scope == "layer":
            kept = [self._kept(f, p, occasion.moment) for f, p in zip(first, places, strict=True)]
            return [max(0, min(n - k, n - 1)) for n, k in zip(slots, kept, strict=True)]
        total = sum(slots) - self._kept(sum(first), sum(places), occasion.moment)
        if total <= 0:
            return [0] * len(layers)
        return counts_below([comparable(layer) for layer in layers], total, keep=1)

    def _kept(self, first: int, places: int, moment: Moment) -> int:
        return math.floor(places * self.cubic.at(first / places, moment) + 0.5) if places else 0

    def committed(self, layers: Sequence[Sparse], occasion: Occasion) -> None:
        occasion.memory["start"] = occasion.notes["start"]

    def check_state(self, network: Sequential, memory: dict[str, Any], step: int) -> None:
        super().check_state(network, memory, step)
        only(memory, "start")
        check_by_layer(memory, "start", network, slots_count)
