"""ITOP: in-time over-parameterisation, by large fractions and long periods.

Liu, Yin, Mocanu, Pechenizkiy, *Do We Actually Need Dense Over-Parameterization? In-Time Over-Parameterization
in Sparse Training*, ICML 2021.
"""

from __future__ import annotations

from rewire._checks import choice
from rewire.initializers import Zeros
from rewire.rewiring.base import register_rule
from rewire.rewiring.drop import DropSmallest
from rewire.rewiring.fraction import CosineFraction
from rewire.rewiring.grow import Grow, GrowByGradient, GrowRandom
from rewire.rewiring.participation import Layers
from rewire.rewiring.redistribute import RedistributeLike
from rewire.rewiring.schedule import ScheduleLike
from rewire.rewiring.swap import Swap

__all__ = ["ITOP"]

PERIOD = {"set": 1500, "rigl": 4000}  # steps at batch 128 on CIFAR


@register_rule
class ITOP(Swap):
    """After many steps a large fraction of links is dropped, and others grow at random or by gradient.

    What predicts accuracy, the authors find, is the fraction of all positions that were connected at some
    time: see ``rw.LinkLog`` and its column ``exploration_rate``.

    Parameters
    ----------
    mode : {"set", "rigl"}
        Growth at random, or where the gradient is largest.
    fraction : float in [0, 1]
        Fraction of each layer's links that is dropped at the beginning (0.5); it falls along a cosine to
        ``floor``.
    floor : float in [0, 1]
        The fraction at the end (0.005).
    every : int, str, Epochs, Steps or dict, optional
        When to rewire: after every 1500 steps for "set" and 4000 for "rigl". Give less for short runs.
    end : int or float
        Where the cosine ends: steps, or a fraction of the run.
    redistribute : str, dict, Redistribute or None
        How links move between layers: see :class:`~rewire.rewiring.Swap`. None, as in the paper: not at all.
    layers : int, str, list or callable, optional
        Which layers take part; all by default: see :class:`~rewire.rewiring.Rule`.

    Notes
    -----
    The authors' "set" prunes by magnitude whatever the sign. New links start at zero. In mode "rigl" links
    that are being dropped are candidates for growth too, and keep weight and momentum if they are chosen.
    """

    name = "itop"

    def __init__(
        self,
        mode: str = "set",
        *,
        fraction: float = 0.5,
        floor: float = 0.005,
        every: ScheduleLike | None = None,
        end: int | float = 1.0,
        redistribute: RedistributeLike = None,
        layers: Layers = None,
    ) -> None:
        self.mode = choice("mode", mode, ("set", "rigl"))
        schedule = CosineFraction(fraction, "fraction", end, floor)
        grow: Grow = GrowRandom(Zeros()) if self.mode == "set" else GrowByGradient(Zeros())
        super().__init__(
            PERIOD[self.mode] if every is None else every,
            schedule,
            DropSmallest(),
            grow,
            redistribute=redistribute,
            layers=layers,
        )
        self.fraction, self.floor, self.end = schedule.value, schedule.floor, end
