"""How large a fraction of a layer's links a rule drops, over a run."""

from __future__ import annotations

import math
from typing import Any

from rewire._checks import choice, number
from rewire._record import record
from rewire.rewiring.schedule import TrainingProgress, end_of, in_steps, run_fractions_among

__all__ = ["CosineFraction", "Fraction", "PowerFraction", "decaying_fraction", "fraction_from"]


@record
class Fraction:
    """A fixed fraction of the links, in [0, 1]."""

    value: float = 0.3
    name: str = "fraction"  # what messages call it

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number(self.name, self.value, low=0.0, high=1.0))

    def at(self, progress: TrainingProgress) -> float:
        """The fraction at this point of training."""
        return self.value

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run."""
        return {}


def fraction_from(what: Fraction | float) -> Fraction:
    """A fraction itself, or a number as a fixed one; TypeError or ValueError for anything else."""
    return what if isinstance(what, Fraction) else Fraction(what)


@record
class _FallingFraction(Fraction):
    """A fraction that falls from ``value`` until ``end``: steps, or (float) a fraction of the run."""

    end: int | float = 0.75

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "end", end_of("end", self.end))

    def progress(self, progress: TrainingProgress) -> float:
        """0 at the beginning, 1 from the end on."""
        end = in_steps(self.end, progress)
        return min(progress.step / end, 1.0) if end > 0 else 1.0

    def run_fractions(self) -> dict[str, Any]:
        return run_fractions_among(end=self.end)


@record
class CosineFraction(_FallingFraction):
    """A fraction that falls along a cosine: floor + (value - floor) / 2 * (1 + cos(pi * t / end)).

    It is ``floor`` from ``end`` on.

    Parameters
    ----------
    value, floor : float in [0, 1]
    end : int or float
        Steps, or a fraction of the run in [0, 1].

    Notes
    -----
    With ``floor=0`` the decay of RigL (Evci et al., *Rigging the Lottery*, ICML 2020, section 3).
    """

    floor: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "floor", number("floor", self.floor, low=0.0, high=1.0))

    def at(self, progress: TrainingProgress) -> float:
        half = (1.0 + math.cos(math.pi * self.progress(progress))) / 2.0
        return self.floor + (self.value - self.floor) * half


@record
class PowerFraction(_FallingFraction):
    """A fraction that falls as value * (1 - t / end) ** power, 0 from ``end`` on (RigL's inverse power).

    Parameters
    ----------
    value : float in [0, 1]
    end : int or float
        Steps, or a fraction of the run in [0, 1].
    power : float > 0
    """

    power: float = 3.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "power", number("power", self.power, low=0.0, open_low=True))

    def at(self, progress: TrainingProgress) -> float:
        return self.value * (1.0 - self.progress(progress)) ** self.power


def decaying_fraction(name: str, value: float, decay: str, end: int | float, floor: float = 0.0) -> Fraction:
    """``value`` with a decay: "constant", "cosine" (down to ``floor``) or "power", until ``end``.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong; ``name`` is what the message calls the value.
    """
    kind = choice("decay", decay, ("constant", "cosine", "power"))
    if kind == "constant":
        return Fraction(value, name)
    if kind == "power":
        return PowerFraction(value, name, end)
    return CosineFraction(value, name, end, floor)
