"""SET: sparse evolutionary training.

Mocanu, Mocanu, Stone, Nguyen, Gibescu, Liotta, *Scalable training of artificial
neural networks with adaptive sparse connectivity inspired by network science*,
Nature Communications 9:2383 (2018).
"""

from __future__ import annotations

from typing import Any

from rewire.initializers import Initializer, initializer
from rewire.rewiring.base import register_rule
from rewire.rewiring.drop import DropNearestZero
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import GrowRandom
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import Epochs, ScheduleLike, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["SET"]


@register_rule
class SET(Swap):
    """After every epoch the links nearest zero are dropped, and as many grow at random positions.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of the positive and of the negative links that is dropped (zeta in the paper: 0.3).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every epoch. A bare number counts steps: 500 is ``Steps(500)``.
    decay : {"constant", "cosine", "power"}
        How the fraction falls until ``end``: not at all in the paper; "power" is (1 - t / end) ** 3.
    end : int or float, optional
        No rewiring from this step on; a float is a fraction of the run. None, as in the paper: the whole run.
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None, as in the paper: not at all.
    init : str, float or Initializer
        Weights of new links. ``"zeros"`` by default: new links at full He scale cost accuracy in short
        runs. The authors draw them like the initial weights.
    layers : int, str, list or callable, optional
        Which layers take part; all by default, as in the first release; ``"hidden"`` as in later ones. See
        :class:`~rewire.rewiring.Rule`.
    last_epoch : {"skip", "remove"}
        After the last epoch of ``fit``: nothing (the authors' code), or removal without regrowth (the paper).

    Notes
    -----
    Momentum and Adam's moments stay with the links that survive; new links start without. The number of
    links never changes, except by ``last_epoch="remove"``. A layer that is full is left alone.
    Cost: one pass over the links, about that of one or two training steps.
    """

    name = "set"

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        every: ScheduleLike = Epochs(1),
        decay: str = "constant",
        end: int | float | None = None,
        redistribute: RedistributeLike = None,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        layers: Layers = None,
        last_epoch: str = "skip",
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, decay, 1.0 if end is None else end)
        self.init = initializer(init)
        super().__init__(
            schedule_from(every),
            schedule,
            DropNearestZero(),
            GrowRandom(self.init),
            redistribute=redistribute,
            end=end,
            layers=layers,
            last_epoch=last_epoch,
        )
        self.fraction, self.decay = schedule.value, decay
