"""Magnitude: drop the links of smallest magnitude, grow at random."""

from __future__ import annotations

from typing import Any

from rewire.initializers import Initializer, initializer
from rewire.rewiring.base import register_rule
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import Epochs, ScheduleLike, schedule_from
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
    end : int or float, optional
        No rewiring from this step on; a float is a fraction of the run. None: the whole run.
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None: not at all.
    init : str, float or Initializer
        Weights of new links.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    floor(fraction * slots) are dropped, of each layer or of all together; of equals at the threshold of all
    layers those of the lower layer. Unless links are redistributed every layer keeps its number of slots, and
    a layer that is full is left alone.
    """

    name = "magnitude"

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        every: ScheduleLike = Epochs(1),
        scope: str = "layer",
        decay: str = "constant",
        end: int | float | None = None,
        redistribute: RedistributeLike = None,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        layers: Layers = None,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, decay, 1.0 if end is None else end)
        self.init = initializer(init)
        drop = DropSmallest(scope)
        super().__init__(
            schedule_from(every),
            schedule,
            drop,
            GrowRandom(self.init),
            redistribute=redistribute,
            end=end,
            layers=layers,
        )
        self.scope = drop.scope
        self.fraction, self.decay = schedule.value, decay
