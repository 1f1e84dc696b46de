"""Learning-rate schedules: a factor on ``lr``, a pure function of the position.

The position is the trainer's own count of epochs and steps, which files keep;
a schedule therefore has no state and resumes exactly.
"""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any, ClassVar

from rewire._checks import choice, describe, integer, number
from rewire._record import record
from rewire._registry import Registry

__all__ = ["Constant", "Cosine", "Schedule", "Step", "schedule"]


@record
class Schedule:
    """Base of all schedules."""

    name: ClassVar[str] = ""

    def factor(self, epoch: int, step: int) -> float:
        """Factor on lr after ``epoch`` whole epochs and ``step`` steps in all (both 0 at the start)."""
        raise NotImplementedError

    def config(self) -> dict[str, Any]:
        """JSON-able description; :func:`schedule` reads it back."""
        return {"name": KINDS.saved_as(self), **asdict(self)}


@record
class Constant(Schedule):
    """Always ``value``."""

    value: float = 1.0
    name: ClassVar[str] = "constant"

    def __post_init__(self) -> None:
        object.__setattr__(self, "value", number("value", self.value, low=0.0))

    def factor(self, epoch: int, step: int) -> float:
        return self.value


@record
class Step(Schedule):
    """Multiply by ``gamma`` after every ``every`` epochs (or steps).

    Parameters
    ----------
    every : int
    gamma : float in [0, 1]
    unit : {"epoch", "step"}
    """

    every: int = 30
    gamma: float = 0.1
    unit: str = "epoch"
    name: ClassVar[str] = "step"

    def __post_init__(self) -> None:
        object.__setattr__(self, "every", integer("every", self.every, low=1))
        object.__setattr__(self, "gamma", number("gamma", self.gamma, low=0.0, high=1.0))
        choice("unit", self.unit, ("epoch", "step"))

    def factor(self, epoch: int, step: int) -> float:
        return self.gamma ** ((epoch if self.unit == "epoch" else step) // self.every)


@record
class Cosine(Schedule):
    """Half a cosine from 1 to ``floor`` over ``length`` epochs (or steps), ``floor`` from there on.

    Parameters
    ----------
    length : int
    floor : float in [0, 1]
    warmup : int
        Before it, the factor rises linearly over this many: (t + 1) / (warmup + 1).
    unit : {"epoch", "step"}
    """

    length: int = 100
    floor: float = 0.0
    warmup: int = 0
    unit: str = "epoch"
    name: ClassVar[str] = "cosine"

    def __post_init__(self) -> None:
        object.__setattr__(self, "length", integer("length", self.length, low=1))
        object.__setattr__(self, "warmup", integer("warmup", self.warmup, low=0))
        object.__setattr__(self, "floor", number("floor", self.floor, low=0.0, high=1.0))
        choice("unit", self.unit, ("epoch", "step"))

    def factor(self, epoch: int, step: int) -> float:
        t = epoch if self.unit == "epoch" else step
        if t < self.warmup:
            return (t + 1) / (self.warmup + 1)
        done = min(1.0, (t - self.warmup) / self.length)
        return self.floor + (1.0 - self.floor) * 0.5 * (1.0 + math.cos(math.pi * done))


KINDS = Registry("schedule", Schedule, "a dict, a Schedule or None")
for _kind in (Constant, Step, Cosine):
    KINDS.register(_kind)


def schedule(what: Schedule | dict[str, Any] | None) -> Schedule:
    """The schedule that ``what`` names: an object, a ``config()``, or None for a constant.

    A name alone is refused: how long a schedule is depends on the run, and no default fits all.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    if isinstance(what, str):
        raise TypeError(f"schedule must be a Constant, Step or Cosine, got {describe(what)}")
    return Constant() if what is None else KINDS.build(what)
