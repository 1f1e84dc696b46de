"""GraNet: gradual pruning with zero-cost neuroregeneration.

Liu, Chen, Chen, Atashgahi, Yin, Kou, Shen, Pechenizkiy, Wang, Mocanu, *Sparse Training via Boosting Pruning
Plasticity with Neuroregeneration*, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rewire import _core
from rewire._checks import number
from rewire.initializers import Zeros
from rewire.layers import Sparse
from rewire.rewiring.base import Occasion, register_rewiring
from rewire.rewiring.comes import ByGradient
from rewire.rewiring.gmp import GMP
from rewire.rewiring.when import CosineShare, Every, Once

__all__ = ["GraNet"]


@register_rewiring
class GraNet(GMP):
    """Gradual magnitude pruning, and of what is left in each layer a share moves to the largest gradients.

    Parameters
    ----------
    density : float in (0, 1]
        Of the layers that take part, at the end.
    rate : float in [0, 1]
        Share of each layer's links that moves at the beginning (0.5); a cosine over the run takes it to ``floor``.
    floor : float in [0, 1]
        At the end (0.005).
    begin, end, every, scope, output_layer
        As for :class:`GMP`; the authors start at density 0.5 or 1 and prune over one threshold until epoch 110
        of 160.

    Notes
    -----
    Pruned links compete for their places and keep what they hold if they win them; others start at zero.
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
        super().__init__(
            density, begin=begin, end=end, every=every, scope=scope, output_layer=output_layer
        )
        self.rate = number("rate", rate, low=0.0, high=1.0)
        self.how_many = CosineShare(self.rate, "rate", 1.0, floor)
        self.comes = ByGradient(Zeros())

    def plans(self, layers: Sequence[Sparse], occasion: Occasion, regrow: bool) -> list[_core.Plan]:
        plans = [_core.Plan(layer.store) for layer in layers]
        counts = self.cubic.surplus(layers, self.scope, occasion) if layers else []
        share = self.how_many.at(occasion.moment)
        for plan, layer, count in zip(plans, layers, counts, strict=True):
            moves = int(share * (layer.store.slots - count)) if regrow else 0
            plan.prune_smallest(count + moves, *occasion.key(layer), occasion.threads)
            self.comes.place(plan, layer, moves, occasion)
        return plans

    def config(self) -> dict[str, Any]:
        return {**super().config(), "rate": self.rate, "floor": self.how_many.floor}
