"""GraNet: gradual pruning with zero-cost neuroregeneration.

Liu, Chen, Chen, Atashgahi, Yin, Kou, Shen, Pechenizkiy, Wang, Mocanu, *Sparse Training via Boosting Pruning
Plasticity with Neuroregeneration*, NeurIPS 2021.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, empty_places, register_rewiring
from rewire.rewiring.comes import ByGradient
from rewire.rewiring.gmp import GMP
from rewire.rewiring.when import CosineShare, Every, Moment, Once

__all__ = ["GraNet"]


@register_rewiring
class GraNet(GMP):
    """Gradual magnitude pruning, and of what is left in each layer a share moves to the largest gradients.

    Parameters
    ----------
    density : float in (0, 1]
        Of the layers that take part, at the end.
    rate : float in [0, 1]
        Share of each layer's links that moves at the beginning (0.5); it falls along a cosine to ``floor``.
    floor : float in [0, 1]
        The share at the end of the run (0.005).
    begin, end, every, scope, output_layer
        As for :class:`~rewire.rewiring.GMP`. The authors start at density 0.5 or 1, and for CIFAR prune until
        epoch 110 of 160, every 1000 steps.

    Notes
    -----
    From ``begin`` to the end of the run. First the pruning of GMP, until ``end``; then in each layer
    ceil(share * slots) of the smallest magnitude go, and as many come where the gradient of the coming batch
    is largest. Links that go compete for their own places, and keep weight and momentum if they win (in the
    authors' code those that the first of the two steps took come back at zero); others start at zero, without
    momentum. The authors' layer-wise variant holds the output layer at a density of 0.2; this one does not.
    """

    name = "granet"

    def __init__(
        self,
        density: float = 0.05,
        *,
        rate: float = 0.5,
        floor: float = 0.005,
        begin: int | float = 0,
        end: int | float = 0.69,
        every: int | Every | Once | dict[str, Any] = 100,
        scope: str = "global",
        output_layer: bool = True,
    ) -> None:
        super().__init__(density, begin=begin, end=end, every=every, scope=scope, output_layer=output_layer)
        self.how_many = CosineShare(rate, "rate", 1.0, floor)
        self.rate, self.floor = self.how_many.value, self.how_many.floor
        self.comes = ByGradient(Zeros())

    def due(self, moment: Moment) -> bool:
        assert self.when is not None
        later = moment.step >= self.cubic.first_step(moment) and self.when.due(moment)
        return later or super().due(moment)

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        plans = [_core.Plan(layer.store) for layer in layers]
        share = self.how_many.at(occasion.moment)
        for plan, layer, gone in zip(plans, layers, self.surplus(layers, occasion), strict=True):
            room = regrow and empty_places(layer) + gone > 0
            moves = math.ceil(share * (layer.store.slots - gone)) if room else 0
            plan.prune_smallest(gone + moves, *occasion.key(layer), occasion.threads)
            self.comes.place(plan, layer, moves, occasion)
        return plans
