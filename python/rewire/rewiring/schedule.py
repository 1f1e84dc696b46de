"""Schedules, by which a network is rewired, and the progress of training that they look at."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

from rewire._checks import describe, integer, number
from rewire._format import plural
from rewire._record import record

__all__ = [
    "AUTO", "Auto", "Epochs", "Once", "RewiringSchedule", "ScheduleLike", "Steps", "TrainingProgress",
    "end_of", "in_steps", "run_fractions_among", "schedule_from", "step_of",
]  # fmt: skip


class TrainingProgress(NamedTuple):
    """How far training is: the epochs and steps done, and whether an epoch is about to begin.

    ``epochs`` and ``steps`` are the counts at which the run ends, which schedules need that name a fraction
    of the run. A run may take many calls of ``fit``; its length is the trainer's ``horizon``, see
    :class:`rewire.Trainer`. Steps are counted on from where the epoch began, as many an epoch as it has.
    """

    epoch: int
    step: int
    epoch_begins: bool
    epochs: int = 0
    steps: int = 0
    lr: float = 0.0  # of the next step; in `Rule.stepped`, of the step just done


def end_of(name: str, value: Any, low: int = 1) -> int | float:
    """A checked end: an int counts, a float in [0, 1] is a fraction of the run."""
    if isinstance(value, float):
        return number(name, value, low=0.0, high=1.0)
    return integer(name, value, low=low)


def in_steps(end: int | float, progress: TrainingProgress) -> int | float:
    """An end in steps: itself, or (a float) that fraction of the run."""
    return end * progress.steps if isinstance(end, float) else end


def step_of(end: int | float, progress: TrainingProgress) -> int:
    """The step that an end names: itself, or (a float) that fraction of the run, at most its last step."""
    if not isinstance(end, float):
        return end
    return min(math.ceil(in_steps(end, progress)), progress.steps - 1)


def run_fractions_among(**ends: Any) -> dict[str, Any]:
    """Those that are fractions of the run and no counts, by the names of their parameters."""
    return {name: end for name, end in ends.items() if isinstance(end, float)}


# --- schedules --------------------------------------------------------------------------


class RewiringSchedule:
    """Base of all schedules."""

    def due(self, progress: TrainingProgress) -> bool:
        """Whether to rewire now."""
        raise NotImplementedError

    def within(self, begin: int, end: int) -> RewiringSchedule:
        """The schedule of a rule that acts between these steps: the same, but for :class:`Auto`."""
        return self

    def run_fractions(self) -> dict[str, Any]:
        """The parameters that are fractions of the run."""
        return {}

    def config(self) -> Any:
        """JSON-able description; :func:`schedule_from` reads it back."""
        raise NotImplementedError


@record
class Epochs(RewiringSchedule):
    """A rewiring after every ``n`` epochs.

    Parameters
    ----------
    n : int
    stop : int or float, optional
        No rewiring from this epoch on; a float in [0, 1] is a fraction of the run.
    """

    n: int = 1
    stop: int | float | None = None
    unit: ClassVar[str] = "epochs"

    def __post_init__(self) -> None:
        _check_period(self)

    def due(self, progress: TrainingProgress) -> bool:
        return progress.epoch_begins and _due(progress.epoch, self.n, self.stop, progress.epochs)

    def rewirings(
        self, epochs: int, steps: int, begun: tuple[int, int] = (0, 0)
    ) -> Iterator[TrainingProgress]:
        """The rewirings of a run of ``epochs`` epochs with ``steps`` steps each.

        ``begun`` is an epoch and its first step: the run is looked at from there on.
        """
        epoch, first = begun
        whole = first + max(0, epochs - epoch) * steps
        for n in _multiples(self.n, epoch, epochs):
            yield TrainingProgress(n, first + (n - epoch) * steps, True, epochs, whole)

    def run_fractions(self) -> dict[str, Any]:
        return run_fractions_among(stop=self.stop)

    def config(self) -> dict[str, Any]:
        return {"epochs": self.n, "stop": self.stop}

    def __str__(self) -> str:
        return plural(self.n, "epoch") if self.stop is None else repr(self)


@record
class Steps(RewiringSchedule):
    """A rewiring after every ``n`` steps.

    Parameters
    ----------
    n : int
    stop : int or float, optional
        No rewiring from this step on; a float in [0, 1] is a fraction of the run.
    """

    n: int
    stop: int | float | None = None
    unit: ClassVar[str] = "steps"

    def __post_init__(self) -> None:
        _check_period(self)

    def due(self, progress: TrainingProgress) -> bool:
        return _due(progress.step, self.n, self.stop, progress.steps)

    def rewirings(
        self, epochs: int, steps: int, begun: tuple[int, int] = (0, 0)
    ) -> Iterator[TrainingProgress]:
        """The rewirings of a run: see :meth:`Epochs.rewirings`."""
        epoch, first = begun
        whole = first + max(0, epochs - epoch) * steps
        for step in _multiples(self.n, first, whole):
            done, rest = divmod(step - first, steps)
            yield TrainingProgress(epoch + done, step, rest == 0, epochs, whole)

    def run_fractions(self) -> dict[str, Any]:
        return run_fractions_among(stop=self.stop)

    def config(self) -> dict[str, Any]:
        return {"steps": self.n, "stop": self.stop}

    def __str__(self) -> str:
        return plural(self.n, "step") if self.stop is None else repr(self)


def _check_period(schedule: Epochs | Steps) -> None:
    """Check and convert the numbers of a schedule, which is frozen."""
    object.__setattr__(schedule, "n", integer("n", schedule.n, low=1))
    if schedule.stop is not None:
        object.__setattr__(schedule, "stop", end_of("stop", schedule.stop, low=0))


def _due(count: int, period: int, stop: int | float | None, whole: int) -> bool:
    """Whether ``count`` is a multiple of the period, above 0 and below ``stop``; ``whole`` is the run."""
    end = stop * whole if isinstance(stop, float) else stop
    return count > 0 and count % period == 0 and (end is None or count < end)


def _multiples(period: int, low: int, high: int) -> range:
    """The multiples of a period in [low, high), without 0."""
    return range(max(1, -(-low // period)) * period, high, period)


@record
class Once(RewiringSchedule):
    """One rewiring, before a step (0 is the first); for rules that prune once, such as SNIP."""

    step: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", integer("step", self.step, low=0))

    def due(self, progress: TrainingProgress) -> bool:
        return progress.step == self.step

    def config(self) -> dict[str, Any]:
        return {"step": self.step}


@record
class Auto(RewiringSchedule):
    """A rewiring after every 100 steps, or more often: a rule acts at least 20 times between two steps.

    For rules that reach a density by a schedule of their own, which has a begin and an end.
    """

    steps: ClassVar[int] = 100  # as published
    times: ClassVar[int] = 20

    def due(self, progress: TrainingProgress) -> bool:
        return False  # the rule, which knows begin and end, asks for the schedule within them

    def within(self, begin: int, end: int) -> RewiringSchedule:
        return Steps(max(1, min(self.steps, (end - begin) // self.times)))

    def config(self) -> str:
        return "auto"


AUTO = Auto()


ScheduleLike = RewiringSchedule | int | str | dict[str, Any]  # what a parameter ``every`` takes


def schedule_from(what: ScheduleLike, *, auto: bool = False) -> RewiringSchedule:
    """The schedule that ``what`` names.

    Parameters
    ----------
    what : int, str, dict or schedule
        A bare number counts steps, in all rules. ``"2 epochs"`` and ``"100 steps"`` are words for the command
        line; a dict is what ``config()`` gives, ``{"epochs": 2}`` or ``{"steps": 100, "stop": 0.75}``.
    auto : bool
        Whether ``"auto"`` is one as well: :class:`Auto`.

    Raises
    ------
    TypeError, ValueError
        If it is none of these.
    """
    also = '"auto", ' if auto else ""
    expected = (
        f'every must be {also}Epochs(n), Steps(n) or a number of steps, in words "2 epochs" or "100 steps", '
        f"got {describe(what)}"
    )
    if isinstance(what, RewiringSchedule):
        return what
    if auto and what == "auto":
        return AUTO
    if isinstance(what, dict):
        for kind, name in ((Epochs, "epochs"), (Steps, "steps")):
            if name in what and set(what) <= {name, "stop"}:
                return kind(integer(f"every[{name!r}]", what[name], low=1), what.get("stop"))
        if set(what) == {"step"}:
            return Once(what["step"])
        raise ValueError(expected)
    if isinstance(what, str):
        number_, _, unit = what.strip().partition(" ")
        kinds = {"epoch": Epochs, "epochs": Epochs, "step": Steps, "steps": Steps}
        if not number_.isdecimal() or int(number_) == 0 or unit.strip() not in kinds:
            raise ValueError(expected)
        return kinds[unit.strip()](int(number_))
    try:
        return Steps(integer("every", what, low=1))
    except TypeError:
        raise TypeError(expected) from None
