"""Magnitude: drop the links of smallest magnitude, grow at random."""

from __future__ import annotations

from typing import Any

from rewire.initializers import Initializer, initializer
from rewire.rewiring.base import register_rule
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.participation import Layers
from rewire.rewiring.schedule import Epochs, ScheduleLike, end_of, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["Magnitude"]


@register_rule
class Magnitude(Swap):
    """The links of smallest magnitude are dropped, of either sign; as many grow at random in their layer.

    What several code bases call SET, which judges positive and negative weights apart: see
    :class:`~rewire.rewiring.SET`.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of the links that is dropped.
    every : int, str, Epochs, Steps or dict
        When to rewire: after every epoch. A bare number counts steps.
    scope : {"layer", "global"}
        A fraction of every layer, or of the network by one threshold. Per layer by default, as in SET.
    decay : {"constant", "cosine", "power"}
        How the fraction falls until ``end``.
    end : int or float
        Steps, or a fraction of the run; only with a decay.
    init : str, float or Initializer
        Weights of new links.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    floor(fraction * slots) are dropped, of each layer or of all together; of equals at the threshold of all
    layers those of the lower layer. Every layer keeps its number of slots. A layer that is full is left
    alone.
    """

    name = "magnitude"

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        every: ScheduleLike = Epochs(1),
        scope: str = "layer",
        decay: str = "constant",
        end: int | float = 1.0,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        layers: Layers = None,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, decay, end)
        self.init = initializer(init)
        drop = DropSmallest(scope)
        super().__init__(
            schedule_from(every),
            schedule,
            drop,
            GrowRandom(self.init),
            layers=layers,
        )
        self.scope = drop.scope
        self.fraction, self.decay, self.end = schedule.value, decay, end_of("end", end)
