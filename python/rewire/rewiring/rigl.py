"""RigL: drop the smallest magnitudes, grow by the largest gradients.

Evci, Gale, Menick, Castro, Elsen, *Rigging the Lottery: Making All Tickets Winners*, ICML 2020.
"""

from __future__ import annotations

from typing import Any

from rewire._checks import boolean
from rewire.initializers import Initializer, initializer
from rewire.rewiring.base import register_rule
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.fraction import decaying_fraction
from rewire.rewiring.grow import GrowByGradient
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import ScheduleLike, schedule_from
from rewire.rewiring.swap import Swap

__all__ = ["RigL"]


@register_rule
class RigL(Swap):
    """After every 100 steps the smallest links are dropped, and as many grow where the gradient is largest.

    Parameters
    ----------
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (alpha in the paper: 0.3).
    every : int, str, Epochs, Steps or dict
        When to rewire: after every 100 steps, as in the paper.
    end : int or float
        No rewiring from this step on; a float is a fraction of the run (in the paper 25,000 of 32,000 steps).
    decay : {"cosine", "constant", "power"}
        How the fraction falls until ``end``; "power" is (1 - t / end) ** 3.
    batches : int in [1, 1024]
        Batches whose gradients are summed: 1 in the paper, the next one; others are drawn at random.
    beta : float in [0, 1]
        Weight of each further batch, as in :class:`~rewire.rewiring.SNFS`.
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None, as in the paper: not at all.
    init : str, float or Initializer
        Weights of new links; zero in the paper.
    skip_step : bool
        Whether a rewiring replaces the optimizer's step on its batch, as in the authors' code.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    Links that are being dropped are candidates for growth too, and keep weight and momentum if they are
    chosen, as in the authors' code; other new links start at zero, without momentum. The authors add noise of
    1e-5 to |w| against ties; here ties are broken by a hash. The gradient is exact, of the next batch, in
    O(links) memory: see :class:`~rewire.rewiring.GrowByGradient`.
    """

    name = "rigl"

    def __init__(
        self,
        fraction: float = 0.3,
        *,
        every: ScheduleLike = 100,
        end: int | float = 0.75,
        decay: str = "cosine",
        batches: int = 1,
        beta: float = 1.0,
        redistribute: RedistributeLike = None,
        init: str | float | Initializer | dict[str, Any] = "zeros",
        skip_step: bool = True,
        layers: Layers = None,
    ) -> None:
        schedule = decaying_fraction("fraction", fraction, decay, end)
        self.init = initializer(init)
        self.skip_step = boolean("skip_step", skip_step)
        grow = GrowByGradient(self.init, batches=batches, beta=beta)
        self.batches, self.beta = grow.batches, grow.beta
        super().__init__(
            schedule_from(every),
            schedule,
            DropSmallest(),
            grow,
            redistribute=redistribute,
            end=end,
            layers=layers,
        )
        self.fraction, self.decay = schedule.value, decay
