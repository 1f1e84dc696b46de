"""Learning-rate schedules: a factor on ``lr``, a pure function of the position.

The position is the trainer's own count of epochs and steps, which files keep;
a schedule therefore has no state and resumes exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

from rewire._checks import choice, integer, named, number
from rewire._record import record
from rewire._registry import Registry

__all__ = ["Constant", "Cosine", "Schedule", "Step", "Warmup", "schedule"]


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
        Before it, the factor rises over this many, up to ``lr``, in equal jumps: (t + 1) / (warmup + 1). For
        a rise from ``lr`` to K times as much, as large batches are given, :class:`Warmup` with
        ``decay=Cosine(...)``.
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


@record
class Warmup(Schedule):
    """From 1 to ``to`` over ``length`` epochs (or steps), and ``to`` from there on, times a ``decay``.

    What large batches are given, those of several workers among them: with K times as many samples to a step
    the rate becomes K times as large, which at the start would be too much.

    Parameters
    ----------
    to : float > 0
    length : int
    unit : {"epoch", "step"}
        Steps rise in a line, as published; epochs jump ``length`` times.
    decay : Schedule, dict or None
        Multiplied with it from the first step on, with the length and the unit that it says itself. None is
        no decay.

    Notes
    -----
    A rise from less than ``lr`` to ``lr`` itself is ``Cosine(warmup=)``.

    Goyal et al., *Accurate, Large Minibatch SGD*, arXiv:1706.02677, section 2.2; Curci, Mocanu and
    Pechenizkiy, *Truly Sparse Neural Networks at Scale*, arXiv:2102.01732, have ``to`` = workers and five
    epochs. Their correction of momentum is for velocities that contain the rate; those of
    :class:`~rewire.SGD` do not.

    Examples
    --------
    Four times the rate after five epochs of 100 steps, and down to 0 after thirty epochs:

    >>> import rewire as rw
    >>> rate = rw.Warmup(4, length=500, unit="step", decay=rw.Cosine(30))
    >>> [round(rate.factor(epoch, 100 * epoch), 2) for epoch in (0, 1, 5, 15, 30)]
    [1.0, 1.6, 3.73, 2.0, 0.0]
    """

    to: float = 2.0
    length: int = 5
    unit: str = "epoch"
    decay: Schedule | None = None
    name: ClassVar[str] = "warmup"

    def __post_init__(self) -> None:
        object.__setattr__(self, "to", number("to", self.to, low=0.0, open_low=True))
        object.__setattr__(self, "length", integer("length", self.length, low=1))
        choice("unit", self.unit, ("epoch", "step"))
        if self.decay is not None:
            object.__setattr__(self, "decay", schedule(self.decay, "decay"))

    def factor(self, epoch: int, step: int) -> float:
        t = epoch if self.unit == "epoch" else step
        risen = 1.0 + (self.to - 1.0) * min(1.0, t / self.length)
        return risen if self.decay is None else risen * self.decay.factor(epoch, step)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "decay": None if self.decay is None else self.decay.config()}


KINDS = Registry("schedule", Schedule, "a dict, a Schedule or None")
for _kind in (Constant, Step, Cosine, Warmup):
    KINDS.register(_kind)


# What nobody can guess, and what it means.
_LENGTHS: dict[Any, tuple[str, str]] = {
    Cosine: ("length", "the epochs (or steps, by unit) until the rate is down, usually those of the run"),
    Step: ("every", "the epochs (or steps, by unit) after which the rate falls"),
    Warmup: ("length", "the epochs (or steps, by unit) until the rate is up"),
}


def schedule(what: Schedule | str | dict[str, Any] | None, argument: str = "schedule") -> Schedule:
    """The schedule that ``what`` names: an object, a ``config()``, a name, or None for a constant.

    Of the names only ``"constant"`` says all: how long another schedule takes depends on the run, and no
    default fits all. Nor does a description do without it. Messages name the ``argument``.

    Raises
    ------
    TypeError, ValueError
        If it is none of these; for the name of one whose length has to be said.
    """
    name, given = named(argument, what) if isinstance(what, Mapping) else (what, {})
    if isinstance(name, str):
        kind: Any = KINDS.find(name)
        length, meaning = _LENGTHS.get(kind, ("", ""))
        if length and length not in given:
            raise ValueError(
                f"{argument} {name!r} must say its {length}, {meaning}: give "
                f"rewire.{kind.__name__}({length}=...) or {{'name': {kind.name!r}, {length!r}: ...}}"
            )
    return Constant() if what is None else KINDS.build(what, argument)
