"""Magnitude: the smallest links go, others come at random."""

from __future__ import annotations

from typing import Any

from rewire.initializers import Initializer, initializer
from rewire.rewiring.base import Rewiring, register_rewiring
from rewire.rewiring.comes import AtRandom
from rewire.rewiring.goes import SmallestMagnitude
from rewire.rewiring.when import Every, Once, end_of, share, when

__all__ = ["Magnitude"]


@register_rewiring
class Magnitude(Rewiring):
    """The links of smallest magnitude go, whatever their sign, and as many come at random in their layer.

    What several code bases call SET, which judges positive and negative weights apart: see
    :class:`~rewire.rewiring.SET`.

    Parameters
    ----------
    zeta : float in [0, 1]
        Share of the links that goes.
    every : int, Every or dict
        Epochs between rewirings, or a schedule.
    scope : {"layer", "global"}
        A share of every layer, or of the network by one threshold.
    decay : {"constant", "cosine", "power"}
        How the share falls until ``end``.
    end : int or float
        Steps, or a share of the run; only with a decay.
    init : str, float or Initializer
        Weights of newcomers.
    output_layer : bool
        Whether the output layer is rewired.

    Notes
    -----
    floor(share * slots) go, of each layer or of all together; of equals at the threshold of all layers those
    of the lower layer. Every layer keeps its number of slots. A layer that is full is left alone.
    """

    name = "magnitude"

    def __init__(
        self,
        zeta: float = 0.3,
        *,
        every: int | Every | Once | dict[str, Any] = 1,
        scope: str = "layer",
        decay: str = "constant",
        end: int | float = 1.0,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        output_layer: bool = True,
    ) -> None:
        how_many = share("zeta", zeta, decay, end)
        self.zeta, self.decay, self.end = how_many.value, decay, end_of("end", end)
        self.init = initializer(init)
        goes = SmallestMagnitude(scope)
        super().__init__(when(every), how_many, goes, AtRandom(self.init), output_layer=output_layer)
        self.scope = goes.scope
